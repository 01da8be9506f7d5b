//! What the agent remembers of its Envoy's log: the last requests, a sample for the page, counters.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use smov_model::record::{EdgeCount, Record, RefusedConnection, Row};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_proxy::{Counters, ProxyConfig, ServedConnection, ServedRequest};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::config::access_log::Side;
use crate::log::Entry;
use crate::record::{Reading, direction};

/// Requests remembered in full.
const RING: usize = 1000;
/// Connections remembered that were not served.
const REFUSED: usize = 100;
/// Rows sent up per report.
const ROWS: usize = 64;

/// The books of one Envoy.
#[derive(Debug)]
pub(crate) struct Books {
    pod: String,
    access_log: bool,
    state: Mutex<State>,
    /// Counts lines.
    lines: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Handed to Envoy; not yet in use everywhere.
    coming: Option<Arc<Snapshot>>,
    /// In use since this time, microseconds since 1970.
    current: Option<(Arc<Snapshot>, u64)>,
    before: Option<Arc<Snapshot>>,
    ring: VecDeque<Arc<Record>>,
    refused: VecDeque<RefusedConnection>,
    rows: Vec<Row>,
    seen: u64,
    counters: Counters,
    random: SmallRng,
}

impl State {
    /// The snapshot that served a line.
    fn snapshot_of(&self, entry: &Entry) -> Option<Arc<Snapshot>> {
        let (current, since) = self.current.as_ref().map_or((None, u64::MAX), |(current, since)| (Some(current), *since));
        let by_time = if entry.started >= since { [current, self.before.as_ref()] } else { [self.before.as_ref(), current] };
        let candidates: Vec<&Arc<Snapshot>> = by_time.into_iter().chain([self.coming.as_ref()]).flatten().collect();
        candidates.iter().find(|snapshot| Reading::of(entry, snapshot).fits()).or(candidates.first()).map(|snapshot| Arc::clone(snapshot))
    }
}

impl Books {
    pub(crate) fn new(settings: &ProxyConfig) -> Self {
        let state = State {
            coming: None,
            current: None,
            before: None,
            ring: VecDeque::new(),
            refused: VecDeque::new(),
            rows: Vec::new(),
            seen: 0,
            counters: Counters::default(),
            random: SmallRng::from_os_rng(),
        };
        Self { pod: settings.pod.name.clone(), access_log: settings.access_log, state: Mutex::new(state), lines: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the books are held")
    }

    /// A snapshot that is on its way into Envoy.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.state().coming = Some(snapshot);
    }

