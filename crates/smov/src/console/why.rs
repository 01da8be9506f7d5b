//! The why and the picture's edges, from the control planes' debug sockets. Where there is none, nothing is known and nothing is shown.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smov_console::view::cluster::{EdgeView, IstiodView, MeshView};
use smov_console::{Live, Why};
use smov_control::debug_client::DebugClient;
use smov_control::status::{PodEdge, RowEvent, Syncz};
use smov_model::record::{Direction, Row};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The workload whose calls light lamps (decision 14).
const GATEWAY: &str = "api-gateway";
/// How often sync state and counters are read.
const PERIOD: Duration = Duration::from_secs(1);

/// Feeds a hub until shutdown.
pub(crate) async fn run(live: Live, istiods: Vec<(String, PathBuf)>, shutdown: CancellationToken) {
    let mut tasks = JoinSet::new();
    let join = Arc::new(Mutex::new(Join::default()));
    for (_, socket) in &istiods {
        tasks.spawn(rows(live.clone(), DebugClient::new(socket.clone()), Arc::clone(&join)));
    }
    let clients = istiods.into_iter().map(|(name, socket)| (name, DebugClient::new(socket))).collect();
    tasks.spawn(picture(live, clients));
    shutdown.cancelled().await;
    tasks.shutdown().await;
}

/// Joins the proxies' rows of the gateway's calls to the rows of the page.
async fn rows(live: Live, client: DebugClient, join: Arc<Mutex<Join>>) {
    let mut stream = client.rows();
    loop {
        if let RowEvent::Rows(rows) = stream.next().await {
            let whys: Vec<Why> = {
                let mut join = join.lock().unwrap_or_else(PoisonError::into_inner);
                rows.into_iter().filter_map(|row| join.take(row)).collect()
            };
            if !whys.is_empty() {
                live.why(whys);
            }
        }
    }
}

/// Failed calls that wait for their other half.
const WAITING: usize = 256;

/// Names the reason of a failure that only the callee's proxy knows: as in Envoy, the caller's has no flag for a 503 that it was given, while
/// the callee's says why it gave it (its app is gone: `UF`). The two halves may come in any order, from two control planes.
#[derive(Default)]
struct Join {
    callers: VecDeque<(String, Why)>,
    callees: VecDeque<Row>,
}

impl Join {
    /// What a proxy's row says about a call of the gateway, as far as is known now; `None` = nothing yet, or nothing at all.
    fn take(&mut self, row: Row) -> Option<Why> {
        match row.direction {
            Direction::Outbound if row.workload == GATEWAY => {
                let unexplained = row.flags == NO_FLAG && row.status >= 500;
                let service = row.service.clone();
                let mut why = Why::from(row);
                if unexplained {
                    match self.callees.iter().position(|callee| callee.request_id == why.request_id && callee.service == service) {
                        Some(place) => why.flags = self.callees.remove(place).map_or(why.flags, |callee| callee.flags),
                        None => keep(&mut self.callers, (service, why.clone())),
                    }
                }
                Some(why)
            }
            Direction::Inbound if row.flags != NO_FLAG && row.status >= 500 => {
                let mine = |(service, why): &(String, Why)| why.request_id == row.request_id && *service == row.service;
                let Some(place) = self.callers.iter().position(mine) else {
                    keep(&mut self.callees, row);
                    return None;
                };
                let (_, why) = self.callers.remove(place)?;
                Some(Why { flags: row.flags, ..why })
            }
            Direction::Outbound | Direction::Inbound | Direction::Ingress => None,
        }
    }
}

/// Flags as printed when there is none.
const NO_FLAG: &str = "-";

fn keep<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == WAITING {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Reads sync state and counters once a second.
async fn picture(live: Live, clients: Vec<(String, DebugClient)>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rates = Rates::default();
    loop {
        ticks.tick().await;
        let now = live.now();
        let mut view = MeshView { as_of: Some(now), ..MeshView::default() };
        let mut counters = Vec::new();
        let mut all = true;
        for (name, client) in &clients {
            let (syncz, edges) = tokio::join!(client.syncz(), client.edges());
            let known =
                syncz.map(|syncz| istiod(&syncz, now)).unwrap_or(IstiodView { connected: false, proxies: 0, in_sync: 0, as_of: now });
            view.istiod.insert(name.clone(), Some(known));
            match edges {
                Ok(edges) => counters.extend(edges),
                Err(_) => all = false,
            }
        }
        let rates = rates.take(&counters, Instant::now());
        // With one control plane away, half a picture would look like a drop in traffic.
        view.edges = rates.filter(|_| all);
        live.set_mesh(view);
    }
}

fn istiod(syncz: &Syncz, now: u64) -> IstiodView {
    let in_sync = syncz.proxies.iter().filter(|proxy| proxy.sent.is_some() && proxy.sent == proxy.acked && proxy.nack.is_none()).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    IstiodView { connected: true, proxies: count(syncz.proxies.len()), in_sync: count(in_sync), as_of: now }
}

/// Cumulative counters to rates per second.
#[derive(Default)]
struct Rates {
    last: HashMap<(String, EdgeKey), (u64, u64)>,
    read: Option<Instant>,
}

/// An edge of the picture; several pods add up to one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct EdgeKey {
    source: String,
    source_cluster: String,
    service: String,
    cluster: String,
    protocol: String,
}

