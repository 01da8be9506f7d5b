//! The one task that owns the world: takes events as they come, compiles once per burst, publishes what differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smov_istio::compile::Prepared;
use smov_istio::diagnostic::Diagnostic;
use smov_istio::explain::ClusterSecurity;
use smov_istio::world::{Applied, MeshConfig, ProxyIdentity, WatchedKind, World};
use smov_model::link::LinkAddresses;
use smov_model::names::{KubeCluster, Namespace, ServiceAccount};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::metrics::{APPLIED, DELETED, LISTED};
use crate::proxies::{Proxies, Published};
use crate::source::{News, SourceEvent, SourceId, SourceKind};
use crate::status::WhatIf;

mod view;
pub(crate) use view::{SourceState, View};

/// While events keep arriving one after the other, the next is waited for this long…
const QUIET: Duration = Duration::from_millis(1);
/// … but no longer than this after the first.
const BURST: Duration = Duration::from_millis(5);
/// The world is analysed as a whole once nothing has come for this long …
const CALM: Duration = Duration::from_millis(50);
/// … or after this long, when something always comes.
const ANALYSIS_PATIENCE: Duration = Duration::from_secs(1);

/// What the publisher is told.
pub(crate) enum Command {
    /// Something happened at a source.
    Source(SourceEvent),
    /// A remote cluster is read from now on.
    ClusterAdded { cluster: KubeCluster, server: Option<SocketAddr> },
    /// A remote cluster no longer belongs to the mesh.
    ClusterRemoved { cluster: KubeCluster },
    /// The credential of a remote cluster cannot be used; `None` = it can again.
    ClusterTrouble { cluster: KubeCluster, error: Option<String> },
    /// A proxy whose token was checked wants snapshots.
    Admit(Admission),
    /// How are a proxy's connections secured, and why?
    Security { proxy: ProxyIdentity, reply: oneshot::Sender<Vec<ClusterSecurity>> },
    /// What would a proxy get if these objects were applied?
    WhatIf { proxy: ProxyIdentity, objects: Vec<serde_json::Value>, reply: oneshot::Sender<WhatIf> },
}

/// A proxy at the door.
pub(crate) struct Admission {
    /// Who it says it is.
    pub(crate) identity: ProxyIdentity,
    /// The account that its token belongs to; must be the pod's.
    pub(crate) service_account: ServiceAccount,
    /// Answered as soon as the pod is known.
    pub(crate) reply: oneshot::Sender<Result<Snapshots, String>>,
}

/// The newest snapshot of one proxy.
pub(crate) type Snapshots = watch::Receiver<Option<Arc<Published>>>;

impl From<SourceEvent> for Command {
    fn from(event: SourceEvent) -> Self {
        Self::Source(event)
    }
}

/// Settings of a [`Publisher`].
pub(crate) struct PublisherConfig {
    pub(crate) cluster: KubeCluster,
    pub(crate) root_namespace: Namespace,
    pub(crate) epoch: u64,
    /// How long the first snapshots wait for remote clusters.
    pub(crate) remote_patience: Duration,
    /// How pods of other clusters are reached.
    pub(crate) link: Option<LinkAddresses>,
    /// Addresses that an unknown host must never lead to.
    pub(crate) protected: Vec<SocketAddr>,
}

/// Owns the world.
pub(crate) struct Publisher {
    world: World,
    epoch: u64,
    number: u64,
    proxies: Arc<Proxies>,
    subscriptions: HashMap<ProxyIdentity, watch::Sender<Option<Arc<Published>>>>,
    waiting: Vec<Admission>,
    sources: BTreeMap<SourceId, SourceState>,
    /// API servers of the remote clusters.
    remotes: BTreeMap<KubeCluster, Option<SocketAddr>>,
    protected: Vec<SocketAddr>,
    link: Option<LinkAddresses>,
    /// When the first snapshots stop waiting for remote clusters.
    patience: Instant,
    /// The first change that is not published yet.
    dirty: Option<Instant>,
    pods_changed: bool,
    synced: watch::Sender<bool>,
    diagnostics: watch::Sender<Arc<Vec<Diagnostic>>>,
    /// What the objects and the snapshots of the last push gave.
    findings: Vec<Diagnostic>,
    /// What does not fit together, as of the last quiet moment.
    analysis: Vec<Diagnostic>,
    /// Since when the analysis is behind the world.
    unanalysed: Option<Instant>,
    source_states: watch::Sender<BTreeMap<SourceId, SourceState>>,
}

