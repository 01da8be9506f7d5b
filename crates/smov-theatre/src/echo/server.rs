//! The echo on the wire: answers, waits, resets and breaks off as its script says.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{API, BODY_REMEMBERED, Echo, Ending, Received, Script, Step};
use crate::serve::Bound;

/// A body may break off: its error ends the connection.
type Body = BoxBody<Bytes, io::Error>;

/// An echo and where it listens.
#[derive(Debug)]
pub struct Server {
    echo: Echo,
    listener: Bound,
}

/// An answer that breaks off has so long to send its first half.
const BEFORE_CUT: std::time::Duration = std::time::Duration::from_millis(50);

/// The exchange has no answer: the connection ends instead.
#[derive(Debug, thiserror::Error)]
#[error("the script ends the connection here")]
struct NoAnswer;

impl Server {
    /// An echo behind a listener that is bound already.
    pub fn new(echo: Echo, listener: Bound) -> Self {
        Self { echo, listener }
    }

    /// Serves until `shutdown`; connections end with it, at once: a script may hang for ever.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        let numbers = AtomicU64::new(0);
        loop {
            let stream = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                stream = accept(&self.listener) => stream,
                Some(_) = connections.join_next() => continue,
            };
            match stream {
                Ok(stream) => {
                    let number = numbers.fetch_add(1, Relaxed);
                    connections.spawn(connection(self.echo.clone(), number, stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(crate::serve::ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn accept(listener: &Bound) -> io::Result<Stream> {
    let (inner, _) = match listener {
        Bound::Socket(listener) => listener.accept().await.map(|(stream, _)| (Transport::Unix(stream), ()))?,
        Bound::Tcp(listener) => listener.accept().await.map(|(stream, _)| (Transport::Tcp(stream), ()))?,
    };
    if let Transport::Tcp(stream) = &inner {
        // Fails only on a connection that is gone already.
        let _ = stream.set_nodelay(true);
    }
    Ok(Stream { inner, reset: Arc::default() })
}

async fn connection(echo: Echo, number: u64, stream: Stream) {
    let reset = stream.reset.clone();
    let service = service_fn(move |request| answer(echo.clone(), number, reset.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(echo: Echo, connection: u64, reset: Arc<AtomicBool>, request: Request<Incoming>) -> Result<Response<Body>, NoAnswer> {
    if request.uri().path().starts_with(API) {
        return Ok(own_api(&echo, request).await);
    }
    // A client that breaks off while it sends gets no answer.
    let received = receive(connection, request).await.map_err(|_| NoAnswer)?;
    let (step, received) = echo.take(received);
    if !step.delay.is_zero() {
        tokio::time::sleep(step.delay).await;
    }
    match step.ending {
        Ending::Answer => Ok(respond(&echo, &step, &received)),
        Ending::Cut => Ok(cut(&echo, &step, &received)),
        Ending::Hang => std::future::pending().await,
        Ending::Close => Err(NoAnswer),
        Ending::Reset => {
            reset.store(true, Relaxed);
            Err(NoAnswer)
        }
    }
}

async fn receive(connection: u64, request: Request<Incoming>) -> Result<Received, hyper::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Received {
        number: 0,
        at: 0,
        connection,
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        host: parts.headers.get(header::HOST).map(text).unwrap_or_default(),
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: String::from_utf8_lossy(&bytes[..bytes.len().min(BODY_REMEMBERED)]).into_owned(),
        body_bytes: bytes.len() as u64,
        step: 0,
    })
}

fn text_of(echo: &Echo, step: &Step, received: &Received) -> (Bytes, Option<HeaderValue>) {
    match &step.body {
        Some(body) => (Bytes::copy_from_slice(body.as_bytes()), None),
        None => {
            let who = echo.identity();
            let document = json!({
                "pod": who.pod, "service": who.service, "version": who.version, "cluster": who.cluster, "request": received,
            });
            (Bytes::from(format!("{document:#}\n")), Some(HeaderValue::from_static("application/json")))
        }
    }
}

/// Who answers, and the step's own headers; a name or value that HTTP does not allow is left out.
fn head(echo: &Echo, step: &Step, kind: Option<HeaderValue>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(step.status).unwrap_or(StatusCode::OK);
    response.headers_mut().extend(echo.identity().headers());
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    for (name, value) in &step.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn respond(echo: &Echo, step: &Step, received: &Received) -> Response<Body> {
    let (body, kind) = text_of(echo, step, received);
    head(echo, step, kind).map(|()| Full::new(body).map_err(infallible).boxed())
}

fn cut(echo: &Echo, step: &Step, received: &Received) -> Response<Body> {
    let (body, kind) = text_of(echo, step, received);
    let mut response = head(echo, step, kind);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let frames = futures_util::stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                // Hyper drops what it has not written when a body fails: the first half goes out before.
                tokio::time::sleep(BEFORE_CUT).await;
                Some((Err(io::Error::other("the script breaks off here")), None))
            }
        }
    });
    response.map(|()| BodyExt::boxed(StreamBody::new(frames)))
}

fn infallible(never: Infallible) -> io::Error {
    match never {}
}

async fn own_api(echo: &Echo, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let name = parts.uri.path().trim_start_matches(API);
    match (&parts.method, name) {
        (&Method::GET, "requests") => json_answer(StatusCode::OK, &json!({"count": echo.count(), "requests": echo.received()})),
        (&Method::DELETE, "requests") => {
            echo.forget();
            json_answer(StatusCode::OK, &json!({"count": echo.count(), "requests": []}))
        }
        (&Method::GET, "script") => json_answer(StatusCode::OK, &json!(echo.script())),
        (&Method::PUT, "script") => match body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()) {
            Ok(text) => match text.trim().parse::<Script>() {
                Ok(script) => {
                    echo.play(script);
                    json_answer(StatusCode::OK, &json!(echo.script()))
                }
                Err(error) => json_answer(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
            },
            Err(error) => json_answer(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
        },
        (&Method::GET, "health") => json_answer(StatusCode::OK, &json!({"ok": true})),
        _ => {
            let error = "the echo's own paths: GET and PUT /_echo/script, GET and DELETE /_echo/requests, GET /_echo/health";
            json_answer(StatusCode::NOT_FOUND, &json!({"error": error}))
        }
    }
}

fn json_answer(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{document:#}\n"))).map_err(infallible).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A connection that can be told to end with a reset.
#[derive(Debug)]
struct Stream {
    inner: Transport,
    reset: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Transport {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.reset.load(Relaxed)
            && let Transport::Tcp(stream) = &self.inner
        {
            // Linger of zero: the kernel sends RST instead of FIN.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().inner {
            Transport::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Transport::Unix(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
