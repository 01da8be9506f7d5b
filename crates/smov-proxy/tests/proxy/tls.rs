//! Mutual TLS between two sidecars: what is served, and who is known to have called.

use smov_model::cluster::{Cluster, Endpoint};
use smov_model::record::Phase;
use smov_model::tls::{ClusterTls, ConnectionSecurityPolicy, MutualTls, MutualTlsMode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::authority::{Authority, identity};
use crate::support::*;

pub(crate) const SNI: &str = "outbound_.8081_._.user-service.t.svc.cluster.local";
pub(crate) const CALLER_ACCOUNT: &str = "api-gateway";
const URI: &str = "http://user-service:8081/users/";

/// A user-service pod whose port takes this, with a certificate of that authority.
pub(crate) fn pod(address: &str, app: App, mode: MutualTlsMode, authority: &Authority) -> Pod {
    let pod = user_pod(address, "ctx1", app);
    takes(&pod, mode);
    authority.issue(pod.sidecar.handle.certificates(), &identity("user-service"));
    pod
}

/// Publishes that a pod's port takes this from now on.
pub(crate) fn takes(pod: &Pod, mode: MutualTlsMode) {
    let mut snapshot = pod_snapshot(pod);
    snapshot.inbound[0].mutual_tls = mode;
    let caller = account(&caller_workload(), CALLER_ACCOUNT);
    snapshot.peers.insert(ip(CALLER), caller);
    pod.sidecar.handle.publish(snapshot);
}

pub(crate) fn mutual(accepted: &[&str]) -> MutualTls {
    MutualTls { sni: SNI.to_owned(), subject_alt_names: accepted.iter().map(|name| (*name).to_owned()).collect() }
}

pub(crate) fn secured(pod: &Pod, tls: ClusterTls) -> Cluster {
    let workload = account(&pod.workload, "user-service");
    let mut cluster = cluster(None, &[(pod.address, workload)]);
    cluster.endpoints[0].mutual_tls = true;
    Cluster { tls, ..cluster }
}

/// The caller's sidecar with a certificate.
pub(crate) fn caller_with(authority: &Authority, cluster: Cluster) -> Running {
    let mut snapshot = caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster]);
    snapshot.proxy = account(&snapshot.proxy, CALLER_ACCOUNT);
    let caller = caller(snapshot);
    authority.issue(caller.handle.certificates(), &identity(CALLER_ACCOUNT));
    caller
}

