//! The three services. What they share is here: health, metrics, the slow stream, the layer that signs every answer.

mod body;
pub mod booking;
pub mod movie;
mod paging;
mod stream;
mod upstream;
pub mod user;

pub(crate) use self::{stream::Pace, upstream::call_failed};

use std::{fmt, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    domain::{first_data::FirstData, theatre_day},
    environment::Environment,
    identity::Identity,
    metrics::Metrics,
    problem::{ApiError, ProblemKind},
    serve::{self, BindError},
    spans::{self, Tracer},
    store::{self, Page, Reply, Store, StoreError},
    switches::{Switches, X_APP_SWITCH},
    trace_headers::X_REQUEST_ID,
};

/// Largest body of a write.
const MAX_BODY: usize = 64 * 1024;
/// Pauses between tries to put in the first data while the store is not there.
const PREPARE_PAUSE: Duration = Duration::from_millis(250);

/// One of the services behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceName {
    /// `user-service`
    User,
    /// `movie-service`
    Movie,
    /// `booking-service`
    Booking,
}

impl ServiceName {
    /// All three.
    pub const ALL: [Self; 3] = [Self::User, Self::Movie, Self::Booking];

    /// The name of its Kubernetes Service.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Movie => "movie-service",
            Self::Booking => "booking-service",
        }
    }

    /// The port of its Kubernetes Service, and where it listens when nothing else is said.
    pub fn port(self) -> u16 {
        match self {
            Self::User => 8081,
            Self::Movie => 8082,
            Self::Booking => 8083,
        }
    }

    fn records(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Movie => "movies",
            Self::Booking => "bookings",
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a service ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used at all.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// No listener.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Runs one service until `shutdown`: listens at once, and puts in the first data as soon as the store is there.
pub async fn run(service: ServiceName, environment: Environment, shutdown: CancellationToken) -> Result<(), RunError> {
    let store = store::open(&environment.store).await?;
    let listener = serve::bind(&environment.listen_on(service.port())).await?;
    let mut desk = Desk::new(service, &environment, store, Timestamp::now);
    desk.tracer = Tracer::of(&environment, service.as_str());
    let desk = Arc::new(desk);
    tracing::info!(%service, pod = environment.pod, cluster = environment.cluster, version = environment.version, "service listens");
    let preparing = shutdown.child_token();
    let stop_preparing = preparing.clone().drop_guard();
    let preparation = tokio::spawn(prepare(desk.clone(), preparing));
    let (switched, stop, folder) = (desk.clone(), shutdown.clone(), environment.switches.clone());
    let switches = tokio::spawn(async move { switched.switches.follow(folder, stop).await });
    serve::run(router(&desk, &environment), listener, shutdown).await;
    drop(stop_preparing);
    if let Err(error) = preparation.await {
        tracing::error!(%error, "first data");
    }
    if let Err(error) = switches.await {
        tracing::error!(%error, "app switches");
    }
    Ok(())
}

/// The routes of a service.
pub fn router(desk: &Arc<Desk>, environment: &Environment) -> Router {
    let own = match desk.service {
        ServiceName::User => user::routes(desk.clone()),
        ServiceName::Movie => movie::routes(desk.clone()),
        ServiceName::Booking => booking::routes(desk.clone(), environment),
    };
    let shared = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/stream", get(stream::stream))
        .with_state(desk.clone());
    shared
        .merge(own)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(desk.clone(), sign))
}

/// What the handlers of one process share.
pub struct Desk {
    service: ServiceName,
    identity: Identity,
    /// The headers of every answer.
    signature: [(HeaderName, HeaderValue); 4],
    store: Arc<dyn Store>,
    metrics: Metrics,
    switches: Switches,
    tracer: Option<Arc<Tracer>>,
    clock: fn() -> Timestamp,
}

impl Desk {
    /// `clock` says what time it is.
    pub fn new(service: ServiceName, environment: &Environment, store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Self {
        let identity = environment.identity(service);
        let switches = Switches::new(service, &identity);
        Self { service, signature: identity.headers(), identity, store, metrics: Metrics::default(), switches, tracer: None, clock }
    }

    /// What makes this pod fail, where somebody wishes it.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Waits for a store call and takes its time.
    async fn stored<T>(&self, operation: &'static str, call: Reply<'_, T>) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = spans::store_call(self.store.system(), operation, call).await;
        self.metrics.store_call(began.elapsed());
        if answer.is_err() {
            self.metrics.store_errors.fetch_add(1, Relaxed);
        }
        answer
    }

    /// Whether the store answers; puts in the first data where it is missing, as after a Redis without a disk restarted.
    async fn prepare(&self) -> Result<(), StoreError> {
        if !self.stored("prepared", self.store.prepared()).await? {
            let first = FirstData::starting(theatre_day((self.clock)()));
            if self.stored("prepare", self.store.prepare(first)).await? {
                tracing::info!("first data created");
            }
        }
        Ok(())
    }

