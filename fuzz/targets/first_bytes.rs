//! Any bytes at a pod's ports, where the first ones decide what a connection is: no panic, a STRICT port says nothing in plaintext, and what an app of
//! opaque TCP gets through a PERMISSIVE port is what was sent, byte for byte, or nothing.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use smov_istio::compile::compile;
use smov_istio::world::{ProxyIdentity, Role, World};
use smov_model::cluster::Protocol;
use smov_model::names::{KubeCluster, Port};
use smov_model::snapshot::{InboundPort, SnapshotVersion};
use smov_model::tls::MutualTlsMode;
use smov_model::wire::ProxyRole;
use smov_proxy::config::{AppAddress, InboundListen, PodIdentity, ProxyPorts};
use smov_proxy::{Proxy, ProxyConfig, dice_for};

/// The ports under test, started once: HTTP that is STRICT, opaque TCP that is PERMISSIVE.
fn ports() -> [SocketAddr; 2] {
    static PORTS: OnceLock<[SocketAddr; 2]> = OnceLock::new();
    *PORTS.get_or_init(|| {
        let echo = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let app = AppAddress::Tcp(echo.local_addr().expect("it is bound"));
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream).and_then(|_| stream.shutdown(Shutdown::Write)));
            }
        });
        let pod = PodIdentity {
            name: "callee".into(),
            address: "127.0.0.1".parse().expect("an address"),
            namespace: "theater-msa".parse().expect("a name"),
            service_account: "callee".parse().expect("a name"),
            cluster: "ctx1".parse().expect("a name"),
        };
        let mut config = ProxyConfig::new(ProxyRole::Sidecar, pod);
        config.ports = ProxyPorts { outbound: 0, admin: 0, metrics: 0, ready: 0, merged: 0 };
        config.inbound = [(), ()].map(|()| InboundListen { port: 0, app: app.clone() }).to_vec();
        let bound = Proxy::start(config.clone(), dice_for(&config, "callee")).expect("loopback ports are free");
        let [strict, permissive] = bound.inbound_addresses()[..] else { panic!("two ports") };
        let own: KubeCluster = "ctx1".parse().expect("a name");
        let identity = ProxyIdentity { pod: "callee".into(), namespace: "theater-msa".parse().expect("a name"), cluster: own.clone(), role: Role::Sidecar };
        let mut snapshot = compile(&World::builder(own).build(), &identity, SnapshotVersion { epoch: 1, number: 1 }).snapshot;
        snapshot.inbound = [(strict, Protocol::Http, MutualTlsMode::Strict), (permissive, Protocol::Tcp, MutualTlsMode::Permissive)]
            .map(|(address, protocol, mutual_tls)| {
                let port = Port::try_from(u32::from(address.port())).expect("a port");
                InboundPort { port, protocol, service: None, mutual_tls }
            })
            .to_vec();
        bound.handle().publish(snapshot);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            bound.run_on(&runtime, tokio_util::sync::CancellationToken::new())
        });
        [strict, permissive]
    })
}

/// Sends the bytes in two segments and reads to the end.
fn answer(address: SocketAddr, first: &[u8], second: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    let _ = stream.set_nodelay(true);
    stream.set_read_timeout(Some(Duration::from_millis(1500))).expect("a socket takes a timeout");
    let written = stream.write_all(first).and_then(|()| stream.write_all(second));
    let _ = written.and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    // The proxy may reset a connection whose input it did not read to the end.
    let _ = stream.read_to_end(&mut answer);
    Some(answer)
}

fuzz_target!(|data: &[u8]| {
    // The first byte says where the input is cut.
    let Some((cut, bytes)) = data.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let [strict, permissive] = ports();
    // An alert is all that TLS may say before it has come about.
    let is_alert = |answer: &[u8]| bytes.first() == Some(&0x16) && answer.first() == Some(&0x15);
    if let Some(answer) = answer(strict, first, second) {
        assert!(answer.is_empty() || is_alert(&answer), "a STRICT port says {:?}", String::from_utf8_lossy(&answer));
    }
    if let Some(answer) = answer(permissive, first, second) {
        assert!(bytes.starts_with(&answer) || is_alert(&answer), "the app got something else: {:?}", String::from_utf8_lossy(&answer));
    }
});
