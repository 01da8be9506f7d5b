//! Serves the console's page with a scripted feed, for the page's own tests. Nothing here is measured and none of it is in the product.
//!
//! `cargo run -p smov-console --example page_with_fixed_events -- [PORT] [RATE]` serves on 127.0.0.1 (port 0: any; the address is printed)
//! and feeds RATE events a second from a fixed seed (default 0: none). While it runs:
//!
//! | request (`Content-Type: application/json`) | does |
//! |---|---|
//! | `POST /script/feed/{rate}/{seconds}` | feeds `rate` events a second for that long, beside RATE; answers when it ends, with the exact counts |
//! | `POST /script/weights/{service}/{ctx1}/{ctx2}` | configures a split (`user`, `movie`, `booking`) |
//! | `POST /script/unknown/{service}` | makes a split unreadable |
//! | `POST /script/fault/{service}/{kind}/{percent}` | `abort` or `delay` (3 s) so many percent, shown as intervention; 0 = off |
//! | `POST /script/pods/{cluster}/{state}` | `ok`, `unknown`, or `down` (no pod is ready) |
//! | `POST /script/hang-up` | ends every event stream with `bye`; new ones work again at once |

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use smov_console::assets::Assets;
use smov_console::guard::{AllowedHosts, guard};
use smov_console::load::{LoadLimits, LoadRunner, SeededIds};
use smov_console::ports::scenarios::{ScenarioDone, ScenarioView, Scenarios};
use smov_console::ports::workloads::{Ability, Action, Done, LogQuery, LogStream, ObjectRef, UsageView, Workloads};
use smov_console::ports::{Baseline, Changed, Configuration, Ingress, LinkChange, LinkSwitch, Records, TrafficRequest};
use smov_console::problem::Problem;
use smov_console::view::cluster::{
    DeploymentView, EdgeView, IstiodView, LinkState, LinkView, MeshView, NodeView, PodView, PodsView, Sight, StoreKind, StoreView,
};
use smov_console::view::configuration::{AppliedView, ChangeSet, CheckView, HistoryView, ResourcesView};
use smov_console::view::split::{Canary, Configured, Intervention, InterventionKind, Reason, ServiceConfig, Shares};
use smov_console::view::state::Door;
use smov_console::{Console, Live, LiveConfig, Relayed, ServiceId, Why, router, system_clock};
use tokio_util::sync::CancellationToken;

const START: [[u32; 2]; 3] = [[70, 30], [30, 70], [50, 50]];

/// The script's present setting of one service.
#[derive(Clone, Default)]
struct Setting {
    weights: Option<[u32; 2]>,
    abort: u32,
    delay: u32,
    version: u32,
}

struct Stage {
    settings: BTreeMap<ServiceId, Setting>,
    rng: SmallRng,
    number: u64,
    pods: BTreeMap<&'static str, String>,
}

/// The scripted mesh.
#[derive(Clone)]
struct Script {
    live: Live,
    stage: Arc<Mutex<Stage>>,
}

impl Script {
    fn new(live: Live) -> Self {
        let settings = ServiceId::ALL
            .into_iter()
            .zip(START)
            .map(|(service, weights)| (service, Setting { weights: Some(weights), ..Setting::default() }));
        let pods = [("ctx1", "ok".to_owned()), ("ctx2", "ok".to_owned())].into();
        let stage = Stage { settings: settings.collect(), rng: SmallRng::seed_from_u64(42), number: 0, pods };
        let script = Self { live, stage: Arc::new(Mutex::new(stage)) };
        ServiceId::ALL.into_iter().for_each(|service| script.configure(service, |_| ()));
        script.live.set_store(StoreView {
            kind: StoreKind::Redis,
            cluster: Some("ctx2".into()),
            pod: Some("redis-59644f49c7-j5wct".into()),
            ready: Some(true),
        });
        script
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().expect("no script step panics")
    }

