//! Who is not served, and where the reason is found.

use std::sync::Arc;

use rcgen::CertificateParams;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use smov_model::record::Record;
use smov_model::tls::{ClusterTls, MutualTlsMode, OriginTls, Roots};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::tls::{caller_with, metric, mutual, pod, secured};
use crate::authority::{Authority, expired, identity};
use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

type Leaf = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Why the proxy that refused the last connection did so.
fn reason(pod: &Pod) -> String {
    pod.sidecar.handle.refused().last().unwrap().reason.clone()
}

/// A client by hand: what it reads after a request, or the error.
async fn by_hand(pod: &Pod, authority: &Authority, leaf: Option<Leaf>, protocols: &[&str]) -> std::io::Result<String> {
    by_hand_in(rustls::DEFAULT_VERSIONS, pod, authority, leaf, protocols).await
}

async fn by_hand_in(
    versions: &[&'static rustls::SupportedProtocolVersion],
    pod: &Pod,
    authority: &Authority,
    leaf: Option<Leaf>,
    protocols: &[&str],
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match leaf {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(pod.address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("user.example").unwrap(), stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Certificates with this identity and another one, in both orders.
fn two_uris(authority: &Authority, identity: &str) -> [Leaf; 2] {
    let another = || rcgen::SanType::URI("spiffe://cluster.local/ns/t/sa/admin".try_into().unwrap());
    [1, 0].map(|place| authority.leaf(identity, |params| params.subject_alt_names.insert(place, another())))
}

/// A pod whose certificate also has the name that [`by_hand`] asks for.
fn named_pod(address: &str, mode: MutualTlsMode, authority: &Authority) -> Pod {
    let pod = pod(address, App::saying("ok"), mode, authority);
    let certificates = pod.sidecar.handle.certificates();
    let chain = authority.certify(&certificates.request().unwrap(), &identity("user-service"), |params| {
        params.subject_alt_names.push(rcgen::SanType::DnsName("user.example".try_into().unwrap()));
    });
    certificates.take(&chain, &authority.roots()).unwrap();
    pod
}

#[test]
fn a_strict_port_resets_plaintext_before_a_byte() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.41.1", App::saying("ok"), MutualTlsMode::Strict, &authority);
        for bytes in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "P", "\r\n"] {
            let mut stream = TcpStream::connect(pod.address).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let error = stream.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(reason(&pod).contains("STRICT"), "{}", reason(&pod));
        // Through a sidecar that was told to speak plaintext: as Envoy, 503 UC.
        let caller = caller_with(&authority, secured(&pod, ClusterTls::Disable));
        let reply = get(caller.outbound.unwrap(), URI, &[("x-request-id", "plain")]).await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.body, "upstream connect error or disconnect/reset before headers. reset reason: connection termination");
        assert_eq!(caller.handle.records("plain")[0].flags.to_string(), "UC");
        assert!(pod.app.log.borrow().is_empty());
        assert_eq!(metric(&pod.sidecar.handle.metrics(), &["envoy_listener_ssl_connection_error{"]), 4);
        assert_eq!(pod.sidecar.handle.refused().last().unwrap().remote.ip(), ip(CALLER));
    });
}

#[test]
fn clients_that_cannot_prove_who_they_are_are_refused_with_the_reason() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let pod = named_pod("127.70.41.2", MutualTlsMode::Strict, &authority);
        let leaf = |change: fn(&mut CertificateParams)| authority.leaf(&identity("api-gateway"), change);
        let elsewhere = authority.leaf("spiffe://other.mesh/ns/t/sa/api-gateway", |_| {});
        let nameless = leaf(|params| params.subject_alt_names = vec![rcgen::SanType::DnsName("x.example".try_into().unwrap())]);
        let [twice, both] = two_uris(&authority, &identity("api-gateway"));
        let of_servers = leaf(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
        let answer = by_hand(&pod, &authority, Some(leaf(|_| {})), &["istio"]).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
        for (client, expected, counter) in [
            (None, "PEER_DID_NOT_RETURN_A_CERTIFICATE", "no_cert"),
            (Some(leaf(expired)), "certificate has expired", "error"),
            (Some(other.leaf(&identity("api-gateway"), |_| {})), "unable to get local issuer certificate", "error"),
            (Some(elsewhere), "SAN matcher, certificate SANs are [spiffe://other.mesh/ns/t/sa/api-gateway]", "san"),
            (Some(nameless), "SAN matcher, certificate SANs are [x.example], one of the trust domain cluster.local", "san"),
            (Some(twice), "t/sa/admin], one URI and no more is expected", "san"),
            (Some(both), "t/sa/api-gateway], one URI and no more is expected", "san"),
            (Some(of_servers), "unsuitable certificate purpose", "error"),
        ] {
            let counter = format!("envoy_listener_ssl_fail_verify_{counter}{{");
            let before = metric(&pod.sidecar.handle.metrics(), &[&counter]);
            let answer = by_hand(&pod, &authority, client, &["istio"]).await;
            assert!(answer.is_err(), "{expected}: {answer:?}");
            assert!(reason(&pod).contains(expected), "{} instead of {expected}", reason(&pod));
            assert_eq!(metric(&pod.sidecar.handle.metrics(), &[&counter]), before + 1, "{expected}");
        }
        assert_eq!(pod.sidecar.handle.refused()[0].server_name.as_deref(), Some("user.example"));
        assert_eq!(pod.app.log.borrow().len(), 1);
    });
}

