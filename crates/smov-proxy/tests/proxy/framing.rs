//! Bytes: streaming, framing, clients that leave, drains.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

fn one_pod(address: &str, app: App) -> (Pod, smov_model::snapshot::Snapshot) {
    let pod = user_pod(address, "ctx1", app);
    let snapshot = caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[(pod.address, pod.workload.clone())])]);
    (pod, snapshot)
}

fn streamed(chunks: mpsc::UnboundedReceiver<&'static str>) -> Body {
    let frames = stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        Some((Ok(Frame::data(Bytes::from(chunk))), chunks))
    });
    // BoxBody wants Sync, which an mpsc receiver is.
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

#[test]
fn a_body_streams_both_ways_while_snapshots_swap() {
    run(async {
        let echo = App::start(|request| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(Full::new(body).boxed())
        });
        let (_pod, snapshot) = one_pod("127.70.4.1", echo);
        let caller = caller(snapshot.clone());
        let (chunks, receiver) = mpsc::unbounded_channel();
        let mut sent = http::Request::new(streamed(receiver));
        *sent.method_mut() = http::Method::POST;
        *sent.uri_mut() = URI.parse().unwrap();
        sent.headers_mut().insert("host", "user-service:8081".parse().unwrap());
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let answer = tokio::task::spawn_local(async move { client.call(sent).await });
        for _ in 0..50 {
            chunks.send("0123456789").unwrap();
            caller.handle.publish(snapshot.clone());
            tokio::task::yield_now().await;
        }
        drop(chunks);
        assert_eq!(answer.await.unwrap().body, "0123456789".repeat(50));
    });
}

#[test]
fn large_bodies_pass_unchanged() {
    run(async {
        let echo = App::start(|request| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(Full::new(body).boxed())
        });
        let (_pod, snapshot) = one_pod("127.70.4.2", echo);
        let caller = caller(snapshot);
        let body = "x".repeat(3 << 20);
        let reply = Client::connect(caller.outbound.unwrap()).await.call(request("POST", URI, &[], &body)).await;
        assert_eq!((reply.status, reply.body.len(), reply.header("content-length")), (200, 3 << 20, "3145728"));
    });
}

#[test]
fn head_204_and_304_have_no_body_and_keep_the_connection() {
    run(async {
        let app = App::start(|request| async move {
            match request.uri().path() {
                "/204" => text(204, ""),
                "/304" => text(304, ""),
                _ => text(200, "hello"),
            }
        });
        let (_pod, snapshot) = one_pod("127.70.4.3", app);
        let caller = caller(snapshot);
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let reply = client.call(request("HEAD", URI, &[], "")).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.header("content-length")), (200, "", "5"));
        for path in ["204", "304"] {
            let reply = client.get(&format!("http://user-service:8081/{path}"), &[]).await;
            assert_eq!((reply.status.to_string().as_str(), reply.body.as_str()), (path, ""));
            assert!(!reply.headers.contains_key("transfer-encoding"));
        }
        assert_eq!(client.get(URI, &[]).await.body, "hello");
    });
}

#[test]
fn expect_continue_is_answered_and_not_passed_on() {
    run(async {
        let app = App::start(|request| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(Full::new(body).boxed())
        });
        let (pod, snapshot) = one_pod("127.70.4.4", app);
        let caller = caller(snapshot);
        let mut stream = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
        let head = format!("POST {URI} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"ok").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
        assert!(!pod.app.log.borrow()[0].headers.contains_key("expect"));
    });
}

#[test]
fn trailers_pass() {
    run(async {
        let app = App::start(|_| async move {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "42".parse().unwrap());
            let frames = vec![Ok(Frame::data(Bytes::from("data"))), Ok(Frame::trailers(trailers))];
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(stream::iter(frames))));
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        });
        let (_pod, snapshot) = one_pod("127.70.4.5", app);
        let caller = caller(snapshot);
        let head = format!("GET {URI} HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: te, close\r\n\r\n");
        let answer = raw(caller.outbound.unwrap(), &head).await;
        assert!(answer.contains("x-sum: 42\r\n"), "{answer}");
    });
}

#[test]
fn ambiguous_framing_is_refused_or_made_plain() {
    run(async {
        let (pod, snapshot) = one_pod("127.70.4.6", App::saying("ok"));
        let caller = caller(snapshot);
        let door = caller.outbound.unwrap();
        let post = format!("POST {URI} HTTP/1.1\r\nhost: x\r\n");
        for bad in [
            "content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
            "content-length: +3\r\n\r\nabc",
            "transfer-encoding: gzip\r\n\r\nabc",
            "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
            "x-folded: a\r\n b\r\n\r\n",
        ] {
            let answer = raw(door, &format!("{post}{bad}")).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?}: {answer}");
        }
        let many: String = (0..120).map(|number| format!("x-{number}: 1\r\n")).collect();
        assert!(raw(door, &format!("GET {URI} HTTP/1.1\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431"));
        let big = "a".repeat(80 << 10);
        assert!(raw(door, &format!("GET {URI} HTTP/1.1\r\nx-big: {big}\r\n\r\n")).await.starts_with("HTTP/1.1 431"));
        assert_eq!(pod.app.log.borrow().len(), 0);
    });
}

