//! Snapshots by hand, apps on unix sockets, and Envoys between them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use smov_envoy::{Envoy, EnvoyConfig, Running};
use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, Endpoint, LoadBalancer, Protocol};
use smov_model::names::{ClusterName, Hostname, Port, ResourceRef};
use smov_model::route::{
    Destination, HeaderOperations, Origin, RetryPolicy, RouteAction, RouteMatch, RoutePolicy, RouteRule, RouteTable, VirtualHost,
};
use smov_model::snapshot::{InboundPort, PathNormalization, Snapshot, SnapshotVersion, UnknownHosts};
use smov_model::split::{Split, Weight};
use smov_model::tls::{ClusterTls, DEFAULT_TRUST_DOMAIN, MutualTlsMode};
use smov_model::wire::ProxyRole;
use smov_model::workload::Workload;
use smov_proxy::ProxyConfig;
use smov_proxy::config::{AppAddress, InboundListen, PodIdentity, ProxyPorts};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

pub const USER: &str = "user-service.t.svc.cluster.local";

/// An address that no other test of this machine uses: by process and count.
pub fn address() -> std::net::IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let process = std::process::id();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    std::net::IpAddr::from([127, 96 + (process >> 8) as u8 % 64, process as u8, next as u8])
}

/// The Envoy of this machine, or a note that the test is skipped.
pub fn envoy() -> Option<PathBuf> {
    smov_testkit::tools::found("envoy").then(|| smov_envoy::find_binary().expect("found above"))
}

