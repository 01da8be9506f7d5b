//! Fake ports, a clock that follows tokio's (pausable) time, and short ways to say what a test needs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use smov_console::live::{Reader, Subscription};
use smov_console::ports::scenarios::{ScenarioDone, ScenarioView, Scenarios};
use smov_console::ports::workloads::{Ability, Action, Done, LogQuery, LogStream, ObjectRef, UsageView, Workloads};
use smov_console::ports::{
    Baseline, Changed, Configuration, Explain, ExplainRequest, Ingress, LinkChange, LinkSwitch, Records, Told, TrafficRequest,
};
use smov_console::problem::Problem;
use smov_console::view::cluster::{LinkState, LinkView};
use smov_console::view::configuration::{
    AppliedResult, AppliedView, ChangeSet, CheckView, CheckedView, HistoryChange, HistoryView, Outcome, ResourceView, ResourcesView,
};
use smov_console::view::split::{Configured, ServiceConfig, Shares};
use smov_console::view::state::Door;
use smov_console::{Clock, Live, LiveConfig, Relayed, ServiceId};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The time at which every test begins.
pub(crate) const BEGIN: u64 = 1_700_000_000_000_000;

pub(crate) fn clock() -> Clock {
    let begin = Instant::now();
    Arc::new(move || BEGIN + begin.elapsed().as_micros() as u64)
}

pub(crate) fn hub(epoch: &str) -> Live {
    Live::new(LiveConfig { epoch: epoch.to_owned(), sample_seed: 7, ..LiveConfig::new(Door::Gateway, clock()) })
}

/// A hub that runs, and the way to stop it.
pub(crate) struct Running {
    pub(crate) live: Live,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn running(epoch: &str) -> Running {
    let (live, shutdown) = (hub(epoch), CancellationToken::new());
    let task = tokio::spawn({
        let (live, shutdown) = (live.clone(), shutdown.clone());
        async move { live.run(shutdown).await }
    });
    Running { live, shutdown, task }
}

pub(crate) fn relayed(live: &Live, id: &str, service: ServiceId, cluster: Option<&str>) -> Relayed {
    Relayed {
        request_id: id.to_owned(),
        service,
        method: "GET".to_owned(),
        path: service.path().to_owned(),
        status: if cluster.is_some() { 200 } else { 503 },
        cluster: cluster.map(str::to_owned),
        pod: cluster.map(|cluster| format!("{}-{cluster}-1", service.host())),
        version: cluster.map(|_| "v1".to_owned()),
        canary: false,
        started: live.now(),
        duration: Duration::from_millis(10),
        client: None,
    }
}

/// Relays requests `from..to` of the user service, `of_ten` of every ten to ctx1.
pub(crate) fn relay(live: &Live, numbers: std::ops::Range<u64>, of_ten: u64) {
    for n in numbers {
        let cluster = if n % 10 < of_ten { "ctx1" } else { "ctx2" };
        live.relayed(relayed(live, &format!("r{n}"), ServiceId::User, Some(cluster)));
    }
}

pub(crate) fn split(weights: [u32; 2], resource_version: &str) -> ServiceConfig {
    let shares = Shares::from_weights(weights, "user-service-vs", "spec.http[1]", resource_version, 0).unwrap();
    ServiceConfig { configured: Configured::Ok(shares), ..ServiceConfig::not_read_yet("user-service") }
}

/// An event as a browser sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// Cuts a piece of the stream into events.
pub(crate) fn events(bytes: &[u8]) -> Vec<Event> {
    let field = |block: &str, name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let event = |block: &str| {
        let data = serde_json::from_str(&field(block, "data: ")?).unwrap();
        Some(Event { id: field(block, "id: ")?, kind: field(block, "event: ")?, data })
    };
    std::str::from_utf8(bytes).unwrap().split("\n\n").filter_map(event).collect()
}

/// A reader that gives one event at a time.
pub(crate) struct Browser {
    subscription: Subscription,
    waiting: std::collections::VecDeque<Event>,
}

impl Browser {
    pub(crate) fn open(live: &Live, last: Option<&str>) -> Self {
        Self { subscription: live.subscribe(last, Reader::Browser), waiting: Default::default() }
    }

