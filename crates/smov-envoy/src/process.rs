//! The Envoy process: started as a child, its log read, its end heard.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

/// The variable that names an Envoy other than that of PATH.
pub const BINARY_VARIABLE: &str = "SMOV_ENVOY";

/// Connections of a listener that was taken away or changed get this long, as Istio has it.
const DRAIN_SECONDS: &str = "45";
/// Refusals remembered, so that a version's reason can be told.
const REFUSALS: usize = 16;

/// The Envoy of this machine: what `SMOV_ENVOY` names, else the one on PATH.
pub fn find_binary() -> Option<PathBuf> {
    let named = std::env::var_os(BINARY_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    match named {
        Some(path) => path.is_file().then_some(path),
        None => std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("envoy")).find(|file| file.is_file()),
    }
}

/// What Envoy said when it refused a configuration, newest last: path of the question and reason.
pub(crate) type Refusals = Arc<Mutex<Vec<(String, String)>>>;

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) refusals: Refusals,
    log: JoinHandle<()>,
}

impl Process {
    /// Starts Envoy on this bootstrap. `shim` is put in front of the command. Gives its standard output, the access log, as well.
    pub(crate) fn start(binary: &Path, shim: &[OsString], bootstrap: &Path, concurrency: usize) -> io::Result<(Self, ChildStdout)> {
        let mut words = shim.to_vec();
        words.push(binary.as_os_str().to_owned());
        let (program, arguments) = words.split_first().expect("the binary was just put there");
        let mut command = Command::new(program);
        command.args(arguments).arg("-c").arg(bootstrap).args([
            "--concurrency",
            &concurrency.to_string(),
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--log-format",
            "%l %n %v",
            "--drain-time-s",
            DRAIN_SECONDS,
            // Who is asked to leave is asked with the next answer.
            "--drain-strategy",
            "immediate",
            // A line of the access log is handed over when it is written.
            "--file-flush-min-size-kb",
            "0",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let missing = || io::Error::other("Envoy's output is not there");
        let output = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().ok_or_else(missing)?;
        let refusals = Refusals::default();
        let log = tokio::spawn(read_log(errors, refusals.clone()));
        Ok((Self { child, refusals, log }, output))
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its end, and everything that it logged before.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        let _ = (&mut self.log).await;
        Ok(status)
    }

    /// Asks it to end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.start_kill();
    }
}

/// Passes Envoy's log on and remembers refusals.
async fn read_log(errors: impl AsyncRead + Unpin, refusals: Refusals) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((path, reason)) = refusal(&line) {
            let mut refusals = refusals.lock().expect("no panic while refusals are held");
            if refusals.len() == REFUSALS {
                refusals.remove(0);
            }
            refusals.push((path.to_owned(), reason.to_owned()));
        }
        match line.split_once(' ') {
            Some(("critical" | "error", rest)) => error!(target: "envoy", "{rest}"),
            Some(("warning", rest)) => warn!(target: "envoy", "{rest}"),
            Some(("info", rest)) => info!(target: "envoy", "{rest}"),
            Some(("debug" | "trace", rest)) => debug!(target: "envoy", "{rest}"),
            // What follows a line of several, and what is printed before logging is set up.
            _ => info!(target: "envoy", "{line}"),
        }
    }
}

/// `warning config REST config for /v3/discovery:clusters rejected: REASON`.
fn refusal(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("REST config for ")?;
    let (path, reason) = rest.split_once(" rejected: ")?;
    // What cannot be read at all is repeated whole after the reason.
    Some((path, reason.split_once("): {").map_or(reason, |(reason, _)| reason)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_refusal_is_read_from_the_log() {
        let line = "warning config REST config for /v3/discovery:routes rejected: missing ): (";
        assert_eq!(super::refusal(line), Some(("/v3/discovery:routes", "missing ): (")));
        assert_eq!(super::refusal("warning main something else"), None);
    }
}
