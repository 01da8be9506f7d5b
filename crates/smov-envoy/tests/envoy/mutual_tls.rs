//! Mutual TLS between real Envoys: who is known, who is refused, and what the books say.

use std::net::SocketAddr;

use smov_envoy::config::{own_secrets, static_bootstrap, translate};
use smov_model::cluster::{Cluster, Protocol};
use smov_model::snapshot::{InboundPort, Snapshot};
use smov_model::tls::{ClientCertificate, ClusterTls, ConnectionSecurityPolicy, MutualTls, MutualTlsMode, OriginTls, Roots};
use smov_proxy::IssuedPem;
use smov_proxy::config::{AppAddress, InboundListen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::{Mesh, identity};
use crate::mesh::{Answer, App, Started, USER, cluster, envoy, get, port, rule, settings, snapshot, start, to, workload};

fn mutual(names: &[&str]) -> MutualTls {
    MutualTls { sni: format!("outbound_.8081_._.{USER}"), subject_alt_names: names.iter().map(|name| (*name).to_owned()).collect() }
}

/// The users' Envoy in front of an app, on a port of this mode.
async fn callee(mode: MutualTlsMode, app: &App, issued: Option<&IssuedPem>) -> (Started, SocketAddr) {
    let binary = envoy().unwrap();
    let mut proxy = settings("user-1");
    proxy.inbound = vec![InboundListen { port: 8081, app: AppAddress::Unix(app.socket.clone()) }];
    let mut own = snapshot(1, Vec::new(), Vec::new());
    own.proxy = workload("user-1", "user-service", "ctx1");
    own.inbound = vec![InboundPort { port: port(8081), protocol: Protocol::Http, service: Some(USER.parse().unwrap()), mutual_tls: mode }];
    let address = SocketAddr::new(proxy.pod.address, 8081);
    let started = start(binary, proxy, own).await;
    issued.into_iter().for_each(|issued| started.envoy.certify(issued));
    (started, address)
}

fn calling(address: SocketAddr, tls: ClusterTls, takes: bool) -> Snapshot {
    let mut users: Cluster = cluster("", &[(address, "user-1")]);
    users.tls = tls;
    users.endpoints[0].mutual_tls = takes;
    snapshot(1, vec![rule("spec.http[0]", Vec::new(), to(&[(1, "")]))], vec![users])
}

async fn caller(snapshot: Snapshot, issued: Option<&IssuedPem>) -> Started {
    let started = start(envoy().unwrap(), settings("caller-1"), snapshot).await;
    issued.into_iter().for_each(|issued| started.envoy.certify(issued));
    started
}

async fn ask(caller: &Started, id: &str) -> Answer {
    get(caller.envoy.outbound_address().unwrap(), "http://user-service:8081/", &[("x-request-id", id)]).await
}

/// Secrets travel by themselves: the first requests may come before them.
async fn served(caller: &Started, id: &str) -> Answer {
    for _ in 0..200 {
        let answer = ask(caller, id).await;
        if answer.status == 200 {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ask(caller, id).await
}

#[tokio::test]
async fn two_envoys_prove_themselves_to_each_other_and_the_app_hears_of_it() {
    if envoy().is_none() {
        return;
    }
    let mesh = Mesh::new();
    let app = App::saying("app");
    let (callee, address) = callee(MutualTlsMode::Strict, &app, Some(&mesh.issue(&identity("user-service")))).await;
    let snapshot = calling(address, ClusterTls::Auto(mutual(&[&identity("user-service")])), true);
    let caller = caller(snapshot, Some(&mesh.issue(&identity("caller")))).await;
    let answer = served(&caller, "mtls-1").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "app"));
    let headers = app.seen.lock().unwrap().last().unwrap().1.clone();
    let forwarded = headers["x-forwarded-client-cert"].to_str().unwrap();
    assert!(forwarded.starts_with(&format!("By={};Hash=", identity("user-service"))), "{forwarded}");
    assert!(forwarded.ends_with(&format!(";Subject=\"\";URI={}", identity("caller"))), "{forwarded}");

    let record = caller.envoy.records("mtls-1").await.pop().unwrap();
    assert_eq!((record.security, record.peer_principal), (ConnectionSecurityPolicy::MutualTls, Some(identity("user-service"))));
    let record = callee.envoy.records("mtls-1").await.pop().unwrap();
    assert_eq!((record.security, record.peer_principal), (ConnectionSecurityPolicy::MutualTls, Some(identity("caller"))));
    assert!(callee.envoy.metrics().contains(r#"connection_security_policy="mutual_tls""#), "{}", callee.envoy.metrics());
}

#[tokio::test]
async fn strict_closes_plaintext_before_an_answer_and_says_why() {
    let Some(_) = envoy() else { return };
    let mesh = Mesh::new();
    let app = App::saying("app");
    let (callee, address) = callee(MutualTlsMode::Strict, &app, Some(&mesh.issue(&identity("user-service")))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let ended = stream.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{ended:?} {}", String::from_utf8_lossy(&heard));
    let caller = caller(calling(address, ClusterTls::Disable, true), None).await;
    let answer = ask(&caller, "plain").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(app.seen.lock().unwrap().is_empty());
    let refused = loop {
        if let Some(refused) = callee.envoy.refused().pop() {
            break refused;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(refused.port, 8081);
    assert!(refused.reason.contains("STRICT"), "{refused:?}");
}

#[tokio::test]
async fn permissive_takes_both_and_auto_asks_what_the_endpoint_takes() {
    let Some(_) = envoy() else { return };
    let mesh = Mesh::new();
    let app = App::saying("app");
    let (callee, address) = callee(MutualTlsMode::Permissive, &app, Some(&mesh.issue(&identity("user-service")))).await;
    for (takes, security) in [(true, ConnectionSecurityPolicy::MutualTls), (false, ConnectionSecurityPolicy::None)] {
        let snapshot = calling(address, ClusterTls::Auto(mutual(&[&identity("user-service")])), takes);
        let caller = caller(snapshot, Some(&mesh.issue(&identity("caller")))).await;
        let id = format!("takes-{takes}");
        assert_eq!(served(&caller, &id).await.status, 200);
        let record = callee.envoy.records(&id).await.pop().unwrap();
        assert_eq!(record.security, security);
    }
    // What a client says of itself counts for nothing without a certificate.
    let answer = get(address, "/", &[("x-forwarded-client-cert", "By=me;URI=spiffe://x")]).await;
    assert_eq!(answer.status, 200);
    assert!(!app.seen.lock().unwrap().last().unwrap().1.contains_key("x-forwarded-client-cert"));
}

#[tokio::test]
async fn another_trust_domain_and_another_name_are_refused() {
    let Some(_) = envoy() else { return };
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let app = App::saying("app");
    let (callee, address) = callee(MutualTlsMode::Strict, &app, Some(&mesh.issue(&identity("user-service")))).await;
    let refused = |tls: MutualTls, issued: IssuedPem| async move {
        let caller = caller(calling(address, ClusterTls::IstioMutual(tls), true), Some(&issued)).await;
        // Until the secret is there, connections fail for want of it.
        for round in 0..200 {
            let id = format!("refused-{round}");
            let answer = ask(&caller, &id).await;
            assert_eq!(answer.status, 503, "{answer:?}");
            let attempt = caller.envoy.records(&id).await.pop().unwrap().attempts.pop().unwrap();
            let reason = attempt.reason.unwrap_or_default();
            if !reason.contains("Secret is not supplied") {
                return reason;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the secret came");
    };
    let reason = refused(mutual(&[&identity("movie-service")]), mesh.issue(&identity("caller"))).await;
    assert!(reason.contains("CERTIFICATE_VERIFY_FAILED") && reason.contains("SAN"), "{reason}");
    let reason = refused(mutual(&[]), other.issue(&identity("caller"))).await;
    assert!(reason.contains("CERTIFICATE_VERIFY_FAILED"), "{reason}");
    let mut stranger = mesh.issue("spiffe://elsewhere/ns/t/sa/caller");
    stranger.roots = mesh.issue(&identity("x")).roots;
    refused(mutual(&[]), stranger).await;
    assert!(app.seen.lock().unwrap().is_empty());
    assert!(callee.envoy.refused().iter().any(|refused| refused.reason.contains("SAN")), "{:?}", callee.envoy.refused());
}

#[tokio::test]
async fn a_new_certificate_comes_into_use_without_a_failed_request() {
    let Some(_) = envoy() else { return };
    let mesh = Mesh::new();
    let app = App::saying("app");
    let (callee, address) = callee(MutualTlsMode::Strict, &app, Some(&mesh.issue(&identity("user-service")))).await;
    let mut snapshot = calling(address, ClusterTls::Auto(mutual(&[])), true);
    // One request per connection: each one makes a handshake.
    snapshot.clusters.values_mut().for_each(|cluster| cluster.limits.max_requests_per_connection = 1);
    let caller = caller(snapshot, Some(&mesh.issue(&identity("caller")))).await;
    assert_eq!(served(&caller, "first").await.status, 200);
    for round in 0..10 {
        callee.envoy.certify(&mesh.issue(&identity("user-service")));
        caller.envoy.certify(&mesh.issue(&identity("caller")));
        for _ in 0..10 {
            let answer = ask(&caller, &format!("round-{round}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let hashes: std::collections::BTreeSet<String> = app
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, headers)| headers["x-forwarded-client-cert"].to_str().unwrap().split(';').nth(1).unwrap().to_owned())
        .collect();
    assert!(hashes.len() > 3, "several certificates were used: {}", hashes.len());
}

#[test]
fn envoy_validates_every_kind_of_tls() {
    let Some(binary) = envoy() else { return };
    let issued = Mesh::new().issue(&identity("caller"));
    let address: SocketAddr = "127.0.0.5:8081".parse().unwrap();
    let client = ClientCertificate::Pem { certificate: issued.chain.clone(), private_key: issued.private_key.clone() };
    let origin = |roots: Roots, client: Option<ClientCertificate>| {
        let subject_alt_names = vec!["pay.example.com".to_owned(), "spiffe://a/ns/b/sa/c".to_owned()];
        ClusterTls::Origin(Box::new(OriginTls { sni: Some("pay.example.com".to_owned()), subject_alt_names, roots, client }))
    };
    let kinds = [
        ClusterTls::Auto(mutual(&[&identity("user-service")])),
        ClusterTls::IstioMutual(mutual(&[])),
        origin(Roots::Anybody, None),
        origin(Roots::Pem(issued.roots.clone()), Some(client)),
        origin(Roots::System, None),
    ];
    for tls in kinds {
        for mode in [MutualTlsMode::Disable, MutualTlsMode::Permissive, MutualTlsMode::Strict] {
            let mut settings = settings("caller-1");
            settings.inbound = [8081, 6379].map(|port| InboundListen { port, app: AppAddress::Unix("/tmp/app.sock".into()) }).to_vec();
            let mut snapshot = calling(address, tls.clone(), true);
            snapshot.inbound = [(8081, Protocol::Http), (6379, Protocol::Tcp)]
                .map(|(number, protocol)| InboundPort { port: port(number), protocol, service: None, mutual_tls: mode })
                .to_vec();
            let mut resources = translate(&settings, &snapshot);
            resources.secrets.extend(own_secrets(&issued));
            crate::validate::check(&binary, &static_bootstrap(&settings, &resources, "127.0.0.1:0".parse().unwrap()));
        }
    }
}
