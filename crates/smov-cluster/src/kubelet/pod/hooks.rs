//! `lifecycle` hooks: `postStart` before a container counts as started, `preStop` before it is asked to end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{News, PodWorker, grace_of};
use crate::kubelet::Shared;
use crate::kubelet::probe::{Action, ask};
use crate::kubelet::process::terminate;
use crate::registry::Object;

/// A `postStart` hook has as long as the container: Kubernetes knows no limit, we end one that hangs.
const POST_START_CAP: Duration = Duration::from_secs(600);

/// What a hook does.
enum Deed {
    Sleep(Duration),
    Act(Action),
}

impl Deed {
    async fn run(&self, limit: Duration) -> Result<(), String> {
        match self {
            Self::Sleep(duration) => {
                tokio::time::sleep(*duration).await;
                Ok(())
            }
            Self::Act(action) => ask(action, limit).await,
        }
    }
}

/// A `preStop` hook, and whom to tell when it fails.
pub(super) struct PreStop {
    deed: Deed,
    shared: Arc<Shared>,
    pod: Object,
}

impl PreStop {
    /// A hook that fails does not keep the container; the grace period ends one that hangs.
    pub(super) async fn run(self, grace: Duration) {
        if let Err(why) = self.deed.run(grace).await {
            self.shared.event(&self.pod, "Warning", "FailedPreStopHook", format!("PreStopHook failed: {why}"));
        }
    }
}

impl PodWorker {
    pub(super) fn pre_stop(&self, index: usize) -> Option<PreStop> {
        let deed = self.deed(index, "preStop")?;
        Some(PreStop { deed, shared: Arc::clone(&self.shared), pod: Arc::clone(&self.object) })
    }

    fn deed(&self, index: usize, phase: &str) -> Option<Deed> {
        let hook = self.containers[index].spec.pointer(&format!("/lifecycle/{phase}")).filter(|hook| hook.is_object())?;
        if let Some(seconds) = hook.pointer("/sleep/seconds").and_then(Value::as_u64) {
            return Some(Deed::Sleep(Duration::from_secs(seconds)));
        }
        Some(Deed::Act(self.action(index, hook)))
    }

    /// Begins the container's `postStart` hook; false where it has none.
    pub(super) fn run_post_start(&mut self, index: usize) -> bool {
        let Some(deed) = self.deed(index, "postStart") else { return false };
        let container = &self.containers[index];
        let Some(process) = container.process() else { return false };
        let (stop, generation, send) = (process.probes.clone(), container.generation, self.send.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                result = deed.run(POST_START_CAP) => {
                    let _pod_is_gone = send.send(News::Hooked { container: index, generation, result }).await;
                }
                () = stop.cancelled() => {}
            }
        });
        true
    }

    /// The `postStart` hook has ended: well, so that probes begin, or not, which ends the container.
    pub(super) fn hooked(&mut self, index: usize, result: Result<(), String>) {
        if self.stopping.is_some() || self.containers[index].process().is_none() {
            return;
        }
        match result {
            Ok(()) => {
                self.containers[index].hook_done();
                self.start_probes(index);
            }
            Err(why) => {
                self.event("Warning", "FailedPostStartHook", &format!("PostStartHook failed: {why}"));
                let grace = grace_of(&self.object);
                self.restart_after(index, grace);
                self.event("Normal", "Killing", "FailedPostStartHook");
            }
        }
    }

    /// Asks the process of a container to end after its `preStop` hook, at the latest when the grace is over.
    pub(super) fn terminate_after_hook(&mut self, index: usize, grace: Duration) {
        let hook = self.pre_stop(index);
        let Some(process) = self.containers[index].process() else { return };
        let (process, ended) = (process.process, process.ended.clone());
        match hook {
            None => terminate(process),
            Some(hook) => drop(self.tasks.spawn(async move {
                tokio::select! {
                    _at_most = tokio::time::timeout(grace, hook.run(grace)) => terminate(process),
                    // Its id may be somebody else's by now.
                    () = ended.cancelled() => {}
                }
            })),
        }
    }
}
