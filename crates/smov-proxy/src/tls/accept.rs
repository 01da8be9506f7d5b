//! Phase **accept** of an inbound connection: is it TLS, and who is it? Decided by the first bytes and, for TLS, by what the client offers.
//!
//! | mode | plaintext | TLS that offers `istio…` | other TLS |
//! |---|---|---|---|
//! | DISABLE | served | goes to the app as it comes (TCP), is no HTTP (HTTP) | the same |
//! | PERMISSIVE | served | ends here | goes to the app as it comes (TCP), refused (HTTP) |
//! | STRICT | closed | ends here | ends here |
//!
//! which is what Istio's filter chains say. Closed means closed while what the client sent is unread: the kernel answers with a reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::server::{Acceptor, ClientHello};
use smov_model::cluster::Protocol;
use smov_model::tls::MutualTlsMode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::server::StartHandshake;
use tokio_rustls::{LazyConfigAcceptor, server};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::refused::Refusal;
use super::stream::{Passed, Stream};
use super::{BUFFER, Peer};
use crate::config::DownstreamLimits;
use crate::snapshot::InboundView;
use crate::worker::{Downstream, Shared};

/// What a client may send before its hello is complete, in bytes.
const HELLO: usize = 16 << 10;
/// How long a client is heard that was refused.
const HEARD_OUT: Duration = Duration::from_secs(1);
/// Offered by sidecars, and by them alone.
const OF_THE_MESH: [&[u8]; 5] = [b"istio", b"istio-peer-exchange", b"istio-http/1.0", b"istio-http/1.1", b"istio-h2"];

/// Protocols of which a server of HTTP chooses, or none.
const HTTP: [&[u8]; 2] = [b"http/1.1", b"h2"];

/// Makes a connection ready to be served; who has proved itself is written into `downstream`. `None` = it is closed already, or refused
/// with its reason noted.
pub(crate) async fn accept(
    shared: &Shared,
    stream: TcpStream,
    downstream: &mut Downstream,
    limits: DownstreamLimits,
    draining: &CancellationToken,
) -> Option<Stream> {
    let number = downstream.local.port();
    if shared.inbound_port(number).mutual_tls == MutualTlsMode::Disable {
        return Some(Stream::Plain(stream));
    }
    let first = tokio::select! {
        first = timeout(limits.idle_timeout, first_bytes(&stream)) => first.ok()?.ok()?,
        () = draining.cancelled() => return None,
    };
    // The client took its time: what counts is what holds now.
    let port = shared.inbound_port(number);
    let accepted = match (port.mutual_tls, first) {
        (MutualTlsMode::Disable, _) => return Some(Stream::Plain(stream)),
        (_, First::Tls) => {
            let deadline = tokio::time::Instant::now() + limits.tls_timeout;
            let mut server_name = None;
            let secured = timeout_at(deadline, secure(shared, port, stream, downstream, &mut server_name)).await;
            let slow = || Failure::connection(format!("the TLS handshake was not complete after {:?}", limits.tls_timeout));
            secured.unwrap_or_else(|_| Err(slow())).map_err(|failure| (failure, server_name))
        }
        (MutualTlsMode::Permissive, _) => return Some(Stream::Plain(stream)),
        // It came and went: a health check of the port, as a rule.
        (MutualTlsMode::Strict, First::Nothing) => return None,
        (MutualTlsMode::Strict, First::Other) => Err((
            Failure::connection("filter_chain_not_found: plaintext, and the port takes mutual TLS only (PeerAuthentication STRICT)"),
            None,
        )),
    };
    accepted.map_err(|(failure, server_name)| refuse(shared, downstream, server_name, failure)).ok()
}

fn refuse(shared: &Shared, downstream: &Downstream, server_name: Option<String>, failure: Failure) {
    shared.listener_tls.refuse(Refusal {
        at: shared.clock_micros(),
        proxy: &shared.config.pod.name,
        remote: downstream.remote,
        port: downstream.local.port(),
        server_name,
        failure,
    });
}

/// What a connection begins with.
enum First {
    /// A record with a handshake, of any version that there is.
    Tls,
    Other,
    /// The client has nothing to say.
    Nothing,
}

/// Looks at the first bytes, which stay where they are.
async fn first_bytes(stream: &TcpStream) -> io::Result<First> {
    let mut first = [0; 2];
    let seen = stream.peek(&mut first).await?;
    Ok(match &first[..seen] {
        [] => First::Nothing,
        [0x16] | [0x16, 3] => First::Tls,
        _ => First::Other,
    })
}

