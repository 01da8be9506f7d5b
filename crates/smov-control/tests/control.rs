//! The control plane between fake API servers and fake proxies, over its real sockets.

#![expect(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, these are their helpers")]

/// What the tests share: a Kubernetes API server that says what it is told, a proxy that does what it is told.
mod support {
    pub(crate) mod api;
    pub(crate) mod mesh;
    pub(crate) mod proxy;
}

#[path = "parts/certificates.rs"]
mod certificates;

use std::time::Duration;

use smov_model::record::{Direction, EdgeCount, Row};
use smov_model::snapshot::Snapshot;
use smov_model::wire::{FromProxy, ToProxy};
use support::api::FakeApi;
use support::mesh::{Mesh, eventually, pod, service, slice, virtual_service};
use support::proxy::{FakeProxy, endpoints};

fn rule_names(snapshot: &Snapshot) -> Vec<String> {
    let hosts = snapshot.outbound.values().flat_map(|table| &table.hosts);
    hosts.flat_map(|host| &host.rules).map(|rule| rule.origin.name.clone()).collect()
}

#[tokio::test]
async fn a_proxy_gets_the_own_rules_and_the_endpoints_of_both_clusters() {
    let mesh = Mesh::start().await;
    mesh.own.apply([virtual_service("mine")]);
    mesh.remote.apply([virtual_service("not-mine")]);
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    let snapshot = proxy.use_until(|snapshot| rule_names(snapshot).contains(&"mine".to_owned())).await;
    assert_eq!(endpoints(&snapshot), ["127.9.1.1", "127.9.2.1"]);
    assert!(!rule_names(&snapshot).contains(&"not-mine".to_owned()));
    assert_eq!(snapshot.proxy.pod, "user-1");
    let mut servers = [mesh.own.address, mesh.remote.address];
    servers.sort();
    assert_eq!(snapshot.protected, servers);

    assert!(mesh.client.ready().await.unwrap());
    eventually("the ack is seen", async || mesh.client.syncz().await.unwrap().proxies[0].acked == Some(snapshot.version)).await;
    let syncz = mesh.client.syncz().await.unwrap();
    assert!(syncz.synced && syncz.sources.iter().all(|source| source.synced && source.error.is_none()), "{syncz:?}");
    assert_eq!(mesh.client.snapshot("user-1").await.unwrap().unwrap(), snapshot);
    assert!(mesh.client.snapshot("nobody").await.unwrap().is_none());
    mesh.stop().await;
}

#[tokio::test]
async fn only_what_changes_a_snapshot_is_published() {
    let mesh = Mesh::start().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    let first = proxy.use_until(|_| true).await;

    let mut same = pod("user-1", "127.9.1.1", "ctx1");
    same["status"]["conditions"] = serde_json::json!([{ "type": "Ready", "status": "True" }]);
    mesh.own.apply([same]);
    mesh.own.apply([virtual_service("one")]);
    let second = proxy.hear_snapshot().await;
    assert_eq!(rule_names(&second), ["one"]);
    assert_eq!(second.version.number, first.version.number + 1);
    assert_eq!(second.version.epoch, first.version.epoch);

    // While one is on its way, those in between are skipped: the next is the newest.
    mesh.own.apply(["two", "three", "four"].map(virtual_service));
    proxy.ack(&second).await;
    proxy.use_until(|snapshot| rule_names(snapshot) == ["four"]).await;
    mesh.stop().await;
}

#[tokio::test]
async fn a_remote_cluster_that_is_away_keeps_its_endpoints_until_its_secret_goes() {
    let mesh = Mesh::start().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    proxy.use_until(|snapshot| endpoints(snapshot).len() == 2).await;

    mesh.remote.take_down();
    eventually("the trouble is shown", async || {
        let syncz = mesh.client.syncz().await.unwrap();
        syncz.sources.iter().any(|source| source.cluster.as_str() == "ctx2" && source.synced && source.error.is_some())
    })
    .await;
    mesh.own.apply([virtual_service("later")]);
    let snapshot = proxy.use_until(|snapshot| rule_names(snapshot) == ["later"]).await;
    assert_eq!(endpoints(&snapshot), ["127.9.1.1", "127.9.2.1"]);

    mesh.remote.bring_up();
    mesh.remote.apply([pod("user-3", "127.9.2.3", "ctx2"), slice(&[("user-3", "127.9.2.3")])]);
    proxy.use_until(|snapshot| endpoints(snapshot) == ["127.9.1.1", "127.9.2.3"]).await;

    let secret = support::mesh::secret(&mesh.remote);
    mesh.own.delete(&secret);
    proxy.use_until(|snapshot| endpoints(snapshot) == ["127.9.1.1"]).await;
    mesh.own.apply([secret]);
    proxy.use_until(|snapshot| endpoints(snapshot).len() == 2).await;
    mesh.stop().await;
}

