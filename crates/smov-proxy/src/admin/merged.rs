//! The page of port 15020: the proxy's metrics and its app's, as Istio's agent merges them
//! (<https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging>). The app's come over its own socket, so that a
//! scrape needs no certificate and is no request of the mesh.

use std::rc::Rc;
use std::time::Duration;

use http::{Request, Uri, header};
use http_body::Body;
use smov_telemetry::text::without_families;

use crate::body::RequestBody;
use crate::config::AppMetrics;
use crate::upstream;
use crate::worker::{App, Worker};

/// How long the app may take; then the page is the proxy's alone.
const PATIENCE: Duration = Duration::from_secs(2);
/// More is not read of an app's page.
const MAX_PAGE: usize = 4 << 20;
/// What the page has already: an app cannot speak for its proxy.
const RESERVED: [&str; 4] = ["istio_", "envoy_", "smov_proxy_", "pilot_"];

/// The proxy's page, with the app's behind it.
pub(super) async fn page(worker: &Rc<Worker>, mut own: String) -> String {
    let Some(metrics) = &worker.shared.config.app_metrics else { return own };
    match tokio::time::timeout(PATIENCE, ask(worker, metrics)).await {
        Ok(Some(page)) => own.push_str(&without_families(&page, &RESERVED)),
        Ok(None) | Err(_) => tracing::debug!(path = metrics.path, "the app has given no metrics"),
    }
    own
}

async fn ask(worker: &Rc<Worker>, metrics: &AppMetrics) -> Option<String> {
    let app = worker.app_at(&metrics.app).cloned().unwrap_or_else(|| Rc::new(App::new(0, &metrics.app)));
    let mut lease = upstream::connect_app(worker, &app).await.ok()?;
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = Uri::try_from(&metrics.path).ok()?;
    request.headers_mut().insert(header::HOST, http::HeaderValue::from_static("localhost"));
    request.headers_mut().insert(header::ACCEPT, http::HeaderValue::from_static("text/plain;version=0.0.4"));
    let response = upstream::send(&mut lease, request).await.ok()?;
    let is_text = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !response.status().is_success() || !is_text {
        return None;
    }
    let mut body = std::pin::pin!(response.into_body());
    let mut page = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            page.extend_from_slice(&data);
        }
        if page.len() > MAX_PAGE {
            return None;
        }
    }
    lease.give_back();
    String::from_utf8(page).ok()
}
