//! The connected proxies: what each was sent and took into use, their counters, and questions to them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use smov_istio::world::ProxyIdentity;
use smov_model::names::Namespace;
use smov_model::record::{EdgeCount, Record};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_model::wire::ProxyRole;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::microseconds_since_1970;
use crate::metrics::Metrics;
use crate::rows::RowBus;
use crate::status::{NackStatus, PodEdge, ProxyStatus};
use crate::traces::Traces;

/// How long proxies may take to answer a question.
const ANSWER: Duration = Duration::from_secs(1);
/// Questions that wait for one proxy's stream; more are not asked of it.
pub(crate) const QUESTIONS: usize = 16;
/// Edges kept of one proxy. There are as many as callers times services; more is a mistake.
const EDGES: usize = 1024;

/// A snapshot on its way to a proxy.
#[derive(Debug)]
pub(crate) struct Published {
    /// What.
    pub(crate) snapshot: Snapshot,
    /// When the first change in it was seen.
    pub(crate) since: Instant,
}

impl Published {
    fn leads_to(&self, address: Target) -> bool {
        let mut endpoints = self.snapshot.clusters.values().flat_map(|cluster| &cluster.endpoints);
        endpoints.any(|endpoint| endpoint.address.ip() == address.ip && address.port.is_none_or(|port| endpoint.address.port() == port))
    }
}

/// An endpoint by address, or by address and port where pods share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

/// Which records do you have of this request?
pub(crate) struct Question {
    pub(crate) request_id: String,
    pub(crate) answer: oneshot::Sender<Vec<Record>>,
}

type PodKey = (Namespace, String);

/// All proxies of one control plane.
pub(crate) struct Proxies {
    /// Guards the table; sections are short and never wait.
    table: Mutex<Table>,
    /// Counts acks, nacks and disconnects: whoever waits for proxies looks again.
    progress: watch::Sender<u64>,
    pub(crate) rows: RowBus,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Arc<Traces>,
}

#[derive(Default)]
struct Table {
    connected: BTreeMap<PodKey, Connected>,
    edges: BTreeMap<PodKey, Vec<EdgeCount>>,
    streams: u64,
}

struct Connected {
    stream: u64,
    role: ProxyRole,
    since: u64,
    had: Option<SnapshotVersion>,
    in_flight: Option<Arc<Published>>,
    /// The last one that was published for it, whether it is on its way yet or not.
    wanted: Option<SnapshotVersion>,
    sent: Option<SnapshotVersion>,
    acked: Option<Arc<Published>>,
    nack: Option<NackStatus>,
    questions: mpsc::Sender<Question>,
    replaced: CancellationToken,
}

impl Proxies {
    pub(crate) fn new(traces: Arc<Traces>) -> Self {
        Self { table: Mutex::default(), progress: watch::channel(0).0, rows: RowBus::new(), metrics: Metrics::default(), traces }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while it is held")
    }

    /// Enters a proxy. An older stream of the same pod is ended: the pod's sidecar was restarted.
    pub(crate) fn connect(
        self: &Arc<Self>,
        who: &ProxyIdentity,
        role: ProxyRole,
        had: Option<SnapshotVersion>,
    ) -> (Stream, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let key = (who.namespace.clone(), who.pod.clone());
        let replaced = CancellationToken::new();
        let mut table = self.table();
        table.streams += 1;
        let stream = Stream { proxies: Arc::clone(self), key: key.clone(), number: table.streams, replaced: replaced.clone() };
        let connected = Connected {
            stream: stream.number,
            role,
            since: microseconds_since_1970(),
            had,
            in_flight: None,
            wanted: None,
            sent: None,
            acked: None,
            nack: None,
            questions,
            replaced,
        };
        if let Some(older) = table.connected.insert(key, connected) {
            older.replaced.cancel();
        }
        drop(table);
        (stream, asked)
    }

