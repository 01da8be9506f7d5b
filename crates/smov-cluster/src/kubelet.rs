//! The kubelet: makes the pods bound to its nodes true, as processes of this machine.
//!
//! ```text
//!  registry ──watch──► Kubelet ──one task per pod──► PodWorker ──► processes, probes, logs
//!      ▲                                                │
//!      └──────────────── status, events ────────────────┘
//! ```
//! What runs is decided outside: an [`ImageCatalog`] turns an image into a program, [`Drain`] says when no traffic comes any more, [`Credentials`] gives tokens.
//! Read [`pod`] first.

mod access;
mod backoff;
mod container;
mod credentials;
mod doors;
mod environment;
mod exec;
mod follow;
mod images;
mod leftovers;
pub mod limits;
mod log_source;
mod logs;
mod measure;
mod mounts;
pub mod network;
mod node;
mod own_ports;
mod pod;
mod probe;
mod proc;
mod process;
mod status;
mod strays;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::environment::Lookup;
use self::follow::Pods;
use self::leftovers::Ledger;
use self::limits::Limits;
use self::logs::LogFolder;
use self::mounts::Folders;
use self::network::{Allocator, PodAddresses};
use self::pod::{News, PodWorker};
use crate::controllers::fields::{text, uid};
use crate::error::ApiError;
use crate::kinds::{CONFIG_MAP, POD, SECRET};
use crate::registry::{Object, Registry, Selector, WriteOptions};

pub use self::access::Access;
pub use self::doors::{OUTBOUND_DOOR, TCP_DOORS};
pub use self::images::{Advice, ContainerRequest, ImageCatalog, ImageError, ProcessSpec, addresses};
pub use self::log_source::PodLogs;

#[cfg(test)]
mod tests;

/// Says when a pod gets no new requests any more.
pub trait Drain: Send + Sync {
    /// Resolves when no proxy sends to the pod; the kubelet waits at most [`limits::DRAIN_CAP`].
    fn endpoint_gone(&self, pod: &Value) -> BoxFuture<'static, ()>;
}

/// Gives pods what they need to speak to the API server.
pub trait Credentials: Send + Sync {
    /// A token of the service account for this pod.
    ///
    /// # Errors
    /// There is no such account.
    fn token(&self, namespace: &str, account: &str, pod: &str) -> Result<String, ApiError>;

    /// A kubeconfig with this token: own cluster, context named after it.
    fn kubeconfig(&self, namespace: &str, account: &str, token: &str) -> Value;
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// As `ctx1-node-1`.
    pub name: String,
    /// As `cluster-name`, `topology.kubernetes.io/region`.
    pub labels: BTreeMap<String, String>,
    /// Its `InternalIP`, the `hostIP` of its pods.
    pub address: IpAddr,
}

/// More variables for a container, by pod and container: `SMOV_XDS_SOCKET`, `SMOV_SEED`…
pub type ExtraEnvironment = Arc<dyn Fn(&Value, &Value) -> Vec<(String, String)> + Send + Sync>;

/// What a kubelet is given.
#[derive(Clone)]
pub struct KubeletConfig {
    /// The cluster's name, as `ctx1`.
    pub cluster: String,
    /// Its nodes.
    pub nodes: Vec<NodeConfig>,
    /// The state folder of all clusters: `<state>/<cluster>/…`, `<state>/host`, `<state>/volumes` are below it.
    pub state_dir: PathBuf,
    /// Folder for sockets (`<runtime_dir>/<cluster>/pods/<12 letters>/app.sock`); must be short, since a socket's path has at most 104 bytes.
    pub runtime_dir: PathBuf,
    /// Where pods get addresses from.
    pub addresses: PodAddresses,
    /// Put before every command: `smov shim --`. Empty starts programs directly.
    pub shim: Vec<OsString>,
    /// The same for a command on a terminal of its own, `smov shim --tty --`. Empty refuses terminals.
    pub tty_shim: Vec<OsString>,
    /// What images are.
    pub images: Arc<dyn ImageCatalog>,
    /// When traffic has ended.
    pub drain: Arc<dyn Drain>,
    /// Tokens.
    pub credentials: Arc<dyn Credentials>,
    /// More variables.
    pub extra_env: ExtraEnvironment,
    /// Times.
    pub limits: Limits,
}

/// Where the sockets of a cluster's pods are; below the given folder, so that what others put there is left alone.
fn runtime_root(runtime_dir: &Path, cluster: &str) -> PathBuf {
    runtime_dir.join(cluster).join("pods")
}

/// A short folder for a pod's sockets: the first letters of its uid tell pods apart.
fn runtime_folder(runtime_dir: &Path, cluster: &str, uid: &str) -> PathBuf {
    let short: String = uid.chars().filter(|character| *character != '-').take(12).collect();
    runtime_root(runtime_dir, cluster).join(short)
}

/// The socket of a pod's first app container, given the runtime folder of its kubelet.
pub fn app_socket(runtime_dir: &Path, cluster: &str, uid: &str) -> PathBuf {
    runtime_folder(runtime_dir, cluster, uid).join(APP_SOCKET)
}

/// File name of the first app container's socket.
const APP_SOCKET: &str = "app.sock";

/// What all pod workers use.
struct Shared {
    config: KubeletConfig,
    registry: Registry,
    allocator: Allocator,
    ledger: Ledger,
    folders: Folders,
    logs: LogFolder,
    /// How to reach the workers, by uid of their pod. Guards map operations only.
    workers: Mutex<HashMap<String, mpsc::Sender<News>>>,
    /// The first process of each running container, by uid and container. Guards map operations only.
    running: Mutex<BTreeMap<(String, String), u32>>,
    /// Events go through one writer, so that a container's start does not wait for the disk.
    events: mpsc::UnboundedSender<PodEvent>,
}