#[test]
fn tls_of_others_is_refused_at_a_permissive_http_port_and_taken_at_a_strict_one() {
    run(async {
        let authority = Authority::new();
        let leaf = || authority.leaf(&identity("api-gateway"), |_| {});
        let permissive = named_pod("127.70.41.3", MutualTlsMode::Permissive, &authority);
        for protocols in [&[][..], &["http/1.1"]] {
            assert!(by_hand(&permissive, &authority, Some(leaf()), protocols).await.is_err());
            assert!(reason(&permissive).contains("filter_chain_not_found"));
        }
        assert!(by_hand(&permissive, &authority, Some(leaf()), &["istio", "http/1.1"]).await.is_ok());
        let strict = named_pod("127.70.41.4", MutualTlsMode::Strict, &authority);
        for protocols in [&[][..], &["http/1.1"], &["istio-http/1.1", "istio", "http/1.1"]] {
            let answer = by_hand(&strict, &authority, Some(leaf()), protocols).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{protocols:?}: {answer}");
        }
        // Both versions are taken, as by Istio's sidecars; in the older one a client hears at once why not.
        for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
            assert!(by_hand_in(versions, &strict, &authority, Some(leaf()), &["istio"]).await.unwrap().starts_with("HTTP/1.1 200"));
        }
        let said =
            by_hand_in(&[&rustls::version::TLS12], &strict, &authority, Some(authority.leaf(&identity("x"), expired)), &["istio"]).await;
        assert!(said.unwrap_err().to_string().contains("CertificateExpired"));
        // HTTP/2 is not spoken here, and that is said in TLS already.
        assert!(by_hand(&strict, &authority, Some(leaf()), &["h2"]).await.is_err());
        assert!(reason(&strict).contains("NO_APPLICATION_PROTOCOL"), "{}", reason(&strict));
    });
}

#[test]
fn a_caller_whose_certificate_is_refused_finds_the_alert_in_its_record() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let pod = pod("127.70.41.5", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let caller = caller_with(&other, secured(&pod, ClusterTls::Auto(mutual(&[]))));
        // It trusts both meshes, and its own certificate is of the other.
        let certificates = caller.handle.certificates();
        let chain = other.certify(&certificates.request().unwrap(), &identity("api-gateway"), |_| {});
        certificates.take(&chain, &(other.roots() + &authority.roots())).unwrap();
        for number in 0..50 {
            let id = format!("id-{number}");
            // A body that is on its way while the alert comes.
            let body = "x".repeat(number * 4096);
            let request = request("POST", URI, &[("x-request-id", &id)], &body);
            let reply = Client::connect(caller.outbound.unwrap()).await.call(request).await;
            assert_eq!(reply.status, 503);
            let record = &caller.handle.records(&id)[0];
            assert_eq!(record.flags.to_string(), "UC");
            let said = record.attempts[0].reason.clone().unwrap();
            assert_eq!(said, "TLS_error:|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end", "{number}");
            // The client is not told why.
            assert_eq!(reply.body, "upstream connect error or disconnect/reset before headers. reset reason: connection termination");
        }
        assert!(reason(&pod).contains("unable to get local issuer certificate"));
    });
}

/// One request through the caller's sidecar to a server by hand.
async fn calls(leaf: Leaf, authority: &Authority, tls: ClusterTls, with_certificate: bool) -> (Reply, Record) {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(leaf.0, leaf.1).unwrap();
    let listener = TcpListener::bind("127.70.41.9:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::task::spawn_local(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let mut cluster = cluster(None, &[(address, workload("user-1", "user-service-ctx1", "ctx1"))]);
    cluster.endpoints[0].mutual_tls = true;
    cluster.tls = tls;
    let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster]));
    if with_certificate {
        authority.issue(caller.handle.certificates(), &identity("api-gateway"));
    }
    let reply = get(caller.outbound.unwrap(), URI, &[("x-request-id", "id")]).await;
    server.abort();
    let record = caller.handle.records("id")[0].clone();
    caller.shutdown.cancel();
    caller.task.await.unwrap().unwrap();
    (reply, record)
}

