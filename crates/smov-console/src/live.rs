//! The live hub: requests and changes come in, numbered events go out to every browser.
//!
//! ```text
//! relayed ─► board (counts, windows, sample) ─every 100 ms─► journal (ring of events) ─► one cursor per browser
//! ```
//!
//! [`Live::relayed`] takes one short lock and never waits; there is no queue per browser, so a slow one costs nothing and starts
//! again from the ring, or from a whole state that says how many requests it missed.

mod archive;
mod board;
mod flush;
mod happenings;
mod journal;
mod outages;
mod sampler;
mod subscription;
mod tally;
mod timeline;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::service::ServiceId;
use crate::view::cluster::{CloudView, GatewayView, LinkView, MeshView, PodsView, StoreView};
use crate::view::request::{Relayed, RequestBatch, RequestRow, Why, WhyBatch, WhyRow};
use crate::view::split::{Configured, ServiceConfig};
use crate::view::state::{Door, LoadView, PerService, ServiceView, StatView, StateView};

pub use archive::{RowFilter, Sort};
use board::Board;
use journal::Journal;
pub use outages::Cause;
pub use subscription::{Reader, Subscription};

/// Rows that make a flush before its time.
const FULL: usize = 64;

/// How a hub is set up.
#[derive(Clone)]
pub struct LiveConfig {
    /// The door that serves the page.
    pub door: Door,
    /// smov's version.
    pub version: String,
    /// The Istio version whose behaviour it follows.
    pub istio: String,
    /// The language to show where the browser has no wish: `ko` or `en`.
    pub lang_default: String,
    /// The seed of repeatable runs.
    pub seed: Option<u64>,
    /// The clusters and their clouds.
    pub clusters: Vec<CloudView>,
    /// How long a change may take to reach every proxy: requests that begin within it are in no window.
    pub settle: Duration,
    /// Pods that were not confirmed for this long are unknown.
    pub stale_after: Duration,
    /// Names this run of the console; new on every start.
    pub epoch: String,
    /// Seed of the row sample.
    pub sample_seed: u64,
    /// The time.
    pub clock: Clock,
}

impl LiveConfig {
    /// The usual set-up of a door, with a random epoch.
    pub fn new(door: Door, clock: Clock) -> Self {
        let random = uuid::Uuid::new_v4();
        let cloud = |id: &str, cloud: &str| CloudView { id: id.to_owned(), cloud: cloud.to_owned() };
        Self {
            door,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            istio: "1.32".to_owned(),
            lang_default: "ko".to_owned(),
            seed: None,
            clusters: vec![cloud("ctx1", "NaverCloud"), cloud("ctx2", "NHN Cloud")],
            settle: Duration::from_millis(100),
            stale_after: Duration::from_secs(10),
            epoch: random.simple().to_string()[..12].to_owned(),
            sample_seed: random.as_u64_pair().0,
            clock,
        }
    }
}

/// The newest event's number, and whether the server is about to end the streams.
#[derive(Debug, Clone, Copy)]
struct Head {
    sequence: u64,
    closing: bool,
}

struct Hub {
    config: LiveConfig,
    /// Guards the present values. Taken after `journal` where both are needed.
    board: Mutex<Board>,
    /// Guards the order of events; a state and its number are read under it together.
    journal: Mutex<Journal>,
    head: watch::Sender<Head>,
    viewers: watch::Sender<usize>,
    full: Notify,
}

/// A handle on the hub; clones share it.
#[derive(Clone)]
pub struct Live(Arc<Hub>);

impl Live {
    /// A hub with nothing in it. Someone must [`run`](Self::run) it.
    pub fn new(config: LiveConfig) -> Self {
        let now = (config.clock)();
        let clusters = config.clusters.iter().map(|cluster| cluster.id.clone());
        let board = Board::new(clusters, config.sample_seed, micros(config.stale_after), now);
        let journal = Journal::new(config.epoch.clone());
        Self(Arc::new(Hub {
            board: Mutex::new(board),
            journal: Mutex::new(journal),
            head: watch::Sender::new(Head { sequence: 0, closing: false }),
            viewers: watch::Sender::new(0),
            full: Notify::new(),
            config,
        }))
    }

