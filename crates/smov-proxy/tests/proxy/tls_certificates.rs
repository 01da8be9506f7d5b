//! How certificates come to a proxy, and that nobody notices when they change.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use smov_model::tls::{ClientCertificate, ClusterTls, MutualTlsMode, OriginTls};
use smov_model::wire::{FromProxy, ProxyRole, ToProxy};
use smov_proxy::config::ControlAddress;
use tokio::net::{UnixListener, UnixStream};

use super::control::{answer, read_message, write_message};
use super::tls::{caller_with, metric, mutual, pod, secured};
use crate::authority::{Authority, identity};
use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

/// The next request for a certificate: its key.
async fn asked(stream: &mut UnixStream) -> String {
    loop {
        if let FromProxy::CertificateRequest { public_key } = read_message(stream).await {
            return public_key;
        }
    }
}

fn certificate(authority: &Authority, public_key: &str, lifetime: Duration) -> ToProxy {
    let chain = authority.certify(public_key, &identity("api-gateway"), |params| {
        params.not_after = (SystemTime::now() + lifetime).into();
    });
    let expires = (SystemTime::now() + lifetime).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    ToProxy::Certificate { chain, roots: authority.roots(), expires }
}

#[test]
fn a_proxy_asks_again_when_refused_and_before_its_certificate_ends() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (socket, token_file) = (folder.path().join("xds.sock"), folder.path().join("token"));
        std::fs::write(&token_file, "secret\n").unwrap();
        let control = UnixListener::bind(&socket).unwrap();
        let mut config = config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
        config.control = Some(ControlAddress { socket: socket.clone(), token_file });
        let proxy = start(config, dice());
        let authority = Authority::new();
        let (mut stream, _) = control.accept().await.unwrap();
        let first = asked(&mut stream).await;
        // Ready needs both: the snapshot calls for a certificate.
        let mut cluster = cluster(None, &[]);
        cluster.tls = ClusterTls::Auto(mutual(&[]));
        let snapshot = caller_snapshot(vec![], vec![cluster]);
        let version = snapshot.version;
        write_message(&mut stream, &ToProxy::Snapshot { snapshot: Box::new(snapshot) }).await;
        assert_eq!(answer(&mut stream).await, FromProxy::Ack { version });
        let ready = async || get(proxy.ready, "http://x/healthz/ready", &[]).await;
        let waiting = ready().await;
        assert_eq!((waiting.status, waiting.body.as_str()), (503, "no certificate has arrived yet\n"));

        write_message(&mut stream, &ToProxy::CertificateRefused { reason: "no such service account".into() }).await;
        let second = asked(&mut stream).await;
        assert_ne!(first, second, "every request has a key of its own");
        // A certificate for another key, and one of a root that is not the one told, are not taken.
        write_message(&mut stream, &certificate(&authority, &first, Duration::from_secs(3600))).await;
        let third = asked(&mut stream).await;
        assert_eq!(ready().await.status, 503);
        let mut changes = proxy.handle.certificates().changes();
        let sent = SystemTime::now();
        write_message(&mut stream, &certificate(&authority, &third, Duration::from_secs(3))).await;
        changes.changed().await.unwrap();
        assert_eq!(ready().await.status, 200);
        let page = get(proxy.admin, "http://x/certs", &[]).await.body;
        let certs: serde_json::Value = serde_json::from_str(&page).unwrap();
        let own = &certs["certificates"][0]["cert_chain"][0];
        assert_eq!(own["subject_alt_names"][0]["uri"], identity("api-gateway"), "{page}");
        assert_eq!(own["days_until_expiration"], "0");
        assert!(!page.contains("PRIVATE"));
        assert!(proxy.handle.metrics().contains("istio_agent_cert_expiry_seconds{resource_name=\"default\"} "));
        // The next one is asked for at half of its lifetime, on this stream or another.
        drop(stream);
        let (mut stream, _) = control.accept().await.unwrap();
        let fourth = asked(&mut stream).await;
        let waited = sent.elapsed().unwrap();
        assert!(waited > Duration::from_millis(800) && waited < Duration::from_secs(3), "{waited:?}");
        write_message(&mut stream, &certificate(&authority, &fourth, Duration::from_secs(3600))).await;
        changes.changed().await.unwrap();
        let issued = proxy.handle.certificates().issued().unwrap();
        assert!(issued.private_key.starts_with("-----BEGIN PRIVATE KEY-----\n") && issued.identity == identity("api-gateway"));
        assert!(rcgen::KeyPair::from_pem(&issued.private_key).is_ok());
    });
}

#[test]
fn new_certificates_under_load_fail_no_request() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.43.1", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let cluster = secured(&pod, ClusterTls::Auto(mutual(&[&identity("user-service")])));
        let caller = caller_with(&authority, cluster.clone());
        // A second caller opens a connection for every request.
        let mut churning = cluster;
        churning.limits.max_requests_per_connection = 1;
        let (stop, served) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let mut clients = Vec::new();
        for number in 0..8 {
            let (stop, served, door) = (stop.clone(), served.clone(), caller.outbound.unwrap());
            clients.push(tokio::task::spawn_local(async move {
                let mut client = Client::connect(door).await;
                while !stop.get() {
                    let reply = client.get(URI, &[]).await;
                    assert_eq!(reply.status, 200, "client {number}: {}", reply.body);
                    served.set(served.get() + 1);
                }
            }));
        }
        for round in 0..20 {
            let until = served.get() + 50;
            while served.get() < until {
                tokio::task::yield_now().await;
            }
            authority.issue(pod.sidecar.handle.certificates(), &identity("user-service"));
            authority.issue(caller.handle.certificates(), &identity("api-gateway"));
            if round == 10 {
                caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![churning.clone()]));
            }
        }
        stop.set(true);
        for client in clients {
            client.await.unwrap();
        }
        let page = caller.handle.metrics();
        assert_eq!(metric(&page, &["istio_requests_total", "response_code=\"200\""]), served.get(), "{page}");
        assert!(metric(&page, &["envoy_cluster_ssl_handshake{"]) > 400);
        assert_eq!(pod.sidecar.handle.refused(), []);
    });
}

#[test]
fn the_page_of_the_configuration_shows_no_key() {
    run(async {
        let pem = ClientCertificate::Pem { certificate: "CERT".to_owned(), private_key: "SECRET".to_owned() };
        let mut cluster = cluster(None, &[]);
        cluster.tls = ClusterTls::Origin(Box::new(OriginTls { client: Some(pem), ..OriginTls::default() }));
        let caller = caller(caller_snapshot(vec![], vec![cluster]));
        let page = get(caller.admin, "http://x/config_dump", &[]).await.body;
        assert!(page.contains("CERT") && page.contains("[redacted]") && !page.contains("SECRET"), "{page}");
    });
}
