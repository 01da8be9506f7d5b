//! A mesh in one process: apps on unix sockets, sidecars beside them, a caller's sidecar in front, snapshots by hand.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, Endpoint, LoadBalancer, Protocol};
use smov_model::dice::{Dice, SeededDice};
use smov_model::names::{ClusterName, Hostname, Port, ResourceRef};
use smov_model::route::{
    Destination, HeaderOperations, Origin, RetryPolicy, RouteAction, RouteMatch, RoutePolicy, RouteRule, RouteTable, ValueMatch,
    VirtualHost,
};
use smov_model::snapshot::{InboundPort, PathNormalization, Snapshot, SnapshotVersion, UnknownHosts};
use smov_model::split::{Split, Weight};
use smov_model::text::StringMatch;
use smov_model::tls::{ClusterTls, DEFAULT_TRUST_DOMAIN, MutualTlsMode};
use smov_model::wire::ProxyRole;
use smov_model::workload::Workload;
use smov_proxy::config::{AppAddress, InboundListen, IngressListen, PodIdentity, ProxyPorts, TcpDoor};
use smov_proxy::{Handle, Proxy, ProxyConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

pub type Body = BoxBody<Bytes, std::convert::Infallible>;
pub const USER: &str = "user-service.t.svc.cluster.local";
pub const CALLER: &str = "127.70.0.1";

/// Runs a test with local tasks.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test hangs") });
}

pub fn text(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// What an app saw of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
}

pub type Log = Rc<RefCell<Vec<Seen>>>;

/// An HTTP app on a unix socket.
pub struct App {
    pub address: AppAddress,
    pub log: Log,
    _folder: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl App {
    pub fn start<F: Future<Output = Response<Body>> + 'static>(answer: impl Fn(Request<Incoming>) -> F + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let log: Log = Rc::default();
        let answer = Rc::new(answer);
        let seen = log.clone();
        let task = spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, seen) = (answer.clone(), seen.clone());
                spawn_local(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (method, uri) = (request.method().to_string(), request.uri().to_string());
                        seen.borrow_mut().push(Seen { method, uri, headers: request.headers().clone() });
                        let answer = answer(request);
                        async { Ok::<_, std::convert::Infallible>(answer.await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address: AppAddress::Unix(path), log, _folder: folder, task }
    }

    /// An app that always says this.
    pub fn saying(body: &'static str) -> Self {
        Self::start(move |_| async move { text(200, body) })
    }

    pub fn stop(self) {
        self.task.abort();
    }
}

pub fn workload(pod: &str, name: &str, cluster: &str) -> Arc<Workload> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Arc::new(Workload {
        pod: pod.into(),
        name: name.into(),
        namespace: "t".parse().unwrap(),
        cluster: cluster.parse().unwrap(),
        service_account: "default".parse().unwrap(),
        labels: BTreeMap::from([label("app", name.trim_end_matches("-ctx1").trim_end_matches("-ctx2")), label("version", "v1")]),
        region: String::new(),
        zone: String::new(),
        has_sidecar: true,
    })
}

pub fn config(role: ProxyRole, address: &str, pod: &str, cluster: &str) -> ProxyConfig {
    let pod = PodIdentity {
        name: pod.into(),
        address: address.parse().unwrap(),
        namespace: "t".parse().unwrap(),
        service_account: "default".parse().unwrap(),
        cluster: cluster.parse().unwrap(),
    };
    let mut config = ProxyConfig::new(role, pod);
    config.ports = ProxyPorts { outbound: 0, admin: 0, metrics: 0, merged: 0, ready: 0 };
    config
}

/// A running proxy.
pub struct Running {
    pub handle: Handle,
    pub outbound: Option<SocketAddr>,
    pub ingress: Option<SocketAddr>,
    pub inbound: Vec<SocketAddr>,
    pub doors: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub metrics: SocketAddr,
    pub ready: SocketAddr,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<std::io::Result<()>>,
}

