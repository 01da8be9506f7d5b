//! Playing cases: set the stage, start pods and proxies, send, compare, clear away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smov_istio::diagnostic::{Diagnostic, Severity};
use smov_model::authorization::AuthorizationTaken;
use smov_model::record::{Direction, Record};
use smov_model::wire::ProxyRole;
use smov_proxy::ProxyConfig;
use smov_proxy::config::{AppAddress, InboundListen, IngressListen, PodIdentity, ProxyPorts, TcpDoor};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, block_in_place};

mod cast;
mod send;

use cast::Cast;

use crate::case::{Case, Difference, Expect, RequestCase};
use crate::certify::Issuers;
use crate::ground::Ground;
use crate::judge::{self, Played};
use crate::load::Loaded;
use crate::plane::{self, PlaneName, Running};
use crate::report::{CaseReport, Failure, Outcome, Report, What};
use crate::stage::{OUTSIDE, Part, Stage, StagePod};

/// What comes a moment after the answer (a record, a mirrored request) is waited for no longer than this.
const SETTLE: Duration = Duration::from_millis(1500);

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// On which planes.
    pub planes: Vec<PlaneName>,
    /// Only cases whose name or file holds this text.
    pub filter: Option<String>,
    /// Cases at a time.
    pub parallel: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { planes: vec![PlaneName::Smov], filter: None, parallel: 6 }
    }
}

/// Plays the cases on the planes; needs a runtime with several threads. Fails only where nothing can be played at all.
pub async fn run(cases: Vec<Loaded>, options: &Options) -> std::io::Result<Report> {
    let started = Instant::now();
    let ground = Arc::new(Ground::claim()?);
    let places = Arc::new(Semaphore::new(options.parallel.max(1)));
    let mut running = JoinSet::new();
    let wanted = |loaded: &Loaded| {
        options.filter.as_ref().is_none_or(|part| loaded.case.name.contains(part) || loaded.file.display().to_string().contains(part))
    };
    let cases: Vec<Arc<Loaded>> = cases.into_iter().filter(wanted).map(Arc::new).collect();
    for plane in &options.planes {
        for (index, loaded) in cases.iter().enumerate() {
            let (loaded, ground, places, plane) = (loaded.clone(), ground.clone(), places.clone(), *plane);
            running.spawn(async move {
                let _place = places.acquire_owned().await;
                ((plane, index), case(&loaded, plane, &ground).await)
            });
        }
    }
    let mut reports = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        let (key, report) = ended.map_err(std::io::Error::other)?;
        reports.insert(key, report);
    }
    Ok(Report { cases: reports.into_values().collect(), took: started.elapsed() })
}

/// One case on one plane.
async fn case(loaded: &Loaded, plane: PlaneName, ground: &Ground) -> CaseReport {
    let started = Instant::now();
    let case = &loaded.case;
    let outcome = match case.planes.get(&plane) {
        Some(note) => Outcome::Skipped(note.skip.clone()),
        None => match perform(loaded, plane, ground).await {
            failures if failures.is_empty() => Outcome::Passed,
            failures => Outcome::Failed(failures),
        },
    };
    let differences =
        case.requests.iter().filter_map(|request| request.differs.get(&plane)).map(|difference| difference.reason.clone()).collect();
    CaseReport {
        file: loaded.file.clone(),
        line: loaded.line,
        name: case.name.clone(),
        plane,
        outcome,
        differences,
        took: started.elapsed(),
    }
}

fn setup(seen: impl Into<String>) -> Failure {
    Failure { request: None, what: What::Setup, of: String::new(), expected: String::new(), seen: seen.into(), reason: String::new() }
}

async fn perform(loaded: &Loaded, plane: PlaneName, ground: &Ground) -> Vec<Failure> {
    let case = &loaded.case;
    let (mut stage, mut failures) = match block_in_place(|| set(loaded, ground)) {
        Ok(set) => set,
        Err(error) => return vec![setup(error)],
    };
    if case.requests.is_empty() {
        return failures;
    }
    let mut actors = match Actors::start(case, plane, &mut stage).await {
        Ok(actors) => actors,
        Err(error) => return vec![setup(error)],
    };
    for (index, request) in case.requests.iter().enumerate() {
        failures.extend(actors.request(case, plane, &mut stage, index, request).await);
    }
    actors.stop().await;
    failures
}

/// The stage with the case's resources, and what is not as expected about these.
fn set(loaded: &Loaded, ground: &Ground) -> Result<(Stage, Vec<Failure>), String> {
    let case = &loaded.case;
    let mut stage = Stage::build(case, ground)?;
    let objects = stage.resources(case, &loaded.folder)?;
    let findings = stage.apply(&objects);
    let failures = check_findings(case, &findings, &stage);
    Ok((stage, failures))
}