struct PodEvent {
    pod: Object,
    severity: &'static str,
    reason: &'static str,
    message: String,
}

impl Shared {
    fn workers(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<News>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<(String, String), u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, pod: &Object, severity: &'static str, reason: &'static str, message: String) {
        let _recorder_has_ended = self.events.send(PodEvent { pod: Arc::clone(pod), severity, reason, message });
    }

    fn host_of(&self, node: &str) -> String {
        self.config.nodes.iter().find(|known| known.name == node).map(|node| node.address.to_string()).unwrap_or_default()
    }

    fn runtime_folder(&self, uid: &str) -> PathBuf {
        runtime_folder(&self.config.runtime_dir, &self.config.cluster, uid)
    }

    fn runtime_root(&self) -> PathBuf {
        runtime_root(&self.config.runtime_dir, &self.config.cluster)
    }

    /// Removes the folders of pods that went while no kubelet ran.
    fn sweep_folders(&self, pods: &[Object]) {
        let uids: Vec<&str> = pods.iter().map(|pod| uid(pod)).collect();
        let runtime: Vec<PathBuf> = uids.iter().map(|uid| self.runtime_folder(uid)).collect();
        let children =
            |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
        let ended = |path: &PathBuf| !uids.iter().any(|uid| path.to_string_lossy().ends_with(uid));
        let old = children(&self.folders.pods()).into_iter().chain(children(self.logs.root())).filter(ended);
        let old_runtime = children(&self.runtime_root()).into_iter().filter(|path| !runtime.contains(path));
        for folder in old.chain(old_runtime) {
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                warn!(%error, folder = %folder.display(), "cannot remove the folder of a pod that is gone");
            }
        }
    }

    fn is_ours(&self, pod: &Value) -> bool {
        let node = text(pod, "/spec/nodeName");
        self.config.nodes.iter().any(|known| known.name == node)
    }
}

impl Lookup for Shared {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Object> {
        self.registry.find(&CONFIG_MAP, namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Object> {
        self.registry.find(&SECRET, namespace, name)
    }
}

fn writer() -> WriteOptions {
    WriteOptions { user: "system:node:smov".to_owned(), field_manager: "kubelet".to_owned(), ..WriteOptions::default() }
}

/// The kubelet of one cluster, before it runs.
pub struct Kubelet {
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<PodEvent>,
    workers: Vec<PodWorker>,
}

impl Kubelet {
    /// Registers the nodes, ends what an earlier run left behind, and tells the truth about pods in the state: nothing of them runs. Call it before the
    /// API server answers, so that nobody reads a status of the past.
    ///
    /// # Errors
    /// The folders cannot be made or read, or a node cannot be registered.
    pub fn new(mut config: KubeletConfig, registry: Registry) -> io::Result<Self> {
        // Containers start in folders of their own: what they are told must not depend on ours.
        config.state_dir = std::path::absolute(&config.state_dir)?;
        config.runtime_dir = std::path::absolute(&config.runtime_dir)?;
        let folders = Folders { state: config.state_dir.clone(), cluster: config.cluster.clone() };
        let own = config.state_dir.join(&config.cluster);
        for folder in [&own, &config.runtime_dir, &folders.pods()] {
            mounts::private_folder(folder)?;
        }
        let ledger = Ledger::open(own.join("pids"), folders.pods())?;
        ledger.sweep()?;
        let (sender, events) = mpsc::unbounded_channel();
        let logs = LogFolder::new(own.join("logs"));
        let shared = Arc::new(Shared {
            allocator: Allocator::new(config.addresses.clone()),
            ledger,
            folders,
            logs,
            events: sender,
            workers: Mutex::default(),
            running: Mutex::default(),
            registry,
            config,
        });
        for node in &shared.config.nodes {
            node::register(&shared.registry, node, &shared.config.cluster).map_err(|error| io::Error::other(error.message))?;
        }
        let pods = shared.registry.list(&POD, None, &Selector::default()).0;
        shared.sweep_folders(&pods);
        // Addresses of the past are claimed first, so that a new pod does not take one away.
        let workers = pods.into_iter().filter(|pod| shared.is_ours(pod)).map(|pod| PodWorker::new(Arc::clone(&shared), pod)).collect();
        Ok(Self { shared, events, workers })
    }

    /// What the API server asks this kubelet for.
    pub fn access(&self) -> Arc<Access> {
        Arc::new(Access::new(&self.shared, PodLogs::new(self.shared.logs.clone(), self.shared.registry.clone())))
    }

    /// The logs of this cluster's containers, for the API server.
    pub fn logs(&self) -> Arc<PodLogs> {
        Arc::new(PodLogs::new(self.shared.logs.clone(), self.shared.registry.clone()))
    }

    /// Runs pods until shutdown; then stops every process (objects stay) and returns when the last is gone.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { shared, mut events, workers } = self;
        let registry = shared.registry.clone();
        let recorder = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                registry.event(&event.pod, event.severity, event.reason, &event.message, "kubelet");
            }
        });
        let heart = tokio::spawn(node::beat(shared.registry.clone(), shared.config.nodes.clone(), shutdown.clone()));
        Pods::new(shared, workers, shutdown).run().await;
        for task in [recorder, heart] {
            if let Err(error) = task.await {
                warn!(%error, "a task of the kubelet has failed");
            }
        }
    }
}
