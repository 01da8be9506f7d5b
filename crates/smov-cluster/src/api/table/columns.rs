//! The columns of each kind, as Kubernetes' and Istio's own printers have them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{pod, time};
use crate::kinds::Kind;

/// One column: its name, its type, whether only `-o wide` shows it (1), and its cell.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) r#type: &'static str,
    pub(super) priority: u8,
    pub(super) cell: fn(&Value, Timestamp) -> Value,
}

/// Name, priority, cell, and the type where it is no string.
macro_rules! columns {
    ($($name:literal $priority:literal $cell:expr $(=> $kind:literal)?),+ $(,)?) => {
        &[$(Column { name: $name, r#type: column_type!($($kind)?), priority: $priority, cell: $cell }),+]
    };
}

macro_rules! column_type {
    () => {
        "string"
    };
    ($kind:literal) => {
        $kind
    };
}

fn text(value: &Value) -> Value {
    match value {
        Value::Null => json!(""),
        Value::String(_) => value.clone(),
        other => json!(other.to_string()),
    }
}

fn or_none(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if !text.is_empty() => value.clone(),
        _ => json!("<none>"),
    }
}

/// As a number, not as text: where Kubernetes' column is of type integer.
fn integer(value: &Value) -> Value {
    json!(value.as_i64().unwrap_or_default())
}

fn number(value: &Value) -> Value {
    json!(value.as_i64().unwrap_or_default().to_string())
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn or_unknown(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if !text.is_empty() => value.clone(),
        _ => json!("<unknown>"),
    }
}

fn unset(value: &Value) -> Value {
    if value.is_null() { json!("<unset>") } else { text(value) }
}

fn join(parts: impl Iterator<Item = String>) -> Value {
    let joined = parts.collect::<Vec<_>>().join(",");
    json!(if joined.is_empty() { "<none>".to_owned() } else { joined })
}

fn name(object: &Value, _: Timestamp) -> Value {
    object["metadata"]["name"].clone()
}

fn count(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

fn data(object: &Value, _: Timestamp) -> Value {
    json!((count(&object["data"]) + count(&object["binaryData"])).to_string())
}

fn labels(map: &Value) -> Value {
    let pairs = map.as_object().into_iter().flatten();
    join(pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())))
}

fn selector(object: &Value, _: Timestamp) -> Value {
    labels(&object["spec"]["selector"]["matchLabels"])
}

fn containers(object: &Value, field: &str) -> Value {
    join(list(&object["spec"]["template"]["spec"], "containers").filter_map(|one| one[field].as_str().map(str::to_owned)))
}

fn service_ports(object: &Value, _: Timestamp) -> Value {
    join(list(&object["spec"], "ports").map(|port| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["nodePort"].as_i64() {
            Some(node) => format!("{}:{node}/{protocol}", port["port"]),
            None => format!("{}/{protocol}", port["port"]),
        }
    }))
}

fn external_ip(object: &Value, _: Timestamp) -> Value {
    let spec = &object["spec"];
    match spec["type"].as_str() {
        Some("ExternalName") => text(&spec["externalName"]),
        Some("LoadBalancer") => {
            let found = list(&object["status"]["loadBalancer"], "ingress")
                .filter_map(|one| one["ip"].as_str().or_else(|| one["hostname"].as_str()))
                .collect::<Vec<_>>();
            json!(if found.is_empty() { "<pending>".to_owned() } else { found.join(",") })
        }
        _ => join(list(spec, "externalIPs").filter_map(|one| one.as_str().map(str::to_owned))),
    }
}