    pub(crate) async fn next(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            self.waiting.extend(events(&self.subscription.next().await?));
        }
        self.waiting.pop_front()
    }

    /// The next event of this kind.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == kind {
                return event;
            }
        }
    }
}

/// An ingress that notes what it is given, answers after a while, or never.
#[derive(Clone, Default)]
pub(crate) struct FakeIngress {
    pub(crate) sent: Arc<Mutex<Vec<(Duration, TrafficRequest)>>>,
    pub(crate) answer: Arc<Mutex<Answer>>,
    pub(crate) begin: Option<Instant>,
}

#[derive(Clone, Default)]
pub(crate) enum Answer {
    #[default]
    AtOnce,
    After(Duration),
    Never,
    Failure(String),
}

impl FakeIngress {
    pub(crate) fn new() -> Self {
        Self { begin: Some(Instant::now()), ..Self::default() }
    }

    pub(crate) fn requests(&self) -> Vec<TrafficRequest> {
        self.sent.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }
}

impl Ingress for FakeIngress {
    fn send(&self, request: TrafficRequest) -> BoxFuture<'static, Result<u16, String>> {
        let at = self.begin.map(|begin| begin.elapsed()).unwrap_or_default();
        self.sent.lock().unwrap().push((at, request));
        let answer = self.answer.lock().unwrap().clone();
        async move {
            match answer {
                Answer::AtOnce => Ok(200),
                Answer::After(time) => {
                    tokio::time::sleep(time).await;
                    Ok(200)
                }
                Answer::Never => std::future::pending().await,
                Answer::Failure(text) => Err(text),
            }
        }
        .boxed()
    }
}

/// A baseline that answers what it is told.
pub(crate) struct FakeBaseline(pub(crate) Result<Vec<Changed>, Problem>);

impl Baseline for FakeBaseline {
    fn reset(&self) -> BoxFuture<'static, Result<Vec<Changed>, Problem>> {
        std::future::ready(self.0.clone()).boxed()
    }
}

/// Records of the requests whose id begins with `kept`.
pub(crate) struct FakeRecords;

impl Records for FakeRecords {
    fn traces(&self) -> BoxFuture<'static, Vec<Told>> {
        let line = |id: &str, start: u64, duration: u64, root: bool, service: &str, cluster: &str| {
            json!({
                "traceId": id, "start": start, "duration": duration, "name": service, "service": service, "hasRoot": root, "spans": 2, "errors": 0,
                "services": [service], "clusters": [cluster], "requestId": format!("r-{service}"), "requestIds": [format!("r-{service}")],
            })
        };
        let ctx1 = vec![
            line("00000000000000000000000000000002", 500, 40, true, "a", "ctx1"),
            line("00000000000000000000000000000001", 100, 50, true, "a", "ctx1"),
        ];
        let ctx2 = vec![line("00000000000000000000000000000001", 90, 80, false, "b", "ctx2")];
        let told = |cluster: &str, answer| Told { cluster: cluster.to_owned(), answer };
        std::future::ready(vec![told("ctx1", Ok(ctx1)), told("ctx2", Ok(ctx2)), told("ctx3", Err("away".to_owned()))]).boxed()
    }

    fn trace(&self, trace_id: String) -> BoxFuture<'static, Vec<Told>> {
        let known = trace_id.ends_with('1');
        let spans = |id: &str, start: u64| {
            if known { vec![json!({ "id": id, "traceId": trace_id, "kind": "server", "start": start })] } else { Vec::new() }
        };
        let told = |cluster: &str, answer| Told { cluster: cluster.to_owned(), answer };
        let away = if known { Err("away".to_owned()) } else { Ok(Vec::new()) };
        std::future::ready(vec![told("ctx1", Ok(spans("b", 7))), told("ctx2", Ok(spans("a", 3))), told("ctx3", away)]).boxed()
    }

    fn records(&self, request_id: String) -> BoxFuture<'static, Result<Vec<Value>, Problem>> {
        let answer = match request_id.as_str() {
            id if id.starts_with("kept") => Ok(vec![json!({
                "proxy": "api-gateway-ctx1-1", "direction": "outbound", "method": "GET", "path": "/users/7",
                "headers": [["x-canary", "true"], ["x-tier", null], ["authorization", "secret"]],
            })]),
            "blind" => {
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "IstiodAway", "istiod가 응답하지 않습니다", "istiod does not answer"))
            }
            _ => Ok(Vec::new()),
        };
        std::future::ready(answer).boxed()
    }
}

