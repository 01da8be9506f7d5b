//! Probes: is a container started, ready, alive? HTTP over the app's own unix socket where it has one, TCP to the pod's address, or a command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::limits::FIRST_PROBES;
use super::pod::News;
use super::process::{Exit, Launch, kill, start};
use crate::controllers::fields::{items, number, text};

/// What a probe is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What is done to find out.
pub(super) enum Action {
    Http {
        target: Target,
        path: String,
        host: String,
        headers: Vec<(String, String)>,
    },
    Connect(Target),
    Execute(Launch),
    /// It cannot be asked at all, and why.
    Impossible(String),
}

/// A probe with its times.
pub(super) struct Probe {
    pub(super) kind: ProbeKind,
    pub(super) action: Action,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: i64,
    failures: i64,
    /// Until the first yes it is asked less and less often, instead of every few milliseconds.
    gentle: bool,
}

impl Probe {
    pub(super) fn new(kind: ProbeKind, spec: &Value, action: Action, gentle: bool) -> Self {
        let seconds = |field: &str, default: i64| {
            Duration::from_secs(number(spec, field).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(default.unsigned_abs()))
        };
        Self {
            kind,
            action,
            initial_delay: seconds("/initialDelaySeconds", 0),
            period: seconds("/periodSeconds", 10).max(Duration::from_secs(1)),
            timeout: seconds("/timeoutSeconds", 1).max(Duration::from_secs(1)),
            successes: number(spec, "/successThreshold").unwrap_or(1).max(1),
            failures: number(spec, "/failureThreshold").unwrap_or(3).max(1),
            gentle,
        }
    }

    /// How long a startup probe may say no before the container is given up.
    fn patience(&self) -> Duration {
        self.period.saturating_mul(u32::try_from(self.failures).unwrap_or(u32::MAX))
    }
}

/// What a probe found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It says yes, for the first time or again.
    Good,
    /// It says no for good (the threshold is reached).
    Bad(String),
    /// A single no, for an event.
    Unhealthy(String),
}

/// Asks until cancelled; tells changes. Until the first yes, readiness and startup are asked every few milliseconds, so that a start is seen at once;
/// thresholds then count time, not questions.
pub(super) async fn run(probe: Probe, (container, generation): (usize, u64), news: mpsc::Sender<News>, stop: CancellationToken) {
    let tell = |finding| news.send(News::Probed { container, generation, kind: probe.kind, finding });
    let work = async {
        let eager = probe.kind != ProbeKind::Liveness;
        // A program that has had no time to start is not ill: liveness is first asked after one period, unless the manifest says when.
        let first = if eager || !probe.initial_delay.is_zero() { probe.initial_delay } else { probe.period };
        tokio::time::sleep(first).await;
        let begun = Instant::now();
        let (mut good, mut bad, mut state) = (0, 0, None);
        let mut reported = begun;
        let mut first_pause = FIRST_PROBES;
        loop {
            let asked = Instant::now();
            match ask(&probe.action, probe.timeout).await {
                Ok(()) => {
                    (good, bad) = (good + 1, 0);
                    if good >= probe.successes && state != Some(true) {
                        state = Some(true);
                        tell(Finding::Good).await.ok()?;
                        if probe.kind == ProbeKind::Startup {
                            return Some(());
                        }
                    }
                }
                Err(why) => {
                    (good, bad) = (0, bad + 1);
                    let waiting_for_first = eager && state.is_none();
                    if !waiting_for_first || reported.elapsed() >= probe.period {
                        reported = asked;
                        tell(Finding::Unhealthy(why.clone())).await.ok()?;
                    }
                    let exhausted = if waiting_for_first { begun.elapsed() >= probe.patience() } else { bad >= probe.failures };
                    if exhausted && state != Some(false) {
                        state = Some(false);
                        tell(Finding::Bad(why)).await.ok()?;
                    }
                }
            }
            let pause = if eager && state.is_none() { first_pause.min(probe.period) } else { probe.period };
            if probe.gentle {
                first_pause = (first_pause * 2).min(probe.period);
            }
            tokio::time::sleep_until(asked + pause).await;
        }
    };
    tokio::select! {
        _ended = work => {}
        () = stop.cancelled() => {}
    }
}

