//! One container of a pod: its state, its history, and how Kubernetes writes that down.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

use tokio::process::ChildStdin;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::process::Exit;
use crate::controllers::fields::{items, number, text, time_text};

/// Name of the injected sidecar's container.
pub(super) const SIDECAR: &str = "istio-proxy";

/// A run that ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) reason: &'static str,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) id: String,
    /// What it said of its end.
    pub(super) message: Option<String>,
}

impl Ended {
    fn to_value(&self) -> Value {
        let mut value = json!({
            "exitCode": self.exit.code,
            "reason": self.reason,
            "startedAt": time_text(self.started),
            "finishedAt": time_text(self.finished),
            "containerID": self.id,
        });
        if let Some(signal) = self.exit.signal {
            value["signal"] = json!(signal);
        }
        if let Some(message) = &self.message {
            value["message"] = json!(message);
        }
        value
    }
}

/// What a container does now.
pub(super) enum State {
    /// Not running; starts at `until` (none: when something it waits for happens).
    Waiting {
        reason: &'static str,
        message: String,
        until: Option<Instant>,
    },
    Running(Process),
    /// Ended; starts again at `until`, or never.
    Ended {
        ended: Ended,
        until: Option<Instant>,
    },
}

/// A running process.
pub(super) struct Process {
    pub(super) process: u32,
    pub(super) since: Timestamp,
    pub(super) begun: Instant,
    /// When it must be killed because asking was not enough.
    pub(super) kill_at: Option<Instant>,
    /// Ends the probes of this run.
    pub(super) probes: CancellationToken,
    /// Cancelled when the process has ended.
    pub(super) ended: CancellationToken,
    /// Closes when we end, however we end; `kubectl attach -i` writes to it.
    pub(super) stdin: Arc<Mutex<Option<ChildStdin>>>,
}

/// A container of the pod.
pub(super) struct Container {
    pub(super) spec: Value,
    pub(super) name: String,
    pub(super) init: bool,
    /// Runs what its manifest says, not a program of ours.
    pub(super) own_program: bool,
    pub(super) state: State,
    pub(super) last: Option<Value>,
    pub(super) restarts: u32,
    /// It ran before, in this or an earlier life of `smov up`; the next start is a restart.
    pub(super) ran: bool,
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) backoff: Backoff,
    /// Counts starts, so that news of an earlier run are not taken for this one's.
    pub(super) generation: u64,
    id: String,
}

impl Container {
    /// A container as the stored status left it. What ran then has ended with `smov up`, unknown how.
    pub(super) fn restore(spec: &Value, init: bool, own_program: bool, statuses: &[Value]) -> Self {
        let name = text(spec, "/name").to_owned();
        let stored = statuses.iter().find(|status| status["name"] == name.as_str());
        let restarts = stored.and_then(|status| number(status, "/restartCount")).and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let running = stored.and_then(|status| status.pointer("/state/running"));
        let ended = stored.and_then(|status| status.pointer("/state/terminated"));
        let last = match (running, ended) {
            (Some(running), _) => Some(json!({
                "exitCode": 255, "reason": "Unknown", "startedAt": running["startedAt"], "finishedAt": time_text(Timestamp::now()),
                "containerID": stored.map_or(Value::Null, |status| status["containerID"].clone()),
            })),
            (None, Some(ended)) => Some(ended.clone()),
            (None, None) => stored.and_then(|status| status.pointer("/lastState/terminated")).cloned(),
        };
        Self {
            spec: spec.clone(),
            name,
            init,
            own_program,
            state: State::Waiting {
                reason: if init { "PodInitializing" } else { "ContainerCreating" },
                message: String::new(),
                until: Some(Instant::now()),
            },
            ran: last.is_some(),
            last,
            restarts,
            started: false,
            ready: false,
            backoff: Backoff::default(),
            generation: 0,
            id: String::new(),
        }
    }

    pub(super) fn is_sidecar(&self) -> bool {
        self.name == SIDECAR
    }

    /// An init container that keeps running beside the others (`restartPolicy: Always`).
    pub(super) fn is_restartable_init(&self) -> bool {
        self.init && self.spec["restartPolicy"] == "Always"
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Running(process) => Some(process),
            State::Waiting { .. } | State::Ended { .. } => None,
        }
    }

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match &mut self.state {
            State::Running(process) => Some(process),
            State::Waiting { .. } | State::Ended { .. } => None,
        }
    }

    /// When it is due to start, if it waits for a moment.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until, .. } | State::Ended { until, .. } => *until,
            State::Running(_) => None,
        }
    }

    /// The exit code of a run that was the last one.
    pub(super) fn final_exit(&self) -> Option<i32> {
        match &self.state {
            State::Ended { ended, until: None } => Some(ended.exit.code),
            State::Ended { .. } | State::Waiting { .. } | State::Running(_) => None,
        }
    }

    pub(super) fn wait(&mut self, reason: &'static str, message: String, until: Option<Instant>) {
        self.state = State::Waiting { reason, message, until };
        self.ready = false;
        self.started = false;
    }

    /// A process was started.
    pub(super) fn begin(&mut self, process: Process, id: String) {
        if let State::Ended { ended, .. } = &self.state {
            self.last = Some(ended.to_value());
        }
        let spec = &self.spec;
        let hooked = spec.pointer("/lifecycle/postStart").is_some_and(Value::is_object);
        self.started = !hooked && spec["startupProbe"].is_null();
        self.ready = self.started && spec["readinessProbe"].is_null();
        self.ran = true;
        self.id = id;
        self.state = State::Running(process);
    }

    /// Its `postStart` hook has run well: from now on its probes count.
    pub(super) fn hook_done(&mut self) {
        self.started = self.spec["startupProbe"].is_null();
        self.ready = self.started && self.spec["readinessProbe"].is_null();
    }

    /// The process ended; `until` is when it starts again.
    pub(super) fn end(&mut self, exit: Exit, message: Option<String>, until: Option<Instant>) {
        let State::Running(process) = &self.state else { return };
        process.probes.cancel();
        let reason = if exit.code == 0 { "Completed" } else { "Error" };
        let ended = Ended { exit, reason, started: process.since, finished: Timestamp::now(), id: self.id.clone(), message };
        self.ready = self.init && exit.code == 0;
        self.started = false;
        self.state = State::Ended { ended, until };
    }

    /// The process keeps ending: from now on the state says that we wait.
    pub(super) fn loop_back(&mut self, message: String) {
        if let State::Ended { ended, until } = &self.state {
            self.last = Some(ended.to_value());
            self.state = State::Waiting { reason: "CrashLoopBackOff", message, until: *until };
        }
    }

    /// The entry in `containerStatuses`.
    pub(super) fn status(&self) -> Value {
        let state = match &self.state {
            State::Waiting { reason, message, .. } if message.is_empty() => json!({"waiting": {"reason": reason}}),
            State::Waiting { reason, message, .. } => json!({"waiting": {"reason": reason, "message": message}}),
            State::Running(process) => json!({"running": {"startedAt": time_text(process.since)}}),
            State::Ended { ended, .. } => json!({"terminated": ended.to_value()}),
        };
        let image = text(&self.spec, "/image");
        json!({
            "name": self.name,
            "state": state,
            "lastState": self.last.as_ref().map_or_else(|| json!({}), |last| json!({"terminated": last})),
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": image,
            "imageID": if self.id.is_empty() { String::new() } else { format!("smov://{image}") },
            "containerID": self.id,
            "started": self.started,
        })
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        items(&self.spec, "/ports").iter().filter_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok())
    }
}
