//! Sends spans away: a bounded queue that whoever makes spans never waits for, and one task that empties it. When nobody takes them, that
//! is said once, and spans are thrown away until somebody does.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::span::Span;
use crate::{otlp, zipkin};

/// Spans that wait; more are thrown away.
const QUEUE: usize = 4096;
/// Spans of one request to a collector.
const BATCH: usize = 512;
/// How long spans are gathered before they are sent.
const LINGER: Duration = Duration::from_millis(200);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a failure nothing is tried for so long.
const PAUSE: Duration = Duration::from_secs(2);
/// Of an answer, more is not read.
const ANSWER: usize = 64 << 10;

/// In which form spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OTLP/HTTP, JSON.
    Otlp,
    /// Zipkin v2, JSON.
    Zipkin,
}

impl Format {
    fn path(self) -> &'static str {
        match self {
            Self::Otlp => otlp::PATH,
            Self::Zipkin => zipkin::PATH,
        }
    }

    fn encode(self, spans: &[Span]) -> Vec<u8> {
        match self {
            Self::Otlp => otlp::encode(spans),
            Self::Zipkin => zipkin::encode(spans),
        }
    }
}

/// Where a collector listens: `http://host:4318`, with or without a path, or `unix:/path/of/socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    place: Place,
    /// Empty = the format's own.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// An address of a collector that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no collector's address: write http://HOST:PORT, http://HOST:PORT/PATH or unix:/PATH")]
pub struct InvalidCollector(pub String);

impl FromStr for Collector {
    type Err = InvalidCollector;

    fn from_str(text: &str) -> Result<Self, InvalidCollector> {
        let invalid = || InvalidCollector(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = if path.starts_with("//") { path.trim_start_matches('/') } else { path };
            let absolute = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            return if absolute.len() > 1 { Ok(Self { place: Place::Unix(absolute.into()), path: String::new() }) } else { Err(invalid()) };
        }
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let host = uri.host().filter(|host| !host.is_empty() && uri.scheme_str() == Some("http")).ok_or_else(invalid)?;
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port: uri.port_u16().unwrap_or(80) }, path })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}{}", self.path),
            Place::Tcp { host, port } => write!(f, "http://{host}:{port}{}", self.path),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What became of the spans so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// Taken by the collector.
    pub delivered: AtomicU64,
    /// Thrown away: the queue was full, or nobody took them.
    pub dropped: AtomicU64,
}

/// The way into the queue. Cheap to clone; when all are gone the sender ends.
#[derive(Debug, Clone)]
pub struct Exporter {
    queue: mpsc::Sender<Span>,
    sent: Arc<Sent>,
}

impl Exporter {
    /// Starts the sender on the current runtime.
    pub fn start(collector: Collector, format: Format) -> Self {
        let (queue, spans) = mpsc::channel(QUEUE);
        let sent = Arc::new(Sent::default());
        tokio::spawn(Sender { collector, format, sent: Arc::clone(&sent), connection: None, quiet: false }.run(spans));
        Self { queue, sent }
    }

    /// Gives a span away; never waits.
    pub fn give(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.sent.dropped.fetch_add(1, Relaxed);
        }
    }

    /// What became of the spans so far.
    pub fn sent(&self) -> &Sent {
        &self.sent
    }
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("did not answer within {PATIENCE:?}")]
    Slow,
}

struct Sender {
    collector: Collector,
    format: Format,
    sent: Arc<Sent>,
    connection: Option<http1::SendRequest<Full<Bytes>>>,
    /// Was it said already that nobody takes spans?
    quiet: bool,
}

