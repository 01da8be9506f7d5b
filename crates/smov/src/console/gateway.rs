//! The api-gateway pod: the theatre's routes and the console in one router, and what the gateway app saw as the source of the lamps.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use smov_console::guard::{AllowedHosts, guard};
use smov_console::load::{LoadLimits, LoadRunner};
use smov_console::ports::Ingress;
use smov_console::view::state::Door;
use smov_console::{Console, Live, Relayed, ServiceId};
use smov_theatre::ServiceName;
use smov_theatre::environment::Environment;
use smov_theatre::gateway::{self, IdSource, RandomIds, RelayEvent, RelayObserver, SeededIds};
use smov_theatre::serve;
use tokio_util::sync::CancellationToken;

use super::Place;
use super::configuration::{self, MeshConfiguration};
use super::explain::MeshExplain;
use super::feed::{self, Readers, Watched};
use super::ports::{BaselineReset, IngressClient, MeshRecords, NoIngress};
use super::workloads::MeshWorkloads;
use crate::failure::{Failure, Outcome};
use crate::roles::cannot_start;

/// Runs the pod's app until it is told to stop.
pub(crate) async fn run() -> Outcome {
    let shutdown = crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?;
    let environment = Environment::from_process().map_err(|error| cannot_start(&error))?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let place = place(variable)?;
    let live = place.live(Door::Gateway);
    let watched = watched(variable).await;
    let clusters: Vec<_> = watched.iter().map(Watched::cluster).collect();

    let ingress: Arc<dyn Ingress> = match variable("SMOV_INGRESS") {
        Some(base) => Arc::new(IngressClient::new(base, variable("SMOV_INGRESS_HOST"))),
        None => Arc::new(NoIngress),
    };
    let load_ids: Arc<dyn smov_console::load::IdSource> = match place.seed {
        Some(seed) => Arc::new(smov_console::load::SeededIds::new(seed)),
        None => Arc::new(smov_console::load::RandomIds),
    };
    let runner = LoadRunner::new(live.clone(), ingress, load_ids, LoadLimits::default());
    let hosts = allowed_hosts(variable("SMOV_ALLOWED_HOSTS"), variable("POD_IP"));
    let series = smov_console::series::Series::default();
    let (readers, rules) = Readers::new();
    let configuration = MeshConfiguration::new(clusters.clone(), readers.worlds.clone(), place.baseline.clone(), live.clone());
    let console = Console {
        live: live.clone(),
        traffic: Arc::new(runner.clone()),
        link: Arc::new(super::link::MeshLink { clusters: clusters.clone() }),
        baseline: Arc::new(BaselineReset {
            folder: place.baseline.clone(),
            clusters: clusters.clone(),
            configuration: configuration.clone(),
        }),
        scenarios: Arc::new(super::scenarios::MeshScenarios::new(place.baseline.clone(), clusters.clone())),
        configuration: Arc::new(configuration.clone()),
        workloads: Arc::new(MeshWorkloads { clusters: clusters.clone(), local: place.baseline.is_some() }),
        records: Arc::new(MeshRecords { istiods: place.istiods.clone() }),
        series: series.clone(),
        explain: Arc::new(MeshExplain { istiods: place.istiods.clone() }),
        allowed_hosts: hosts.clone(),
        assets: place.assets(),
    };
    let ids: Arc<dyn IdSource> = match place.seed {
        Some(seed) => Arc::new(SeededIds::new(seed)),
        None => Arc::new(RandomIds),
    };
    let theatre = gateway::router(&environment, ids, Arc::new(Lamps(live.clone())));
    // The kubelet's probe names no host that people use, so it is answered before the guard.
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback_service(guard(theatre, hosts.clone()).merge(smov_console::router(console)));

    let listener = serve::bind(&environment.listen_on(gateway::DEFAULT_PORT)).await.map_err(|error| cannot_start(&error))?;
    let background = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(feed::run(live.clone(), watched, hosts, readers, background.clone()));
    tasks.spawn(configuration::watch::run(configuration, rules, background.clone()));
    tasks.spawn(super::restore::run(live.clone(), clusters, background.clone()));
    tasks.spawn(super::ejections::run(live.clone(), background.clone()));
    if !place.istiods.is_empty() {
        tasks.spawn(super::why::run(live.clone(), place.istiods, background.clone()));
    }
    tasks.spawn(super::scrape::run(live.clone(), series, background.clone()));
    let (hub, token) = (live.clone(), shutdown.clone());
    tasks.spawn(async move { hub.run(token).await });
    let token = background.clone();
    tasks.spawn(async move { runner.run(token).await });
    serve::run(router, listener, shutdown).await;
    background.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Lamps light by what the gateway app relayed, and by nothing else (decision 15).
struct Lamps(Live);

impl RelayObserver for Lamps {
    fn relayed(&self, event: RelayEvent) {
        let service = match event.service {
            ServiceName::User => ServiceId::User,
            ServiceName::Movie => ServiceId::Movie,
            ServiceName::Booking => ServiceId::Booking,
        };
        let started =
            event.started.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        self.0.relayed(Relayed {
            request_id: event.request_id,
            service,
            method: event.method.as_str().to_owned(),
            path: event.path,
            status: event.status,
            cluster: event.cluster,
            pod: event.pod,
            version: event.version,
            canary: event.canary,
            started,
            duration: event.duration,
            client: event.client,
        });
    }
}

fn place(variable: impl Fn(&str) -> Option<String>) -> Result<Place, Failure> {
    let seed = match variable("SMOV_SEED") {
        Some(text) => Some(text.parse().map_err(|_| cannot_start(&format!("SMOV_SEED `{text}` is not a number")))?),
        None => None,
    };
    let sockets = variable("SMOV_DEBUG_SOCKETS").unwrap_or_default();
    let istiods =
        sockets.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect();
    let mounted = mounted("/app/ui").filter(|folder| folder.join("index.html").is_file());
    Ok(Place {
        istiods,
        baseline: variable("SMOV_BASELINE").map(PathBuf::from),
        ui_dir: variable("SMOV_UI_DIR").map(PathBuf::from).or(mounted),
        seed,
        language: variable("SMOV_PAGE_LANGUAGE").unwrap_or_default(),
    })
}

/// A mount of this container, if it is there.
fn mounted(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SMOV_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    Some(root.join(path.trim_start_matches('/'))).filter(|folder| folder.is_dir())
}

/// The API servers that this pod may read: its own, and one per key of the mounted `remote-clusters`.
async fn watched(variable: impl Fn(&str) -> Option<String>) -> Vec<Watched> {
    let own = variable("SMOV_CLUSTER_ID").or_else(|| variable("CLUSTER_NAME")).unwrap_or_else(|| "ctx1".to_owned());
    let mut found = Vec::new();
    match Watched::own(&own, variable("KUBECONFIG").map(PathBuf::from).as_deref()).await {
        Ok(cluster) => found.push(cluster),
        Err(error) => tracing::warn!(error, "the own API server cannot be used; its state is shown as unknown"),
    }
    let folder = mounted("/etc/smov/remote");
    for entry in folder.iter().flat_map(std::fs::read_dir).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string());
        let remote = match text {
            Ok(text) => Watched::remote(&name, &text).await,
            Err(error) => Err(error),
        };
        match remote {
            Ok(cluster) => found.push(cluster),
            Err(error) => tracing::warn!(cluster = name, error, "a remote API server cannot be used; its state is shown as unknown"),
        }
    }
    found
}

/// Names under which people and pods reach the gateway.
fn allowed_hosts(more: Option<String>, pod: Option<String>) -> AllowedHosts {
    let own = ["api-gateway", "api-gateway.theater-msa", "api-gateway.theater-msa.svc", "api-gateway.theater-msa.svc.cluster.local"]
        .map(str::to_owned);
    let more = more.unwrap_or_default();
    AllowedHosts::loopback_and(
        own.into_iter().chain(pod).chain(more.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned)),
    )
}