    /// Says each time when a proxy has acknowledged, refused or left.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    fn went_on(&self) {
        self.progress.send_modify(|count| *count += 1);
    }

    /// This was published for a proxy.
    pub(crate) fn wants(&self, who: &ProxyIdentity, version: SnapshotVersion) {
        if let Some(proxy) = self.table().connected.get_mut(&(who.namespace.clone(), who.pod.clone())) {
            proxy.wanted = Some(version);
        }
    }

    /// The pods whose proxies do not run on the newest that was published for them.
    pub(crate) fn behind(&self) -> Vec<String> {
        let table = self.table();
        let behind = table.connected.iter().filter(|(_, proxy)| {
            let acked = proxy.acked.as_ref().map(|published| published.snapshot.version);
            acked.is_none() || acked < proxy.wanted.max(proxy.sent)
        });
        behind.map(|((_, pod), _)| pod.clone()).collect()
    }

    /// Does every connected proxy run on a snapshot that does not lead there, with none on its way that does?
    pub(crate) fn nobody_leads_to(&self, target: Target) -> bool {
        self.table().connected.values().all(|proxy| {
            let acked = proxy.acked.as_ref().is_some_and(|published| !published.leads_to(target));
            acked && !proxy.in_flight.as_ref().is_some_and(|published| published.leads_to(target))
        })
    }

    /// Does every connected proxy run on a snapshot that leads there?
    pub(crate) fn everybody_leads_to(&self, target: Target) -> bool {
        self.table().connected.values().all(|proxy| proxy.acked.as_ref().is_some_and(|published| published.leads_to(target)))
    }

    /// The connected proxies, by pod.
    pub(crate) fn statuses(&self) -> Vec<ProxyStatus> {
        let status = |((namespace, pod), proxy): (&PodKey, &Connected)| ProxyStatus {
            pod: pod.clone(),
            namespace: namespace.clone(),
            role: proxy.role,
            connected_since: proxy.since,
            had: proxy.had,
            sent: proxy.sent,
            acked: proxy.acked.as_ref().map(|published| published.snapshot.version),
            nack: proxy.nack.clone(),
        };
        self.table().connected.iter().map(status).collect()
    }

    /// Which proxy a pod's is.
    pub(crate) fn named(&self, pod: &str) -> Option<(Namespace, ProxyRole)> {
        let table = self.table();
        let ((namespace, _), proxy) = table.connected.iter().find(|((_, name), _)| name == pod)?;
        Some((namespace.clone(), proxy.role))
    }

    pub(crate) fn connected(&self) -> usize {
        self.table().connected.len()
    }

    /// The last snapshot sent to a pod's proxy.
    pub(crate) fn snapshot(&self, pod: &str) -> Option<Arc<Published>> {
        let table = self.table();
        let (_, proxy) = table.connected.iter().find(|((_, name), _)| name == pod)?;
        proxy.in_flight.clone().or_else(|| proxy.acked.clone())
    }

    /// All counters. Those of a proxy whose stream is gone stay for as long as its pod exists: it may be back any moment.
    pub(crate) fn edges(&self) -> Vec<PodEdge> {
        let of_pod = |((_, pod), edges): (&PodKey, &Vec<EdgeCount>)| -> Vec<PodEdge> {
            edges.iter().map(|edge| PodEdge { pod: pod.clone(), edge: edge.clone() }).collect()
        };
        self.table().edges.iter().flat_map(of_pod).collect()
    }

    /// Forgets the counters of pods that no longer exist.
    pub(crate) fn keep_edges_of(&self, exists: impl Fn(&Namespace, &str) -> bool) {
        self.table().edges.retain(|(namespace, pod), _| exists(namespace, pod));
    }

    /// Asks all proxies for their records of a request; those that do not answer in time are left out.
    pub(crate) async fn records(&self, request_id: &str) -> Vec<Record> {
        let questions: Vec<_> = self.table().connected.values().map(|proxy| proxy.questions.clone()).collect();
        let answers = questions.into_iter().filter_map(|questions| {
            let (answer, answered) = oneshot::channel();
            questions.try_send(Question { request_id: request_id.to_owned(), answer }).ok()?;
            Some(tokio::time::timeout(ANSWER, answered))
        });
        let answers = join_all(answers.collect::<Vec<_>>()).await;
        let mut records: Vec<Record> = answers.into_iter().flatten().flatten().flatten().collect();
        records.sort_by_key(|record| record.started);
        records
    }
}

/// One proxy's stream in the table; leaves it when dropped.
pub(crate) struct Stream {
    proxies: Arc<Proxies>,
    key: PodKey,
    number: u64,
    replaced: CancellationToken,
}

impl Stream {
    /// Resolves when a newer stream of the same pod has taken over.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    fn change(&self, change: impl FnOnce(&mut Connected)) {
        if let Some(proxy) = self.proxies.table().connected.get_mut(&self.key)
            && proxy.stream == self.number
        {
            change(proxy);
        }
    }

    /// This is on its way.
    pub(crate) fn sending(&self, published: &Arc<Published>) {
        self.change(|proxy| {
            let last = proxy.in_flight.as_ref().or(proxy.acked.as_ref());
            self.proxies.metrics.pushed(last.map(|published| &published.snapshot), &published.snapshot);
            proxy.sent = Some(published.snapshot.version);
            proxy.in_flight = Some(Arc::clone(published));
        });
    }

    /// The proxy runs on it. Says whether that was the one on its way.
    pub(crate) fn acked(&self, version: SnapshotVersion) -> bool {
        let mut since = None;
        self.change(|proxy| {
            if let Some(published) = proxy.in_flight.take_if(|published| published.snapshot.version == version) {
                since = Some(published.since);
                proxy.acked = Some(published);
                proxy.nack = None;
            }
        });
        if let Some(since) = since {
            self.proxies.metrics.converged(since.elapsed());
            self.proxies.went_on();
        }
        since.is_some()
    }

    /// The proxy refuses it and stays on the one before. Says whether that was the one on its way.
    pub(crate) fn nacked(&self, version: SnapshotVersion, reason: String) -> bool {
        let mut settled = false;
        self.change(|proxy| {
            if proxy.in_flight.take_if(|published| published.snapshot.version == version).is_some() {
                proxy.nack = Some(NackStatus { version, reason });
                settled = true;
            }
        });
        if settled {
            self.proxies.metrics.rejects.fetch_add(1, Ordering::Relaxed);
            self.proxies.went_on();
        }
        settled
    }

    /// Takes the proxy's counters: each replaces the one of the same edge.
    pub(crate) fn counted(&self, edges: Vec<EdgeCount>) {
        if edges.is_empty() {
            return;
        }
        let mut table = self.proxies.table();
        let known = table.edges.entry(self.key.clone()).or_default();
        for edge in edges {
            match known.iter().position(|known| same_edge(known, &edge)) {
                Some(index) => known[index] = edge,
                None if known.len() < EDGES => known.push(edge),
                None => {}
            }
        }
    }
}

fn same_edge(one: &EdgeCount, other: &EdgeCount) -> bool {
    fn key(edge: &EdgeCount) -> [&str; 5] {
        [&edge.source, &edge.source_cluster, &edge.service, &edge.kube_cluster, &edge.protocol]
    }
    key(one) == key(other)
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut table = self.proxies.table();
        if table.connected.get(&self.key).is_some_and(|proxy| proxy.stream == self.number) {
            table.connected.remove(&self.key);
        }
        drop(table);
        self.proxies.went_on();
    }
}