impl Sender {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut try_again = Instant::now();
        while let Some(first) = spans.recv().await {
            batch.push(first);
            let until = Instant::now() + LINGER;
            while batch.len() < BATCH {
                match tokio::time::timeout_at(until, spans.recv()).await {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) | Err(_) => break,
                }
            }
            let count = batch.len() as u64;
            if Instant::now() < try_again {
                self.sent.dropped.fetch_add(count, Relaxed);
            } else {
                match timeout(PATIENCE, self.send(&batch)).await.unwrap_or(Err(SendError::Slow)) {
                    Ok(()) => {
                        self.sent.delivered.fetch_add(count, Relaxed);
                        if std::mem::take(&mut self.quiet) {
                            tracing::info!(collector = %self.collector, "spans are taken again");
                        }
                    }
                    Err(error) => {
                        self.connection = None;
                        self.sent.dropped.fetch_add(count, Relaxed);
                        try_again = Instant::now() + PAUSE;
                        if !std::mem::replace(&mut self.quiet, true) {
                            tracing::warn!(collector = %self.collector, %error, "nobody takes spans: they are thrown away until somebody does");
                        }
                    }
                }
            }
            batch.clear();
        }
    }

    async fn send(&mut self, spans: &[Span]) -> Result<(), SendError> {
        let body = Bytes::from(self.format.encode(spans));
        let path = if self.collector.path.is_empty() { self.format.path() } else { &self.collector.path };
        let host = match &self.collector.place {
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "collector".to_owned(),
        };
        let request = || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = Uri::try_from(path).unwrap_or_default();
            request.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            if let Ok(host) = http::HeaderValue::from_str(&host) {
                request.headers_mut().insert(header::HOST, host);
            }
            request
        };
        // A connection that waited may be closed by now: then a new one is opened, once.
        if let Some(connection) = self.connection.as_mut().filter(|connection| !connection.is_closed())
            && connection.ready().await.is_ok()
            && let Ok(answer) = connection.send_request(request()).await
        {
            return read(answer).await;
        }
        let mut connection = self.connect().await?;
        connection.ready().await?;
        let answer = connection.send_request(request()).await?;
        self.connection = Some(connection);
        read(answer).await
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, SendError> {
        match &self.collector.place {
            Place::Tcp { host, port } => handshake(TcpStream::connect((host.as_str(), *port)).await?).await,
            Place::Unix(path) => handshake(UnixStream::connect(path).await?).await,
        }
    }
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<http1::SendRequest<Full<Bytes>>, SendError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender or with the collector.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Result<(), SendError> {
    let status = answer.status();
    // To the end, so that the connection can be used again.
    let _ = Limited::new(answer.into_body(), ANSWER).collect().await;
    if status.is_success() { Ok(()) } else { Err(SendError::Status(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::example;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("http://collector/custom/", "http://collector:80/custom"),
            ("http://[::1]:9411", "http://[::1]:9411"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:///run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), shown);
        }
        for text in ["", "https://x", "collector:4318", "unix:"] {
            assert!(text.parse::<Collector>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn spans_reach_a_collector_over_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exporter = Exporter::start(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(), Format::Otlp);
        exporter.give(example());
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            let (head, body) = request(&mut stream).await;
            assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
            assert_eq!(otlp::decode(&body).unwrap(), [example()]);
            exporter.give(example());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        }
        request(&mut stream).await;
        assert_eq!(exporter.sent().delivered.load(Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_collector_costs_nothing_and_the_queue_is_bounded() {
        let exporter = Exporter::start("unix:/nowhere/at/all.sock".parse().unwrap(), Format::Zipkin);
        for _ in 0..QUEUE + 100 {
            exporter.give(example());
        }
        assert_eq!(exporter.sent().dropped.load(Relaxed), 100);
        while exporter.sent().dropped.load(Relaxed) < QUEUE as u64 + 100 {
            tokio::time::advance(LINGER).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(exporter.sent().delivered.load(Relaxed), 0);
    }

    async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            stream.read_buf(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let length: usize = length.unwrap().parse().unwrap();
            if bytes.len() >= head.len() + 4 + length {
                return (head.to_owned(), bytes[head.len() + 4..].to_vec());
            }
        }
    }
}
