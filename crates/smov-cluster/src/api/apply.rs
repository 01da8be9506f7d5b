//! Server-side apply as a request: who asks, and with which manifest. What it does is in
//! [`crate::registry`].

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::json;

use super::{Api, Call, body, negotiate, objects, patch, route::Target};
use crate::{
    error::{ApiError, Cause},
    registry::WriteOptions,
};

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

impl Call {
    /// Parameters of writes that can only be wrong.
    ///
    /// # Errors
    /// 422 about the first of them.
    pub(super) fn check_options(&self) -> Result<(), ApiError> {
        let options = match self.method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            _ => "PatchOptions",
        };
        let wrong = |cause: Cause| Err(ApiError::options_invalid(options, &cause));
        let manager = self.query.text("fieldManager").unwrap_or_default();
        if manager.len() > LONGEST_MANAGER {
            let message = format!("Too long: may not be more than {LONGEST_MANAGER} bytes");
            return wrong(Cause { reason: "FieldValueTooLong", field: "fieldManager".to_owned(), message });
        }
        if let Some((place, letter)) = manager.char_indices().find(|(_, letter)| letter.is_control()) {
            let text: String =
                manager.chars().map(|one| if one.is_control() { format!("\\x{:02x}", u32::from(one)) } else { one.to_string() }).collect();
            let message = format!("Invalid value: \"{text}\": invalid character U+{:04X} (at position {place})", u32::from(letter));
            return wrong(Cause { reason: "FieldValueInvalid", field: "fieldManager".to_owned(), message });
        }
        let apply = body::media_type(&self.headers) == patch::APPLY;
        if self.method == Method::PATCH && !apply && self.query.flag("force") {
            return wrong(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
        if self.method == Method::PATCH && apply && manager.is_empty() {
            return wrong(Cause::required("fieldManager", "is required for apply patch"));
        }
        match self.query.text("fieldValidation").unwrap_or_default() {
            "" | "Ignore" | "Strict" | "Warn" => Ok(()),
            other => wrong(Cause::not_supported("fieldValidation", &json!(other), &["", "Ignore", "Strict", "Warn"])),
        }
    }
}

pub(super) fn handle(api: &Api, call: &Call, target: &Target, bytes: &[u8], options: &WriteOptions) -> Result<Response, ApiError> {
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
