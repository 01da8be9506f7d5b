//! Opaque bytes over mutual TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smov_model::cluster::{Cluster, Protocol};
use smov_model::names::ClusterName;
use smov_model::snapshot::{InboundPort, Snapshot, TcpRoute};
use smov_model::split::{Split, Weight};
use smov_model::tls::{ClusterTls, MutualTlsMode};
use smov_model::wire::ProxyRole;
use smov_model::workload::Workload;
use smov_proxy::config::{AppAddress, InboundListen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tls::{CALLER_ACCOUNT, metric, mutual};
use crate::authority::{Authority, identity};
use crate::support::*;

const REDIS: &str = "redis.t.svc.cluster.local";

/// A redis pod's sidecar before that app, and a caller's sidecar with a door to it.
fn doors(address: &str, store: &TcpListener, mode: MutualTlsMode, authority: &Authority) -> (Running, Running) {
    doors_draining(address, store.local_addr().unwrap(), mode, authority, Duration::from_secs(45))
}

fn redis() -> Arc<Workload> {
    account(&workload("redis-1", "redis", "ctx2"), "redis")
}

/// What the redis pod's sidecar runs on.
pub(crate) fn own(sidecar: &Running, mode: MutualTlsMode) -> Snapshot {
    let mut own = snapshot(redis());
    let number = port(u32::from(sidecar.inbound[0].port()));
    own.inbound = vec![InboundPort { port: number, protocol: Protocol::Tcp, service: Some(host(REDIS)), mutual_tls: mode }];
    own.peers.insert(ip(CALLER), account(&caller_workload(), CALLER_ACCOUNT));
    own
}

/// The same, where what is not taken any more gets this long.
pub(crate) fn doors_draining(
    address: &str,
    store: SocketAddr,
    mode: MutualTlsMode,
    authority: &Authority,
    drain: Duration,
) -> (Running, Running) {
    let workload = redis();
    let mut sidecar_config = config(ProxyRole::Sidecar, address, "redis-1", "ctx2");
    sidecar_config.inbound = vec![InboundListen { port: 0, app: AppAddress::Tcp(store) }];
    sidecar_config.limits.mode_drain = drain;
    let sidecar = start(sidecar_config, dice());
    let inbound = sidecar.inbound[0];
    sidecar.handle.publish(own(&sidecar, mode));
    authority.issue(sidecar.handle.certificates(), &identity("redis"));

    let name = ClusterName { port: port(6379), subset: None, host: host(REDIS) };
    let mut redis = Cluster { name: name.clone(), protocol: Protocol::Tcp, ..cluster(None, &[(inbound, workload)]) };
    redis.endpoints[0].mutual_tls = true;
    redis.tls = ClusterTls::Auto(mutual(&[&identity("redis")]));
    let mut callers = snapshot(caller_workload());
    callers.tcp = vec![TcpRoute { host: host(REDIS), port: port(6379), split: Split::new(vec![(Weight(1), name.clone())]).unwrap() }];
    callers.clusters = BTreeMap::from([(name, redis)]);
    let mut caller_config = config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
    caller_config.tcp_doors = vec![door(REDIS, 6379)];
    let caller = start(caller_config, dice());
    caller.handle.publish(callers);
    authority.issue(caller.handle.certificates(), &identity(CALLER_ACCOUNT));
    (sidecar, caller)
}

#[test]
fn half_a_connection_may_close_and_the_other_half_goes_on() {
    run(async {
        let (authority, store) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (sidecar, caller) = doors("127.70.42.1", &store, MutualTlsMode::Strict, &authority);
        let served = tokio::task::spawn_local(async move {
            let (mut stream, _) = store.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            // The client has closed its half and hears this all the same.
            stream.write_all(format!("got {}", all.len()).as_bytes()).await.unwrap();
        });
        let mut stream = TcpStream::connect(caller.doors[0]).await.unwrap();
        stream.write_all(b"PING").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "got 4");
        served.await.unwrap();
        let page = sidecar.handle.metrics();
        let principal = format!("source_principal=\"{}\"", identity(CALLER_ACCOUNT));
        let opened = ["istio_tcp_connections_opened_total", "source_workload=\"api-gateway\"", &principal, "\"mutual_tls\""];
        assert_eq!(metric(&page, &opened), 1, "{page}");
        let (edges, _, _) = caller.handle.report();
        assert_eq!((edges[0].requests, edges[0].mutual_tls, edges[0].bytes), (1, 1, 9));
    });
}

