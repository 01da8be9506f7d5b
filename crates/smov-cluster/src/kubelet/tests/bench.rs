//! A cluster on a temporary folder whose images are shell commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, AdmissionRequest};
use crate::api::{LogOptions, LogSource as _};
use crate::controllers::fields::{items, name};
use crate::error::ApiError;
use crate::kinds::{EVENT, Kind, NAMESPACE, POD};
use crate::kubelet::limits::Limits;
use crate::kubelet::network::PodAddresses;
use crate::kubelet::{
    Access, ContainerRequest, Credentials, Drain, ImageCatalog, ImageError, Kubelet, KubeletConfig, NodeConfig, PodLogs, ProcessSpec,
};
use crate::network::PodNetwork;
use crate::registry::{Object, Registry, Selector, WriteOptions};

/// The longest that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct Anything;

impl Admission for Anything {
    fn mutate(&self, _request: &AdmissionRequest<'_>, _object: &mut Value) -> Result<(), ApiError> {
        Ok(())
    }
    fn validate(&self, _request: &AdmissionRequest<'_>, _object: &Value) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }
    fn schema(&self, _kind: &Kind) -> Option<Value> {
        None
    }
}

/// Image `sh` gives the container's command to a shell, `own` runs it as it stands; all others are unknown.
struct Shell;

impl ImageCatalog for Shell {
    fn resolve(&self, request: &ContainerRequest<'_>) -> Result<ProcessSpec, ImageError> {
        if !["sh", "own"].contains(&request.image) {
            return Err(ImageError::NotFound("no such image".to_owned()));
        }
        self.resolve_exec(request, request.command)
    }
    fn is_own_program(&self, container: &Value) -> bool {
        container["image"] == "own"
    }
    fn resolve_exec(&self, request: &ContainerRequest<'_>, command: &[String]) -> Result<ProcessSpec, ImageError> {
        if request.image == "own" {
            let (program, args) = command.split_first().ok_or_else(|| ImageError::NotFound("no command".to_owned()))?;
            return Ok(ProcessSpec { program: program.into(), args: args.to_vec(), ..ProcessSpec::default() });
        }
        let args = ["-c".to_owned()].into_iter().chain(command.iter().cloned()).collect();
        Ok(ProcessSpec { program: "/bin/sh".into(), args, ..ProcessSpec::default() })
    }
}

/// Remembers who was drained.
#[derive(Default)]
pub(super) struct Drained(pub(super) Mutex<Vec<String>>);

impl Drain for Drained {
    fn endpoint_gone(&self, pod: &Value) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(name(pod).to_owned());
        async {}.boxed()
    }
}

struct Tokens;

impl Credentials for Tokens {
    fn token(&self, namespace: &str, account: &str, pod: &str) -> Result<String, ApiError> {
        Ok(format!("token-of-{namespace}-{account}-{pod}"))
    }
    fn kubeconfig(&self, _namespace: &str, _account: &str, token: &str) -> Value {
        json!({"kind": "Config", "users": [{"user": {"token": token}}]})
    }
}

/// A running cluster; everything ends with [`Bench::stop`].
pub(super) struct Bench {
    pub(super) registry: Registry,
    pub(super) folder: Arc<TempDir>,
    pub(super) drained: Arc<Drained>,
    pub(super) logs: Arc<PodLogs>,
    pub(super) access: Arc<Access>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

/// Restarts without waiting, so that tests need not.
pub(super) fn quick() -> Limits {
    Limits { restart_base: Duration::from_millis(1), restart_cap: Duration::from_millis(4), ..Limits::default() }
}

impl Bench {
    pub(super) fn start() -> Self {
        Self::with(quick())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let registry = Registry::open(&folder.path().join("objects.db"), "ctx1", Arc::new(Anything)).unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        registry.create(namespace, &WriteOptions::default()).unwrap();
        Self::again(folder, registry, limits)
    }

    /// Starts a kubelet on a state that exists.
    pub(super) fn again(folder: Arc<TempDir>, registry: Registry, limits: Limits) -> Self {
        let drained = Arc::new(Drained::default());
        let config = KubeletConfig {
            cluster: "ctx1".to_owned(),
            nodes: vec![NodeConfig {
                name: "node-1".to_owned(),
                labels: BTreeMap::from([("cluster-name".to_owned(), "ctx1".to_owned())]),
                address: "127.77.0.1".parse().unwrap(),
            }],
            state_dir: folder.path().to_owned(),
            runtime_dir: folder.path().join("run"),
            addresses: PodAddresses::Own(PodNetwork { block: 77, thirds: vec![1] }),
            shim: Vec::new(),
            tty_shim: Vec::new(),
            images: Arc::new(Shell),
            drain: Arc::clone(&drained) as Arc<dyn Drain>,
            credentials: Arc::new(Tokens),
            extra_env: Arc::new(|_pod, _container| vec![("SMOV_SEED".to_owned(), "7".to_owned())]),
            limits,
        };
        let kubelet = Kubelet::new(config, registry.clone()).unwrap();
        let (logs, access) = (kubelet.logs(), kubelet.access());
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(crate::controllers::run(registry.clone(), shutdown.clone()));
        tasks.spawn(crate::scheduler::run(registry.clone(), shutdown.clone()));
        tasks.spawn(kubelet.run(shutdown.clone()));
        Self { registry, folder, drained, logs, access, shutdown, tasks }
    }

