//! `smov up`: opens the state, starts two clusters, applies what they start with, says where to look, and ends in order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smov_cluster::cluster::{BindError, Bound, Cluster, ClusterConfig};
use smov_cluster::controllers;
use smov_cluster::kubelet::Kubelet;
use smov_cluster::network::{PodNetwork, ServiceNetwork};
use smov_cluster::scheduler;
use smov_telemetry::export::Collector;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::MeshAdmission;
use super::baseline::{Baseline, CLUSTERS, EMPTY_NOTE, LocalCluster, MANIFESTS_NOTE, STORE_NOTE};
use super::founding;
use super::images::Images;
use super::known;
use super::link;
use super::node;
use super::prometheus;
use super::state::{RunInfo, State, write_private};
use super::store::{self, Store};
use super::summary;
use crate::cli::{DataPlane, Global, Helper, Up};
use crate::commands::doctor::catching_proxy_variables;
use crate::console::{Place, operator};
use crate::failure::{Exit, Failure, Outcome};
use crate::printer;
use crate::text::{self, Language};

/// What the parts of a run share.
pub(crate) struct Plan {
    /// The page and the ingress gateway.
    pub(crate) ingress: SocketAddr,
    pub(crate) store: Store,
    pub(crate) seed: Option<u64>,
    /// What carries requests, where a pod does not say otherwise.
    pub(crate) data_plane: DataPlane,
    /// Commands of manifests run.
    pub(crate) allow_commands: bool,
    pub(crate) ui_dir: Option<PathBuf>,
    /// Clusters and mesh alone: somebody else deploys the theatre.
    pub(crate) empty: bool,
    /// This binary.
    pub(crate) program: PathBuf,
    /// `ko`, `en`, or empty for what the browser asks for.
    pub(crate) language: &'static str,
    /// The program to start beside the mesh.
    pub(crate) prometheus: Option<PathBuf>,
    /// Where spans go on to, by the variable that tells istiod.
    pub(crate) collectors: Vec<(&'static str, Collector)>,
}

impl Plan {
    /// The unix socket of a cluster's istiod, by purpose.
    pub(crate) fn istiod_socket(state: &State, cluster: &str, purpose: &str) -> PathBuf {
        state.runtime().join(format!("istiod-{cluster}-{purpose}.sock"))
    }
}

/// A cluster that is open and listens.
pub(crate) struct Running {
    pub(crate) local: LocalCluster,
    pub(crate) cluster: Cluster,
    bound: Bound,
}

/// Runs the command until it is told to stop.
pub(crate) fn run(global: &Global, up: &Up, language: Language) -> Outcome {
    let started = Instant::now();
    crate::roles::log_to(std::env::var("RUST_LOG").ok());
    take_all_files();
    if !cfg!(target_os = "linux") {
        return Err(Failure::new(Exit::Usage, text::LINUX_ONLY, &[&std::env::consts::OS]).hint(text::LINUX_ONLY_HINT, &[]));
    }
    if !up.listen.is_loopback() {
        return Err(Failure::new(Exit::Usage, text::LISTEN_NOT_LOOPBACK, &[&up.listen]).hint(text::LISTEN_HINT, &[]));
    }
    check_data_plane(up)?;
    let state = State::open(&global.state_dir)?;
    let store = Store::choose(&up.store, state.note(STORE_NOTE).as_deref(), store::find_server())?;
    let manifests = manifests_folder(up)?;
    let empty = begins_empty(up, &state)?;
    let baseline = if empty { Ok(Baseline::empty()) } else { Baseline::build(manifests.as_deref(), &store) };
    let baseline =
        baseline.map_err(|error| Failure::new(Exit::Usage, text::MANIFEST_BROKEN, &[&error]).hint(text::MANIFEST_BROKEN_HINT, &[]))?;
    let ingress = SocketAddr::new(up.listen, up.port);
    let operator = free_ports(up, ingress)?;
    for variables in [catching_proxy_variables().join(", ")].iter().filter(|names| !names.is_empty()) {
        language.lines(text::PROXY_VARIABLES, &[variables]).iter().for_each(|line| printer::warning(line));
    }
    let program = std::env::current_exe().map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))?;
    let plan = Plan {
        ingress,
        store,
        seed: up.seed,
        data_plane: up.data_plane,
        allow_commands: up.allow_commands,
        ui_dir: up.ui_dir.clone(),
        empty,
        program,
        language: language.code(),
        prometheus: find_prometheus(up)?,
        collectors: [("SMOV_OTLP", &up.otlp), ("SMOV_ZIPKIN", &up.zipkin)]
            .into_iter()
            .filter_map(|(variable, collector)| Some((variable, collector.clone()?)))
            .collect(),
    };
    crate::roles::runtime(true).block_on(serve(state, plan, baseline, manifests, operator, language, started))
}