    /// One request: draws its fate, tells the hub, and gives what the browser gets.
    fn request(
        &self,
        id: Option<String>,
        service: ServiceId,
        method: &str,
        path: &str,
        canary: bool,
        client: Option<String>,
    ) -> (u16, HeaderMap) {
        let mut stage = self.stage();
        stage.number += 1;
        let id = id.unwrap_or_else(|| format!("fixed-{}", stage.number));
        let setting = stage.settings[&service].clone();
        let (aborted, delayed) = (stage.rng.random_range(0..100) < setting.abort, stage.rng.random_range(0..100) < setting.delay);
        let [first, second] = setting.weights.unwrap_or([50, 50]);
        let side = if canary || stage.rng.random_range(0..first + second) >= first { "ctx2" } else { "ctx1" };
        let latency =
            Duration::from_micros(stage.rng.random_range(3_000..14_000)) + if delayed { Duration::from_secs(3) } else { Duration::ZERO };
        drop(stage);
        let pod = format!("{}-{side}-754bc8dd6f-kghtc", service.host());
        let status = if aborted { 503 } else { 200 };
        let mut headers = HeaderMap::new();
        if !aborted {
            for (name, value) in
                [("x-service-cluster", side), ("x-pod-name", &pod), ("x-service-name", service.host()), ("x-service-version", "v1")]
            {
                headers.insert(name, value.parse().expect("plain text"));
            }
        }
        headers.insert("x-request-id", id.parse().unwrap_or(http::HeaderValue::from_static("odd")));
        let answered = |text: &str| (!aborted).then(|| text.to_owned());
        self.live.relayed(Relayed {
            request_id: id.clone(),
            service,
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            cluster: answered(side),
            pod: answered(&pod),
            version: answered("v1"),
            canary,
            started: self.live.now(),
            duration: latency,
            client,
        });
        let flags = match (aborted, delayed) {
            (true, true) => "DI,FI",
            (true, false) => "FI",
            (false, true) => "DI",
            (false, false) => "-",
        };
        self.live.why(vec![Why {
            request_id: id,
            flags: flags.to_owned(),
            delay: if delayed { Duration::from_secs(3) } else { Duration::ZERO },
            rule: format!("{}-vs spec.http[{}]", service.host(), u8::from(!canary)),
            subset: side.to_owned(),
            attempts: u32::from(!aborted),
        }]);
        (status, headers)
    }

    fn configure(&self, service: ServiceId, change: impl FnOnce(&mut Setting)) {
        let setting = {
            let mut stage = self.stage();
            let setting = stage.settings.get_mut(&service).expect("all services are set");
            change(setting);
            setting.version += 1;
            setting.clone()
        };
        let rule = format!("{}-vs", service.host());
        let shares = setting
            .weights
            .and_then(|weights| Shares::from_weights(weights, &rule, "spec.http[1]", &setting.version.to_string(), self.live.now()));
        let fault = |kind, percent: u32, fixed_ms, status| Intervention {
            kind,
            percent: Some(f64::from(percent)),
            fixed_ms,
            status,
            cluster: None,
            path: "spec.http[1].fault".into(),
        };
        let faults = [
            fault(InterventionKind::Delay, setting.delay, Some(3_000), None),
            fault(InterventionKind::Abort, setting.abort, None, Some(503)),
        ];
        let configured = match shares {
            Some(shares) => Configured::Ok(shares),
            None => Configured::Unknown(Reason::new(
                "Unreadable",
                "ctx1의 API 서버가 응답하지 않습니다",
                "The API server of ctx1 does not answer",
            )),
        };
        self.live.set_configured(
            service,
            ServiceConfig {
                host: service.host().into(),
                configured,
                copies_differ: false,
                other_cluster: None,
                canary: vec![Canary { header: "x-canary".into(), value: "true".into(), to: "ctx2".into() }],
                interventions: faults.into_iter().filter(|fault| fault.percent > Some(0.0)).collect(),
            },
        );
    }

