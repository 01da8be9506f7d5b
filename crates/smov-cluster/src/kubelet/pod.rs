//! One pod: a task that owns its containers from the first start to the end, and is the only writer of the pod's status.
//!
//! Everything that happens comes as [`News`] (an exit, a probe's finding, drained) or as a change of the object; after each, [`PodWorker::advance`] does what
//! can be done now and [`PodWorker::publish`] writes what is true now. Nothing polls.

mod hooks;
mod launch;
mod own_program;
mod probes;
mod questions;
mod start;
mod stop;
mod surroundings;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(super) use self::questions::{Joined, Question, Runnable};
use self::start::Setup;
use self::stop::Stopping;
use super::Shared;
use super::container::{Container, State};
use super::probe::{Finding, ProbeKind};
use super::process::{Exit, kill};
use super::status::{Facts, compute, is_initialized};
use crate::controllers::driver::sleep_until;
use crate::controllers::fields::{is_deleting, is_finished, items, name, namespace, now_text, number, text, uid};
use crate::registry::Object;

/// News that may wait for the worker; writers wait when it is full.
const NEWS: usize = 64;

/// What the watch says about the pod's object.
#[derive(Clone, Debug)]
pub(super) enum Update {
    Changed(Object),
    /// Removed without waiting for us (`--force`).
    Gone,
}

/// What happened to a container.
#[derive(Debug)]
pub(super) enum News {
    Exited {
        container: usize,
        generation: u64,
        exit: Exit,
    },
    Probed {
        container: usize,
        generation: u64,
        kind: ProbeKind,
        finding: Finding,
    },
    /// Its `postStart` hook has ended.
    Hooked {
        container: usize,
        generation: u64,
        result: Result<(), String>,
    },
    /// The API server wants to know something.
    Asked(Question),
    /// No proxy sends to the pod any more, and its preStop hooks have run.
    Drained,
}

/// How a worker hears of the world.
pub(super) struct Ears {
    pub(super) updates: watch::Receiver<Update>,
    /// A ConfigMap, Secret or claim of the namespace changed.
    pub(super) sources: Arc<Notify>,
    pub(super) shutdown: CancellationToken,
}

/// The worker of one pod.
pub(super) struct PodWorker {
    shared: Arc<Shared>,
    object: Object,
    containers: Vec<Container>,
    address: Option<IpAddr>,
    started_at: String,
    /// The status as last written.
    status: Value,
    setup: Option<Setup>,
    setup_due: Option<Instant>,
    stopping: Option<Stopping>,
    send: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    tasks: JoinSet<()>,
}

impl PodWorker {
    /// Takes on a pod bound to one of our nodes, and writes at once that nothing of it runs (yet, or any more).
    pub(super) fn new(shared: Arc<Shared>, object: Object) -> Self {
        let wish = text(&object, "/status/podIP").parse::<Ipv4Addr>().ok();
        let finished = is_finished(&object);
        let address = if finished { None } else { shared.allocator.take(uid(&object), wish) };
        let list = |specs: &str, statuses: &str, init: bool| -> Vec<Container> {
            let own = |spec: &Value| shared.config.images.is_own_program(spec);
            items(&object, specs).iter().map(|spec| Container::restore(spec, init, own(spec), items(&object, statuses))).collect()
        };
        let mut containers = list("/spec/initContainers", "/status/initContainerStatuses", true);
        containers.extend(list("/spec/containers", "/status/containerStatuses", false));
        let started_at = match text(&object, "/status/startTime") {
            "" => now_text(),
            known => known.to_owned(),
        };
        let (send, news) = mpsc::channel(NEWS);
        shared.workers().insert(uid(&object).to_owned(), send.clone());
        let mut worker = Self {
            status: object["status"].clone(),
            shared,
            object,
            containers,
            address,
            started_at,
            setup: None,
            setup_due: Some(Instant::now()),
            stopping: None,
            send,
            news,
            tasks: JoinSet::new(),
        };
        if !finished {
            worker.publish();
        }
        worker
    }

    pub(super) fn object(&self) -> Object {
        Arc::clone(&self.object)
    }

