//! How a container starts: folders, volumes and credentials once per pod; then environment, image, process and probes per start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{News, PodWorker};
use crate::controllers::fields::{annotation, items, name, namespace, strings, text, uid};
use crate::kinds::{PERSISTENT_VOLUME_CLAIM, POD, SERVICE, SERVICE_ACCOUNT};
use crate::kubelet::container::{Process, State};
use crate::kubelet::doors::{Doors, OUTBOUND, OUTBOUND_DOOR, TCP_DOORS};
use crate::kubelet::environment::{ConfigError, OwnDoors, expand, resolve, service_variables};
use crate::kubelet::limits::MOUNT_RETRY;
use crate::kubelet::logs::{forget_older, pump};
use crate::kubelet::mounts::{Sources, private_folder, write_private};
use crate::kubelet::network::{PORT_MAP, map_ports, mapped_port, parse_ports};
use crate::kubelet::process::{Exit, Launch, kill, start};
use crate::kubelet::{ContainerRequest, ImageError, ProcessSpec};
use crate::registry::{Object, Selector};

/// Ports of a sidecar beside those of its doors: HTTP door, admin, health, metrics.
const SIDECAR_PORTS: [u16; 4] = [OUTBOUND, 15000, 15021, 15090];
/// Variables of `smov up` that pods get, too; everything else stays outside.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "TZ", "RUST_LOG"];

/// What is made once per pod and life of `smov up`.
pub(super) struct Setup {
    volumes: BTreeMap<String, PathBuf>,
    doors: Doors,
    token: Credential,
}

