//! Server-side apply as a request: who asks, and with which manifest. What it does is in
//! [`crate::registry`].

use axum::{http::StatusCode, response::Response};

use super::{Api, Call, body, negotiate, objects, route::Target};
use crate::{error::ApiError, registry::WriteOptions};

/// Longest name of a manager, in letters.
const LONGEST_MANAGER: usize = 128;

impl Call {
    /// Who owns what is written: the named manager, else the first word of the client's name.
    pub(super) fn field_manager(&self) -> String {
        if let Some(named) = self.query.text("fieldManager") {
            return named.to_owned();
        }
        let agent = self.headers.get(axum::http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let first = agent.split('/').next().unwrap_or_default();
        let name: String = first.chars().filter(|letter| !letter.is_control()).take(LONGEST_MANAGER).collect();
        if name.is_empty() { "unknown".to_owned() } else { name }
    }
}

pub(super) fn handle(api: &Api, call: &Call, target: &Target, bytes: &[u8], options: &WriteOptions) -> Result<Response, ApiError> {
    if call.query.text("fieldManager").is_none() {
        return Err(ApiError::options_invalid("PatchOptions.meta.k8s.io", "fieldManager", "Required value: is required for apply patch"));
    }
    let manifest = body::yaml(bytes)?;
    let mut config = manifest.clone();
    objects::fit(target, &mut config)?;
    if config["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    api.registry().check_declared(target.kind, &manifest)?;
    let status = target.subresource.as_deref() == Some("status");
    let force = call.query.flag("force");
    let (written, created) = api.registry().apply(target.kind, target.key(), &config, force, options, status)?;
    if created {
        let response = objects::one(StatusCode::CREATED, call, target, &written.object)?;
        return Ok(negotiate::warn(response, &written.warnings));
    }
    objects::answer_written(call, target, &written.object, &written.warnings)
}