/// Ends TLS here, or passes it on.
async fn secure(
    shared: &Shared,
    port: InboundView,
    stream: TcpStream,
    downstream: &mut Downstream,
    server_name: &mut Option<String>,
) -> Result<Stream, Failure> {
    let passes_on = port.mutual_tls == MutualTlsMode::Permissive && port.protocol == Protocol::Tcp;
    let hello = Hello { stream, count: 0, read: Vec::new(), keeps: passes_on };
    let start = LazyConfigAcceptor::new(Acceptor::default(), hello).await.map_err(|error| Failure::of(&error))?;
    let StartHandshake { accepted, io: hello, .. } = start;
    let client = accepted.client_hello();
    *server_name = client.server_name().map(str::to_owned);
    if port.mutual_tls == MutualTlsMode::Permissive && !is_of_the_mesh(&client) {
        return if passes_on {
            Ok(Stream::Passed(Box::new(Passed { read: hello.read, given: 0, stream: hello.stream })))
        } else {
            Err(Failure::connection("filter_chain_not_found: TLS that offers none of Istio's protocols (ALPN istio…)"))
        };
    }
    let issued = shared.certificates.current().ok_or_else(|| Failure::connection("this proxy has no certificate yet"))?;
    // Who speaks HTTP/2 alone is refused by rustls; who names no HTTP takes what comes.
    let names_http = || client.alpn().is_some_and(|mut offered| offered.any(|protocol| HTTP.contains(&protocol)));
    let config = if port.protocol == Protocol::Http && names_http() { &issued.http } else { &issued.opaque };
    let start = StartHandshake::from_parts(accepted, hello.stream);
    let accepting = start.into_stream_with(config.clone(), |connection| connection.set_buffer_limit(Some(BUFFER)));
    let stream = accepting.into_fallible().await.map_err(|(error, stream)| {
        tokio::task::spawn_local(hear_out(stream));
        Failure::of(&error)
    })?;
    downstream.peer = Some(Arc::new(client_of(shared, &stream, &issued.principal)?));
    Ok(Stream::Server(Box::new(stream)))
}

/// Reads what a refused client still sends, for a moment: closed with bytes unread, the connection would be reset, and the alert that says why
/// might be lost with it. In TLS 1.3 a client sends its request before it can know.
async fn hear_out(mut stream: TcpStream) {
    let mut piece = [0; 1024];
    let hear = async {
        stream.shutdown().await?;
        while stream.read(&mut piece).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = timeout(HEARD_OUT, hear).await;
}

fn is_of_the_mesh(client: &ClientHello<'_>) -> bool {
    client.alpn().is_some_and(|mut offered| offered.any(|protocol| OF_THE_MESH.contains(&protocol)))
}

/// Who it is that has connected.
fn client_of(shared: &Shared, stream: &server::TlsStream<TcpStream>, own: &str) -> Result<Peer, Failure> {
    let (_, connection) = stream.get_ref();
    let shown =
        connection.peer_certificates().and_then(<[_]>::first).ok_or_else(|| Failure::of_tls(&rustls::Error::NoCertificatesPresented))?;
    let read = Peer::of_client(shown, own, connection.server_name());
    let (mut peer, certificate) = read.map_err(|error| Failure::connection(error.to_string()))?;
    let tls = &shared.listener_tls;
    if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
        // It was verified when the session began; only time has passed since.
        if certificate.not_after <= super::now() {
            return Err(Failure::expired());
        }
        tls.resumed.fetch_add(1, Relaxed);
    }
    tls.handshakes.fetch_add(1, Relaxed);
    if let Some(principal) = &peer.principal {
        peer.labels = shared.names().stranger(principal);
    }
    Ok(peer)
}

/// A stream while the client's hello is read.
#[derive(Debug)]
struct Hello {
    stream: TcpStream,
    count: usize,
    read: Vec<u8>,
    /// Are the bytes wanted again?
    keeps: bool,
}

impl AsyncRead for Hello {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.count >= HELLO {
            return Poll::Ready(Err(io::Error::other("the TLS hello is too long")));
        }
        let before = buffer.filled().len();
        let poll = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        this.count += read.len();
        if this.keeps {
            this.read.extend_from_slice(read);
        }
        poll
    }
}

impl AsyncWrite for Hello {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
