//! Containers: ports, environment, mounts, resources, probes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::names;
use crate::{error::Cause, quantity};

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// One container of a pod with these volumes.
pub(super) fn check(one: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    match one["name"].as_str().unwrap_or_default() {
        "" => causes.push(Cause::required(format!("{path}.name"), "")),
        name => {
            if let Some(why) = names::label(name) {
                causes.push(Cause::invalid(format!("{path}.name"), &one["name"], why));
            }
        }
    }
    match one["image"].as_str().unwrap_or_default() {
        "" => causes.push(Cause::required(format!("{path}.image"), "")),
        image if image.trim() != image => {
            causes.push(Cause::invalid(format!("{path}.image"), &one["image"], "must not have leading or trailing whitespace"));
        }
        _ => {}
    }
    ports(&one["ports"], path, causes);
    environment(&one["env"], path, causes);
    mounts(&one["volumeMounts"], path, volumes, causes);
    if !one["imagePullPolicy"].as_str().is_some_and(|policy| ["Always", "IfNotPresent", "Never"].contains(&policy)) {
        let supported = ["Always", "IfNotPresent", "Never"];
        causes.push(Cause::not_supported(format!("{path}.imagePullPolicy"), &one["imagePullPolicy"], &supported));
    }
    resources(&one["resources"], &format!("{path}.resources"), causes);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        probe(&one[name], &format!("{path}.{name}"), name != "readinessProbe", causes);
    }
}

fn ports(ports: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (place, port) in ports.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.ports[{place}]");
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) {
            let wrong = names::port(name);
            if wrong.is_empty() && !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
            }
            causes.extend(wrong.into_iter().map(|why| Cause::invalid(format!("{path}.name"), &port["name"], why)));
        }
        match port["containerPort"].as_i64() {
            None | Some(0) => causes.push(Cause::required(format!("{path}.containerPort"), "")),
            Some(_) => number(&port["containerPort"], &format!("{path}.containerPort"), causes),
        }
        if port["hostPort"].as_i64().is_some_and(|port| port != 0) {
            number(&port["hostPort"], &format!("{path}.hostPort"), causes);
        }
        protocol(&port["protocol"], &path, causes);
    }
}

pub(super) fn protocol(protocol: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !protocol.as_str().is_some_and(|protocol| PROTOCOLS.contains(&protocol)) {
        causes.push(Cause::not_supported(format!("{path}.protocol"), protocol, &PROTOCOLS));
    }
}

/// 1 to 65535.
pub(super) fn number(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value.as_i64() {
        None => causes.push(Cause::required(path, "")),
        Some(number) if !(1..=65_535).contains(&number) => {
            causes.push(Cause::invalid(path, value, "must be between 1 and 65535, inclusive"));
        }
        Some(_) => {}
    }
}

/// A port by its number or its name.
pub(super) fn number_or_name(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value.as_str() {
        Some(name) => causes.extend(names::port(name).into_iter().map(|why| Cause::invalid(path, value, why))),
        None => number(value, path, causes),
    }
}

fn environment(variables: &Value, path: &str, causes: &mut Vec<Cause>) {
    const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    for (place, variable) in variables.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.env[{place}]");
        match variable["name"].as_str().unwrap_or_default() {
            "" => causes.push(Cause::required(format!("{path}.name"), "")),
            name => {
                if let Some(why) = names::variable(name) {
                    causes.push(Cause::invalid(format!("{path}.name"), &variable["name"], why));
                }
            }
        }
        let from = &variable["valueFrom"];
        if !from.is_object() {
            continue;
        }
        let why = match SOURCES.iter().filter(|source| !from[**source].is_null()).count() {
            0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            _ if variable["value"].as_str().is_some_and(|value| !value.is_empty()) => "may not be specified when `value` is not empty",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        causes.push(Cause::invalid(format!("{path}.valueFrom"), &json!(""), why));
    }
}

fn mounts(mounts: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let mut paths = BTreeSet::new();
    for (place, mount) in mounts.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{place}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause { reason: "FieldValueNotFound", field: format!("{path}.name"), message: format!("Not found: {name:?}") });
        }
        match mount["mountPath"].as_str().unwrap_or_default() {
            "" => causes.push(Cause::required(format!("{path}.mountPath"), "")),
            at if !paths.insert(at) => causes.push(Cause::invalid(format!("{path}.mountPath"), &json!(at), "must be unique")),
            _ => {}
        }
    }
}

fn resources(resources: &Value, path: &str, causes: &mut Vec<Cause>) {
    let amounts = |field: &str| -> BTreeMap<String, String> {
        let amounts = resources[field].as_object().into_iter().flatten();
        amounts.filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.to_owned()))).collect()
    };
    let (limits, requests) = (amounts("limits"), amounts("requests"));
    for (field, amounts) in [("limits", &limits), ("requests", &requests)] {
        for (name, amount) in amounts {
            if quantity::billionths(amount).is_some_and(|amount| amount < 0) {
                causes.push(Cause::invalid(format!("{path}.{field}[{name}]"), &json!(amount), NOT_NEGATIVE));
            }
            let above =
                field == "requests" && limits.get(name).is_some_and(|limit| quantity::billionths(limit) < quantity::billionths(amount));
            if above {
                let why = format!("must be less than or equal to {name} limit of {}", limits[name]);
                causes.push(Cause::invalid(format!("{path}.requests"), &json!(amount), why));
            }
        }
    }
}

/// `once`: one success is always enough, as for liveness and startup.
fn probe(probe: &Value, path: &str, once: bool, causes: &mut Vec<Cause>) {
    if !probe.is_object() {
        return;
    }
    let mut handlers = 0;
    for handler in ["exec", "httpGet", "tcpSocket", "grpc"] {
        let value = &probe[handler];
        if value.is_null() {
            continue;
        }
        let path = format!("{path}.{handler}");
        handlers += 1;
        if handlers > 1 {
            causes.push(Cause::forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        match handler {
            "exec" if value["command"].as_array().is_none_or(Vec::is_empty) => causes.push(Cause::required(format!("{path}.command"), "")),
            "httpGet" => {
                if value["path"].as_str().is_none_or(str::is_empty) {
                    causes.push(Cause::required(format!("{path}.path"), ""));
                }
                number_or_name(&value["port"], &format!("{path}.port"), causes);
                if !value["scheme"].as_str().is_some_and(|scheme| ["HTTP", "HTTPS"].contains(&scheme)) {
                    causes.push(Cause::not_supported(format!("{path}.scheme"), &value["scheme"], &["HTTP", "HTTPS"]));
                }
            }
            "tcpSocket" => number_or_name(&value["port"], &format!("{path}.port"), causes),
            "grpc" => number(&value["port"], &format!("{path}.port"), causes),
            _ => {}
        }
    }
    if handlers == 0 {
        causes.push(Cause::required(path, "must specify a handler type"));
    }
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        not_negative(&probe[field], &format!("{path}.{field}"), causes);
    }
    if once && probe["successThreshold"].as_i64().is_some_and(|threshold| threshold != 1) {
        causes.push(Cause::invalid(format!("{path}.successThreshold"), &probe["successThreshold"], "must be 1"));
    }
}

/// An absent number is fine.
pub(super) fn not_negative(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.as_i64().is_some_and(|number| number < 0) {
        causes.push(Cause::invalid(path, value, NOT_NEGATIVE));
    }
}
