//! Feeds a console from API servers: pods of every cluster, and the split that each cluster's rules really configure.
//!
//! The same list-and-watch as the control plane's and the same pure functions over the same [`World`]: the page and the mesh cannot read a
//! rule differently.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use smov_console::guard::AllowedHosts;
use smov_console::view::split::{OtherCopy, ServiceConfig};
use smov_console::{Live, ServiceId};
use smov_control::api_server::ApiServer;
use smov_control::source::{self, News, SourceEvent, SourceId, SourceKind, StoredKind};
use smov_istio::weights::{ConfiguredSplit, configured_split};
use smov_istio::world::{ProxyIdentity, Role, WatchedKind, World};
use smov_model::names::{KubeCluster, Namespace};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::configured::{canaries, configured, intervention, percents, steers};
use super::happenings;
use super::hosts::RoutedHosts;
use super::pods_view::PodsState;
use crate::kube_api;
use crate::mesh::link;

mod configured;
mod readers;

use self::readers::Known;
pub(crate) use self::readers::{Readers, RuleEvent, RuleNews, Worlds};

/// One API server that the console reads.
#[derive(Clone)]
pub(crate) struct Watched {
    name: KubeCluster,
    server: ApiServer,
}

impl Watched {
    /// The own cluster, from a kubeconfig file or from what Kubernetes mounts into a pod.
    pub(crate) async fn own(name: &str, kubeconfig: Option<&Path>) -> Result<Self, String> {
        let server = ApiServer::own(name, kubeconfig).await.map_err(|error| crate::mesh::up::chain(&error))?;
        Self::new(name, server)
    }

    /// Another cluster, from the text of a kubeconfig.
    pub(crate) async fn remote(name: &str, kubeconfig: &str) -> Result<Self, String> {
        let server = ApiServer::from_kubeconfig_text(name, kubeconfig).await.map_err(|error| crate::mesh::up::chain(&error))?;
        Self::new(name, server)
    }

    /// Every context of a kubeconfig file.
    pub(crate) async fn of_kubeconfig(path: &Path) -> Result<Vec<Self>, String> {
        let all = ApiServer::of_kubeconfig(path).await.map_err(|error| crate::mesh::up::chain(&error))?;
        all.into_iter().map(|(name, server)| Self::new(&name, server)).collect()
    }

    fn new(name: &str, server: ApiServer) -> Result<Self, String> {
        Ok(Self { name: name.parse().map_err(|error: smov_model::names::InvalidName| error.to_string())?, server })
    }

    /// A client for writing and for single questions.
    pub(crate) fn cluster(&self) -> kube_api::Cluster {
        kube_api::Cluster::new(self.name.as_str().to_owned(), self.server.client().clone())
    }
}

/// Events that wait; a source that is faster waits for room.
const QUEUE: usize = 256;
/// A cluster that says nothing for this long is asked: pods stay green only while someone confirms them.
const CONFIRM: Duration = Duration::from_secs(3);

/// Everything read of one cluster.
struct ClusterState {
    name: KubeCluster,
    /// The world in which this cluster's rules count.
    world: World,
    pods: PodsState,
    changed: bool,
    /// Is the world another than the one that the readers have?
    touched: bool,
}

/// What the page reads. MeshConfig and certificates steer the proxies, not what is shown, so the page need not be allowed to read them: whatever is added
/// here, the role `theater-msa-reader` must give, as a test sees to.
pub(crate) fn kinds() -> impl Iterator<Item = SourceKind> {
    let shown = WatchedKind::ALL.into_iter().filter(|kind| !kind.is_of_root_namespace() && *kind != WatchedKind::Secret);
    shown.map(SourceKind::Mesh).chain(StoredKind::all().map(SourceKind::Stored)).chain([SourceKind::Deployment, SourceKind::Event])
}

/// What must have been read once before rules are shown: without events the picture is whole.
fn waited() -> impl Iterator<Item = SourceKind> {
    kinds().filter(|kind| *kind != SourceKind::Event)
}

