//! Opaque TCP through a door and a TCP port.

use std::collections::BTreeMap;

use smov_model::cluster::{Cluster, Protocol};
use smov_model::names::ClusterName;
use smov_model::snapshot::{InboundPort, TcpRoute};
use smov_model::split::{Split, Weight};
use smov_model::tls::MutualTlsMode;
use smov_model::wire::ProxyRole;
use smov_proxy::config::{AppAddress, InboundListen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

const REDIS: &str = "redis.t.svc.cluster.local";

#[test]
fn bytes_pass_through_a_door_until_the_upstream_goes() {
    run(async {
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = AppAddress::Tcp(store.local_addr().unwrap());
        let echo = tokio::task::spawn_local(async move {
            let (mut stream, _) = store.accept().await.unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(b"PONG!").await.unwrap();
            // Gone, as after kill -9: the connection and the listener.
        });
        let workload = workload("redis-1", "redis", "ctx2");
        let mut sidecar_config = config(ProxyRole::Sidecar, "127.70.6.1", "redis-1", "ctx2");
        sidecar_config.inbound = vec![InboundListen { port: 0, app }];
        let sidecar = start(sidecar_config, dice());
        let inbound = sidecar.inbound[0];
        let mut own = snapshot(workload.clone());
        own.inbound = vec![InboundPort {
            port: port(u32::from(inbound.port())),
            protocol: Protocol::Tcp,
            service: Some(host(REDIS)),
            mutual_tls: MutualTlsMode::default(),
        }];
        own.peers.insert(ip(CALLER), caller_workload());
        sidecar.handle.publish(own);

        let name = ClusterName { port: port(6379), subset: None, host: host(REDIS) };
        let redis = Cluster { name: name.clone(), protocol: Protocol::Tcp, ..cluster(None, &[(inbound, workload)]) };
        let mut callers = snapshot(caller_workload());
        callers.tcp = vec![TcpRoute { host: host(REDIS), port: port(6379), split: Split::new(vec![(Weight(1), name.clone())]).unwrap() }];
        callers.clusters = BTreeMap::from([(name, redis)]);
        let mut caller_config = config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
        caller_config.tcp_doors = vec![door(REDIS, 6379)];
        let caller = start(caller_config, dice());
        caller.handle.publish(callers.clone());

        let mut stream = TcpStream::connect(caller.doors[0]).await.unwrap();
        stream.write_all(b"PING").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"PONG!");
        echo.await.unwrap();
        // With nobody left the connection is closed at once.
        let mut again = TcpStream::connect(caller.doors[0]).await.unwrap();
        // A permissive port waits for the first byte: it tells TLS from plaintext.
        again.write_all(b"PING").await.unwrap();
        assert_eq!(again.read(&mut [0; 1]).await.unwrap_or(0), 0);
        drop(stream);

        let metrics = caller.handle.metrics();
        let value = |name: &str| {
            let line = metrics.lines().find(|line| line.starts_with(name) && line.contains("destination_workload=\"redis\"")).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!((value("istio_tcp_received_bytes_total"), value("istio_tcp_sent_bytes_total")), ("8".to_owned(), "5".to_owned()));
        let theirs = sidecar.handle.metrics();
        assert!(theirs.contains("istio_tcp_connections_opened_total{reporter=\"destination\",source_workload=\"api-gateway\""), "{theirs}");
        let (edges, _, _) = caller.handle.report();
        let edge = edges.iter().find(|edge| edge.kube_cluster == "ctx2").unwrap();
        assert_eq!((edge.service.as_str(), edge.protocol.as_str(), edge.bytes), ("redis", "tcp", 13));

        callers.clusters.values_mut().for_each(|cluster| cluster.endpoints.clear());
        caller.handle.publish(callers);
        let mut none = TcpStream::connect(caller.doors[0]).await.unwrap();
        assert_eq!(none.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(caller.handle.metrics().contains("response_flags=\"UH\""));
    });
}

#[test]
fn a_long_connection_keeps_no_old_snapshot_in_memory() {
    run(async {
        let store = TcpListener::bind("127.70.6.10:0").await.unwrap();
        let endpoint = (store.local_addr().unwrap(), workload("redis-1", "redis", "ctx2"));
        let name = ClusterName { port: port(6379), subset: None, host: host(REDIS) };
        let redis = Cluster { name: name.clone(), protocol: Protocol::Tcp, ..cluster(None, &[endpoint]) };
        let mut callers = snapshot(caller_workload());
        callers.tcp = vec![TcpRoute { host: host(REDIS), port: port(6379), split: Split::new(vec![(Weight(1), name.clone())]).unwrap() }];
        callers.clusters = BTreeMap::from([(name, redis)]);
        let mut caller_config = config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
        caller_config.tcp_doors = vec![door(REDIS, 6379)];
        let caller = start(caller_config, dice());
        let of_the_first = workload("somebody", "somebody", "ctx1");
        let remembered = std::sync::Arc::downgrade(&of_the_first);
        let mut first = callers.clone();
        first.peers.insert(ip("127.70.6.11"), of_the_first);
        caller.handle.publish(first);
        let mut stream = TcpStream::connect(caller.doors[0]).await.unwrap();
        stream.write_all(b"PING").await.unwrap();
        let (mut upstream, _) = store.accept().await.unwrap();
        upstream.read_exact(&mut [0; 4]).await.unwrap();
        caller.handle.publish(callers);
        assert!(remembered.upgrade().is_none(), "the connection holds the snapshot that it began with");
        upstream.write_all(b"PONG").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
    });
}

#[test]
fn a_drain_lets_tcp_finish_and_cuts_what_does_not() {
    run(async {
        let store = TcpListener::bind("127.70.6.9:0").await.unwrap();
        let address = store.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = store.accept().await {
                tokio::task::spawn_local(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let name = ClusterName { port: port(6379), subset: None, host: host(REDIS) };
        let redis =
            Cluster { name: name.clone(), protocol: Protocol::Tcp, ..cluster(None, &[(address, workload("redis-1", "redis", "ctx2"))]) };
        let mut callers = snapshot(caller_workload());
        callers.tcp = vec![TcpRoute { host: host(REDIS), port: port(6379), split: Split::new(vec![(Weight(1), name.clone())]).unwrap() }];
        callers.clusters = BTreeMap::from([(name, redis)]);
        let mut caller_config = config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
        caller_config.tcp_doors = vec![door(REDIS, 6379)];
        caller_config.limits.drain = std::time::Duration::from_millis(400);
        let caller = start(caller_config, dice());
        caller.handle.publish(callers);

        let echo = async |stream: &mut TcpStream| {
            stream.write_all(b"PING").await.unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"PING");
        };
        let mut finishes = TcpStream::connect(caller.doors[0]).await.unwrap();
        let mut lingers = TcpStream::connect(caller.doors[0]).await.unwrap();
        echo(&mut finishes).await;
        echo(&mut lingers).await;
        caller.shutdown.cancel();
        tokio::task::yield_now().await;
        // What is open goes on, and may end by itself.
        echo(&mut finishes).await;
        finishes.shutdown().await.unwrap();
        assert_eq!(finishes.read(&mut [0; 1]).await.unwrap(), 0);
        // What does not end is cut off when the drain is over.
        caller.task.await.unwrap().unwrap();
        assert_eq!(lingers.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(caller.doors[0]).await.is_err());
    });
}