    /// Confirms pods and mesh, as watches would.
    fn confirm(&self) {
        let now = self.live.now();
        let states = self.stage().pods.clone();
        for (cluster, state) in states {
            if state != "unknown" {
                self.live.set_pods(cluster, pods(cluster, state == "ok", now));
            }
        }
        let istiod =
            ["ctx1", "ctx2"].map(|cluster| (cluster.to_owned(), Some(IstiodView { connected: true, proxies: 5, in_sync: 5, as_of: now })));
        let edge = |service: &str, cluster: &str, protocol: &str| EdgeView {
            source: "booking-service-ctx1".into(),
            source_cluster: "ctx1".into(),
            service: service.into(),
            cluster: cluster.into(),
            protocol: protocol.into(),
            rps: 1.2,
            failures: 0.0,
        };
        let edges = vec![edge("movie-service", "ctx2", "http"), edge("user-service", "ctx1", "http"), edge("redis", "ctx2", "tcp")];
        self.live.set_mesh(MeshView { istiod: istiod.into(), edges: Some(edges), gateway: None, as_of: Some(now) });
    }

    /// Feeds events at a rate; gives how many went to each service.
    async fn feed(&self, rate: u64, seconds: u64) -> BTreeMap<ServiceId, u64> {
        let mut counts = BTreeMap::new();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for step in 0..seconds.saturating_mul(100) {
            tick.tick().await;
            for n in step * rate / 100..(step + 1) * rate / 100 {
                let service = ServiceId::ALL[(n % 3) as usize];
                self.request(None, service, "GET", service.path(), false, None);
                *counts.entry(service).or_default() += 1;
            }
        }
        counts
    }
}

fn pods(cluster: &str, ready: bool, now: u64) -> PodsView {
    let mut apps = vec!["user-service", "movie-service", "booking-service"];
    apps.push(if cluster == "ctx1" { "api-gateway" } else { "redis" });
    let deployment = |app: &&str| DeploymentView {
        namespace: "theater-msa".into(),
        name: format!("{app}-{cluster}"),
        app: (*app).into(),
        ready: u32::from(ready),
        wanted: 1,
        restore: None,
    };
    let pod = |app: &&str| PodView {
        namespace: "theater-msa".into(),
        name: format!("{app}-{cluster}-754bc8dd6f-kghtc"),
        app: (*app).into(),
        version: Some("v1".into()),
        node: Some(format!("{cluster}-node-0")),
        phase: "Running".into(),
        ready: if ready { "2/2".into() } else { "0/2".into() },
        status: if ready { "Running".into() } else { "CrashLoopBackOff".into() },
        restarts: u32::from(!ready),
        started: Some(now),
        ip: Some("127.0.1.2".into()),
        containers: vec![(*app).into(), "istio-proxy".into()],
    };
    PodsView {
        state: Sight::Ok,
        as_of: now,
        error: None,
        nodes: vec![NodeView { name: format!("{cluster}-node-0"), ready: true }],
        deployments: apps.iter().map(deployment).collect(),
        pods: apps.iter().map(pod).collect(),
    }
}

impl Ingress for Script {
    fn send(&self, request: TrafficRequest) -> BoxFuture<'static, Result<u16, String>> {
        let (status, _) = self.request(Some(request.id), request.service, "GET", request.path, request.canary, request.client);
        std::future::ready(Ok(status)).boxed()
    }
}

impl Baseline for Script {
    fn reset(&self) -> BoxFuture<'static, Result<Vec<Changed>, Problem>> {
        for (service, weights) in ServiceId::ALL.into_iter().zip(START) {
            self.configure(service, |setting| {
                *setting = Setting { weights: Some(weights), version: setting.version, ..Setting::default() }
            });
        }
        let changed = |service: ServiceId| Changed {
            cluster: "ctx1".into(),
            kind: "VirtualService".into(),
            namespace: "theater-msa".into(),
            name: format!("{}-vs", service.host()),
        };
        std::future::ready(Ok(ServiceId::ALL.map(changed).to_vec())).boxed()
    }
}

/// This stage has no API servers, and says so.
struct NoRules;

fn no_rules<T>() -> BoxFuture<'static, Result<T, Problem>>
where
    T: Send + 'static,
{
    let problem =
        Problem::new(StatusCode::NOT_IMPLEMENTED, "NoApiServer", "이 무대에는 API 서버가 없습니다", "There is no API server on this stage");
    std::future::ready(Err(problem)).boxed()
}

