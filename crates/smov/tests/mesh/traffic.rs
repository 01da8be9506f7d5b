//! Traffic: one after the other over one connection, and `smov load` in the background.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use smov_testkit::http::{Answer, Kept};

use crate::theatre::{Theatre, program};

/// GETs over one connection, one after the other.
pub(crate) async fn gets(theatre: &Theatre, path: &str, headers: &[(&str, &str)], count: u64) -> anyhow::Result<Vec<Answer>> {
    let mut connection = Kept::connect(&theatre.page("")).await?;
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(connection.get(path, headers).await?);
    }
    Ok(answers)
}

/// How many answers came from which cluster.
pub(crate) fn clusters(answers: &[Answer]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.header("x-service-cluster")).or_default() += 1;
    }
    counts
}

/// `smov load` in the background, until [`Load::finish`].
pub(crate) struct Load {
    child: Child,
    started: Instant,
}

/// What `smov load` reports.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    /// By status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) unanswered: u64,
    pub(crate) not_sent: u64,
}

impl Load {
    /// Sends traffic at a rate, with a long enough time limit that only an answer ends a request.
    pub(crate) fn start(theatre: &Theatre, rate: u32, mix: &str) -> anyhow::Result<Self> {
        let child = Command::new(program())
            .arg("--state-dir")
            .arg(theatre.state())
            .args(["load", "--rate", &rate.to_string(), "--duration", "1h", "--timeout", "60s", "--mix", mix, "--output", "json"])
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self { child, started: Instant::now() })
    }

    /// Goes on for at least so long since its start, then as [`Load::finish`].
    pub(crate) async fn finish_after(self, least: Duration) -> anyhow::Result<Figures> {
        tokio::time::sleep(least.saturating_sub(self.started.elapsed())).await;
        self.finish()
    }

    /// Ends it as Ctrl-C does, and reads what it found.
    pub(crate) fn finish(mut self) -> anyhow::Result<Figures> {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        let output = self.child.stdout.take().expect("piped");
        let report: Value = serde_json::from_reader(output)?;
        self.child.wait()?;
        let mut figures = Figures {
            requests: report["requests"].as_u64().unwrap_or(0),
            statuses: BTreeMap::new(),
            unanswered: 0,
            not_sent: report["not_sent"].as_u64().unwrap_or(u64::MAX),
        };
        for service in report["services"].as_object().into_iter().flat_map(|services| services.values()) {
            for (status, count) in service["statuses"].as_object().into_iter().flatten() {
                *figures.statuses.entry(status.parse()?).or_default() += count.as_u64().unwrap_or(0);
            }
            figures.unanswered +=
                service["unanswered"].as_object().into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum::<u64>();
        }
        Ok(figures)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
