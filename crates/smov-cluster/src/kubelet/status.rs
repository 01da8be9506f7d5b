//! A pod's status from the state of its containers: phase, conditions, container statuses.

use serde_json::{Value, json};

use super::container::{Container, State};
use crate::controllers::fields::{is_deleting, items, now_text, set_condition, text};

/// What the kubelet knows of a pod beside its containers.
pub(super) struct Facts<'a> {
    pub(super) address: Option<&'a str>,
    pub(super) host: &'a str,
    pub(super) started_at: &'a str,
}

/// The whole status; `before` is the one that was written last (or found).
pub(super) fn compute(pod: &Value, before: &Value, containers: &[Container], facts: &Facts<'_>) -> Value {
    let (init, apps): (Vec<&Container>, Vec<&Container>) = containers.iter().partition(|container| container.init);
    let initialized = init.iter().all(|container| is_initialized(container));
    let all_ready = apps.iter().all(|container| container.ready);
    let phase = phase(pod, containers, initialized);
    let finished = matches!(phase, "Succeeded" | "Failed");
    let mut conditions = items(before, "/conditions").to_vec();
    let unready: Vec<&str> = apps.iter().filter(|container| !container.ready).map(|container| container.name.as_str()).collect();
    let why = (!unready.is_empty()).then(|| ("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))));
    let why = if phase == "Succeeded" { Some(("PodCompleted", String::new())) } else { why };
    let uninitialized: Vec<&str> =
        init.iter().filter(|container| !is_initialized(container)).map(|container| container.name.as_str()).collect();
    let init_why =
        (!initialized).then(|| ("ContainersNotInitialized", format!("containers with incomplete status: [{}]", uninitialized.join(" "))));
    set(&mut conditions, "PodReadyToStartContainers", facts.address.is_some(), None);
    set(&mut conditions, "Initialized", initialized, init_why);
    set(&mut conditions, "Ready", all_ready && initialized && !finished, why.clone());
    set(&mut conditions, "ContainersReady", all_ready && initialized && !finished, why);
    let mut status = json!({
        "observedGeneration": pod["metadata"]["generation"],
        "phase": phase,
        "conditions": conditions,
        "hostIP": facts.host,
        "hostIPs": [{"ip": facts.host}],
        "startTime": facts.started_at,
        "containerStatuses": apps.iter().map(|container| container.status()).collect::<Vec<_>>(),
        "qosClass": before["qosClass"],
    });
    if status["observedGeneration"].is_null() {
        status.as_object_mut().map(|status| status.shift_remove("observedGeneration"));
    }
    if let Some(address) = facts.address {
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{"ip": address}]);
    }
    if !init.is_empty() {
        status["initContainerStatuses"] = init.iter().map(|container| container.status()).collect();
    }
    status
}

fn set(conditions: &mut Vec<Value>, kind: &str, holds: bool, why: Option<(&str, String)>) {
    let mut condition = json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now_text()});
    if let Some((reason, message)) = why.filter(|_| !holds) {
        condition["reason"] = json!(reason);
        if !message.is_empty() {
            condition["message"] = json!(message);
        }
    }
    set_condition(conditions, condition);
}

/// True when the next container may start: an init container has ended well, or (one that stays) has started.
pub(super) fn is_initialized(container: &Container) -> bool {
    if container.is_restartable_init() { container.started } else { container.final_exit() == Some(0) }
}

fn phase(pod: &Value, containers: &[Container], initialized: bool) -> &'static str {
    if containers
        .iter()
        .any(|container| container.init && !container.is_restartable_init() && container.final_exit().is_some_and(|code| code != 0))
    {
        return "Failed";
    }
    if !initialized {
        return "Pending";
    }
    let apps = || containers.iter().filter(|container| !container.init);
    let exits: Vec<i32> = apps().filter_map(Container::final_exit).collect();
    if exits.len() == apps().count() && text(pod, "/spec/restartPolicy") != "Always" {
        return if exits.iter().all(|code| *code == 0) { "Succeeded" } else { "Failed" };
    }
    let never_ran = apps().any(|container| matches!(container.state, State::Waiting { .. }) && !container.ran);
    if never_ran && !is_deleting(pod) { "Pending" } else { "Running" }
}
