//! The READY, STATUS and RESTARTS of a pod, by the rules that `kubectl get pods` has made known.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::time;

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

/// Init containers that stay (native sidecars) count like containers.
fn is_sidecar(pod: &Value, name: &Value) -> bool {
    list(&pod["spec"], "initContainers").any(|one| &one["name"] == name && one["restartPolicy"] == "Always")
}

pub(super) fn ready(pod: &Value, _: Timestamp) -> Value {
    let sidecars = list(&pod["spec"], "initContainers").filter(|one| one["restartPolicy"] == "Always");
    let total = list(&pod["spec"], "containers").count() + sidecars.count();
    let ready = |one: &&Value| one["ready"] == true && !one["state"]["running"].is_null();
    let init = list(&pod["status"], "initContainerStatuses").filter(|one| is_sidecar(pod, &one["name"])).filter(ready);
    let count = list(&pod["status"], "containerStatuses").filter(ready).count() + init.count();
    json!(format!("{count}/{total}"))
}

pub(super) fn status(pod: &Value, _: Timestamp) -> Value {
    let status = &pod["status"];
    let deleted = !pod["metadata"]["deletionTimestamp"].is_null();
    if status["reason"] == "NodeLost" && deleted {
        return json!("Unknown");
    }
    let finished = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    if deleted && !finished {
        return json!("Terminating");
    }
    if let Some(text) = initialising(pod) {
        return json!(text);
    }
    let mut reason = status["reason"].as_str().or_else(|| status["phase"].as_str()).unwrap_or("Pending").to_owned();
    let mut running = false;
    for one in list(status, "containerStatuses") {
        let state = &one["state"];
        if let Some(waiting) = state["waiting"]["reason"].as_str().filter(|text| !text.is_empty()) {
            reason = waiting.to_owned();
        } else if !state["terminated"].is_null() {
            reason = terminated(&state["terminated"]);
        } else if one["ready"] == true && !state["running"].is_null() {
            running = true;
        }
    }
    if reason == "Completed" && running {
        let ready = list(status, "conditions").any(|one| one["type"] == "Ready" && one["status"] == "True");
        reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
    json!(reason)
}

fn terminated(state: &Value) -> String {
    match (state["reason"].as_str().unwrap_or_default(), state["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", state["exitCode"].as_i64().unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// `Init:0/1` and the like while init containers run.
fn initialising(pod: &Value) -> Option<String> {
    let total = list(&pod["spec"], "initContainers").count();
    for (place, one) in list(&pod["status"], "initContainerStatuses").enumerate() {
        let state = &one["state"];
        if state["terminated"]["exitCode"].as_i64() == Some(0) {
            continue;
        }
        if is_sidecar(pod, &one["name"]) && one["started"] == true {
            continue;
        }
        if !state["terminated"].is_null() {
            return Some(format!("Init:{}", terminated(&state["terminated"])));
        }
        return Some(match state["waiting"]["reason"].as_str() {
            Some(reason) if !reason.is_empty() && reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{place}/{total}"),
        });
    }
    None
}

/// `2 (5m ago)`
pub(super) fn restarts(pod: &Value, now: Timestamp) -> Value {
    let statuses = || {
        list(&pod["status"], "initContainerStatuses")
            .filter(|one| is_sidecar(pod, &one["name"]))
            .chain(list(&pod["status"], "containerStatuses"))
    };
    let count: i64 = statuses().filter_map(|one| one["restartCount"].as_i64()).sum();
    let last = statuses().filter_map(|one| one["lastState"]["terminated"]["finishedAt"].as_str()).max();
    match last {
        Some(last) if count > 0 => json!(format!("{count} ({} ago)", time::since(&json!(last), now))),
        _ => json!(count.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_reads_as_people_know_it() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let mut pod = json!({
            "metadata": {},
            "spec": { "containers": [{ "name": "app" }, { "name": "istio-proxy" }] },
            "status": { "phase": "Running", "containerStatuses": [
                { "name": "app", "ready": false, "restartCount": 2,
                  "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                  "lastState": { "terminated": { "finishedAt": "2026-01-01T00:09:30Z" } } },
                { "name": "istio-proxy", "ready": true, "restartCount": 0, "state": { "running": {} } },
            ] },
        });
        assert_eq!(ready(&pod, now), "1/2");
        assert_eq!(status(&pod, now), "CrashLoopBackOff");
        assert_eq!(restarts(&pod, now), "2 (30s ago)");
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:10:00Z");
        assert_eq!(status(&pod, now), "Terminating");
    }
}
