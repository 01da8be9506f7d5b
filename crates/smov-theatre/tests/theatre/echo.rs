//! The echo on the wire: what its script says, what it remembers, its own paths.

use std::time::{Duration, Instant};

use smov_theatre::echo::{Echo, Received, Script, Server};
use smov_theatre::identity::Identity;
use smov_theatre::serve::Bound;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

struct Running {
    echo: Echo,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn playing(script: &str) -> Self {
        let identity = Identity { cluster: "ctx2".into(), pod: "echo-1".into(), service: "echo".into(), version: "v2".into() };
        let echo = Echo::new(identity, script.parse::<Script>().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Server::new(echo.clone(), Bound::Tcp(listener)).run(shutdown.clone()));
        Self { echo, address, shutdown, task }
    }

    /// Sends bytes and reads to the end of the connection.
    async fn send(&self, text: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn get(&self, path: &str) -> std::io::Result<String> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n")).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn each_request_gets_the_next_step_and_the_last_one_stays() {
    let running = Running::playing("503 x2, 200").await;
    for status in ["503", "503", "200", "200"] {
        let answer = running.get("/a").await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("x-pod-name: echo-1") && answer.contains("x-service-cluster: ctx2"), "{answer}");
    }
    let steps: Vec<usize> = running.echo.received().iter().map(|received| received.step).collect();
    assert_eq!(steps, [0, 0, 1, 1]);
    running.stop().await;
}

#[tokio::test]
async fn it_remembers_requests_as_they_came() {
    let running = Running::playing("200").await;
    let text =
        "POST /seats?x=%20 HTTP/1.1\r\nHost: a:1\r\nX-Role: one\r\nx-role: two\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    running.send(text).await.unwrap();
    let received: Vec<Received> = running.echo.received();
    assert_eq!((received[0].method.as_str(), received[0].target.as_str()), ("POST", "/seats?x=%20"));
    assert_eq!((received[0].host.as_str(), received[0].body.as_str(), received[0].body_bytes), ("a:1", "hello", 5));
    assert_eq!(received[0].values("X-ROLE").collect::<Vec<_>>(), ["one", "two"]);
    running.stop().await;
}

#[tokio::test]
async fn a_script_can_wait_close_reset_and_break_off() {
    let running = Running::playing(r#"["200 after 80ms", "close", "reset", {"ending": "cut", "body": "0123456789"}]"#).await;
    let started = Instant::now();
    assert!(running.get("/").await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(running.get("/").await.unwrap(), "");
    assert_eq!(running.get("/").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let cut = running.get("/").await.unwrap_or_default();
    assert!(cut.ends_with("\r\n\r\n01234"), "{cut}");
    running.stop().await;
}

#[tokio::test]
async fn a_request_that_hangs_ends_with_the_server() {
    let running = Running::playing("hang").await;
    let address = running.address;
    let waiting = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: echo\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    });
    while running.echo.count() == 0 {
        tokio::task::yield_now().await;
    }
    running.stop().await;
    assert!(waiting.await.unwrap().is_empty());
}

#[tokio::test]
async fn its_own_paths_are_not_scripted_and_change_the_script() {
    let running = Running::playing("503").await;
    let put = "PUT /_echo/script HTTP/1.1\r\nhost: echo\r\ncontent-length: 8\r\nconnection: close\r\n\r\n418, 200";
    assert!(running.send(put).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(running.get("/").await.unwrap().starts_with("HTTP/1.1 418"));
    let listed = running.get("/_echo/requests").await.unwrap();
    assert!(listed.contains("\"count\": 1") && listed.contains("\"target\": \"/\""), "{listed}");
    let wrong = "PUT /_echo/script HTTP/1.1\r\nhost: echo\r\ncontent-length: 6\r\nconnection: close\r\n\r\nteapot";
    assert!(running.send(wrong).await.unwrap().starts_with("HTTP/1.1 400"));
    assert!(running.get("/_echo/else").await.unwrap().starts_with("HTTP/1.1 404"));
    assert_eq!(running.echo.count(), 1);
    running.stop().await;
}
