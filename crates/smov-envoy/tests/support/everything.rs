//! A snapshot that uses every word of the model, so that Envoy can say whether it understands each of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, LoadBalancer, NamedEndpoint, OutlierDetection, Protocol};
use smov_model::names::{ClusterName, HostPattern, Port};
use smov_model::route::{
    AbortStatus, CorsPolicy, Destination, DirectResponse, Fault, HashKey, HeaderChange, HeaderOperations, Mirror, Percent, Redirect,
    RedirectPort, RetryOn, RetryPolicy, Rewrite, RouteAction, RouteMatch, RoutePolicy, RouteRule, RouteTable, ValueMatch, VirtualHost,
};
use smov_model::snapshot::{InboundPort, PathNormalization, Snapshot, TcpRoute, UnknownHosts};
use smov_model::split::{Split, Weight};
use smov_model::text::{Pattern, StringMatch};
use smov_model::tls::MutualTlsMode;
use smov_proxy::ProxyConfig;
use smov_proxy::config::{AppAddress, InboundListen, IngressListen, TcpDoor};

use super::mesh::{cluster, cluster_name, origin, port, settings, snapshot, to, workload};

fn regex(source: &str) -> StringMatch {
    StringMatch::Regex(Pattern::new(source).unwrap())
}

fn all_matches() -> Vec<RouteMatch> {
    let value = |text: &str| ValueMatch::Value(StringMatch::Exact(text.into()));
    vec![
        RouteMatch {
            uri: Some(StringMatch::Prefix("/Users".into())),
            ignore_uri_case: true,
            scheme: Some(StringMatch::Exact("http".into())),
            method: Some(regex("GET|HEAD")),
            authority: Some(StringMatch::Prefix("user".into())),
            headers: vec![("x-canary".into(), value("true")), ("x-any".into(), ValueMatch::Present)],
            without_headers: vec![
                ("x-old".into(), ValueMatch::Present),
                ("x-tier".into(), ValueMatch::Value(StringMatch::Prefix("gold".into()))),
            ],
            query: vec![("a".into(), value("1")), ("b".into(), ValueMatch::Present), ("c".into(), ValueMatch::Value(regex("[0-9]+")))],
        },
        RouteMatch { uri: Some(StringMatch::Exact("/exact".into())), ..RouteMatch::default() },
        RouteMatch { uri: Some(regex("/r/[0-9]+")), ignore_uri_case: true, ..RouteMatch::default() },
        RouteMatch { headers: vec![("x-p".into(), ValueMatch::Value(StringMatch::Prefix(String::new())))], ..RouteMatch::default() },
    ]
}

fn change(name: &str) -> HeaderChange {
    HeaderChange {
        set: vec![(format!("x-set-{name}"), "%DOWNSTREAM_REMOTE_ADDRESS%".into()), ("x-percent".into(), "100%%".into())],
        add: vec![(format!("x-add-{name}"), "1".into())],
        remove: vec![format!("x-gone-{name}")],
    }
}

fn operations(name: &str) -> HeaderOperations {
    HeaderOperations { request: change(name), response: change(name) }
}

fn all_policies() -> RoutePolicy {
    let half = Percent::new(50.0).unwrap();
    RoutePolicy {
        timeout: Some(Duration::from_millis(1500)),
        retry: Some(RetryPolicy {
            attempts: 3,
            per_try_timeout: Some(Duration::from_millis(300)),
            on: RetryOn {
                any_5xx: true,
                gateway_error: true,
                reset: true,
                reset_before_request: true,
                connect_failure: true,
                refused_stream: true,
                retriable_4xx: true,
                cancelled: true,
                unavailable: true,
                status_codes: vec![429, 503],
            },
            backoff: Duration::from_millis(5),
            ignore_previous_hosts: true,
        }),
        fault: Some(Fault {
            delay: Some((Percent::new(0.0001).unwrap(), Duration::from_millis(5))),
            abort: Some((half, AbortStatus::Grpc(14))),
        }),
        rewrite: Some(Rewrite { uri: Some("/v2/".into()), uri_regex: None, authority: Some("other.t".into()) }),
        headers: operations("route"),
        mirrors: vec![Mirror { cluster: cluster_name("ctx2"), share: half }],
        cors: Some(CorsPolicy {
            allow_origins: vec![StringMatch::Exact("https://a".into()), regex("https://.*")],
            allow_methods: "GET,POST".into(),
            allow_headers: "x-a".into(),
            expose_headers: "x-b".into(),
            max_age: Some(600),
            allow_credentials: true,
            forward_unmatched_preflights: true,
        }),
        hash: vec![
            HashKey::Header("x-user".into()),
            HashKey::Cookie { name: "session".into(), path: "/".into(), ttl: Some(Duration::ZERO) },
            HashKey::Cookie { name: "plain".into(), path: String::new(), ttl: None },
            HashKey::SourceIp,
            HashKey::Query("user".into()),
        ],
    }
}

