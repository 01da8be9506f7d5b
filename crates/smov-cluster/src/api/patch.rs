//! PATCH in its four forms: JSON patch, merge patch, strategic merge patch, server-side apply.

use axum::{body::Body, response::Response};
use serde_json::{Value, json};

use super::{Api, Call, apply, body, objects, route::Target};
use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    registry::FieldValidation,
    schema,
};

mod strategic;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A parsed patch.
pub(super) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    pub(super) fn parse(call: &Call, bytes: &[u8]) -> Result<Self, ApiError> {
        let wrong = |error: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {error}"));
        match body::media_type(&call.headers) {
            JSON => Ok(Self::Json(serde_json::from_slice(bytes).map_err(wrong)?)),
            MERGE => Ok(Self::Merge(serde_json::from_slice(bytes).map_err(wrong)?)),
            STRATEGIC => Ok(Self::Strategic(serde_json::from_slice(bytes).map_err(wrong)?)),
            _ => Err(ApiError::unsupported(&[JSON, MERGE, STRATEGIC, APPLY])),
        }
    }

    /// The object after the patch. Without a kind (scale) lists are replaced.
    pub(super) fn apply(&self, kind: Option<&'static Kind>, object: &Value) -> Result<Value, ApiError> {
        let mut patched = object.clone();
        match self {
            Self::Json(patch) => json_patch::patch(&mut patched, patch).map_err(|error| {
                ApiError::unprocessable(format!("the server rejected our request due to an error in our request: {error}"))
            })?,
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

pub(super) async fn handle(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = call.write_options()?;
    let bytes = body::read(body).await?;
    if body::media_type(&call.headers) == APPLY {
        return apply::handle(api, call, target, &bytes, &options);
    }
    let patch = Patch::parse(call, &bytes)?;
    let key = target.key();
    let status = target.subresource.as_deref() == Some("status");
    let written = api
        .registry()
        .patch(target.kind, key, &options, status, |old| {
            let present = objects::in_version(target.kind, &target.version, old);
            let mut patched = patch.apply(Some(target.kind), &present)?;
            objects::fit(target, &mut patched)?;
            Ok(patched)
        })
        .map_err(|error| tell_as_patch(error, target.kind, &bytes, options.field_validation))?;
    objects::answer_written(call, target, &written.object, &written.warnings)
}

/// Unknown fields that a patch brings are told as Kubernetes tells them: about the patch.
fn tell_as_patch(error: ApiError, kind: &'static Kind, patch: &[u8], validation: FieldValidation) -> ApiError {
    let strict = validation == FieldValidation::Strict;
    match error.message.split_once("strict decoding error: ") {
        Some((_, why)) if strict && error.code == 400 => {
            let patch = json!(String::from_utf8_lossy(patch));
            let why = format!("strict decoding error: {why}");
            ApiError::invalid(kind, "", &[Cause::invalid("patch", &patch, why)])
        }
        _ => error,
    }
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
