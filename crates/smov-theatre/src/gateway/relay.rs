//! One relayed request, from its headers to the answer's; bodies stream both ways.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{body::Body, extract::Request, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{self, CONNECTION},
};
use tokio::time::Instant;

use super::{Gateway, RelayEvent, RelayObserver, browsers_authority};
use crate::{
    identity::{X_POD_NAME, X_SERVICE_CLUSTER, X_SERVICE_VERSION},
    service::{ServiceName, call_failed},
    spans,
    trace_headers::{self, X_CANARY, X_REQUEST_ID},
};

const X_SMOV_CLIENT: HeaderName = HeaderName::from_static("x-smov-client");
const X_ENVOY_UPSTREAM_SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const X_ENVOY_ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// Longest `x-smov-client` that is reported; a longer one is cut.
const MAX_CLIENT: usize = 64;
/// nginx's word for a client that did not wait.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Meant for one connection only.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Gateway {
    pub(super) async fn relay(&self, service: ServiceName, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        self.relay_as(service, request, path).await
    }

    /// Relays; `path` is what the client asked for.
    pub(super) async fn relay_as(&self, service: ServiceName, request: Request, path: String) -> Response {
        let served = self.tracer.as_ref().and_then(|tracer| tracer.serve(request.headers()));
        let name = format!("{} {path}", request.method());
        let response = spans::within(served.clone(), self.relay_traced(service, request, path)).await;
        spans::end_with(served, name, response)
    }

    async fn relay_traced(&self, service: ServiceName, mut request: Request, path: String) -> Response {
        let request_id = self.request_id(request.headers_mut());
        let mut watch = Watch::new(self.observer.clone(), service, &request, &request_id, path);
        let authority = if self.keep_host { browsers_authority(&request) } else { None };
        let headers = request.headers_mut();
        remove_hop_by_hop(headers);
        // Answered by our own server already; the body is on its way.
        headers.remove(header::EXPECT);
        if !self.copy_headers {
            trace_headers::remove(headers);
        } else if self.trace_headers {
            spans::inject(headers);
        } else {
            trace_headers::drop_trace(headers);
        }
        let mut response = match self.client(service).send(request, authority.as_ref()).await {
            Ok(mut answer) => {
                self.metrics.relayed(service, Some(answer.status().as_u16()));
                watch.answered(&answer);
                remove_hop_by_hop(answer.headers_mut());
                answer
            }
            Err(error) => {
                self.metrics.relayed(service, None);
                let path = watch.path();
                let answer = call_failed(service, &error).render(path, Some(&request_id));
                watch.failed(answer.status());
                answer
            }
        };
        response.headers_mut().entry(X_REQUEST_ID).or_insert(request_id);
        response
    }

    /// The request's id; one is given where there is none.
    fn request_id(&self, headers: &mut HeaderMap) -> HeaderValue {
        if let Some(id) = headers.get(X_REQUEST_ID).filter(|id| !id.is_empty()) {
            return id.clone();
        }
        let mut text = uuid::Uuid::encode_buffer();
        let text = self.ids.next_id().hyphenated().encode_lower(&mut text);
        let id = HeaderValue::from_str(text).expect("a uuid is visible ASCII");
        headers.insert(X_REQUEST_ID, id.clone());
        id
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Tells the observer once: when there is an answer, when there can be none, or when it is dropped because the client left.
struct Watch {
    observer: Arc<dyn RelayObserver>,
    began: Instant,
    event: Option<RelayEvent>,
}

impl Watch {
    fn new(observer: Arc<dyn RelayObserver>, service: ServiceName, request: &Request, request_id: &HeaderValue, path: String) -> Self {
        let headers = request.headers();
        let event = RelayEvent {
            request_id: String::from_utf8_lossy(request_id.as_bytes()).into_owned(),
            service,
            method: request.method().clone(),
            path,
            status: CLIENT_CLOSED_REQUEST,
            cluster: None,
            pod: None,
            version: None,
            canary: headers.get(X_CANARY).is_some_and(|value| value == "true"),
            started: SystemTime::now(),
            duration: Duration::ZERO,
            client: text(headers, &X_SMOV_CLIENT).map(|client| client.chars().take(MAX_CLIENT).collect()),
            upstream_failed: false,
            upstream_service_time: None,
            attempts: None,
        };
        Self { observer, began: Instant::now(), event: Some(event) }
    }

    fn path(&self) -> &str {
        self.event.as_ref().map_or("/", |event| &event.path)
    }

    fn answered(&mut self, answer: &http::Response<Body>) {
        if let Some(event) = &mut self.event {
            let headers = answer.headers();
            let owned = |name: &HeaderName| text(headers, name).map(str::to_owned);
            event.status = answer.status().as_u16();
            event.cluster = owned(&X_SERVICE_CLUSTER);
            event.pod = owned(&X_POD_NAME);
            event.version = owned(&X_SERVICE_VERSION);
            event.upstream_service_time =
                text(headers, &X_ENVOY_UPSTREAM_SERVICE_TIME).and_then(|time| time.parse().ok()).map(Duration::from_millis);
            event.attempts = text(headers, &X_ENVOY_ATTEMPT_COUNT).and_then(|count| count.parse().ok());
        }
        self.tell();
    }

    fn failed(&mut self, status: StatusCode) {
        if let Some(event) = &mut self.event {
            event.status = status.as_u16();
            event.upstream_failed = true;
        }
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(mut event) = self.event.take() {
            event.duration = self.began.elapsed();
            self.observer.relayed(event);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tell();
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
