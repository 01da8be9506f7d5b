//! The follower: the operator door shows the same lamps as the gateway by reading the gateway's own event stream.
//!
//! Rows, whys, figures, ▶ and the store come from there; configuration, pods and mesh do not, because they must be true when the gateway is
//! dead. Whether the stream is there is told in `mesh.gateway`.

mod sse;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::live::Live;
use crate::view::request::RequestBatch;
use crate::view::state::{PerService, StatView, StateView};
use sse::{Event, Parser};

/// The bytes of an event stream, or why it broke.
pub type ByteStream = BoxStream<'static, Result<Bytes, String>>;

/// The way to the other console's events.
pub trait EventSource: Send + Sync {
    /// Opens `/api/v1/events?reader=follower`, with `Last-Event-ID` when there is a last one.
    fn connect(&self, last: Option<String>) -> BoxFuture<'static, Result<ByteStream, String>>;
}

/// Wait before the next try, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A living stream says something every 15 seconds; one that is silent for longer is dead (its process may be stopped, not gone).
const SILENCE: Duration = Duration::from_secs(20);

/// Applies another console's events to a hub of our own.
pub struct Follower {
    live: Live,
    last: Option<String>,
    epoch: Option<String>,
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(live: Live) -> Self {
        Self { live, last: None, epoch: None }
    }

    /// Follows the source, again and again, until `shutdown`.
    pub async fn run(mut self, source: impl EventSource, shutdown: CancellationToken) {
        let following = async {
            let mut wait = FIRST_WAIT;
            loop {
                match source.connect(self.last.clone()).await {
                    Ok(stream) => {
                        wait = FIRST_WAIT;
                        self.follow(stream).await;
                    }
                    Err(error) => tracing::debug!(error, "the gateway's event stream is away"),
                }
                self.live.set_gateway(false);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = following => {}
        }
    }

    /// Applies one stream until it ends.
    pub async fn follow(&mut self, mut stream: ByteStream) {
        let mut parser = Parser::default();
        loop {
            match timeout(SILENCE, stream.next()).await {
                Ok(None) => break,
                Err(_) => {
                    tracing::debug!("the gateway's event stream fell silent");
                    break;
                }
                Ok(Some(Ok(bytes))) => parser.feed(&bytes, |event| self.apply(event)),
                Ok(Some(Err(error))) => {
                    tracing::debug!(error, "the gateway's event stream broke");
                    break;
                }
            }
        }
        self.live.set_gateway(false);
    }

    fn apply(&mut self, event: Event<'_>) {
        self.live.set_gateway(true);
        match event.kind {
            "hello" => parse(event, |state: StateView| self.start_from(state)),
            "req" => parse(event, |batch| self.live.follow_rows(&batch)),
            "why" => parse(event, |batch| self.live.follow_whys(&batch)),
            "stat" => parse(event, |stat| self.live.follow_figures(stat)),
            "load" => parse(event, |load| self.live.set_load(load)),
            "store" => parse(event, |store| self.live.set_store(store)),
            // `cfg`, `pods` and `mesh` are read first-hand here; `bye` is followed by the stream's end.
            _ => {}
        }
        if !event.id.is_empty() {
            self.last = Some(event.id.to_owned());
        }
    }

    /// Takes a whole state: what its rows add, and what was missed between.
    fn start_from(&mut self, state: StateView) {
        let again = self.epoch.as_deref() == Some(state.epoch.as_str());
        let rows: Vec<_> = state.recent.into_iter().filter(|row| self.live.find(&row.id).is_none()).collect();
        let n = if again { state.missed.max(rows.len() as u64) } else { rows.len() as u64 };
        if n > 0 {
            let dropped = n - rows.len() as u64;
            self.live.follow_rows(&RequestBatch { rows, n, dropped });
        }
        let services =
            PerService { user: state.services.user.stat, movie: state.services.movie.stat, booking: state.services.booking.stat };
        self.live.follow_figures(StatView { services, totals: state.totals });
        self.live.set_load(state.load);
        self.live.set_store(state.store);
        self.epoch = Some(state.epoch);
    }
}

fn parse<T: DeserializeOwned>(event: Event<'_>, apply: impl FnOnce(T)) {
    match serde_json::from_str(event.data) {
        Ok(value) => apply(value),
        Err(error) => tracing::warn!(%error, kind = event.kind, "an event of the gateway was not understood"),
    }
}