    /// Lives until the pod is gone, or `smov up` ends.
    pub(super) async fn run(mut self, mut ears: Ears) {
        let mut gone = false;
        while !gone {
            let update = ears.updates.borrow_and_update().clone();
            if self.is_gone(update) {
                break;
            }
            if self.advance().await {
                self.publish();
                self.end_strays().await;
                self.remove();
                break;
            }
            self.publish();
            let wake = self.next_wake();
            tokio::select! {
                news = self.news.recv() => if let Some(news) = news { self.hear(news) },
                // Taken at the top of the loop. The sender lives as long as the kubelet follows pods.
                changed = ears.updates.changed() => gone = changed.is_err(),
                () = ears.sources.notified() => self.sources_changed(),
                () = sleep_until(wake) => {}
                () = ears.shutdown.cancelled() => {
                    self.shut_down().await;
                    return;
                }
            }
            while let Ok(news) = self.news.try_recv() {
                self.hear(news);
            }
        }
        self.end_all().await;
        self.clean_up();
    }

    /// Does everything that can be done now; true when the pod has been stopped and can be removed.
    async fn advance(&mut self) -> bool {
        if is_deleting(&self.object) && self.stopping.is_none() {
            self.begin_stopping();
        }
        if self.stopping.is_some() {
            return self.advance_stopping();
        }
        if self.has_ended() {
            return false;
        }
        self.kill_overdue();
        if !self.set_up() {
            return false;
        }
        for index in 0..self.containers.len() {
            if self.containers[index].due().is_some_and(|due| due <= Instant::now()) {
                self.start(index).await;
            }
            let container = &self.containers[index];
            if container.init && !is_initialized(container) {
                break;
            }
        }
        false
    }

    /// Takes over a change of the object; one that is older than our own last write is not news.
    fn is_gone(&mut self, update: Update) -> bool {
        let version = |object: &Object| text(object, "/metadata/resourceVersion").parse::<u64>().unwrap_or(0);
        match update {
            Update::Changed(object) => {
                if version(&object) > version(&self.object) {
                    self.object = object;
                }
                false
            }
            Update::Gone => true,
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Exited { container, generation, exit } if self.containers[container].generation == generation => {
                self.exited(container, exit)
            }
            News::Probed { container, generation, kind, finding } if self.containers[container].generation == generation => {
                self.probed(container, kind, finding)
            }
            News::Hooked { container, generation, result } if self.containers[container].generation == generation => {
                self.hooked(container, result)
            }
            // Of an earlier run of the container.
            News::Exited { .. } | News::Probed { .. } | News::Hooked { .. } => {}
            News::Asked(question) => self.answer(question),
            News::Drained => self.drained(),
        }
    }

    fn exited(&mut self, index: usize, exit: Exit) {
        let policy = text(&self.object, "/spec/restartPolicy").to_owned();
        let stopping = self.stopping.is_some();
        let now = Instant::now();
        let message = self.containers[index].own_program.then(|| self.termination_message(index, exit)).flatten();
        if self.containers[index].own_program && !stopping {
            self.explain_failure(index, exit);
        }
        let container = &mut self.containers[index];
        let Some(ran) = container.process().map(|process| process.begun.elapsed()) else { return };
        let restarts = match policy.as_str() {
            _ if stopping => false,
            _ if container.is_restartable_init() => true,
            _ if container.init && exit.code == 0 => false,
            "Never" => false,
            "OnFailure" => exit.code != 0,
            _ => true,
        };
        if !restarts {
            container.end(exit, message, None);
            return;
        }
        let wait = container.backoff.ended(ran, &self.shared.config.limits);
        container.end(exit, message, Some(now + wait.delay));
        if wait.looping {
            let (pod, container_name) = (full_name(&self.object), container.name.clone());
            container.loop_back(format!("back-off {:?} restarting failed container={container_name} pod={pod}", wait.delay));
            self.event("Warning", "BackOff", &format!("Back-off restarting failed container {container_name} in pod {pod}"));
        }
    }