/// Feeds the hub and the readers until shutdown.
pub(crate) async fn run(live: Live, watched: Vec<Watched>, allowed: AllowedHosts, readers: Readers, shutdown: CancellationToken) {
    let root: Namespace = "istio-system".parse().expect("a DNS label");
    let (sender, mut events) = mpsc::channel::<SourceEvent>(QUEUE);
    let mut tasks = JoinSet::new();
    let link = |cluster: &Watched| (cluster.name.as_str() == link::CLUSTER).then_some(SourceKind::Link);
    for cluster in &watched {
        for kind in kinds().chain(link(cluster)) {
            let id = SourceId { cluster: cluster.name.clone(), kind };
            tasks.spawn(source::run(id, root.clone(), cluster.server.clone(), sender.clone(), shutdown.clone()));
        }
    }
    drop(sender);
    let state = |cluster: &Watched| ClusterState {
        name: cluster.name.clone(),
        world: World::builder(cluster.name.clone()).build(),
        pods: PodsState::default(),
        changed: false,
        touched: false,
    };
    let mut feed = Feed {
        live,
        clusters: watched.iter().map(state).collect(),
        waiting: watched.iter().flat_map(|cluster| waited().map(|kind| SourceId { cluster: cluster.name.clone(), kind })).collect(),
        unread: watched.iter().flat_map(|cluster| waited().map(|kind| SourceId { cluster: cluster.name.clone(), kind })).collect(),
        rules_changed: false,
        rules: happenings::Rules::default(),
        hosts: RoutedHosts::new(allowed),
        readers,
    };
    let (confirmed, mut confirmations) = mpsc::channel(QUEUE);
    for cluster in watched {
        tasks.spawn(confirm(cluster, confirmed.clone()));
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some((cluster, answer)) = confirmations.recv() => feed.confirm(&cluster, answer.as_deref()),
            event = events.recv() => {
                let Some(event) = event else { break };
                feed.take(event);
                while let Ok(event) = events.try_recv() {
                    feed.take(event);
                }
            }
        }
        feed.publish();
    }
    tasks.shutdown().await;
}

/// Asks the API server every few seconds whether it is still there; a watch alone can be silent for minutes.
async fn confirm(cluster: Watched, confirmed: mpsc::Sender<(KubeCluster, Option<String>)>) {
    let mut ticks = tokio::time::interval(CONFIRM);
    loop {
        ticks.tick().await;
        let question = http::Request::get("/version").body(Vec::new()).expect("a constant request is well formed");
        let answer = match tokio::time::timeout(CONFIRM, cluster.server.client().request_text(question)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(crate::mesh::up::chain(&error)),
            Err(_) => Some("the API server does not answer".to_owned()),
        };
        if confirmed.send((cluster.name.clone(), answer)).await.is_err() {
            return;
        }
    }
}

struct Feed {
    live: Live,
    clusters: Vec<ClusterState>,
    /// Sources whose first list has not come: before all have, half a picture would be shown as the whole.
    waiting: BTreeSet<SourceId>,
    /// Sources that were never read.
    unread: BTreeSet<SourceId>,
    rules_changed: bool,
    rules: happenings::Rules,
    hosts: RoutedHosts,
    readers: Readers,
}

impl Feed {
    fn confirm(&mut self, cluster: &KubeCluster, error: Option<&str>) {
        let now = self.live.now();
        for state in self.clusters.iter_mut().filter(|state| state.name == *cluster) {
            state.pods.seen(now, error.map(str::to_owned));
            state.changed = true;
        }
    }

    fn take(&mut self, event: SourceEvent) {
        let SourceEvent { source, news } = event;
        if source.kind == SourceKind::Link {
            return self.take_link(&news);
        }
        if source.kind == SourceKind::Event {
            return self.take_events(source.cluster.as_str(), &news);
        }
        let word = source.kind.as_str();
        self.tell_rules(&source, &news);
        if matches!(news, News::Listed(_)) {
            self.unread.remove(&source);
        }
        let mesh = if let SourceKind::Mesh(kind) = source.kind { Some(kind) } else { None };
        let answered = match news {
            News::Listed(_) => true,
            // What a cluster out of reach would say is not waited for, unless its rules are the ones that count.
            News::Failed(_) => source.cluster.as_str() != GATEWAY_CLUSTER,
            News::Applied(_) | News::Deleted(_) | News::Alive => false,
        };
        if answered && self.waiting.remove(&source) && self.waiting.is_empty() {
            self.rules_changed = true;
        }
        if mesh == Some(WatchedKind::VirtualService) && source.cluster.as_str() == GATEWAY_CLUSTER {
            self.hosts.take(&news);
        }
        let is_rule = mesh.is_some_and(WatchedKind::is_rule) || matches!(source.kind, SourceKind::Stored(_));
        if is_rule && let Some(moment) = self.rules.take(source.cluster.as_str(), word, &news, self.live.now()) {
            self.live.happened(moment);
        }
        for state in &mut self.clusters {
            let here = state.name == source.cluster;
            match &news {
                News::Listed(objects) => {
                    if let Some(kind) = mesh {
                        self.rules_changed |= state.world.replace(&source.cluster, kind, objects).changed;
                    }
                    if here {
                        state.pods.replace(word, objects);
                    }
                }
                News::Applied(object) => {
                    if let Some(kind) = mesh {
                        self.rules_changed |= state.world.apply_as(kind, &source.cluster, object).changed;
                    }
                    if here {
                        state.pods.apply(word, object);
                    }
                }
                News::Deleted(object) => {
                    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
                    self.rules_changed |= state.world.remove(&source.cluster, word, field("namespace"), field("name"));
                    if here {
                        state.pods.remove(word, object);
                    }
                }
                News::Alive | News::Failed(_) => {}
            }
            if here {
                let failed = if let News::Failed(error) = &news { Some(error.clone()) } else { None };
                state.pods.seen(self.live.now(), failed);
                state.changed = true;
            }
            // Pods of one cluster are in every world.
            state.touched |= !matches!(news, News::Alive | News::Failed(_));
        }
    }

