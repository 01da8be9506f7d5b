//! Things that happen at the same time: a connection that closes while it is taken, a snapshot that changes while a request is on its way.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use smov_model::cluster::{Cluster, OutlierDetection};
use smov_model::dice::{Dice, Draw};
use tokio::sync::Notify;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

/// Dice whose next roll first does something, while the proxy's thread stands still.
#[derive(Default)]
struct Trick(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Dice for Trick {
    fn roll(&self, _: Draw<'_>) -> u64 {
        if let Some(act) = self.0.lock().unwrap().take() {
            act();
        }
        0
    }
}

/// Reads one head without a body, or one answer whose body is `ok`.
fn read_until(stream: &mut std::net::TcpStream, end: &[u8]) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(end) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("{other:?} after {}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The proxy hears of the request first and of the closed connection then, in one look at its sockets: the request has taken the
/// connection when that turns out to be gone. Where only one connection is allowed, the new one takes the place of the dead one.
#[test]
fn a_connection_that_closes_as_it_is_taken_gives_its_place_to_the_next() {
    run(async {
        let listener = TcpListener::bind("127.70.16.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closing) = mpsc::channel::<()>();
        let (closed, has_closed) = mpsc::channel::<()>();
        let upstream = std::thread::spawn(move || {
            for first in [true, false] {
                let (mut stream, _) = listener.accept().unwrap();
                read_until(&mut stream, b"\r\n\r\n");
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                if first {
                    closing.recv().unwrap();
                    drop(stream);
                    closed.send(()).unwrap();
                }
            }
        });
        let mut one = cluster(None, &[(address, workload("odd", "user-service-ctx1", "ctx1"))]);
        one.limits.max_connections = 1;
        let dice = Arc::new(Trick::default());
        let drawn = canary_rule(to(&[(1, Some("ctx1")), (1, Some("ctx2"))]));
        let caller = start(config(smov_model::wire::ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1"), dice.clone());
        caller.handle.publish(caller_snapshot(vec![drawn, rule(to(&[(1, None)]))], vec![one]));
        let door = caller.outbound.unwrap();
        let ask = format!("GET {URI} HTTP/1.1\r\nhost: x\r\nx-request-id: taken\r\n\r\n");
        let asked = ask.clone();
        let first = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(door).unwrap();
            stream.write_all(asked.as_bytes()).unwrap();
            read_until(&mut stream, b"ok");
            stream
        });
        let mut stream = first.await.unwrap();
        let mut writer = stream.try_clone().unwrap();
        *dice.0.lock().unwrap() = Some(Box::new(move || {
            writer.write_all(ask.as_bytes()).unwrap();
            close.send(()).unwrap();
            has_closed.recv().unwrap();
        }));
        assert_eq!(get(door, URI, &[("x-canary", "true")]).await.status, 503);
        let answer = tokio::task::spawn_blocking(move || read_until(&mut stream, b"ok")).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(caller.handle.records("taken").pop().unwrap().attempts.len(), 1, "nobody saw the request: that is no retry");
        upstream.join().unwrap();
    });
}

/// A request that began under outlier detection fails when there is none any more: nobody is ejected, and nobody for ever.
#[test]
fn a_failure_from_before_ejects_nobody_where_detection_is_off_by_now() {
    run(async {
        let (fails, go) = (Rc::new(Cell::new(true)), Rc::new(Notify::new()));
        let (failing, may_go) = (fails.clone(), go.clone());
        let app = App::start(move |_| {
            let (failing, may_go) = (failing.clone(), may_go.clone());
            async move {
                if failing.replace(false) {
                    may_go.notified().await;
                    return text(500, "late");
                }
                text(200, "ok")
            }
        });
        let pod = user_pod("127.70.16.2", "ctx1", app);
        let other = user_pod("127.70.16.3", "ctx1", App::saying("ok"));
        let open = cluster(None, &[(pod.address, pod.workload.clone()), (other.address, other.workload.clone())]);
        let detection = OutlierDetection { consecutive_5xx: 1, max_ejection_percent: 100, ..OutlierDetection::default() };
        let guarded = Cluster { outlier: Some(detection), ..open.clone() };
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded]));
        let door = caller.outbound.unwrap();
        let late = tokio::task::spawn_local(get(door, URI, &[]));
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![open]));
        go.notify_one();
        assert_eq!(late.await.unwrap().status, 500);
        for _ in 0..4 {
            assert_eq!(get(door, URI, &[]).await.status, 200);
        }
        assert_eq!((pod.app.log.borrow().len(), other.app.log.borrow().len()), (3, 2), "both go on being asked");
    });
}
