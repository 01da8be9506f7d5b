//! What Kubernetes fills in where a manifest is silent, so that `-o yaml` looks familiar and
//! controllers need no second copy of it.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;

/// The present time as Kubernetes writes it: UTC, whole seconds.
pub(crate) fn now() -> String {
    timestamp(jiff::Timestamp::now())
}

/// A time as Kubernetes writes it.
pub(crate) fn timestamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Kinds whose `metadata.generation` counts changes of content.
pub(super) fn has_generation(kind: &Kind) -> bool {
    kind.custom || matches!(kind.kind, "Deployment" | "ReplicaSet" | "PodDisruptionBudget")
}

/// The life of an object begins: identity, first status.
pub(super) fn begin(kind: &Kind, object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"] {
            metadata.shift_remove(field);
        }
        metadata.insert("uid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
        metadata.insert("creationTimestamp".to_owned(), json!(now()));
        if has_generation(kind) {
            metadata.insert("generation".to_owned(), json!(1));
        }
    }
    let status = match kind.kind {
        // Nodes tell their first status themselves.
        "Node" => return,
        "Pod" => Some(json!({ "phase": "Pending", "qosClass": quality_of_service(&object["spec"]) })),
        "Namespace" => Some(json!({ "phase": "Active" })),
        "Service" => Some(json!({ "loadBalancer": {} })),
        "PersistentVolumeClaim" => Some(json!({ "phase": "Pending" })),
        "Deployment" => Some(json!({})),
        "ReplicaSet" => Some(json!({ "replicas": 0 })),
        _ => None,
    };
    if let Some(status) = status {
        object["status"] = status;
    } else if kind.has("status")
        && let Some(map) = object.as_object_mut()
    {
        map.shift_remove("status");
    }
}

/// What an update need not repeat.
pub(super) fn carry_over(kind: &Kind, old: &Value, new: &mut Value) {
    let fields: &[&str] = match kind.kind {
        "Service" if new["spec"]["type"] != "ExternalName" => &["clusterIP", "clusterIPs"],
        "Pod" => &["nodeName", "serviceAccountName", "serviceAccount"],
        "Namespace" => &["finalizers"],
        _ => &[],
    };
    for field in fields {
        // A namespace's finalizers go by an explicit empty list only.
        if new["spec"].get(*field).is_none_or(Value::is_null)
            && let Some(value) = old["spec"].get(*field)
        {
            new["spec"][*field] = value.clone();
        }
    }
}

/// Fills in defaults; again and again changes nothing.
pub(super) fn apply(kind: &Kind, object: &mut Value) {
    if matches!(kind.kind, "Pod" | "Deployment" | "ReplicaSet" | "Service")
        && let Some(map) = object.as_object_mut()
    {
        default(map, "spec", json!({}));
    }
    match kind.kind {
        "Namespace" => namespace(object),
        "Pod" => {
            if let Some(spec) = object["spec"].as_object_mut() {
                default(spec, "enableServiceLinks", json!(true));
                default(spec, "serviceAccountName", json!("default"));
                let account = spec["serviceAccountName"].clone();
                default(spec, "serviceAccount", account);
                pod_spec(spec);
                requests(spec);
            }
        }
        "Deployment" => {
            if let Some(spec) = object["spec"].as_object_mut() {
                default(spec, "replicas", json!(1));
                default(spec, "revisionHistoryLimit", json!(10));
                default(spec, "progressDeadlineSeconds", json!(600));
                strategy(spec);
            }
            template(&mut object["spec"]);
        }
        "ReplicaSet" => {
            if let Some(spec) = object["spec"].as_object_mut() {
                default(spec, "replicas", json!(1));
            }
            template(&mut object["spec"]);
        }
        "PodDisruptionBudget" => {
            if let Some(map) = object.as_object_mut() {
                default(map, "status", json!({}));
            }
            if let Some(status) = object["status"].as_object_mut() {
                for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                    default(status, field, json!(0));
                }
            }
        }
        "Service" => service(object),
        "Secret" => secret(object),
        "RoleBinding" | "ClusterRoleBinding" => role_binding(object),
        "PersistentVolumeClaim" => {
            if let Some(spec) = object["spec"].as_object_mut() {
                default(spec, "volumeMode", json!("Filesystem"));
            }
        }
        _ => {}
    }
}

fn default(map: &mut Map<String, Value>, field: &str, value: Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value);
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    if object["metadata"]["deletionTimestamp"].is_null() && object["spec"]["finalizers"].is_null() {
        object["spec"]["finalizers"] = json!(["kubernetes"]);
    }
}

fn strategy(spec: &mut Map<String, Value>) {
    default(spec, "strategy", json!({}));
    if let Some(strategy) = spec["strategy"].as_object_mut() {
        default(strategy, "type", json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate" {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = strategy["rollingUpdate"].as_object_mut() {
                default(rolling, "maxSurge", json!("25%"));
                default(rolling, "maxUnavailable", json!("25%"));
            }
        }
    }
}