impl Publisher {
    pub(crate) fn new(config: PublisherConfig, proxies: Arc<Proxies>) -> (Self, View) {
        let own = config.cluster.clone();
        let kinds = SourceKind::own().chain([SourceKind::RemoteSecret]);
        let sources: BTreeMap<SourceId, SourceState> =
            kinds.map(|kind| (SourceId { cluster: own.clone(), kind }, SourceState::default())).collect();
        let (synced, synced_view) = watch::channel(false);
        let (diagnostics, diagnostics_view) = watch::channel(Arc::default());
        let (source_states, sources_view) = watch::channel(sources.clone());
        let publisher = Self {
            world: World::builder(own)
                .mesh(MeshConfig { root_namespace: config.root_namespace, ..MeshConfig::default() })
                .link(config.link)
                .build(),
            epoch: config.epoch,
            number: 0,
            proxies,
            subscriptions: HashMap::new(),
            waiting: Vec::new(),
            sources,
            remotes: BTreeMap::new(),
            protected: config.protected,
            link: config.link,
            patience: Instant::now() + config.remote_patience,
            dirty: Some(Instant::now()),
            pods_changed: false,
            synced,
            diagnostics,
            findings: Vec::new(),
            analysis: Vec::new(),
            unanalysed: None,
            source_states,
        };
        (publisher, View { synced: synced_view, diagnostics: diagnostics_view, sources: sources_view })
    }

