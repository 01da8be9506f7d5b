//! PATCH in its four forms: JSON patch, merge patch, strategic merge patch, server-side apply.

use axum::{body::Body, response::Response};
use serde_json::{Value, json};

use super::{Api, Call, apply, body, objects, route::Target};
use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    schema,
};

mod strategic;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// All that Kubernetes says of a JSON patch that cannot be done.
const REJECTED: &str = "the server rejected our request due to an error in our request";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// A parsed patch.
pub(super) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    pub(super) fn parse(call: &Call, bytes: &[u8]) -> Result<Self, ApiError> {
        let media = body::media_type(&call.headers);
        if ![JSON, MERGE, STRATEGIC].contains(&media) {
            return Err(ApiError::no_such_patch());
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {}", body::go_error(&error))))?;
        let unreadable = |prefix: &str, wanted: &str| {
            ApiError::bad_request(format!("{prefix}json: cannot unmarshal {} into Go value of type {wanted}", schema::go_kind(&value)))
        };
        match media {
            JSON if !value.is_array() => Err(unreadable("error decoding patch: ", "[]handlers.jsonPatchOp")),
            // An operation that nobody knows fails as one that cannot be done.
            JSON => serde_json::from_value(value).map(Self::Json).map_err(|_| ApiError::unprocessable(REJECTED)),
            MERGE if !value.is_object() => Err(unreadable("error decoding patch: ", "map[string]interface {}")),
            _ if !value.is_object() => Err(unreadable("", "map[string]interface {}")),
            MERGE => Ok(Self::Merge(value)),
            _ => Ok(Self::Strategic(value)),
        }
    }

    /// The object after the patch. Without a kind (scale) lists are replaced.
    pub(super) fn apply(&self, kind: Option<&'static Kind>, object: &Value) -> Result<Value, ApiError> {
        let mut patched = object.clone();
        match self {
            Self::Json(patch) => carry_out(patch, &mut patched)?,
            Self::Merge(patch) => json_patch::merge(&mut patched, patch),
            Self::Strategic(patch) => match kind {
                Some(kind) if kind.custom => {
                    // As for every custom resource: clients fall back to a merge patch.
                    return Err(ApiError::unsupported(&[JSON, MERGE, APPLY]));
                }
                kind => strategic::merge(kind.map(schema::of_builtin).as_deref(), &mut patched, patch)?,
            },
        }
        Ok(patched)
    }
}

/// Operations that a JSON patch may have, as Kubernetes' limit.
const MAX_OPERATIONS: usize = 10_000;
/// What a JSON patch may make of an object, in bytes; beyond it an object cannot be stored anyway.
const MAX_COPIED: usize = 3 << 20;
/// How deep an object may become; beyond it nobody could read it.
const MAX_DEPTH: usize = 256;

/// What a JSON patch may move about, in bytes together.
const MAX_MOVED: usize = 64 << 20;