fn node_status(object: &Value, _: Timestamp) -> Value {
    let ready = list(&object["status"], "conditions").find(|one| one["type"] == "Ready");
    let status = match ready.map(|one| one["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    if object["spec"]["unschedulable"] == true {
        return json!(format!("{status},SchedulingDisabled"));
    }
    json!(status)
}

fn node_roles(object: &Value, _: Timestamp) -> Value {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    join(labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/").map(str::to_owned)))
}

fn node_address(object: &Value, kind: &str) -> Value {
    let found = list(&object["status"], "addresses").find(|one| one["type"] == kind);
    or_none(found.map_or(&Value::Null, |one| &one["address"]))
}

fn endpoint_ports(object: &Value, _: Timestamp) -> Value {
    json!(match join(list(object, "ports").map(|one| one["port"].to_string())) {
        Value::String(text) if text == "<none>" => "<unset>".to_owned(),
        other => other.as_str().unwrap_or_default().to_owned(),
    })
}

/// The first few of many, as Kubernetes' printer does it.
fn few(all: &[String], shown: usize) -> Value {
    if all.is_empty() {
        return json!("<none>");
    }
    let mut text = all.iter().take(shown).cloned().collect::<Vec<_>>().join(",");
    if all.len() > shown {
        text.push_str(&format!(" + {} more...", all.len() - shown));
    }
    json!(text)
}

fn slice_endpoints(object: &Value, _: Timestamp) -> Value {
    let all: Vec<String> =
        list(object, "endpoints").flat_map(|one| list(one, "addresses")).filter_map(|one| one.as_str().map(str::to_owned)).collect();
    if all.is_empty() {
        return json!("<unset>");
    }
    few(&all, 3)
}

fn endpoints(object: &Value, _: Timestamp) -> Value {
    let mut all = Vec::new();
    for subset in list(object, "subsets") {
        for address in list(subset, "addresses").filter_map(|one| one["ip"].as_str()) {
            all.extend(list(subset, "ports").map(|port| format!("{address}:{}", port["port"])));
        }
    }
    few(&all, 3)
}

fn role(object: &Value, _: Timestamp) -> Value {
    let role = &object["roleRef"];
    let part = |field: &str| role[field].as_str().unwrap_or_default();
    json!(format!("{}/{}", part("kind"), part("name")))
}

/// The subjects of one kind, accounts with their namespace.
fn subjects(object: &Value, kind: &str) -> Value {
    let part = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let named = list(object, "subjects")
        .filter(|one| one["kind"] == kind)
        .map(|one| if kind == "ServiceAccount" { format!("{}/{}", part(one, "namespace"), part(one, "name")) } else { part(one, "name") });
    json!(named.collect::<Vec<_>>().join(", "))
}

fn last_seen(object: &Value, now: Timestamp) -> Value {
    let time = [&object["lastTimestamp"], &object["firstTimestamp"], &object["eventTime"]];
    let time = time.into_iter().find(|time| time.is_string()).unwrap_or(&Value::Null);
    json!(time::since(time, now))
}

fn regarding(object: &Value, _: Timestamp) -> Value {
    let one = &object["involvedObject"];
    let part = |field: &str| one[field].as_str().unwrap_or_default();
    json!(format!("{}/{}", part("kind").to_lowercase(), part("name")))
}

fn source(object: &Value, _: Timestamp) -> Value {
    let source = &object["source"];
    let component = source["component"].as_str().or(object["reportingComponent"].as_str());
    let parts = [component, source["host"].as_str()];
    json!(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The columns of a kind, in order.
pub(super) fn of(kind: &Kind) -> &'static [Column] {
    match kind.kind {
        "Pod" => columns![
            "Name" 0 name, "Ready" 0 pod::ready, "Status" 0 pod::status, "Restarts" 0 pod::restarts, "Age" 0 time::age,
            "IP" 1 |o, _| or_none(&o["status"]["podIP"]),
            "Node" 1 |o, _| or_none(&o["spec"]["nodeName"]),
            "Nominated Node" 1 |o, _| or_none(&o["status"]["nominatedNodeName"]),
            "Readiness Gates" 1 |_, _| json!("<none>"),
        ],
        "Deployment" => columns![
            "Name" 0 name,
            "Ready" 0 |o, _| json!(format!("{}/{}", o["status"]["readyReplicas"].as_i64().unwrap_or(0), o["spec"]["replicas"].as_i64().unwrap_or(0))),
            "Up-to-date" 0 |o, _| number(&o["status"]["updatedReplicas"]),
            "Available" 0 |o, _| number(&o["status"]["availableReplicas"]),
            "Age" 0 time::age,
            "Containers" 1 |o, _| containers(o, "name"),
            "Images" 1 |o, _| containers(o, "image"),
            "Selector" 1 selector,
        ],
        "ReplicaSet" => columns![
            "Name" 0 name,
            "Desired" 0 |o, _| integer(&o["spec"]["replicas"]) => "integer",
            "Current" 0 |o, _| integer(&o["status"]["replicas"]) => "integer",
            "Ready" 0 |o, _| integer(&o["status"]["readyReplicas"]) => "integer",
            "Age" 0 time::age,
            "Containers" 1 |o, _| containers(o, "name"),
            "Images" 1 |o, _| containers(o, "image"),
            "Selector" 1 selector,
        ],
        "Service" => columns![
            "Name" 0 name,
            "Type" 0 |o, _| text(&o["spec"]["type"]),
            "Cluster-IP" 0 |o, _| or_none(&o["spec"]["clusterIP"]),
            "External-IP" 0 external_ip,
            "Port(s)" 0 service_ports,
            "Age" 0 time::age,
            "Selector" 1 |o, _| labels(&o["spec"]["selector"]),
        ],
        "Node" => columns![
            "Name" 0 name, "Status" 0 node_status, "Roles" 0 node_roles, "Age" 0 time::age,
            "Version" 0 |o, _| text(&o["status"]["nodeInfo"]["kubeletVersion"]),
            "Internal-IP" 1 |o, _| node_address(o, "InternalIP"),
            "External-IP" 1 |o, _| node_address(o, "ExternalIP"),
            "OS-Image" 1 |o, _| or_unknown(&o["status"]["nodeInfo"]["osImage"]),
            "Kernel-Version" 1 |o, _| or_unknown(&o["status"]["nodeInfo"]["kernelVersion"]),
            "Container-Runtime" 1 |o, _| or_unknown(&o["status"]["nodeInfo"]["containerRuntimeVersion"]),
        ],
        "Namespace" => columns![
            "Name" 0 name, "Status" 0 |o, _| text(&o["status"]["phase"]), "Age" 0 time::age,
        ],
        "Event" => columns![
            "Last Seen" 0 last_seen,
            "Type" 0 |o, _| text(&o["type"]),
            "Reason" 0 |o, _| text(&o["reason"]),
            "Object" 0 regarding,
            "Subobject" 1 |o, _| text(&o["involvedObject"]["fieldPath"]),
            "Source" 1 source,
            "Message" 0 |o, _| json!(o["message"].as_str().unwrap_or_default().trim()),
            "First Seen" 1 |o, now| json!(time::since(&o["firstTimestamp"], now)),
            "Count" 1 |o, _| json!(o["count"].as_i64().unwrap_or(1).to_string()),
            "Name" 1 name,
        ],
        "EndpointSlice" => columns![
            "Name" 0 name, "AddressType" 0 |o, _| text(&o["addressType"]), "Ports" 0 endpoint_ports,
            "Endpoints" 0 slice_endpoints, "Age" 0 time::age,
        ],
        "Endpoints" => columns!["Name" 0 name, "Endpoints" 0 endpoints, "Age" 0 time::age],
        "ConfigMap" => columns!["Name" 0 name, "Data" 0 data, "Age" 0 time::age],
        "Secret" => columns![
            "Name" 0 name, "Type" 0 |o, _| text(&o["type"]), "Data" 0 data, "Age" 0 time::age,
        ],
        "ServiceAccount" => columns![
            "Name" 0 name, "Secrets" 0 |o, _| json!(list(o, "secrets").count().to_string()), "Age" 0 time::age,
        ],
        "PersistentVolumeClaim" => columns![
            "Name" 0 name,
            "Status" 0 |o, _| text(&o["status"]["phase"]),
            "Volume" 0 |o, _| text(&o["spec"]["volumeName"]),
            "Capacity" 0 |o, _| text(&o["status"]["capacity"]["storage"]),
            "Access Modes" 0 |o, _| match join(list(&o["spec"], "accessModes").map(|one| one.as_str().unwrap_or_default().to_owned())) {
                Value::String(text) => json!(text.replace("ReadWriteOnce", "RWO").replace("ReadOnlyMany", "ROX").replace("ReadWriteMany", "RWX")),
                other => other,
            },
            "StorageClass" 0 |o, _| text(&o["spec"]["storageClassName"]),
            "VolumeAttributesClass" 0 |o, _| unset(&o["spec"]["volumeAttributesClassName"]),
            "Age" 0 time::age,
            "VolumeMode" 1 |o, _| unset(&o["spec"]["volumeMode"]),
        ],
        "Role" | "ClusterRole" | "CustomResourceDefinition" => columns![
            "Name" 0 name, "Created At" 0 |o, _| text(&o["metadata"]["creationTimestamp"]) => "date",
        ],
        "RoleBinding" | "ClusterRoleBinding" => columns![
            "Name" 0 name, "Role" 0 role, "Age" 0 time::age,
            "Users" 1 |o, _| subjects(o, "User"),
            "Groups" 1 |o, _| subjects(o, "Group"),
            "ServiceAccounts" 1 |o, _| subjects(o, "ServiceAccount"),
        ],
        "Lease" => columns![
            "Name" 0 name, "Holder" 0 |o, _| text(&o["spec"]["holderIdentity"]), "Age" 0 time::age,
        ],
        "PodDisruptionBudget" => columns![
            "Name" 0 name,
            "Min Available" 0 |o, _| budget(&o["spec"]["minAvailable"]),
            "Max Unavailable" 0 |o, _| budget(&o["spec"]["maxUnavailable"]),
            "Allowed Disruptions" 0 |o, _| integer(&o["status"]["disruptionsAllowed"]) => "integer",
            "Age" 0 time::age,
        ],
        "VirtualService" => columns![
            "Name" 0 name,
            "Gateways" 0 |o, _| text(&o["spec"]["gateways"]),
            "Hosts" 0 |o, _| text(&o["spec"]["hosts"]),
            "Age" 0 time::age => "date",
        ],
        "DestinationRule" => columns!["Name" 0 name, "Host" 0 |o, _| text(&o["spec"]["host"]), "Age" 0 time::age => "date"],
        "ServiceEntry" => columns![
            "Name" 0 name,
            "Hosts" 0 |o, _| text(&o["spec"]["hosts"]),
            "Location" 0 |o, _| text(&o["spec"]["location"]),
            "Resolution" 0 |o, _| text(&o["spec"]["resolution"]),
            "Age" 0 time::age => "date",
        ],
        "WorkloadEntry" => columns!["Name" 0 name, "Age" 0 time::age => "date", "Address" 0 |o, _| text(&o["spec"]["address"])],
        "PeerAuthentication" => columns!["Name" 0 name, "Mode" 0 |o, _| text(&o["spec"]["mtls"]["mode"]), "Age" 0 time::age => "date"],
        "AuthorizationPolicy" => columns!["Name" 0 name, "Action" 0 |o, _| text(&o["spec"]["action"]), "Age" 0 time::age => "date"],
        _ if kind.custom => columns!["Name" 0 name, "Age" 0 time::age => "date"],
        _ => columns!["Name" 0 name, "Age" 0 time::age],
    }
}

fn budget(value: &Value) -> Value {
    if value.is_null() { json!("N/A") } else { text(value) }
}
