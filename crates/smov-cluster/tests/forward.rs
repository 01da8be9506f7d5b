//! `kubectl port-forward` with the real kubectl, to a pod whose port is a socket of the test: the same bytes both ways, by WebSocket and by SPDY alone, and
//! what kubectl says when it cannot go on.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it skips")]

#[path = "support/kubectl.rs"]
mod kubectl;
#[path = "support/server.rs"]
mod support;

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use smov_cluster::{
    api::{Dialled, ExecRequest, LogOptions, LogSource, LogStream, Measured, PodAccess, Session},
    error::ApiError,
    kinds::POD,
    registry::{DeleteOptions, WriteOptions},
};
use support::Server;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// More than SPDY's first window.
const MUCH: usize = 1 << 20;

/// Says what it is sent, on port 8081; nothing listens on others.
struct Echo(SocketAddr);

impl LogSource for Echo {
    fn open(&self, _: &str, _: &str, _: &str, _: LogOptions) -> Result<LogStream, ApiError> {
        Err(ApiError::bad_request("no logs"))
    }
}

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, ApiError>> {
    async { Err(ApiError::bad_request("only ports")) }.boxed()
}

impl PodAccess for Echo {
    fn may_exec<'a>(&'a self, _: &'a Value, _: &'a str, _: &'a [String]) -> BoxFuture<'a, Result<(), ApiError>> {
        refused()
    }
    fn exec<'a>(&'a self, _: &'a Value, _: &'a str, _: ExecRequest) -> BoxFuture<'a, Result<Session, ApiError>> {
        refused()
    }
    fn attach<'a>(&'a self, _: &'a Value, _: &'a str, _: bool) -> BoxFuture<'a, Result<Session, ApiError>> {
        refused()
    }
    fn dial<'a>(&'a self, _: &'a Value, port: u16) -> BoxFuture<'a, Result<Dialled, ApiError>> {
        async move {
            if port != 8081 {
                return Err(ApiError::bad_request("nobody listens"));
            }
            let (source, sink) = TcpStream::connect(self.0).await.unwrap().into_split();
            Ok(Dialled { source: Box::pin(source), sink: Box::pin(sink) })
        }
        .boxed()
    }
    fn kill<'a>(&'a self, _: &'a Value, _: &'a str) -> BoxFuture<'a, Result<(), ApiError>> {
        refused()
    }
    fn measure(&self) -> BoxFuture<'_, Measured> {
        async { Measured { at: jiff::Timestamp::UNIX_EPOCH, window: 0.5, usage: Vec::new() } }.boxed()
    }
}

struct Forwards {
    server: Server,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

/// A running `kubectl port-forward`; ends with the test.
struct Forward {
    kubectl: Child,
    port: u16,
}

impl Forwards {
    async fn start() -> Option<Self> {
        let kubectl = kubectl::program()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start().await;
        server.cluster.serve_pods(Arc::new(Echo(listener.local_addr().unwrap())));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.into_split();
                    let _other_side_is_gone = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let registry = server.cluster.registry();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "labels": {"app": "a"}},
            "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "x", "ports": [{"containerPort": 8081, "name": "http"}]}]},
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "http"}]},
        });
        registry.create(pod, &WriteOptions::default()).unwrap();
        registry.create(service, &WriteOptions::default()).unwrap();
        let running = |pod: &mut Value| {
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            Ok(())
        };
        registry.modify(&POD, "default", "a", &WriteOptions::default(), running).unwrap();
        let kubeconfig = server.kubeconfig_file();
        Some(Self { server, kubectl, kubeconfig })
    }

    async fn forward(&self, target: &str, port: u16, websockets: bool) -> Forward {
        let mut kubectl = Command::new(&self.kubectl)
            .args([
                "--kubeconfig",
                self.kubeconfig.to_str().unwrap(),
                "port-forward",
                "--address",
                "127.0.0.1",
                target,
                &format!(":{port}"),
            ])
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("kubectl listens").unwrap();
        let Some(line) = line else { panic!("kubectl ended: {}", Forward { kubectl, port: 0 }.last_words().await) };
        // It writes a line per connection, and does not go on without a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
        Forward { port: port.unwrap_or_else(|| panic!("{line}")).parse().unwrap(), kubectl }
    }
}

impl Forward {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends, ends, and gives what came back.
    async fn echo(&self, text: &[u8]) -> Vec<u8> {
        let (mut reader, mut writer) = self.connect().await.into_split();
        let mut heard = Vec::new();
        let talking = async {
            writer.write_all(text).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let both = async { tokio::join!(talking, reader.read_to_end(&mut heard)) };
        tokio::time::timeout(PATIENCE, both).await.expect("the bytes come back").1.unwrap();
        heard
    }

    /// What kubectl says before it ends by itself, with a failure.
    async fn last_words(mut self) -> String {
        let mut said = String::new();
        let ends = async {
            self.kubectl.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
            self.kubectl.wait().await.unwrap()
        };
        let status = tokio::time::timeout(PATIENCE, ends).await.expect("kubectl ends");
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }
}

#[tokio::test]
async fn bytes_go_both_ways_however_many_and_on_many_connections() {
    let Some(forwards) = Forwards::start().await else { return };
    let much: Vec<u8> = (0..MUCH).map(|place| u8::try_from(place % 251).unwrap()).collect();
    for websockets in [true, false] {
        let forward = forwards.forward("pod/a", 8081, websockets).await;
        // One that stays open does not keep others waiting.
        let mut open = forward.connect().await;
        open.write_all(b"still ").await.unwrap();
        assert_eq!(forward.echo(b"hello").await, b"hello");
        assert!(forward.echo(&much).await == much, "all of it, in its order");
        let many = futures_util::future::join_all((0..20).map(|number| forward.echo(if number % 2 == 0 { b"even" } else { b"odd" }))).await;
        assert_eq!(many.iter().filter(|text| text.as_slice() == b"even").count(), 10);
        open.write_all(b"here").await.unwrap();
        let mut heard = [0; 10];
        open.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still here", "websockets: {websockets}");
    }
    drop(forwards.server.stop().await);
}

#[tokio::test]
async fn a_service_leads_to_one_of_its_pods() {
    let Some(forwards) = Forwards::start().await else { return };
    assert_eq!(forwards.forward("svc/web", 80, true).await.echo(b"by service").await, b"by service");
    drop(forwards.server.stop().await);
}

#[tokio::test]
async fn kubectl_tells_why_a_port_cannot_be_reached() {
    let Some(forwards) = Forwards::start().await else { return };
    for websockets in [true, false] {
        let forward = forwards.forward("pod/a", 9, websockets).await;
        assert_eq!(forward.echo(b"anybody?").await, b"");
        let said = forward.last_words().await;
        assert!(said.contains("error forwarding port 9 to pod a, uid ") && said.contains(": nobody listens"), "{said}");
        assert!(said.contains("error: lost connection to pod"), "{said}");
    }
    drop(forwards.server.stop().await);
}

#[tokio::test]
async fn a_pod_that_goes_ends_its_forwards() {
    let Some(forwards) = Forwards::start().await else { return };
    let (tunnel, plain) = (forwards.forward("pod/a", 8081, true).await, forwards.forward("pod/a", 8081, false).await);
    assert_eq!((tunnel.echo(b"one").await, plain.echo(b"two").await), (b"one".to_vec(), b"two".to_vec()));
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    forwards.server.cluster.registry().delete(&POD, "default", "a", &now).unwrap();
    for forward in [tunnel, plain] {
        let said = forward.last_words().await;
        assert!(said.contains("error: lost connection to pod"), "{said}");
    }
    drop(forwards.server.stop().await);
}
