//! What all workers share, and what each has for itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use smov_model::dice::Dice;
use smov_model::names::{Hostname, Port};
use smov_model::record::{Direction, Record, Row};
use smov_model::snapshot::{PathNormalization, Snapshot};
use smov_model::telemetry::{AccessLog, Side};
use smov_telemetry::{Emitter, Span, WallClock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::body::Waiting;
use crate::config::{AppAddress, ProxyConfig};
use crate::discovery::Discovered;
use crate::names::{Names, PeerLabels, ServiceId};
use crate::pool::Pool;
use crate::snapshot::{InboundView, View};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::prometheus::Scrape;
use crate::telemetry::report::Tally;
use crate::telemetry::spans::{self, Begun, Sampling, Teller};
use crate::telemetry::trace::Trace;
use crate::telemetry::{Ledger, report};
use crate::tls::refused::ListenerTls;
use crate::tls::{Certificates, Peer};

/// What all workers of a proxy share.
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) dice: Arc<dyn Dice>,
    view: ArcSwapOption<View>,
    /// Guards the making of views: one at a time, in order.
    discovered: Mutex<Discovered>,
    /// Counts snapshots; workers prune their pools when it moves.
    changed: watch::Sender<u64>,
    /// Counts changes of what and whom the pod's ports take; every inbound connection asks itself then whether it may stay.
    doors_changed: watch::Sender<u64>,
    /// Guards the names given so far; taken to compile a snapshot and to render, never on a request's path.
    names: Mutex<Names>,
    /// One per worker; each guards what that worker has counted.
    ledgers: Vec<Mutex<Ledger>>,
    started: Instant,
    clock: WallClock,
    /// Number of the next request id that a seed decides.
    next_id: AtomicU64,
    /// `x-envoy-peer-metadata-id` of this proxy.
    pub(crate) metadata_id: HeaderValue,
    pub(crate) draining: AtomicBool,
    pub(crate) certificates: Certificates,
    pub(crate) listener_tls: ListenerTls,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("pod", &self.config.pod.name).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(config: ProxyConfig, dice: Arc<dyn Dice>) -> Self {
        let seed = |worker: usize| config.seed.map_or_else(SmallRng::from_os_rng, |seed| SmallRng::seed_from_u64(seed ^ worker as u64));
        let ledgers = (0..config.concurrency).map(|worker| Mutex::new(Ledger::new(seed(worker), config.metrics))).collect();
        let pod = &config.pod;
        let id = format!("sidecar~{}~{}.{}~{}.svc.cluster.local", pod.address, pod.name, pod.namespace, pod.namespace);
        Self {
            metadata_id: id.parse().unwrap_or_else(|_| HeaderValue::from_static("sidecar~unknown")),
            ledgers,
            dice,
            view: ArcSwapOption::empty(),
            discovered: Mutex::default(),
            changed: watch::Sender::new(0),
            doors_changed: watch::Sender::new(0),
            names: Mutex::default(),
            started: Instant::now(),
            clock: WallClock::new(),
            next_id: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            certificates: Certificates::default(),
            listener_tls: ListenerTls::default(),
            config,
        }
    }

    /// Phase **pin**: the snapshot that a request keeps to its end.
    pub(crate) fn pin(&self) -> Option<Arc<View>> {
        self.view.load_full()
    }

    /// Swaps in a snapshot: the next request runs on it.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let mut discovered = self.discovered();
        let snapshot = discovered.take(snapshot, &self.config);
        self.swap(snapshot);
    }

    /// Takes an answer of DNS.
    pub(crate) fn learn(&self, name: (Hostname, Port), addresses: Vec<SocketAddr>) {
        let mut discovered = self.discovered();
        if let Some(snapshot) = discovered.learn(name, addresses, &self.config) {
            self.swap(snapshot);
        }
    }

    /// Names that DNS is to be asked for.
    pub(crate) fn questions(&self, all: bool) -> Vec<(Hostname, Port)> {
        self.discovered().questions(all)
    }

    fn discovered(&self) -> MutexGuard<'_, Discovered> {
        self.discovered.lock().expect("no panic while a snapshot is made ready")
    }

    fn swap(&self, snapshot: Snapshot) {
        let before = self.pin();
        let view = View::compile(snapshot, before.as_deref(), &mut self.names(), self.age());
        let other_doors = before.is_none_or(|before| !before.has_doors_of(&view));
        self.view.store(Some(Arc::new(view)));
        self.changed.send_modify(|count| *count += 1);
        if other_doors {
            self.doors_changed.send_modify(|count| *count += 1);
        }
    }

    /// Hears of every new snapshot.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Hears of every snapshot in which a port takes something or somebody else than before.
    pub(crate) fn door_changes(&self) -> watch::Receiver<u64> {
        self.doors_changed.subscribe()
    }

    /// How paths are brought into their normal form.
    pub(crate) fn path_normalization(&self) -> PathNormalization {
        self.view.load().as_ref().map_or(PathNormalization::default(), |view| view.snapshot.path_normalization)
    }

    /// What the latest snapshot says of a port of the pod.
    pub(crate) fn inbound_port(&self, port: u16) -> InboundView {
        self.view.load().as_ref().map_or_else(InboundView::default, |view| {
            view.inbound(port).unwrap_or(InboundView { mutual_tls: view.snapshot.mutual_tls, ..InboundView::default() })
        })
    }

    /// Waits for the first snapshot.
    pub(crate) async fn first_view(&self) -> Option<Arc<View>> {
        let mut changes = self.changes();
        let _ = changes.wait_for(|count| *count > 0).await;
        self.pin()
    }

    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("no panic while names are held")
    }

    /// The number of a service, for a connection's counters.
    pub(crate) fn service(&self, host: &str) -> ServiceId {
        self.names().service(host)
    }

    fn ledger(&self, worker: usize) -> MutexGuard<'_, Ledger> {
        self.ledgers[worker].lock().expect("no panic while a ledger is held")
    }

    /// Microseconds since 1970 now.
    pub(crate) fn clock_micros(&self) -> u64 {
        self.clock_micros_at(Instant::now())
    }

    /// Microseconds since 1970, by a clock that never jumps.
    pub(crate) fn clock_micros_at(&self, moment: Instant) -> u64 {
        self.clock.micros_at(moment.into_std())
    }

    /// Time since the proxy's start, for outlier detection.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// How many traces begin in this direction, and whether their spans go up.
    pub(crate) fn sampling(&self, direction: Direction) -> Sampling {
        let view = self.view.load();
        let default = Side::default();
        let side = view.as_ref().map_or(&default, |view| view.side(direction));
        Sampling { share: side.sampling, reported: side.report_spans }
    }

    /// What is logged in this direction; everything, while nobody has said anything yet.
    pub(crate) fn access_log(&self, direction: Direction) -> Option<Arc<AccessLog>> {
        if !self.config.access_log {
            return None;
        }
        match self.view.load().as_ref() {
            Some(view) => view.access_log(direction).cloned(),
            None => Some(Arc::default()),
        }
    }

    fn own_labels(&self) -> PeerLabels {
        match self.pin() {
            Some(view) => PeerLabels::of(&view.snapshot.proxy, &view.snapshot.trust_domain),
            None => PeerLabels { cluster: self.config.pod.cluster.to_string(), ..PeerLabels::unknown() },
        }
    }

    fn merged(&self) -> Metrics {
        let mut merged = Metrics::default();
        for worker in 0..self.ledgers.len() {
            merged.merge(&self.ledger(worker).metrics);
        }
        merged
    }

    /// The Prometheus page.
    pub(crate) fn scrape(&self) -> String {
        let (metrics, own, view) = (self.merged(), self.own_labels(), self.pin());
        let tls = Some((&self.listener_tls, self.certificates.current()));
        let spans_dropped = (0..self.ledgers.len()).map(|worker| self.ledger(worker).spans_dropped).sum();
        let names = self.names();
        Scrape { metrics: &metrics, names: &names, own: &own, view: view.as_deref(), tls, spans_dropped: Some(spans_dropped) }.render()
    }

    /// The spans of the sampled requests since the last call.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let sampled: Vec<Arc<Trace>> = (0..self.ledgers.len()).flat_map(|worker| self.ledger(worker).take_sampled()).collect();
        if sampled.is_empty() {
            return Vec::new();
        }
        let (view, names) = (self.pin(), self.names());
        let own = view.as_ref().map(|view| &*view.snapshot.proxy);
        let unknown = || Emitter { pod: self.config.pod.name.clone(), cluster: self.config.pod.cluster.to_string(), ..Emitter::default() };
        let emitter = Arc::new(own.map_or_else(unknown, spans::emitter));
        let teller = Teller { names: &names, own, emitter, node_id: self.metadata_id.to_str().unwrap_or_default() };
        sampled.iter().filter_map(|trace| teller.span(trace)).collect()
    }

    /// Cumulative edges, and the rows since the last call with the number of requests that they stand for.
    pub(crate) fn report(&self) -> (Vec<smov_model::record::EdgeCount>, Vec<Row>, u64) {
        let own = self.own_labels();
        let mut tally = Tally::default();
        let mut rows = Vec::new();
        let mut seen = 0;
        for worker in 0..self.ledgers.len() {
            let mut ledger = self.ledger(worker);
            tally.add(&ledger.metrics);
            let (more, count) = ledger.take_rows();
            drop(ledger);
            rows.extend(more);
            seen += count;
        }
        let names = self.names();
        let rows = rows.iter().map(|trace| report::row(trace, &names, &self.config.pod.name, &own)).collect();
        (report::edges(&tally, &names, &own), rows, seen)
    }

    /// The remembered records of a request id, oldest first.
    pub(crate) fn records(&self, request_id: &str) -> Vec<Record> {
        let traces = (0..self.ledgers.len()).flat_map(|worker| self.ledger(worker).find(request_id));
        let mut records: Vec<Record> = traces.map(|trace| trace.record(&self.config.pod.name)).collect();
        records.sort_by_key(|record| record.started);
        records
    }

    /// Writes what is in the access logs.
    pub(crate) fn flush_logs(&self) {
        for worker in 0..self.ledgers.len() {
            let log = self.ledger(worker).take_log();
            write_log(&log);
        }
    }
}

