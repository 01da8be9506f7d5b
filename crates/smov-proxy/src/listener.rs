//! Phase **accept**, before the request: listening sockets, connections, their limits, and the drain at the end.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::scan::HeadScan;
use crate::body::ResponseBody;
use crate::config::DownstreamLimits;
use crate::tls::stream::Stream;
use crate::worker::Downstream;

mod scan;

/// Connections that the kernel keeps for us; what std asks for is too few for a burst.
const BACKLOG: i32 = 4096;

/// Binds without blocking later; the backlog is widened.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// How connections of one worker end.
#[derive(Debug, Clone)]
pub(crate) struct Lifetime {
    /// No new connections, no new requests on old ones.
    pub(crate) draining: CancellationToken,
    /// Every connection's task; awaited at the end.
    pub(crate) tasks: TaskTracker,
}

/// Accepts until the drain begins; each connection gets a task of its own.
pub(crate) async fn accept<F: Future<Output = ()> + 'static>(
    listener: TcpListener,
    lifetime: &Lifetime,
    mut serve: impl FnMut(TcpStream, Downstream) -> F,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = lifetime.draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let Ok(local) = stream.local_addr() else { continue };
                let _ = stream.set_nodelay(true);
                lifetime.tasks.spawn_local(serve(stream, Downstream { local, remote, peer: None }));
            }
            Err(error) => {
                // Out of file descriptors, as a rule: give connections time to close.
                warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Between requests.
    Idle,
    /// Part of a request head has come.
    Head,
    /// A request is being served.
    Busy,
}

/// The stage, and how many there were before: a watcher that meets the same pair twice knows that nothing moved in between, and no
/// request needs to read a clock.
#[derive(Debug)]
struct Progress {
    stage: Cell<(Stage, u64)>,
    /// The head being read has two framings.
    ambiguous: Cell<bool>,
}

impl Progress {
    fn advance(&self, stage: Stage) {
        self.stage.set((stage, self.stage.get().1 + 1));
    }
}

/// Serves HTTP/1.1 on one connection until it ends or is drained. From `unwanted` on it is: between requests it closes at once, an answer that
/// is on its way has the time that the limits give it.
pub(crate) async fn http<F>(
    stream: Stream,
    limits: DownstreamLimits,
    draining: CancellationToken,
    unwanted: impl Future<Output = ()>,
    serve: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<ResponseBody>>,
{
    let progress = Rc::new(Progress { stage: Cell::new((Stage::Idle, 0)), ambiguous: Cell::new(false) });
    let (serve, known) = (&serve, &progress);
    let service = service_fn(move |request| async move {
        known.advance(Stage::Busy);
        let answer = if known.ambiguous.take() { two_framings() } else { serve(request).await };
        Ok::<_, std::convert::Infallible>(answer.map(|body| Tracked { body, progress: known.clone() }))
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(limits.header_bytes.max(8192)).max_header_size(limits.header_bytes);
    if limits.header_count != 100 {
        builder.max_headers(limits.header_count);
    }
    let watched = Watched { stream, progress: progress.clone(), scan: HeadScan::default() };
    let mut connection = builder.serve_connection(TokioIo::new(watched), service);
    let period = limits.header_timeout / 2;
    let mut check = pin!(sleep_until(Instant::now() + period));
    let mut seen = (progress.stage.get(), Instant::now());
    let mut drained = false;
    let mut unwanted = pin!(unwanted);
    let mut end = None;
    let refusal = loop {
        tokio::select! {
            biased;
            ended = &mut connection => match ended {
                Ok(()) => return,
                Err(error) if error.is_parse_version_h2() => break HTTP2_REFUSED,
                Err(error) => {
                    debug!(%error, "connection ended");
                    return;
                }
            },
            () = draining.cancelled(), if !drained => {
                drained = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = unwanted.as_mut(), if end.is_none() => {
                end = Some(Instant::now() + limits.mode_drain);
                drained = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                debug!("connection cut off: its port takes none like it any more");
                return;
            }
            () = check.as_mut() => {
                let (now, waited) = (progress.stage.get(), seen.1.elapsed());
                if now != seen.0 {
                    seen = (now, Instant::now());
                } else if now.0 == Stage::Head && waited >= limits.header_timeout {
                    break HEAD_TOO_SLOW;
                } else if now.0 == Stage::Idle && waited >= limits.idle_timeout {
                    return;
                }
                check.as_mut().reset(Instant::now() + period);
            }
        }
    };
    let mut stream = connection.into_parts().io.into_inner().stream;
    let _ = stream.write_all(refusal.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// The answer to a head with both `Content-Length` and `Transfer-Encoding`, as Envoy's.
fn two_framings() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text("both Content-Length and Transfer-Encoding"));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}

const HTTP2_REFUSED: &str = "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\ncontent-length: 58\r\n\
                             connection: close\r\n\r\nHTTP/2 is not supported by this proxy yet: speak HTTP/1.1.\n";
const HEAD_TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A downstream's stream that tells when a request head begins.
#[derive(Debug)]
struct Watched {
    stream: Stream,
    progress: Rc<Progress>,
    scan: HeadScan,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        let stage = self.progress.stage.get().0;
        if !read.is_empty() && stage != Stage::Busy {
            if stage == Stage::Idle {
                self.progress.advance(Stage::Head);
                self.scan = HeadScan::default();
            }
            if self.scan.feed(read) {
                self.progress.ambiguous.set(true);
            }
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A response body; when hyper is done with it, the connection is idle again.
#[derive(Debug)]
struct Tracked {
    body: ResponseBody,
    progress: Rc<Progress>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.progress.advance(Stage::Idle);
    }
}

impl Body for Tracked {
    type Data = <ResponseBody as Body>::Data;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