/// Does it once.
pub(super) async fn ask(action: &Action, limit: Duration) -> Result<(), String> {
    let answer = async {
        match action {
            Action::Http { target, path, host, headers } => get(target, path, host, headers).await,
            Action::Connect(target) => match target {
                Target::Tcp(address) => TcpStream::connect(address).await.map(drop).map_err(|error| dialled(*address, &error)),
                Target::Unix(path) => UnixStream::connect(path).await.map(drop).map_err(|error| format!("dial unix: {error}")),
            },
            Action::Execute(launch) => execute(launch).await,
            Action::Impossible(why) => Err(why.clone()),
        }
    };
    timeout(limit, answer).await.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
}

/// A connection that was not made, in Go's words, which people know from Kubernetes.
fn dialled(address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("dial tcp {address}: connect: connection refused"),
        _ => format!("dial tcp {address}: {error}"),
    }
}

async fn get(target: &Target, path: &str, host: &str, headers: &[(String, String)]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("Get \"http://{host}{path}\": {error}");
    match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(|error| failed(&dialled(*address, &error)))?;
            exchange(TokioIo::new(stream), path, host, headers).await
        }
        Target::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(|error| failed(&error))?;
            exchange(TokioIo::new(stream), path, host, headers).await
        }
    }
}

async fn exchange<S>(stream: S, path: &str, host: &str, headers: &[(String, String)]) -> Result<(), String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send,
{
    let failed = |error: &dyn std::fmt::Display| format!("Get \"http://{host}{path}\": {error}");
    let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| failed(&error))?;
    let mut request =
        http::Request::get(path).header("user-agent", "kube-probe/smov").header("accept", "*/*").header("connection", "close");
    if !headers.iter().any(|(key, _)| key.eq_ignore_ascii_case("host")) {
        request = request.header("host", host);
    }
    for (key, value) in headers {
        request = request.header(key, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    tokio::pin!(connection);
    let response = {
        let response = sender.send_request(request);
        tokio::pin!(response);
        tokio::select! {
            biased;
            response = &mut response => response,
            // The answer may be in already when the peer has closed.
            ended = &mut connection => match ended {
                Ok(()) => response.await,
                Err(error) => Err(error),
            },
        }
    };
    let response = response.map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    if (200..400).contains(&status) { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {status}")) }
}

/// Runs a command to its end; the group dies with the future.
async fn execute(launch: &Launch) -> Result<(), String> {
    struct Group(u32);
    impl Drop for Group {
        fn drop(&mut self) {
            kill(self.0);
        }
    }
    let mut running = start(launch).await.map_err(|error| error.to_string())?;
    let _group = Group(running.process);
    drop(running.stdin.take());
    let mut output = Vec::new();
    let mut limited = tokio::io::AsyncReadExt::take(&mut running.output, 4096);
    let (status, _read) = tokio::join!(running.child.wait(), tokio::io::AsyncReadExt::read_to_end(&mut limited, &mut output));
    let exit = status.map(Exit::from).map_err(|error| error.to_string())?;
    if exit.code == 0 { Ok(()) } else { Err(String::from_utf8_lossy(&output).trim().to_owned()) }
}

/// The port of a probe in its container: a number or the name of one of its ports.
pub(super) fn port_of(container: &Value, port: &Value) -> Option<u16> {
    if let Some(number) = port.as_u64() {
        return u16::try_from(number).ok();
    }
    let wanted = port.as_str()?;
    let named = items(container, "/ports")
        .iter()
        .find(|candidate| text(candidate, "/name") == wanted)
        .and_then(|candidate| candidate["containerPort"].as_u64());
    named.and_then(|number| u16::try_from(number).ok()).or_else(|| wanted.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn http_over_a_unix_socket_tells_the_status() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("app.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
                stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
            }
        });
        let action = Action::Http { target: Target::Unix(socket), path: "/healthz".to_owned(), host: "x".to_owned(), headers: Vec::new() };
        assert_eq!(ask(&action, Duration::from_secs(5)).await, Ok(()));
        assert_eq!(ask(&action, Duration::from_secs(5)).await, Err("HTTP probe failed with statuscode: 503".to_owned()));
        server.await.unwrap();
        assert!(ask(&action, Duration::from_secs(5)).await.is_err());
    }

    #[test]
    fn a_probe_may_name_its_port() {
        let container = json!({"ports": [{"name": "http", "containerPort": 8081}]});
        assert_eq!(port_of(&container, &json!("http")), Some(8081));
        assert_eq!(port_of(&container, &json!(15021)), Some(15021));
        assert_eq!(port_of(&container, &json!("absent")), None);
    }
}