/// What was refused, warned of and analyzed, against what the case expects.
fn check_findings(case: &Case, findings: &[Diagnostic], stage: &Stage) -> Vec<Failure> {
    let of = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).collect::<Vec<_>>();
    let mut failures = judge::rejected(case.rejected.as_deref().unwrap_or_default(), &of(Severity::Error));
    failures.extend(judge::found(What::Warned, &case.warned, &of(Severity::Warning)));
    if !case.analyzed.is_empty() {
        let analyzed = stage.analyze();
        failures.extend(judge::found(What::Analyzed, &case.analyzed, &analyzed.iter().collect::<Vec<_>>()));
    }
    failures
}

/// Pods and proxies of a running case.
#[derive(Debug)]
struct Actors {
    cast: Cast,
    proxies: BTreeMap<String, Running>,
    /// Requests whose answers nobody waits for.
    background: JoinSet<()>,
}

impl Actors {
    async fn start(case: &Case, plane: PlaneName, stage: &mut Stage) -> Result<Self, String> {
        let cast = Cast::start(&stage.pods).await?;
        let calls = |pod: &StagePod| case.requests.iter().any(|request| request.from == pod.name);
        let names: Vec<String> = stage.pods.iter().filter(|pod| pod.sidecar || calls(pod)).map(|pod| pod.name.clone()).collect();
        let mut snapshots = block_in_place(|| stage.snapshots(&names))?;
        let issuers = block_in_place(|| Issuers::new(stage.trust_domain()))?;
        let mut actors = Self { cast, proxies: BTreeMap::new(), background: JoinSet::new() };
        for name in names {
            let (Some(pod), Some(snapshot)) = (stage.pod(&name), snapshots.remove(&name)) else { continue };
            let config = config(case, pod, stage, &actors.cast)?;
            match Running::start(plane, config, snapshot, |certificates| issuers.give(pod, certificates)).await {
                Ok(proxy) => actors.proxies.insert(name, proxy),
                Err(error) => {
                    actors.stop().await;
                    return Err(format!("proxy of {name}: {error}"));
                }
            };
        }
        Ok(actors)
    }

    async fn stop(mut self) {
        self.background.shutdown().await;
        for (_, proxy) in self.proxies {
            proxy.stop().await;
        }
        self.cast.stop().await;
    }

