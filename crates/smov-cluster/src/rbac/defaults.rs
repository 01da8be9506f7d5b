//! The roles and bindings that every cluster has from the start: `cluster-admin`, `admin`, `edit`,
//! `view`, and what everybody known may ask. Kubernetes' rules, for the kinds that are served here.

use serde_json::{Value, json};

use crate::{
    error::ApiError,
    kinds::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind},
    registry::{Registry, WriteOptions},
};

const GROUP: &str = "rbac.authorization.k8s.io";
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const BOTH: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

fn role(name: &str, label: Option<&str>, rules: &Value) -> Value {
    let mut labels = json!({ "kubernetes.io/bootstrapping": "rbac-defaults" });
    if let Some(label) = label {
        labels[format!("{GROUP}/{label}")] = json!("true");
    }
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole",
        "metadata": { "name": name, "labels": labels, "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" } },
        "rules": rules,
    })
}

/// A role that is made of those with the label; it may be part of another.
fn aggregated(name: &str, from: &str, label: Option<&str>) -> Value {
    let mut role = role(name, label, &json!([]));
    role["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { format!("{GROUP}/{from}"): "true" } }] });
    role
}

fn binding(name: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups.iter().map(|group| json!({ "apiGroup": GROUP, "kind": "Group", "name": group })).collect();
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
            "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" },
        },
        "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": name },
        "subjects": subjects,
    })
}

fn roles() -> Vec<Value> {
    let paths = |urls: &[&str]| json!([{ "nonResourceURLs": urls, "verbs": ["get"] }]);
    vec![
        role("cluster-admin", None, &json!([rule("*", &["*"], &["*"]), { "nonResourceURLs": ["*"], "verbs": ["*"] }])),
        aggregated("admin", "aggregate-to-admin", None),
        aggregated("edit", "aggregate-to-edit", Some("aggregate-to-admin")),
        aggregated("view", "aggregate-to-view", Some("aggregate-to-edit")),
        role(
            "system:aggregate-to-admin",
            Some("aggregate-to-admin"),
            &json!([
                rule("authorization.k8s.io", &["localsubjectaccessreviews"], &["create"]),
                rule(GROUP, &["rolebindings", "roles"], &BOTH),
            ]),
        ),
        role(
            "system:aggregate-to-edit",
            Some("aggregate-to-edit"),
            &json!([
                rule("", &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], &READ),
                rule("", &["serviceaccounts"], &["impersonate"]),
                rule("", &["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], &WRITE),
                rule("", &["pods/eviction"], &["create"]),
                rule(
                    "",
                    &["configmaps", "events", "persistentvolumeclaims", "secrets", "serviceaccounts", "services", "services/proxy"],
                    &WRITE,
                ),
                rule("", &["serviceaccounts/token"], &["create"]),
                rule("apps", &["deployments", "deployments/rollback", "deployments/scale", "replicasets", "replicasets/scale"], &WRITE),
                rule("policy", &["poddisruptionbudgets"], &WRITE),
                rule("coordination.k8s.io", &["leases"], &BOTH),
            ]),
        ),
        role(
            "system:aggregate-to-view",
            Some("aggregate-to-view"),
            &json!([
                rule(
                    "",
                    &[
                        "configmaps",
                        "endpoints",
                        "persistentvolumeclaims",
                        "persistentvolumeclaims/status",
                        "pods",
                        "serviceaccounts",
                        "services",
                        "services/status",
                    ],
                    &READ,
                ),
                rule("", &["events", "namespaces/status", "pods/log", "pods/status"], &READ),
                rule("", &["namespaces"], &READ),
                rule("discovery.k8s.io", &["endpointslices"], &READ),
                rule(
                    "apps",
                    &["deployments", "deployments/scale", "deployments/status", "replicasets", "replicasets/scale", "replicasets/status"],
                    &READ,
                ),
                rule("policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"], &READ),
            ]),
        ),
        role(
            "system:auth-delegator",
            None,
            &json!([
                rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
                rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
            ]),
        ),
        role(
            "system:basic-user",
            None,
            &json!([
                rule("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
                rule("authentication.k8s.io", &["selfsubjectreviews"], &["create"]),
            ]),
        ),
        role(
            "system:discovery",
            None,
            &paths(&[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ]),
        ),
        role("system:public-info-viewer", None, &paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"])),
    ]
}

fn bindings() -> Vec<Value> {
    vec![
        binding("cluster-admin", &[super::MASTERS]),
        binding("system:basic-user", &["system:authenticated"]),
        binding("system:discovery", &["system:authenticated"]),
        binding("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
    ]
}

/// Creates what is missing; what is there is left as people made it, but a role that lacks one of
/// its rules gets it back, as in Kubernetes.
///
/// # Errors
/// The state cannot be written.
pub(crate) fn ensure(registry: &Registry) -> Result<(), ApiError> {
    let known: [(&'static Kind, Vec<Value>, &str); 2] =
        [(&CLUSTER_ROLE, roles(), "rules"), (&CLUSTER_ROLE_BINDING, bindings(), "subjects")];
    let options = WriteOptions { field_manager: "kube-apiserver".to_owned(), ..WriteOptions::default() };
    for (kind, objects, field) in known {
        for object in objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let Some(present) = registry.find(kind, "", &name) else {
                registry.create(object, &options)?;
                continue;
            };
            let held = |wanted: &&Value| !present[field].as_array().is_some_and(|list| list.contains(wanted));
            let wanted: Vec<Value> = object[field].as_array().into_iter().flatten().filter(held).cloned().collect();
            let autoupdate = present["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] != "false";
            if autoupdate && !wanted.is_empty() {
                registry.modify(kind, "", &name, &options, |object| {
                    let mut list = object[field].as_array().cloned().unwrap_or_default();
                    list.extend(wanted.iter().cloned());
                    object[field] = json!(list);
                    Ok(())
                })?;
            }
        }
    }
    super::aggregate(registry)
}