fn template(spec: &mut Value) {
    let Some(map) = spec.as_object_mut() else { return };
    default(map, "template", json!({}));
    let template = &mut spec["template"];
    if let Some(map) = template.as_object_mut() {
        default(map, "spec", json!({}));
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        // kubectl and kustomize like to send it.
        if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
            metadata.shift_remove("creationTimestamp");
        }
    }
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        pod_spec(spec);
        // A pod template has both names of the account, as kubectl shows it.
        if let Some(account) = spec.get("serviceAccountName").cloned() {
            default(spec, "serviceAccount", account);
        }
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", json!("default-scheduler"));
    for list in ["initContainers", "containers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(one) = one.as_object_mut() {
                container(one);
            }
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(volume) = volume.as_object_mut() {
            if volume.len() == 1 {
                volume.insert("emptyDir".to_owned(), json!({}));
            }
            for source in ["configMap", "secret", "projected", "downwardAPI"] {
                if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                    default(source, "defaultMode", json!(0o644));
                }
            }
        }
    }
}

/// What a pod limits and does not request, it requests.
fn requests(spec: &mut Map<String, Value>) {
    for list in ["initContainers", "containers"] {
        for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(resources) = one.get_mut("resources").and_then(Value::as_object_mut) else { continue };
            let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { continue };
            default(resources, "requests", json!({}));
            if let Some(requests) = resources.get_mut("requests").and_then(Value::as_object_mut) {
                for (name, amount) in limits {
                    default(requests, &name, amount);
                }
            }
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest");
    default(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    default(container, "resources", json!({}));
    default(container, "terminationMessagePath", json!("/dev/termination-log"));
    default(container, "terminationMessagePolicy", json!("File"));
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            default(port, "protocol", json!("TCP"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            default(probe, "timeoutSeconds", json!(1));
            default(probe, "periodSeconds", json!(10));
            default(probe, "successThreshold", json!(1));
            default(probe, "failureThreshold", json!(3));
            if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
                default(get, "path", json!("/"));
                default(get, "scheme", json!("HTTP"));
            }
        }
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(reference) = variable.pointer_mut("/valueFrom/fieldRef").and_then(Value::as_object_mut) {
            default(reference, "apiVersion", json!("v1"));
        }
    }
}

fn service(object: &mut Value) {
    let Some(spec) = object["spec"].as_object_mut() else {
        return;
    };
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    if spec["type"] == "ExternalName" {
        return;
    }
    default(spec, "internalTrafficPolicy", json!("Cluster"));
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", json!("SingleStack"));
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            default(port, "protocol", json!("TCP"));
            if let Some(number) = port.get("port").cloned() {
                default(port, "targetPort", number);
            }
        }
    }
}

/// `stringData` is for writing only.
fn secret(object: &mut Value) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let Some(map) = object.as_object_mut() else {
        return;
    };
    default(map, "type", json!("Opaque"));
    if let Some(Value::Object(texts)) = map.shift_remove("stringData") {
        let data = map.entry("data").or_insert_with(|| json!({}));
        if data.is_null() {
            *data = json!({});
        }
        for (name, text) in texts {
            data[name] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
        }
    }
}

fn role_binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = object["roleRef"].as_object_mut() {
        default(role, "apiGroup", json!(GROUP));
    }
    for subject in object["subjects"].as_array_mut().into_iter().flatten() {
        let account = subject["kind"] == "ServiceAccount";
        if let (Some(subject), false) = (subject.as_object_mut(), account) {
            default(subject, "apiGroup", json!(GROUP));
        }
    }
    if object["subjects"].is_null()
        && let Some(map) = object.as_object_mut()
    {
        map.shift_remove("subjects");
    }
}

/// `status.qosClass` by Kubernetes' rule.
fn quality_of_service(spec: &Value) -> &'static str {
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let empty = |value: &Value| value.as_object().is_none_or(Map::is_empty);
    if containers.iter().all(|one| empty(&one["resources"]["requests"]) && empty(&one["resources"]["limits"])) {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|one| {
        let (requests, limits) = (&one["resources"]["requests"], &one["resources"]["limits"]);
        ["cpu", "memory"].iter().all(|name| !limits[name].is_null() && (requests[name].is_null() || requests[name] == limits[name]))
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn defaults_are_filled_in_once() {
        let mut pod = json!({ "spec": { "containers": [{ "name": "a", "image": "registry:5000/a" }] } });
        apply(&kinds::POD, &mut pod);
        assert_eq!(pod["spec"]["restartPolicy"], "Always");
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "Always");
        let again = {
            let mut again = pod.clone();
            apply(&kinds::POD, &mut again);
            again
        };
        assert_eq!(pod, again);
    }

    #[test]
    fn string_data_becomes_data() {
        let mut object = json!({ "stringData": { "a": "b" } });
        secret(&mut object);
        assert_eq!(object, json!({ "type": "Opaque", "data": { "a": "Yg==" } }));
    }
}
