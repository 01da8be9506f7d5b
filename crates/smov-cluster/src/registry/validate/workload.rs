//! Pods, Deployments, ReplicaSets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{container, metadata, names};
use crate::{error::Cause, registry::LabelSelector};

/// A pod by itself; most of its spec never changes.
pub(super) fn pod(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    pod_spec(&object["spec"], "spec", causes);
    let Some(old) = old else { return };
    let frozen = |object: &Value| {
        let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"] {
            spec.shift_remove(field);
        }
        for list in ["containers", "initContainers"] {
            for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(one) = one.as_object_mut() {
                    one.shift_remove("image");
                }
            }
        }
        spec
    };
    let moved = old["spec"]["nodeName"].is_string() && old["spec"]["nodeName"] != object["spec"]["nodeName"];
    if moved || frozen(old) != frozen(object) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

/// A Deployment or ReplicaSet.
pub(super) fn controller(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let deployment = object["kind"] == "Deployment";
    container::not_negative(&spec["replicas"], "spec.replicas", causes);
    let selector = LabelSelector::from_object(&spec["selector"]);
    let labels = &spec["template"]["metadata"]["labels"];
    let before = causes.len();
    if spec["selector"].is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else {
        expressions(&spec["selector"]["matchExpressions"], "spec.selector", causes);
        if causes.len() > before {
            causes.push(Cause::invalid("spec.selector", &spec["selector"], "invalid label selector"));
        } else if selector.is_empty() {
            let what = if deployment { "deployment" } else { "replicaset" };
            causes.push(Cause::invalid("spec.selector", &spec["selector"], format_args!("empty selector is invalid for {what}")));
        }
    }
    let readable = causes.len() == before || spec["selector"].is_null();
    if readable && (spec["selector"].is_null() || !selector.matches(labels)) {
        let path = "spec.template.metadata.labels";
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid(path, labels, why));
    }
    if let Some(old) = old
        && old["spec"]["selector"] != spec["selector"]
    {
        causes.push(Cause::invalid("spec.selector", &spec["selector"], "field is immutable"));
    }
    metadata::labels(labels, "spec.template.metadata.labels", causes);
    let pod = &spec["template"]["spec"];
    pod_spec(pod, "spec.template.spec", causes);
    if pod["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        let path = "spec.template.spec.restartPolicy";
        causes.push(Cause::not_supported(path, &pod["restartPolicy"], &["Always"]));
    }
    strategy(spec, causes);
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        container::not_negative(&spec[field], &format!("spec.{field}"), causes);
    }
    let ready = spec["minReadySeconds"].as_i64().unwrap_or_default();
    if deployment && spec["progressDeadlineSeconds"].as_i64().is_some_and(|deadline| deadline <= ready) {
        let why = "must be greater than minReadySeconds";
        causes.push(Cause::invalid("spec.progressDeadlineSeconds", &spec["progressDeadlineSeconds"], why));
    }
}

/// The conditions of a label selector.
pub(super) fn expressions(expressions: &Value, path: &str, causes: &mut Vec<Cause>) {
    const OPERATORS: [&str; 4] = ["DoesNotExist", "Exists", "In", "NotIn"];
    for (place, one) in expressions.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{place}]");
        let operator = one["operator"].as_str().unwrap_or_default();
        let values = one["values"].as_array().is_some_and(|values| !values.is_empty());
        if !OPERATORS.contains(&operator) {
            let why = "not a valid selector operator";
            causes.push(Cause::invalid(format!("{path}.operator"), &one["operator"], why));
        } else if operator.ends_with("In") != values {
            let path = format!("{path}.values");
            causes.push(if values {
                Cause::forbidden(path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            } else {
                Cause::required(path, "must be specified when `operator` is 'In' or 'NotIn'")
            });
        }
    }
}

