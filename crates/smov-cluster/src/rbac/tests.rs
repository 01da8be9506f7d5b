use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::{
    admission::AdmitAll,
    registry::{WriteOptions, Written},
};

struct Place {
    _folder: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("objects.db"), "ctx1", Arc::new(AdmitAll)).unwrap();
        Self { _folder: folder, registry }
    }

    fn create(&self, kind: &str, name: &str, rest: &Value) {
        self.create_as(None, kind, name, rest).unwrap();
    }

    fn create_as(&self, user: Option<&User>, kind: &str, name: &str, rest: &Value) -> Result<Written, ApiError> {
        let mut object = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name } });
        if !kind.starts_with("Cluster") {
            object["metadata"]["namespace"] = json!("default");
        }
        json_patch::merge(&mut object, rest);
        let options = WriteOptions { identity: user.cloned().map(Arc::new), ..WriteOptions::default() };
        self.registry.create(object, &options)
    }

    fn bind(&self, kind: &str, role_kind: &str, role: &str) {
        self.create(kind, &format!("{role}-to-probe"), &binding(role_kind, role));
    }

    fn may(&self, method: &str, path: &str) -> Result<(), String> {
        let asked = Attributes::of(method, path, false, None);
        require(&self.registry, &probe(), &asked).map_err(|error| error.message)
    }
}

fn binding(role_kind: &str, role: &str) -> Value {
    json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": "probe", "namespace": "default" }],
    })
}

fn probe() -> User {
    User {
        name: "system:serviceaccount:default:probe".to_owned(),
        uid: String::new(),
        groups: ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"].map(str::to_owned).to_vec(),
        extra: BTreeMap::new(),
    }
}

fn rules(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({ "rules": [{ "apiGroups": [group], "resources": [resource], "verbs": verbs }] })
}

#[test]
fn a_refusal_has_kubernetes_very_words() {
    let place = Place::new();
    let who = "User \"system:serviceaccount:default:probe\" cannot";
    for (method, path, told) in [
        (
            "GET",
            "/api/v1/namespaces/default/pods",
            format!("pods is forbidden: {who} list resource \"pods\" in API group \"\" in the namespace \"default\""),
        ),
        (
            "GET",
            "/apis/apps/v1/deployments",
            format!("deployments.apps is forbidden: {who} list resource \"deployments\" in API group \"apps\" at the cluster scope"),
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/default/deployments/x",
            format!(
                "deployments.apps \"x\" is forbidden: {who} get resource \"deployments\" in API group \"apps\" in the namespace \"default\""
            ),
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x/log",
            format!("pods \"x\" is forbidden: {who} get resource \"pods/log\" in API group \"\" in the namespace \"default\""),
        ),
        ("GET", "/foo", format!("forbidden: {who} get path \"/foo\"")),
    ] {
        assert_eq!(place.may(method, path), Err(told), "{method} {path}");
    }
    assert_eq!(place.may("GET", "/apis/apps/v1"), Ok(()), "discovery is for everybody known");
}

#[test]
fn a_role_holds_in_its_namespace_and_a_cluster_role_where_it_is_bound() {
    let place = Place::new();
    place.create("Role", "reader", &rules("", "pods", &["get", "list"]));
    place.bind("RoleBinding", "Role", "reader");
    assert_eq!(place.may("GET", "/api/v1/namespaces/default/pods"), Ok(()));
    assert!(place.may("GET", "/api/v1/pods").is_err());
    assert!(place.may("GET", "/api/v1/namespaces/kube-system/pods").is_err());
    assert!(place.may("GET", "/api/v1/namespaces/default/pods/a/log").is_err(), "a subresource is another resource");
    assert!(place.may("DELETE", "/api/v1/namespaces/default/pods/a").is_err());
    place.create("ClusterRole", "nodes", &rules("", "nodes", &["*"]));
    place.bind("ClusterRoleBinding", "ClusterRole", "nodes");
    assert_eq!(place.may("PATCH", "/api/v1/nodes/a"), Ok(()));
}

