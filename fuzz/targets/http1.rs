//! Any bytes on a sidecar's HTTP door: no panic, every byte of the answer is HTTP, and what reaches the upstream is framed beyond doubt.
//!
//! The upstream is stricter than any server should be: it takes nothing but what RFC 9112 has a server send. A finding here is a request that one
//! side could read otherwise than the other, which is how requests are smuggled.
#![no_main]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use smov_istio::compile::compile;
use smov_istio::world::{ProxyIdentity, Role, World};
use smov_model::names::KubeCluster;
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_model::wire::ProxyRole;
use smov_proxy::config::{PodIdentity, ProxyPorts};
use smov_proxy::{Proxy, ProxyConfig, dice_for};

/// The sidecar under test, started once.
fn door() -> SocketAddr {
    static DOOR: OnceLock<SocketAddr> = OnceLock::new();
    *DOOR.get_or_init(|| {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = upstream.local_addr().expect("it is bound");
        std::thread::spawn(move || upstream.incoming().flatten().for_each(|stream| drop(std::thread::spawn(move || serve(stream)))));
        let pod = PodIdentity {
            name: "caller".into(),
            address: "127.0.0.1".parse().expect("an address"),
            namespace: "theater-msa".parse().expect("a name"),
            service_account: "caller".parse().expect("a name"),
            cluster: "ctx1".parse().expect("a name"),
        };
        let mut config = ProxyConfig::new(ProxyRole::Sidecar, pod);
        config.ports = ProxyPorts { outbound: 0, admin: 0, metrics: 0, ready: 0, merged: 0 };
        config.seed = Some(1);
        let bound = Proxy::start(config.clone(), dice_for(&config, "caller")).expect("loopback ports are free");
        bound.handle().publish(snapshot(address));
        let door = bound.outbound_address().expect("a sidecar has a door");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            bound.run_on(&runtime, tokio_util::sync::CancellationToken::new())
        });
        door
    })
}

/// One Service whose endpoint is the upstream.
fn snapshot(upstream: SocketAddr) -> Snapshot {
    let own: KubeCluster = "ctx1".parse().expect("a name");
    let mut world = World::builder(own.clone()).build();
    for object in [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "user-service", "namespace": "theater-msa"},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80, "targetPort": upstream.port()}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "user-service-1", "namespace": "theater-msa", "labels": {"kubernetes.io/service-name": "user-service"}},
            "ports": [{"name": "http", "port": upstream.port(), "protocol": "TCP"}],
            "endpoints": [{"addresses": [upstream.ip().to_string()], "conditions": {"ready": true}}]}),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "all", "namespace": "theater-msa"},
            "spec": {"hosts": ["user-service"], "http": [{"route": [{"destination": {"host": "user-service"}}], "retries": {"attempts": 0}, "timeout": "1s"}]}}),
    ] {
        world.apply(&own, &object);
    }
    let proxy = ProxyIdentity { pod: "caller".into(), namespace: "theater-msa".parse().expect("a name"), cluster: own, role: Role::Sidecar };
    let mut snapshot = compile(&world, &proxy, SnapshotVersion { epoch: 1, number: 1 }).snapshot;
    // Nothing but the upstream is ever dialled: input names hosts at will.
    snapshot.unknown_hosts = smov_model::snapshot::UnknownHosts::RegistryOnly;
    snapshot
}

/// Reads requests as strictly as can be; what it does not like ends the process.
fn serve(mut stream: TcpStream) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = fill_until(&mut stream, &mut buffer, |bytes| bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)) else { return };
        let head: Vec<u8> = buffer.drain(..end).collect();
        match framing(&head) {
            Framing::Length(length) => {
                if fill_until(&mut stream, &mut buffer, |bytes| (bytes.len() >= length).then_some(length)).is_none() {
                    return;
                }
                buffer.drain(..length);
            }
            Framing::Chunked => loop {
                let Some(end) = fill_until(&mut stream, &mut buffer, |bytes| bytes.windows(2).position(|two| two == b"\r\n").map(|at| at + 2)) else { return };
                let line: Vec<u8> = buffer.drain(..end).collect();
                let digits = &line[..line.len() - 2];
                assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit), "a chunk's size is {:?}", String::from_utf8_lossy(digits));
                let size = usize::from_str_radix(std::str::from_utf8(digits).expect("hex digits"), 16).expect("it fits");
                // The last chunk has trailers, up to an empty line.
                let rest = if size == 0 {
                    fill_until(&mut stream, &mut buffer, |bytes| match bytes {
                        [b'\r', b'\n', ..] => Some(2),
                        _ => bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4),
                    })
                } else {
                    fill_until(&mut stream, &mut buffer, |bytes| (bytes.len() >= size + 2).then_some(size + 2))
                };
                let Some(rest) = rest else { return };
                buffer.drain(..rest);
                if size == 0 {
                    break;
                }
            },
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// Reads until `found` says where something ends.
fn fill_until(stream: &mut TcpStream, buffer: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = found(buffer) {
            return Some(end);
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

/// Judges a head, line by line.
fn framing(head: &[u8]) -> Framing {
    let shown = String::from_utf8_lossy(head);
    let text = &head[..head.len() - 4];
    assert!(!text.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r'), "a bare line feed reaches the upstream: {shown:?}");
    assert!(!text.windows(2).any(|two| two[0] == b'\r' && two[1] != b'\n'), "a bare carriage return reaches the upstream: {shown:?}");
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request = lines.next().expect("split gives at least one");
    assert!(request.split(|byte| *byte == b' ').count() == 3 && request.ends_with(b" HTTP/1.1"), "the request line is {shown:?}");
    let mut seen: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or_else(|| panic!("a line without colon: {shown:?}"));
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        assert!(!name.is_empty() && name.iter().all(token), "a header's name is {:?} in {shown:?}", String::from_utf8_lossy(name));
        seen.entry(name.to_ascii_lowercase()).or_default().push(value.to_vec());
    }
    assert_eq!(seen.get(b"host".as_slice()).map(Vec::len), Some(1), "not one Host: {shown:?}");
    match (seen.get(b"content-length".as_slice()), seen.get(b"transfer-encoding".as_slice())) {
        (None, None) => Framing::Length(0),
        (Some(lengths), None) => {
            let [length] = lengths.as_slice() else { panic!("several lengths: {shown:?}") };
            assert!(length.iter().all(u8::is_ascii_digit), "a length is {:?}", String::from_utf8_lossy(length));
            Framing::Length(std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("a length is no number: {shown:?}")))
        }
        (None, Some(codings)) => {
            assert_eq!(codings.as_slice(), [b"chunked".to_vec()], "another coding than chunked: {shown:?}");
            Framing::Chunked
        }
        (Some(_), Some(_)) => panic!("two framings reach the upstream: {shown:?}"),
    }
}

fuzz_target!(|data: &[u8]| {
    // The first byte says where the input is cut into two segments.
    let Some((cut, bytes)) = data.split_first() else { return };
    let cut = usize::from(*cut).min(bytes.len());
    let Ok(mut stream) = TcpStream::connect(door()) else { return };
    let _ = stream.set_nodelay(true);
    stream.set_read_timeout(Some(Duration::from_millis(1500))).expect("a socket takes a timeout");
    let written = stream.write_all(&bytes[..cut]).and_then(|()| stream.write_all(&bytes[cut..]));
    let _ = written.and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    // The proxy may reset a connection whose input it did not read to the end.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "the answer is {:?}", String::from_utf8_lossy(&answer));
});
