//! The apps' own part of a trace: a server span around each request, a client span around each call of the store. As with any tracing
//! library, what a request brings is gone on with; an app begins no trace, because the mesh decides which requests are sampled.
//!
//! Whose request is being served is known to the task, so that the store and calls further on find it without being told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use smov_telemetry::clock::micros;
use smov_telemetry::context::{self, Incoming, SpanContext, TraceId};
use smov_telemetry::export::{Exporter, Format};
use smov_telemetry::{Emitter, Span, SpanKind, WallClock};

use crate::environment::Environment;

tokio::task_local! {
    /// The request that this task serves, where it is sampled.
    static SERVED: Arc<Served>;
}

/// Makes spans and sends them away.
#[derive(Debug)]
pub(crate) struct Tracer {
    exporter: Exporter,
    emitter: Arc<Emitter>,
    clock: WallClock,
}

/// A sampled request that is being served.
#[derive(Debug)]
pub(crate) struct Served {
    tracer: Arc<Tracer>,
    context: SpanContext,
    began: Instant,
}

/// Random bits for an id: the half of a uuid that says no version.
fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1.rotate_left(13)
}

impl Tracer {
    /// The tracer of an app, where its environment names a collector; needs a runtime.
    pub(crate) fn of(environment: &Environment, app: &str) -> Option<Arc<Self>> {
        let collector = environment.collector.clone()?;
        let service = environment.trace_name.clone().unwrap_or_else(|| match &environment.namespace {
            Some(namespace) => format!("{app}.{namespace}"),
            None => app.to_owned(),
        });
        let emitter = Emitter {
            service,
            // A Deployment's name from its pod's: without the ReplicaSet's hash and the pod's own letters.
            workload: environment.pod.rsplitn(3, '-').nth(2).unwrap_or(&environment.pod).to_owned(),
            cluster: environment.cluster.clone(),
            pod: environment.pod.clone(),
            namespace: environment.namespace.clone().unwrap_or_default(),
        };
        let exporter = Exporter::start(collector, Format::Otlp);
        Some(Arc::new(Self { exporter, emitter: Arc::new(emitter), clock: WallClock::new() }))
    }

    /// Start and duration of what ends now, in microseconds.
    fn times(&self, began: Instant) -> (u64, u64) {
        (self.clock.micros_at(began), micros(began.elapsed()))
    }

    /// Takes up the trace of a request, if it is sampled.
    pub(crate) fn serve(self: &Arc<Self>, headers: &HeaderMap) -> Option<Arc<Served>> {
        let Incoming::Sampled(ids @ Some(_)) = context::read(headers) else { return None };
        let context = SpanContext::below(ids, random);
        Some(Arc::new(Served { tracer: Arc::clone(self), context, began: Instant::now() }))
    }
}

impl Served {
    /// The trace, for logs.
    pub(crate) fn trace(&self) -> TraceId {
        self.context.trace
    }

    fn end(&self, name: String, tags: impl FnOnce(&mut Span)) {
        let mut span = Span::new(&self.context, SpanKind::Server, name, self.tracer.times(self.began), Arc::clone(&self.tracer.emitter));
        span.tag("component", "app");
        tags(&mut span);
        self.tracer.exporter.give(span);
    }
}

/// Runs a request's work so that the store and calls further on know whose it is.
pub(crate) async fn within<T>(served: Option<Arc<Served>>, work: impl Future<Output = T>) -> T {
    match served {
        Some(served) => SERVED.scope(served, work).await,
        None => work.await,
    }
}

/// Ends the request's span with its answer's last byte: a relayed body is part of the work.
pub(crate) fn end_with(served: Option<Arc<Served>>, name: String, response: Response) -> Response {
    let Some(served) = served else { return response };
    let status = response.status().as_u16();
    response.map(|body| Body::new(Ending { body, ends: Some((served, name, status)) }))
}

/// Puts the current request's span into the headers of a call further on, in place of what was copied.
pub(crate) fn inject(headers: &mut HeaderMap) {
    let _ = SERVED.try_with(|served| served.context.write(headers));
}

/// Waits for a call of the store; a span of it where the request is sampled.
pub(crate) async fn store_call<T, E>(
    system: &'static str,
    operation: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Ok(served) = SERVED.try_with(Arc::clone) else { return call.await };
    let began = Instant::now();
    let answer = call.await;
    let tracer = &served.tracer;
    let ids = Some((served.context.trace, served.context.span));
    let context = SpanContext::below(ids, random);
    let mut span = Span::new(&context, SpanKind::Client, format!("{system} {operation}"), tracer.times(began), Arc::clone(&tracer.emitter));
    span.tag("component", "store");
    span.tag("db.system", system);
    span.tag("db.operation", operation);
    if answer.is_err() {
        span.tag("error", "true");
    }
    tracer.exporter.give(span);
    answer
}

/// A body whose end is the span's.
struct Ending {
    body: Body,
    ends: Option<(Arc<Served>, String, u16)>,
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some((served, name, status)) = self.ends.take() {
            served.end(name, |span| {
                span.tag("http.status_code", status.to_string());
                if status >= 500 {
                    span.tag("error", "true");
                }
            });
        }
    }
}
