//! How a pod ends: no new traffic, then the apps, then the sidecar, then the object.
//!
//! ```text
//! deletionTimestamp ─► drain + last answers + preStop ─► SIGTERM apps ─► SIGTERM sidecar ─► remove the object
//!                      └──────────── grace period over: SIGKILL all ────────────┘
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{News, PodWorker, grace_of};
use crate::controllers::fields::{items, labels, name, namespace, uid};
use crate::kinds::POD;
use crate::kubelet::container::Container;
use crate::kubelet::doors::is_http;
use crate::kubelet::limits::{QUIET_CAP, QUIET_LOOK, QUIET_STILL};
use crate::kubelet::network::mapped_port;
use crate::kubelet::probe::port_of;
use crate::kubelet::proc::connections_to;
use crate::kubelet::process::{kill, terminate};
use crate::kubelet::strays;
use crate::registry::DeleteOptions;

/// How long to wait for the last words of processes that have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Draining,
    Apps,
    Sidecar,
}

/// A pod on its way out.
pub(super) struct Stopping {
    stage: Stage,
    deadline: Instant,
    killed: bool,
}

impl Stopping {
    pub(super) fn wake(&self) -> Option<Instant> {
        (!self.killed).then_some(self.deadline)
    }
}

impl PodWorker {
    pub(super) fn begin_stopping(&mut self) {
        let grace = grace_of(&self.object);
        self.stopping = Some(Stopping { stage: Stage::Draining, deadline: Instant::now() + grace, killed: false });
        let mut hooks = Vec::new();
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            if container.process().is_none() {
                continue;
            }
            self.event("Normal", "Killing", &format!("Stopping container {}", container.name));
            if let Some(hook) = self.pre_stop(index) {
                hooks.push(hook);
            }
        }
        if !self.is_running() {
            return;
        }
        let drained = self.shared.config.drain.endpoint_gone(&self.object);
        let (pod, ports) = (name(&self.object).to_owned(), self.http_ports());
        let (cap, send) = (self.shared.config.limits.drain_cap, self.send.clone());
        self.tasks.spawn(async move {
            let begun = Instant::now();
            if timeout(cap, drained).await.is_err() {
                tracing::warn!(pod, ?cap, "a pod ends although not every proxy is known to have forgotten it");
            }
            let forgotten = begun.elapsed();
            if timeout(QUIET_CAP, quiet(ports)).await.is_err() {
                tracing::debug!(pod, cap = ?QUIET_CAP, "a pod ends although connections to it are open");
            }
            tracing::debug!(pod, ?forgotten, waited = ?begun.elapsed(), "drained");
            for hook in hooks {
                hook.run(grace).await;
            }
            let _pod_is_gone = send.send(News::Drained).await;
        });
    }

    /// Where peers send requests to this pod. Opaque TCP connections have no end of their own that could be waited for.
    fn http_ports(&self) -> Vec<SocketAddr> {
        let services = self.services();
        let pod_labels = labels(&self.object);
        let mine = services.iter().filter(|service| {
            let selector = service.pointer("/spec/selector").and_then(serde_json::Value::as_object);
            selector.is_some_and(|selector| !selector.is_empty() && selector.iter().all(|(key, value)| pod_labels.get(key) == Some(value)))
        });
        let targets = mine.flat_map(|service| items(service, "/spec/ports")).filter(|port| is_http(port)).filter_map(|port| {
            let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
            self.containers.iter().find_map(|container| port_of(&container.spec, target))
        });
        let address = self.address;
        targets.filter_map(|port| Some(SocketAddr::new(address?, mapped_port(&self.object, port)))).collect()
    }

    pub(super) fn drained(&mut self) {
        if let Some(stopping) = self.stopping.as_mut().filter(|stopping| stopping.stage == Stage::Draining) {
            stopping.stage = Stage::Apps;
            self.ask_to_end(|container| !container.is_sidecar());
        }
    }

    /// True when no process is left.
    pub(super) fn advance_stopping(&mut self) -> bool {
        if !self.is_running() {
            return true;
        }
        let apps_run = self.containers.iter().any(|container| !container.is_sidecar() && container.process().is_some());
        let now = Instant::now();
        let shortened = now + grace_of(&self.object);
        let Some(stopping) = &mut self.stopping else { return false };
        stopping.deadline = stopping.deadline.min(shortened);
        let overdue = stopping.deadline <= now && !stopping.killed;
        if overdue {
            stopping.killed = true;
            self.kill_all();
        } else if stopping.stage == Stage::Apps && !apps_run {
            stopping.stage = Stage::Sidecar;
            self.ask_to_end(Container::is_sidecar);
        }
        false
    }

    fn ask_to_end(&self, which: impl Fn(&Container) -> bool) {
        for process in self.containers.iter().filter(|container| which(container)).filter_map(Container::process) {
            terminate(process.process);
        }
    }

    fn kill_all(&self) {
        for process in self.containers.iter().filter_map(Container::process) {
            kill(process.process);
        }
    }

    /// `smov up` ends: stop the processes, keep the object.
    pub(super) async fn shut_down(&mut self) {
        self.stopping = Some(Stopping { stage: Stage::Sidecar, deadline: Instant::now(), killed: false });
        self.ask_to_end(|_| true);
        let _at_most = timeout(self.shared.config.limits.shutdown_cap, self.wait_for_exits()).await;
        self.end_all().await;
        self.publish();
    }

    /// Kills what still runs, and waits until it is gone and its last words are written.
    pub(super) async fn end_all(&mut self) {
        self.kill_all();
        self.wait_for_exits().await;
        self.end_strays().await;
        for container in &self.containers {
            if let Some(process) = container.process() {
                process.probes.cancel();
            }
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// What left the groups of its containers, or was left by commands that were run in them.
    pub(super) async fn end_strays(&self) {
        let folder = self.shared.folders.pod(uid(&self.object));
        let _nobody_needs_the_count = tokio::task::spawn_blocking(move || strays::end_below(&folder)).await;
    }

    async fn wait_for_exits(&mut self) {
        while self.is_running() {
            match self.news.recv().await {
                Some(News::Exited { container, generation, exit }) if self.containers[container].generation == generation => {
                    self.containers[container].end(exit, None, None);
                }
                Some(_) => {}
                None => break,
            }
        }
    }

    /// Removes the object: everything it stood for is gone.
    pub(super) fn remove(&self) {
        let options = DeleteOptions { uid: Some(uid(&self.object).to_owned()), ..DeleteOptions::now() };
        if let Err(error) = self.shared.registry.delete(&POD, namespace(&self.object), name(&self.object), &options)
            && !error.is_not_found()
        {
            tracing::warn!(pod = name(&self.object), error = error.message, "cannot remove the pod's object");
        }
    }

    /// Gives back the address, removes folders and logs.
    pub(super) fn clean_up(&self) {
        let uid = uid(&self.object);
        self.shared.allocator.release(uid);
        self.shared.workers().remove(uid);
        let logs = self.shared.logs.pod(namespace(&self.object), name(&self.object), uid);
        for folder in [self.shared.folders.pod(uid), self.shared.runtime_folder(uid), logs] {
            if folder.exists()
                && let Err(error) = std::fs::remove_dir_all(&folder)
            {
                tracing::warn!(%error, folder = %folder.display(), "cannot remove a folder of a pod that is gone");
            }
        }
    }
}

/// Returns when no connection to these addresses is open: whoever forgot the pod has closed the idle ones, so what is left carries a request. Or when none
/// of them has ended for a while: an event stream of a page has no end of its own.
async fn quiet(addresses: Vec<SocketAddr>) {
    if addresses.is_empty() {
        return;
    }
    let addresses = std::sync::Arc::new(addresses);
    let (mut before, mut changed) = (usize::MAX, Instant::now());
    loop {
        let looked = std::sync::Arc::clone(&addresses);
        let open = tokio::task::spawn_blocking(move || connections_to(&looked)).await.unwrap_or(0);
        if open != before {
            (before, changed) = (open, Instant::now());
        }
        if open == 0 || changed.elapsed() >= QUIET_STILL {
            return;
        }
        tokio::time::sleep(QUIET_LOOK).await;
    }
}