#[test]
fn a_client_that_leaves_cancels_the_upstream() {
    run(async {
        let (gone, mut told) = mpsc::unbounded_channel();
        let app = App::start(move |_| {
            let guard = Guard(gone.clone());
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                text(200, "")
            }
        });
        let (pod, snapshot) = one_pod("127.70.4.7", app);
        let caller = caller(snapshot);
        let mut stream = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
        stream.write_all(format!("GET {URI} HTTP/1.1\r\nx-request-id: left\r\n\r\n").as_bytes()).await.unwrap();
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(stream);
        told.recv().await.unwrap();
        let record = caller.handle.records("left").pop().unwrap();
        assert_eq!((record.status, record.flags.to_string()), (0, "DC".to_owned()));
    });
}

struct Guard(mpsc::UnboundedSender<()>);
impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_drain_finishes_what_runs_and_says_connection_close() {
    run(async {
        let (release, hold) = tokio::sync::watch::channel(false);
        let app = App::start(move |_| {
            let mut hold = hold.clone();
            async move {
                hold.wait_for(|free| *free).await.unwrap();
                text(200, "late")
            }
        });
        let (pod, _snapshot) = one_pod("127.70.4.8", app);
        let inbound = pod.address;
        let waiting = tokio::task::spawn_local(async move { get(inbound, "/", &[("host", "user-service")]).await });
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        pod.sidecar.shutdown.cancel();
        // New connections are not served any more; in-flight ones are.
        tokio::time::sleep(Duration::from_millis(1)).await;
        release.send(true).unwrap();
        let reply = waiting.await.unwrap();
        assert_eq!((reply.status, reply.body.as_str(), reply.header("connection")), (200, "late", "close"));
        pod.sidecar.task.await.unwrap().unwrap();
        assert!(TcpStream::connect(inbound).await.is_err());
    });
}

/// A caller's sidecar whose patience with its app is short.
fn impatient(header_timeout: Duration, idle_timeout: Duration) -> Running {
    let mut config = config(smov_model::wire::ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
    config.limits.header_timeout = header_timeout;
    config.limits.idle_timeout = idle_timeout;
    start(config, dice())
}

#[test]
fn a_head_that_never_ends_is_answered_408_and_closed() {
    run(async {
        let caller = impatient(Duration::from_millis(40), Duration::from_secs(60));
        let answer = raw(caller.outbound.unwrap(), &format!("GET {URI} HTTP/1.1\r\nhost: user-")).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    });
}

#[test]
fn a_connection_without_requests_is_closed_in_silence() {
    run(async {
        let caller = impatient(Duration::from_millis(40), Duration::from_millis(60));
        assert_eq!(raw(caller.outbound.unwrap(), "").await, "");
    });
}

#[test]
fn a_pooled_connection_that_the_pod_closed_fails_no_request() {
    run(async {
        // The app's sidecar closes its side after each answer without saying so: the caller finds out only when it writes.
        let listener = tokio::net::TcpListener::bind("127.70.4.60:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (closed, mut closings) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0_u8; 2048];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                drop(stream);
                let _ = closed.send(());
            }
        });
        let pod = workload("user-service-ctx1-1", "user-service-ctx1", "ctx1");
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[(address, pod)])]));
        for _ in 0..20 {
            let reply = get(caller.outbound.unwrap(), URI, &[]).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
            closings.recv().await.unwrap();
        }
    });
}