    async fn request(&mut self, case: &Case, plane: PlaneName, stage: &mut Stage, index: usize, request: &RequestCase) -> Vec<Failure> {
        if let Some(pause) = request.after {
            tokio::time::sleep(pause.0).await;
        }
        let number = Some(index + 1);
        if let Err(error) = self.change(stage, request).await {
            return vec![Failure { request: number, ..setup(error) }];
        }
        let expect = match expectation(request, request.differs.get(&plane)) {
            Ok(expect) => expect,
            Err(error) => return vec![Failure { request: number, ..setup(format!("differs.{plane}.expect: {error}")) }],
        };
        let before = self.cast.counts();
        let wires = match send::wires(case, index, request, stage) {
            Ok(wires) => wires,
            Err(error) => return vec![Failure { request: number, ..setup(error) }],
        };
        if request.background {
            self.background.spawn(async move {
                send::all(&wires, true).await;
            });
            return self.arrived(&before, request.times, number).await;
        }
        let replies = send::all(&wires, request.parallel).await;
        let deadline = Instant::now() + SETTLE;
        loop {
            let records = self.records(stage, request, &wires);
            let refused = self.proxies.iter().map(|(name, proxy)| (name.clone(), proxy.refused())).collect();
            let decided = self.decided(&wires);
            let received = self.cast.since(&before);
            let played = Played { replies: &replies, records: &records, received: &received, refused: &refused, decided: &decided, plane };
            let failures = judge::judge(&expect, &played);
            let waits = failures.iter().any(|failure| judge::may_come_later(failure.what));
            if failures.is_empty() || !waits || Instant::now() > deadline {
                return failures.into_iter().map(|failure| Failure { request: number, ..failure }).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until pods have got so many more.
    async fn arrived(&self, before: &BTreeMap<String, u64>, times: u32, number: Option<usize>) -> Vec<Failure> {
        let deadline = Instant::now() + SETTLE;
        let got = || self.cast.counts().iter().map(|(name, count)| count - before.get(name).copied().unwrap_or(0)).sum::<u64>();
        while got() < u64::from(times) {
            if Instant::now() > deadline {
                let (expected, seen) = (times.to_string(), got().to_string());
                return vec![Failure { request: number, what: What::Received, expected, seen, ..setup("") }];
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Vec::new()
    }

    /// Scripts and resources that a request changes before it is sent.
    async fn change(&mut self, stage: &mut Stage, request: &RequestCase) -> Result<(), String> {
        for (name, script) in &request.scripts {
            self.cast.play(name, script)?;
        }
        if request.apply.is_none() && request.delete.0.is_empty() {
            return Ok(());
        }
        if let Some(text) = &request.apply {
            let objects = stage.parse(text)?;
            if let Some(error) = stage.apply(&objects).iter().find(|finding| finding.is_error()) {
                return Err(error.to_string());
            }
        }
        for what in &request.delete.0 {
            if !stage.delete(what) {
                return Err(format!("`delete: {what}`: there is no such resource"));
            }
        }
        let names: Vec<String> = self.proxies.keys().cloned().collect();
        for (name, snapshot) in block_in_place(|| stage.snapshots(&names))? {
            if let Some(proxy) = self.proxies.get_mut(&name) {
                proxy.publish(snapshot).await?;
            }
        }
        Ok(())
    }

    /// What policies said at the other end of the requests, by proxy.
    fn decided(&self, wires: &[send::Outgoing]) -> BTreeMap<String, Vec<AuthorizationTaken>> {
        let of = |proxy: &Running| {
            let records = wires.iter().filter_map(|wire| wire.request_id.as_deref()).flat_map(|id| proxy.records(id));
            records.filter(|record| record.direction != Direction::Outbound).filter_map(|record| record.authorization).collect()
        };
        self.proxies.iter().map(|(name, proxy)| (name.clone(), of(proxy))).collect()
    }

    fn records(&self, stage: &Stage, request: &RequestCase, wires: &[send::Outgoing]) -> Vec<Option<Record>> {
        let gateway = stage.pod(&request.from).is_some_and(|pod| matches!(pod.part, Part::Gateway(_)));
        let direction = if gateway { Direction::Ingress } else { Direction::Outbound };
        let proxy = self.proxies.get(&request.from).filter(|_| request.from != OUTSIDE);
        let mut records = Vec::with_capacity(wires.len());
        for wire in wires {
            let mut found = match (proxy, &wire.request_id) {
                (Some(proxy), Some(id)) => proxy.records(id),
                _ => Vec::new(),
            };
            found.retain(|record| record.direction == direction);
            records.push(found.pop());
        }
        records
    }
}

/// `expect` with the fields of a plane's difference in the place of its own.
fn expectation(request: &RequestCase, difference: Option<&Difference>) -> Result<Expect, String> {
    let Some(difference) = difference else { return Ok(request.expect.clone()) };
    let other: Expect = serde_json::from_value(difference.expect.clone()).map_err(|error| error.to_string())?;
    let names = |field: &str| difference.expect.get(field).is_some();
    let own = request.expect.clone();
    macro_rules! merged {
        ($($field:ident = $name:literal),* $(,)?) => { Expect { $($field: if names($name) { other.$field } else { own.$field }),* } };
    }
    Ok(merged! {
        status = "status", flags = "flags", body = "body", headers = "headers", pod = "pod", rule = "rule", cluster = "cluster",
        attempts = "attempts", took = "took", received = "received", seen = "seen", seen_by = "seenBy", shares = "shares",
        seeded = "seeded", statuses = "statuses", pods = "pods", connections = "connections", security = "security",
        principal = "principal", failure = "failure", refused = "refused", decided = "decided",
    })
}

/// The settings of a pod's proxy, as its kubelet would give them.
fn config(case: &Case, pod: &StagePod, stage: &Stage, cast: &Cast) -> Result<ProxyConfig, String> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| format!("{what} of pod `{}`: {error}", pod.name);
    let identity = PodIdentity {
        name: pod.name.clone(),
        address: pod.address.into(),
        namespace: pod.namespace.parse().map_err(|error| wrong("namespace", &error))?,
        service_account: pod.service.parse().map_err(|error| wrong("service account", &error))?,
        cluster: pod.cluster.parse().map_err(|error| wrong("cluster", &error))?,
    };
    let (role, gateway) = match pod.part {
        Part::Gateway(port) => (ProxyRole::Gateway, Some(port)),
        Part::Server | Part::Client | Part::External => (ProxyRole::Sidecar, None),
    };
    let mut config = ProxyConfig::new(role, identity);
    config.ports = ProxyPorts::default();
    config.seed = Some(case.seed);
    if let Some(port) = gateway {
        let server_port = u32::from(port).try_into().map_err(|error| wrong("port", &error))?;
        config.ingress = Some(IngressListen { address: ingress(pod), server_port });
    }
    if gateway.is_none() {
        for (door, service) in (plane::FIRST_TCP_DOOR..).zip(&stage.tcp) {
            let host = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
            let host = host.parse().map_err(|error| wrong("TCP door", &error))?;
            let port = u32::from(service.port).try_into().map_err(|error| wrong("TCP door", &error))?;
            config.tcp_doors.push(TcpDoor { door, host, port });
        }
    }
    if let (true, Some(socket)) = (pod.sidecar, cast.socket(&pod.name)) {
        config.inbound = pod.ports.iter().map(|port| InboundListen { port: *port, app: AppAddress::Unix(socket.clone()) }).collect();
    }
    Ok(config)
}

/// Where a gateway of the case listens.
fn ingress(pod: &StagePod) -> SocketAddr {
    SocketAddr::new(pod.address.into(), 8080)
}