impl Configuration for NoRules {
    fn resources(&self) -> BoxFuture<'static, Result<ResourcesView, Problem>> {
        no_rules()
    }
    fn check(&self, _: ChangeSet) -> BoxFuture<'static, Result<CheckView, Problem>> {
        no_rules()
    }
    fn apply(&self, _: ChangeSet) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        no_rules()
    }
    fn history(&self, _: Option<String>, _: usize) -> BoxFuture<'static, Result<HistoryView, Problem>> {
        no_rules()
    }
    fn rollback(&self, _: String, _: bool) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        no_rules()
    }
    fn undo(&self) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        no_rules()
    }
}

impl LinkSwitch for Script {
    fn change(&self, change: LinkChange) -> BoxFuture<'static, Result<LinkView, Problem>> {
        let view = LinkView {
            state: change.state.unwrap_or(LinkState::Up),
            latency_ms: change.latency_ms.unwrap_or(0.0),
            jitter_ms: change.jitter_ms.unwrap_or(0.0),
            error: None,
            restore_at: None,
        };
        self.live.set_link(Some(view.clone()));
        std::future::ready(Ok(view)).boxed()
    }
}

impl Workloads for Script {
    fn usage(&self) -> BoxFuture<'static, UsageView> {
        std::future::ready(UsageView::default()).boxed()
    }

    fn abilities(&self, _: Vec<String>) -> BoxFuture<'static, Vec<Ability>> {
        std::future::ready(Vec::new()).boxed()
    }

    fn act(&self, _: ObjectRef, _: Action) -> BoxFuture<'static, Result<Done, Problem>> {
        std::future::ready(Err(no_cluster())).boxed()
    }

    fn logs(&self, _: ObjectRef, _: LogQuery) -> BoxFuture<'static, Result<LogStream, Problem>> {
        std::future::ready(Err(no_cluster())).boxed()
    }
}

fn no_cluster() -> Problem {
    Problem::new(http::StatusCode::NOT_IMPLEMENTED, "NotHere", "이 예제에는 클러스터가 없습니다", "There is no cluster behind this example")
}

impl Scenarios for Script {
    fn list(&self) -> BoxFuture<'static, Result<Vec<ScenarioView>, Problem>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn apply(&self, _name: String) -> BoxFuture<'static, Result<ScenarioDone, Problem>> {
        std::future::ready(Ok(ScenarioDone::default())).boxed()
    }

    fn reset(&self) -> BoxFuture<'static, Result<ScenarioDone, Problem>> {
        std::future::ready(Ok(ScenarioDone::default())).boxed()
    }
}

