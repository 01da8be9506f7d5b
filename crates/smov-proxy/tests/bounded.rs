//! Memory stays bounded whatever clients and upstreams do: what a sidecar holds of one exchange is its socket buffers and read buffers.
//!
//! Counted in two ways: bytes that the proxies take in before they push back, and the resident memory of this whole process, in which the
//! client, both sidecars and the app run together. One test at a time, so that none measures another.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/mesh.rs"]
mod support;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use smov_model::tls::{ClusterTls, MutualTls};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const URI: &str = "http://user-service:8081/users/";
const MEBIBYTE: usize = 1 << 20;

/// What the kernel and both proxies may hold of one stalled exchange: four sockets with their buffers (up to 4 MiB and 6 MiB on Linux) and
/// a read and a write buffer of hyper's per connection.
const STALLED: usize = 32 * MEBIBYTE;

static ALONE: Mutex<()> = Mutex::new(());

fn alone(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new()
        .block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test hangs") });
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A body of so many zeros, made while it is asked for, and counted.
struct Zeros {
    left: usize,
    given: Rc<Cell<usize>>,
}

const PIECE: Bytes = Bytes::from_static(&[0; 64 << 10]);

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = PIECE.slice(..PIECE.len().min(self.left));
        self.left -= piece.len();
        self.given.set(self.given.get() + piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// Sends a body of its own kind, which needs no `Sync`.
async fn post(door: std::net::SocketAddr, body: Zeros) -> hyper::Result<http::Response<hyper::body::Incoming>> {
    let stream = TcpStream::connect(door).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    let request = http::Request::post(URI).header("host", "user-service:8081").body(body).unwrap();
    sender.send_request(request).await
}

fn meshed(address: &str, app: App) -> (Pod, Running) {
    let pod = user_pod(address, "ctx1", app);
    let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[(pod.address, pod.workload.clone())])]));
    (pod, caller)
}

#[test]
fn a_gigabyte_passes_through_both_sidecars_in_a_few_buffers() {
    alone(async {
        let app = App::start(|request| async move {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.unwrap().data_ref().map_or(0, Bytes::len);
            }
            text(200, length.to_string())
        });
        let (_pod, caller) = meshed("127.70.30.1", app);
        let door = caller.outbound.unwrap();
        // Warm: pools, snapshots and buffers exist.
        post(door, Zeros { left: MEBIBYTE, given: Rc::default() }).await.unwrap();
        let before = resident();
        let highest = Rc::new(Cell::new(0));
        let watched = highest.clone();
        let watcher = tokio::task::spawn_local(async move {
            loop {
                watched.set(watched.get().max(resident()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let response = post(door, Zeros { left: 1024 * MEBIBYTE, given: Rc::default() }).await.unwrap();
        watcher.abort();
        assert_eq!(read(response).await.body, (1024 * MEBIBYTE).to_string());
        let grown = highest.get().saturating_sub(before);
        assert!(grown < 16 * MEBIBYTE, "grew by {} KiB", grown / 1024);
    });
}

#[test]
fn an_upstream_that_never_reads_holds_its_client_back() {
    alone(async {
        let stuck = TcpListener::bind("127.70.30.2:0").await.unwrap();
        let endpoint = (stuck.local_addr().unwrap(), workload("stuck", "user-service-ctx1", "ctx1"));
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[endpoint])]));
        let before = resident();
        let given = Rc::new(Cell::new(0));
        let sending = tokio::task::spawn_local(post(caller.outbound.unwrap(), Zeros { left: 1024 * MEBIBYTE, given: given.clone() }));
        let (_stream, _) = stuck.accept().await.unwrap();
        // Until nothing more is taken for a while.
        let mut last = usize::MAX;
        while last != given.get() {
            last = given.get();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(last > 0 && last < STALLED, "{last} bytes were taken in");
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "grew by {} KiB", grown / 1024);
        sending.abort();
    });
}

#[test]
fn a_client_that_never_reads_holds_its_upstream_back() {
    alone(async {
        let given = Rc::new(Cell::new(0));
        let counted = given.clone();
        let endless = TcpListener::bind("127.70.30.3:0").await.unwrap();
        let address = endless.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = endless.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1024 * MEBIBYTE).as_bytes()).await;
            while let Ok(written) = stream.write(&PIECE).await {
                counted.set(counted.get() + written);
            }
        });
        let endpoint = (address, workload("endless", "user-service-ctx1", "ctx1"));
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[endpoint])]));
        let before = resident();
        let mut client = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
        client.write_all(format!("GET {URI} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut last = usize::MAX;
        while last != given.get() || last == 0 {
            last = given.get();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(last < STALLED, "{last} bytes were taken in");
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "grew by {} KiB", grown / 1024);
    });
}

