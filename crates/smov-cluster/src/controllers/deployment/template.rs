//! Which pod template a ReplicaSet stands for: equality, and the hash in its name.

use serde_json::Value;

use super::TEMPLATE_HASH;
use crate::controllers::fields::safe_encode;

/// Equal but for the hash label that the controller adds.
pub(super) fn same_template(of_set: &Value, wanted: &Value) -> bool {
    let mut bare = of_set.clone();
    if let Some(labels) = bare.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(TEMPLATE_HASH);
    }
    bare == *wanted
}

/// The suffix of a template: FNV-1a of its canonical text, in Kubernetes' safe alphabet.
pub(super) fn template_hash(template: &Value, collisions: i64) -> String {
    let mut text = String::new();
    canonical(template, &mut text);
    if collisions > 0 {
        text.push_str(&collisions.to_string());
    }
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    safe_encode(hash)
}

/// JSON with sorted keys, so that the order in a manifest does not change the hash.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in entries {
                out.push_str(key);
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_template_does_not_depend_on_the_order_of_its_keys() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": {"c": [1, 2], "d": "x"}}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b": {"d": "x", "c": [1, 2]}, "a": 1}"#).unwrap();
        assert_eq!(template_hash(&one, 0), template_hash(&other, 0));
        assert_ne!(template_hash(&one, 0), template_hash(&one, 1));
        assert!(template_hash(&one, 0).len() <= 10);
    }
}
