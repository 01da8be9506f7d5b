//! The OpenAPI document of everything that the gateway relays, and the page to browse it.

use axum::{Router, response::IntoResponse, routing::get};
use http::header;
use std::sync::LazyLock;
use utoipa::{IntoParams, IntoResponses, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{problem::Problem, service};

/// Where the document is.
pub const DOCUMENT_PATH: &str = "/api/v1/openapi.json";
/// Where the page is.
pub const PAGE_PATH: &str = "/api/v1/docs";

/// The public API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "smov theatre",
        description = "Users, movies and bookings of a theatre in two clusters. Every answer of a service says in X-Service-Cluster, X-Pod-Name, \
            X-Service-Name and X-Service-Version who gave it; an answer without them comes from the mesh or the gateway.\n\n\
            두 클러스터에서 운영되는 극장의 사용자·영화·예약 API. 서비스의 모든 응답은 X-Service-Cluster, X-Pod-Name, X-Service-Name, X-Service-Version \
            헤더로 실제 응답한 파드를 알려 줍니다. 이 헤더가 없는 응답은 메시나 게이트웨이가 보낸 것입니다."
    ),
    paths(
        service::user::list, service::user::create, service::user::find,
        service::movie::list, service::movie::create, service::movie::find, service::movie::screenings, service::movie::trailer,
        service::movie::find_screening,
        service::booking::list, service::booking::create, service::booking::find, service::booking::cancel, service::booking::of_user,
        service::booking::seats,
        crate::gateway::stream
    ),
    components(schemas(Problem)),
    tags(
        (name = "user-service", description = "People · 사용자"),
        (name = "movie-service", description = "Movies and screenings · 영화와 상영"),
        (name = "booking-service", description = "Seats and bookings · 좌석과 예약"),
        (name = "lessons", description = "For exercises · 실습용")
    )
)]
struct PublicApi;

/// Which part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in the OpenAPI document; `Paging` reads them")]
pub(crate) struct PageParameters {
    /// Records on the page; a higher number means 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// Records to leave out.
    #[param(minimum = 0, default = 0)]
    offset: Option<u32>,
    /// `oldest` (default) or `newest` first.
    order: Option<String>,
}

/// For writes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header in the OpenAPI document")]
pub(crate) struct IdempotencyParameter {
    /// A key of one's own: the same request sent again with it is done once and answered alike, for 24 hours.
    #[param(rename = "Idempotency-Key", max_length = 255, example = "8b1f2c1e-5a0f-4a64-9a3e-0d3f6a3f8d11")]
    idempotency_key: Option<String>,
}

/// Errors, in the form that all of them have.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(crate) enum Problems {
    /// The request cannot be understood.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// No such record.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Somebody was faster.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// Everything that is wrong with the content, in `errors`; or an Idempotency-Key of another request.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
    /// A service further on failed; `upstream` names it.
    #[response(status = 502, content_type = "application/problem+json")]
    BadGateway(Problem),
    /// The store or a service further on is not available.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// A service further on took too long.
    #[response(status = 504, content_type = "application/problem+json")]
    Timeout(Problem),
}

/// Written out when it is first asked for.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| PublicApi::openapi().to_json().expect("the document is plain data"));

/// Routes of the document and the page, which needs nothing from outside.
pub(crate) fn routes() -> Router {
    let document = get(|| async { ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response() });
    // The default would send the document's address to a validator on the internet.
    let page = SwaggerUi::new(PAGE_PATH).config(Config::from(DOCUMENT_PATH).validator_url("none"));
    Router::new().route(DOCUMENT_PATH, document).merge(page)
}
