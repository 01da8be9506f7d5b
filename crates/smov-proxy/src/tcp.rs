//! Opaque TCP: doors that lead out of the pod, and the pod's own TCP ports. Bytes both ways, counted as they pass.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use smov_model::dice::{Draw, Purpose};
use smov_model::flag::{Flags, ResponseFlag};
use smov_model::outlier::Outcome;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::authorize;
use crate::balance::{Ask, balance};
use crate::cluster::{ClusterView, EndpointState};
use crate::config::{AppAddress, TcpDoor};
use crate::inbound::{not_welcome_any_more, peer_of};
use crate::limits::{self, Permit};
use crate::names::{PeerId, ServiceId};
use crate::snapshot::View;
use crate::telemetry::metrics::{Key, NOT_GRPC, Reporter};
use crate::tls::Peer;
use crate::tls::stream::Stream;
use crate::upstream;
use crate::worker::{App, Downstream, Worker};

/// Bytes that are read at a time in each direction: what one record of TLS holds.
const PIECE: usize = 16 << 10;

/// Serves one connection through a door: split → balance → connect → bytes. When nothing can be reached the connection is closed at
/// once, and when the upstream goes, so does the downstream: to connect again is the client's part.
pub(crate) async fn door(worker: &Rc<Worker>, door: &TcpDoor, mut stream: TcpStream) {
    let Some(view) = worker.shared.pin() else { return };
    let mut key = Key {
        reporter: Reporter::Source,
        peer: PeerId::UNKNOWN,
        service: ServiceId::UNKNOWN,
        status: 0,
        flags: Flags::NONE,
        grpc: NOT_GRPC,
        mutual_tls: false,
    };
    key.service = worker.shared.service(door.host.as_str());
    let reached = reach(worker, &view, door).await;
    // A connection may last for days; its snapshot need not.
    drop(view);
    match reached {
        Ok(Reached { stream: mut upstream, peer, endpoint, permits: _permits }) => {
            key.peer = peer.as_ref().map_or(endpoint.peer, |peer| peer.labels);
            key.mutual_tls = peer.is_some_and(|peer| peer.mutual);
            relay(worker, key, &mut stream, &mut upstream).await;
        }
        Err(flag) => {
            key.flags = flag.into();
            worker.count(|metrics| {
                let series = metrics.tcp(key);
                series.opened += 1;
                series.closed += 1;
            });
        }
    }
}

/// An endpoint with a connection to it.
struct Reached {
    stream: Stream,
    peer: Option<Arc<Peer>>,
    endpoint: Arc<EndpointState>,
    permits: [Option<Permit>; 2],
}

/// A connection to an endpoint of the service, trying each endpoint once.
async fn reach(worker: &Rc<Worker>, view: &View, door: &TcpDoor) -> Result<Reached, ResponseFlag> {
    let split = view.tcp(&door.host, door.port).ok_or(ResponseFlag::Nr)?;
    let request_id = worker.request_id();
    let request_id = request_id.to_str().unwrap_or_default();
    let draw = Draw { purpose: Purpose::Split, request_id, destination: door.host.as_str(), attempt: 0 };
    let roll = if split.is_single() { 0 } else { worker.shared.dice.roll(draw) };
    let cluster: &Arc<ClusterView> = view.cluster(split.pick(roll).value.1).ok_or(ResponseFlag::Nc)?;
    let mut tried = Vec::new();
    for attempt in 0..cluster.endpoints.len().max(1) as u32 {
        let choice = balance(worker, cluster, Ask { request_id, attempt, tried: &tried, hash: None }).map_err(|_| ResponseFlag::Uh)?;
        let slot = limits::connection(cluster, u32::MAX).ok_or(ResponseFlag::Uo)?;
        let endpoint = choice.endpoint;
        let counters = &cluster.state.counters;
        counters.connects.fetch_add(1, Relaxed);
        match timeout(cluster.limits.connect_timeout, upstream::dial(worker, cluster, &endpoint)).await {
            Ok(Ok((stream, peer))) => {
                cluster.record(&endpoint, Outcome::Success, || worker.shared.age());
                let active = Permit::active(&endpoint);
                return Ok(Reached { stream, peer, endpoint, permits: [Some(slot), Some(active)] });
            }
            // A connection through a door has no record: its reason is in the log.
            Ok(Err(error)) => info!(cluster = %cluster.state.text, endpoint = %endpoint.address, %error, "connect failed"),
            Err(_) => info!(cluster = %cluster.state.text, endpoint = %endpoint.address, "connect timed out"),
        }
        counters.connect_failures.fetch_add(1, Relaxed);
        cluster.record(&endpoint, Outcome::GatewayError, || worker.shared.age());
        tried.push(endpoint.id);
    }
    Err(ResponseFlag::Uf)
}

