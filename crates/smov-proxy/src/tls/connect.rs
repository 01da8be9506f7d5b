//! Phase **connect**, its second half: TLS towards an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustls::HandshakeKind;
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;
use smov_model::cluster::{Cluster, Protocol};
use smov_model::tls::{ClusterTls, MutualTls};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::certificate::Certificate;
use super::failure::Failure;
use super::issued::{Issued, sessions};
use super::stream::Stream;
use super::verify::{Names, ServerVerifier};
use super::{BUFFER, Peer, origin};
use crate::cluster::{ClusterView, EndpointState};
use crate::worker::Shared;

/// What Istio's sidecars offer over HTTP/1.1: the first two tell a permissive port that this is the mesh.
const HTTP: &[&[u8]] = &[b"istio-http/1.1", b"istio", b"http/1.1"];
/// For opaque bytes. `istio-peer-exchange` would promise metadata before the bytes.
const OPAQUE: &[&[u8]] = &[b"istio"];

/// How a cluster's connections are secured, worked out once per snapshot.
#[derive(Debug)]
pub(crate) enum Security {
    Plaintext,
    Mesh(Mesh),
    Origin(Origin),
}

/// With the mesh's certificates.
#[derive(Debug)]
pub(crate) struct Mesh {
    /// Also towards endpoints that do not say that they take it?
    always: bool,
    server_name: Option<ServerName<'static>>,
    /// Identities, one of which is asked for; empty = any of the trust domain.
    identities: Vec<String>,
    protocols: &'static [&'static [u8]],
}

/// With certificates of a rule's own.
#[derive(Debug)]
pub(crate) struct Origin {
    files: origin::Kept,
    server_name: Option<ServerName<'static>>,
}

/// How one endpoint is called, with the sessions that it would resume.
#[derive(Debug)]
pub(crate) struct Calling {
    /// The certificate that this was built for: the mesh's by its number, a rule's own by what its files looked like.
    number: u64,
    config: Arc<ClientConfig>,
}

impl Security {
    pub(crate) fn compile(cluster: &Cluster) -> Self {
        let mesh = |tls: &MutualTls, always| {
            let protocols = match cluster.protocol {
                Protocol::Http => HTTP,
                Protocol::Tcp => OPAQUE,
            };
            Self::Mesh(Mesh { always, server_name: server_name(&tls.sni), identities: tls.subject_alt_names.clone(), protocols })
        };
        match &cluster.tls {
            ClusterTls::Disable => Self::Plaintext,
            ClusterTls::Auto(tls) => mesh(tls, false),
            ClusterTls::IstioMutual(tls) => mesh(tls, true),
            ClusterTls::Origin(origin) => {
                let files = origin::Kept::new(origin);
                if let Err(reason) = &files.current().config {
                    warn!(cluster = %cluster.name, %reason, "this cluster's TLS cannot be set up: connections to it fail");
                }
                Self::Origin(Origin { files, server_name: origin.sni.as_deref().and_then(server_name) })
            }
        }
    }
}

/// A name that fits into a hello; others are not sent.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name).ok().map(|name| name.to_owned())
}

/// Secures a new connection as the cluster demands. `None` in place of the peer = plaintext.
pub(crate) async fn secure(
    shared: &Shared,
    cluster: &ClusterView,
    endpoint: &EndpointState,
    stream: TcpStream,
) -> Result<(Stream, Option<Arc<Peer>>), Failure> {
    let (calling, server_name, mutual) = match &cluster.security {
        Security::Plaintext => return Ok((Stream::Plain(stream), None)),
        Security::Mesh(mesh) if !mesh.always && !endpoint.mutual_tls => return Ok((Stream::Plain(stream), None)),
        Security::Mesh(mesh) => {
            let issued = shared.certificates.current();
            // Envoy's words for a certificate that is still to come.
            let issued = issued.ok_or_else(|| Failure::connection("TLS_error:Secret is not supplied by SDS"))?;
            (mesh.calling(endpoint, &issued)?, &mesh.server_name, true)
        }
        Security::Origin(origin) => (origin.calling(endpoint)?, &origin.server_name, false),
    };
    let server_name = server_name.clone().unwrap_or_else(|| no_name(endpoint.address));
    let connector = TlsConnector::from(calling.config.clone());
    let connecting = connector.connect_with(server_name, stream, |connection| connection.set_buffer_limit(Some(BUFFER)));
    let connected = connecting.await.map_err(|error| Failure::of(&error)).and_then(|stream| {
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| Failure::of_tls(&rustls::Error::NoCertificatesPresented))?;
        let certificate = Certificate::read(shown).map_err(|error| Failure::connection(error.to_string()))?;
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            if certificate.not_after <= super::now() {
                // The next connection begins with a session of its own.
                endpoint.calling.store(None);
                return Err(Failure::expired());
            }
            cluster.state.counters.tls_resumed.fetch_add(1, Relaxed);
        }
        let mut peer = Peer::of(&certificate, mutual);
        peer.labels = match &peer.principal {
            Some(principal) if mutual => shared.names().peer_shown(&endpoint.workload, principal),
            _ => endpoint.peer,
        };
        Ok((peer, stream))
    });
    match connected {
        Ok((peer, stream)) => {
            cluster.state.counters.tls_handshakes.fetch_add(1, Relaxed);
            Ok((Stream::Client(Box::new(stream)), Some(Arc::new(peer))))
        }
        Err(failure) => {
            cluster.state.counters.tls_failures.count(failure.kind);
            Err(failure)
        }
    }
}

/// An address is no name that a hello carries.
fn no_name(address: SocketAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.ip().into())
}

impl Mesh {
    /// What was built for this endpoint with this certificate, or it is built now.
    fn calling(&self, endpoint: &EndpointState, issued: &Issued) -> Result<Arc<Calling>, Failure> {
        if let Some(known) = endpoint.calling.load_full().filter(|known| known.number == issued.number) {
            return Ok(known);
        }
        let names = if self.identities.is_empty() {
            Names::TrustDomain(issued.identity.trust_domain.clone())
        } else {
            Names::Mesh(self.identities.clone())
        };
        let verifier = ServerVerifier { roots: Some(issued.trusted.clone()), names };
        let config = issued.client(Arc::new(verifier), self.protocols).map_err(|error| Failure::of_tls(&error))?;
        let calling = Arc::new(Calling { number: issued.number, config: Arc::new(config) });
        endpoint.calling.store(Some(calling.clone()));
        Ok(calling)
    }
}

impl Origin {
    /// What was built for this endpoint from the files as they are now, or it is built now.
    fn calling(&self, endpoint: &EndpointState) -> Result<Arc<Calling>, Failure> {
        let current = self.files.current();
        let config = current.config.as_ref().map_err(|reason| Failure::connection(format!("TLS_error:{reason}")))?;
        if let Some(known) = endpoint.calling.load_full().filter(|known| known.number == current.number) {
            return Ok(known);
        }
        let mut config = ClientConfig::clone(config);
        config.resumption = sessions();
        let calling = Arc::new(Calling { number: current.number, config: Arc::new(config) });
        endpoint.calling.store(Some(calling.clone()));
        Ok(calling)
    }
}
