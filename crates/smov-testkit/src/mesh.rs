//! A started `smov up` with a state folder and ports of its own; ends with the value.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a start may take on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// A running mesh.
pub struct Mesh {
    program: PathBuf,
    child: Child,
    /// `http://localhost:PORT`.
    pub page: String,
    /// The operator door.
    pub operator: String,
    /// The state folder.
    pub state: PathBuf,
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .expect("the system has a free port")
}

impl Mesh {
    /// Starts the program and waits for its summary.
    pub fn start(program: &Path, state: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let port = free_port();
        let mut child = command(program, state)
            .args(["up", "--port", &port.to_string(), "--operator-port", "0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no standard output"))?;
        let (sender, lines) = std::sync::mpsc::channel();
        // Ends with the program's standard output.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + START;
        let mut text = String::new();
        while !text.contains(" reset") && !text.contains("deploy-all.sh") {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => text = format!("{text}{line}\n"),
                Err(error) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    anyhow::bail!("smov up did not get ready ({error}):\n{text}");
                }
            }
        }
        let info: Value = serde_json::from_slice(&std::fs::read(state.join("run.json"))?)?;
        let field = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
        // Addresses by number: a name could lead to an IPv6 port of somebody else.
        let (page, operator) = (field("page").replace("localhost", "127.0.0.1"), field("operator").replace("localhost", "127.0.0.1"));
        Ok(Self { program: program.to_owned(), child, page, operator, state: state.to_owned() })
    }

    /// The process id of `smov up`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// Runs another `smov` command on the same state.
    pub fn smov(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(command(&self.program, &self.state).args(arguments).output()?)
    }

    /// The JSON of a `smov … --output json`.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.smov(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| anyhow::anyhow!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs kubectl with a context.
    pub fn kubectl(&self, context: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let cache = self.state.join("kubectl-cache");
        Ok(Command::new("kubectl")
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &cache)
            .args(["--context", context, "--cache-dir"])
            .arg(&cache)
            .args(arguments)
            .output()?)
    }

    /// Asks for an orderly end and waits for it.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.end("-TERM")
    }

    /// Ends the process at once, as a crash would.
    pub fn crash(mut self) -> anyhow::Result<ExitStatus> {
        self.end("-KILL")
    }

    fn end(&mut self, signal: &str) -> anyhow::Result<ExitStatus> {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end("-TERM");
        }
    }
}

fn command(program: &Path, state: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--state-dir").arg(state).env("LC_ALL", "en_US.UTF-8");
    // Variables of the machine that runs the tests must not change what they see.
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "RUST_LOG", "KUBECONFIG"] {
        command.env_remove(name);
    }
    command
}

/// Processes of this machine whose command line, environment or working directory names the folder: what a run left behind.
pub fn processes_of(folder: &Path) -> Vec<(u32, String)> {
    let needle = folder.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let read = |name: &str| {
            std::fs::read(entry.path().join(name)).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ")).unwrap_or_default()
        };
        let (line, environment) = (read("cmdline"), read("environ"));
        // Some programs (redis-server) overwrite their environment with a title.
        let directory = std::fs::read_link(entry.path().join("cwd")).map(|path| path.display().to_string()).unwrap_or_default();
        let named = [&line, &environment, &directory].iter().any(|text| text.contains(&needle));
        if pid != std::process::id() && !line.is_empty() && named {
            found.push((pid, line));
        }
    }
    found
}
