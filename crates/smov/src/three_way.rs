//! Apply as kubectl does it: what was applied last, what is wanted now, what is live give one merge patch, so that fields which others
//! set stay and fields which were taken out of the file go (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/>).

use serde_json::{Map, Value};

/// Where kubectl remembers what was applied; ours interoperates with it.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object with the annotation that remembers it.
pub(crate) fn remembering(object: &Value) -> Value {
    let mut plain = object.clone();
    if let Some(annotations) = plain.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    let text = plain.to_string();
    if !plain["metadata"]["annotations"].is_object() {
        plain["metadata"]["annotations"] = Value::Object(Map::new());
    }
    plain["metadata"]["annotations"][LAST_APPLIED] = Value::from(text);
    plain
}

/// The JSON merge patch (RFC 7396) that brings `live` to `wanted`; `None` = nothing to do.
pub(crate) fn patch(wanted: &Value, live: &Value) -> Option<Value> {
    let wanted = remembering(wanted);
    let last: Value = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null);
    let patch = difference(&last, &wanted, live);
    let changes = patch.as_object().is_some_and(|patch| !patch.is_empty());
    changes.then_some(patch)
}

/// The merge patch that makes `live` exactly `wanted`.
pub(crate) fn exact(wanted: &Value, live: &Value) -> Value {
    let empty = Map::new();
    let (wanted, live) = (wanted.as_object().unwrap_or(&empty), live.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in wanted {
        match live.get(key) {
            Some(found) if found == value => {}
            Some(found) if found.is_object() && value.is_object() => {
                patch.insert(key.clone(), exact(value, found));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in live.keys().filter(|key| !wanted.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

fn difference(last: &Value, wanted: &Value, live: &Value) -> Value {
    let empty = Map::new();
    let (wanted, live, last) =
        (wanted.as_object().unwrap_or(&empty), live.as_object().unwrap_or(&empty), last.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in wanted {
        let live = live.get(key).unwrap_or(&Value::Null);
        if value.is_object() && live.is_object() {
            let inner = difference(last.get(key).unwrap_or(&Value::Null), value, live);
            if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                patch.insert(key.clone(), inner);
            }
        } else if !covers(live, value) {
            patch.insert(key.clone(), value.clone());
        }
    }
    for key in last.keys().filter(|key| !wanted.contains_key(*key) && live.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch.into_iter().collect()
}

/// Is `wanted` already there? Lists element by element, where the server may have added defaults.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| live.get(key).is_some_and(|live| covers(live, value)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(object: &Value) -> Value {
        remembering(object)
    }

    #[test]
    fn what_was_applied_before_and_is_gone_now_is_removed() {
        let before = json!({"metadata": {"name": "a"}, "spec": {"one": 1, "two": 2}});
        let mut live = applied(&before);
        live["spec"]["three"] = json!(3);
        let patch = patch(&json!({"metadata": {"name": "a"}, "spec": {"one": 1}}), &live).unwrap();
        assert_eq!(patch["spec"], json!({"two": null}));
    }

    #[test]
    fn fields_of_others_stay_and_equal_objects_need_no_patch() {
        let wanted = json!({"metadata": {"name": "a"}, "spec": {"list": [{"name": "c"}]}});
        let mut live = applied(&wanted);
        live["status"] = json!({"ready": true});
        live["spec"]["list"][0]["default"] = json!("x");
        assert_eq!(patch(&wanted, &live), None);
    }

    #[test]
    fn lists_are_replaced_when_they_differ() {
        let live = applied(&json!({"spec": {"http": [1, 2]}}));
        assert_eq!(patch(&json!({"spec": {"http": [1]}}), &live).unwrap()["spec"], json!({"http": [1]}));
    }
}
