//! `smov up --with prometheus`: a real Prometheus of this machine, told where every process of the mesh has its metrics, for as long as the
//! mesh runs. Its data, its configuration and its log lie in the state folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use smov_cluster::kinds::POD;
use smov_cluster::registry::{Registry, Selector};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::baseline::LocalCluster;
use super::state::{State, private_folder, write_private};
use super::store::find_program;
use crate::failure::{Exit, Failure};
use crate::text;

/// Prometheus' own port; another where that is taken.
const PORT: u16 = 9090;
/// How long it may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Changes of pods that come close together are written once.
const GATHER: Duration = Duration::from_millis(200);
/// The variable that names the program where PATH does not.
const BINARY_VARIABLE: &str = "SMOV_PROMETHEUS";

/// Where the program is.
pub(crate) fn find_binary() -> Option<PathBuf> {
    let named = std::env::var_os(BINARY_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.filter(|path| path.is_file()).or_else(|| find_program("prometheus"))
}

/// A Prometheus that is about to run.
pub(crate) struct Prometheus {
    /// `http://127.0.0.1:9090`.
    pub(crate) address: String,
    folder: PathBuf,
    child: Child,
    pods: Vec<(LocalCluster, Registry)>,
}

/// What the program is told, and by whom it is started.
pub(crate) struct Start<'a> {
    pub(crate) binary: &'a Path,
    /// This binary, whose shim makes the program die with us.
    pub(crate) program: &'a Path,
    /// Where `smov up` has metrics of its own: `127.0.0.1:8088`.
    pub(crate) operator: SocketAddr,
    pub(crate) pods: Vec<(LocalCluster, Registry)>,
}

impl Prometheus {
    /// Writes its configuration and starts it.
    pub(crate) fn start(state: &State, start: Start<'_>) -> Result<Self, Failure> {
        let folder = state.folder().join("prometheus");
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Usage, text::PROMETHEUS_FAILED, &[&start.binary.display(), &error]).hint(text::PROMETHEUS_HINT, &[])
        };
        private_folder(&folder).map_err(failed)?;
        write_private(&folder.join("prometheus.yml"), &configuration(start.operator)).map_err(failed)?;
        write_private(&folder.join("alerts.yaml"), ALERTS).map_err(failed)?;
        write_targets(&folder, &start.pods).map_err(failed)?;
        let address = free_address().map_err(failed)?;
        let log = std::fs::File::create(folder.join("prometheus.log")).map_err(failed)?;
        let child = Command::new(start.program)
            .args(["shim", "--parent", &std::process::id().to_string(), "--"])
            .arg(start.binary)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=15d"])
            .arg("--storage.tsdb.retention.size=512MB")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { address: format!("http://{address}"), folder, child, pods: start.pods })
    }

    /// Keeps its targets current until `shutdown`, then ends it.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let keep = keep_targets(&self.folder, &self.pods);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = keep => {}
            ended = self.child.wait() => {
                let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!(status, log = %self.folder.join("prometheus.log").display(), "Prometheus has ended by itself");
                return;
            }
        }
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Its own port, else any free one. Between this and its start somebody else may take it; then it ends at once and says so.
fn free_address() -> std::io::Result<SocketAddr> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    free(PORT).or_else(|_| free(0))
}

/// The alert rules that real clusters get, too.
const ALERTS: &str = include_str!("../../../../k8s/observability/prometheus/alerts.yaml");

fn configuration(operator: SocketAddr) -> String {
    format!(
        "# Written by smov up --with prometheus; changes are lost.\n\
         global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\n\
         rule_files: [alerts.yaml]\n\
         scrape_configs:\n\
         \x20 # Every pod of both clusters with prometheus.io/... annotations: sidecars with their apps, gateways, istiods.\n\
         \x20 - job_name: kubernetes-pods\n    file_sd_configs:\n      - files: [targets.json]\n\
         \x20 # API servers, controllers and kubelets: one process.\n\
         \x20 - job_name: smov\n    static_configs:\n      - targets: ['{operator}']\n",
    )
}

