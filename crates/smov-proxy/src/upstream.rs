//! Phase **connect**: a connection from the pool, or a new one, in TLS where the cluster demands it.

use std::cell::OnceCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::body::RequestBody;
use crate::cluster::{ClusterView, EndpointState};
use crate::config::AppAddress;
use crate::error::ProxyError;
use crate::limits::{self, Permit};
use crate::pool::{Connection, Entry, Lease};
use crate::tls::Peer;
use crate::tls::connect::secure;
use crate::tls::failure::{Failure, tls_error};
use crate::tls::stream::Stream;
use crate::worker::{App, Worker};

/// Read buffer of an upstream connection, at most; also the largest response head.
const BUFFER: usize = 64 << 10;

/// How long an app may take to accept a connection on its own socket.
const APP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to an endpoint of a cluster, within the cluster's limits.
pub(crate) async fn connect(worker: &Rc<Worker>, cluster: &Arc<ClusterView>, endpoint: &EndpointState) -> Result<Lease, ProxyError> {
    let entry = worker.pool.entry(endpoint.way);
    let max_uses = cluster.limits.max_requests_per_connection;
    let wake = entry.wake();
    if !entry.is_awaited()
        && let Some(connection) = entry.take()
    {
        return Ok(Lease::new(connection, wake, max_uses));
    }
    // Rare, and boxed so that the way of those that find a connection is not larger for it.
    let connection = Box::pin(connect_anew(worker, cluster, endpoint, &entry)).await?;
    Ok(Lease::new(connection, wake, max_uses))
}

/// Opens a connection, or waits for one where no more are allowed.
async fn connect_anew(
    worker: &Worker,
    cluster: &Arc<ClusterView>,
    endpoint: &EndpointState,
    entry: &Rc<Entry>,
) -> Result<Connection, ProxyError> {
    let _pending = limits::pending(cluster)?;
    let slot = loop {
        if let Some(slot) = limits::connection(cluster, entry.open()) {
            break slot;
        }
        entry.freed().await;
        if let Some(connection) = entry.take() {
            return Ok(connection);
        }
    };
    cluster.state.counters.connects.fetch_add(1, Relaxed);
    let opened = open(entry, dial(worker, cluster, endpoint), cluster.limits.connect_timeout, Some(slot)).await;
    opened.inspect_err(|_| {
        cluster.state.counters.connect_failures.fetch_add(1, Relaxed);
    })
}

/// A stream to an endpoint of a cluster, secured as the cluster demands.
pub(crate) async fn dial(
    worker: &Worker,
    cluster: &ClusterView,
    endpoint: &EndpointState,
) -> Result<(Stream, Option<Arc<Peer>>), ProxyError> {
    let stream = tcp(endpoint.dial, worker.shared.config.pod.address).await.map_err(|error| unreachable_by(&error))?;
    secure(&worker.shared, cluster, endpoint, stream).await.map_err(|failure| ProxyError::Tls { reason: failure.reason })
}

/// A connection to the pod's own app.
pub(crate) async fn connect_app(worker: &Rc<Worker>, app: &App) -> Result<Lease, ProxyError> {
    let entry = worker.pool.entry(app.pool_key());
    let wake = entry.wake();
    let connection = match entry.take() {
        Some(connection) => connection,
        None => match &app.address {
            AppAddress::Unix(path) => {
                let dial = async { UnixStream::connect(path).await.map(|stream| (stream, None)).map_err(|error| unreachable_by(&error)) };
                Box::pin(open(&entry, dial, APP_CONNECT_TIMEOUT, None)).await?
            }
            AppAddress::Tcp(address) => Box::pin(open(&entry, plain_tcp(*address, address.ip()), APP_CONNECT_TIMEOUT, None)).await?,
        },
    };
    Ok(Lease::new(connection, wake, u32::MAX))
}

/// A connection for one request to an address outside the mesh.
pub(crate) async fn connect_once(worker: &Rc<Worker>, address: SocketAddr, timeout: Duration) -> Result<Lease, ProxyError> {
    let entry = Rc::new(Entry::default());
    let connection = open(&entry, plain_tcp(address, worker.shared.config.pod.address), timeout, None).await?;
    Ok(Lease::new(connection, entry.wake(), 1))
}