fn rules() -> Vec<RouteRule> {
    let rule =
        |number: usize, matches, action, policy| RouteRule { origin: origin(&format!("spec.http[{number}]")), matches, action, policy };
    let arms = ["ctx1", "ctx2"].map(|subset| (Weight(1), Destination { cluster: cluster_name(subset), headers: operations(subset) }));
    let regex_rewrite = RoutePolicy {
        rewrite: Some(Rewrite { uri_regex: Some((Pattern::new("/u([0-9]+)").unwrap(), "/user/\\1".into())), ..Rewrite::default() }),
        ..RoutePolicy::default()
    };
    let host_by_header = RoutePolicy {
        headers: HeaderOperations {
            request: HeaderChange { set: vec![("host".into(), "set.t".into())], ..HeaderChange::default() },
            ..HeaderOperations::default()
        },
        ..RoutePolicy::default()
    };
    let http_abort = RoutePolicy {
        fault: Some(Fault { delay: None, abort: Some((Percent::new(100.0).unwrap(), AbortStatus::Http(418))) }),
        ..RoutePolicy::default()
    };
    let redirect = |code, uri: Option<&str>, prefix: Option<&str>, port| {
        let uri = uri.map(str::to_owned);
        let prefix_rewrite = prefix.map(str::to_owned);
        RouteAction::Redirect(Redirect { code, uri, authority: Some("new.t".into()), scheme: Some("https".into()), port, prefix_rewrite })
    };
    let prefix = |path: &str| vec![RouteMatch { uri: Some(StringMatch::Prefix(path.into())), ..RouteMatch::default() }];
    let direct = |body: smov_model::route::Body| RouteAction::DirectResponse(DirectResponse { status: 201, body });
    let plain = RoutePolicy::default;
    let mut rules = vec![
        rule(0, all_matches(), RouteAction::Forward(Split::new(arms.to_vec()).unwrap()), all_policies()),
        rule(1, prefix("/one"), to(&[(0, "ctx1")]), regex_rewrite),
        rule(2, prefix("/host"), to(&[(1, "ctx1")]), host_by_header),
        rule(3, prefix("/abort"), to(&[(1, "ctx1")]), http_abort),
        rule(4, prefix("/bytes"), direct(vec![0xff, 0xfe].into()), plain()),
        rule(5, prefix("/text"), direct("좌석 \"A\" 100%".into()), plain()),
        rule(6, prefix("/empty"), direct("".into()), plain()),
        rule(7, prefix("/by-name"), RouteAction::Forward(one(named("by-name"))), plain()),
        rule(8, prefix("/dns"), RouteAction::Forward(one(named("dns"))), plain()),
        rule(9, prefix("/missing"), to(&[(1, "nowhere")]), plain()),
    ];
    for (place, code) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let ports = [None, Some(RedirectPort::Fixed(port(8443))), Some(RedirectPort::OfScheme), Some(RedirectPort::OfListener), None];
        let (uri, swap) = if place % 2 == 0 { (Some("/new?x=1"), None) } else { (None, Some("/v3/")) };
        rules.push(rule(10 + place, prefix(&format!("/redirect/{code}/")), redirect(code, uri, swap, ports[place]), plain()));
    }
    rules.push(rule(15, vec![], to(&[(1, "ctx1")]), plain()));
    rules
}

fn named(subset: &str) -> ClusterName {
    cluster_name(subset)
}

fn one(cluster: ClusterName) -> Split<Destination> {
    Split::new(vec![(Weight(1), Destination { cluster, headers: HeaderOperations::default() })]).unwrap()
}

