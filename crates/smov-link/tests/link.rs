//! The link on real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smov_link::{Link, Routes, Settings, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A link with one route to a listener of the test's.
struct Bench {
    link: Link,
    through: SocketAddr,
    target: TcpListener,
    _task: AbortOnDropHandle<()>,
}

async fn bench(settings: Settings) -> Bench {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = target.local_addr().unwrap();
    // A port that was free a moment ago, on an address that nobody else uses.
    let through = TcpListener::bind("127.91.0.1:0").await.unwrap().local_addr().unwrap();
    let link = Link::new(settings);
    link.route(Routes::from([(through, to)]));
    let task = AbortOnDropHandle::new(tokio::spawn(link.clone().run(CancellationToken::new())));
    let bench = Bench { link, through, target, _task: task };
    if settings.state == State::Up {
        bench.listens().await;
    }
    bench
}

impl Bench {
    async fn listens(&self) {
        while TcpStream::connect(self.through).await.is_err() {
            tokio::task::yield_now().await;
        }
        // The probe's own connection is taken away again.
        let (probe, _) = self.target.accept().await.unwrap();
        drop(probe);
    }

    async fn pair(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.through).await.unwrap();
        let (server, _) = self.target.accept().await.unwrap();
        (client, server)
    }

    async fn is(&self, state: State) {
        let mut in_force = self.link.in_force();
        self.link.set(Settings { state, ..Settings::default() });
        in_force.wait_for(|(settings, _)| settings.state == state).await.unwrap();
    }
}

fn slow(milliseconds: u64, jitter: u64) -> Settings {
    Settings { latency: Duration::from_millis(milliseconds), jitter: Duration::from_millis(jitter), ..Settings::default() }
}

#[tokio::test]
async fn the_target_sees_the_clients_own_address() {
    let bench = bench(Settings::default()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.91.3.7:0".parse().unwrap()).unwrap();
    let _client = socket.connect(bench.through).await.unwrap();
    let (_, remote) = bench.target.accept().await.unwrap();
    assert_eq!(remote.ip(), "127.91.3.7".parse::<std::net::IpAddr>().unwrap());
}

#[tokio::test]
async fn a_round_trip_takes_the_latency_longer() {
    let bench = bench(slow(60, 0)).await;
    let (mut client, mut server) = bench.pair().await;
    let echo = tokio::spawn(async move {
        let mut byte = [0];
        while server.read_exact(&mut byte).await.is_ok() {
            server.write_all(&byte).await.unwrap();
        }
    });
    let started = Instant::now();
    for round in 0..3u8 {
        client.write_all(&[round]).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round);
    }
    assert!(started.elapsed() >= Duration::from_millis(180), "{:?}", started.elapsed());
    drop(client);
    echo.await.unwrap();
}

#[tokio::test]
async fn jitter_keeps_the_order_and_every_byte() {
    let bench = bench(slow(4, 4)).await;
    let (mut client, mut server) = bench.pair().await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|index| (index * 7 % 251) as u8).collect();
    let expected = sent.clone();
    let sender = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert!(received == expected);
    // One way has ended, the other one has not.
    server.write_all(b"thanks").await.unwrap();
    drop(server);
    assert_eq!(sender.await.unwrap(), "thanks");
    assert!(bench.link.figures().bytes >= 3_000_006);
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_refuses_what_comes() {
    let bench = bench(Settings::default()).await;
    let (mut client, mut server) = bench.pair().await;
    bench.is(State::Cut).await;
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(TcpStream::connect(bench.through).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);

    bench.is(State::Up).await;
    let (mut client, mut server) = bench.pair().await;
    client.write_u8(9).await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), 9);
}

#[tokio::test]
async fn on_a_stalled_link_nothing_moves_and_nothing_is_lost() {
    let bench = bench(Settings::default()).await;
    let (mut client, mut server) = bench.pair().await;
    bench.is(State::Stalled).await;
    client.write_all(b"late").await.unwrap();
    let mut word = [0; 4];
    let early = tokio::time::timeout(Duration::from_millis(100), server.read_exact(&mut word)).await;
    assert!(early.is_err());
    let newcomer = TcpStream::connect(bench.through).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), bench.target.accept()).await.is_err());
    bench.is(State::Up).await;
    server.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"late");
    bench.target.accept().await.unwrap();
    drop(newcomer);
}

#[tokio::test]
async fn a_dead_target_is_a_reset_and_never_a_finished_stream() {
    let Bench { link, through, target, _task } = bench(Settings::default()).await;
    drop(target);
    let mut client = TcpStream::connect(through).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    link.route(Routes::new());
    while TcpStream::connect(through).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_in_use_is_told_and_tried_again() {
    let held = TcpListener::bind("127.91.0.2:0").await.unwrap();
    let (at, target) = (held.local_addr().unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let link = Link::new(Settings::default());
    let mut in_force = link.in_force();
    link.route(Routes::from([(at, target.local_addr().unwrap())]));
    let task = AbortOnDropHandle::new(tokio::spawn(link.run(CancellationToken::new())));
    in_force.wait_for(|(_, troubles)| troubles.contains_key(&at)).await.unwrap();
    drop(held);
    in_force.wait_for(|(_, troubles)| troubles.is_empty()).await.unwrap();
    let _client = TcpStream::connect(at).await.unwrap();
    target.accept().await.unwrap();
    drop(task);
}

#[tokio::test]
async fn who_gives_up_on_a_stalled_link_is_not_kept() {
    let bench = bench(Settings { state: State::Stalled, ..Settings::default() }).await;
    let mut came = 0;
    while came < 3 {
        came += u32::from(TcpStream::connect(bench.through).await.is_ok());
        tokio::task::yield_now().await;
    }
    while bench.link.figures().opened < 3 || bench.link.figures().open > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
