//! One connection through the link.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use rustix::net::sockopt::set_socket_linger;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::line::{self, End, carry, cut};
use crate::settings::{Settings, State};

/// How long a target may take to accept; a client of the link gives up sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What went through the link since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// Carries one connection to its end. One that breaks is reset on both sides: a broken stream must not look like a finished one.
pub(crate) async fn relay(
    mut client: TcpStream,
    remote: SocketAddr,
    target: SocketAddr,
    settings: watch::Receiver<Settings>,
    mut dice: SmallRng,
    counters: &Counters,
) {
    counters.opened.fetch_add(1, Relaxed);
    let _closed = Closed(counters);
    let mut server = match reach(&client, remote, target, settings.clone(), &mut dice).await {
        Ok(server) => server,
        Err(reason) => {
            debug!(%target, reason, "the link does not reach its target");
            reset(&client);
            return;
        }
    };
    let _ = client.set_nodelay(true);
    let other = SmallRng::seed_from_u64(dice.next_u64());
    let carried = |bytes| {
        counters.bytes.fetch_add(bytes, Relaxed);
    };
    let (forth, back) = {
        let ((client_reads, client_writes), (server_reads, server_writes)) = (client.split(), server.split());
        let forth = carry(client_reads, server_writes, settings.clone(), dice, carried);
        let back = carry(server_reads, client_writes, settings, other, carried);
        both(forth, back).await
    };
    if let Some(trouble) = forth.or(back) {
        match trouble {
            End::Broken(error) => debug!(%target, %error, "a connection through the link broke"),
            End::Cut | End::Finished => debug!(%target, "a connection went with the link"),
        }
        reset(&client);
        reset(&server);
    }
}

/// Runs both ways; when one breaks, the other one is not waited for.
async fn both(forth: impl Future<Output = End>, back: impl Future<Output = End>) -> (Option<End>, Option<End>) {
    let (mut forth, mut back) = (std::pin::pin!(forth), std::pin::pin!(back));
    let trouble = |end| match end {
        End::Finished => None,
        broken @ (End::Cut | End::Broken(_)) => Some(broken),
    };
    tokio::select! {
        end = &mut forth => match trouble(end) {
            None => (None, trouble(back.await)),
            broken => (broken, None),
        },
        end = &mut back => match trouble(end) {
            None => (trouble(forth.await), None),
            broken => (None, broken),
        },
    }
}

/// Dials the target from the client's own address, after the round trip that a connect takes on such a line.
async fn reach(
    client: &TcpStream,
    remote: SocketAddr,
    target: SocketAddr,
    mut settings: watch::Receiver<Settings>,
    dice: &mut SmallRng,
) -> Result<TcpStream, String> {
    let cut_off = || "the link is cut".to_owned();
    let up = tokio::select! {
        up = settings.wait_for(|settings| settings.state != State::Stalled) => up.map(|settings| *settings).map_err(|_| cut_off())?,
        () = gone(client) => return Err("the client has gone".to_owned()),
    };
    if up.state == State::Cut {
        return Err(cut_off());
    }
    let round_trip = line::one_way(&up, dice) * 2;
    if !round_trip.is_zero() {
        sleep(round_trip).await;
    }
    let dial = async {
        let socket = TcpSocket::new_v4()?;
        // A wish: a client that came from elsewhere is still served.
        if remote.ip().is_loopback() && target.ip().is_loopback() && remote.is_ipv4() {
            socket.bind(SocketAddr::new(remote.ip(), 0))?;
        }
        // Until it carries something, a connection that is given up is a reset, too.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        let stream = socket.connect(target).await?;
        set_socket_linger(&stream, None)?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    };
    tokio::select! {
        dialled = timeout(CONNECT_TIMEOUT, dial) => match dialled {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the target does not accept".to_owned()),
        },
        () = cut(settings) => Err(cut_off()),
    }
}

/// Ready when a client that waits for a stalled line has given up.
async fn gone(client: &TcpStream) {
    while !line::has_left(client).await {
        sleep(line::CHECK).await;
    }
}

/// Makes the close of this stream a reset.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

struct Closed<'a>(&'a Counters);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Relaxed);
    }
}
