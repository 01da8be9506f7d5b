//! Whether an object may be stored: every wrong field with its path, in Kubernetes' words.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Object;
use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    network::ServiceNetwork,
};

mod container;
mod metadata;
mod names;
mod policy;
mod service;
mod workload;

/// Longest object that is stored, as etcd's limit has it.
const LARGEST: usize = 1_572_864;

/// Checks an object that is about to be stored; `old` is what it replaces.
pub(super) fn object(kind: &'static Kind, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut causes = Vec::new();
    metadata::check(kind, object, &mut causes);
    match kind.kind {
        "Pod" => workload::pod(object, old, &mut causes),
        "Deployment" | "ReplicaSet" => workload::controller(object, old, &mut causes),
        "Service" => service::check(object, old, &mut causes),
        "ConfigMap" | "Secret" => keys(kind, object, old, &mut causes),
        "Role" | "ClusterRole" => policy::role(kind, object, &mut causes),
        "RoleBinding" | "ClusterRoleBinding" => policy::binding(kind, object, old, &mut causes),
        "PodDisruptionBudget" => policy::budget(object, &mut causes),
        _ => {}
    }
    if !causes.is_empty() {
        return Err(ApiError::invalid(kind, name, &causes));
    }
    object_size(kind, name, object)
}

/// Refuses what is too long to be kept.
pub(super) fn object_size(kind: &Kind, name: &str, object: &Value) -> Result<(), ApiError> {
    // Most objects are far smaller; counting text costs a serialisation.
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, object).map_err(ApiError::internal)?;
    if count.0 <= LARGEST {
        return Ok(());
    }
    Err(ApiError::invalid(
        kind,
        name,
        &[Cause { reason: "FieldValueTooLong", field: String::new(), message: format!("Too long: may not be more than {LARGEST} bytes") }],
    ))
}

/// Keys of ConfigMaps and Secrets; an immutable one stays as it is.
fn keys(kind: &Kind, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    for field in ["data", "binaryData"] {
        for key in object[field].as_object().into_iter().flat_map(|map| map.keys()) {
            if let Some(why) = names::config_key(key) {
                causes.push(Cause::invalid(format!("{field}[{key}]"), &json!(key), why));
            }
        }
    }
    for key in object["data"].as_object().into_iter().flat_map(|map| map.keys()) {
        if !object["binaryData"][key.as_str()].is_null() {
            causes.push(Cause::invalid(format!("data[{key}]"), &json!(key), "duplicate of key present in binaryData"));
        }
    }
    if object["type"] == "kubernetes.io/tls" {
        for key in ["tls.crt", "tls.key"].into_iter().filter(|key| object["data"][*key].is_null()) {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
    if let Some(old) = old {
        if old["immutable"] == true {
            let why = "field is immutable when `immutable` is set";
            if object["immutable"] != true {
                causes.push(Cause::forbidden("immutable", why));
            }
            for field in ["data", "binaryData"].into_iter().filter(|field| old[*field] != object[*field]) {
                causes.push(Cause::forbidden(field, why));
            }
        }
        if kind.kind == "Secret" && old["type"] != object["type"] {
            causes.push(Cause::invalid("type", &object["type"], "field is immutable"));
        }
    }
}

/// Gives a Service its address, or checks the one it asks for.
pub(super) fn allocate_cluster_ip<'a>(
    network: &ServiceNetwork,
    object: &mut Value,
    others: impl Iterator<Item = &'a Object>,
) -> Result<(), ApiError> {
    let spec = &object["spec"];
    if spec["type"] == "ExternalName" || spec["clusterIP"] == "None" {
        if spec["clusterIP"] == "None" {
            object["spec"]["clusterIPs"] = json!(["None"]);
        }
        return Ok(());
    }
    let taken: std::collections::BTreeSet<String> =
        others.filter_map(|other| other["spec"]["clusterIP"].as_str().map(str::to_owned)).collect();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let refuse = |wanted: &str, why: &str| {
        let cause = Cause::invalid("spec.clusterIPs", &json!([wanted]), format_args!("failed to allocate IP {wanted}: {why}"));
        Err(ApiError::invalid(&crate::kinds::SERVICE, name, &[cause]))
    };
    let address = match spec["clusterIP"].as_str().filter(|text| !text.is_empty()) {
        Some(wanted) => {
            let inside = wanted.parse::<Ipv4Addr>().is_ok_and(|address| network.contains(address));
            if !inside {
                return refuse(
                    wanted,
                    &format!("the provided IP is not in the valid range. The range of valid IPs is {}", network.describe()),
                );
            }
            if taken.contains(wanted) {
                return refuse(wanted, "provided IP is already allocated");
            }
            wanted.to_owned()
        }
        None => network
            .addresses()
            .map(|address| address.to_string())
            .find(|address| !taken.contains(address))
            .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?,
    };
    object["spec"]["clusterIPs"] = json!([address]);
    object["spec"]["clusterIP"] = json!(address);
    Ok(())
}

#[cfg(test)]
mod tests;
