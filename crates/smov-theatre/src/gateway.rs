//! The API gateway: relays the sample's routes to the services and tells an observer who really answered.
//!
//! It adds nothing to what it relays: an answer without `X-Service-…` headers did not come from a service, and the page
//! must see that. `Host` names the service called, or the mesh would look for a rule of the browser's host.

mod ids;
mod metrics;
mod observer;
mod relay;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    response::Response,
    routing::{any, get},
};
use http::{
    Uri,
    uri::{Authority, PathAndQuery},
};

use self::metrics::RelayMetrics;
pub use self::{
    ids::{IdSource, RandomIds, SeededIds},
    observer::{RelayEvent, RelayObserver, Unobserved},
};
use crate::{
    client::MeshClient, environment::Environment, openapi, openapi::Problems, problem::ApiError, service::ServiceName, spans::Tracer,
    trace_headers::X_REQUEST_ID,
};

/// Where the gateway listens when nothing else is said.
pub const DEFAULT_PORT: u16 = 8080;

/// What the relay needs.
pub(crate) struct Gateway {
    users: MeshClient,
    movies: MeshClient,
    bookings: MeshClient,
    copy_headers: bool,
    trace_headers: bool,
    tracer: Option<Arc<Tracer>>,
    metrics: RelayMetrics,
    keep_host: bool,
    ids: Arc<dyn IdSource>,
    observer: Arc<dyn RelayObserver>,
}

impl Gateway {
    fn client(&self, service: ServiceName) -> &MeshClient {
        match service {
            ServiceName::User => &self.users,
            ServiceName::Movie => &self.movies,
            ServiceName::Booking => &self.bookings,
        }
    }
}

/// The gateway's routes: relays, `/healthz`, `/readyz`, the OpenAPI document and its page. What it does not know is left to the
/// router that it is merged into.
pub fn router(environment: &Environment, ids: Arc<dyn IdSource>, observer: Arc<dyn RelayObserver>) -> Router {
    let client = |service| MeshClient::new(environment.origin(service), environment.proxy.as_ref(), environment.upstream_timeout);
    let gateway = Arc::new(Gateway {
        users: client(ServiceName::User),
        movies: client(ServiceName::Movie),
        bookings: client(ServiceName::Booking),
        copy_headers: environment.copy_headers,
        trace_headers: environment.trace_headers,
        tracer: Tracer::of(environment, "api-gateway"),
        metrics: RelayMetrics::default(),
        keep_host: environment.keep_host,
        ids,
        observer,
    });
    let relays = [("/users", ServiceName::User), ("/movies", ServiceName::Movie), ("/bookings", ServiceName::Booking)];
    let mut router = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(|| async { "ready\n" }));
    for (path, service) in relays {
        let relay = any(move |State(gateway): State<Arc<Gateway>>, request: Request| async move { gateway.relay(service, request).await });
        router = router.route(path, relay.clone()).route(&format!("{path}/"), relay.clone()).route(&format!("{path}/{{*rest}}"), relay);
    }
    router
        .route("/screenings/{*rest}", any(screenings))
        .route("/stream/{service}", get(stream))
        .route("/metrics", get(metrics))
        .with_state(gateway)
        .merge(openapi::routes())
}

/// What the gateway counted, for Prometheus.
async fn metrics(State(gateway): State<Arc<Gateway>>) -> impl axum::response::IntoResponse {
    ([(http::header::CONTENT_TYPE, smov_telemetry::text::Page::CONTENT_TYPE)], gateway.metrics.render())
}

/// Seat maps are booking-service's, the rest of the programme is movie-service's.
async fn screenings(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    let service = if path.ends_with("/seats") { ServiceName::Booking } else { ServiceName::Movie };
    gateway.relay(service, request).await
}

/// A slow answer of any service: something to have in flight while a rule changes or a pod drains.
#[utoipa::path(get, path = "/stream/{service}", tag = "lessons",
    params(("service" = String, Path, description = "`user`, `movie` or `booking`", example = "user"), crate::service::Pace),
    responses((status = 200, description = "Lines, slowly · 느린 스트림", body = String, content_type = "text/plain"), Problems))]
pub(crate) async fn stream(State(gateway): State<Arc<Gateway>>, Path(service): Path<String>, mut request: Request) -> Response {
    let service = match service.as_str() {
        "user" => ServiceName::User,
        "movie" => ServiceName::Movie,
        "booking" => ServiceName::Booking,
        other => return ApiError::not_found("service", "서비스", other).render(request.uri().path(), request.headers().get(X_REQUEST_ID)),
    };
    let shown_path = request.uri().path().to_owned();
    let query = request.uri().query().map(|query| format!("/stream?{query}"));
    let target = query.and_then(|query| PathAndQuery::try_from(query).ok()).unwrap_or(PathAndQuery::from_static("/stream"));
    *request.uri_mut() = Uri::from(target);
    gateway.relay_as(service, request, shown_path).await
}

/// The authority that the browser asked for, where the gateway is told to keep it.
fn browsers_authority(request: &Request) -> Option<Authority> {
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    host.and_then(|host| host.parse().ok()).or_else(|| request.uri().authority().cloned())
}