    /// It arrived.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        if let Some(coming) = state.coming.take() {
            state.counters.trust(&coming.trust_domain);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
            state.before = state.current.replace((coming, now)).map(|(before, _)| before);
        }
    }

    /// It was refused.
    pub(crate) fn take_back(&self) {
        self.state().coming = None;
    }

    /// The version of the newest snapshot.
    pub(crate) fn newest(&self) -> Option<SnapshotVersion> {
        let state = self.state();
        state.coming.as_ref().or(state.current.as_ref().map(|(current, _)| current)).map(|snapshot| snapshot.version)
    }

    /// Hears of every line.
    pub(crate) fn lines(&self) -> watch::Receiver<u64> {
        self.lines.subscribe()
    }

    /// Reads the log to its end; writes it on, in Istio's words, to standard output.
    pub(crate) async fn read(self: Arc<Self>, log: impl AsyncRead + Unpin) {
        let mut reader = BufReader::with_capacity(64 << 10, log);
        let (mut line, mut text) = (Vec::new(), String::new());
        loop {
            line.clear();
            match reader.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match serde_json::from_slice::<Entry>(&line) {
                Ok(entry) if entry.side == Side::Connection => self.note_refusal(&entry),
                Ok(entry) => {
                    if self.access_log {
                        entry.write(&mut text);
                    }
                    self.book(&entry);
                }
                Err(error) => {
                    tracing::warn!(%error, line = %String::from_utf8_lossy(&line).trim_end(), "a line of Envoy's log cannot be read")
                }
            }
            if reader.buffer().is_empty() {
                self.lines.send_modify(|count| *count += 1);
                if !text.is_empty() {
                    let mut out = std::io::stdout().lock();
                    // Nobody reads any more: the log is what we can do without.
                    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                    text.clear();
                }
            }
        }
    }

    /// Connections that were served are booked with what came over them.
    fn note_refusal(&self, entry: &Entry) {
        let address = |text: &Option<String>| text.as_deref()?.parse::<SocketAddr>().ok();
        let (Some(reason), Some(remote), Some(local)) =
            (entry.refusal(), address(&entry.downstream_remote), address(&entry.downstream_local))
        else {
            return;
        };
        tracing::warn!(%remote, port = local.port(), reason, "connection refused");
        let server_name = entry.server_name.clone().filter(|name| name != "-");
        let proxy = self.pod.clone();
        let refused = RefusedConnection { at: entry.started, proxy, remote, port: local.port(), server_name, reason };
        let mut state = self.state();
        if state.refused.len() == REFUSED {
            state.refused.pop_front();
        }
        state.refused.push_back(refused);
    }

    /// The last connections that were not served, oldest first.
    pub(crate) fn refused(&self) -> Vec<RefusedConnection> {
        self.state().refused.iter().cloned().collect()
    }

    fn book(&self, entry: &Entry) {
        let mut state = self.state();
        let Some(snapshot) = state.snapshot_of(entry) else { return };
        let reading = Reading::of(entry, &snapshot);
        let (service, flags, peer) = (reading.service(), entry.known_flags(), reading.peer().map(|peer| &**peer));
        if entry.is_tcp() {
            state.counters.connection(ServedConnection {
                direction: direction(entry.side),
                peer,
                service: &service,
                flags,
                mutual_tls: entry.is_mutual_tls(),
                sent: entry.sent,
                received: entry.received,
            });
            return;
        }
        state.counters.request(ServedRequest {
            direction: direction(entry.side),
            peer,
            service: &service,
            status: entry.status as u16,
            flags,
            mutual_tls: entry.is_mutual_tls(),
            milliseconds: entry.milliseconds as f64,
            request_bytes: entry.request_head + entry.received,
            response_bytes: entry.response_head + entry.sent,
        });
        // Algorithm R: every request since the last report has the same chance to be among the rows.
        state.seen += 1;
        let seen = state.seen;
        let row = || reading.row(&self.pod, &snapshot.proxy.name);
        if state.rows.len() < ROWS {
            state.rows.push(row());
        } else if let Ok(place) = usize::try_from(state.random.random_range(0..seen))
            && place < ROWS
        {
            state.rows[place] = row();
        }
        if state.ring.len() == RING {
            state.ring.pop_front();
        }
        state.ring.push_back(Arc::new(reading.record(&self.pod)));
    }

    /// The remembered records of a request id, oldest first.
    pub(crate) fn records(&self, request_id: &str) -> Vec<Record> {
        let found: Vec<Arc<Record>> = self.state().ring.iter().filter(|record| record.request_id == request_id).cloned().collect();
        let mut records: Vec<Record> = found.iter().map(|record| Record::clone(record)).collect();
        records.sort_by_key(|record| record.started);
        records
    }

    /// Cumulative edges, and the rows since the last call with the number of requests that they stand for.
    pub(crate) fn report(&self) -> (Vec<EdgeCount>, Vec<Row>, u64) {
        let mut state = self.state();
        let edges = state.counters.edges(state.current.as_ref().map(|(current, _)| &*current.proxy));
        (edges, std::mem::take(&mut state.rows), std::mem::take(&mut state.seen))
    }

    /// Istio's standard metrics.
    pub(crate) fn scrape(&self) -> String {
        let state = self.state();
        state.counters.scrape(state.current.as_ref().map(|(current, _)| &*current.proxy))
    }
}
