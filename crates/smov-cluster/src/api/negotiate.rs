//! Which form a client wants, and responses in that form.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use serde_json::Value;

use crate::error::ApiError;

/// The form of an answer with objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// The objects themselves.
    #[default]
    Full,
    /// Rows and columns, as kubectl prints them.
    Table,
    /// Only metadata.
    Metadata,
    /// The objects themselves, as YAML.
    Yaml,
}

impl Form {
    /// The first accepted form that we have.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut offered = false;
        for range in accepted(headers) {
            offered = true;
            let (media, parameters) = range.split_once(';').unwrap_or((range, ""));
            let parameter = |name: &str| {
                parameters.split(';').find_map(|pair| {
                    let (key, value) = pair.split_once('=')?;
                    (key.trim() == name).then(|| value.trim())
                })
            };
            match (media.trim(), parameter("as")) {
                ("application/json" | "*/*" | "application/*", None) => return Ok(Self::Full),
                ("application/yaml", None) => return Ok(Self::Yaml),
                ("application/json", Some("Table")) if parameter("v") == Some("v1") => {
                    return Ok(Self::Table);
                }
                ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList")) => {
                    return Ok(Self::Metadata);
                }
                _ => {}
            }
        }
        if offered {
            return Err(ApiError::not_acceptable(&["application/json", "application/yaml"]));
        }
        Ok(Self::Full)
    }
}

fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
}

/// Does the client ask for aggregated discovery, and in which version?
pub(super) fn aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    accepted(headers).find_map(|range| {
        if !range.contains("as=APIGroupDiscoveryList") {
            return None;
        }
        if range.contains("v=v2beta1") {
            Some("v2beta1")
        } else if range.contains("v=v2") {
            Some("v2")
        } else {
            None
        }
    })
}

/// A JSON answer.
pub(super) fn json(code: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    let text = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(with_type(code, "application/json", text))
}

/// An answer in JSON or YAML.
pub(super) fn object(code: StatusCode, form: Form, value: &impl Serialize) -> Result<Response, ApiError> {
    if form != Form::Yaml {
        return json(code, value);
    }
    let text = serde_saphyr::to_string(value).map_err(ApiError::internal)?;
    Ok(with_type(code, "application/yaml", text))
}

/// A failure.
pub(super) fn status(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_type(code, "application/json", error.to_status().to_string())
}

/// Plain text.
pub(super) fn text(text: &'static str) -> Response {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", text)
}

/// Any text with its media type.
pub(super) fn with_type(code: StatusCode, media: &'static str, text: impl Into<Body>) -> Response {
    let mut response = Response::new(super::body(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Adds `Warning` headers, which kubectl prints.
pub(super) fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        // Header values are bytes: UTF-8 (Korean) passes.
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// The success of a deletion or review.
pub(super) fn success(details: &Value) -> Result<Response, ApiError> {
    json(
        StatusCode::OK,
        &serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Result<Form, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        Form::of(&headers).map_err(|error| error.code)
    }

    #[test]
    fn the_first_form_we_have_is_taken() {
        assert_eq!(form("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Ok(Form::Table));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Ok(Form::Full));
        assert_eq!(form("application/yaml"), Ok(Form::Yaml));
        assert_eq!(form("application/vnd.kubernetes.protobuf"), Err(406));
        assert_eq!(Form::of(&HeaderMap::new()), Ok(Form::Full));
    }
}