    /// A stored record as its type.
    fn parsed<T: serde::de::DeserializeOwned>(&self, document: &str) -> Result<T, ApiError> {
        serde_json::from_str(document).map_err(|error| {
            tracing::error!(%error, "stored record cannot be read");
            ApiError::new(ProblemKind::StoreRefused, "a stored record cannot be read", "저장된 레코드를 읽을 수 없습니다")
        })
    }

    /// A page of records; one that somebody edited into nonsense is left out, and logged.
    fn all_parsed<T: serde::de::DeserializeOwned>(&self, page: &Page) -> Vec<T> {
        page.documents.iter().filter_map(|document| self.parsed(document).ok()).collect()
    }
}

async fn prepare(desk: Arc<Desk>, stop: CancellationToken) {
    while let Err(error) = desk.prepare().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "store not ready yet");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PREPARE_PAUSE) => {}
        }
    }
}

/// The layer around everything: renders problems, signs the answer, counts and logs it.
async fn sign(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let request_id = request.headers().get(X_REQUEST_ID).cloned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let id = request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    let served = desk.tracer.as_ref().and_then(|tracer| tracer.serve(request.headers()));
    let span = tracing::info_span!("request", request_id = id, trace_id = tracing::field::Empty, %method, path = uri.path());
    if let Some(served) = &served {
        span.record("trace_id", tracing::field::display(served.trace()));
    }
    let mut response = if desk.switches.armed() && !spared(uri.path()) {
        spans::within(served.clone(), switched(&desk, request, next)).instrument(span.clone()).await
    } else {
        spans::within(served.clone(), next.run(request)).instrument(span.clone()).await
    };
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        span.in_scope(|| tracing::info!(status = response.status().as_u16(), detail = error.detail(), "problem"));
        let kept = [header::ALLOW, X_APP_SWITCH].map(|name| response.headers_mut().remove(&name).map(|value| (name, value)));
        response = error.render(uri.path(), request_id.as_ref());
        response.headers_mut().extend(kept.into_iter().flatten());
    }
    let headers = response.headers_mut();
    for (name, value) in &desk.signature {
        headers.insert(name, value.clone());
    }
    // A reload must show the pod that serves it now.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    desk.metrics.answered(response.status());
    // One line per sampled request; one for each would cost more than many of them.
    if served.is_some() {
        span.in_scope(|| tracing::info!(status = response.status().as_u16(), "answered"));
    } else {
        span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "answered"));
    }
    spans::end_with(served, format!("{method} {}", uri.path()), response)
}

/// What the kubelet and Prometheus ask for: no switch touches it.
fn spared(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// A request while something is switched on.
async fn switched(desk: &Desk, request: Request, next: Next) -> Response {
    let Some(fate) = desk.switches.fate() else { return next.run(request).await };
    tracing::info!(switch = fate.said, "app switch acts");
    if fate.hang {
        desk.switches.released().await;
    }
    if let Some(time) = fate.wait {
        tokio::time::sleep(time).await;
    }
    let mut response = match fate.fail {
        Some(status) => ApiError::switched(status, &fate.said).into_response(),
        None => next.run(request).await,
    };
    response.headers_mut().extend(HeaderValue::from_str(&fate.said).map(|said| (X_APP_SWITCH, said)));
    response
}

async fn ready(State(desk): State<Arc<Desk>>) -> Result<&'static str, ApiError> {
    desk.prepare().await?;
    Ok("ready\n")
}

async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let page = desk.metrics.render(desk.service.records(), &desk.switches);
    ([(header::CONTENT_TYPE, smov_telemetry::text::Page::CONTENT_TYPE)], page)
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::not_found("path", "경로", uri.path())
}

async fn no_such_method(method: http::Method, uri: Uri) -> ApiError {
    ApiError::new(
        ProblemKind::MethodNotAllowed,
        format!("`{}` does not take {method}", uri.path()),
        format!("`{}` 경로는 {method} 메서드를 받지 않습니다", uri.path()),
    )
}

/// A route with and without its trailing slash: the sample has one, people leave it out.
fn with_slash<S: Clone + Send + Sync + 'static>(router: Router<S>, path: &str, handlers: MethodRouter<S>) -> Router<S> {
    router.route(path, handlers.clone()).route(&format!("{path}/"), handlers)
}

/// The answer to a write: 201 with its place, and whether it was settled before.
fn created(location: &str, record: Vec<u8>, replayed: bool) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::LOCATION, location)];
    let mut response = (StatusCode::CREATED, headers, record).into_response();
    if replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}