pub fn start(config: ProxyConfig, dice: Arc<dyn Dice>) -> Running {
    let bound = Proxy::start(config, dice).unwrap();
    let shutdown = CancellationToken::new();
    let [admin, metrics, ready] = bound.service_addresses().map(Option::unwrap);
    Running {
        handle: bound.handle(),
        outbound: bound.outbound_address(),
        ingress: bound.ingress_address(),
        inbound: bound.inbound_addresses(),
        doors: bound.door_addresses(),
        admin,
        metrics,
        ready,
        shutdown: shutdown.clone(),
        task: spawn_local(bound.run(shutdown)),
    }
}

pub fn dice() -> Arc<dyn Dice> {
    Arc::new(SeededDice::new(42, "api-gateway"))
}

/// A pod with an app and a sidecar.
pub struct Pod {
    pub app: App,
    pub sidecar: Running,
    pub workload: Arc<Workload>,
    pub address: SocketAddr,
}

/// A user-service pod in this cluster at this address, with its own snapshot published.
pub fn user_pod(address: &str, cluster: &str, app: App) -> Pod {
    user_pod_with(address, cluster, app, |_| {})
}

/// The same with other settings of its sidecar.
pub fn user_pod_with(address: &str, cluster: &str, app: App, change: impl FnOnce(&mut ProxyConfig)) -> Pod {
    let name = format!("user-service-{cluster}");
    let workload = workload(&format!("{name}-{}", address.rsplit('.').next().unwrap()), &name, cluster);
    let mut config = config(ProxyRole::Sidecar, address, &workload.pod, cluster);
    config.inbound = vec![InboundListen { port: 0, app: app.address.clone() }];
    change(&mut config);
    let sidecar = start(config, dice());
    let address = sidecar.inbound[0];
    let pod = Pod { app, sidecar, workload, address };
    pod.sidecar.handle.publish(pod_snapshot(&pod));
    pod
}

/// What a user-service pod's sidecar runs on.
pub fn pod_snapshot(pod: &Pod) -> Snapshot {
    let mut snapshot = snapshot(pod.workload.clone());
    let port = Port::try_from(u32::from(pod.address.port())).unwrap();
    snapshot.inbound =
        vec![InboundPort { port, protocol: Protocol::Http, service: Some(host(USER)), mutual_tls: MutualTlsMode::default() }];
    snapshot.peers.insert(CALLER.parse().unwrap(), caller_workload());
    snapshot
}

/// The same workload under another service account.
pub fn account(workload: &Workload, account: &str) -> Arc<Workload> {
    Arc::new(Workload { service_account: account.parse().unwrap(), ..workload.clone() })
}

pub fn caller_workload() -> Arc<Workload> {
    workload("api-gateway-1", "api-gateway", "ctx1")
}

pub fn host(name: &str) -> Hostname {
    name.parse().unwrap()
}

pub fn port(number: u32) -> Port {
    Port::try_from(number).unwrap()
}

/// An empty snapshot of this proxy.
pub fn snapshot(proxy: Arc<Workload>) -> Snapshot {
    Snapshot {
        version: SnapshotVersion { epoch: 1, number: 1 },
        proxy,
        outbound: BTreeMap::new(),
        tcp: Vec::new(),
        unknown_hosts: UnknownHosts::AllowAny,
        ingress: BTreeMap::new(),
        inbound: Vec::new(),
        clusters: BTreeMap::new(),
        peers: BTreeMap::new(),
        path_normalization: PathNormalization::default(),
        authorization: Default::default(),
        mutual_tls: smov_model::tls::MutualTlsMode::default(),
        protected: Vec::new(),
        trust_domain: DEFAULT_TRUST_DOMAIN.into(),
        telemetry: smov_model::telemetry::Telemetry::default(),
    }
}

pub fn cluster_name(subset: Option<&str>) -> ClusterName {
    ClusterName { port: port(8081), subset: subset.map(|subset| subset.parse().unwrap()), host: host(USER) }
}

pub fn cluster(subset: Option<&str>, endpoints: &[(SocketAddr, Arc<Workload>)]) -> Cluster {
    let endpoint = |(address, workload): &(SocketAddr, Arc<Workload>)| Endpoint {
        address: *address,
        workload: workload.clone(),
        weight: 1,
        priority: 0,
        mutual_tls: false,
        via: None,
    };
    Cluster {
        name: cluster_name(subset),
        protocol: Protocol::Http,
        endpoints: endpoints.iter().map(endpoint).collect(),
        load_balancer: LoadBalancer::RoundRobin,
        limits: ConnectionLimits::default(),
        outlier: None,
        discovery: Discovery::default(),
        locality_weights: Vec::new(),
        tls: ClusterTls::Disable,
    }
}