/// The number at the end of the first line with all of these in it.
pub(crate) fn metric(page: &str, parts: &[&str]) -> u64 {
    let line = page.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn both_sides_know_whom_they_talk_to() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.40.1", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let caller = caller_with(&authority, secured(&pod, ClusterTls::Auto(mutual(&[&identity("user-service")]))));
        let door = caller.outbound.unwrap();
        let forged = ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/t/sa/admin");
        let mut client = Client::connect(door).await;
        for number in 0..3 {
            let reply = client.get(URI, &[("x-request-id", &format!("id-{number}")), forged]).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
        }
        // What the app is told, exactly.
        let hash = {
            let pem = caller.handle.certificates().issued().unwrap().chain;
            let leaf: rustls::pki_types::CertificateDer<'_> = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
            let digest = ring::digest::digest(&ring::digest::SHA256, &leaf);
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let seen = pod.app.log.borrow()[0].headers.clone();
        assert_eq!(
            seen["x-forwarded-client-cert"],
            format!("By={};Hash={hash};Subject=\"\";URI={}", identity("user-service"), identity(CALLER_ACCOUNT))
        );
        // Records.
        let [theirs] = &pod.sidecar.handle.records("id-0")[..] else { panic!("one record") };
        assert_eq!(theirs.security, ConnectionSecurityPolicy::MutualTls);
        assert_eq!(theirs.peer_principal.as_deref(), Some(identity(CALLER_ACCOUNT).as_str()));
        assert_eq!(theirs.peer.as_ref().map(|peer| peer.pod.as_str()), Some("api-gateway-1"));
        let [own] = &caller.handle.records("id-0")[..] else { panic!("one record") };
        assert_eq!(
            (own.security, own.peer_principal.as_deref()),
            (ConnectionSecurityPolicy::MutualTls, Some(identity("user-service").as_str()))
        );
        assert!(own.phases.iter().any(|(phase, _)| *phase == Phase::Connect));
        // Metrics: three requests, one handshake.
        let page = pod.sidecar.handle.metrics();
        let principals = [
            format!("source_principal=\"{}\"", identity(CALLER_ACCOUNT)),
            format!("destination_principal=\"{}\"", identity("default")),
            "connection_security_policy=\"mutual_tls\"".to_owned(),
        ];
        let parts = ["istio_requests_total", &principals[0], &principals[1], &principals[2]];
        assert_eq!(metric(&page, &parts), 3, "{page}");
        assert_eq!(metric(&page, &["envoy_listener_ssl_handshake{"]), 1);
        let page = caller.handle.metrics();
        let destination = format!("destination_principal=\"{}\"", identity("user-service"));
        assert_eq!(metric(&page, &["istio_requests_total", &destination, "connection_security_policy=\"unknown\""]), 3, "{page}");
        assert_eq!(metric(&page, &["envoy_cluster_ssl_handshake{"]), 1);
        let (edges, _, _) = caller.handle.report();
        assert_eq!((edges[0].requests, edges[0].mutual_tls), (3, 3));
    });
}

#[test]
fn a_permissive_port_takes_both_and_plaintext_proves_nothing() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.40.2", App::saying("ok"), MutualTlsMode::Permissive, &authority);
        let forged = [("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/t/sa/admin"), ("x-request-id", "plain")];
        assert_eq!(get(pod.address, "http://user-service:8081/", &forged).await.status, 200);
        assert!(!pod.app.log.borrow()[0].headers.contains_key("x-forwarded-client-cert"));
        let record = &pod.sidecar.handle.records("plain")[0];
        assert_eq!((record.security, record.peer_principal.clone()), (ConnectionSecurityPolicy::None, None));

        let caller = caller_with(&authority, secured(&pod, ClusterTls::Auto(mutual(&[]))));
        assert_eq!(get(caller.outbound.unwrap(), URI, &[("x-request-id", "tls")]).await.status, 200);
        assert_eq!(pod.sidecar.handle.records("tls")[0].security, ConnectionSecurityPolicy::MutualTls);
        let page = pod.sidecar.handle.metrics();
        for policy in ["none", "mutual_tls"] {
            assert_eq!(metric(&page, &["istio_requests_total", &format!("connection_security_policy=\"{policy}\"")]), 1, "{policy}");
        }
        assert_eq!(metric(&page, &["istio_requests_total", "\"none\"", "source_principal=\"unknown\""]), 1);
        // A head in pieces, the first a single byte, is plaintext all the same.
        let mut stream = TcpStream::connect(pod.address).await.unwrap();
        for piece in ["G", "ET / HTTP/1.1\r\nhost: x\r\n", "connection: close\r\n\r\n"] {
            tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    });
}

#[test]
fn auto_asks_only_endpoints_that_take_it_and_a_change_uses_no_old_connection() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.40.3", App::saying("ok"), MutualTlsMode::Permissive, &authority);
        let auto = secured(&pod, ClusterTls::Auto(mutual(&[])));
        let mut plain = auto.clone();
        plain.endpoints[0].mutual_tls = false;
        let disabled = Cluster { tls: ClusterTls::Disable, ..auto.clone() };
        let always = Cluster { tls: ClusterTls::IstioMutual(mutual(&[])), ..plain.clone() };
        let caller = caller_with(&authority, plain.clone());
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for (number, (cluster, expected)) in [
            (plain, ConnectionSecurityPolicy::None),
            (auto.clone(), ConnectionSecurityPolicy::MutualTls),
            (disabled, ConnectionSecurityPolicy::None),
            (always, ConnectionSecurityPolicy::MutualTls),
            (auto, ConnectionSecurityPolicy::MutualTls),
        ]
        .into_iter()
        .enumerate()
        {
            caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster]));
            let id = format!("id-{number}");
            assert_eq!(client.get(URI, &[("x-request-id", &id)]).await.status, 200);
            assert_eq!(pod.sidecar.handle.records(&id)[0].security, expected, "{id}");
            assert_eq!(caller.handle.records(&id)[0].security, expected, "{id}");
        }
    });
}

