//! Failures as Kubernetes tells them: the `Status` object, and why a state folder cannot be opened.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>

use std::{fmt, path::PathBuf};

use serde_json::{Value, json};

use crate::kinds::Kind;

/// A refused or failed API call, with everything a `Status` object says.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, as `NotFound`.
    pub reason: &'static str,
    /// The sentence that kubectl prints.
    pub message: String,
    /// `Status.details`: name, group, kind, causes.
    pub details: Option<Value>,
}

/// One field that is wrong: the entries of `Status.details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// As `FieldValueInvalid`.
    pub reason: &'static str,
    /// Path of the field, as `spec.template.spec.containers[0].name`.
    pub field: String,
    /// The sentence without the path.
    pub message: String,
}

impl Cause {
    /// A value that cannot be accepted.
    pub fn invalid(field: impl Into<String>, value: &Value, why: impl fmt::Display) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
    }

    /// A field that must be there; `why` may be empty.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// A value that occurs twice in a list that must be a set.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueDuplicate", field: field.into(), message: format!("Duplicate value: {value}") }
    }

    /// A value outside a closed list.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message: format!("Unsupported value: {value}: supported values: {}", supported.join(", ")),
        }
    }

    /// A field that must not be set or changed.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }
}

/// `Status.details`: what is empty is absent.
fn details(name: &str, group: &str, resource: &str) -> Value {
    let fields = [("name", name), ("group", group), ("kind", resource)];
    fields.into_iter().filter(|(_, text)| !text.is_empty()).map(|(field, text)| (field.to_owned(), json!(text))).collect()
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = Some(details(name, kind.group, kind.plural));
        self
    }

    /// 404: there is no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.resource())).about(kind, name)
    }

    /// 404: there is no such path on this server.
    pub fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(json!({}));
        error
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", kind.resource())).about(kind, name)
    }

    /// 409: somebody else was faster, or a precondition does not hold.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource())).about(kind, name)
    }

    /// 409: the object has changed since it was read.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        Self::conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// 422: fields are wrong, each with its path.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut told: Vec<String> = Vec::new();
        for cause in causes {
            let sentence = if cause.field.is_empty() { cause.message.clone() } else { format!("{}: {}", cause.field, cause.message) };
            // Said once, however often it was found.
            if !told.contains(&sentence) {
                told.push(sentence);
            }
        }
        let told = match told.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut error = Self::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {told}")).about(kind, name);
        if let Some(details) = &mut error.details {
            details["kind"] = json!(kind.kind);
            details["causes"] =
                causes.iter().map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field })).collect();
        }
        error
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 400: the body is of another kind than the path.
    pub fn another_kind(wanted: &Kind, api_version: &str, kind: &str, found: Option<&Kind>) -> Self {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let why = match found {
            Some(found) => {
                let internal = wanted.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
                format!("converting ({version}.{}) to ({internal}.{}): unknown conversion", found.kind, wanted.kind)
            }
            None => format!("no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:110\""),
        };
        Self::bad_request(format!("{kind} in version {version:?} cannot be handled as a {}: {why}", wanted.kind))
    }

    /// 401: nobody known is asking.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: known, but not allowed; or refused by admission.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        Self::refused(kind.group, kind.plural, name, why)
    }

    /// The same about what need not exist here; without a resource it is about a path.
    pub(crate) fn refused(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let dot = if group.is_empty() { "" } else { "." };
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (resource, "") => format!("{resource}{dot}{group} is forbidden: {why}"),
            (resource, name) => format!("{resource}{dot}{group} {name:?} is forbidden: {why}"),
        };
        let mut error = Self::new(403, "Forbidden", message);
        error.details = Some(details(name, group, resource));
        error
    }

    /// A webhook said no: 400 with Kubernetes' sentence.
    pub fn denied(webhook: &str, why: &str) -> Self {
        Self::bad_request(format!("admission webhook {webhook:?} denied the request: {why}"))
    }

    /// 405: the resource does not have this verb.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 422: the options of a request are wrong; `kind` as `ListOptions`.
    pub(crate) fn invalid_options(kind: &str, cause: &Cause) -> Self {
        Self::invalid_as("meta.k8s.io", kind, cause)
    }

    /// 422: one field of what is sent, but never stored, is wrong.
    pub(crate) fn invalid_as(group: &str, kind: &str, cause: &Cause) -> Self {
        let message = format!("{kind}.{group} \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut error = Self::new(422, "Invalid", message);
        let causes = [json!({ "reason": cause.reason, "message": cause.message, "field": cause.field })];
        error.details = Some(json!({ "group": group, "kind": kind, "causes": causes }));
        error
    }

    /// 504: a version that has not been yet.
    pub(crate) fn too_new(asked: u64, newest: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {newest}");
        let mut error = Self::new(504, "Timeout", message);
        error.details = Some(json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        }));
        error
    }

    /// 406: nothing that the client accepts can be produced.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {}", accepted.join(", ")))
    }

    /// 410: the asked resource version is no longer known.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is too long.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415: the body's media type cannot be used here.
    pub fn unsupported(accepted: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", ")),
        )
    }

    /// 422 without fields: the request is well formed but cannot be done.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        let mut error = Self::new(422, "Invalid", message);
        error.details = Some(json!({}));
        error
    }

    /// 422: what a patch makes of an object cannot be read.
    pub fn patch_invalid(cause: &Cause) -> Self {
        let mut error = Self::new(422, "Invalid", format!(" \"\" is invalid: {}: {}", cause.field, cause.message));
        error.details = Some(json!({ "causes": [{ "reason": cause.reason, "message": cause.message, "field": cause.field }] }));
        error
    }

    /// 415: there is no such kind of patch.
    pub fn no_such_patch() -> Self {
        let mut error = Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        error.details = Some(json!({}));
        error
    }

    /// 422: a parameter of the request is wrong; `options` as `PatchOptions`.
    pub fn options_invalid(options: &str, cause: &Cause) -> Self {
        let message = format!("{options}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut error = Self::new(422, "Invalid", message);
        let causes = json!([{ "reason": cause.reason, "message": cause.message, "field": cause.field }]);
        error.details = Some(json!({ "group": "meta.k8s.io", "kind": options, "causes": causes }));
        error
    }

    /// 409: fields belong to other appliers.
    pub fn apply_conflict(message: impl Into<String>, causes: &[Cause]) -> Self {
        let mut error = Self::new(409, "Conflict", message);
        let causes: Vec<Value> =
            causes.iter().map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field })).collect();
        error.details = Some(json!({ "causes": causes }));
        error
    }

    /// 500: our fault.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 500 with nothing around the sentence, as Kubernetes answers a patch that cannot be merged.
    pub fn internal_plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// Is it the 404 of a missing object?
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Is it the 409 of a lost race (not of a taken name)?
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// Is it the 409 of a taken name?
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// The `Status` object of this failure.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status["code"] = json!(self.code);
        status
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// A cluster's state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be made, read or written.
    #[error("`{path}` cannot be used")]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has this state open.
    #[error("`{path}` is in use by another process")]
    InUse {
        /// The state folder's lock file.
        path: PathBuf,
    },
    /// The state was written by another version of the program.
    #[error("`{path}` has schema version {found}, this program knows {known}")]
    Version {
        /// The database.
        path: PathBuf,
        /// The version in the file.
        found: String,
        /// The version this program writes.
        known: u32,
    },
    /// The database is damaged or the disk is full.
    #[error("the object store `{path}` cannot be opened")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Keys or certificates cannot be made.
    #[error("the certificate authority in `{path}` cannot be used: {reason}")]
    Authority {
        /// The folder of the keys.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl OpenError {
    /// The next step for a person who reads the error.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "choose a folder that you may write to with `--state-dir`",
            Self::InUse { .. } => "end the running `smov up` with `smov down`, or use another `--state-dir`",
            Self::Version { .. } => "use the program that wrote it, another `--state-dir`, or delete the folder to start anew",
            Self::Database { .. } => "check the free disk space; delete the state folder to start anew",
            Self::Authority { .. } => "delete the state folder to make new keys",
        }
    }
}