    pub(super) async fn stop(mut self) -> (Arc<TempDir>, Registry) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        (self.folder, self.registry)
    }

    /// What a container has written so far.
    pub(super) async fn log(&self, pod: &str, container: &str) -> String {
        let chunks: Vec<_> = self.logs.open("shop", pod, container, LogOptions::default()).unwrap().collect().await;
        String::from_utf8(chunks.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat()).unwrap()
    }

    pub(super) fn create(&self, object: Value) -> Object {
        self.registry.create(object, &WriteOptions::default()).unwrap().object
    }

    pub(super) fn pod(&self, name: &str) -> Option<Object> {
        self.registry.find(&POD, "shop", name)
    }

    pub(super) fn pods(&self) -> Vec<Object> {
        self.all(&POD)
    }

    pub(super) fn all(&self, kind: &'static Kind) -> Vec<Object> {
        self.registry.list(kind, Some("shop"), &Selector::default()).0
    }

    /// Waits, woken by each change of the kind, until `found` finds something.
    pub(super) async fn until<T>(&self, what: &str, kind: &'static Kind, found: impl Fn(&Self) -> Option<T>) -> T {
        let mut watch = self.registry.watch(kind, None, Selector::default(), None).unwrap();
        let search = async {
            loop {
                if let Some(found) = found(self) {
                    return found;
                }
                watch.next().await.expect("the watch of a test does not fall behind");
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain until {what}; pods: {:#?}; events: {:?}", self.pods(), self.events()),
        }
    }

    /// Waits until the pod satisfies the condition, and gives it.
    pub(super) async fn pod_until(&self, pod: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Object {
        self.until(what, &POD, |bench| bench.pod(pod).filter(|pod| holds(pod))).await
    }

    pub(super) async fn gone(&self, kind: &'static Kind, name: &str) {
        self.until("it is gone", kind, |bench| bench.registry.find(kind, "shop", name).is_none().then_some(())).await;
    }

    pub(super) async fn namespace_gone(&self) {
        self.until("the namespace is gone", &NAMESPACE, |bench| bench.registry.find(&NAMESPACE, "", "shop").is_none().then_some(())).await;
    }

    /// Reasons of all events so far.
    pub(super) fn events(&self) -> Vec<String> {
        self.all(&EVENT)
            .iter()
            .map(|event| format!("{} {}", event["reason"].as_str().unwrap(), event["message"].as_str().unwrap()))
            .collect()
    }

    pub(super) async fn event(&self, start: &str) {
        self.until(start, &EVENT, |bench| bench.events().iter().any(|event| event.starts_with(start)).then_some(())).await;
    }

    /// Process ids noted in the state folder.
    pub(super) fn processes(folder: &Path) -> Vec<u32> {
        std::fs::read_dir(folder.join("ctx1/pids"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect()
    }

    pub(super) fn host_file(&self, name: &str) -> PathBuf {
        self.folder.path().join("host/notes").join(name)
    }
}

/// Status of a container, by name.
pub(super) fn status<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let statuses = items(pod, "/status/containerStatuses").iter().chain(items(pod, "/status/initContainerStatuses"));
    statuses.into_iter().find(|status| status["name"] == container).unwrap_or(&Value::Null)
}

pub(super) fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "sh", "command": [script]})
}

/// With a folder that outlives the pod, at `$SMOV_ROOT/notes`.
pub(super) fn noting(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "sh", "command": [script], "volumeMounts": [{"name": "notes", "mountPath": "/notes"}]})
}

/// As [`noting`], and ready once it has made a file of its name among the notes.
pub(super) fn announcing(name: &str, script: &str) -> Value {
    let mut container = noting(name, script);
    container["readinessProbe"] = json!({"exec": {"command": [format!("test -s $SMOV_ROOT/notes/{name}")]}, "timeoutSeconds": 10});
    container
}

pub(super) fn pod(name: &str, containers: &[Value]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": containers, "terminationGracePeriodSeconds": 5, "volumes": [{"name": "notes", "hostPath": {"path": "/notes"}}]},
    })
}

pub(super) fn deployment(name: &str, replicas: u32, script: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container("app", script)], "terminationGracePeriodSeconds": 5},
            },
        },
    })
}

/// A program that runs until it is asked to end.
pub(super) const STAYS: &str = "trap 'exit 0' TERM; echo up; while :; do read line || exit 0; done";