#[test]
fn names_subresources_and_wildcards_count() {
    let place = Place::new();
    place.create(
        "ClusterRole",
        "some",
        &json!({ "rules": [
            { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get", "list"] },
            { "apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["update"] },
            { "nonResourceURLs": ["/metrics/*"], "verbs": ["get"] },
        ] }),
    );
    place.bind("ClusterRoleBinding", "ClusterRole", "some");
    assert_eq!(place.may("GET", "/api/v1/namespaces/default/configmaps/one"), Ok(()));
    assert!(place.may("GET", "/api/v1/namespaces/default/configmaps/two").is_err());
    assert!(place.may("GET", "/api/v1/namespaces/default/configmaps").is_err());
    let named = Attributes::of("GET", "/api/v1/namespaces/default/configmaps", false, Some("one"));
    assert!(authorize(&place.registry, &probe(), &named).allowed, "a list of one name is asked by that name");
    assert_eq!(place.may("PUT", "/apis/apps/v1/namespaces/default/deployments/a/scale"), Ok(()));
    assert!(place.may("PUT", "/apis/apps/v1/namespaces/default/deployments/a").is_err());
    assert_eq!(place.may("GET", "/metrics/slis"), Ok(()));
}

#[test]
fn a_binding_to_a_role_that_is_gone_is_told_as_the_reason() {
    let place = Place::new();
    place.bind("RoleBinding", "Role", "gone");
    let told = place.may("GET", "/api/v1/namespaces/default/pods").unwrap_err();
    assert!(told.ends_with("in the namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"gone\" not found"), "{told}");
}

#[test]
fn the_known_roles_are_made_of_their_parts_and_follow_them() {
    let place = Place::new();
    place.bind("RoleBinding", "ClusterRole", "view");
    assert_eq!(place.may("GET", "/api/v1/namespaces/default/pods/a/log"), Ok(()));
    assert!(place.may("GET", "/api/v1/namespaces/default/secrets").is_err(), "a viewer sees no secrets");
    let rule = rules("networking.istio.io", "virtualservices", &["list"]);
    let mut part = json!({ "metadata": { "labels": { "rbac.authorization.k8s.io/aggregate-to-view": "true" } } });
    json_patch::merge(&mut part, &rule);
    place.create("ClusterRole", "mesh-view", &part);
    aggregate(&place.registry).unwrap();
    assert_eq!(place.may("GET", "/apis/networking.istio.io/v1/namespaces/default/virtualservices"), Ok(()));
    let admin = place.registry.get(&CLUSTER_ROLE, "", "admin").unwrap();
    assert!(admin["rules"].as_array().unwrap().contains(&rule["rules"][0]), "what is in view is in edit and admin");
}

#[test]
fn nobody_gives_away_what_he_does_not_have() {
    let place = Place::new();
    place.create("Role", "writer", &rules("rbac.authorization.k8s.io", "*", &["create", "update"]));
    place.bind("RoleBinding", "Role", "writer");
    let refused = place.create_as(Some(&probe()), "Role", "foo", &rules("", "pods", &["get", "list"])).unwrap_err();
    assert_eq!(
        refused.message,
        "roles.rbac.authorization.k8s.io \"foo\" is forbidden: user \"system:serviceaccount:default:probe\" \
         (groups=[\"system:serviceaccounts\" \"system:serviceaccounts:default\" \"system:authenticated\"]) \
         is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\"]}"
    );
    let refused = place.create_as(Some(&probe()), "RoleBinding", "foo", &binding("ClusterRole", "cluster-admin")).unwrap_err();
    assert!(refused.message.contains("{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"), "{refused}");
    let held = rules("rbac.authorization.k8s.io", "roles", &["create"]);
    place.create_as(Some(&probe()), "Role", "held", &held).unwrap();
    place.create("Role", "binder", &rules("rbac.authorization.k8s.io", "clusterroles", &["bind"]));
    place.bind("RoleBinding", "Role", "binder");
    place.create_as(Some(&probe()), "RoleBinding", "bound", &binding("ClusterRole", "cluster-admin")).unwrap();
}

#[test]
fn a_binding_keeps_its_role() {
    let place = Place::new();
    place.bind("RoleBinding", "Role", "one");
    let changed = place.registry.modify(&ROLE_BINDING, "default", "one-to-probe", &WriteOptions::default(), |object| {
        object["roleRef"]["name"] = json!("two");
        Ok(())
    });
    assert!(changed.unwrap_err().message.contains("cannot change roleRef"));
}
