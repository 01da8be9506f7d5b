//! Reading Kubernetes objects as JSON: the few fields that controllers, scheduler and kubelet ask for again and again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// `metadata.name`, or the empty string.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`, or the empty string for cluster-scoped objects.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`, or the empty string.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// The string at a JSON pointer, or the empty string.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The list at a JSON pointer, or an empty one.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at a JSON pointer with its string values.
pub(crate) fn strings(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// One label's value.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// One annotation's value.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// True once deletion was asked for.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|stamp| !stamp.is_null())
}

/// The owner that controls the object, where it is of that kind.
pub(crate) fn controller<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true && owner["kind"] == kind)
}

/// True when some controller owns the object.
pub(crate) fn has_controller(object: &Value) -> bool {
    items(object, "/metadata/ownerReferences").iter().any(|owner| owner["controller"] == true)
}

/// True when exactly this owner controls the object.
pub(crate) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    items(object, "/metadata/ownerReferences")
        .iter()
        .any(|reference| reference["controller"] == true && reference["uid"] == owner["metadata"]["uid"])
}

/// The `ownerReferences` entry by which `owner` controls another object.
pub(crate) fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The condition of a type in `status.conditions`.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

/// True when the pod's `Ready` condition is `True`.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// True for pods that ended and will not run again.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// True while a pod is ready, and has been for `min_ready_seconds` at `now`; otherwise when to look again, if ever.
pub(crate) fn is_available(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> Result<(), Option<i64>> {
    if !is_ready(pod) {
        return Err(None);
    }
    let since = condition(pod, "Ready").and_then(|ready| parse_time(&ready["lastTransitionTime"]));
    let ready_for = since.map_or(0, |since| now.as_second() - since.as_second());
    if min_ready_seconds <= ready_for { Ok(()) } else { Err(Some(min_ready_seconds - ready_for)) }
}

/// Puts `condition` in the list in place of the one of its type; keeps `lastTransitionTime` while the status stays.
pub(crate) fn set_condition(conditions: &mut Vec<Value>, mut condition: Value) {
    match conditions.iter_mut().find(|present| present["type"] == condition["type"]) {
        Some(present) => {
            if present["status"] == condition["status"] {
                condition["lastTransitionTime"] = present["lastTransitionTime"].clone();
            }
            *present = condition;
        }
        None => conditions.push(condition),
    }
}

/// The moment as Kubernetes' `metav1.Time` writes it: RFC 3339, UTC, whole seconds.
pub(crate) fn time_text(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

/// Now, as `metav1.Time`.
pub(crate) fn now_text() -> String {
    time_text(Timestamp::now())
}

/// Reads a `metav1.Time` or `MicroTime`.
pub(crate) fn parse_time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// True when every `matchLabels` and `matchExpressions` of a Kubernetes `LabelSelector` holds for these labels. An empty selector matches everything.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Map<String, Value>) -> bool {
    let equal = selector["matchLabels"].as_object().is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
    equal && items(selector, "/matchExpressions").iter().all(|term| expression_matches(term, labels))
}

/// One `{key, operator, values}` term, as label selectors and node affinity use it.
pub(crate) fn expression_matches(term: &Value, labels: &Map<String, Value>) -> bool {
    let value = term["key"].as_str().and_then(|key| labels.get(key)).and_then(Value::as_str);
    let values = items(term, "/values");
    let listed = |value: &str| values.iter().any(|candidate| candidate == value);
    let compare = |holds: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(Value::as_str).and_then(|bound| bound.parse().ok());
        match (value.and_then(|value| value.parse().ok()), bound) {
            (Some(value), Some(bound)) => holds(value, bound),
            _ => false,
        }
    };
    match term["operator"].as_str() {
        Some("In") => value.is_some_and(listed),
        Some("NotIn") => !value.is_some_and(listed),
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        Some("Gt") => compare(|value, bound| value > bound),
        Some("Lt") => compare(|value, bound| value < bound),
        _ => false,
    }
}

/// The labels of an object as a map, empty where there are none.
pub(crate) fn labels(object: &Value) -> Map<String, Value> {
    object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Alphabet of Kubernetes' generated names: no vowels, no look-alikes, so that no word appears by chance.
const SAFE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name suffix of `length` letters of the safe alphabet.
pub(crate) fn random_suffix(length: usize) -> String {
    (0..length).map(|_| char::from(SAFE_ALPHABET[rand::random_range(0..SAFE_ALPHABET.len())])).collect()
}

/// Kubernetes' `SafeEncodeString`: each byte of the decimal number as one letter of the safe alphabet.
pub(crate) fn safe_encode(number: u32) -> String {
    number.to_string().bytes().map(|byte| char::from(SAFE_ALPHABET[usize::from(byte) % SAFE_ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_suffixes_use_only_the_safe_alphabet() {
        assert!(random_suffix(200).bytes().all(|byte| SAFE_ALPHABET.contains(&byte)));
        assert_eq!(safe_encode(0), SAFE_ALPHABET[48 % 27..=48 % 27].iter().map(|byte| char::from(*byte)).collect::<String>());
        assert_eq!(safe_encode(u32::MAX).len(), 10);
    }

    #[test]
    fn expressions_follow_the_six_operators() {
        let labels = labels(&json!({"metadata": {"labels": {"cluster-name": "ctx1", "cores": "8"}}}));
        let holds = |operator: &str, key: &str, values: &[&str]| {
            expression_matches(&json!({"key": key, "operator": operator, "values": values}), &labels)
        };
        assert!(holds("In", "cluster-name", &["ctx1", "ctx2"]));
        assert!(!holds("In", "missing", &["ctx1"]));
        assert!(holds("NotIn", "cluster-name", &["ctx2"]));
        assert!(holds("NotIn", "missing", &["ctx2"]));
        assert!(holds("Exists", "cores", &[]));
        assert!(holds("DoesNotExist", "missing", &[]));
        assert!(holds("Gt", "cores", &["4"]) && !holds("Gt", "cores", &["8"]));
        assert!(holds("Lt", "cores", &["9"]) && !holds("Lt", "missing", &["9"]));
    }

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let mut conditions = vec![json!({"type": "Ready", "status": "True", "lastTransitionTime": "old"})];
        set_condition(&mut conditions, json!({"type": "Ready", "status": "True", "reason": "x", "lastTransitionTime": "new"}));
        assert_eq!(conditions[0]["lastTransitionTime"], "old");
        set_condition(&mut conditions, json!({"type": "Ready", "status": "False", "lastTransitionTime": "new"}));
        assert_eq!((conditions.len(), &conditions[0]["lastTransitionTime"]), (1, &json!("new")));
    }
}
