//! Strategic merge patch: a merge patch that knows which lists have keys, with the directives
//! `$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`.
//!
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

use serde_json::{Map, Value, json};

use super::keys::{ListKind, list_kind};
use crate::{error::ApiError, kinds::Kind};

/// Merges a patch into an object.
pub(super) fn merge(kind: Option<&Kind>, object: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Some(patch) = patch.as_object() else {
        return Err(ApiError::bad_request("the patch must be an object"));
    };
    merge_map(kind, &mut Vec::new(), object, patch)
}

fn merge_map(kind: Option<&Kind>, path: &mut Vec<String>, object: &mut Value, patch: &Map<String, Value>) -> Result<(), ApiError> {
    match patch.get("$patch").and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace" | "delete") => *object = json!({}),
        Some(other) => {
            return Err(ApiError::bad_request(format!("unknown patch type {other:?} in `$patch`")));
        }
    }
    if !object.is_object() {
        *object = json!({});
    }
    let Some(map) = object.as_object_mut() else {
        return Ok(());
    };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|one| one == key));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(list), Some(gone)) = (map.get_mut(field).and_then(Value::as_array_mut), value.as_array()) {
                list.retain(|one| !gone.contains(one));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        match value {
            Value::Null => {
                map.shift_remove(key);
            }
            Value::Object(inner) => {
                if inner.get("$patch").is_some_and(|directive| directive == "delete") {
                    map.shift_remove(key);
                    continue;
                }
                path.push(key.clone());
                merge_map(kind, path, map.entry(key).or_insert(Value::Null), inner)?;
                path.pop();
            }
            Value::Array(elements) => {
                let list = map.entry(key).or_insert(Value::Null);
                merge_list(kind, path, key, list, elements)?;
            }
            plain => {
                map.insert(key.clone(), plain.clone());
            }
        }
    }
    for (key, order) in patch {
        if let (Some(field), Some(order)) = (key.strip_prefix("$setElementOrder/"), order.as_array())
            && let Some(list) = map.get_mut(field).and_then(Value::as_array_mut)
        {
            sort(list_kind(kind, path, field), list, order);
        }
    }
    Ok(())
}

fn merge_list(kind: Option<&Kind>, path: &mut Vec<String>, field: &str, list: &mut Value, patch: &[Value]) -> Result<(), ApiError> {
    let directive = |element: &Value| element["$patch"].as_str().map(str::to_owned);
    let replaced = patch
        .iter()
        .any(|element| element.as_object().is_some_and(|map| map.len() == 1) && directive(element).as_deref() == Some("replace"));
    if !list.is_array() || replaced {
        *list = json!([]);
    }
    let Some(present) = list.as_array_mut() else {
        return Ok(());
    };
    match list_kind(kind, path, field) {
        ListKind::Atomic => {
            *present = patch.iter().filter(|element| directive(element).is_none()).cloned().collect();
        }
        ListKind::Set => {
            for element in patch {
                if !present.contains(element) {
                    present.push(element.clone());
                }
            }
        }
        ListKind::Keyed(key) => {
            for element in patch {
                let Some(inner) = element.as_object() else {
                    return Err(ApiError::bad_request(format!("elements of {field:?} must be objects")));
                };
                let directive = directive(element);
                if directive.as_deref() == Some("replace") {
                    continue;
                }
                let Some(wanted) = inner.get(key) else {
                    return Err(ApiError::bad_request(format!("map: {element} does not contain declared merge key: {key}")));
                };
                let place = present.iter().position(|one| &one[key] == wanted);
                match (directive.as_deref(), place) {
                    (Some("delete"), _) => present.retain(|one| &one[key] != wanted),
                    (_, place) => {
                        let place = place.unwrap_or_else(|| {
                            present.push(json!({}));
                            present.len() - 1
                        });
                        path.push(field.to_owned());
                        merge_map(kind, path, &mut present[place], inner)?;
                        path.pop();
                    }
                }
            }
        }
    }
    Ok(())
}

/// Puts the elements named by `order` into that order; others keep their places.
fn sort(kind: ListKind, list: &mut [Value], order: &[Value]) {
    let rank = |element: &Value| match kind {
        ListKind::Keyed(key) => order.iter().position(|one| one[key] == element[key]),
        ListKind::Set | ListKind::Atomic => order.iter().position(|one| one == element),
    };
    let places: Vec<usize> = (0..list.len()).filter(|place| rank(&list[*place]).is_some()).collect();
    let mut named: Vec<Value> = places.iter().map(|place| list[*place].clone()).collect();
    named.sort_by_key(|element| rank(element));
    for (place, element) in places.into_iter().zip(named) {
        list[place] = element;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn merged(mut object: Value, patch: &Value) -> Value {
        merge(Some(&kinds::DEPLOYMENT), &mut object, patch).unwrap();
        object
    }

    #[test]
    fn containers_and_their_lists_are_merged_by_key() {
        let object = json!({ "spec": { "template": { "spec": { "containers": [
            { "name": "app", "image": "a:1", "env": [{ "name": "A", "value": "1" }], "args": ["x"] },
            { "name": "istio-proxy", "image": "p" },
        ] } } } });
        let patch = json!({ "spec": { "template": { "spec": { "containers": [
            { "name": "app", "image": "a:2", "args": ["y"], "env": [
                { "name": "B", "value": "2" }, { "name": "A", "$patch": "delete" },
            ] },
        ] } } } });
        assert_eq!(
            merged(object, &patch)["spec"]["template"]["spec"]["containers"],
            json!([
                { "name": "app", "image": "a:2", "env": [{ "name": "B", "value": "2" }], "args": ["y"] },
                { "name": "istio-proxy", "image": "p" },
            ])
        );
    }

    #[test]
    fn directives_replace_retain_order_and_delete() {
        let object = json!({
            "metadata": { "finalizers": ["a", "b"] },
            "spec": {
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } },
                "template": { "spec": { "containers": [{ "name": "a" }, { "name": "b" }] } },
            },
        });
        let patch = json!({
            "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"] },
            "spec": {
                "strategy": { "$retainKeys": ["type"], "type": "Recreate" },
                "template": { "spec": {
                    "$setElementOrder/containers": [{ "name": "c" }, { "name": "b" }, { "name": "a" }],
                    "containers": [{ "name": "c" }],
                } },
            },
        });
        assert_eq!(
            merged(object, &patch),
            json!({
                "metadata": { "finalizers": ["b", "c"] },
                "spec": {
                    "strategy": { "type": "Recreate" },
                    "template": { "spec": { "containers": [
                        { "name": "c" }, { "name": "b" }, { "name": "a" },
                    ] } },
                },
            })
        );
    }

    #[test]
    fn an_element_without_its_key_is_refused() {
        let mut object = json!({});
        let patch = json!({ "spec": { "containers": [{ "image": "a" }] } });
        assert!(merge(Some(&kinds::POD), &mut object, &patch).is_err());
    }
}