/// Two scenarios, of which the one called `delay` can be applied.
pub(crate) struct FakeScenarios;

impl Scenarios for FakeScenarios {
    fn list(&self) -> BoxFuture<'static, Result<Vec<ScenarioView>, Problem>> {
        let view = |name: &str, state: &'static str| ScenarioView {
            name: name.to_owned(),
            icon: "delay".to_owned(),
            title_ko: "지연".to_owned(),
            title_en: "Delay".to_owned(),
            text_ko: "느림".to_owned(),
            text_en: "slow".to_owned(),
            watch_ko: Vec::new(),
            watch_en: Vec::new(),
            kind: "mesh",
            active: Some(state == "active"),
            state,
            differs: Vec::new(),
            files: Vec::new(),
            commands: Vec::new(),
        };
        std::future::ready(Ok(vec![view("reset", "active"), view("delay", "inactive")])).boxed()
    }

    fn apply(&self, name: String) -> BoxFuture<'static, Result<ScenarioDone, Problem>> {
        let answer = if name == "delay" {
            Ok(ScenarioDone {
                changed: vec!["ctx1 VirtualService/theater-msa/movie-service-vs configured".to_owned()],
                ..ScenarioDone::default()
            })
        } else {
            Err(Problem::new(StatusCode::NOT_FOUND, "NoSuchScenario", "없는 시나리오입니다", "There is no such scenario"))
        };
        std::future::ready(answer).boxed()
    }

    fn reset(&self) -> BoxFuture<'static, Result<ScenarioDone, Problem>> {
        std::future::ready(Ok(ScenarioDone { was: vec!["delay".to_owned()], ..ScenarioDone::default() })).boxed()
    }
}

/// A link that is at once as it is told.
pub(crate) struct FakeLink(pub(crate) Live);

impl LinkSwitch for FakeLink {
    fn change(&self, change: LinkChange) -> BoxFuture<'static, Result<LinkView, Problem>> {
        let view = LinkView {
            state: change.state.unwrap_or(LinkState::Up),
            latency_ms: change.latency_ms.unwrap_or(0.0),
            jitter_ms: change.jitter_ms.unwrap_or(0.0),
            error: None,
            restore_at: None,
        };
        self.0.set_link(Some(view.clone()));
        std::future::ready(Ok(view)).boxed()
    }
}