async fn open<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    entry: &Rc<Entry>,
    dial: impl Future<Output = Result<(S, Option<Arc<Peer>>), ProxyError>>,
    timeout: Duration,
    slot: Option<Permit>,
) -> Result<Connection, ProxyError> {
    let counted = [slot, Some(entry.count_open())];
    let (stream, peer) = match tokio::time::timeout(timeout, dial).await {
        Ok(dialled) => dialled?,
        Err(_) => return Err(ProxyError::Connect { reason: "connection timeout".to_owned(), timed_out: true }),
    };
    let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|_| ProxyError::Closed { sent: false })?;
    let ended = Rc::new(OnceCell::new());
    let end = ended.clone();
    tokio::task::spawn_local(async move {
        // An error here also reaches whoever waits for the answer, with its cause; who has not asked yet finds it here.
        if let Err(error) = connection.await
            && let Some(reason) = alert(&error)
        {
            let _ = end.set(reason);
        }
    });
    Ok(Connection { sender, uses: 0, peer, ended, _counted: counted })
}

fn unreachable_by(error: &io::Error) -> ProxyError {
    ProxyError::Connect { reason: plain(error), timed_out: false }
}

async fn plain_tcp(address: SocketAddr, source: IpAddr) -> Result<(Stream, Option<Arc<Peer>>), ProxyError> {
    tcp(address, source).await.map(|stream| (Stream::Plain(stream), None)).map_err(|error| unreachable_by(&error))
}

/// The alert by which the other side ended a connection. A server that does not like a client's certificate says so only after the
/// handshake, as far as the client sees (TLS 1.3).
fn alert(error: &hyper::Error) -> Option<String> {
    let cause = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    tls_error(cause).filter(|error| matches!(error, rustls::Error::AlertReceived(_))).map(|error| Failure::of_tls(error).reason)
}

/// What a connection's end before the request was sent means.
pub(crate) fn closed_unsent(lease: &Lease) -> ProxyError {
    match lease.connection.ended.get() {
        Some(reason) => ProxyError::Alert { reason: reason.clone(), sent: false },
        None => ProxyError::Closed { sent: false },
    }
}

/// A TCP stream to `address`, from the pod's own address when both are of one kind, so that the peer sees who calls.
pub(crate) async fn tcp(address: SocketAddr, source: IpAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A loopback source reaches loopback addresses only.
    if source.is_ipv4() == address.is_ipv4() && (!source.is_loopback() || address.ip().is_loopback()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An error's words without the number that Rust appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// A request that did not get an answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nothing of it was sent; here it is again.
    NotSent(Box<Request<RequestBody>>),
    /// Something was, or may have been.
    Broken(ProxyError),
}

impl Unanswered {
    pub(crate) fn of(mut failed: TrySendError<Request<RequestBody>>) -> Self {
        match failed.take_message() {
            Some(request) => Self::NotSent(Box::new(request)),
            None => Self::Broken(cause(failed.error())),
        }
    }
}

/// Sends a request and waits for the head of the answer. What went wrong is told by [`Unanswered::of`], outside: an async block around
/// this future would hold the request twice.
pub(crate) fn send(
    lease: &mut Lease,
    request: Request<RequestBody>,
) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
    lease.connection.sender.try_send_request(request)
}

/// What a broken exchange means, told by hyper's error and its causes.
fn cause(error: &hyper::Error) -> ProxyError {
    let upload = std::error::Error::source(error).and_then(|source| source.downcast_ref::<hyper::Error>());
    match upload {
        // The request's body came from our own server side: the downstream broke off, or its framing is wrong.
        Some(upload) if error.is_user() && upload.is_incomplete_message() => ProxyError::ClientGone,
        Some(_) if error.is_user() => {
            ProxyError::BadRequest { status: http::StatusCode::BAD_REQUEST, reason: "the request's body is not framed as HTTP demands" }
        }
        _ if error.is_parse() => ProxyError::Protocol,
        _ => match alert(error) {
            Some(reason) => ProxyError::Alert { reason, sent: true },
            None => ProxyError::Closed { sent: true },
        },
    }
}