/// Whatever the framing, at most the first request reaches the app, and what reaches it has one framing.
#[test]
fn no_second_request_hides_in_a_first() {
    run(async {
        let (pod, snapshot) = one_pod(
            "127.70.4.70",
            App::start(|request| async move {
                match request.into_body().collect().await {
                    Ok(body) => text(200, body.to_bytes()),
                    Err(_) => text(400, "broken"),
                }
            }),
        );
        let caller = caller(snapshot);
        let hidden = "GET /smuggled HTTP/1.1\r\nhost: user-service:8081\r\n\r\n";
        let post = format!("POST {URI} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for (framing, status) in [
            // Two framings, also where lines end in a bare LF or a value is folded.
            (format!("content-length: 5\ntransfer-encoding: chunked\n\n0\r\n\r\n{hidden}"), 400),
            (format!("transfer-encoding: chunked\r\nCONTENT-LENGTH: 0\r\n\r\n0\r\n\r\n{hidden}"), 400),
            (format!("transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
            // Codings that are not chunked alone.
            (format!("transfer-encoding: identity\r\n\r\n{hidden}"), 400),
            (format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"), 400),
            (format!("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
            (format!("transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
            // Lengths that are no lengths.
            (format!("content-length: 0x5\r\n\r\n{hidden}"), 400),
            (format!("content-length: -1\r\n\r\n{hidden}"), 400),
            (format!("content-length: 1 1\r\n\r\n{hidden}"), 400),
            (format!("content-length: 99999999999999999999\r\n\r\n{hidden}"), 400),
            (format!("content-length: 0, 5\r\n\r\n{hidden}"), 400),
            // Names that are no names.
            (format!("content-length : 5\r\n\r\n{hidden}"), 400),
            (format!("x y: 1\r\ncontent-length: 0\r\n\r\n{hidden}"), 400),
            (format!("x: a\0b\r\ncontent-length: 0\r\n\r\n{hidden}"), 400),
            (format!(" x: leading\r\ncontent-length: 0\r\n\r\n{hidden}"), 400),
            // Chunks that are no chunks.
            (format!("transfer-encoding: chunked\r\n\r\nzz\r\n{hidden}"), 400),
            (format!("transfer-encoding: chunked\r\n\r\n-1\r\n{hidden}"), 400),
            (format!("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"), 400),
            (format!("transfer-encoding: chunked\r\n\r\n2\r\nabX0\r\n\r\n{hidden}"), 400),
            // Plain ones, closed as they asked: what comes after is not looked at.
            (format!("content-length: 0\r\n\r\n{hidden}"), 200),
            (format!("transfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"), 200),
            // The same length twice is one length, and is passed on once.
            (format!("content-length: 2\r\ncontent-length: 2\r\n\r\nab{hidden}"), 200),
        ] {
            let answer = raw(caller.outbound.unwrap(), &format!("{post}{framing}")).await;
            let got: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            assert_eq!(got, status, "{framing:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{framing:?}: {answer}");
        }
        let seen = pod.app.log.borrow();
        assert!(seen.iter().all(|seen| seen.uri == "/users/"), "{seen:?}");
        assert!(seen.iter().all(|seen| seen.headers.get_all("content-length").iter().count() <= 1), "{seen:?}");
    });
}

#[test]
fn chunk_extensions_end_at_this_hop_and_the_bytes_stay() {
    run(async {
        let (pod, snapshot) = one_pod(
            "127.70.4.71",
            App::start(|request| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                text(200, body)
            }),
        );
        let caller = caller(snapshot);
        let body = "3;name=value;other=\"quoted\"\r\nabc\r\n0A ; x\r\n0123456789\r\n0;last\r\n\r\n";
        let head = format!("POST {URI} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n");
        let answer = raw(caller.outbound.unwrap(), &format!("{head}{body}")).await;
        assert!(answer.ends_with("\r\n\r\nabc0123456789"), "{answer}");
        assert_eq!(pod.app.log.borrow()[0].headers["transfer-encoding"], "chunked");
        // An extension without end is not read for ever.
        let mut endless = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
        endless.write_all(format!("{head}3;").as_bytes()).await.unwrap();
        let piece = "a".repeat(16 << 10);
        let mut sent = 0;
        while sent < 64 << 20 && endless.write_all(piece.as_bytes()).await.is_ok() {
            sent += piece.len();
        }
        assert!(sent < 64 << 20, "an extension of {sent} bytes was read");
    });
}

#[test]
fn the_uri_says_where_to_and_the_host_header_does_not() {
    run(async {
        let (pod, snapshot) = one_pod("127.70.4.72", App::saying("ok"));
        let caller = caller(snapshot);
        let door = caller.outbound.unwrap();
        for host in ["elsewhere.example:9", "user-service:9999", "a b", ""] {
            let answer = raw(door, &format!("GET {URI} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{host:?}: {answer}");
        }
        assert!(pod.app.log.borrow().iter().all(|seen| seen.headers["host"] == "user-service:8081"));
        // In origin form Host is all there is, and there must be one that is one.
        for head in [
            "GET /users/ HTTP/1.1\r\n\r\n",
            "GET /users/ HTTP/1.1\r\nhost:\r\n\r\n",
            "GET /users/ HTTP/1.1\r\nhost: user-service:8081\r\nhost: other\r\n\r\n",
            "GET /users/ HTTP/1.1\r\nhost: user-service:99999\r\n\r\n",
            "GET http://user-service:99999/users/ HTTP/1.1\r\nhost: user-service\r\n\r\n",
        ] {
            let answer = raw(door, head).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        }
        // Credentials in the URI are no part of the host.
        let answer = raw(door, "GET http://user:secret@user-service:8081/users/ HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(raw(door, "CONNECT user-service:8081 HTTP/1.1\r\nhost: user-service:8081\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    });
}

#[test]
fn lines_that_end_in_a_bare_newline_are_passed_on_with_both() {
    run(async {
        let upstream = tokio::net::TcpListener::bind("127.70.4.73:0").await.unwrap();
        let endpoint = (upstream.local_addr().unwrap(), workload("raw", "user-service-ctx1", "ctx1"));
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[endpoint])]));
        let mut client = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
        client.write_all(format!("GET {URI} HTTP/1.1\nhost: x\nx-a: 1\n\n").as_bytes()).await.unwrap();
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        assert!(head.starts_with("GET /users/ HTTP/1.1\r\n") && head.contains("x-a: 1\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
    });
}