/// Serves one connection of a peer to a TCP port of the pod; for a while only, once the port takes none like it any more.
pub(crate) async fn inbound(worker: &Rc<Worker>, app: &App, downstream: &Downstream, stream: Stream) {
    let over = async {
        not_welcome_any_more(&worker.shared, downstream).await;
        sleep(worker.shared.config.limits.mode_drain).await;
    };
    tokio::select! {
        biased;
        () = serve(worker, app, downstream, stream) => {}
        () = over => debug!(port = app.port, "connection cut off: its port takes none like it any more"),
    }
}

async fn serve(worker: &Rc<Worker>, app: &App, downstream: &Downstream, mut stream: Stream) {
    let mut key = Key {
        reporter: Reporter::Destination,
        peer: PeerId::UNKNOWN,
        service: ServiceId::UNKNOWN,
        status: 0,
        flags: Flags::NONE,
        grpc: NOT_GRPC,
        mutual_tls: false,
    };
    if let Some(view) = worker.shared.pin() {
        let unknown = downstream.peer.as_ref().map_or(PeerId::UNKNOWN, |peer| peer.labels);
        key.peer = peer_of(&view, downstream, None).map_or(unknown, |peer| peer.id);
        key.mutual_tls = downstream.peer.is_some();
        key.service = view.inbound(downstream.local.port()).map_or(ServiceId::UNKNOWN, |inbound| inbound.service);
        if !authorize::welcome(&worker.shared, &view, downstream) {
            worker.count(|metrics| {
                let series = metrics.tcp(key);
                series.opened += 1;
                series.closed += 1;
            });
            return;
        }
    }
    let result = match &app.address {
        AppAddress::Unix(path) => match UnixStream::connect(path).await {
            Ok(mut upstream) => {
                relay(worker, key, &mut stream, &mut upstream).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        AppAddress::Tcp(address) => match upstream::tcp(*address, address.ip()).await {
            Ok(mut upstream) => {
                relay(worker, key, &mut stream, &mut upstream).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        debug!(%error, port = app.port, "the app does not listen");
        key.flags = ResponseFlag::Uf.into();
        worker.count(|metrics| {
            let series = metrics.tcp(key);
            series.opened += 1;
            series.closed += 1;
        });
    }
}

/// Bytes both ways until both sides are done or one breaks.
async fn relay(
    worker: &Rc<Worker>,
    key: Key,
    downstream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    worker.count(|metrics| metrics.tcp(key).opened += 1);
    let closing = Closing { worker: worker.clone(), key };
    let mut downstream = Counted { inner: downstream, worker, key };
    if let Err(error) = copy_bidirectional_with_sizes(&mut downstream, upstream, PIECE, PIECE).await {
        debug!(%error, "tcp connection broke");
    }
    drop(closing);
}

/// Counts the end of a connection, however it ends.
struct Closing {
    worker: Rc<Worker>,
    key: Key,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let key = self.key;
        self.worker.count(|metrics| metrics.tcp(key).closed += 1);
    }
}

/// The downstream's side with its bytes counted while they pass, so that a long connection shows.
struct Counted<'a, S> {
    inner: &'a mut S,
    worker: &'a Rc<Worker>,
    key: Key,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut *self.inner).poll_read(cx, buffer);
        let read = (buffer.filled().len() - before) as u64;
        if read > 0 {
            let key = self.key;
            // Istio counts from the server's point of view: what the downstream sends is received.
            self.worker.count(|metrics| metrics.tcp(key).received += read);
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = poll {
            let key = self.key;
            self.worker.count(|metrics| metrics.tcp(key).sent += written as u64);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}
