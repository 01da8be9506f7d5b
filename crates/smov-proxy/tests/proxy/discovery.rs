//! Endpoints that no snapshot lists: by DNS, and by what the client dialled.

use smov_model::cluster::{Cluster, Discovery, NamedEndpoint};
use smov_model::snapshot::Snapshot;
use smov_model::tls::{ClusterTls, ConnectionSecurityPolicy, MutualTlsMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::authority::{Authority, identity};
use crate::support::*;
use crate::tls::{caller_with, mutual, pod};

const URI: &str = "http://user-service:8081/users/";

/// A server outside the mesh that says who it is.
async fn outside(address: &str) -> std::net::SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let mut head = [0_u8; 4096];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\noutside").await;
                }
            });
        }
    });
    address
}

fn named(name: &str, address: std::net::SocketAddr, mutual_tls: bool) -> NamedEndpoint {
    NamedEndpoint { host: host(name), port: port(u32::from(address.port())), weight: 1, mutual_tls }
}

fn found_by(discovery: Discovery) -> Snapshot {
    caller_snapshot(vec![rule(to(&[(1, None)]))], vec![Cluster { discovery, ..cluster(None, &[]) }])
}

#[test]
fn names_are_asked_for_in_the_background_and_never_lead_into_the_mesh() {
    run(async {
        let address = outside("127.0.0.1:0").await;
        let names = |name: &str| Discovery::Dns(vec![named(name, address, false)]);
        let mut snapshot = found_by(names("localhost"));
        let caller = caller(snapshot.clone());
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        // Until DNS has answered there is nobody.
        while client.get(URI, &[("x-request-id", "d")]).await.status == 503 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(client.get(URI, &[("x-request-id", "e")]).await.body, "outside");
        assert_eq!(caller.handle.records("e")[0].attempts.last().and_then(|attempt| attempt.endpoint), Some(address));
        // Another snapshot knows the answer already.
        snapshot.version.number += 1;
        caller.handle.publish(snapshot.clone());
        assert_eq!(client.get(URI, &[]).await.status, 200);
        // An API server is no endpoint, whatever DNS says.
        snapshot.protected = vec![address, std::net::SocketAddr::new("::1".parse().unwrap(), address.port())];
        caller.handle.publish(snapshot);
        let reply = client.get(URI, &[]).await;
        assert_eq!((reply.status, reply.body.as_str()), (503, "no healthy upstream"));
        caller.handle.publish(found_by(names("no-such-name.invalid")));
        assert_eq!(client.get(URI, &[]).await.body, "no healthy upstream");
    });
}

#[test]
fn endpoints_that_dns_finds_are_called_with_mutual_tls_where_they_take_it() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.13.2", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let discovery = Discovery::Dns(vec![named(&pod.address.ip().to_string(), pod.address, true)]);
        let tls = ClusterTls::Auto(mutual(&[&identity("user-service")]));
        let caller = caller_with(&authority, Cluster { discovery, tls, ..cluster(None, &[]) });
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        // Until DNS has answered there is nobody.
        while client.get(URI, &[("x-request-id", "d")]).await.body == "no healthy upstream" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(client.get(URI, &[("x-request-id", "e")]).await.body, "ok");
        assert_eq!(pod.sidecar.handle.records("e")[0].security, ConnectionSecurityPolicy::MutualTls);
    });
}

#[test]
fn what_the_client_dialled_is_where_it_goes() {
    run(async {
        let address = outside("127.70.13.1:8081").await;
        let mut snapshot = found_by(Discovery::OriginalDestination);
        let table = snapshot.outbound.get_mut(&port(8081)).unwrap();
        table.hosts[0].domains.push(address.ip().to_string().parse().unwrap());
        let caller = caller(snapshot.clone());
        let uri = format!("http://{address}/");
        let reply = get(caller.outbound.unwrap(), &uri, &[("x-request-id", "o")]).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "outside"));
        let record = caller.handle.records("o").pop().unwrap();
        assert_eq!((record.attempts[0].endpoint, record.rule.is_some()), (Some(address), true));
        snapshot.protected = vec![address];
        caller.handle.publish(snapshot);
        assert_eq!(get(caller.outbound.unwrap(), &uri, &[]).await.status, 502);
    });
}
