//! Errors as RFC 9457 problem+json, in English and, beside it, Korean (`title_ko`, `detail_ko`).
//!
//! A handler returns an [`ApiError`]; the outermost layer renders it, since only that knows path and request id.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::StoreError;

/// The body of every error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"type": "urn:smov:problem:seats-taken", "title": "seats are taken", "title_ko": "이미 예약된 좌석", "status": 409,
    "detail": "taken: F7", "detail_ko": "이미 예약됨: F7", "instance": "/bookings/", "taken": ["F7"]}))]
pub struct Problem {
    /// Kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The kind in Korean.
    pub title_ko: String,
    /// HTTP status.
    pub status: u16,
    /// This occurrence.
    pub detail: String,
    /// This occurrence, in Korean.
    pub detail_ko: String,
    /// The path that was asked for.
    pub instance: String,
    /// `x-request-id`, to find the request in logs and traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Everything that is wrong with the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seats that are sold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<String>,
    /// The service further on that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What that service, or the mesh in its place, answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
}

/// One thing wrong with the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer to the member.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
    /// The same in Korean.
    pub detail_ko: String,
}

/// Kinds of problems, with their status and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// No such path or record.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is no JSON object.
    InvalidJson,
    /// A header or query parameter is wrong.
    InvalidParameter,
    /// The body is JSON, but not what is needed.
    InvalidContent,
    /// The body does not say that it is JSON.
    UnsupportedMediaType,
    /// The body is too large.
    ContentTooLarge,
    /// The chosen id is taken.
    AlreadyExists,
    /// Somebody else has the seats.
    SeatsTaken,
    /// A record was changed in between, again and again.
    Changed,
    /// The idempotency key belongs to another request.
    KeyReused,
    /// The store does not answer.
    StoreUnreachable,
    /// The store answered nonsense or refused.
    StoreRefused,
    /// A service further on cannot be reached, or failed.
    UpstreamFailed,
    /// A service further on is unavailable.
    UpstreamUnavailable,
    /// A service further on took too long.
    UpstreamTimeout,
    /// Somebody switched this pod to fail.
    Switched,
}

impl ProblemKind {
    /// Status, slug, English and Korean title.
    fn words(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "not found", "찾을 수 없음"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "method not allowed", "허용되지 않는 메서드"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid-json", "body is not a JSON object", "본문이 JSON 객체가 아님"),
            Self::InvalidParameter => (StatusCode::BAD_REQUEST, "invalid-parameter", "invalid parameter", "잘못된 매개변수"),
            Self::InvalidContent => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-content", "invalid content", "잘못된 내용"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "unsupported media type", "지원하지 않는 형식")
            }
            Self::ContentTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "content-too-large", "content too large", "본문이 너무 큼"),
            Self::AlreadyExists => (StatusCode::CONFLICT, "already-exists", "id already exists", "이미 있는 id"),
            Self::SeatsTaken => (StatusCode::CONFLICT, "seats-taken", "seats are taken", "이미 예약된 좌석"),
            Self::Changed => (StatusCode::CONFLICT, "changed", "changed by someone else", "다른 요청이 먼저 변경함"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "idempotency key reused", "멱등 키 재사용"),
            Self::StoreUnreachable => {
                (StatusCode::SERVICE_UNAVAILABLE, "store-unreachable", "store unreachable", "저장소에 연결할 수 없음")
            }
            Self::StoreRefused => (StatusCode::INTERNAL_SERVER_ERROR, "store-refused", "store error", "저장소 오류"),
            Self::UpstreamFailed => (StatusCode::BAD_GATEWAY, "upstream-failed", "upstream service failed", "상위 서비스 오류"),
            Self::UpstreamUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "upstream-unavailable", "upstream service unavailable", "상위 서비스 사용 불가")
            }
            Self::Switched => (StatusCode::INTERNAL_SERVER_ERROR, "app-switch", "this pod was switched to fail", "장애 스위치가 켜진 파드"),
            Self::UpstreamTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream-timeout", "upstream service timed out", "상위 서비스 시간 초과")
            }
        }
    }
}