fn write_log(log: &[u8]) {
    use std::io::Write;
    if !log.is_empty() {
        let mut out = std::io::stdout().lock();
        // Nobody reads any more: the log is what we can do without.
        let _ = out.write_all(log).and_then(|()| out.flush());
    }
}

/// Who is connected, where.
#[derive(Debug, Clone)]
pub(crate) struct Downstream {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Who has proved who it is.
    pub(crate) peer: Option<Arc<Peer>>,
}

/// One worker thread's own things.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    index: usize,
    pub(crate) pool: Pool,
    random: RefCell<SmallRng>,
    /// Copies for mirrors that are on their way.
    pub(crate) copies: Arc<AtomicU32>,
    /// Bytes that wait for mirrors.
    pub(crate) waiting: Waiting,
    /// Turns of round robin, by cluster slot: each worker goes round for itself, as Envoy's do.
    turns: RefCell<Vec<u64>>,
    apps: HashMap<u16, Rc<App>>,
    /// Traces begun in this second.
    pub(crate) begun: Begun,
}

/// The app behind one port of the pod.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) port: u16,
    pub(crate) address: AppAddress,
    /// The address as logs have it.
    pub(crate) text: Arc<str>,
}

impl App {
    pub(crate) fn new(port: u16, address: &AppAddress) -> Self {
        let text = match address {
            AppAddress::Unix(path) => path.display().to_string(),
            AppAddress::Tcp(address) => address.to_string(),
        };
        Self { port, address: address.clone(), text: text.into() }
    }