/// Carries out a JSON patch one operation at a time: copies double what is there, and moves nest it, so that few operations could make any size.
fn carry_out(patch: &json_patch::Patch, object: &mut Value) -> Result<(), ApiError> {
    use json_patch::PatchOperation;
    if patch.0.len() > MAX_OPERATIONS {
        return Err(ApiError::too_large(MAX_OPERATIONS));
    }
    let (mut copied, mut moved) = (0, 0);
    for operation in &patch.0 {
        let (path, value) = match operation {
            PatchOperation::Add(add) => (add.path.as_str(), Some(&add.value)),
            PatchOperation::Replace(replace) => (replace.path.as_str(), Some(&replace.value)),
            PatchOperation::Copy(copy) => {
                let value = object.pointer(copy.from.as_str());
                copied += value.map_or(0, size);
                (copy.path.as_str(), value)
            }
            PatchOperation::Move(moves) => {
                let value = object.pointer(moves.from.as_str());
                moved += value.map_or(0, size);
                (moves.path.as_str(), value)
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => ("", None),
        };
        if copied > MAX_COPIED || moved > MAX_MOVED {
            return Err(ApiError::too_large(MAX_COPIED));
        }
        let steps = path.matches('/').count();
        if steps > MAX_DEPTH || value.is_some_and(|value| is_deeper(value, MAX_DEPTH - steps)) {
            return Err(ApiError::unprocessable(REJECTED));
        }
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(|_| ApiError::unprocessable(REJECTED))?;
    }
    Ok(())
}

/// About as long as its text.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + 4 + size(value)).sum(),
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum(),
        Value::String(text) => text.len() + 2,
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(fields) => levels == 0 || fields.values().any(|value| is_deeper(value, levels - 1)),
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) async fn handle(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = call.write_options()?;
    let bytes = body::read(body).await?;
    if body::media_type(&call.headers) == APPLY {
        return apply::handle(api, call, target, &bytes, &options);
    }
    let patch = Patch::parse(call, &bytes)?;
    let key = target.key();
    let status = target.subresource.as_deref() == Some("status");
    let mut made = Value::Null;
    let written = api
        .registry()
        .patch(target.kind, key, &options, status, |old| {
            let present = objects::in_version(target.kind, &target.version, old);
            let mut patched = patch.apply(Some(target.kind), &present)?;
            objects::fit(target, &mut patched)?;
            made.clone_from(&patched);
            Ok(patched)
        })
        .map_err(|error| tell_as_patch(error, &patch, &made))?;
    objects::answer_written(call, target, &written.object, &written.warnings)
}

/// What cannot be read is told as Kubernetes tells it: about the patch, or about what it made of the object.
fn tell_as_patch(error: ApiError, patch: &Patch, made: &Value) -> ApiError {
    let why = match error.message.split_once(" cannot be handled as a ") {
        Some((_, rest)) if error.code == 400 => rest.split_once(": ").map_or(rest, |(_, why)| why),
        _ => return error,
    };
    let (about, why) = match patch {
        Patch::Strategic(value) => (schema::go_text(value), strategic::go_reason(why)),
        Patch::Json(_) | Patch::Merge(_) => (made.to_string(), why.to_owned()),
    };
    ApiError::patch_invalid(&Cause::invalid("patch", &json!(about), why))
}

/// Merges a strategic merge patch into an object whose `kind` says which lists have keys.
///
/// # Errors
/// The patch is no object, or a list it merges is none.
pub fn strategic_merge(object: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let kind = object["kind"].as_str().and_then(crate::kinds::by_kind);
    let known = kind.map(|kind| if kind.custom { schema::of_custom(kind, None) } else { schema::of_builtin(kind) });
    strategic::merge(known.as_deref(), object, patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(operations: Vec<Value>, object: &Value) -> Result<Value, ApiError> {
        let patch = serde_json::from_value(Value::Array(operations)).unwrap();
        let mut object = object.clone();
        carry_out(&patch, &mut object).map(|()| object)
    }

    #[test]
    fn a_patch_that_doubles_an_object_again_and_again_is_refused() {
        let copies = |count| (0..count).map(|at| json!({ "op": "copy", "from": "/data", "path": format!("/data/a{at}") })).collect();
        let object = json!({ "data": { "text": "x".repeat(1000) } });
        assert!(carried(copies(3), &object).is_ok());
        assert_eq!(carried(copies(40), &object).unwrap_err().code, 413);
    }

    #[test]
    fn a_patch_that_nests_without_end_is_refused() {
        let step = |from: &str, to: &str| {
            vec![
                json!({ "op": "add", "path": format!("/{to}"), "value": {} }),
                json!({ "op": "move", "from": format!("/{from}"), "path": format!("/{to}/n") }),
            ]
        };
        let mut operations = Vec::new();
        for round in 0..400 {
            operations.extend(if round % 2 == 0 { step("x", "y") } else { step("y", "x") });
        }
        assert_eq!(carried(operations, &json!({ "x": {} })).unwrap_err().code, 422);
    }
}