impl Records for Script {
    fn records(&self, _request_id: String) -> BoxFuture<'static, Result<Vec<Value>, Problem>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

type Names = (ServiceId, u32, u32);

async fn weights(State(script): State<Script>, Path((service, ctx1, ctx2)): Path<Names>) -> StatusCode {
    script.configure(service, |setting| setting.weights = Some([ctx1, ctx2]));
    StatusCode::NO_CONTENT
}

async fn unknown(State(script): State<Script>, Path(service): Path<ServiceId>) -> StatusCode {
    script.configure(service, |setting| setting.weights = None);
    StatusCode::NO_CONTENT
}

async fn fault(State(script): State<Script>, Path((service, kind, percent)): Path<(ServiceId, String, u32)>) -> StatusCode {
    script.configure(service, |setting| if kind == "abort" { setting.abort = percent } else { setting.delay = percent });
    StatusCode::NO_CONTENT
}

async fn set_pods(State(script): State<Script>, Path((cluster, state)): Path<(String, String)>) -> StatusCode {
    let Some(cluster) = ["ctx1", "ctx2"].into_iter().find(|known| *known == cluster) else { return StatusCode::NOT_FOUND };
    if state == "unknown" {
        script.live.set_pods(
            cluster,
            PodsView { state: Sight::Unknown, error: Some("connection refused".into()), ..pods(cluster, true, script.live.now()) },
        );
    }
    script.stage().pods.insert(cluster, state);
    script.confirm();
    StatusCode::NO_CONTENT
}

async fn feed(State(script): State<Script>, Path((rate, seconds)): Path<(u64, u64)>) -> Json<Value> {
    let counts = script.feed(rate, seconds).await;
    let counts: BTreeMap<&str, u64> = counts.iter().map(|(service, count)| (service.as_str(), *count)).collect();
    Json(json!({ "fed": counts }))
}

/// A theatre path: three fixed entries, and the headers of the pod that the script drew.
async fn theatre(State(script): State<Script>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(service) = ServiceId::ALL.into_iter().find(|service| path.starts_with(service.path())) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let canary = text("x-canary").as_deref() == Some("true");
    let (status, headers) = script.request(text("x-request-id"), service, request.method().as_str(), &path, canary, text("x-smov-client"));
    let entries = match service {
        ServiceId::User => {
            json!([{ "id": "1", "name": "김철수", "email": "kim@example.com" }, { "id": "2", "name": "<img src=x onerror=alert(1)>", "email": "x@example.com" }])
        }
        ServiceId::Movie => {
            json!([{ "id": "1", "title": "기생충", "director": "봉준호", "year": 2019 }, { "id": "2", "title": "Casablanca", "director": "Michael Curtiz", "year": 1942 }])
        }
        ServiceId::Booking => json!([{ "id": "1", "userId": "1", "movieId": "1", "seats": ["C5", "C6"] }]),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, headers, Json(if status.is_success() { entries } else { json!({ "status": status.as_u16(), "title": "fault filter abort" }) }))
        .into_response()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let port = u16::try_from(arguments.next().transpose()?.unwrap_or(0))?;
    let rate = arguments.next().transpose()?.unwrap_or(0);

    let live = Live::new(LiveConfig { seed: Some(42), sample_seed: 42, ..LiveConfig::new(Door::Gateway, system_clock()) });
    let script = Script::new(live.clone());
    let shutdown = CancellationToken::new();
    let runner = LoadRunner::new(live.clone(), Arc::new(script.clone()), Arc::new(SeededIds::new(42)), LoadLimits::default());
    let hosts = AllowedHosts::loopback_and([]);
    let console = Console {
        live: live.clone(),
        traffic: Arc::new(runner.clone()),
        baseline: Arc::new(script.clone()),
        configuration: Arc::new(NoRules),
        link: Arc::new(script.clone()),
        workloads: Arc::new(script.clone()),
        scenarios: Arc::new(script.clone()),
        records: Arc::new(script.clone()),
        series: smov_console::series::Series::default(),
        allowed_hosts: hosts.clone(),
        assets: Assets::embedded(),
    };
    let hang_up = Arc::new(tokio::sync::Notify::new());
    let stage = Router::new()
        .route("/script/feed/{rate}/{seconds}", post(feed))
        .route("/script/weights/{service}/{ctx1}/{ctx2}", post(weights))
        .route("/script/unknown/{service}", post(unknown))
        .route("/script/fault/{service}/{kind}/{percent}", post(fault))
        .route("/script/pods/{cluster}/{state}", post(set_pods))
        .route("/users/", any(theatre))
        .route("/movies/", any(theatre))
        .route("/bookings/", any(theatre))
        .with_state(script.clone())
        .route(
            "/script/hang-up",
            post({
                let hang_up = hang_up.clone();
                move || async move { hang_up.notify_one() }
            }),
        );
    let app = router(console).merge(guard(stage, hosts));

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let confirming = async {
        let mut tick = tokio::time::interval(Duration::from_secs(2));
        loop {
            tick.tick().await;
            script.confirm();
        }
    };
    let hub = async {
        loop {
            let round = CancellationToken::new();
            tokio::join!(live.run(round.clone()), async {
                hang_up.notified().await;
                round.cancel();
            });
        }
    };
    let feeding = async {
        if rate > 0 {
            script.feed(rate, u64::MAX / 100).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        () = runner.run(shutdown) => {}
        () = hub => {}
        () = feeding => {}
        () = confirming => {}
    }
    Ok(())
}