/// Pods, watches and the link take a file each: as many as this user may have, for this process and its children.
fn take_all_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Envoy must be there before anything starts, and rolls dice of its own.
fn check_data_plane(up: &Up) -> Outcome {
    if up.data_plane == DataPlane::Smov {
        return Ok(());
    }
    if up.seed.is_some() {
        return Err(Failure::new(Exit::Usage, text::ENVOY_SEED, &[]).hint(text::ENVOY_SEED_HINT, &[]));
    }
    match smov_envoy::find_binary() {
        Some(_) => Ok(()),
        None => Err(Failure::new(Exit::Usage, text::NO_ENVOY, &[]).hint(text::NO_ENVOY_HINT, &[])),
    }
}

/// What `--with` names must be there before anything starts.
fn find_prometheus(up: &Up) -> Result<Option<PathBuf>, Failure> {
    if !up.with.contains(&Helper::Prometheus) {
        return Ok(None);
    }
    let missing = || Failure::new(Exit::Usage, text::NO_PROMETHEUS, &[]).hint(text::PROMETHEUS_HINT, &[]);
    prometheus::find_binary().map(Some).ok_or_else(missing)
}

fn manifests_folder(up: &Up) -> Result<Option<PathBuf>, Failure> {
    let Some(folder) = &up.manifests else { return Ok(None) };
    let broken = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, text::BAD_FILE, &[&folder.display(), error]);
    folder.canonicalize().map(Some).map_err(|error| broken(&error))
}

/// A folder that began without a theatre stays so, and one that has a theatre cannot begin again.
fn begins_empty(up: &Up, state: &State) -> Result<bool, Failure> {
    let was_empty = state.note(EMPTY_NOTE).is_some_and(|note| !note.is_empty());
    if was_empty && up.manifests.is_some() || up.empty && !was_empty && state.note(MANIFESTS_NOTE).is_some() {
        let message = if was_empty { text::FOLDER_IS_EMPTY } else { text::FOLDER_IS_NOT_EMPTY };
        return Err(Failure::new(Exit::Usage, message, &[&state.folder().display()]).hint(text::OTHER_FOLDER_HINT, &[]));
    }
    Ok(was_empty || up.empty)
}

/// Are the ports for people free? The operator door is kept; the ingress port is its pod's to take.
fn free_ports(up: &Up, ingress: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(ingress).map_err(|_| {
        Failure::new(Exit::Usage, text::PORT_TAKEN, &[&up.port])
            .hint(text::PORT_TAKEN_HINT, &[&up.port.checked_add(1).unwrap_or(8081), &up.port])
    })?;
    let operator = TcpListener::bind((up.listen, up.operator_port)).or_else(|error| {
        // The default is a wish; a port that was asked for is not.
        if up.operator_port == crate::cli::OPERATOR_PORT { TcpListener::bind((up.listen, 0)) } else { Err(error) }
    });
    operator.map_err(|_| Failure::new(Exit::Usage, text::PORT_TAKEN, &[&up.operator_port]).hint(text::OPERATOR_PORT_TAKEN_HINT, &[]))
}

