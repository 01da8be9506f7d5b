//! Reading a request's body: wrong JSON is told with its place, wrong content with every error at once.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    problem::{ApiError, FieldError, ProblemKind},
    store::IdempotencyKey,
};

/// Longest `Idempotency-Key`.
const MAX_KEY: usize = 255;
/// Longest id that a client may choose.
const MAX_ID: usize = 64;

/// A body that is a JSON object.
pub(crate) struct JsonObject(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        // Asked for on purpose: a page elsewhere cannot send JSON here without the browser asking us first.
        if !is_json(request.headers()) {
            return Err(ApiError::new(
                ProblemKind::UnsupportedMediaType,
                "send `content-type: application/json`",
                "`content-type: application/json` 헤더가 필요합니다",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(ProblemKind::ContentTooLarge, "at most 64 KiB", "최대 64 KiB까지 보낼 수 있습니다")
            }
            _ => ApiError::new(ProblemKind::InvalidJson, "the body ended early", "본문이 중간에 끊어졌습니다"),
        })?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(ApiError::new(ProblemKind::InvalidJson, "the body is JSON, but not an object", "본문이 JSON 객체가 아닙니다")),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Err(ApiError::new(ProblemKind::InvalidJson, error.to_string(), format!("JSON 문법 오류: {line}행 {column}열")))
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}

impl JsonObject {
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields { object: &self.0, errors: Vec::new() }
    }
}

/// Takes members out of an object and remembers what was wrong with them.
/// A member may have several names: the sample's, and the camelCase one.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields<'_> {
    /// The first of `names` that is there and not null.
    pub(super) fn value(&self, names: &[&'static str]) -> Option<&Value> {
        names.iter().find_map(|name| self.object.get(*name)).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&mut self, name: &str, detail: impl Into<String>, detail_ko: impl Into<String>) {
        self.errors.push(FieldError { pointer: format!("/{name}"), detail: detail.into(), detail_ko: detail_ko.into() });
    }

    pub(super) fn missing(&mut self, name: &str) {
        self.wrong(name, "is required", "필수 항목입니다");
    }

    /// Text of 1 to `longest` characters, trimmed; none (and no error) when absent.
    pub(super) fn text(&mut self, names: &[&'static str], longest: usize) -> Option<String> {
        let text = match self.value(names)? {
            Value::String(text) => text.trim().to_owned(),
            _ => {
                self.wrong(names[0], "must be text", "문자열이어야 합니다");
                return None;
            }
        };
        // Private use as well: templates in the store are marked with it.
        if text.chars().any(|char| char.is_control() || ('\u{E000}'..='\u{F8FF}').contains(&char)) {
            self.wrong(names[0], "must not hold control characters", "제어 문자를 쓸 수 없습니다");
            return None;
        }
        if text.is_empty() || text.chars().count() > longest {
            self.wrong(names[0], format!("must have 1 to {longest} characters"), format!("1~{longest}자여야 합니다"));
            return None;
        }
        Some(text)
    }

    /// As [`Self::text`], and an error when absent.
    pub(super) fn required_text(&mut self, names: &[&'static str], longest: usize) -> String {
        if self.value(names).is_none() {
            self.missing(names[0]);
        }
        self.text(names, longest).unwrap_or_default()
    }

    /// A whole number in a range; also written as text, as forms do.
    pub(super) fn number(&mut self, names: &[&'static str], range: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let number = match self.value(names)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            self.wrong(
                names[0],
                format!("must be a whole number from {least} to {most}"),
                format!("{least}~{most} 사이의 정수여야 합니다"),
            );
        }
        number
    }

    /// An id: text, or a number as in the sample's page.
    pub(super) fn id(&mut self, names: &[&'static str]) -> Option<String> {
        let id = match self.value(names)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if is_id(&id) {
            return Some(id);
        }
        self.wrong(names[0], "must be an id: 1 to 64 of A-Z a-z 0-9 . _ -", "id는 영문, 숫자, `.`, `_`, `-` 1~64자여야 합니다");
        None
    }

    /// Everything that was wrong, or nothing.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::invalid_content(self.errors)) }
    }
}

/// Whether `text` can be an id at all: it becomes part of keys and paths.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The id in a path. What cannot be an id is not found.
pub(crate) struct RecordId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for RecordId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) if is_id(&id) => Ok(Self(id)),
            Ok(_) | Err(_) => Err(ApiError::not_found("path", "경로", parts.uri.path())),
        }
    }
}

/// The client's `Idempotency-Key` for `operation`, bound to what is asked for.
pub(super) fn idempotency(headers: &HeaderMap, operation: &str, request: &impl Serialize) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(ApiError::new(
            ProblemKind::InvalidParameter,
            "`Idempotency-Key` must have 1 to 255 visible ASCII characters",
            "`Idempotency-Key`는 ASCII 문자 1~255자여야 합니다",
        ));
    }
    let canonical = serde_json::to_vec(request).expect("requests are plain structs");
    let hash = Sha256::digest(&canonical).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(IdempotencyKey { key: format!("{operation}:{key}"), hash }))
}

pub(super) fn key_reused() -> ApiError {
    ApiError::new(
        ProblemKind::KeyReused,
        "this Idempotency-Key was used for another request",
        "이 Idempotency-Key는 다른 요청에 이미 사용되었습니다",
    )
}

pub(super) fn already_exists(id: &str) -> ApiError {
    ApiError::new(ProblemKind::AlreadyExists, format!("id `{id}` is taken"), format!("id `{id}`은(는) 이미 사용 중입니다"))
}