#[test]
fn servers_that_cannot_prove_who_they_are_are_not_called_and_the_reason_is_in_the_record() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let user = identity("user-service");
        let any = || ClusterTls::Auto(mutual(&[]));
        let only = |name: &str| ClusterTls::IstioMutual(mutual(&[name]));
        let elsewhere = authority.leaf("spiffe://other.mesh/ns/t/sa/user-service", |_| {});
        let [twice, both] = two_uris(&authority, &user);
        let dns = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName("x.example".try_into().unwrap())];
        };
        for (leaf, tls, expected) in [
            (twice, any(), "t/sa/admin], one URI and no more is expected"),
            (both, only(&user), "t/sa/user-service], one URI and no more is expected"),
            (authority.leaf(&user, dns), only("x.example"), "[x.example], one URI and no more is expected"),
            (authority.leaf(&user, expired), any(), "certificate has expired"),
            (other.leaf(&user, |_| {}), any(), "unable to get local issuer certificate"),
            (elsewhere, any(), "SAN matcher, certificate SANs are [spiffe://other.mesh/"),
            (
                authority.leaf(&user, |_| {}),
                only(&identity("movie-service")),
                "certificate SANs are [spiffe://cluster.local/ns/t/sa/user-service], one of [spiffe://cluster.local/ns/t/sa/movie-service]",
            ),
        ] {
            let (reply, record) = calls(leaf, &authority, tls, true).await;
            let said = record.attempts[0].reason.clone().unwrap();
            assert!(said.starts_with("TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"), "{said}");
            assert!(said.contains(expected), "{said}");
            assert_eq!((reply.status, record.flags.to_string().as_str()), (503, "URX,UF"));
            let body = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
                        remote connection failure";
            assert_eq!(reply.body, body);
        }
        let (reply, _) = calls(authority.leaf(&user, |_| {}), &authority, only(&user), true).await;
        assert_eq!(reply.status, 200);
        // Before the first certificate: Envoy's words.
        let (_, record) = calls(authority.leaf(&user, |_| {}), &authority, any(), false).await;
        assert_eq!(record.attempts[0].reason.as_deref(), Some("TLS_error:Secret is not supplied by SDS"));
    });
}

#[test]
fn tls_that_a_rule_describes_goes_by_its_own_roots_and_names() {
    run(async {
        let (authority, unrelated) = (Authority::new(), Authority::new());
        let named = || {
            authority.leaf("spiffe://x/y", |params| {
                params.subject_alt_names = vec![rcgen::SanType::DnsName("*.shop.example".try_into().unwrap())];
            })
        };
        let origin = |roots: Roots, names: &[&str]| {
            let subject_alt_names = names.iter().map(|name| (*name).to_owned()).collect();
            ClusterTls::Origin(Box::new(OriginTls { sni: Some("a.shop.example".into()), subject_alt_names, roots, client: None }))
        };
        let pem = || Roots::Pem(authority.roots());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, authority.roots()).unwrap();
        for (tls, expected) in [
            (origin(pem(), &[]), None),
            (origin(pem(), &["a.shop.example"]), None),
            (origin(Roots::File(file.display().to_string()), &["b.shop.example", "a.shop.example"]), None),
            (origin(Roots::Anybody, &["x.example"]), None),
            (origin(pem(), &["x.example"]), Some("SAN matcher, certificate SANs are [*.shop.example], one of [x.example] is expected")),
            (origin(Roots::Pem(unrelated.roots()), &[]), Some("unable to get local issuer certificate")),
            (origin(Roots::File("/nowhere/ca.pem".into()), &[]), Some("/nowhere/ca.pem: No such file or directory")),
        ] {
            // No certificate of the mesh is needed.
            let (reply, record) = calls(named(), &unrelated, tls, false).await;
            match expected {
                None => assert_eq!((reply.status, record.attempts[0].reason.clone()), (200, None)),
                Some(expected) => {
                    let said = record.attempts[0].reason.clone().unwrap();
                    assert!(reply.status == 503 && said.contains(expected), "{said}");
                }
            }
        }
    });
}

#[test]
fn a_server_that_speaks_no_tls_or_never_answers_is_named() {
    run(async {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.70.41.10:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            // And one that never says a word.
            let kept = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
            drop(kept);
        });
        let mut cluster = cluster(None, &[(address, workload("user-1", "user-service-ctx1", "ctx1"))]);
        cluster.tls = ClusterTls::IstioMutual(mutual(&[]));
        cluster.limits.connect_timeout = std::time::Duration::from_millis(300);
        let once = || {
            let mut rule = rule(to(&[(1, None)]));
            rule.policy.retry = None;
            rule
        };
        let caller = caller(caller_snapshot(vec![once()], vec![cluster]));
        authority.issue(caller.handle.certificates(), &identity("api-gateway"));
        for (id, expected) in [("spoke", "WRONG_VERSION_NUMBER"), ("mute", "connection timeout")] {
            assert_eq!(get(caller.outbound.unwrap(), URI, &[("x-request-id", id)]).await.status, 503);
            let record = &caller.handle.records(id)[0];
            assert!(record.attempts[0].reason.as_ref().unwrap().contains(expected), "{:?}", record.attempts[0].reason);
            assert_eq!(record.flags.to_string(), "UF");
        }
        server.abort();
    });
}