/// Rules in memory: one resource; what is wished is done, and undone once.
#[derive(Clone, Default)]
pub(crate) struct FakeConfiguration {
    /// What it was asked, in order.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl FakeConfiguration {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Configuration for FakeConfiguration {
    fn resources(&self) -> BoxFuture<'static, Result<ResourcesView, Problem>> {
        let resource = ResourceView { cluster: "ctx1".into(), kind: "VirtualService".into(), name: "a".into(), ..ResourceView::default() };
        std::future::ready(Ok(ResourcesView { resources: vec![resource], ..ResourcesView::default() })).boxed()
    }

    fn check(&self, set: ChangeSet) -> BoxFuture<'static, Result<CheckView, Problem>> {
        self.note(format!("check {}", set.changes.len()));
        let result = CheckedView { cluster: "ctx1".into(), outcome: Outcome::Configured, ..CheckedView::default() };
        std::future::ready(Ok(CheckView { results: vec![result], applicable: true, commands: Vec::new() })).boxed()
    }

    fn apply(&self, set: ChangeSet) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        self.note(format!("apply {} {}", set.note.unwrap_or_default(), set.changes[0].resource_version.clone().unwrap_or_default()));
        let result = AppliedResult { outcome: Outcome::Conflict, live_yaml: Some("kind: X\n".into()), ..AppliedResult::default() };
        std::future::ready(Ok(AppliedView { change: String::new(), results: vec![result] })).boxed()
    }

    fn history(&self, reference: Option<String>, limit: usize) -> BoxFuture<'static, Result<HistoryView, Problem>> {
        self.note(format!("history {} {limit}", reference.unwrap_or_default()));
        let change = HistoryChange { id: "c1".into(), origin: "kubectl".into(), ..HistoryChange::default() };
        std::future::ready(Ok(HistoryView { changes: vec![change], undo: Some("c1".into()), ..HistoryView::default() })).boxed()
    }

    fn rollback(&self, id: String, force: bool) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        self.note(format!("rollback {id} {force}"));
        std::future::ready(Ok(AppliedView { change: "c2".into(), results: Vec::new() })).boxed()
    }

    fn undo(&self) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        self.note("undo".into());
        let nothing = Problem::new(StatusCode::CONFLICT, "NothingToUndo", "되돌릴 변경이 없습니다", "There is no change to take back");
        std::future::ready(Err(nothing)).boxed()
    }
}

/// Tells what it was asked; refuses paths that begin with `/bad`.
pub(crate) struct FakeExplain;

impl Explain for FakeExplain {
    fn explain(&self, request: ExplainRequest) -> BoxFuture<'static, Result<Value, Problem>> {
        let answer = if request.path.starts_with("/bad") {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidOverride", "안 됩니다", "No").with("line", json!(3)))
        } else {
            Ok(json!({ "computed": true, "asked": [request.method, request.path], "overrides": request.overrides.len() }))
        };
        std::future::ready(answer).boxed()
    }
}

/// Notes what it is asked to do; refuses what is done to `forbidden`.
#[derive(Clone, Default)]
pub(crate) struct FakeWorkloads(pub(crate) Arc<Mutex<Vec<(ObjectRef, Action)>>>);

impl Workloads for FakeWorkloads {
    fn usage(&self) -> BoxFuture<'static, UsageView> {
        std::future::ready(UsageView::default()).boxed()
    }

    fn abilities(&self, namespaces: Vec<String>) -> BoxFuture<'static, Vec<Ability>> {
        let of = |namespace: String| Ability {
            cluster: "ctx1".to_owned(),
            delete: Some(namespace == "theater-msa"),
            kill: None,
            change: Some(true),
            logs: Some(true),
            namespace,
        };
        std::future::ready(namespaces.into_iter().map(of).collect()).boxed()
    }

    fn act(&self, target: ObjectRef, action: Action) -> BoxFuture<'static, Result<Done, Problem>> {
        if target.name.starts_with("forbidden") {
            let problem = Problem::new(StatusCode::FORBIDDEN, "NotAllowed", "권한이 없습니다", "Not allowed");
            return std::future::ready(Err(problem)).boxed();
        }
        let restore_at = match &action {
            Action::Scale { restore_after_s, .. } => restore_after_s.map(|seconds| BEGIN + u64::from(seconds) * 1_000_000),
            _ => None,
        };
        self.0.lock().unwrap().push((target, action));
        std::future::ready(Ok(Done { restore_at })).boxed()
    }

    fn logs(&self, pod: ObjectRef, query: LogQuery) -> BoxFuture<'static, Result<LogStream, Problem>> {
        let lines = [format!("{} {:?}\n", pod.name, query.container), "second\n".to_owned()].map(|line| Ok(line.into()));
        let stream: LogStream = futures_util::stream::iter(lines).boxed();
        std::future::ready(Ok(stream)).boxed()
    }
}