#[test]
fn slow_lorises_cost_their_head_and_no_more() {
    alone(async {
        const CLIENTS: usize = 400;
        let (_pod, caller) = meshed("127.70.30.4", App::saying("ok"));
        let door = caller.outbound.unwrap();
        assert_eq!(get(door, URI, &[]).await.status, 200);
        let before = resident();
        let mut lorises = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = TcpStream::connect(door).await.unwrap();
            // Half a head of 32 KiB that never ends.
            stream.write_all(format!("GET {URI} HTTP/1.1\r\nx-slow: {}", "a".repeat(32 << 10)).as_bytes()).await.unwrap();
            lorises.push(stream);
        }
        // Others are served all the while.
        assert_eq!(get(door, URI, &[]).await.status, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let grown = resident().saturating_sub(before);
        // A head's limit is 60 KiB, and the buffer that it is read into doubles up to that.
        assert!(grown < CLIENTS * (128 << 10), "grew by {} KiB for {CLIENTS} connections", grown / 1024);
        assert_eq!(get(door, URI, &[]).await.status, 200);
    });
}

#[test]
fn an_app_that_never_reads_holds_its_client_back_through_tls_as_well() {
    alone(async {
        let app = App::start(|request| async move {
            std::future::pending::<()>().await;
            drop(request);
            text(200, "never")
        });
        let (pod, caller) = meshed("127.70.30.8", app);
        let authority = authority::Authority::new();
        authority.issue(pod.sidecar.handle.certificates(), &authority::identity("user-service"));
        authority.issue(caller.handle.certificates(), &authority::identity("api-gateway"));
        let mut secured = cluster(None, &[(pod.address, pod.workload.clone())]);
        secured.tls = ClusterTls::IstioMutual(MutualTls { sni: "user-service".into(), subject_alt_names: vec![] });
        caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![secured]));
        let before = resident();
        let given = Rc::new(Cell::new(0));
        let sending = tokio::task::spawn_local(post(caller.outbound.unwrap(), Zeros { left: 1024 * MEBIBYTE, given: given.clone() }));
        let mut last = usize::MAX;
        while last != given.get() || last == 0 {
            last = given.get();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(last < STALLED, "{last} bytes were taken in");
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "grew by {} KiB", grown / 1024);
        assert!(pod.sidecar.handle.metrics().contains("envoy_listener_ssl_handshake{listener_address=\"inbound\"} 1"));
        sending.abort();
    });
}

#[test]
fn slow_lorises_of_tls_cost_their_hello_and_are_cut_off_in_time() {
    alone(async {
        const CLIENTS: usize = 400;
        let (pod, caller) = meshed("127.70.30.6", App::saying("ok"));
        let door = caller.outbound.unwrap();
        assert_eq!(get(door, URI, &[]).await.status, 200);
        let before = resident();
        let mut lorises = Vec::new();
        for number in 0..CLIENTS {
            let mut stream = TcpStream::connect(pod.address).await.unwrap();
            // The beginning of a hello of 15 KiB that never ends; every other one stops after its first byte.
            let mut hello = [&[0x16, 3, 1, 0x3c, 0x04, 1, 0, 0x3c, 0, 3, 3][..], &[7; 14 << 10]].concat();
            hello.truncate(if number % 2 == 0 { hello.len() } else { 1 });
            stream.write_all(&hello).await.unwrap();
            lorises.push(stream);
        }
        // Others are served all the while.
        assert_eq!(get(door, URI, &[]).await.status, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let grown = resident().saturating_sub(before);
        // A hello's limit is 16 KiB; it is kept once as it came and once by rustls.
        assert!(grown < CLIENTS * (64 << 10), "grew by {} KiB for {CLIENTS} connections", grown / 1024);
        // After ten seconds each is closed, and the reason noted.
        for mut loris in lorises {
            assert!(matches!(loris.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        }
        let refused = pod.sidecar.handle.refused();
        assert!(refused.iter().all(|refused| refused.reason.contains("not complete after 10s")), "{refused:?}");
        assert_eq!(get(door, URI, &[]).await.status, 200);
    });
}

#[test]
fn a_hello_without_end_is_refused_at_its_limit() {
    alone(async {
        let (pod, _caller) = meshed("127.70.30.7", App::saying("ok"));
        let mut stream = TcpStream::connect(pod.address).await.unwrap();
        // Records of a hello that says that it has 60 KiB.
        let _ = stream.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0xf0, 0, 3, 3]).await;
        let _ = stream.write_all(&[7; 20 << 10]).await;
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        assert!(pod.sidecar.handle.refused()[0].reason.contains("too long"), "{:?}", pod.sidecar.handle.refused());
    });
}

#[test]
fn a_chunked_body_without_end_in_tiny_chunks_is_passed_on_not_piled_up() {
    alone(async {
        let app = App::start(|request| async move {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(Ok(frame)) = body.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            text(200, length.to_string())
        });
        let (_pod, caller) = meshed("127.70.30.5", app);
        let mut client = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
        client
            .write_all(format!("POST {URI} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let tiny = "1\r\nx\r\n".repeat(10_000);
        client.write_all(tiny.as_bytes()).await.unwrap();
        let before = resident();
        for _ in 0..50 {
            client.write_all(tiny.as_bytes()).await.unwrap();
        }
        let grown = resident().saturating_sub(before);
        client.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("510000"), "{answer}");
        assert!(grown < 16 * MEBIBYTE, "grew by {} KiB", grown / 1024);
    });
}
