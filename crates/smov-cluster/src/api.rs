//! The HTTP face of a registry: what kubectl and kube-rs talk to.
//!
//! One handler takes every request: who asks, may he (`rbac`), what is asked (`route`), which form is
//! wanted (`negotiate`), then the verb (`objects`, `stream`, `patch`, …).

use std::sync::{Arc, OnceLock};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    response::Response,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::ApiError,
    identity::{Authority, User},
    rbac::{self, Attributes},
    registry::Registry,
};

mod apply;
mod body;
mod channels;
mod discovery;
mod eviction;
mod health;
mod impersonate;
mod kubelet;
mod lists;
mod live;
mod logs;
mod metrics;
mod negotiate;
mod objects;
mod openapi;
mod patch;
mod portforward;
mod protobuf;
mod query;
mod reviews;
mod route;
mod scale;
mod server;
mod spdy;
mod stream;
mod table;
mod websocket;

pub use kubelet::{Dialled, ExecRequest, Measured, PodAccess, Resize, Session, Sink, Source, Usage};
pub use logs::{LogOptions, LogSource, LogStream};
pub use patch::strategic_merge;
pub(crate) use server::Server;

use openapi::Documents;
use query::Query;
pub(crate) use query::decode;
use route::Route;

/// Longest body that is read.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

struct Inner {
    registry: Registry,
    authority: Arc<Authority>,
    pods: Arc<OnceLock<Arc<dyn PodAccess>>>,
    /// OpenAPI, once somebody has asked for it.
    documents: OnceLock<Documents>,
    /// Ends watches and followed logs.
    shutdown: CancellationToken,
}

/// The API of one cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    inner: Arc<Inner>,
}

impl Api {
    pub(crate) fn new(registry: Registry, authority: Arc<Authority>, pods: Arc<OnceLock<Arc<dyn PodAccess>>>) -> Self {
        Self { inner: Arc::new(Inner { registry, authority, pods, documents: OnceLock::new(), shutdown: CancellationToken::new() }) }
    }

    fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The kubelet, for what only it has.
    fn pods(&self) -> Result<&Arc<dyn PodAccess>, ApiError> {
        self.inner.pods.get().ok_or_else(|| ApiError::unavailable("this cluster has no kubelet that could be asked"))
    }

    /// The whole API as a service.
    fn router(self) -> axum::Router {
        axum::Router::new().fallback(answer).with_state(self)
    }
}

/// Everything about a request but its body.
struct Call {
    method: Method,
    headers: HeaderMap,
    query: Query,
    user: User,
    /// What turns the connection into another protocol's, where the client asks for that.
    upgrade: Option<hyper::upgrade::OnUpgrade>,
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    match handle(&api, request).await {
        Ok(response) => response,
        Err(error) => negotiate::status(&error),
    }
}

async fn handle(api: &Api, request: Request) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let user = authenticate(api, &parts.headers)?;
    let user = impersonate::user(api.registry(), user, &parts.headers)?;
    let selected = query.selected_name();
    let asked = Attributes::of(parts.method.as_str(), parts.uri.path(), query.flag("watch"), selected.as_deref());
    if let Err(refusal) = rbac::require(api.registry(), &user, &asked) {
        // Who shows no token is told nothing beyond health and version.
        return Err(if user.is_anonymous() { ApiError::unauthorized() } else { refusal });
    }
    let call = Call { method: parts.method, headers: parts.headers, query, user, upgrade: parts.extensions.remove() };
    let route = Route::parse(parts.uri.path()).ok_or_else(ApiError::no_such_path)?;
    if route.is_document() && call.method != Method::GET {
        return Err(ApiError::method_not_allowed());
    }
    match route {
        Route::Root => discovery::paths(),
        Route::Health(check) => health::answer(api, &check, call.query.flag("verbose")),
        Route::Version => discovery::version(),
        Route::Core => {
            let host = call.headers.get(header::HOST).and_then(|value| value.to_str().ok());
            discovery::core(&call.headers, parts.uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default())
        }
        Route::Groups => discovery::groups(&call.headers, api.pods().is_ok()),
        Route::Group(group) => discovery::group(&group, api.pods().is_ok()),
        Route::Resources { group, version } => discovery::resources(&group, &version),
        Route::OpenApiIndex => openapi::index(api),
        Route::OpenApiWhole => openapi::whole(api, &call),
        Route::OpenApi { group, version } => openapi::document(api, &call, &group, &version),
        Route::Review(review) => reviews::review(api, &call, &review, body).await,
        Route::Metrics(asked) => metrics::handle(api, &call, &asked).await,
        Route::Resource(target) => objects::handle(api, call, target, body).await,
    }
}

/// Whose token is it? Nobody's is refused; without one the caller is anonymous.
fn authenticate(api: &Api, headers: &HeaderMap) -> Result<User, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(User::anonymous()) };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| api.inner.authority.authenticate(token.trim()))
        .ok_or_else(ApiError::unauthorized)
}

/// A response body from text that is ready.
fn body(text: impl Into<Body>) -> Body {
    text.into()
}