    /// Passes on what was read of rules.
    fn tell_rules(&self, source: &SourceId, news: &News) {
        let is_rule = match source.kind {
            SourceKind::Mesh(kind) => kind.is_rule(),
            SourceKind::Stored(_) => true,
            _ => false,
        };
        let news = match news {
            News::Listed(objects) => RuleEvent::Listed(objects.clone()),
            News::Applied(object) => RuleEvent::Applied(object.clone()),
            News::Deleted(object) => RuleEvent::Deleted(object.clone()),
            News::Alive | News::Failed(_) => return,
        };
        if is_rule {
            // Nobody listens while the console ends.
            let _ = self.readers.rules.send(RuleNews { cluster: source.cluster.as_str().to_owned(), kind: source.kind.as_str(), news });
        }
    }

    /// What Kubernetes tells of itself goes to the timeline.
    fn take_events(&self, cluster: &str, news: &News) {
        let of = |event: &serde_json::Value| happenings::of_event(cluster, event).into_iter().for_each(|moment| self.live.happened(moment));
        match news {
            News::Listed(events) => events.iter().for_each(of),
            News::Applied(event) => of(event),
            News::Deleted(_) | News::Alive | News::Failed(_) => {}
        }
    }

    /// Without an object there is no link of ours; a server that cannot be read leaves what was known.
    fn take_link(&mut self, news: &News) {
        let of = |object: &serde_json::Value| (object["metadata"]["name"] == link::NAME).then(|| super::link::view_of(object));
        match news {
            News::Listed(objects) => self.live.set_link(objects.iter().find_map(of)),
            News::Applied(object) => {
                if let Some(view) = of(object) {
                    self.live.set_link(Some(view));
                }
            }
            News::Deleted(_) => self.live.set_link(None),
            News::Alive | News::Failed(_) => {}
        }
    }

    fn publish(&mut self) {
        let complete = self.unread.is_empty();
        for state in self.clusters.iter_mut().filter(|state| state.touched) {
            state.touched = false;
            self.readers.worlds.set(state.name.as_str(), Known { world: state.world.clone(), complete });
        }
        for state in self.clusters.iter_mut().filter(|state| state.changed) {
            state.changed = false;
            self.live.set_pods(state.name.as_str(), state.pods.view());
            if let Some(store) = state.pods.store(state.name.as_str()) {
                self.live.set_store(store);
            }
        }
        if self.waiting.is_empty() && std::mem::take(&mut self.rules_changed) {
            for service in ServiceId::ALL {
                self.live.set_configured(service, self.configured(service));
            }
        }
    }

    /// What the gateway's own cluster configures for a service, beside what the other one's copy says.
    fn configured(&self, service: ServiceId) -> ServiceConfig {
        let mut config = ServiceConfig::not_read_yet(service.host());
        let Some(own) = self.clusters.iter().find(|state| state.name.as_str() == GATEWAY_CLUSTER) else { return config };
        let split = split_of(own, service);
        config.canary = split.special.iter().flat_map(canaries).collect();
        config.interventions = split.interventions.iter().map(intervention).collect();
        config.configured = configured(&split, self.live.now());
        if let Some(other) = self.clusters.iter().find(|state| state.name.as_str() != GATEWAY_CLUSTER) {
            let theirs = split_of(other, service);
            config.other_cluster = percents(&theirs).map(|(ctx1, ctx2)| OtherCopy { ctx1, ctx2 });
            config.copies_differ = steers(&theirs) != steers(&split);
        }
        config
    }
}

