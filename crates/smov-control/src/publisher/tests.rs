use serde_json::{Value, json};

use super::*;

fn own() -> KubeCluster {
    "ctx1".parse().unwrap()
}

fn listed(cluster: &str, kind: SourceKind, objects: Vec<Value>) -> Command {
    Command::Source(SourceEvent { source: SourceId { cluster: cluster.parse().unwrap(), kind }, news: News::Listed(objects) })
}

fn applied(kind: WatchedKind, object: Value) -> Command {
    Command::Source(SourceEvent { source: SourceId { cluster: own(), kind: SourceKind::Mesh(kind) }, news: News::Applied(object) })
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "theater-msa" }, "spec": { "serviceAccountName": "user" }, "status": { "podIP": "127.9.1.1" } })
}

fn rule(number: usize) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "v", "namespace": "theater-msa" },
        "spec": { "hosts": ["example.com"], "http": [{ "name": format!("rule-{number}"), "directResponse": { "status": 200 } }] },
    })
}

fn service() -> Value {
    json!({
        "metadata": { "name": "example", "namespace": "theater-msa" },
        "spec": { "clusterIP": "127.9.200.1", "ports": [{ "name": "http", "port": 80 }] },
    })
}

/// All lists of the own cluster, with one pod and one Service.
fn own_lists() -> impl Iterator<Item = Command> {
    SourceKind::own().chain([SourceKind::RemoteSecret]).map(|kind| {
        let objects = match kind {
            SourceKind::Mesh(WatchedKind::Pod) => vec![pod("user-1")],
            SourceKind::Mesh(WatchedKind::Service) => vec![service()],
            SourceKind::Mesh(_)
            | SourceKind::RemoteSecret
            | SourceKind::Stored(_)
            | SourceKind::Deployment
            | SourceKind::Event
            | SourceKind::AuthoritySecret
            | SourceKind::Link
            | SourceKind::Namespace
            | SourceKind::RootConfigMap => Vec::new(),
        };
        listed("ctx1", kind, objects)
    })
}

fn admission(account: &str) -> (Command, oneshot::Receiver<Result<Snapshots, String>>) {
    let (reply, answer) = oneshot::channel();
    let identity = ProxyIdentity {
        cluster: own(),
        namespace: "theater-msa".parse().unwrap(),
        pod: "user-1".to_owned(),
        role: smov_istio::world::Role::Sidecar,
    };
    (Command::Admit(Admission { identity, service_account: account.parse().unwrap(), reply }), answer)
}

struct Running {
    commands: mpsc::Sender<Command>,
    view: View,
    _stop: tokio_util::sync::DropGuard,
}

/// A publisher that finds `ready` in its channel when it looks for the first time.
fn start(ready: impl IntoIterator<Item = Command>) -> Running {
    let settings = PublisherConfig {
        cluster: own(),
        root_namespace: "istio-system".parse().unwrap(),
        epoch: 7,
        remote_patience: Duration::from_secs(5),
        link: None,
        protected: Vec::new(),
    };
    let (publisher, view) = Publisher::new(settings, Arc::new(Proxies::new(Arc::new(crate::traces::Traces::new(Vec::new())))));
    let (commands, received) = mpsc::channel(1024);
    for command in ready {
        assert!(commands.try_send(command).is_ok(), "there is room");
    }
    let stop = CancellationToken::new();
    tokio::spawn(publisher.run(received, stop.clone()));
    Running { commands, view, _stop: stop.drop_guard() }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_events_is_one_snapshot() {
    let (admit, answer) = admission("user");
    let burst = (0..200).map(|number| {
        let mut host = rule(number);
        host["spec"]["hosts"] = json!(["example"]);
        applied(WatchedKind::VirtualService, host)
    });
    let running = start(own_lists().chain([admit]).chain(burst));
    let mut snapshots = answer.await.unwrap().unwrap();
    let published = snapshots.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(published.snapshot.version, SnapshotVersion { epoch: 7, number: 1 });
    let rules = published.snapshot.outbound.values().flat_map(|table| &table.hosts).flat_map(|host| &host.rules);
    assert!(rules.map(|rule| rule.origin.name.as_str()).any(|name| name == "rule-199"));
    assert!(*running.view.synced.borrow());
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshots_wait_for_a_silent_remote_cluster_but_not_for_ever() {
    let added = Command::ClusterAdded { cluster: "ctx2".parse().unwrap(), server: None };
    let mut running = start([added].into_iter().chain(own_lists()));
    let began = Instant::now();
    running.view.synced.wait_for(|synced| *synced).await.unwrap();
    assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshots_wait_for_remote_clusters_that_answer() {
    let added = Command::ClusterAdded { cluster: "ctx2".parse().unwrap(), server: None };
    let lists = SourceKind::remote().map(|kind| listed("ctx2", kind, Vec::new()));
    let mut running = start([added].into_iter().chain(own_lists()).chain(lists));
    let began = Instant::now();
    running.view.synced.wait_for(|synced| *synced).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_with_another_pods_account_is_not_let_in() {
    let (admit, answer) = admission("movie");
    let _running = start(own_lists().chain([admit]));
    let reason = answer.await.unwrap().unwrap_err();
    assert!(reason.contains("runs as `user`"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn events_of_a_removed_cluster_are_passed_over() {
    let cluster: KubeCluster = "ctx2".parse().unwrap();
    let (admit, answer) = admission("user");
    let added = Command::ClusterAdded { cluster: cluster.clone(), server: Some("127.0.0.1:6443".parse().unwrap()) };
    let running = start(own_lists().chain([admit, added, Command::ClusterRemoved { cluster }]));
    let late = listed("ctx2", SourceKind::Mesh(WatchedKind::Pod), vec![pod("user-2")]);
    running.commands.send(late).await.ok().unwrap();
    let mut snapshots = answer.await.unwrap().unwrap();
    let published = snapshots.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(published.snapshot.peers.values().map(|peer| peer.pod.as_str()).collect::<Vec<_>>(), ["user-1"]);
    assert!(published.snapshot.protected.is_empty());
    assert!(running.view.source_statuses().iter().all(|source| source.cluster == own()));
}