#[tokio::test]
async fn an_api_server_that_forgot_its_history_is_listed_again() {
    let mesh = Mesh::start().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    proxy.use_until(|snapshot| endpoints(snapshot).len() == 2).await;
    mesh.own.take_down();
    mesh.own.delete(&slice(&[]));
    mesh.own.apply([virtual_service("while-away")]);
    mesh.own.forget_history();
    mesh.own.bring_up();
    proxy.use_until(|snapshot| rule_names(snapshot) == ["while-away"] && endpoints(snapshot) == ["127.9.2.1"]).await;
    mesh.stop().await;
}

#[tokio::test]
async fn nothing_is_published_before_the_own_cluster_was_read() {
    let (own, remote) = (FakeApi::start().await, FakeApi::start().await);
    own.take_down();
    own.apply([service(), pod("user-1", "127.9.1.1", "ctx1"), slice(&[("user-1", "127.9.1.1")])]);
    let mesh = Mesh::start_with(own, remote).await;
    assert!(!mesh.client.ready().await.unwrap());
    mesh.own.bring_up();
    eventually("it is ready", async || mesh.client.ready().await.unwrap()).await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    assert_eq!(endpoints(&proxy.hear_snapshot().await), ["127.9.1.1"]);
    mesh.stop().await;
}

#[tokio::test]
async fn a_stream_without_the_pods_own_token_is_refused() {
    let mesh = Mesh::start().await;
    let cases = [
        ("user-1", "guess", "unknown token"),
        ("user-1", "theater-msa:user-service:user-9", "its token is of `theater-msa/user-9`"),
        ("user-1", "istio-system:user-service:user-1", "its token is of `istio-system/user-1`"),
        ("user-1", "theater-msa:movie-service:user-1", "runs as `user-service`"),
    ];
    for (pod, token, reason) in cases {
        let mut proxy = FakeProxy::greet_with(&mesh.socket, pod, token).await;
        match proxy.hear().await {
            ToProxy::Refused { reason: told } => assert!(told.contains(reason), "{told}"),
            other => panic!("refused, not {other:?}"),
        }
    }
    assert!(mesh.client.syncz().await.unwrap().proxies.is_empty());
    mesh.stop().await;
}

#[tokio::test]
async fn a_proxy_that_is_faster_than_its_pods_event_waits_for_it() {
    let mesh = Mesh::start().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-8").await;
    eventually("its token was checked", async || mesh.own.token_reviews() > 0).await;
    mesh.own.apply([pod("user-8", "127.9.1.8", "ctx1")]);
    assert_eq!(proxy.hear_snapshot().await.proxy.pod, "user-8");
    // The answer is remembered: the next stream of the pod asks nobody.
    FakeProxy::greet(&mesh.socket, "user-8").await.hear_snapshot().await;
    assert_eq!(mesh.own.token_reviews(), 1);
    // And the stream before it has been replaced.
    assert!(matches!(proxy.hear().await, ToProxy::Refused { .. }));
    mesh.stop().await;
}