pub type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// An HTTP app on a unix socket that says its name.
pub struct App {
    pub socket: PathBuf,
    pub seen: Seen,
    _folder: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl App {
    pub fn saying(name: &'static str) -> Self {
        Self::answering(move |_| Response::new(Full::from(name)))
    }

    pub fn answering(answer: impl Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("app.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (seen, answer) = (Seen::default(), Arc::new(answer));
        let notes = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (notes, answer) = (notes.clone(), answer.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        notes.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
                        let response = answer(&request);
                        async { Ok::<_, Infallible>(response) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { socket, seen, _folder: folder, task }
    }
}

pub fn workload(pod: &str, name: &str, cluster: &str) -> Arc<Workload> {
    Arc::new(Workload {
        pod: pod.into(),
        name: name.into(),
        namespace: "t".parse().unwrap(),
        cluster: cluster.parse().unwrap(),
        service_account: "default".parse().unwrap(),
        labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        region: format!("region-{cluster}"),
        zone: String::new(),
        has_sidecar: true,
    })
}

pub fn settings(pod: &str) -> ProxyConfig {
    let pod = PodIdentity {
        name: pod.into(),
        address: address(),
        namespace: "t".parse().unwrap(),
        service_account: "default".parse().unwrap(),
        cluster: "ctx1".parse().unwrap(),
    };
    let mut config = ProxyConfig::new(ProxyRole::Sidecar, pod);
    config.ports = ProxyPorts { outbound: 0, admin: 0, metrics: 0, merged: 0, ready: 0 };
    config
}

pub fn port(number: u16) -> Port {
    u32::from(number).try_into().unwrap()
}

pub fn cluster_name(subset: &str) -> ClusterName {
    ClusterName { port: port(8081), subset: (!subset.is_empty()).then(|| subset.parse().unwrap()), host: USER.parse().unwrap() }
}

pub fn cluster(subset: &str, endpoints: &[(SocketAddr, &str)]) -> Cluster {
    let endpoint = |(address, pod): &(SocketAddr, &str)| Endpoint {
        address: *address,
        workload: workload(pod, "user-service", "ctx1"),
        weight: 1,
        priority: 0,
        mutual_tls: false,
        via: None,
    };
    Cluster {
        name: cluster_name(subset),
        protocol: Protocol::Http,
        endpoints: endpoints.iter().map(endpoint).collect(),
        load_balancer: LoadBalancer::default(),
        limits: ConnectionLimits::default(),
        outlier: None,
        discovery: Discovery::Listed,
        locality_weights: Vec::new(),
        tls: ClusterTls::Disable,
    }
}

pub fn origin(path: &str) -> Origin {
    let resource =
        ResourceRef { kind: "VirtualService".into(), namespace: "t".into(), name: "user-vs".into(), resource_version: "1".into() };
    Origin { resource, path: path.into(), name: String::new() }
}

pub fn to(arms: &[(u32, &str)]) -> RouteAction {
    let arm = |(weight, subset): &(u32, &str)| {
        (Weight(*weight), Destination { cluster: cluster_name(subset), headers: HeaderOperations::default() })
    };
    RouteAction::Forward(Split::new(arms.iter().map(arm).collect()).unwrap())
}

pub fn rule(path: &str, matches: Vec<RouteMatch>, action: RouteAction) -> RouteRule {
    let policy = RoutePolicy { retry: Some(RetryPolicy::default()), ..RoutePolicy::default() };
    RouteRule { origin: origin(path), matches, action, policy }
}

/// A snapshot for a caller: one host on port 8081 with these rules and clusters.
pub fn snapshot(number: u64, rules: Vec<RouteRule>, clusters: Vec<Cluster>) -> Snapshot {
    let host = VirtualHost {
        name: format!("{USER}:8081"),
        domains: [USER, "user-service"].iter().map(|domain| domain.parse().unwrap()).collect(),
        service: Some(USER.parse::<Hostname>().unwrap()),
        rules,
    };
    Snapshot {
        version: SnapshotVersion { epoch: 1, number },
        proxy: workload("caller-1", "caller", "ctx1"),
        outbound: BTreeMap::from([(port(8081), RouteTable { hosts: vec![host] })]),
        tcp: Vec::new(),
        unknown_hosts: UnknownHosts::AllowAny,
        ingress: BTreeMap::new(),
        inbound: Vec::new(),
        clusters: clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect(),
        peers: BTreeMap::new(),
        path_normalization: PathNormalization::Base,
        authorization: Default::default(),
        mutual_tls: smov_model::tls::MutualTlsMode::default(),
        protected: Vec::new(),
        trust_domain: DEFAULT_TRUST_DOMAIN.into(),
        telemetry: smov_model::telemetry::Telemetry::default(),
    }
}

/// A running Envoy in a folder of its own.
pub struct Started {
    pub envoy: Running,
    _folder: tempfile::TempDir,
}

pub async fn start(binary: PathBuf, proxy: ProxyConfig, snapshot: Snapshot) -> Started {
    let folder = tempfile::tempdir().unwrap();
    let config = EnvoyConfig { proxy, binary, folder: folder.path().to_owned(), shim: Vec::new() };
    Started { envoy: Envoy::start(config, snapshot).await.unwrap(), _folder: folder }
}

/// A server's Envoy in front of an app: port 8081 of its own address.
pub async fn callee(binary: PathBuf, pod: &str, app: &App) -> (Started, SocketAddr) {
    let mut proxy = settings(pod);
    proxy.inbound = vec![InboundListen { port: 8081, app: AppAddress::Unix(app.socket.clone()) }];
    let mut own = snapshot(1, Vec::new(), Vec::new());
    own.proxy = workload(pod, "user-service", "ctx1");
    own.inbound = vec![InboundPort {
        port: port(8081),
        protocol: Protocol::Http,
        service: Some(USER.parse().unwrap()),
        mutual_tls: MutualTlsMode::default(),
    }];
    let address = SocketAddr::new(proxy.pod.address, 8081);
    (start(binary, proxy, own).await, address)
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// A client that keeps one connection, as apps do towards their sidecar: requests in absolute form.
pub struct Client {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub async fn connect(door: SocketAddr) -> Self {
        let stream = TcpStream::connect(door).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { sender, driver }
    }

    pub async fn get(&mut self, url: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = Request::builder().uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "host") {
            let uri: http::Uri = url.parse().unwrap();
            request = request.header("host", uri.authority().map_or("x", |authority| authority.as_str()));
        }
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// One request over a connection for itself.
pub async fn get(door: SocketAddr, url: &str, headers: &[(&'static str, &str)]) -> Answer {
    Client::connect(door).await.get(url, headers).await
}