    /// Runs until `shutdown`, or until nobody is left who could tell anything.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, shutdown: CancellationToken) {
        loop {
            let patience = self.patience;
            let impatient = !*self.synced.borrow() && Instant::now() < patience;
            // The analysis waits for a quiet moment, so that it holds up no push, but not for ever.
            let quiet = self.unanalysed.map(|since| (Instant::now() + CALM).min(since + ANALYSIS_PATIENCE));
            let first = tokio::select! {
                () = shutdown.cancelled() => return,
                command = commands.recv() => command,
                () = tokio::time::sleep_until(patience), if impatient => { self.settle(); continue }
                () = tokio::time::sleep_until(quiet.unwrap_or_else(Instant::now)), if quiet.is_some() => { self.analyse(); continue }
            };
            let Some(first) = first else { return };
            self.take(first);
            self.take_burst(&mut commands).await;
            self.settle();
        }
    }

    /// Takes all that is ready; waits a moment for more only while more keeps coming.
    async fn take_burst(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let end = Instant::now() + BURST;
        let mut arrived = false;
        loop {
            while let Ok(command) = commands.try_recv() {
                self.take(command);
                arrived = true;
            }
            if !std::mem::take(&mut arrived) || Instant::now() >= end {
                return;
            }
            if let Ok(Some(command)) = tokio::time::timeout(QUIET, commands.recv()).await {
                self.take(command);
                arrived = true;
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Source(event) => self.take_event(event),
            Command::ClusterAdded { cluster, server } => {
                for kind in SourceKind::remote() {
                    self.sources.entry(SourceId { cluster: cluster.clone(), kind }).or_default();
                }
                info!(%cluster, "remote cluster added");
                self.remotes.insert(cluster, server);
                self.changed();
            }
            Command::ClusterRemoved { cluster } => {
                info!(%cluster, "remote cluster removed");
                self.sources.retain(|source, _| source.cluster != cluster);
                self.remotes.remove(&cluster);
                self.world.forget_cluster(&cluster);
                self.changed();
            }
            Command::ClusterTrouble { cluster, error } => {
                let source = SourceId { cluster, kind: SourceKind::RemoteSecret };
                match error {
                    Some(error) => drop(self.sources.insert(source, SourceState { error: Some(error), ..SourceState::default() })),
                    None => drop(self.sources.remove(&source)),
                }
            }
            Command::Admit(admission) => self.waiting.push(admission),
            Command::Security { proxy, reply } => {
                let told = Prepared::new(&self.world).security_of(&proxy);
                // Whoever asked may have given up.
                let _ = reply.send(told.into_values().collect());
            }
            Command::WhatIf { proxy, objects, reply } => {
                let _ = reply.send(self.what_if(&proxy, &objects));
            }
        }
    }

    /// Compiles for a proxy from a copy of the world to which objects of the own cluster were applied; nothing is published.
    fn what_if(&self, proxy: &ProxyIdentity, objects: &[serde_json::Value]) -> WhatIf {
        let mut world = self.world.clone();
        let own = world.own_cluster().clone();
        let findings = objects.iter().flat_map(|object| world.apply(&own, object).diagnostics).collect();
        let prepared = Prepared::new(&world);
        let mut snapshot = prepared.snapshot_for(proxy, SnapshotVersion { epoch: self.epoch, number: self.number }).snapshot;
        snapshot.protected = self.protected();
        WhatIf { snapshot, security: prepared.security_of(proxy).into_values().collect(), findings }
    }

    fn take_event(&mut self, SourceEvent { source, news }: SourceEvent) {
        // A cluster that was removed may still have had events on their way.
        let Some(state) = self.sources.get_mut(&source) else { return };
        let now = Instant::now();
        if let News::Failed(error) = news {
            state.error = Some(error);
            return;
        }
        state.error = None;
        state.last_event = Some(now);
        state.synced |= matches!(news, News::Listed(_));
        match &news {
            News::Listed(objects) => state.version = objects.iter().map(version_of).fold(state.version, u64::max),
            News::Applied(object) | News::Deleted(object) => state.version = state.version.max(version_of(object)),
            News::Alive | News::Failed(_) => {}
        }
        let SourceKind::Mesh(kind) = source.kind else { return };
        let cluster = &source.cluster;
        let metrics = &self.proxies.metrics;
        let count = |place: usize| {
            metrics.events[place].fetch_add(1, Ordering::Relaxed);
        };
        let refused = |applied: &Applied| {
            let objects = applied.diagnostics.iter().filter(|finding| finding.is_error()).map(|finding| &finding.resource);
            let objects: BTreeSet<_> = objects.collect();
            metrics.rejected_configs.fetch_add(objects.len() as u64, Ordering::Relaxed);
        };
        let changed = match news {
            News::Listed(objects) => {
                count(LISTED);
                let applied = self.world.replace(cluster, kind, &objects);
                refused(&applied);
                applied.changed || !applied.diagnostics.is_empty()
            }
            News::Applied(object) => {
                count(APPLIED);
                let applied = self.world.apply_as(kind, cluster, &object);
                refused(&applied);
                // Findings change with an object that is not taken, too.
                applied.changed || !applied.diagnostics.is_empty()
            }
            News::Deleted(object) => {
                count(DELETED);
                let text = |pointer| object.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
                self.world.remove(cluster, kind.as_str(), text("/metadata/namespace"), text("/metadata/name"))
            }
            News::Alive | News::Failed(_) => false,
        };
        if changed {
            self.pods_changed |= kind == WatchedKind::Pod;
            self.dirty.get_or_insert(now);
        }
    }

    fn changed(&mut self) {
        self.dirty.get_or_insert_with(Instant::now);
    }

    /// After a burst: lets proxies in, publishes, shows the state.
    fn settle(&mut self) {
        self.admit();
        if !*self.synced.borrow() && self.is_synced() {
            info!(sources = self.sources.len(), "everything was read once, publishing");
            self.synced.send_replace(true);
        }
        if *self.synced.borrow()
            && let Some(since) = self.dirty.take()
        {
            self.publish(since);
        }
        if std::mem::take(&mut self.pods_changed) {
            let (world, own) = (&self.world, self.world.own_cluster());
            self.proxies.keep_edges_of(|namespace, pod| world.pods_of(own, namespace.as_str()).any(|(known, _)| known == pod));
        }
        self.source_states.send_replace(self.sources.clone());
    }

    /// The own cluster must have been read; the list of the others and they themselves too, unless they take too long: their endpoints
    /// come when they come.
    fn is_synced(&self) -> bool {
        let own = self.world.own_cluster();
        let unread = |(_, state): &(&SourceId, &SourceState)| !state.synced;
        // The credential of another cluster is no list; trouble with it is shown, not waited for.
        let lists = || self.sources.iter().filter(|(source, _)| source.cluster == *own || source.kind != SourceKind::RemoteSecret);
        let own_rules = |source: &SourceId| source.cluster == *own && source.kind != SourceKind::RemoteSecret;
        if Instant::now() < self.patience {
            !lists().any(|entry| unread(&entry))
        } else {
            !lists().any(|entry| own_rules(entry.0) && unread(&entry))
        }
    }

    /// Answers those at the door whose pod is known by now.
    fn admit(&mut self) {
        for admission in std::mem::take(&mut self.waiting) {
            if admission.reply.is_closed() {
                continue;
            }
            let identity = &admission.identity;
            let Some(account) = find_pod(&self.world, identity) else {
                self.waiting.push(admission);
                continue;
            };
            if account != admission.service_account.as_str() {
                let reason = format!("pod `{}` runs as `{account}`, the token is of `{}`", identity.pod, admission.service_account);
                // The stream may have given up meanwhile.
                let _ = admission.reply.send(Err(reason));
                continue;
            }
            let sender = self.subscriptions.entry(admission.identity).or_insert_with(|| watch::channel(None).0);
            let _ = admission.reply.send(Ok(sender.subscribe()));
            self.dirty.get_or_insert_with(Instant::now);
        }
    }

    /// Compiles for every proxy, and hands out what is not the same as before.
    fn publish(&mut self, since: Instant) {
        self.subscriptions.retain(|_, sender| !sender.is_closed());
        let protected = self.protected();
        let next = SnapshotVersion { epoch: self.epoch, number: self.number + 1 };
        let prepared = Prepared::new(&self.world);
        let mut findings: Vec<Diagnostic> = self.world.diagnostics().cloned().collect();
        let mut sent = 0;
        for (identity, sender) in &self.subscriptions {
            // Without its pod there is nothing to compile for; what the proxy has keeps serving to its end.
            if find_pod(&self.world, identity).is_none() {
                continue;
            }
            let compiled = prepared.snapshot_for(identity, next);
            findings.extend(compiled.diagnostics);
            let mut snapshot = compiled.snapshot;
            snapshot.protected.clone_from(&protected);
            if sender.borrow().as_ref().is_none_or(|last| differs(&last.snapshot, &mut snapshot)) {
                self.proxies.wants(identity, snapshot.version);
                sender.send_replace(Some(Arc::new(Published { snapshot, since })));
                sent += 1;
            }
        }
        let (services, virtual_services) = self.world.counts();
        self.proxies.metrics.services.store(services as u64, Ordering::Relaxed);
        self.proxies.metrics.virtual_services.store(virtual_services as u64, Ordering::Relaxed);
        if sent > 0 {
            self.number = next.number;
            debug!(version = self.number, proxies = sent, elapsed = ?since.elapsed(), "published");
        }
        self.findings = findings;
        self.unanalysed.get_or_insert_with(Instant::now);
        self.show_findings();
    }

    /// Looks at the world as a whole.
    fn analyse(&mut self) {
        self.unanalysed = None;
        self.analysis = Prepared::new(&self.world).analyze();
        self.show_findings();
    }

    fn show_findings(&self) {
        let mut findings: Vec<Diagnostic> = self.findings.iter().chain(&self.analysis).cloned().collect();
        findings.sort_by(|one, other| (&one.resource, &one.path, &one.code).cmp(&(&other.resource, &other.path, &other.code)));
        findings.dedup();
        self.diagnostics.send_if_modified(|shown| {
            let other = **shown != findings;
            if other {
                *shown = Arc::new(findings);
            }
            other
        });
    }

    fn protected(&self) -> Vec<SocketAddr> {
        let remotes = self.remotes.values().flatten().copied();
        // A remote API server that is known through the link is protected behind it as well.
        let behind = remotes.clone().filter_map(|remote| self.link?.behind(remote));
        remotes.chain(behind).chain(self.protected.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The `resourceVersion` of an object, which is a counter wherever clients may compare it
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>); 0 where it is not.
fn version_of(object: &serde_json::Value) -> u64 {
    let text = object.pointer("/metadata/resourceVersion").and_then(serde_json::Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Do they differ in more than the version?
fn differs(last: &Snapshot, new: &mut Snapshot) -> bool {
    let version = std::mem::replace(&mut new.version, last.version);
    let differs = last != new;
    new.version = version;
    differs
}

/// The service account of a proxy's pod; `None` when there is no such pod.
fn find_pod<'a>(world: &'a World, proxy: &ProxyIdentity) -> Option<&'a str> {
    let mut pods = world.pods_of(&proxy.cluster, proxy.namespace.as_str());
    pods.find(|(pod, _)| *pod == proxy.pod).map(|(_, pod)| pod.service_account.as_str())
}

#[cfg(test)]
mod tests;