#[test]
fn a_hundred_megabytes_go_both_ways_at_once() {
    run(async {
        const TOTAL: usize = 100 << 20;
        let (authority, store) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (_sidecar, caller) = doors("127.70.42.2", &store, MutualTlsMode::Strict, &authority);
        tokio::task::spawn_local(async move {
            let (mut stream, _) = store.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
        let stream = TcpStream::connect(caller.doors[0]).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sending = tokio::task::spawn_local(async move {
            let mut piece = vec![0; 64 << 10];
            for number in 0..TOTAL / piece.len() {
                piece.fill(number as u8);
                writer.write_all(&piece).await.unwrap();
            }
            writer.shutdown().await.unwrap();
        });
        let (mut received, mut piece) = (0, vec![0; 64 << 10]);
        loop {
            let read = reader.read(&mut piece).await.unwrap();
            if read == 0 {
                break;
            }
            for (place, byte) in piece[..read].iter().enumerate().step_by(4093) {
                assert_eq!(*byte, ((received + place) / (64 << 10)) as u8);
            }
            received += read;
        }
        sending.await.unwrap();
        assert_eq!(received, TOTAL);
    });
}

#[test]
fn tls_of_the_apps_own_passes_a_permissive_or_disabled_port_as_it_comes() {
    run(async {
        for (number, mode) in [MutualTlsMode::Permissive, MutualTlsMode::Disable].into_iter().enumerate() {
            let (authority, store) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
            let (sidecar, _caller) = doors(&format!("127.70.42.{}", 3 + number), &store, mode, &authority);
            let hello = {
                let roots = rustls::RootCertStore::empty();
                let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
                let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
                let config = config.with_root_certificates(roots).with_no_client_auth();
                let name = rustls::pki_types::ServerName::try_from("redis.example").unwrap();
                let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
                let mut hello = Vec::new();
                client.write_tls(&mut hello).unwrap();
                hello
            };
            let mut client = TcpStream::connect(sidecar.inbound[0]).await.unwrap();
            // In two pieces: who decides too early loses some.
            client.write_all(&hello[..20]).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(&hello[20..]).await.unwrap();
            // What only begins like TLS is opaque as well.
            let mut other = TcpStream::connect(sidecar.inbound[0]).await.unwrap();
            other.write_all(&[0x16, 9, 9]).await.unwrap();
            let (mut app, _) = store.accept().await.unwrap();
            let (mut second, _) = store.accept().await.unwrap();
            let mut came = [0; 3];
            // Whichever came first: the hello needs its second piece.
            let is_hello = app.peek(&mut came).await.unwrap() > 0 && came[1] == 3;
            if !is_hello {
                std::mem::swap(&mut app, &mut second);
            }
            second.read_exact(&mut came).await.unwrap();
            assert_eq!(came, [0x16, 9, 9]);
            let mut came = vec![0; hello.len()];
            app.read_exact(&mut came).await.unwrap();
            assert_eq!(came, hello, "{mode:?}");
            app.write_all(b"answer").await.unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
        }
    });
}

#[test]
fn a_door_whose_endpoint_is_not_who_it_should_be_closes() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sidecar, caller) = doors("127.70.42.6", &store, MutualTlsMode::Strict, &authority);
        authority.issue(sidecar.handle.certificates(), &identity("not-redis"));
        let closed = async || {
            let mut stream = TcpStream::connect(caller.doors[0]).await.unwrap();
            stream.read(&mut [0; 1]).await.unwrap_or(0)
        };
        assert_eq!(closed().await, 0);
        let page = caller.handle.metrics();
        assert_eq!(metric(&page, &["envoy_cluster_ssl_fail_verify_san{", "6379"]), 1, "{page}");
        assert_eq!(metric(&page, &["istio_tcp_connections_closed_total", "response_flags=\"UF\""]), 1);
        other.issue(caller.handle.certificates(), &identity(CALLER_ACCOUNT));
        assert_eq!(closed().await, 0);
        assert_eq!(metric(&caller.handle.metrics(), &["envoy_cluster_ssl_fail_verify_error{", "6379"]), 1);
    });
}