fn clusters(endpoints: &[(SocketAddr, &str)]) -> Vec<Cluster> {
    let mut first = cluster("ctx1", endpoints);
    first.limits = ConnectionLimits {
        max_connections: 10,
        max_pending_requests: 2,
        max_requests: 20,
        max_requests_per_connection: 1,
        max_retries: 3,
        connect_timeout: Duration::from_millis(250),
        idle_timeout: Duration::from_secs(30),
    };
    first.outlier =
        Some(OutlierDetection { consecutive_5xx: 0, consecutive_gateway_errors: 3, min_health_percent: 30, ..OutlierDetection::default() });
    for (place, endpoint) in first.endpoints.iter_mut().enumerate() {
        // A gap: control planes may leave a priority empty for this client.
        endpoint.priority = place as u32 * 2;
    }
    let mut second = cluster("ctx2", endpoints);
    second.load_balancer = LoadBalancer::RingHash { minimum_size: 1024 };
    second.locality_weights = vec![("region-ctx1//".into(), 80)];
    second.outlier = Some(OutlierDetection::default());
    let mut maglev = cluster("maglev", endpoints);
    maglev.load_balancer = LoadBalancer::Maglev { table_size: 65537 };
    let mut random = cluster("random", endpoints);
    random.load_balancer = LoadBalancer::Random;
    let mut robin = cluster("robin", &[]);
    robin.load_balancer = LoadBalancer::RoundRobin;
    let mut tcp = cluster("tcp", endpoints);
    tcp.protocol = Protocol::Tcp;
    let mut by_name = cluster("by-name", &[]);
    by_name.discovery = Discovery::OriginalDestination;
    let mut dns = cluster("dns", &[]);
    dns.discovery = Discovery::Dns(vec![NamedEndpoint { host: "localhost".parse().unwrap(), port: port(9), weight: 1, mutual_tls: false }]);
    vec![first, second, maglev, random, robin, tcp, by_name, dns]
}

/// Settings of a sidecar with every kind of door.
pub fn sidecar(socket: &std::path::Path) -> ProxyConfig {
    let mut config = settings("caller-1");
    config.inbound = vec![
        InboundListen { port: 8081, app: AppAddress::Unix(socket.to_owned()) },
        InboundListen { port: 6379, app: AppAddress::Tcp("127.0.0.1:6380".parse().unwrap()) },
    ];
    let door = |door, host: &str| TcpDoor { door, host: host.parse().unwrap(), port: port(6379) };
    config.tcp_doors =
        vec![door(16000, "redis.t.svc.cluster.local"), door(16001, "two.t.svc.cluster.local"), door(16002, "none.t.svc.cluster.local")];
    config
}

/// Settings of a gateway.
pub fn gateway() -> ProxyConfig {
    let mut config = settings("gateway-1");
    config.ingress = Some(IngressListen { address: SocketAddr::new(config.pod.address, 0), server_port: port(80) });
    config
}

/// The snapshot.
pub fn everything(endpoints: &[(SocketAddr, &str)], normalization: PathNormalization, unknown: UnknownHosts) -> Snapshot {
    let mut all = snapshot(1, rules(), clusters(endpoints));
    let host = |name: &str, domains: &[&str]| VirtualHost {
        name: name.into(),
        domains: domains.iter().map(|domain| domain.parse::<HostPattern>().unwrap()).collect(),
        service: None,
        rules: rules(),
    };
    // The same names twice, wildcards, and `*` on the port that a name without port means.
    let on_80 = RouteTable {
        hosts: vec![host("web:80", &["web.t", "*.example.com"]), host("web:80", &["web.t", "*.a.example.com"]), host("any:80", &["*"])],
    };
    all.outbound.insert(port(80), on_80.clone());
    all.outbound.insert(port(9000), RouteTable { hosts: vec![host("any:9000", &["*"])] });
    all.ingress = BTreeMap::from([(port(80), on_80)]);
    let tcp = |host: &str, arms: &[(u32, &str)]| TcpRoute {
        host: host.parse().unwrap(),
        port: port(6379),
        split: Split::new(arms.iter().map(|(weight, subset)| (Weight(*weight), cluster_name(subset))).collect()).unwrap(),
    };
    all.tcp = vec![tcp("redis.t.svc.cluster.local", &[(1, "tcp")]), tcp("two.t.svc.cluster.local", &[(1, "tcp"), (3, "nowhere")])];
    let inbound = |number, protocol| InboundPort { port: port(number), protocol, service: None, mutual_tls: MutualTlsMode::default() };
    all.inbound = vec![inbound(8081, Protocol::Http), inbound(6379, Protocol::Tcp)];
    all.authorization = crate::policies::policies();
    all.peers = BTreeMap::from([("127.0.0.9".parse().unwrap(), workload("peer-1", "peer", "ctx1"))]);
    all.protected = vec!["127.0.0.1:6443".parse().unwrap()];
    all.path_normalization = normalization;
    all.unknown_hosts = unknown;
    let _: Port = port(80);
    all
}