/// The cluster in which the api-gateway runs: its rules are the configured ones (decision 14).
const GATEWAY_CLUSTER: &str = "ctx1";

fn split_of(state: &ClusterState, service: ServiceId) -> ConfiguredSplit {
    let namespace: Namespace = "theater-msa".parse().expect("a DNS label");
    let gateway =
        state.world.pods_of(&state.name, namespace.as_str()).find(|(_, pod)| pod.labels.get("app").is_some_and(|app| app == "api-gateway"));
    let pod = gateway.map(|(name, _)| name.to_owned()).unwrap_or_default();
    let caller = ProxyIdentity { cluster: state.name.clone(), namespace, pod, role: Role::Sidecar };
    configured_split(&state.world, &caller, service.host())
}

#[cfg(test)]
mod tests {
    use smov_console::view::split::{Canary, Configured, InterventionKind};

    use super::*;
    use crate::mesh::baseline::Baseline;
    use crate::mesh::store::Store;

    /// A console that has read the rules and Services of the built-in baseline.
    fn feed(change: impl Fn(&str, &mut serde_json::Value)) -> Feed {
        let live = crate::console::Place::default().live(smov_console::view::state::Door::Operator);
        let baseline = Baseline::build(None, &Store::Sqlite).unwrap();
        let clusters = ["ctx1", "ctx2"].map(|name| {
            let name: KubeCluster = name.parse().unwrap();
            let mut world = World::builder(name.clone()).build();
            for object in baseline.of(name.as_str()) {
                let mut object = object.clone();
                change(name.as_str(), &mut object);
                world.apply(&name, &object);
            }
            ClusterState { name, world, pods: PodsState::default(), changed: false, touched: false }
        });
        Feed {
            live,
            clusters: clusters.into(),
            waiting: BTreeSet::new(),
            unread: BTreeSet::new(),
            rules_changed: true,
            rules: happenings::Rules::default(),
            hosts: RoutedHosts::new(AllowedHosts::loopback_and([])),
            readers: Readers::new().0,
        }
    }

    fn user_rule(object: &mut serde_json::Value) -> Option<&mut serde_json::Value> {
        (object["metadata"]["name"] == "user-service-vs").then(|| &mut object["spec"]["http"])
    }

    #[test]
    fn the_baseline_reads_as_it_is_written() {
        let feed = feed(|_, _| {});
        let percents = |service| feed.configured(service).configured.shares().map(|shares| (shares.ctx1, shares.ctx2, shares.path.clone()));
        assert_eq!(percents(ServiceId::User), Some((70, 30, "spec.http[1]".to_owned())));
        assert_eq!(percents(ServiceId::Movie).map(|shares| (shares.0, shares.1)), Some((30, 70)));
        assert_eq!(percents(ServiceId::Booking).map(|shares| (shares.0, shares.1)), Some((50, 50)));
        let user = feed.configured(ServiceId::User);
        assert_eq!(user.canary, [Canary { header: "x-canary".into(), value: "true".into(), to: "ctx2".into() }]);
        assert!(!user.copies_differ && user.interventions.is_empty());
    }

    #[test]
    fn a_change_in_one_cluster_makes_the_copies_differ() {
        let feed = feed(|cluster, object| {
            if cluster == "ctx1"
                && let Some(http) = user_rule(object)
            {
                http[1]["route"][0]["weight"] = 0.into();
                http[1]["route"][1]["weight"] = 100.into();
            }
        });
        let user = feed.configured(ServiceId::User);
        assert_eq!(user.configured.shares().map(|shares| (shares.ctx1, shares.ctx2)), Some((0, 100)));
        assert_eq!(user.other_cluster, Some(OtherCopy { ctx1: 70, ctx2: 30 }));
        assert!(user.copies_differ);
        assert_eq!(
            user.interventions.iter().map(|found| (found.kind, found.cluster.as_deref())).collect::<Vec<_>>(),
            [(InterventionKind::Block, Some("ctx1"))]
        );
    }

    #[test]
    fn without_a_rule_there_is_no_number() {
        let feed = feed(|_, object| {
            if object["metadata"]["name"] == "user-service-vs" {
                object["spec"]["hosts"] = serde_json::json!(["nobody"]);
            }
        });
        let user = feed.configured(ServiceId::User);
        assert!(matches!(user.configured, Configured::None(_)), "{:?}", user.configured);
    }
}
