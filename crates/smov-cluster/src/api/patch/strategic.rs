//! Strategic merge patch: a merge patch that knows which lists have keys, with the directives
//! `$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`.
//!
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

use serde_json::{Map, Value, json};

use crate::{
    error::ApiError,
    schema::{ObjectType, PatchStrategy, Shape, go_text},
};

/// Merges a patch into an object; without its type lists are replaced.
pub(super) fn merge(known: Option<&ObjectType>, object: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Some(patch) = patch.as_object() else {
        return Err(ApiError::bad_request("the patch must be an object"));
    };
    merge_map(Known::of(known), object, patch)
}

/// What is known of the place that is merged.
#[derive(Clone, Copy)]
enum Known<'a> {
    Nothing,
    Object(&'a ObjectType),
    Values(&'a Shape),
}

impl<'a> Known<'a> {
    fn of(known: Option<&'a ObjectType>) -> Self {
        known.map_or(Self::Nothing, Self::Object)
    }

    fn shape(shape: &'a Shape) -> Self {
        match shape {
            Shape::Object(known) => Self::Object(known),
            Shape::Map(item, _) => Self::Values(item),
            Shape::List(item, _) => Self::shape(item),
            _ => Self::Nothing,
        }
    }

    fn field(self, name: &str) -> (Self, PatchStrategy) {
        match self {
            Self::Nothing => (Self::Nothing, PatchStrategy::default()),
            Self::Values(item) => (Self::shape(item), PatchStrategy::default()),
            Self::Object(known) => match known.fields.get(name) {
                Some(field) => (Self::shape(&field.shape), field.patch),
                None => (Self::Nothing, PatchStrategy::default()),
            },
        }
    }
}

fn merge_map(known: Known<'_>, object: &mut Value, patch: &Map<String, Value>) -> Result<(), ApiError> {
    match patch.get("$patch").map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            let content = patch.iter().filter(|(name, _)| *name != "$patch");
            *object = Value::Object(content.map(|(name, value)| (name.clone(), value.clone())).collect());
            return Ok(());
        }
        Some("delete") => {
            *object = json!({});
            return Ok(());
        }
        Some(other) => {
            return Err(ApiError::internal_plain(format!("unknown patch type: {other} in map: {}", go_map_text(patch))));
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
        let (inner_known, strategy) = known.field(key);
        match value {
            Value::Null => {
                map.shift_remove(key);
            }
            Value::Object(inner) => {
                if inner.get("$patch").is_some_and(|directive| directive == "delete") {
                    map.shift_remove(key);
                    continue;
                }
                if strategy.replace {
                    map.insert(key.clone(), without_directives(value));
                    continue;
                }
                merge_map(inner_known, map.entry(key).or_insert(Value::Null), inner)?;
            }
            Value::Array(elements) => {
                let list = map.entry(key).or_insert(Value::Null);
                merge_list(inner_known, strategy, key, list, elements)?;
                // A list whose last element was deleted is no list any more.
                if list.as_array().is_some_and(Vec::is_empty) && !elements.is_empty() {
                    map.shift_remove(key);
                }
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
            let (_, strategy) = known.field(field);
            let before = list.clone();
            sort(strategy.key, list, order, &before);
        }
    }
    Ok(())
}

/// New parts of an object keep no directives.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_directives(value))).collect())
        }
        other => other.clone(),
    }
}

fn merge_list(known: Known<'_>, strategy: PatchStrategy, field: &str, list: &mut Value, patch: &[Value]) -> Result<(), ApiError> {
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
    if !strategy.merge || replaced {
        *present = patch.iter().filter(|element| directive(element).is_none()).cloned().collect();
        return Ok(());
    }
    let before = present.clone();
    let Some(key) = strategy.key else {
        for element in patch {
            if !present.contains(element) {
                present.push(element.clone());
            }
        }
        sort(None, present, patch, &before);
        return Ok(());
    };
    for element in patch {
        let Some(inner) = element.as_object() else {
            return Err(ApiError::bad_request(format!("elements of {field:?} must be objects")));
        };
        let directive = directive(element);
        if directive.as_deref() == Some("replace") {
            continue;
        }
        let Some(wanted) = inner.get(key) else {
            let told = go_map_text(inner);
            return Err(ApiError::internal_plain(format!("map: {told} does not contain declared merge key: {key}")));
        };
        if directive.as_deref() == Some("delete") {
            present.retain(|one| &one[key] != wanted);
            continue;
        }
        let place = present.iter().position(|one| &one[key] == wanted).unwrap_or_else(|| {
            present.push(json!({}));
            present.len() - 1
        });
        merge_map(known, &mut present[place], inner)?;
    }
    sort(Some(key), present, patch, &before);
    Ok(())
}

fn go_map_text(map: &Map<String, Value>) -> String {
    go_text(&Value::Object(map.clone()))
}

/// Strategic patches are read by another decoder, which says less of values of the wrong type.
pub(super) fn go_reason(why: &str) -> String {
    match why.strip_prefix("json: cannot unmarshal ").and_then(|rest| rest.rsplit_once(" of type ")) {
        Some((_, wanted)) if !wanted.contains(['.', '[']) => format!("unrecognized type: {wanted}"),
        _ => why.to_owned(),
    }
}

/// Elements that `order` names come in that order; the others go before the first of them that they stood before.
fn sort(key: Option<&str>, list: &mut Vec<Value>, order: &[Value], before: &[Value]) {
    let same = |one: &Value, two: &Value| match key {
        Some(key) => one[key] == two[key],
        None => one == two,
    };
    let place_in = |places: &[Value], element: &Value| places.iter().position(|one| same(one, element));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        std::mem::take(list).into_iter().partition(|element| place_in(order, element).is_some());
    named.sort_by_key(|element| place_in(order, element));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let earlier = match (others.peek(), named.peek()) {
            (Some(other), Some(one)) => match (place_in(before, other), place_in(before, one)) {
                (Some(other), Some(one)) => other < one,
                _ => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return,
        };
        list.extend(if earlier { others.next() } else { named.next() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kinds, schema::of_builtin};

    fn merged(mut object: Value, patch: &Value) -> Value {
        merge(Some(&of_builtin(&kinds::DEPLOYMENT)), &mut object, patch).unwrap();
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
                "metadata": { "finalizers": ["c", "b"] },
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
        assert!(merge(Some(&of_builtin(&kinds::POD)), &mut object, &patch).is_err());
    }
}
