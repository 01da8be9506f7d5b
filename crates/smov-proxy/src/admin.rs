//! The proxy's own pages: metrics, readiness, and what it runs on.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use smov_model::snapshot::Snapshot;
use smov_telemetry::text::Page;

use crate::body::ResponseBody;
use crate::calendar;
use crate::tls::certificate::Certificate;
use crate::worker::{Shared, Worker};

mod merged;

/// Which of the proxy's own ports was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// 15000.
    Admin,
    /// 15090.
    Metrics,
    /// 15020.
    Merged,
    /// 15021.
    Ready,
}

/// Answers at once, from memory; only the page that proxy and app share asks the app.
pub(crate) async fn answer(worker: &Rc<Worker>, door: Door, request: &Request<Incoming>) -> Response<ResponseBody> {
    let shared = &worker.shared;
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
    }
    let path = request.uri().path();
    match (door, path) {
        (Door::Admin | Door::Metrics, "/stats/prometheus") => page(StatusCode::OK, Page::CONTENT_TYPE, shared.scrape()),
        (Door::Merged, "/stats/prometheus" | "/metrics") => {
            let text = merged::page(worker, shared.scrape()).await;
            page(StatusCode::OK, Page::CONTENT_TYPE, text)
        }
        (Door::Merged, _) => not_found("/stats/prometheus\n"),
        (Door::Ready, "/healthz/ready") | (Door::Admin, "/ready") => match (shared.pin(), shared.draining.load(Relaxed)) {
            (Some(view), false) if view.snapshot.needs_certificate() && shared.certificates.current().is_none() => {
                page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no certificate has arrived yet\n".to_owned())
            }
            (Some(_), false) => page(StatusCode::OK, "text/plain", "LIVE\n".to_owned()),
            (Some(_), true) => page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "DRAINING\n".to_owned()),
            (None, _) => page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no configuration has arrived yet\n".to_owned()),
        },
        (Door::Admin, "/config_dump") => match shared.pin() {
            Some(view) => document(&without_keys(&view.snapshot)),
            None => document(&serde_json::Value::Null),
        },
        (Door::Admin, "/clusters") => document(&clusters(shared)),
        (Door::Admin, "/certs") => document(&certs(shared)),
        (Door::Admin, "/refused") => document(&shared.listener_tls.refusals()),
        (Door::Admin, _) => match path.strip_prefix("/requests/") {
            Some(id) => document(&shared.records(id)),
            None => not_found("/stats/prometheus, /ready, /config_dump, /clusters, /certs, /refused, /requests/ID\n"),
        },
        (Door::Metrics, _) => not_found("/stats/prometheus\n"),
        (Door::Ready, _) => not_found("/healthz/ready\n"),
    }
}

/// A snapshot as it may be shown: keys that it carries are left out, as in Envoy's page.
fn without_keys(snapshot: &Snapshot) -> serde_json::Value {
    let mut shown = serde_json::to_value(snapshot).unwrap_or_default();
    let clusters = shown.get_mut("clusters").and_then(serde_json::Value::as_object_mut);
    for cluster in clusters.into_iter().flat_map(|clusters| clusters.values_mut()) {
        if let Some(key) = cluster.pointer_mut("/tls/origin/client/pem/private_key") {
            *key = "[redacted]".into();
        }
    }
    shown
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

/// The certificate in use and whom it trusts, as Envoy's page of that name.
fn certs(shared: &Shared) -> serde_json::Value {
    let now = crate::tls::now();
    let date = |seconds: u64| calendar::format(seconds.saturating_mul(1_000_000), "%Y-%m-%dT%H:%M:%SZ");
    let certificate = |certificate: &Certificate| {
        let uris = certificate.uris.iter().map(|uri| json!({ "uri": uri }));
        let names = uris.chain(certificate.dns_names.iter().map(|name| json!({ "dns": name }))).collect::<Vec<_>>();
        json!({
            "path": "<inline>",
            "serial_number": certificate.serial,
            "subject_alt_names": names,
            "days_until_expiration": certificate.days_left(now).to_string(),
            "valid_from": date(certificate.not_before),
            "expiration_time": date(certificate.not_after),
        })
    };
    let issued = shared.certificates.current().map(|issued| {
        json!({
            "ca_cert": issued.roots.iter().map(certificate).collect::<Vec<_>>(),
            "cert_chain": issued.chain.iter().map(certificate).collect::<Vec<_>>(),
        })
    });
    json!({ "certificates": issued.into_iter().collect::<Vec<_>>() })
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
