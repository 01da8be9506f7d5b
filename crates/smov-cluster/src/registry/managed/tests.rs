use super::*;
use crate::{
    kinds,
    schema::{of_builtin, of_custom},
};

fn shape(kind: &'static Kind) -> Shape {
    Shape::Object(if kind.custom { of_custom(kind, None) } else { of_builtin(kind) })
}

fn write<'a>(kind: &'static Kind, shape: &'a Shape, manager: &'a str) -> Write<'a> {
    Write { kind, shape, manager, subresource: "" }
}

fn config_map(data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data })
}

/// Manager, operation and fields of each entry.
fn owners(object: &Value) -> Vec<(String, String, Vec<String>)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (text(entry, "manager"), text(entry, "operation"), Set::read(&entry["fieldsV1"]).unwrap().paths())).collect()
}

fn owner(manager: &str, operation: &str, fields: &[&str]) -> (String, String, Vec<String>) {
    (manager.to_owned(), operation.to_owned(), fields.iter().map(|field| (*field).to_owned()).collect())
}

#[test]
fn two_appliers_share_a_field_at_one_value_and_conflict_at_two() {
    let shape = shape(&kinds::CONFIG_MAP);
    let [one, two] = ["one", "two"].map(|manager| write(&kinds::CONFIG_MAP, &shape, manager));
    let object = apply(&one, None, &config_map(&json!({ "a": "1", "b": "2" })), false).unwrap();
    let object = apply(&two, Some(&object), &config_map(&json!({ "b": "2", "c": "3" })), false).unwrap();
    assert_eq!(owners(&object), [owner("one", "Apply", &[".data.a", ".data.b"]), owner("two", "Apply", &[".data.b", ".data.c"])]);
    let refused = apply(&two, Some(&object), &config_map(&json!({ "a": "9", "b": "2" })), false).unwrap_err();
    assert_eq!(refused.message, r#"Apply failed with 1 conflict: conflict with "one": .data.a"#);
    let forced = apply(&two, Some(&object), &config_map(&json!({ "a": "9" })), true).unwrap();
    assert_eq!(forced["data"], json!({ "a": "9", "b": "2" }));
    assert_eq!(owners(&forced), [owner("one", "Apply", &[".data.b"]), owner("two", "Apply", &[".data.a"])]);
}

#[test]
fn what_an_applier_gives_up_goes_unless_somebody_else_owns_it() {
    let shape = shape(&kinds::CONFIG_MAP);
    let [one, two] = ["one", "two"].map(|manager| write(&kinds::CONFIG_MAP, &shape, manager));
    let object = apply(&one, None, &config_map(&json!({ "a": "1", "b": "2" })), false).unwrap();
    let object = apply(&two, Some(&object), &config_map(&json!({ "b": "2" })), false).unwrap();
    let object = apply(&one, Some(&object), &config_map(&json!({ "c": "3" })), false).unwrap();
    assert_eq!(object["data"], json!({ "b": "2", "c": "3" }));
}

#[test]
fn an_update_owns_what_it_changes_and_nobody_else_does_any_more() {
    let shape = shape(&kinds::CONFIG_MAP);
    let one = write(&kinds::CONFIG_MAP, &shape, "one");
    let object = apply(&one, None, &config_map(&json!({ "a": "1", "b": "2" })), false).unwrap();
    let mut new = object.clone();
    new["data"] = json!({ "a": "7" });
    update(&write(&kinds::CONFIG_MAP, &shape, "editor"), Some(&object), &mut new, &Value::Null, &[]);
    assert_eq!(owners(&new), [owner("editor", "Update", &[".data.a"])]);
    let refused = apply(&one, Some(&new), &config_map(&json!({ "a": "1" })), false).unwrap_err();
    assert_eq!(refused.message, r#"Apply failed with 1 conflict: conflict with "editor" using v1: .data.a"#);
}

#[test]
fn elements_of_lists_are_owned_by_their_keys_and_structs_by_nobody() {
    let shape = shape(&kinds::SERVICE);
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a", "labels": { "x": "y" } },
        "spec": { "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }], "selector": { "app": "a" } },
    });
    update(&write(&kinds::SERVICE, &shape, "kubectl-create"), None, &mut service, &Value::Null, &[]);
    let port = r#".spec.ports[port=80,protocol="TCP"]"#;
    let below = |field: &str| format!("{port}.{field}");
    let (first, second, third) = (below("port"), below("protocol"), below("targetPort"));
    let fields = [".metadata.labels", ".metadata.labels.x", ".spec.ports", port, &first, &second, &third, ".spec.selector"];
    assert_eq!(owners(&service), [owner("kubectl-create", "Update", &fields)]);
}

#[test]
fn an_object_that_nobody_recorded_belongs_to_whoever_was_before_the_first_apply() {
    let shape = shape(&kinds::CONFIG_MAP);
    let old = config_map(&json!({ "a": "1" }));
    let mut patched = old.clone();
    patched["data"]["a"] = json!("2");
    update(&write(&kinds::CONFIG_MAP, &shape, "editor"), Some(&old), &mut patched, &Value::Null, &[]);
    assert_eq!(owners(&patched), []);
    let refused = apply(&write(&kinds::CONFIG_MAP, &shape, "one"), Some(&old), &config_map(&json!({ "a": "9" })), false).unwrap_err();
    assert!(refused.message.contains(r#"conflict with "before-first-apply" using v1: .data.a"#), "{refused}");
}

#[test]
fn kubectl_takes_over_what_it_applied_without_the_server() {
    let shape = shape(&kinds::CONFIG_MAP);
    let manifest = config_map(&json!({ "a": "1" }));
    let mut object = manifest.clone();
    object["metadata"]["annotations"] = json!({ LAST_APPLIED: manifest.to_string() });
    update(&write(&kinds::CONFIG_MAP, &shape, "kubectl-client-side-apply"), None, &mut object, &Value::Null, &[]);
    let changed = config_map(&json!({ "a": "2" }));
    let applied = apply(&write(&kinds::CONFIG_MAP, &shape, KUBECTL), Some(&object), &changed, false).unwrap();
    assert_eq!(applied["data"], json!({ "a": "2" }));
    let last: Value = serde_json::from_str(applied["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap()).unwrap();
    assert_eq!(last["data"], json!({ "a": "2" }));
    assert!(apply(&write(&kinds::CONFIG_MAP, &shape, "other"), Some(&object), &changed, false).is_err());
    let mut edited = object.clone();
    edited["data"]["a"] = json!("5");
    update(&write(&kinds::CONFIG_MAP, &shape, "editor"), Some(&object), &mut edited, &Value::Null, &[]);
    assert!(apply(&write(&kinds::CONFIG_MAP, &shape, KUBECTL), Some(&edited), &changed, false).is_err());
}

#[test]
fn containers_are_merged_by_name_and_go_with_their_defaults() {
    let shape = shape(&kinds::DEPLOYMENT);
    let one = write(&kinds::DEPLOYMENT, &shape, "one");
    let manifest = |containers: Value| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" }, "spec": { "template": { "spec": { "containers": containers } } } });
    let mut object =
        apply(&one, None, &manifest(json!([{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:1" }])), false).unwrap();
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let object =
        apply(&one, Some(&object), &manifest(json!([{ "name": "c", "image": "c:1" }, { "name": "b", "image": "b:2" }])), false).unwrap();
    assert_eq!(object["spec"]["template"]["spec"]["containers"], json!([{ "name": "c", "image": "c:1" }, { "name": "b", "image": "b:2" }]));
}

#[test]
fn custom_kinds_own_their_spec_from_the_first_write() {
    let shape = shape(&kinds::VIRTUAL_SERVICE);
    let mut object = json!({ "metadata": { "name": "a" }, "spec": { "hosts": ["a"] } });
    update(&write(&kinds::VIRTUAL_SERVICE, &shape, "kubectl-create"), None, &mut object, &Value::Null, &[]);
    assert_eq!(owners(&object), [owner("kubectl-create", "Update", &[".spec", ".spec.hosts"])]);
}

#[test]
fn a_client_may_rewrite_or_reset_who_owns_what() {
    let shape = shape(&kinds::CONFIG_MAP);
    let one = write(&kinds::CONFIG_MAP, &shape, "one");
    let object = apply(&one, None, &config_map(&json!({ "a": "1" })), false).unwrap();
    let mut renamed = object["metadata"]["managedFields"].clone();
    renamed[0]["manager"] = json!("two");
    let mut new = object.clone();
    update(&write(&kinds::CONFIG_MAP, &shape, "editor"), Some(&object), &mut new, &renamed, &[]);
    assert_eq!(owners(&new), [owner("two", "Apply", &[".data.a"])]);
    let mut new = object.clone();
    update(&write(&kinds::CONFIG_MAP, &shape, "editor"), Some(&object), &mut new, &json!([{}]), &[]);
    assert_eq!(owners(&new), []);
}