/// The pod's service-account token, and where it lies.
struct Credential {
    token: String,
    file: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl PodWorker {
    /// Makes what all containers share; false while something is missing.
    pub(super) fn set_up(&mut self) -> bool {
        if self.setup.is_some() {
            return true;
        }
        if self.setup_due.is_none_or(|due| due > Instant::now()) {
            return false;
        }
        match self.try_set_up() {
            Ok(setup) => {
                self.setup = Some(setup);
                true
            }
            Err((reason, message)) => {
                self.setup_due = Some(Instant::now() + MOUNT_RETRY);
                self.event("Warning", reason, &message);
                false
            }
        }
    }

    fn try_set_up(&mut self) -> Result<Setup, (&'static str, String)> {
        let sandbox = |error: &dyn std::fmt::Display| ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"));
        if self.address.is_none() {
            self.address = self.shared.allocator.take(uid(&self.object), None);
        }
        if self.address.is_none() {
            return Err(sandbox(&"no free address in the cluster's network"));
        }
        let pod_uid = uid(&self.object).to_owned();
        let folder = self.shared.folders.pod(&pod_uid);
        private_folder(&folder).and_then(|()| private_folder(&self.shared.runtime_folder(&pod_uid))).map_err(|error| sandbox(&error))?;
        let doors = self.annotate().map_err(|error| sandbox(&error))?;
        let token = self.credential(&folder).map_err(|error| sandbox(&error))?;
        let volumes = self.volumes(&token.token).map_err(|error| ("FailedMount", error.to_string()))?;
        Ok(Setup { volumes, doors, token })
    }

    /// Fixes the pod's doors (and ports, where it has no address of its own) in annotations; what is there already stays.
    fn annotate(&mut self) -> Result<Doors, String> {
        let mut fresh = Vec::new();
        let doors = match annotation(&self.object, TCP_DOORS) {
            Some(known) => Doors::parse(known),
            None if self.has_sidecar() => {
                let doors = Doors::of(&self.services());
                fresh.push((TCP_DOORS, doors.to_string()));
                doors
            }
            None => Doors::default(),
        };
        if self.shared.allocator.is_shared() && annotation(&self.object, PORT_MAP).is_none() {
            let mut ports: Vec<u16> = self.containers.iter().flat_map(|container| container.ports()).collect();
            if self.has_sidecar() {
                ports.extend(SIDECAR_PORTS);
                ports.extend(doors.ports());
            }
            ports.sort_unstable();
            ports.dedup();
            fresh.push((PORT_MAP, map_ports(&ports).map_err(|error| error.to_string())?));
        }
        if let Some(door) = self.outbound_door(&fresh)
            && annotation(&self.object, OUTBOUND_DOOR) != Some(door.as_str())
        {
            fresh.push((OUTBOUND_DOOR, door));
        }
        if fresh.is_empty() {
            return Ok(doors);
        }
        let written = self.shared.registry.modify(&POD, namespace(&self.object), name(&self.object), &crate::kubelet::writer(), |pod| {
            for (key, value) in &fresh {
                pod["metadata"]["annotations"][*key] = json!(value);
            }
            Ok(())
        });
        self.object = written.map_err(|error| error.message)?.object;
        Ok(doors)
    }

    /// Where a client sends what should leave as this pod's request; a gateway's proxy has no app and no such door.
    fn outbound_door(&self, fresh: &[(&str, String)]) -> Option<String> {
        if !self.has_sidecar() || self.containers.len() < 2 {
            return None;
        }
        let map =
            fresh.iter().find(|(key, _)| *key == PORT_MAP).map(|(_, map)| map.as_str()).or_else(|| annotation(&self.object, PORT_MAP));
        let port = map.and_then(|map| parse_ports(map).get(&OUTBOUND).copied()).unwrap_or(OUTBOUND);
        Some(format!("{}:{port}", self.address?))
    }

    fn services(&self) -> Vec<Object> {
        self.shared.registry.list(&SERVICE, Some(namespace(&self.object)), &Selector::default()).0
    }

    fn service_account(&self) -> &str {
        match text(&self.object, "/spec/serviceAccountName") {
            "" => "default",
            account => account,
        }
    }

    /// Writes the pod's token, and a kubeconfig unless `automountServiceAccountToken` is off.
    fn credential(&self, folder: &Path) -> std::io::Result<Credential> {
        let credentials = &self.shared.config.credentials;
        let (place, account) = (namespace(&self.object), self.service_account());
        let token = credentials.token(place, account, name(&self.object)).map_err(|error| std::io::Error::other(error.message))?;
        let file = folder.join("token");
        write_private(&file, token.as_bytes())?;
        let of_account = self
            .shared
            .registry
            .find(&SERVICE_ACCOUNT, place, account)
            .and_then(|account| account["automountServiceAccountToken"].as_bool());
        let automount = self.object.pointer("/spec/automountServiceAccountToken").and_then(Value::as_bool).or(of_account).unwrap_or(true);
        let kubeconfig = automount.then(|| folder.join("kubeconfig"));
        if let Some(path) = &kubeconfig {
            write_private(path, credentials.kubeconfig(place, account, &token).to_string().as_bytes())?;
        }
        Ok(Credential { token, file, kubeconfig })
    }

    fn volumes(&self, token: &str) -> Result<BTreeMap<String, PathBuf>, crate::kubelet::mounts::MountError> {
        let registry = &self.shared.registry;
        let claim_exists = |claim: &str| registry.get(&PERSISTENT_VOLUME_CLAIM, namespace(&self.object), claim).is_ok();
        let environment = self.basics();
        let sources = Sources { lookup: &*self.shared, token, environment: &environment, claim_exists: &claim_exists };
        self.shared.folders.prepare(&self.object, &sources)
    }

    /// A ConfigMap, Secret or claim changed: refresh the volumes, try again what waited for it.
    pub(super) fn sources_changed(&mut self) {
        let now = Instant::now();
        match self.setup.as_ref().map(|setup| setup.token.token.clone()) {
            None => self.setup_due = Some(now),
            Some(token) if !items(&self.object, "/spec/volumes").is_empty() => match self.volumes(&token) {
                Ok(volumes) => {
                    if let Some(setup) = &mut self.setup {
                        setup.volumes = volumes;
                    }
                }
                Err(error) => self.event("Warning", "FailedMount", &error.to_string()),
            },
            Some(_) => {}
        }
        for container in &mut self.containers {
            if let State::Waiting { reason: "CreateContainerConfigError", until, .. } = &mut container.state {
                *until = Some(now);
            }
        }
    }

    /// Starts one container that is due.
    pub(super) async fn start(&mut self, index: usize) {
        let launch = match self.launch(index) {
            Ok(launch) => launch,
            Err(Obstacle { reason, message }) => {
                self.event("Warning", "Failed", &format!("Error: {message}"));
                self.containers[index].wait(reason, message, None);
                return;
            }
        };
        let container = &self.containers[index];
        let restarts = if container.ran { container.restarts + 1 } else { container.restarts };
        let pod = (namespace(&self.object), name(&self.object), uid(&self.object));
        let log = self.shared.logs.file(pod, &container.name, restarts);
        let (container_name, image) = (container.name.clone(), text(&container.spec, "/image").to_owned());
        let running = match start(&launch).await {
            Ok(running) => running,
            Err(error) => {
                let wait = self.containers[index].backoff.ended(std::time::Duration::ZERO, &self.shared.config.limits);
                let program = launch.arguments.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
                let message = format!("failed to start container process {program}: {error}");
                self.event("Warning", "Failed", &format!("Error: {message}"));
                self.containers[index].wait("RunContainerError", message, Some(Instant::now() + wait.delay));
                return;
            }
        };
        self.shared.ledger.record(running.process);
        forget_older(&log, restarts);
        match self.shared.logs.begin(log) {
            Ok(log) => drop(self.tasks.spawn(pump(running.output, self.shared.logs.clone(), log, self.shared.config.limits.log_cap))),
            Err(error) => tracing::warn!(%error, "a container runs without a log"),
        }
        let container = &mut self.containers[index];
        container.restarts = restarts;
        container.generation += 1;
        let generation = container.generation;
        let process = Process {
            process: running.process,
            since: Timestamp::now(),
            begun: Instant::now(),
            kill_at: None,
            probes: CancellationToken::new(),
            _stdin: running.stdin,
        };
        container.begin(process, format!("smov://{}", uuid::Uuid::new_v4().simple()));
        let (shared, send, mut child) = (self.shared.clone(), self.send.clone(), running.child);
        self.tasks.spawn(async move {
            let exit = child.wait().await.map_or(Exit { code: 255, signal: None }, Exit::from);
            // A container ends with its first process, as on Kubernetes; nothing of its group stays.
            kill(running.process);
            shared.ledger.forget(running.process);
            let _pod_is_gone = send.send(News::Exited { container: index, generation, exit }).await;
        });
        self.start_probes(index);
        self.event("Normal", "Pulled", &format!("Container image \"{image}\" already present on machine"));
        self.event("Normal", "Created", &format!("Created container: {container_name}"));
        self.event("Normal", "Started", &format!("Started container {container_name}"));
    }

    fn launch(&self, index: usize) -> Result<Launch, Obstacle> {
        let container = &self.containers[index];
        let trouble = |error: std::io::Error| Obstacle { reason: "CreateContainerError", message: error.to_string() };
        self.shared.folders.fresh_root(&self.object, &container.spec).map_err(trouble)?;
        let prepared = self.prepare(index)?;
        let image = text(&container.spec, "/image");
        let spec =
            prepared.with_request(self, index, |request| self.shared.config.images.resolve(request)).map_err(|error| match error {
                ImageError::NotFound(_) if container.spec["imagePullPolicy"] == "Never" => Obstacle {
                    reason: "ErrImageNeverPull",
                    message: format!("Container image \"{image}\" is not present with pull policy of Never"),
                },
                ImageError::NotFound(why) => {
                    Obstacle { reason: "ImagePullBackOff", message: format!("Back-off pulling image \"{image}\": {why}") }
                }
                ImageError::Refused(why) => Obstacle { reason: "CreateContainerError", message: why },
            })?;
        for warning in &spec.warnings {
            self.event("Warning", "ImageAdjusted", warning);
        }
        let socket = self.app_socket(index);
        if !container.is_sidecar() && socket.exists() {
            std::fs::remove_file(&socket).map_err(trouble)?;
        }
        Ok(self.launch_of(prepared, spec))
    }

    pub(super) fn launch_of(&self, prepared: Prepared, spec: ProcessSpec) -> Launch {
        let mut environment = prepared.environment;
        environment.extend(spec.env);
        let mut arguments: Vec<OsString> = self.shared.config.shim.clone();
        arguments.push(spec.program.into_os_string());
        arguments.extend(spec.args.into_iter().map(OsString::from));
        Launch { arguments, environment: environment.into_iter().collect(), directory: spec.working_dir.unwrap_or(prepared.directory) }
    }

    /// Mounts, environment and command line of one container.
    pub(super) fn prepare(&self, index: usize) -> Result<Prepared, Obstacle> {
        let container = &self.containers[index].spec;
        let trouble = |error: std::io::Error| Obstacle { reason: "CreateContainerError", message: error.to_string() };
        let setup = self.setup.as_ref().ok_or(Obstacle { reason: "ContainerCreating", message: "the pod is not set up".to_owned() })?;
        let (root, mounts) = self.shared.folders.link(&self.object, container, &setup.volumes).map_err(trouble)?;
        let given = self.given(index, setup, &root);
        let environment = resolve(&self.object, container, given, &*self.shared)
            .map_err(|ConfigError(message)| Obstacle { reason: "CreateContainerConfigError", message })?;
        let directory = self.shared.folders.pod(uid(&self.object)).join("work").join(text(container, "/name"));
        private_folder(&directory).map_err(trouble)?;
        let words = |field: &str| items(container, field).iter().filter_map(Value::as_str).map(|word| expand(word, &environment)).collect();
        Ok(Prepared { command: words("/command"), arguments: words("/args"), mounts, directory, environment })
    }

    /// What every container of the pod is told.
    fn basics(&self) -> BTreeMap<String, String> {
        let mut variables: BTreeMap<String, String> =
            PASSED_ON.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?))).collect();
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        let node = text(&self.object, "/spec/nodeName");
        for (key, value) in [
            ("HOSTNAME", name(&self.object)),
            ("POD_NAME", name(&self.object)),
            ("POD_NAMESPACE", namespace(&self.object)),
            ("POD_IP", &address),
            ("NODE_NAME", node),
            ("SMOV_HOST_IP", &self.shared.host_of(node)),
            ("SERVICE_ACCOUNT", self.service_account()),
        ] {
            variables.insert(key.to_owned(), value.to_owned());
        }
        if let Some(map) = annotation(&self.object, PORT_MAP) {
            variables.insert("SMOV_PORT_MAP".to_owned(), map.to_owned());
        }
        variables
    }

    /// What the cluster gives to this container, before its own `env`.
    fn given(&self, index: usize, setup: &Setup, root: &Path) -> BTreeMap<String, String> {
        let container = &self.containers[index];
        let mut variables = self.basics();
        let address = variables["POD_IP"].clone();
        let mapped = |port: u16| mapped_port(&self.object, port);
        variables.insert("SMOV_ROOT".to_owned(), root.display().to_string());
        if let Some(kubeconfig) = &setup.token.kubeconfig {
            variables.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        }
        if self.object.pointer("/spec/enableServiceLinks").is_none_or(|links| links != false) {
            let own = OwnDoors { doors: &setup.doors, address: &address, mapped: &mapped };
            let sidecar = (self.has_sidecar() && !container.is_sidecar()).then_some(&own);
            variables.extend(service_variables(&self.services(), sidecar));
        }
        if container.is_sidecar() {
            variables.insert("SMOV_CLUSTER_ID".to_owned(), self.shared.config.cluster.clone());
            variables.insert("SMOV_TCP_DOORS".to_owned(), setup.doors.to_string());
            variables.insert("SMOV_TOKEN_FILE".to_owned(), setup.token.file.display().to_string());
            variables.insert("SMOV_WORKLOAD_LABELS".to_owned(), json!(strings(&self.object, "/metadata/labels")).to_string());
            let inbound = self.inbound();
            if !inbound.is_empty() {
                variables.insert("SMOV_INBOUND".to_owned(), inbound);
            }
        } else if self.has_sidecar() {
            let door = format!("http://{address}:{}", mapped(SIDECAR_PORTS[0]));
            variables.insert("http_proxy".to_owned(), door.clone());
            variables.insert("SMOV_OUTBOUND".to_owned(), door);
            variables.insert("SMOV_APP_SOCKET".to_owned(), self.app_socket(index).display().to_string());
        }
        variables.extend((self.shared.config.extra_env)(&self.object, &container.spec));
        variables
    }

    /// `8081=unix:/…/app.sock,…`: which advertised port belongs to which app.
    fn inbound(&self) -> String {
        let apps = self.containers.iter().enumerate().filter(|(_, container)| !container.init && !container.is_sidecar());
        let pairs = apps.flat_map(|(index, container)| {
            let socket = self.app_socket(index);
            container.ports().map(move |port| format!("{}=unix:{}", mapped_port(&self.object, port), socket.display())).collect::<Vec<_>>()
        });
        pairs.collect::<Vec<_>>().join(",")
    }

    /// The socket on which this app container listens: `app.sock` for the first, `app-<name>.sock` for others.
    pub(super) fn app_socket(&self, index: usize) -> PathBuf {
        let first = self.containers.iter().position(|container| !container.init && !container.is_sidecar());
        let file =
            if first == Some(index) { super::super::APP_SOCKET.to_owned() } else { format!("app-{}.sock", self.containers[index].name) };
        self.shared.runtime_folder(uid(&self.object)).join(file)
    }
}

/// Why a container cannot start: the reason of its waiting state, and the sentence.
pub(super) struct Obstacle {
    reason: &'static str,
    pub(super) message: String,
}

/// A container ready to be asked for at the image catalogue.
pub(super) struct Prepared {
    command: Vec<String>,
    arguments: Vec<String>,
    mounts: Vec<(String, PathBuf)>,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Prepared {
    pub(super) fn with_request<T>(&self, worker: &PodWorker, index: usize, ask: impl FnOnce(&ContainerRequest<'_>) -> T) -> T {
        let container = &worker.containers[index].spec;
        ask(&ContainerRequest {
            pod: &worker.object,
            container,
            image: text(container, "/image"),
            command: &self.command,
            args: &self.arguments,
            env: &self.environment,
            mounts: &self.mounts,
            runtime_dir: &worker.shared.runtime_folder(uid(&worker.object)),
            app_socket: &worker.app_socket(index),
        })
    }
}
