//! Names, labels, annotations, owners, finalizers.

use serde_json::{Value, json};

use super::names;
use crate::{error::Cause, kinds::Kind};

const LARGEST_ANNOTATIONS: usize = 262_144;

pub(super) fn check(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let why = match kind.kind {
        "Service" => names::label_1035(name),
        "Namespace" => names::label(name),
        _ if kind.group == "rbac.authorization.k8s.io" => names::path_segment(name),
        _ => names::subdomain(name),
    };
    if let Some(why) = why {
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    if let Some(namespace) = metadata["namespace"].as_str()
        && let Some(why) = names::label(namespace)
    {
        causes.push(Cause::invalid("metadata.namespace", &json!(namespace), why));
    }
    labels(&metadata["labels"], "metadata.labels", causes);
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = names::qualified(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), why));
        }
    }
    if size > LARGEST_ANNOTATIONS {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            field: "metadata.annotations".to_owned(),
            message: format!("Too long: may not be more than {LARGEST_ANNOTATIONS} bytes"),
        });
    }
    let owners = metadata["ownerReferences"].as_array();
    for (place, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences[{place}].{field}");
                causes.push(Cause::invalid(path, &json!(""), "must not be empty"));
            }
        }
    }
    let finalizers = metadata["finalizers"].as_array();
    for finalizer in finalizers.into_iter().flatten().filter_map(Value::as_str) {
        if let Some(why) = names::qualified(finalizer) {
            causes.push(Cause::invalid("metadata.finalizers", &json!(finalizer), why));
        }
    }
}

/// Keys and values of labels.
pub(super) fn labels(labels: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(why) = names::qualified(key) {
            causes.push(Cause::invalid(path, &json!(key), why));
        }
        if let Some(why) = names::label_value(value.as_str().unwrap_or_default()) {
            causes.push(Cause::invalid(path, value, why));
        }
    }
}