fn strategy(spec: &Value, causes: &mut Vec<Cause>) {
    let strategy = &spec["strategy"];
    match strategy["type"].as_str() {
        None => {}
        Some("Recreate") if strategy["rollingUpdate"].is_null() => {}
        Some("Recreate") => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(Cause::forbidden("spec.strategy.rollingUpdate", why));
        }
        Some("RollingUpdate") => {
            let rolling = &strategy["rollingUpdate"];
            let mut zero = true;
            for field in ["maxUnavailable", "maxSurge"] {
                let value = &rolling[field];
                let number = value.as_i64().or_else(|| value.as_str()?.strip_suffix('%')?.parse().ok());
                zero &= number == Some(0);
                if number.is_none_or(|number| number < 0) {
                    let path = format!("spec.strategy.rollingUpdate.{field}");
                    let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                    causes.push(Cause::invalid(path, value, why));
                }
            }
            if zero {
                let path = "spec.strategy.rollingUpdate.maxUnavailable";
                let why = "may not be 0 when `maxSurge` is 0";
                causes.push(Cause::invalid(path, &rolling["maxUnavailable"], why));
            }
        }
        Some(kind) => {
            // The whole strategy, as Kubernetes has it in memory.
            let value = json!({ "Type": kind, "RollingUpdate": null });
            causes.push(Cause::not_supported("spec.strategy", &value, &["Recreate", "RollingUpdate"]));
        }
    }
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut volumes = BTreeSet::new();
    for (place, one) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        volume(one, &format!("{path}.volumes[{place}]"), &mut volumes, causes);
    }
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (place, one) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{place}]");
            container::check(one, &path, &volumes, causes);
            let name = one["name"].as_str().unwrap_or_default();
            if !name.is_empty() && !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &one["name"]));
            }
        }
    }
    let mut word = |field: &str, words: &[&str]| {
        if !spec[field].as_str().is_some_and(|value| words.contains(&value)) {
            causes.push(Cause::not_supported(format!("{path}.{field}"), &spec[field], words));
        }
    };
    word("restartPolicy", &["Always", "OnFailure", "Never"]);
    word("dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    metadata::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), causes);
    let mut named = |field: &str, check: fn(&str) -> Option<String>| {
        let name = spec[field].as_str().unwrap_or_default();
        if let Some(why) = check(name).filter(|_| !name.is_empty()) {
            causes.push(Cause::invalid(format!("{path}.{field}"), &spec[field], why));
        }
    };
    named("serviceAccountName", names::subdomain);
    named("nodeName", names::subdomain);
    named("hostname", names::label);
    named("subdomain", names::label);
    if spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds < 1) {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(format!("{path}.activeDeadlineSeconds"), &spec["activeDeadlineSeconds"], why));
    }
    for (place, one) in spec["tolerations"].as_array().into_iter().flatten().enumerate() {
        toleration(one, &format!("{path}.tolerations[{place}]"), causes);
    }
}

fn volume<'a>(volume: &'a Value, path: &str, seen: &mut BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    // In the order in which Kubernetes looks at them.
    const SOURCES: [&str; 9] =
        ["emptyDir", "hostPath", "secret", "nfs", "configMap", "persistentVolumeClaim", "downwardAPI", "projected", "csi"];
    let mut sources = 0;
    for source in SOURCES.into_iter().filter(|source| !volume[*source].is_null()) {
        sources += 1;
        let required = match source {
            _ if sources > 1 => {
                causes.push(Cause::forbidden(format!("{path}.{source}"), "may not specify more than 1 volume type"));
                continue;
            }
            "configMap" => "name",
            "secret" => "secretName",
            "persistentVolumeClaim" => "claimName",
            "hostPath" => "path",
            _ => continue,
        };
        if volume[source][required].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("{path}.{source}.{required}"), ""));
        }
    }
    let name = volume["name"].as_str().unwrap_or_default();
    let path = format!("{path}.name");
    if name.is_empty() {
        causes.push(Cause::required(path, ""));
    } else if let Some(why) = names::label(name) {
        causes.push(Cause::invalid(path, &volume["name"], why));
    } else if !seen.insert(name) {
        causes.push(Cause::duplicate(path, &volume["name"]));
    }
}

fn toleration(one: &Value, path: &str, causes: &mut Vec<Cause>) {
    let key = one["key"].as_str().unwrap_or_default();
    if let Some(why) = names::qualified(key).filter(|_| !key.is_empty()) {
        causes.push(Cause::invalid(format!("{path}.key"), &one["key"], why));
    }
    let operator = one["operator"].as_str().unwrap_or_default();
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        causes.push(Cause::invalid(format!("{path}.operator"), &json!(operator), why));
    }
    match operator {
        "" | "Equal" => {}
        "Exists" if one["value"].as_str().is_some_and(|value| !value.is_empty()) => {
            causes.push(Cause::invalid(format!("{path}.operator"), one, "value must be empty when `operator` is 'Exists'"));
        }
        "Exists" => {}
        _ => causes.push(Cause::not_supported(format!("{path}.operator"), &one["operator"], &["Equal", "Exists"])),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if one["effect"].as_str().is_some_and(|effect| !effect.is_empty() && !effects.contains(&effect)) {
        causes.push(Cause::not_supported(format!("{path}.effect"), &one["effect"], &effects));
    }
}