    fn probed(&mut self, index: usize, kind: ProbeKind, finding: Finding) {
        let stopping = self.stopping.is_some();
        let container = &mut self.containers[index];
        if container.process().is_none() {
            return;
        }
        match (kind, finding) {
            (_, Finding::Unhealthy(_)) if stopping => {}
            (_, Finding::Unhealthy(why)) => {
                self.event("Warning", "Unhealthy", &format!("{} probe failed: {why}", kind.word()));
            }
            (ProbeKind::Readiness, Finding::Good) => container.ready = true,
            (ProbeKind::Readiness, Finding::Bad(_)) => container.ready = false,
            (ProbeKind::Startup, Finding::Good) => {
                container.started = true;
                container.ready = container.spec["readinessProbe"].is_null();
                self.start_probes(index);
            }
            (ProbeKind::Liveness, Finding::Good) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, Finding::Bad(_)) if stopping => {}
            (ProbeKind::Startup | ProbeKind::Liveness, Finding::Bad(_)) => {
                let message = format!("Container {} failed {} probe, will be restarted", container.name, kind.word().to_lowercase());
                let seconds = number(&container.spec, &format!("/{}Probe/terminationGracePeriodSeconds", kind.word().to_lowercase()));
                let grace =
                    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or_else(|| grace_of(&self.object), Duration::from_secs);
                self.restart_after(index, grace);
                self.event("Normal", "Killing", &message);
            }
        }
    }

    /// Asks the container's process to end; its end starts the next run.
    fn restart_after(&mut self, index: usize, grace: Duration) {
        self.terminate_after_hook(index, grace);
        let container = &mut self.containers[index];
        container.ready = false;
        if let Some(process) = container.process_mut() {
            process.kill_at = Some(Instant::now() + grace);
            process.probes.cancel();
        }
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for process in self.containers.iter_mut().filter_map(Container::process_mut) {
            if process.kill_at.is_some_and(|at| at <= now) {
                kill(process.process);
                process.kill_at = None;
            }
        }
    }

    /// The next moment at which there is something to do without news.
    fn next_wake(&self) -> Option<Instant> {
        if let Some(stopping) = &self.stopping {
            return stopping.wake();
        }
        if self.has_ended() {
            return None;
        }
        let kills = self.containers.iter().filter_map(|container| container.process()?.kill_at);
        if self.setup.is_none() {
            return self.setup_due.into_iter().chain(kills).min();
        }
        // Containers behind an init container that is not through wait for its news, not for a time.
        let reachable = self
            .containers
            .iter()
            .position(|container| container.init && !is_initialized(container))
            .map_or(self.containers.len(), |index| index + 1);
        self.containers[..reachable].iter().filter_map(Container::due).chain(kills).min()
    }

    /// Writes the status where it changed. A pod that has ended stays as it ended.
    fn publish(&mut self) {
        if self.has_ended() {
            return;
        }
        let address = self.address.map(|address| address.to_string());
        let host = self.shared.host_of(text(&self.object, "/spec/nodeName"));
        let facts = Facts { address: address.as_deref(), host: &host, started_at: &self.started_at };
        let status = compute(&self.object, &self.status, &self.containers, &facts);
        if status == self.status {
            return;
        }
        self.status = status;
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name(&self.object), "namespace": namespace(&self.object), "uid": uid(&self.object)},
            "status": self.status,
        });
        if let Err(error) = self.shared.registry.update_status(object, &super::writer()) {
            // The watch will say that the pod is gone.
            debug!(pod = name(&self.object), error = error.message, "status not written");
        }
    }

    fn event(&self, severity: &'static str, reason: &'static str, message: &str) {
        self.shared.event(&self.object, severity, reason, message.to_owned());
    }

    fn has_ended(&self) -> bool {
        matches!(text(&self.status, "/phase"), "Succeeded" | "Failed")
    }

    fn is_running(&self) -> bool {
        self.containers.iter().any(|container| matches!(container.state, State::Running(_)))
    }

    fn has_sidecar(&self) -> bool {
        self.containers.iter().any(Container::is_sidecar)
    }
}

/// As Kubernetes names a pod in its messages.
fn full_name(pod: &Value) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The pod's grace: of its deletion, else of its spec.
fn grace_of(pod: &Value) -> Duration {
    let seconds = number(pod, "/metadata/deletionGracePeriodSeconds").or_else(|| number(pod, "/spec/terminationGracePeriodSeconds"));
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(super::limits::DEFAULT_GRACE, Duration::from_secs)
}
