//! Pods, Deployments, ReplicaSets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{metadata, names};
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
    if spec["replicas"].as_i64().is_none_or(|replicas| replicas < 0) {
        let path = "spec.replicas";
        causes.push(Cause::invalid(path, &spec["replicas"], "must be greater than or equal to 0"));
    }
    let selector = LabelSelector::from_object(&spec["selector"]);
    let labels = &spec["template"]["metadata"]["labels"];
    if spec["selector"].is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else if selector.is_empty() {
        let path = "spec.selector";
        let why = "empty selector is invalid for deployment";
        causes.push(Cause::invalid(path, &spec["selector"], why));
    }
    if !selector.matches(labels) {
        let path = "spec.template.metadata.labels";
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid(path, labels, why));
    }
    expressions(&spec["selector"]["matchExpressions"], causes);
    if let Some(old) = old
        && old["spec"]["selector"] != spec["selector"]
    {
        causes.push(Cause::invalid("spec.selector", &spec["selector"], "field is immutable"));
    }
    metadata::labels(labels, "spec.template.metadata.labels", causes);
    strategy(spec, causes);
    let pod = &spec["template"]["spec"];
    if pod["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        let path = "spec.template.spec.restartPolicy";
        causes.push(Cause::not_supported(path, &pod["restartPolicy"], &["Always"]));
    }
    pod_spec(pod, "spec.template.spec", causes);
}

fn expressions(expressions: &Value, causes: &mut Vec<Cause>) {
    const OPERATORS: [&str; 4] = ["DoesNotExist", "Exists", "In", "NotIn"];
    for (place, one) in expressions.as_array().into_iter().flatten().enumerate() {
        let path = format!("spec.selector.matchExpressions[{place}]");
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
        Some(_) => causes.push(Cause::not_supported("spec.strategy.type", &strategy["type"], &["Recreate", "RollingUpdate"])),
    }
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut volumes = BTreeSet::new();
    for (place, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumes[{place}].name");
        let name = volume["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(path, ""));
        } else if let Some(why) = names::label(name) {
            causes.push(Cause::invalid(path, &volume["name"], why));
        } else if !volumes.insert(name) {
            causes.push(Cause::duplicate(path, &volume["name"]));
        }
    }
    let policy = spec["restartPolicy"].as_str().unwrap_or_default();
    if !["Always", "OnFailure", "Never"].contains(&policy) {
        causes.push(Cause::not_supported(format!("{path}.restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]));
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|grace| grace < 0) {
        let path = format!("{path}.terminationGracePeriodSeconds");
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid(path, &spec["terminationGracePeriodSeconds"], why));
    }
    let mut seen = BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (place, one) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{place}]");
            let name = one["name"].as_str().unwrap_or_default();
            if !name.is_empty() && !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &one["name"]));
            }
            container(one, &path, &volumes, causes);
        }
    }
}

fn container(one: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    match one["name"].as_str().unwrap_or_default() {
        "" => causes.push(Cause::required(format!("{path}.name"), "")),
        name => {
            if let Some(why) = names::label(name) {
                causes.push(Cause::invalid(format!("{path}.name"), &one["name"], why));
            }
        }
    }
    if one["image"].as_str().is_none_or(|image| image.trim().is_empty()) {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    let mut seen = BTreeSet::new();
    for (place, port) in one["ports"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.ports[{place}]");
        port_number(&port["containerPort"], &format!("{path}.containerPort"), causes);
        if let Some(name) = port["name"].as_str()
            && !seen.insert(name)
        {
            causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        }
    }
    for (place, variable) in one["env"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.env[{place}]");
        match variable["name"].as_str().unwrap_or_default() {
            "" => causes.push(Cause::required(format!("{path}.name"), "")),
            name => {
                if let Some(why) = names::variable(name) {
                    causes.push(Cause::invalid(format!("{path}.name"), &variable["name"], why));
                }
            }
        }
        let both = variable["value"].as_str().is_some_and(|value| !value.is_empty()) && !variable["valueFrom"].is_null();
        if both {
            let why = "may not be specified when `value` is not empty";
            causes.push(Cause::invalid(format!("{path}.valueFrom"), &json!(""), why));
        }
    }
    let mut paths = BTreeSet::new();
    for (place, mount) in one["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{place}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause { reason: "FieldValueNotFound", field: format!("{path}.name"), message: format!("Not found: {name:?}") });
        }
        match mount["mountPath"].as_str().unwrap_or_default() {
            "" => causes.push(Cause::required(format!("{path}.mountPath"), "")),
            at if !paths.insert(at) => {
                let why = "must be unique";
                causes.push(Cause::invalid(format!("{path}.mountPath"), &json!(at), why));
            }
            _ => {}
        }
    }
}

/// 1 to 65535.
pub(super) fn port_number(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value.as_i64() {
        None => causes.push(Cause::required(path, "")),
        Some(number) if !(1..=65_535).contains(&number) => {
            causes.push(Cause::invalid(path, value, "must be between 1 and 65535, inclusive"));
        }
        Some(_) => {}
    }
}