async fn serve(
    state: State,
    plan: Plan,
    baseline: Baseline,
    manifests: Option<PathBuf>,
    operator: TcpListener,
    language: Language,
    started: Instant,
) -> Outcome {
    let shutdown = crate::shutdown::on_signal().map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))?;
    let mut running = Vec::new();
    for local in CLUSTERS {
        running.push(open(&state, local).await?);
    }
    if let Some(before) = state.note(STORE_NOTE).filter(|before| *before != plan.store.name()) {
        language.lines(text::STORE_SWITCHED, &[&before, &plan.store.name()]).iter().for_each(|line| printer::warning(line));
    }
    state.write_note(STORE_NOTE, &plan.store.name())?;
    state.write_note(MANIFESTS_NOTE, &manifests.map(|path| path.display().to_string()).unwrap_or_default())?;
    state.write_note(EMPTY_NOTE, if plan.empty { "yes" } else { "" })?;
    write_kubeconfig(&state, &running)?;
    founding::prepare_store(&state, &plan)?;
    let kubelets = running.iter().map(|running| kubelet(&state, &plan, running)).collect::<Result<Vec<_>, _>>()?;
    founding::found(&state, &plan, &baseline, &running)?;

    let registries: Vec<_> = running.iter().map(|running| (running.local, running.cluster.registry().clone())).collect();
    let prometheus = match (&plan.prometheus, operator.local_addr()) {
        (Some(binary), Ok(operator)) => {
            let start = prometheus::Start { binary, program: &plan.program, operator, pods: registries.clone() };
            Some(prometheus::Prometheus::start(&state, start)?)
        }
        _ => None,
    };
    let operator_url = operator.local_addr().map(|address| format!("http://localhost:{}", address.port())).unwrap_or_default();
    let info = RunInfo {
        pid: std::process::id(),
        page: format!("http://localhost:{}", plan.ingress.port()),
        operator: operator_url,
        debug_sockets: CLUSTERS.iter().map(|local| (local.name.to_owned(), Plan::istiod_socket(&state, local.name, "debug"))).collect(),
        store: plan.store.name(),
        seed: plan.seed,
        data_plane: plan.data_plane.name().to_owned(),
        prometheus: prometheus.as_ref().map(|prometheus| prometheus.address.clone()),
    };
    state.publish(&info)?;

    // Pods stop first, while the API servers still take their status.
    let (pods, servers) = (shutdown.child_token(), CancellationToken::new());
    let keeper = link::Keeper {
        registries: registries.iter().map(|(local, registry)| (local.name, registry.clone())).collect(),
        servers: running.iter().map(|running| running.bound.address()).collect(),
    };
    let link = keeper.start(servers.clone()).map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))?;
    let (mut pod_tasks, mut server_tasks) = (JoinSet::new(), JoinSet::new());
    for (running, kubelet) in running.into_iter().zip(kubelets) {
        let registry = running.cluster.registry().clone();
        server_tasks.spawn(running.bound.run(servers.clone()));
        server_tasks.spawn(controllers::run(registry.clone(), servers.clone()));
        server_tasks.spawn(controllers::token_secrets::run(running.cluster.clone(), servers.clone()));
        server_tasks.spawn(scheduler::run(registry, servers.clone()));
        pod_tasks.spawn(kubelet.run(pods.clone()));
    }
    let door = operator::Door {
        listener: operator,
        place: Place {
            istiods: info.debug_sockets.clone(),
            baseline: Some(state.folder().to_owned()),
            ui_dir: plan.ui_dir.clone(),
            seed: plan.seed,
            language: plan.language.to_owned(),
        },
        kubeconfig: state.kubeconfig(),
        registry: registries[0].1.clone(),
        cluster: registries[0].0.name,
        runtime: state.runtime().to_owned(),
    };
    server_tasks.spawn(operator::run(door, servers.clone()));
    if let Some(prometheus) = prometheus {
        server_tasks.spawn(prometheus.run(servers.clone()));
    }

    printer::note(&language.line(text::STARTING, &[]));
    tokio::select! {
        () = shutdown.cancelled() => {}
        waiting = async {
            let waiting = summary::wait_until_ready(&registries, READY_PATIENCE).await;
            known::wait_until_known(&registries, &info.debug_sockets).await;
            waiting
        } => {
            summary::print(&state, &plan, &info, &registries, &waiting, started.elapsed(), language);
            shutdown.cancelled().await;
        }
    }
    printer::note(&language.line(text::STOPPING, &[]));
    while pod_tasks.join_next().await.is_some() {}
    servers.cancel();
    let _ = tokio::time::timeout(SERVER_PATIENCE, async { while server_tasks.join_next().await.is_some() {} }).await;
    let _ = tokio::task::spawn_blocking(move || link.join()).await;
    for (_, registry) in &registries {
        registry.flush();
    }
    printer::note(&language.line(text::STOPPED, &[&state.folder().display().to_string()]));
    Ok(())
}

