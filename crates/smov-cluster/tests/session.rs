//! The scripted kubectl session: what a real Kubernetes answers, and what we do. See session/README.md.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it skips")]

#[path = "support/kubectl.rs"]
mod kubectl;
#[path = "session/script.rs"]
mod script;
#[path = "support/server.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use script::{Answer, Invocation, Rule, Step};
use support::Server;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

/// How long controllers may take until a settled answer is the expected one.
const SETTLE: Duration = Duration::from_secs(20);
/// The issue asks for so many.
const LEAST: usize = 80;

struct Player {
    program: PathBuf,
    folder: PathBuf,
    kubeconfig: PathBuf,
    rules: Vec<Rule>,
}

impl Player {
    async fn run(&self, invocation: &Invocation) -> Answer {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&invocation.arguments).env_clear().current_dir(&self.folder);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("KUBECTL_APPLYSET", "true");
        if let Some(editor) = &invocation.editor {
            command.env("KUBE_EDITOR", editor);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        if let Some(file) = &invocation.input {
            input.write_all(&std::fs::read(self.folder.join(file)).unwrap()).await.unwrap();
        }
        drop(input);
        let output = child.wait_with_output().await.unwrap();
        let alike = |bytes: &[u8]| script::alike(&self.rules, &String::from_utf8_lossy(bytes));
        Answer { out: alike(&output.stdout), err: alike(&output.stderr), code: output.status.code().unwrap() }
    }

    /// The answer, given time where controllers work.
    async fn answer(&self, invocation: &Invocation) -> Answer {
        let end = Instant::now() + SETTLE;
        loop {
            let answer = self.run(invocation).await;
            if !invocation.settle || answer == *invocation.expected() || Instant::now() > end {
                return answer;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everyday_invocations_are_answered_as_by_a_real_api_server_or_as_written_down() {
    play("everyday", LEAST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn less_common_invocations_are_answered_as_by_a_real_api_server_or_as_written_down() {
    play("further", LEAST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_by_label_and_by_apply_set_is_answered_as_by_a_real_api_server_or_as_written_down() {
    play("pruning", 30).await;
}

async fn play(name: &str, least: usize) {
    let Some(program) = kubectl::program() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let session = script::parse(&read(&format!("{name}.session")));
    let rules = script::parse(&read("alike.rules"));
    let server = Server::start().await;
    let shutdown = CancellationToken::new();
    let controllers = tokio::spawn(smov_cluster::controllers::run(server.cluster.registry().clone(), shutdown.clone()));
    let folder = server.folder.path().join("session");
    std::fs::create_dir(&folder).unwrap();
    let rules = rules.into_iter().filter_map(|step| if let Step::Replace(rule) = step { Some(rule) } else { None });
    let player = Player { program, folder, kubeconfig: server.kubeconfig_file(), rules: rules.collect() };
    let (mut count, mut alike, mut wrong, mut told) = (0, 0, Vec::new(), String::new());
    for step in &session {
        match step {
            Step::Text(line) => told.push_str(&format!("{line}\n")),
            Step::Replace(_) => panic!("rules are in alike.rules"),
            Step::File { name, lines } => {
                std::fs::write(player.folder.join(name), lines.join("\n") + "\n").unwrap();
                told.push_str(&format!("%file {name}\n{}\n%end\n", lines.join("\n")));
            }
            Step::Kubectl(invocation) => {
                count += 1;
                let answer = player.answer(invocation).await;
                told.push_str(&invocation.told(&answer));
                if answer == *invocation.expected() && !invocation.is_outdated() {
                    alike += usize::from(invocation.differs.is_none());
                } else {
                    wrong.push(invocation.told(&answer));
                }
            }
        }
    }
    if let Some(folder) = std::env::var_os("SMOV_SESSION_OUT") {
        std::fs::write(Path::new(&folder).join(format!("{name}.session")), told).unwrap();
    }
    println!(
        "{name}: {count} invocations, {alike} answered as by a real API server, {} differently and said so",
        count - alike - wrong.len()
    );
    shutdown.cancel();
    controllers.await.unwrap();
    drop(server.stop().await);
    assert!(wrong.is_empty(), "{} of {count} invocations are answered otherwise than written down:\n\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= least, "only {count} invocations");
}