#[tokio::test]
async fn a_frame_that_is_none_closes_the_stream_with_a_reason() {
    let mesh = Mesh::start().await;
    let mut nobody = FakeProxy::connect(&mesh.socket).await;
    nobody.say_bytes(b"GET / HTTP/1.1").await;
    assert!(matches!(nobody.hear().await, ToProxy::Refused { .. }));
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    proxy.hear_snapshot().await;
    proxy.say_bytes(br#"{"type":"unheardOf"}"#).await;
    assert!(matches!(proxy.hear().await, ToProxy::Refused { reason } if reason.contains("unheardOf")));
    mesh.stop().await;
}

#[tokio::test]
async fn a_refused_snapshot_is_shown_and_the_next_one_is_sent_all_the_same() {
    let mesh = Mesh::start().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    let good = proxy.use_until(|_| true).await;
    mesh.own.apply([virtual_service("bad")]);
    let bad = proxy.hear_snapshot().await;
    proxy.say(&FromProxy::Nack { version: bad.version, reason: "no such cluster".to_owned() }).await;
    eventually("the nack is shown", async || mesh.client.syncz().await.unwrap().proxies[0].nack.is_some()).await;
    let status = mesh.client.syncz().await.unwrap().proxies.remove(0);
    assert_eq!(status.acked, Some(good.version));
    assert_eq!(status.nack.map(|nack| (nack.version, nack.reason)), Some((bad.version, "no such cluster".to_owned())));

    mesh.own.apply([virtual_service("good-again")]);
    proxy.use_until(|snapshot| rule_names(snapshot) == ["good-again"]).await;
    eventually("the nack is history", async || mesh.client.syncz().await.unwrap().proxies[0].nack.is_none()).await;
    mesh.stop().await;
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_holds_up_nobody_else() {
    let mesh = Mesh::start().await;
    mesh.own.apply([pod("user-9", "127.9.1.9", "ctx1")]);
    let mut stuck = FakeProxy::greet(&mesh.socket, "user-9").await;
    stuck.hear_snapshot().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    for marker in ["one", "two", "three"] {
        mesh.own.apply([virtual_service(marker)]);
        proxy.use_until(|snapshot| rule_names(snapshot) == [marker]).await;
    }
    // A question is answered with what came in time.
    let asked = tokio::spawn({
        let client = mesh.client.clone();
        async move { client.requests("id/1").await.unwrap() }
    });
    let ToProxy::RecordRequest { question, request_id } = proxy.hear().await else { panic!("a question") };
    assert_eq!(request_id, "id/1");
    let record = record(&request_id);
    proxy.say(&FromProxy::RecordReply { question, records: vec![record.clone()] }).await;
    assert_eq!(asked.await.unwrap(), [record]);
    mesh.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_gone_or_known_when_every_proxy_has_said_so() {
    let mesh = Mesh::start().await;
    mesh.own.apply([pod("user-9", "127.9.1.9", "ctx1")]);
    let mut one = FakeProxy::greet(&mesh.socket, "user-1").await;
    let mut other = FakeProxy::greet(&mesh.socket, "user-9").await;
    one.use_until(|_| true).await;
    other.use_until(|_| true).await;
    let gone = tokio::spawn({
        let client = mesh.client.clone();
        async move { client.endpoint_gone("127.9.1.1".parse().unwrap()).await.unwrap() }
    });
    mesh.own.apply([slice(&[])]);
    one.use_until(|snapshot| endpoints(snapshot) == ["127.9.2.1"]).await;
    let last = loop {
        let snapshot = other.hear_snapshot().await;
        if endpoints(&snapshot) == ["127.9.2.1"] {
            break snapshot;
        }
        other.ack(&snapshot).await;
    };
    eventually("the first has said so", async || mesh.client.syncz().await.unwrap().proxies[0].acked.is_some_and(|at| at >= last.version))
        .await;
    assert!(!gone.is_finished(), "the other proxy still runs on the old one");
    // Known again means known to both.
    let known = tokio::spawn({
        let client = mesh.client.clone();
        async move { client.endpoint_known("127.9.1.1".parse().unwrap()).await.unwrap() }
    });
    other.ack(&last).await;
    assert!(gone.await.unwrap());
    assert!(mesh.client.endpoint_gone_at("127.9.1.1:8081".parse().unwrap()).await.unwrap());

    mesh.own.apply([slice(&[("user-1", "127.9.1.1")])]);
    one.use_until(|snapshot| endpoints(snapshot).len() == 2).await;
    assert!(!known.is_finished(), "the other proxy still runs on the old one");
    other.use_until(|snapshot| endpoints(snapshot).len() == 2).await;
    assert!(known.await.unwrap());
    mesh.stop().await;
}

#[tokio::test]
async fn a_change_is_distributed_when_every_proxy_runs_on_it() {
    let mesh = Mesh::start().await;
    let mut one = FakeProxy::greet(&mesh.socket, "user-1").await;
    one.use_until(|_| true).await;
    mesh.own.apply([virtual_service("new")]);
    let (version, patience) = (mesh.own.version(), Duration::from_secs(5));
    let snapshot = loop {
        let snapshot = one.hear_snapshot().await;
        if rule_names(&snapshot) == ["new"] {
            break snapshot;
        }
        one.ack(&snapshot).await;
    };
    let late = mesh.client.distributed("VirtualService", version, Duration::ZERO).await.unwrap();
    assert_eq!((late.distributed, late.behind), (false, vec!["user-1".to_owned()]));
    one.ack(&snapshot).await;
    assert!(mesh.client.distributed("VirtualService", version, patience).await.unwrap().distributed);
    // What is in use includes all that came before it; what nobody has written is in use nowhere.
    assert!(mesh.client.distributed("VirtualService", 1, patience).await.unwrap().distributed);
    assert!(mesh.client.distributed("Banana", 1, patience).await.is_err());
    mesh.stop().await;
}

#[tokio::test]
async fn rows_and_edges_go_up_to_whoever_reads_them() {
    let mesh = Mesh::start().await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    proxy.use_until(|_| true).await;
    let mut rows = mesh.client.rows();
    assert_eq!(rows.next().await, smov_control::status::RowEvent::Open);
    proxy.say(&FromProxy::Report { edges: vec![edge(3)], rows: vec![row("a")], seen: 1, spans: vec![] }).await;
    assert_eq!(rows.next().await, smov_control::status::RowEvent::Rows(vec![row("a")]));
    proxy.say(&FromProxy::Report { edges: vec![edge(8)], rows: vec![row("b")], seen: 5, spans: vec![] }).await;
    assert_eq!(rows.next().await, smov_control::status::RowEvent::Dropped(4));
    assert_eq!(rows.next().await, smov_control::status::RowEvent::Rows(vec![row("b")]));

    let edges = mesh.client.edges().await.unwrap();
    assert_eq!(edges.iter().map(|edge| (edge.pod.as_str(), edge.edge.requests)).collect::<Vec<_>>(), [("user-1", 8)]);
    // The counters outlive the stream, not the pod.
    drop(proxy);
    eventually("the proxy left", async || mesh.client.syncz().await.unwrap().proxies.is_empty()).await;
    assert_eq!(mesh.client.edges().await.unwrap(), edges);
    mesh.own.delete(&pod("user-1", "127.9.1.1", "ctx1"));
    eventually("the counters are gone", async || mesh.client.edges().await.unwrap().is_empty()).await;
    mesh.stop().await;
    assert!(matches!(rows.next().await, smov_control::status::RowEvent::Lost(_)));
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_listed() {
    let mesh = Mesh::start().await;
    let mut broken = virtual_service("broken");
    broken["spec"]["http"][0]["rout"] = true.into();
    broken["spec"]["http"][0]["timeout"] = "soon".into();
    mesh.own.apply([broken]);
    eventually("it is listed", async || {
        let diagnostics = mesh.client.diagnostics().await.unwrap();
        diagnostics.iter().any(|diagnostic| diagnostic.resource.name == "user-service-vs")
    })
    .await;
    mesh.own.apply([virtual_service("whole")]);
    eventually("it is mended", async || mesh.client.diagnostics().await.unwrap().is_empty()).await;
    mesh.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_together_is_listed_too() {
    let mesh = Mesh::start().await;
    let mut elsewhere = virtual_service("elsewhere");
    elsewhere["spec"]["http"][0]["route"][0]["destination"]["host"] = "no-such-service".into();
    mesh.own.apply([elsewhere]);
    let codes = async || mesh.client.diagnostics().await.unwrap().into_iter().map(|found| found.code.into_owned()).collect::<Vec<_>>();
    eventually("it is listed", async || codes().await == ["IST0101"]).await;
    mesh.own.apply([virtual_service("whole")]);
    eventually("it is mended", async || codes().await.is_empty()).await;
    mesh.stop().await;
}

fn row(id: &str) -> Row {
    Row {
        request_id: id.to_owned(),
        proxy: "user-1".to_owned(),
        workload: "user".to_owned(),
        direction: Direction::Outbound,
        started: 1,
        service: "movie-service".to_owned(),
        rule: String::new(),
        subset: String::new(),
        pod: String::new(),
        kube_cluster: "ctx2".to_owned(),
        status: 200,
        flags: "-".to_owned(),
        attempts: 1,
        injected_delay: 0,
        duration: 900,
    }
}

fn edge(requests: u64) -> EdgeCount {
    EdgeCount {
        source: "user".to_owned(),
        source_cluster: "ctx1".to_owned(),
        service: "movie-service".to_owned(),
        kube_cluster: "ctx2".to_owned(),
        protocol: "http".to_owned(),
        requests,
        failures: 0,
        bytes: 0,
        mutual_tls: 0,
    }
}

fn record(request_id: &str) -> smov_model::record::Record {
    smov_model::record::Record {
        request_id: request_id.to_owned(),
        proxy: "user-1".to_owned(),
        direction: Direction::Outbound,
        started: 1,
        method: "GET".to_owned(),
        authority: "movie-service:8082".to_owned(),
        path: "/movies/".to_owned(),
        headers: Vec::new(),
        snapshot: smov_model::snapshot::SnapshotVersion { epoch: 1, number: 2 },
        virtual_host: None,
        rule: None,
        skipped: Vec::new(),
        draws: Vec::new(),
        cluster: None,
        attempts: Vec::new(),
        mirrors: Vec::new(),
        cors: None,
        injected_delay: 0,
        peer: None,
        security: smov_model::tls::ConnectionSecurityPolicy::None,
        peer_principal: None,
        authorization: None,
        status: 200,
        flags: smov_model::flag::Flags::NONE,
        duration: 900,
        phases: Vec::new(),
        source: smov_model::record::RecordSource::Recorded,
    }
}