/// An error on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    problem: Box<Problem>,
}

impl ApiError {
    /// A problem with its detail in English and Korean.
    pub fn new(kind: ProblemKind, detail: impl Into<String>, detail_ko: impl Into<String>) -> Self {
        let (status, slug, title, title_ko) = kind.words();
        let problem = Problem {
            kind: format!("urn:smov:problem:{slug}"),
            title: title.to_owned(),
            title_ko: title_ko.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            detail_ko: detail_ko.into(),
            ..Problem::default()
        };
        Self { status, problem: Box::new(problem) }
    }

    /// A record or path that is not there.
    pub fn not_found(what: &str, what_ko: &str, id: &str) -> Self {
        Self::new(ProblemKind::NotFound, format!("no {what} `{id}`"), format!("`{id}` {what_ko}을(를) 찾을 수 없습니다"))
    }

    /// Everything that is wrong with the content, at once.
    pub(crate) fn invalid_content(errors: Vec<FieldError>) -> Self {
        let (count, plural) = (errors.len(), if errors.len() == 1 { "" } else { "s" });
        let mut error = Self::new(
            ProblemKind::InvalidContent,
            format!("{count} error{plural} in the content"),
            format!("내용에 오류가 {count}개 있습니다"),
        );
        error.problem.errors = errors;
        error
    }

    /// Seats that cannot be sold any more.
    pub(crate) fn seats_taken(taken: Vec<String>, detail: String, detail_ko: String) -> Self {
        let mut error = Self::new(ProblemKind::SeatsTaken, detail, detail_ko);
        error.problem.taken = taken;
        error
    }

    /// A failed call to `service`; `status` is what it answered, where it did.
    pub(crate) fn upstream(kind: ProblemKind, service: &str, status: Option<StatusCode>, reason: &str) -> Self {
        let detail = format!("{service}: {reason}");
        let detail_ko = match status {
            Some(status) => format!("{service} 호출이 상태 {}(으)로 끝났습니다", status.as_u16()),
            None if kind == ProblemKind::UpstreamTimeout => format!("{service}이(가) 제때 응답하지 않았습니다"),
            None => format!("{service}에 연결할 수 없거나 연결이 끊어졌습니다"),
        };
        let mut error = Self::new(kind, detail, detail_ko);
        error.problem.upstream = Some(service.to_owned());
        error.problem.upstream_status = status.map(|status| status.as_u16());
        error
    }

    /// The failure that an app switch asked for, in the switch's words.
    pub(crate) fn switched(status: StatusCode, said: &str) -> Self {
        let mut error = Self::new(
            ProblemKind::Switched,
            format!("the app switch of this pod says `{said}`"),
            format!("이 파드의 장애 스위치가 `{said}`(으)로 켜져 있습니다"),
        );
        error.status = status;
        error.problem.status = status.as_u16();
        error
    }

    /// The answer, for the request at `path`.
    pub(crate) fn render(mut self, path: &str, request_id: Option<&HeaderValue>) -> Response {
        path.clone_into(&mut self.problem.instance);
        self.problem.request_id = request_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = serde_json::to_vec(&self.problem).expect("a problem is a plain struct");
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// English text for the log.
    pub(crate) fn detail(&self) -> &str {
        &self.problem.detail
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        // The driver's words may name hosts and paths: they go to the log, not to the client.
        tracing::warn!(error = &error as &dyn std::error::Error, "store call failed");
        match error {
            StoreError::Unreachable { store, .. } => Self::new(
                ProblemKind::StoreUnreachable,
                format!("the store ({store}) does not answer; whether a write was done is known by its Idempotency-Key"),
                format!("저장소({store})가 응답하지 않습니다. 쓰기 결과는 같은 Idempotency-Key로 다시 보내면 알 수 있습니다"),
            ),
            StoreError::Refused { store, .. } => Self::new(
                ProblemKind::StoreRefused,
                format!("the store ({store}) refused the operation"),
                format!("저장소({store})가 작업을 거부했습니다"),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    /// An empty answer that carries the error to the layer which renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