#[test]
fn sessions_are_resumed_and_keep_the_identity() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.40.4", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let mut cluster = secured(&pod, ClusterTls::Auto(mutual(&[])));
        cluster.limits.max_requests_per_connection = 1;
        let caller = caller_with(&authority, cluster);
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for number in 0..10 {
            let id = format!("id-{number}");
            assert_eq!(client.get(URI, &[("x-request-id", &id)]).await.status, 200);
            assert_eq!(pod.sidecar.handle.records(&id)[0].peer_principal, Some(identity(CALLER_ACCOUNT)));
            assert_eq!(caller.handle.records(&id)[0].peer_principal, Some(identity("user-service")));
        }
        let (theirs, own) = (pod.sidecar.handle.metrics(), caller.handle.metrics());
        assert_eq!((metric(&theirs, &["ssl_handshake{"]), metric(&theirs, &["ssl_session_reused{"])), (10, 9));
        assert_eq!((metric(&own, &["ssl_handshake{"]), metric(&own, &["ssl_session_reused{"])), (10, 9));
        // A new certificate begins new sessions.
        authority.issue(pod.sidecar.handle.certificates(), &identity("user-service"));
        assert_eq!(client.get(URI, &[]).await.status, 200);
        assert_eq!(metric(&caller.handle.metrics(), &["ssl_session_reused{"]), 9);
        authority.issue(caller.handle.certificates(), &identity("somebody-else"));
        assert_eq!(client.get(URI, &[("x-request-id", "else")]).await.status, 200);
        let record = &pod.sidecar.handle.records("else")[0];
        assert_eq!(record.peer_principal, Some(identity("somebody-else")));
        // Whatever it calls itself and wherever it comes from: that identity has no workload here.
        assert_eq!(record.peer, None);
        let page = pod.sidecar.handle.metrics();
        let principal = format!("source_principal=\"{}\"", identity("somebody-else"));
        assert_eq!(metric(&page, &["istio_requests_total", "source_workload=\"unknown\"", &principal]), 1, "{page}");
    });
}

#[test]
fn connections_are_opened_where_the_snapshot_says_and_everything_else_goes_by_the_address() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.40.6", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let relay = tokio::net::TcpListener::bind("127.70.40.60:0").await.unwrap();
        let (via, behind) = (relay.local_addr().unwrap(), pod.address);
        tokio::task::spawn_local(async move {
            let (mut near, _) = relay.accept().await.unwrap();
            let mut far = TcpStream::connect(behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        let mut cluster = secured(&pod, ClusterTls::Auto(mutual(&[&identity("user-service")])));
        let endpoint: &mut Endpoint = &mut cluster.endpoints[0];
        endpoint.via = Some(via);
        let caller = caller_with(&authority, cluster);
        assert_eq!(get(caller.outbound.unwrap(), URI, &[("x-request-id", "id")]).await.status, 200);
        let record = &caller.handle.records("id")[0];
        assert_eq!(record.attempts[0].endpoint, Some(behind));
        // Through the relay nobody comes from the caller's address, and the certificate tells all the same.
        let theirs = &pod.sidecar.handle.records("id")[0];
        assert_eq!(theirs.peer.as_ref().map(|peer| peer.pod.as_str()), Some("api-gateway-1"));
    });
}
