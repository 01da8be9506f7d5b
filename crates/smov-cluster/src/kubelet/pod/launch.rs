//! One start of a container: image, command line and working folder, then the process with its log, its hook and its probes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{News, PodWorker};
use crate::controllers::fields::{items, name, namespace, text, uid};
use crate::kubelet::container::Process;
use crate::kubelet::environment::{ConfigError, expand, resolve, without_foreign_code};
use crate::kubelet::limits::LAST_OUTPUT;
use crate::kubelet::logs::{forget_older, pump};
use crate::kubelet::mounts::private_folder;
use crate::kubelet::process::{Exit, Input, Launch, Running, kill, start};
use crate::kubelet::strays;
use crate::kubelet::{Advice, ContainerRequest, ImageError, ProcessSpec};

impl PodWorker {
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
        let running = match self.begin_process(index, &launch).await {
            Ok(running) => running,
            Err(error) => {
                let wait = self.containers[index].backoff.ended(std::time::Duration::ZERO, &self.shared.config.limits);
                let message = format!("failed to start container process: {error}");
                self.event("Warning", "Failed", &format!("Error: {message}"));
                self.containers[index].wait("RunContainerError", message, Some(Instant::now() + wait.delay));
                return;
            }
        };
        self.shared.ledger.record(running.process);
        forget_older(&log, restarts);
        let Running { process, mut child, stdin, output } = running;
        let pumping = match self.shared.logs.begin(log) {
            Ok(log) => Some(tokio::spawn(pump(output, self.shared.logs.clone(), log, self.shared.config.limits.log_cap))),
            Err(error) => {
                tracing::warn!(%error, "a container runs without a log");
                None
            }
        };
        let container = &mut self.containers[index];
        container.restarts = restarts;
        container.generation += 1;
        let (generation, own_program) = (container.generation, container.own_program);
        let run = Process {
            process,
            since: Timestamp::now(),
            begun: Instant::now(),
            kill_at: None,
            probes: CancellationToken::new(),
            ended: CancellationToken::new(),
            stdin: std::sync::Arc::new(tokio::sync::Mutex::new(stdin)),
        };
        let ended = run.ended.clone();
        let place = (uid(&self.object).to_owned(), container.name.clone());
        let root = own_program.then(|| self.shared.folders.root(&self.object, &container.spec));
        self.shared.running().insert(place.clone(), process);
        container.begin(run, format!("smov://{}", uuid::Uuid::new_v4().simple()));
        let (shared, send) = (self.shared.clone(), self.send.clone());
        self.tasks.spawn(async move {
            let exit = child.wait().await.map_or(Exit { code: 255, signal: None }, Exit::from);
            // A container ends with its first process, as on Kubernetes; nothing of its group stays, and nothing that left it.
            kill(process);
            if let Some(root) = root {
                let _nobody_needs_the_count = tokio::task::spawn_blocking(move || strays::end_below(&root)).await;
            }
            ended.cancel();
            shared.running().remove(&place);
            shared.ledger.forget(process);
            let pumping = last_words(pumping, own_program).await;
            let _pod_is_gone = send.send(News::Exited { container: index, generation, exit }).await;
            if let Some(pumping) = pumping {
                let _log_is_complete = pumping.await;
            }
        });
        let image = text(&self.containers[index].spec, "/image").to_owned();
        let container_name = self.containers[index].name.clone();
        self.event("Normal", "Pulled", &format!("Container image \"{image}\" already present on machine"));
        self.event("Normal", "Created", &format!("Created container: {container_name}"));
        self.event("Normal", "Started", &format!("Started container {container_name}"));
        if !self.run_post_start(index) {
            self.start_probes(index);
        }
        if own_program {
            self.watch_listening(index, process);
        }
    }

    async fn begin_process(&self, index: usize, launch: &Launch) -> std::io::Result<Running> {
        if self.containers[index].own_program {
            // The shim would start and fail: Kubernetes says it before anything runs.
            let program = launch.arguments.get(self.shared.config.shim.len()).map(|word| word.to_string_lossy().into_owned());
            super::own_program::check(&program.unwrap_or_default(), launch)?;
        }
        start(launch).await
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
        if !prepared.left_out.is_empty() {
            let advice = Advice::VariablesLeftOut { container: &container.name, names: &prepared.left_out };
            self.event("Warning", "ImageAdjusted", &self.shared.config.images.advice(&advice));
        }
        for warning in &spec.warnings {
            self.event("Warning", "ImageAdjusted", warning);
        }
        for note in &spec.notes {
            self.event("Normal", "OwnProgram", note);
        }
        let socket = self.app_socket(index);
        if !container.is_sidecar() && socket.exists() {
            std::fs::remove_file(&socket).map_err(trouble)?;
        }
        if container.own_program {
            self.make_termination_log(index).map_err(trouble)?;
        }
        let input = if container.own_program && container.spec["stdin"] != true { Input::Nothing } else { Input::Kept };
        Ok(Launch { input, ..self.launch_of(prepared, spec) })
    }

    /// The command line behind the shim; its input is empty.
    pub(super) fn launch_of(&self, prepared: Prepared, spec: ProcessSpec) -> Launch {
        let mut environment = prepared.environment;
        environment.extend(spec.env);
        let mut arguments: Vec<OsString> = self.shared.config.shim.clone();
        arguments.push(spec.program.into_os_string());
        arguments.extend(spec.args.into_iter().map(OsString::from));
        Launch {
            arguments,
            environment: environment.into_iter().collect(),
            directory: spec.working_dir.unwrap_or(prepared.directory),
            input: Input::Nothing,
        }
    }

    /// Mounts, environment and command line of one container.
    pub(super) fn prepare(&self, index: usize) -> Result<Prepared, Obstacle> {
        let own_program = self.containers[index].own_program;
        let container = &self.containers[index].spec;
        let trouble = |error: std::io::Error| Obstacle { reason: "CreateContainerError", message: error.to_string() };
        let setup = self.setup.as_ref().ok_or(Obstacle { reason: "ContainerCreating", message: "the pod is not set up".to_owned() })?;
        let (root, mounts) = self.shared.folders.link(&self.object, container, &setup.volumes).map_err(trouble)?;
        let given = self.given(index, setup, &root);
        let mut environment = resolve(&self.object, container, given, &*self.shared)
            .map_err(|ConfigError(message)| Obstacle { reason: "CreateContainerConfigError", message })?;
        let left_out = if own_program { Vec::new() } else { without_foreign_code(&mut environment) };
        let mut directory = self.work_folder(index);
        private_folder(&directory).map_err(trouble)?;
        if own_program {
            self.settle_port(index, &mut environment);
            directory = super::own_program::working_dir(container, &root, &mounts).map_err(trouble)?.unwrap_or(directory);
        }
        let word = |word: &str| {
            let word = expand(word, &environment);
            if own_program { super::own_program::in_mounts(word, &mounts) } else { word }
        };
        let words = |field: &str| items(container, field).iter().filter_map(Value::as_str).map(word).collect();
        Ok(Prepared { command: words("/command"), arguments: words("/args"), mounts, directory, environment, left_out })
    }

    /// The container's own folder, where it starts; gone with the pod.
    pub(super) fn work_folder(&self, index: usize) -> PathBuf {
        self.shared.folders.pod(uid(&self.object)).join("work").join(&self.containers[index].name)
    }
}

/// Waits a moment for the last output of somebody's own program, which its end is explained by.
async fn last_words(pumping: Option<JoinHandle<()>>, own_program: bool) -> Option<JoinHandle<()>> {
    let mut pumping = pumping?;
    if own_program && timeout(LAST_OUTPUT, &mut pumping).await.is_ok() {
        return None;
    }
    Some(pumping)
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
    pub(super) mounts: Vec<(String, PathBuf)>,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    /// Variables of the manifest that a program of ours does not get.
    left_out: Vec<String>,
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
