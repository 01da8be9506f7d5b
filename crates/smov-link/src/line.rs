//! One way of one connection: bytes that come out later than they went in, in order.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::settings::{Settings, State};

/// Bytes on their way in one direction of one connection, at most; beyond it the sender waits, as it would for a full window.
const IN_FLIGHT: usize = 1 << 20;

/// How often a stalled line looks whether anybody is still there.
pub(crate) const CHECK: Duration = Duration::from_secs(1);

/// How long a stalled line keeps a connection whose sender has ended.
const LEFT: Duration = Duration::from_secs(10);

/// Read at once, at most.
const CHUNK: usize = 16 << 10;

/// Why a line ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The sender has said its last, and all of it has arrived.
    Finished,
    /// The link was cut.
    Cut,
    /// One of the two connections broke.
    Broken(io::Error),
}

/// What is on its way; `None` = the sender's end.
type Flight = (Instant, Option<Bytes>);

/// Carries bytes from one side to the other until the sender ends, the link is cut, or a side breaks. `carried` counts what arrived.
pub(crate) async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut settings: watch::Receiver<Settings>,
    mut dice: SmallRng,
    carried: impl Fn(u64),
) -> End {
    let mut flights: VecDeque<Flight> = VecDeque::new();
    let mut in_flight = 0;
    let mut ended = false;
    let mut last = Instant::now();
    let mut buffer = BytesMut::new();
    let mut now = *settings.borrow_and_update();
    let mut timer: Pin<Box<Sleep>> = Box::pin(sleep_until(last));
    loop {
        match now.state {
            State::Cut => return End::Cut,
            State::Stalled => {
                tokio::select! {
                    changed = settings.changed() => if changed.is_err() { return End::Cut },
                    // Over a line that stays stalled, those who left must not be kept for ever.
                    () = left(&from) => return End::Cut,
                }
                now = *settings.borrow_and_update();
                continue;
            }
            State::Up => {}
        }
        let due = flights.front().map(|(due, _)| *due);
        if let Some(due) = due.filter(|due| *due > Instant::now()) {
            timer.as_mut().reset(due);
        }
        buffer.reserve(CHUNK);
        tokio::select! {
            biased;
            changed = settings.changed() => {
                if changed.is_err() {
                    return End::Cut;
                }
                now = *settings.borrow_and_update();
            }
            () = arrival(due, &mut timer) => {
                let Some((_, flight)) = flights.pop_front() else { continue };
                let Some(bytes) = flight else {
                    return to.shutdown().await.map_or_else(End::Broken, |()| End::Finished);
                };
                in_flight -= bytes.len();
                // A receiver that does not read must not keep a cut from being felt.
                tokio::select! {
                    written = to.write_all(&bytes) => match written {
                        Ok(()) => carried(bytes.len() as u64),
                        Err(error) => return End::Broken(error),
                    },
                    () = cut(settings.clone()) => return End::Cut,
                }
            }
            read = from.read_buf(&mut buffer), if !ended && in_flight < IN_FLIGHT => {
                let flight = match read {
                    Ok(0) => None,
                    Ok(_) => Some(buffer.split().freeze()),
                    Err(error) => return End::Broken(error),
                };
                ended = flight.is_none();
                in_flight += flight.as_ref().map_or(0, Bytes::len);
                last = last.max(Instant::now() + one_way(&now, &mut dice));
                flights.push_back((last, flight));
            }
        }
    }
}

/// Ready when the sender has ended or broken its side and [`LEFT`] has passed since it was seen.
async fn left(from: &ReadHalf<'_>) {
    while !has_left(from.as_ref()).await {
        sleep(CHECK).await;
    }
    sleep(LEFT).await;
}

/// Has the other side ended or broken its half of the connection? What it sent before may still wait to be read.
pub(crate) async fn has_left(stream: &TcpStream) -> bool {
    // Nothing to hear at all is no end; asking must not wait for it.
    let ready = tokio::time::timeout(Duration::ZERO, stream.ready(Interest::READABLE)).await;
    ready.is_ok_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed() || ready.is_error()))
}

/// Ready when the first flight is due; never without one.
async fn arrival(due: Option<Instant>, timer: &mut Pin<Box<Sleep>>) {
    match due {
        Some(due) if due > Instant::now() => timer.as_mut().await,
        Some(_) => {}
        None => std::future::pending().await,
    }
}

/// Ready when the link is cut.
pub(crate) async fn cut(mut settings: watch::Receiver<Settings>) {
    // Without a sender there is no link any more.
    let _ = settings.wait_for(|settings| settings.state == State::Cut).await;
}

pub(crate) fn one_way(settings: &Settings, dice: &mut SmallRng) -> Duration {
    settings.one_way(if settings.jitter.is_zero() { 0.5 } else { dice.random() })
}
