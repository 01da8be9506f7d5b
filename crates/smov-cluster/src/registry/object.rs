//! What makes an object that object: its kind and place, its name, and what no write can change.

use serde_json::{Value, json};

use super::Key;
use crate::{
    error::ApiError,
    kinds::{self, Kind},
    schema,
};

/// Where an object of the kind is kept.
pub(super) fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    let namespace = if kind.namespaced { namespace } else { "" };
    (namespace.to_owned(), name.to_owned())
}

pub(super) fn key_of(kind: &Kind, object: &Value) -> Key {
    let metadata = &object["metadata"];
    key(kind, metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default())
}

pub(super) fn kind_of(object: &Value) -> Result<&'static Kind, ApiError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    if text("kind").is_empty() {
        return Err(ApiError::bad_request("Object 'Kind' is missing"));
    }
    kinds::of_object(object)
        .ok_or_else(|| ApiError::bad_request(format!("no kind {:?} is registered for version {:?}", text("kind"), text("apiVersion"))))
}

/// The stored version, a namespace where there must be one, nothing that only servers write.
pub(super) fn normalised(kind: &'static Kind, mut object: Value) -> Result<Value, ApiError> {
    if !object.is_object() {
        return Err(ApiError::bad_request("the body must be an object"));
    }
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    let found = schema::go_kind(&object["metadata"]);
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: json: cannot unmarshal {found} into Go struct field {0}.metadata of type v1.ObjectMeta",
            kind.kind, kind.version
        )));
    };
    metadata.shift_remove("selfLink");
    if !kind.namespaced {
        metadata.shift_remove("namespace");
    } else if metadata.get("namespace").and_then(Value::as_str).is_none_or(str::is_empty) {
        metadata.insert("namespace".to_owned(), json!("default"));
    }
    Ok(object)
}

/// Uses `generateName` where there is no name.
pub(super) fn name_it(kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let metadata = &mut object["metadata"];
    if metadata["name"].as_str().is_some_and(|name| !name.is_empty()) {
        return Ok(());
    }
    let Some(prefix) = metadata["generateName"].as_str().filter(|text| !text.is_empty()) else {
        return Err(ApiError::invalid(kind, "", &[crate::error::Cause::required("metadata.name", "name or generateName is required")]));
    };
    let random = uuid::Uuid::new_v4();
    let suffix: String = random.as_bytes()[..5].iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    let prefix: String = prefix.chars().take(58).collect();
    metadata["name"] = json!(format!("{prefix}{suffix}"));
    Ok(())
}

/// What a client can never change.
pub(super) fn keep_identity(old: &Value, new: &mut Value) {
    const KEPT: [&str; 9] = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "name",
        "namespace",
        "resourceVersion",
    ];
    for field in KEPT {
        set_or_remove(&mut new["metadata"], field, &old["metadata"][field]);
    }
}

pub(super) fn set_or_remove(object: &mut Value, field: &str, value: &Value) {
    if value.is_null() {
        remove(object, field);
    } else {
        object[field] = value.clone();
    }
}

pub(super) fn remove(value: &mut Value, field: &str) {
    if let Some(map) = value.as_object_mut() {
        map.shift_remove(field);
    }
}

/// Do they differ in more than metadata and status?
pub(super) fn content_differs(old: &Value, new: &Value) -> bool {
    let content = |value: &Value| {
        let mut content = value.as_object().cloned().unwrap_or_default();
        content.shift_remove("metadata");
        content.shift_remove("status");
        content
    };
    content(old) != content(new)
}

/// The metadata of `new` under the version of `old`, to see whether anything else changed.
pub(super) fn without_version(new: &Value, old: &Value) -> Value {
    let mut metadata = new["metadata"].clone();
    metadata["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    metadata
}

/// A version or uid named by the client must be the present one.
pub(super) fn check_preconditions(kind: &'static Kind, name: &str, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (old, new) = (&old["metadata"], &new["metadata"]);
    let wanted = |field: &str| new[field].as_str().filter(|value| !value.is_empty());
    if let Some(uid) = wanted("uid")
        && old["uid"].as_str() != Some(uid)
    {
        return Err(uid_conflict(kind, name, uid, &old["uid"]));
    }
    match wanted("resourceVersion") {
        Some(version) if old["resourceVersion"].as_str() != Some(version) => Err(ApiError::stale(kind, name)),
        _ => Ok(()),
    }
}

pub(super) fn uid_conflict(kind: &Kind, name: &str, wanted: &str, found: &Value) -> ApiError {
    ApiError::conflict(
        kind,
        name,
        &format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {}", found.as_str().unwrap_or_default()),
    )
}
