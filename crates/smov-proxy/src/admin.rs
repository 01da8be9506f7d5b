//! The proxy's own pages: metrics, readiness, and what it runs on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::body::ResponseBody;
use crate::worker::Shared;

/// Which of the proxy's own ports was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// 15000.
    Admin,
    /// 15090.
    Metrics,
    /// 15021.
    Ready,
}

/// Answers at once; every page is rendered from memory.
pub(crate) fn answer(shared: &Arc<Shared>, door: Door, request: &Request<Incoming>) -> Response<ResponseBody> {
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
    }
    let path = request.uri().path();
    match (door, path) {
        (Door::Admin | Door::Metrics, "/stats/prometheus") => page(StatusCode::OK, "text/plain; version=0.0.4", shared.scrape()),
        (Door::Ready, "/healthz/ready") | (Door::Admin, "/ready") => match (shared.pin(), shared.draining.load(Relaxed)) {
            (Some(_), false) => page(StatusCode::OK, "text/plain", "LIVE\n".to_owned()),
            (Some(_), true) => page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "DRAINING\n".to_owned()),
            (None, _) => page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no configuration has arrived yet\n".to_owned()),
        },
        (Door::Admin, "/config_dump") => match shared.pin() {
            Some(view) => document(&*view.snapshot),
            None => document(&serde_json::Value::Null),
        },
        (Door::Admin, "/clusters") => document(&clusters(shared)),
        (Door::Admin, _) => match path.strip_prefix("/requests/") {
            Some(id) => document(&shared.records(id)),
            None => not_found("/stats/prometheus, /ready, /config_dump, /clusters, /requests/ID\n"),
        },
        (Door::Metrics, _) => not_found("/stats/prometheus\n"),
        (Door::Ready, _) => not_found("/healthz/ready\n"),
    }
}

fn clusters(shared: &Shared) -> serde_json::Value {
    let Some(view) = shared.pin() else { return json!([]) };
    let age = shared.age();
    let clusters = view.clusters().map(|cluster| {
        cluster.advance(age);
        let endpoints = cluster.endpoints.iter().map(|endpoint| {
            json!({
                "address": endpoint.address,
                "pod": endpoint.workload.pod,
                "cluster": endpoint.workload.cluster,
                "active": endpoint.active.load(Relaxed),
                "ejected": endpoint.is_ejected(),
            })
        });
        json!({
            "name": cluster.state.name,
            "requests": cluster.state.requests.load(Relaxed),
            "pending": cluster.state.pending.load(Relaxed),
            "connections": cluster.state.connections.load(Relaxed),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    });
    clusters.collect()
}

fn not_found(pages: &str) -> Response<ResponseBody> {
    page(StatusCode::NOT_FOUND, "text/plain", format!("pages here: {pages}"))
}

fn document(value: &impl serde::Serialize) -> Response<ResponseBody> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => page(StatusCode::OK, "application/json", text),
        Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