impl Rates {
    /// Rates since the last call; `None` for the first.
    fn take(&mut self, counters: &[PodEdge], now: Instant) -> Option<Vec<EdgeView>> {
        let seconds = self.read.replace(now).map(|before| now.duration_since(before).as_secs_f64());
        let mut sums = std::collections::BTreeMap::<EdgeKey, (u64, u64)>::new();
        let mut seen = HashMap::with_capacity(counters.len());
        for PodEdge { pod, edge } in counters {
            let key = EdgeKey {
                source: edge.source.clone(),
                source_cluster: edge.source_cluster.clone(),
                service: edge.service.clone(),
                cluster: edge.kube_cluster.clone(),
                protocol: edge.protocol.clone(),
            };
            let (requests, failures) = self.last.get(&(pod.clone(), key.clone())).copied().unwrap_or((0, 0));
            // A counter that went back belongs to a proxy that started again.
            let since = |count: u64, before: u64| if count >= before { count - before } else { count };
            let sum = sums.entry(key.clone()).or_default();
            sum.0 += since(edge.requests, requests);
            sum.1 += since(edge.failures, failures);
            seen.insert((pod.clone(), key), (edge.requests, edge.failures));
        }
        self.last = seen;
        let seconds = seconds.filter(|seconds| *seconds > 0.0)?;
        let edge = |(key, (requests, failures)): (EdgeKey, (u64, u64))| EdgeView {
            source: key.source,
            source_cluster: key.source_cluster,
            service: key.service,
            cluster: key.cluster,
            protocol: key.protocol,
            rps: (requests as f64 / seconds * 100.0).round() / 100.0,
            failures: if requests == 0 { 0.0 } else { failures as f64 / requests as f64 },
        };
        Some(sums.into_iter().map(edge).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smov_model::record::EdgeCount;

    fn row(direction: Direction, service: &str, status: u16, flags: &str) -> Row {
        Row {
            request_id: "r".into(),
            proxy: "p".into(),
            workload: if direction == Direction::Outbound { GATEWAY.into() } else { format!("{service}-ctx1") },
            direction,
            started: 0,
            service: service.into(),
            rule: String::new(),
            subset: String::new(),
            pod: String::new(),
            kube_cluster: String::new(),
            status,
            flags: flags.into(),
            attempts: 1,
            injected_delay: 0,
            duration: 0,
        }
    }

    #[test]
    fn a_failure_that_only_the_callee_explains_gets_its_flag_in_either_order() {
        let (caller, callee) = (row(Direction::Outbound, "user-service", 503, "-"), row(Direction::Inbound, "user-service", 503, "UF"));
        let mut join = Join::default();
        assert_eq!(join.take(caller.clone()).map(|why| why.flags).as_deref(), Some("-"));
        assert_eq!(join.take(callee.clone()).map(|why| why.flags).as_deref(), Some("UF"));
        let mut join = Join::default();
        assert_eq!(join.take(callee), None);
        assert_eq!(join.take(caller).map(|why| why.flags).as_deref(), Some("UF"));
    }

    #[test]
    fn a_nested_call_of_the_same_request_explains_nothing_of_another_service() {
        let mut join = Join::default();
        assert_eq!(join.take(row(Direction::Inbound, "user-service", 503, "UF")), None);
        assert_eq!(join.take(row(Direction::Outbound, "booking-service", 502, "-")).map(|why| why.flags).as_deref(), Some("-"));
    }

    fn counter(pod: &str, requests: u64) -> PodEdge {
        let edge = EdgeCount {
            source: "api-gateway".into(),
            source_cluster: "ctx1".into(),
            service: "user-service".into(),
            kube_cluster: "ctx2".into(),
            protocol: "http".into(),
            requests,
            failures: requests / 2,
            bytes: 0,
            mutual_tls: 0,
        };
        PodEdge { pod: pod.into(), edge }
    }

    #[test]
    fn rates_are_differences_and_a_restart_is_no_negative_rate() {
        let mut rates = Rates::default();
        let start = Instant::now();
        assert_eq!(rates.take(&[counter("a", 10)], start), None);
        let second = rates.take(&[counter("a", 30), counter("b", 4)], start + Duration::from_secs(2)).unwrap();
        assert_eq!((second[0].rps, second[0].failures), (12.0, 0.5));
        let third = rates.take(&[counter("a", 6)], start + Duration::from_secs(3)).unwrap();
        assert_eq!(third[0].rps, 6.0);
    }
}