async fn keep_targets(folder: &Path, pods: &[(LocalCluster, Registry)]) {
    let mut watches: Vec<_> = Vec::new();
    loop {
        if watches.is_empty() {
            watches = pods.iter().filter_map(|(_, registry)| registry.watch(&POD, None, Selector::default(), None).ok()).collect();
            if let Err(error) = write_targets(folder, pods) {
                tracing::warn!(%error, "Prometheus' targets cannot be written");
            }
        }
        let next = watches.iter_mut().map(|watch| Box::pin(watch.next()));
        let (news, _, _) = futures_util::future::select_all(next).await;
        if news.is_none() {
            // Fell behind: look again.
            watches.clear();
            continue;
        }
        tokio::time::sleep(GATHER).await;
        if let Err(error) = write_targets(folder, pods) {
            tracing::warn!(%error, "Prometheus' targets cannot be written");
        }
    }
}

fn write_targets(folder: &Path, pods: &[(LocalCluster, Registry)]) -> std::io::Result<()> {
    let mut all = Vec::new();
    for (local, registry) in pods {
        all.extend(registry.list(&POD, None, &Selector::default()).0.iter().filter_map(|pod| target(local.name, pod)));
    }
    let content = serde_json::to_string_pretty(&all).unwrap_or_default();
    let path = folder.join("targets.json");
    if std::fs::read_to_string(&path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    write_private(&path, &content)
}

/// A pod with `prometheus.io/scrape`, with the labels that the Kubernetes service discovery of Istio's own Prometheus gives.
fn target(cluster: &str, pod: &Value) -> Option<Value> {
    let annotation = |name: &str| pod["metadata"]["annotations"][format!("prometheus.io/{name}")].as_str();
    let ip = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty())?;
    let runs = pod["status"]["phase"] == "Running" && !pod["metadata"]["deletionTimestamp"].is_string();
    if annotation("scrape") != Some("true") || !runs {
        return None;
    }
    let label = |name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned();
    let text = |name: &str| pod["metadata"][name].as_str().unwrap_or_default().to_owned();
    Some(json!({
        "targets": [format!("{ip}:{}", annotation("port").unwrap_or("80"))],
        "labels": {
            "__metrics_path__": annotation("path").unwrap_or("/metrics"),
            "cluster": cluster,
            "namespace": text("namespace"),
            "pod": text("name"),
            "app": label("app"),
            "version": label("version"),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_pods_that_ask_for_it_are_targets() {
        let pod = json!({
            "metadata": {"name": "user-1", "namespace": "theater-msa", "labels": {"app": "user-service"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"}},
            "status": {"phase": "Running", "podIP": "127.9.1.5"},
        });
        let found = target("ctx1", &pod).unwrap();
        assert_eq!(found["targets"], json!(["127.9.1.5:15020"]));
        assert_eq!((&found["labels"]["__metrics_path__"], &found["labels"]["pod"]), (&json!("/stats/prometheus"), &json!("user-1")));
        let mut quiet = pod.clone();
        quiet["metadata"]["annotations"] = json!({});
        let mut ending = pod.clone();
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let mut pending = pod;
        pending["status"] = json!({"phase": "Pending"});
        assert!([quiet, ending, pending].iter().all(|pod| target("ctx1", pod).is_none()));
    }

    #[test]
    fn the_configuration_is_yaml_with_both_jobs() {
        let text = configuration("127.0.0.1:8088".parse().unwrap());
        let yaml: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(yaml["scrape_configs"][0]["file_sd_configs"][0]["files"][0], "targets.json");
        assert_eq!(yaml["scrape_configs"][1]["static_configs"][0]["targets"][0], "127.0.0.1:8088");
        assert_eq!(yaml["scrape_configs"].as_array().unwrap().len(), 2);
    }
}