    /// The present time by the hub's clock.
    pub fn now(&self) -> u64 {
        (self.0.config.clock)()
    }

    /// How the hub was set up.
    pub fn config(&self) -> &LiveConfig {
        &self.0.config
    }

    /// Takes one answer that the gateway app relayed. Cheap: one short lock, no waiting, bounded memory.
    pub fn relayed(&self, relayed: Relayed) {
        let now = self.now();
        let duration = micros(relayed.duration);
        let waiting = self.board().record(relayed.into(), duration, now);
        if waiting == FULL {
            self.0.full.notify_one();
        }
    }

    /// Takes what proxies reported of requests.
    pub fn why(&self, whys: Vec<Why>) {
        let whys: Vec<WhyRow> = whys.into_iter().map(WhyRow::from).collect();
        let mut shown = Vec::new();
        // The journal's lock first: a row must not be flushed between joining its why and announcing it.
        let mut journal = self.journal();
        {
            let mut board = self.board();
            for why in whys {
                let Some((row, on_page)) = board.archive.explain(&why) else { continue };
                let service = row.svc;
                if why.attempts > 1 {
                    board.tally(service).mark_retried(&why.id);
                }
                if on_page {
                    shown.push(why);
                }
            }
        }
        if !shown.is_empty() {
            journal.explain(&shown);
            self.append(&mut journal, "why", &WhyBatch { rows: shown }, 0);
        }
    }

    /// Takes a service's configuration; a changed rule starts a fresh window.
    pub fn set_configured(&self, service: ServiceId, config: ServiceConfig) {
        let now = self.now();
        let in_force = match &config.configured {
            Configured::Ok(shares) => shares.changed_at.max(now),
            Configured::None(_) | Configured::Complex(_) | Configured::Unknown(_) => now,
        } + micros(self.0.config.settle);
        let news = serde_json::json!({ "service": service, "value": &config });
        let mut journal = self.journal();
        if self.board().tally(service).configure(config, now, in_force) {
            self.append(&mut journal, "cfg", &news, 0);
        }
    }

    /// Takes one cluster's pods; call it on every change, and every few seconds while its API server answers.
    pub fn set_pods(&self, cluster: &str, view: PodsView) {
        let now = self.now();
        self.board().see_pods(cluster, view, now);
        self.tell_pods();
    }

    fn tell_pods(&self) {
        let mut journal = self.journal();
        let untold = self.board().untold_pods(self.now());
        if !untold.is_empty() {
            self.append(&mut journal, "pods", &untold, 0);
        }
    }

    /// Takes the mesh's state; told at 1 Hz. What is known of the gateway's stream stays unless `view` says otherwise.
    pub fn set_mesh(&self, mut view: MeshView) {
        let mut board = self.board();
        view.gateway = view.gateway.or(board.mesh.gateway);
        board.see_mesh(view, self.now());
    }

    /// Takes whether the gateway app's stream is there (operator door only).
    pub fn set_gateway(&self, connected: bool) {
        let since = self.now();
        let mut board = self.board();
        if board.mesh.gateway.is_none_or(|known| known.connected != connected) {
            board.mesh.gateway = Some(GatewayView { connected, since });
        }
    }

    /// Takes the store's state.
    pub fn set_store(&self, view: StoreView) {
        let mut journal = self.journal();
        let mut board = self.board();
        if board.store != view {
            self.append(&mut journal, "store", &view, 0);
            board.store = view;
        }
    }

    /// Takes what the link between the clusters is like; `None` = there is none.
    pub fn set_link(&self, view: Option<LinkView>) {
        let mut journal = self.journal();
        let mut board = self.board();
        if board.link != view {
            self.append(&mut journal, "link", &view, 0);
            board.see_link(view, self.now());
        }
    }

