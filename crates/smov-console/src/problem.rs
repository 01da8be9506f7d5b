//! Problems as RFC 9457 says, with a code for programs and one sentence each in Korean and English for people.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::view::split::Reason;

/// What went wrong, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// The code and the two sentences.
    pub reason: Box<Reason>,
    /// More, untranslated: what a library or another server said.
    pub detail: Option<String>,
    /// Extension members.
    pub extra: Vec<(String, Value)>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.reason.text_en, self.reason.code)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// A problem.
    pub fn new(status: StatusCode, code: &str, text_ko: &str, text_en: &str) -> Self {
        Self { status, reason: Box::new(Reason::new(code, text_ko, text_en)), detail: None, extra: Vec::new() }
    }

    /// Adds what a library or another server said.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.extra.push((name.to_owned(), value));
        self
    }

    pub(crate) fn forbidden(code: &str, text_ko: &str, text_en: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, text_ko, text_en)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "그런 주소가 없습니다", "There is nothing at this address")
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", "요청을 이해할 수 없습니다", "The request cannot be understood")
            .with_detail(detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.reason.text_en,
            "status": self.status.as_u16(),
            "code": self.reason.code,
            "text_ko": self.reason.text_ko,
            "text_en": self.reason.text_en,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.detail.map(|detail| ("detail".to_owned(), Value::String(detail))));
            members.extend(self.extra);
        }
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