pub fn origin(path: &str) -> Origin {
    let resource =
        ResourceRef { kind: "VirtualService".into(), namespace: "t".into(), name: "user-service-vs".into(), resource_version: "1".into() };
    Origin { resource, path: path.into(), name: String::new() }
}

pub fn to(arms: &[(u32, Option<&str>)]) -> RouteAction {
    let arm = |(weight, subset): &(u32, Option<&str>)| {
        (Weight(*weight), Destination { cluster: cluster_name(*subset), headers: HeaderOperations::default() })
    };
    RouteAction::Forward(Split::new(arms.iter().map(arm).collect()).unwrap())
}

/// A rule for every request, with Istio's default retries.
pub fn rule(action: RouteAction) -> RouteRule {
    let policy = RoutePolicy { retry: Some(RetryPolicy::default()), ..RoutePolicy::default() };
    RouteRule { origin: origin("spec.http[0]"), matches: vec![], action, policy }
}

pub fn canary_rule(action: RouteAction) -> RouteRule {
    let canary = ("x-canary".to_owned(), ValueMatch::Value(StringMatch::Exact("true".into())));
    RouteRule { matches: vec![RouteMatch { headers: vec![canary], ..RouteMatch::default() }], ..rule(action) }
}

/// The caller's snapshot: user-service by these rules over these clusters.
pub fn caller_snapshot(rules: Vec<RouteRule>, clusters: Vec<Cluster>) -> Snapshot {
    let mut snapshot = snapshot(caller_workload());
    let domains = [USER, "user-service", "user-service.t"].map(|name| name.parse().unwrap()).to_vec();
    let virtual_host = VirtualHost { name: format!("{USER}:8081"), domains, service: Some(host(USER)), rules };
    snapshot.outbound.insert(port(8081), RouteTable { hosts: vec![virtual_host] });
    snapshot.clusters = clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect();
    snapshot
}

/// The caller's sidecar on this snapshot.
pub fn caller(snapshot: Snapshot) -> Running {
    let running = start(config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1"), dice());
    running.handle.publish(snapshot);
    running
}

pub fn ingress(snapshot: Snapshot) -> Running {
    let mut config = config(ProxyRole::Gateway, "127.70.0.9", "cp-gateway-1", "ctx1");
    config.ingress = Some(IngressListen { address: "127.0.0.1:0".parse().unwrap(), server_port: port(80) });
    let running = start(config, dice());
    running.handle.publish(snapshot);
    running
}

pub fn door(host_name: &str, number: u32) -> TcpDoor {
    TcpDoor { door: 0, host: host(host_name), port: port(number) }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A kept-alive connection of a client.
pub struct Client(hyper::client::conn::http1::SendRequest<Body>);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        spawn_local(async move {
            let _ = connection.await;
        });
        Self(sender)
    }

    pub async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.0.ready().await.unwrap();
        self.0.send_request(request).await.unwrap()
    }

    pub async fn call(&mut self, request: Request<Body>) -> Reply {
        read(self.send(request).await).await
    }

    pub async fn get(&mut self, uri: &str, headers: &[(&str, &str)]) -> Reply {
        self.call(request("GET", uri, headers, "")).await
    }
}

pub async fn read(response: Response<Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    let parsed: http::Uri = uri.parse().unwrap();
    if let Some(authority) = parsed.authority()
        && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request = request.header("host", authority.as_str());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed()).unwrap()
}

/// One request on a connection of its own.
pub async fn get(door: SocketAddr, uri: &str, headers: &[(&str, &str)]) -> Reply {
    Client::connect(door).await.get(uri, headers).await
}

/// Sends bytes as they are and reads until the other side closes.
pub async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open after {:?}: {}", &bytes[..bytes.len().min(200)], String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.70.9.9:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