    /// Tells that rules changed (`Kind/namespace/name`); `change` is the history's number for it, where there is one.
    pub fn tell_rules(&self, refs: &[String], change: Option<&str>) {
        let mut news = serde_json::json!({ "at": self.now(), "refs": refs });
        if let Some(change) = change {
            news["change"] = change.into();
        }
        self.append(&mut self.journal(), "rules", &news, 0);
    }

    /// Takes ▶'s state; told with the next figures.
    pub(crate) fn set_load(&self, view: LoadView) {
        self.board().load = view;
    }

    /// ▶'s state.
    pub fn load(&self) -> LoadView {
        self.board().load.clone()
    }

    /// What is configured for a service.
    pub fn configured(&self, service: ServiceId) -> ServiceConfig {
        self.board().tally(service).config().clone()
    }

    /// The kept rows that pass a filter.
    pub fn rows(&self, filter: &RowFilter) -> Vec<RequestRow> {
        self.board().archive.rows(filter)
    }

    /// The newest row with this request id, with its why when it is known.
    pub fn find(&self, request_id: &str) -> Option<RequestRow> {
        self.board().archive.find(request_id).cloned()
    }

    /// The last rows of a service, oldest first.
    pub fn recent_of(&self, service: ServiceId, limit: usize) -> Vec<RequestRow> {
        self.journal().recent_of(service, limit)
    }

    /// The whole state.
    pub fn state(&self) -> StateView {
        self.state_at(&self.journal(), 0)
    }

    fn state_at(&self, journal: &Journal, missed: u64) -> StateView {
        let now = self.now();
        let mut board = self.board();
        let stat = board.stat(now);
        let config = &self.0.config;
        StateView {
            epoch: journal.epoch().to_owned(),
            seq: journal.sequence(),
            missed,
            door: config.door,
            version: config.version.clone(),
            istio: config.istio.clone(),
            lang_default: config.lang_default.clone(),
            seed: config.seed,
            store: board.store.clone(),
            clusters: config.clusters.clone(),
            services: PerService::from_fn(|service| ServiceView {
                config: board.tally(service).config().clone(),
                stat: stat.services.of(service).clone(),
            }),
            load: board.load.clone(),
            pods: board.pods(now),
            mesh: board.mesh.clone(),
            link: board.link.clone(),
            recent: journal.recent(),
            totals: stat.totals,
        }
    }

    /// How many browsers read the events.
    pub fn viewers(&self) -> watch::Receiver<usize> {
        self.0.viewers.subscribe()
    }

    /// Takes rows of the console that this one follows.
    pub(crate) fn follow_rows(&self, batch: &RequestBatch) {
        let mut journal = self.journal();
        {
            let mut board = self.board();
            for row in &batch.rows {
                board.outages.request(row);
                let number = board.archive.push(row.clone());
                board.archive.show(number);
            }
            if batch.dropped > 0 {
                board.outages.unseen();
            }
        }
        journal.remember(&batch.rows);
        self.append(&mut journal, "req", batch, batch.n);
    }

    /// Takes whys of the console that this one follows.
    pub(crate) fn follow_whys(&self, batch: &WhyBatch) {
        let mut journal = self.journal();
        {
            let mut board = self.board();
            for why in &batch.rows {
                board.archive.explain(why);
            }
        }
        journal.explain(&batch.rows);
        self.append(&mut journal, "why", batch, 0);
    }

    /// Takes the figures of the console that this one follows, in place of our own.
    pub(crate) fn follow_figures(&self, stat: StatView) {
        self.board().followed = Some(stat);
    }

    fn append(&self, journal: &mut Journal, kind: &str, value: &impl Serialize, requests: u64) {
        match serde_json::to_string(value) {
            Ok(data) => self.announce(journal.append(kind, &data, requests)),
            Err(error) => tracing::error!(%error, kind, "an event could not be written as JSON"),
        }
    }

    fn announce(&self, sequence: u64) {
        self.0.head.send_modify(|head| head.sequence = sequence);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // A panic under the lock leaves counters that are at worst one request behind: keep serving.
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration in microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