/// When the summary is printed even though a pod is not ready.
const READY_PATIENCE: Duration = Duration::from_secs(20);
/// How long API servers may take to end their streams.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// Where API servers listen, as real ones do.
const API_PORT: u16 = 6443;

/// Opens a cluster and makes its API server listen: 127.BLOCK.0.1 and .2, port 6443.
async fn open(state: &State, local: LocalCluster) -> Result<Running, Failure> {
    let number: u8 = if local.name == CLUSTERS[0].name { 1 } else { 2 };
    let block = state.block();
    let address = Ipv4Addr::new(127, block, 0, number);
    // Odd thirds are ctx1's, even ones ctx2's; those through the link start at 100, Services at 200.
    let thirds = |from: u8, to: u8| (from..=to).filter(|third| third % 2 == number % 2).collect::<Vec<u8>>();
    let config = ClusterConfig {
        name: local.name.to_owned(),
        listen: SocketAddr::new(IpAddr::V4(address), API_PORT),
        reached_at: link::addresses().through(IpAddr::V4(address)).into_iter().collect(),
        state_dir: state.folder().join(local.name),
        pod_network: PodNetwork { block, thirds: thirds(1, 99) },
        service_network: ServiceNetwork { block, thirds: thirds(200, 250) },
    };
    let cluster = Cluster::open(config, Arc::new(MeshAdmission))
        .map_err(|error| Failure::new(Exit::Usage, text::STATE_BROKEN, &[&chain(&error)]).hint(text::STATE_VERSION_HINT, &[]))?;
    let bound = cluster.bind().await.map_err(|error: BindError| Failure::new(Exit::Usage, text::PLAIN, &[&chain(&error)]))?;
    Ok(Running { local, cluster, bound })
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn kubelet(state: &State, plan: &Plan, running: &Running) -> Result<Kubelet, Failure> {
    let images = Images {
        smov: plan.program.clone(),
        redis: match &plan.store {
            Store::Redis(server) => Some(server.clone()),
            Store::Sqlite | Store::External(_) => store::find_server(),
        },
        ingress: plan.ingress,
        app_env: founding::app_environment(state, plan, running.local.name),
        data_plane: plan.data_plane,
        envoy: smov_envoy::find_binary(),
        allow_commands: plan.allow_commands,
    };
    let config = node::config(state, plan, running, images);
    let kubelet = Kubelet::new(config, running.cluster.registry().clone())
        .map_err(|error| Failure::new(Exit::Usage, text::STATE_BROKEN, &[&error]))?;
    running.cluster.serve_pods(kubelet.access());
    Ok(kubelet)
}

/// One file with both contexts. Real Kubernetes' tools read JSON where they read YAML.
fn write_kubeconfig(state: &State, running: &[Running]) -> Result<(), Failure> {
    let mut merged = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": CLUSTERS[0].name, "clusters": [], "users": [], "contexts": []});
    for running in running {
        let mut one = running.cluster.admin_kubeconfig();
        for list in ["clusters", "users", "contexts"] {
            let entries = one[list].as_array_mut().map(std::mem::take).unwrap_or_default();
            merged[list].as_array_mut().expect("written two lines above").extend(entries);
        }
    }
    let content = serde_saphyr::to_string(&merged).map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))?;
    write_private(&state.kubeconfig(), &content).map_err(|error| {
        Failure::new(Exit::Usage, text::STATE_UNWRITABLE, &[&state.folder().display(), &error]).hint(text::STATE_UNWRITABLE_HINT, &[])
    })
}
