//! The router: the page, its events, its controls, and the seed's endpoints.

mod configuration;
mod control;
mod events;
mod inspect;
mod scenarios;
mod seed;
mod traces;
mod workloads;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;

use crate::assets::Assets;
use crate::guard::{AllowedHosts, guard};
use crate::live::Live;
use crate::ports::scenarios::Scenarios;
use crate::ports::workloads::Workloads;
use crate::ports::{Baseline, Configuration, Explain, LinkSwitch, Records, Traffic};
use crate::series::{Series, SeriesView};

/// Everything the router needs.
#[derive(Clone)]
pub struct Console {
    /// The hub.
    pub live: Live,
    /// ▶.
    pub traffic: Arc<dyn Traffic>,
    /// Reset.
    pub baseline: Arc<dyn Baseline>,
    /// The link between the clusters.
    pub link: Arc<dyn LinkSwitch>,
    /// The gallery of scenarios.
    pub scenarios: Arc<dyn Scenarios>,
    /// The rules of all clusters and their history.
    pub configuration: Arc<dyn Configuration>,
    /// Pods and Deployments.
    pub workloads: Arc<dyn Workloads>,
    /// Decision records.
    pub records: Arc<dyn Records>,
    /// The last hour in figures.
    pub series: Series,
    /// Decisions worked out.
    pub explain: Arc<dyn Explain>,
    /// Who may call.
    pub allowed_hosts: AllowedHosts,
    /// The page's files.
    pub assets: Assets,
}

/// The console's routes, with guard and security headers.
pub fn router(console: Console) -> Router {
    let hosts = console.allowed_hosts.clone();
    let router = Router::new()
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/state", get(events::state))
        .route("/api/v1/load", post(control::load))
        .route("/api/v1/load/burst", post(control::burst))
        .route("/api/v1/load/again", post(inspect::load_again))
        .route("/api/v1/link", post(control::link))
        .route("/api/v1/reset", post(control::reset))
        .route("/api/v1/scenarios", get(scenarios::list))
        .route("/api/v1/scenarios/reset", post(scenarios::reset))
        .route("/api/v1/scenarios/{name}/apply", post(scenarios::apply))
        .route("/api/v1/glossary", get(scenarios::glossary))
        .route("/api/v1/series", get(series))
        .route("/api/v1/resources", get(configuration::resources))
        .route("/api/v1/resources/check", post(configuration::check))
        .route("/api/v1/resources/apply", post(configuration::apply))
        .route("/api/v1/history", get(configuration::history))
        .route("/api/v1/history/{id}/rollback", post(configuration::rollback))
        .route("/api/v1/undo", post(configuration::undo))
        .route("/api/v1/requests", get(inspect::requests))
        .route("/api/v1/requests/{id}", get(inspect::request))
        .route("/api/v1/requests/{id}/again", post(inspect::again))
        .route("/api/v1/explain", post(inspect::explain))
        .route("/api/v1/traces", get(traces::traces))
        .route("/api/v1/traces/{id}", get(traces::trace))
        .route("/api/v1/timeline", get(workloads::timeline))
        .route("/api/v1/usage", get(workloads::usage))
        .route("/api/v1/abilities", get(workloads::abilities))
        .route("/api/v1/pods/{cluster}/{namespace}/{name}/logs", get(workloads::logs))
        .route("/api/v1/pods/{cluster}/{namespace}/{name}/delete", post(workloads::delete))
        .route("/api/v1/pods/{cluster}/{namespace}/{name}/kill", post(workloads::kill))
        .route("/api/v1/deployments/{cluster}/{namespace}/{name}/restart", post(workloads::restart))
        .route("/api/v1/deployments/{cluster}/{namespace}/{name}/scale", post(workloads::scale))
        .route("/traffic-weights", get(seed::traffic_weights))
        .route("/topology", get(seed::topology))
        .route("/deployment-status", get(seed::deployment_status))
        .route("/traffic-history", get(seed::traffic_history))
        .route("/", get(index))
        .route("/index.html", get(index))
        // The views of the page: `ui/views.js` knows the same paths. `/metrics` is not one of them: Prometheus reads it at both doors.
        .route("/inspect", get(index))
        .route("/charts", get(index))
        .route("/traffic", get(index))
        .route("/config", get(index))
        .route("/deployments", get(index))
        .route("/ui/{*path}", get(file))
        .with_state(console);
    guard(router, hosts).layer(map_response(secure))
}

#[derive(Deserialize)]
struct Window {
    #[serde(default = "quarter")]
    minutes: u64,
}

fn quarter() -> u64 {
    15
}

/// `GET /api/v1/series?minutes=15`, 1 to 60.
async fn series(State(console): State<Console>, Query(window): Query<Window>) -> Json<SeriesView> {
    Json(console.series.view(console.live.now() / 1000, window.minutes))
}

#[derive(Deserialize)]
struct Version {
    v: Option<String>,
}

async fn index(State(console): State<Console>, method: Method, headers: HeaderMap) -> Response {
    console.assets.serve("index.html", None, &method, &headers).await
}

async fn file(
    State(console): State<Console>,
    Path(path): Path<String>,
    Query(version): Query<Version>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    console.assets.serve(&path, version.v.as_deref(), &method, &headers).await
}

const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; object-src 'none'";

/// Security headers on every answer of the console.
async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