    /// Its key in the pool; endpoints count up from 1, apps down from the top.
    pub(crate) fn pool_key(&self) -> u64 {
        u64::MAX - u64::from(self.port)
    }
}

impl Worker {
    /// `inbound` are the ports as bound, with their apps.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, inbound: &[(u16, AppAddress)]) -> Rc<Self> {
        let apps = inbound.iter().map(|(port, address)| (*port, Rc::new(App::new(*port, address)))).collect();
        Rc::new(Self {
            shared,
            index,
            pool: Pool::default(),
            random: RefCell::new(SmallRng::from_os_rng()),
            copies: Arc::default(),
            waiting: Waiting::default(),
            turns: RefCell::default(),
            apps,
            begun: Begun::default(),
        })
    }

    pub(crate) fn app(&self, port: u16) -> Option<&Rc<App>> {
        self.apps.get(&port)
    }

    /// The app that listens there.
    pub(crate) fn app_at(&self, address: &AppAddress) -> Option<&Rc<App>> {
        self.apps.values().find(|app| app.address == *address)
    }

    /// Is this a key of the pool that belongs to an app?
    pub(crate) fn is_app_key(&self, key: u64) -> bool {
        self.apps.values().any(|app| app.pool_key() == key)
    }

    /// The next turn of round robin at a cluster.
    pub(crate) fn next_turn(&self, slot: usize) -> u64 {
        let mut turns = self.turns.borrow_mut();
        if turns.len() <= slot {
            turns.resize(slot + 1, 0);
        }
        turns[slot] += 1;
        turns[slot] - 1
    }

    /// Books a finished request.
    pub(crate) fn observe(&self, trace: Trace) {
        let log = self.shared.ledger(self.index).book(trace);
        if let Some(log) = log {
            write_log(&log);
        }
    }

    /// Changes the counters of this worker.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Metrics)) {
        change(&mut self.shared.ledger(self.index).metrics);
    }

    /// Bits for the ids of spans.
    pub(crate) fn random_bits(&self) -> u64 {
        self.random.borrow_mut().random()
    }

    /// A new request id: random, or the next of the seed's sequence.
    pub(crate) fn request_id(&self) -> HeaderValue {
        let bytes: [u8; 16] = match self.shared.config.seed {
            None => self.random.borrow_mut().random(),
            Some(seed) => {
                let number = self.shared.next_id.fetch_add(1, Relaxed);
                SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number).random()
            }
        };
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        HeaderValue::from_str(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())).expect("a uuid is visible ASCII")
    }
}
