//! A port that takes something else than before: what is open and would not be taken any more ends.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use smov_model::tls::{ClusterTls, ConnectionSecurityPolicy, MutualTlsMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::tls::{caller_with, mutual, pod, secured, takes};
use super::tls_tcp;
use crate::authority::Authority;
use crate::support::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: user-service:8081\r\n\r\n";
const URI: &str = "http://user-service:8081/users/";

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 1024]);
    while !all.ends_with(end.as_bytes()) {
        let read = stream.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn between_requests_a_connection_closes_at_once_and_an_answer_that_is_awaited_is_the_last() {
    run(async {
        let authority = Authority::new();
        let (go, came) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let (gate, told) = (go.clone(), came.clone());
        let app = App::start(move |request| {
            let (gate, told) = (gate.clone(), told.clone());
            async move {
                if request.uri().path() == "/slow" {
                    told.notify_one();
                    gate.notified().await;
                }
                text(200, "ok")
            }
        });
        let pod = pod("127.70.43.1", app, MutualTlsMode::Permissive, &authority);
        let mut fresh = TcpStream::connect(pod.address).await.unwrap();
        let mut idle = TcpStream::connect(pod.address).await.unwrap();
        idle.write_all(REQUEST).await.unwrap();
        assert!(!read_until(&mut idle, "ok").await.contains("connection: close"));
        let mut busy = TcpStream::connect(pod.address).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: user-service:8081\r\n\r\n").await.unwrap();
        came.notified().await;
        // What is taken all the same stays.
        takes(&pod, MutualTlsMode::Permissive);
        idle.write_all(REQUEST).await.unwrap();
        read_until(&mut idle, "ok").await;

        takes(&pod, MutualTlsMode::Strict);
        assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
        // Nothing was known of this one yet: it is judged when it speaks.
        fresh.write_all(REQUEST).await.unwrap();
        assert_eq!(fresh.read(&mut [0; 1]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        go.notify_one();
        let last = read_until(&mut busy, "ok").await;
        assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
        assert_eq!(busy.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn callers_go_on_in_plaintext_where_mutual_tls_is_not_taken_any_more() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.43.2", App::saying("ok"), MutualTlsMode::Strict, &authority);
        let auto = secured(&pod, ClusterTls::Auto(mutual(&[])));
        let caller = caller_with(&authority, auto.clone());
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        assert_eq!(client.get(URI, &[]).await.status, 200);
        takes(&pod, MutualTlsMode::Disable);
        let mut plain = auto;
        plain.endpoints[0].mutual_tls = false;
        caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![plain]));
        assert_eq!(client.get(URI, &[("x-request-id", "now")]).await.status, 200);
        assert_eq!(pod.sidecar.handle.records("now")[0].security, ConnectionSecurityPolicy::None);
    });
}

#[test]
fn an_answer_without_an_end_is_cut_off_after_the_drain() {
    run(async {
        let endless = App::start(|_| async {
            let pieces = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Some((Ok(Frame::data(Bytes::from_static(b"tick"))), ()))
            });
            Response::new(BodyExt::boxed(StreamBody::new(Box::pin(pieces))))
        });
        let pod = user_pod_with("127.70.43.3", "ctx1", endless, |config| config.limits.mode_drain = Duration::from_millis(100));
        takes(&pod, MutualTlsMode::Permissive);
        let mut stream = TcpStream::connect(pod.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut piece = [0; 1024];
        assert_ne!(stream.read(&mut piece).await.unwrap(), 0);
        takes(&pod, MutualTlsMode::Strict);
        let changed = tokio::time::Instant::now();
        while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
        assert!(changed.elapsed() >= Duration::from_millis(100), "it had its time");
    });
}

#[test]
fn opaque_bytes_are_cut_off_after_the_drain_and_those_that_are_still_taken_go_on() {
    run(async {
        let (authority, store) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let store_address = store.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = store.accept().await {
                tokio::task::spawn_local(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let drain = Duration::from_millis(100);
        let (sidecar, caller) = tls_tcp::doors_draining("127.70.43.4", store_address, MutualTlsMode::Permissive, &authority, drain);
        let mut echo = [0; 4];
        let mut plain = TcpStream::connect(sidecar.inbound[0]).await.unwrap();
        let mut secured = TcpStream::connect(caller.doors[0]).await.unwrap();
        for stream in [&mut plain, &mut secured] {
            stream.write_all(b"PING").await.unwrap();
            stream.read_exact(&mut echo).await.unwrap();
        }
        sidecar.handle.publish(tls_tcp::own(&sidecar, MutualTlsMode::Strict));
        let changed = tokio::time::Instant::now();
        assert!(!plain.read(&mut echo).await.is_ok_and(|read| read > 0));
        assert!(changed.elapsed() >= drain, "it had its time");
        secured.write_all(b"PONG").await.unwrap();
        secured.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"PONG");
    });
}
