//! Doors other than the mesh's own hosts: unknown hosts, opaque TCP.

use std::net::SocketAddr;

use smov_model::cluster::Protocol;
use smov_model::names::ClusterName;
use smov_model::snapshot::{TcpRoute, UnknownHosts};
use smov_model::split::{Split, Weight};
use smov_proxy::config::TcpDoor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{App, callee, cluster, envoy, get, port, settings, snapshot, start};

#[tokio::test]
async fn an_unknown_host_is_reached_by_name_but_never_the_mesh_itself() {
    let Some(binary) = envoy() else { return };
    let app = App::saying("by name");
    let (callee, address) = callee(binary.clone(), "user-1", &app).await;
    let mut snapshot = snapshot(1, Vec::new(), Vec::new());
    snapshot.protected = vec![SocketAddr::new(address.ip(), 6443)];
    let caller = start(binary, settings("caller-1"), snapshot.clone()).await;
    let door = caller.envoy.outbound_address().unwrap();
    let answer = get(door, &format!("http://{address}/"), &[("x-request-id", "pass-1")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "by name"));
    let record = caller.envoy.records("pass-1").await.remove(0);
    assert_eq!((record.virtual_host, record.rule, record.cluster), (None, None, None));
    assert_eq!(caller.envoy.report().0[0].service, "PassthroughCluster");

    // An API server, and a door of a proxy.
    for forbidden in [format!("http://{}:6443/", address.ip()), format!("http://{door}/")] {
        let answer = get(door, &forbidden, &[]).await;
        assert_eq!(answer.status, 403, "{forbidden}: {answer:?}");
    }

    snapshot.version.number = 2;
    snapshot.unknown_hosts = UnknownHosts::RegistryOnly;
    caller.envoy.publish(snapshot).await.unwrap();
    assert_eq!(get(door, &format!("http://{address}/"), &[]).await.status, 502);
    drop(callee);
}

#[tokio::test]
async fn opaque_tcp_goes_through_a_door_and_is_counted() {
    let Some(binary) = envoy() else { return };
    let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = store.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, peer) = store.accept().await.unwrap();
        let mut ping = [0_u8; 4];
        stream.read_exact(&mut ping).await.unwrap();
        stream.write_all(b"PONG!").await.unwrap();
        peer
    });
    let mut proxy = settings("caller-1");
    proxy.tcp_doors = vec![TcpDoor { door: 0, host: "redis.t.svc.cluster.local".parse().unwrap(), port: port(6379) }];
    let name = ClusterName { port: port(6379), subset: None, host: "redis.t.svc.cluster.local".parse().unwrap() };
    let mut redis = cluster("x", &[(address, "redis-1")]);
    (redis.name, redis.protocol) = (name.clone(), Protocol::Tcp);
    let mut all = snapshot(1, Vec::new(), vec![redis]);
    all.tcp = vec![TcpRoute { host: name.host.clone(), port: port(6379), split: Split::new(vec![(Weight(1), name)]).unwrap() }];
    let own = proxy.pod.address;
    let caller = start(binary, proxy, all).await;
    let mut stream = TcpStream::connect(caller.envoy.door_addresses()[0]).await.unwrap();
    stream.write_all(b"PING").await.unwrap();
    let mut pong = Vec::new();
    stream.read_to_end(&mut pong).await.unwrap();
    assert_eq!(pong, b"PONG!");
    assert_eq!(server.await.unwrap().ip(), own, "the callee sees the pod's address");
    drop(stream);
    let edge = edges(&caller.envoy).await.remove(0);
    assert_eq!((edge.service.as_str(), edge.protocol.as_str(), edge.requests, edge.bytes), ("redis", "tcp", 1, 9));
}

/// The edges as soon as there are some: Envoy logs a connection when it is over.
async fn edges(envoy: &smov_envoy::Running) -> Vec<smov_model::record::EdgeCount> {
    loop {
        let (edges, ..) = envoy.report();
        if !edges.is_empty() {
            return edges;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
