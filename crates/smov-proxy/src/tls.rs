//! TLS, of which nothing is our own: rustls does it, with ring. Here is who shows which certificate, who believes whom, and where it ends.
//!
//! A proxy makes its keys itself and asks the control plane for certificates ([`Certificates`]); what it was given is one value that is
//! swapped as a whole. Configurations are built once per certificate (inbound) or once per endpoint and certificate (outbound), never per
//! connection, and what a connection proved is worked out once ([`Peer`]): a request only holds a reference to it.
//!
//! Sessions are resumed only under the certificates that they began with: tickets of a server end with its certificate, and a client
//! forgets its own at the same moment. So whoever resumes has proved itself to the same roots, and its certificate's end is looked at anew.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use smov_model::tls::SpiffeId;

pub(crate) mod accept;
pub(crate) mod certificate;
pub(crate) mod connect;
pub(crate) mod failure;
pub(crate) mod issued;
mod origin;
pub(crate) mod refused;
pub(crate) mod store;
pub(crate) mod stream;
mod verify;

use crate::names::PeerId;
use certificate::{Certificate, Unreadable};
pub use store::{Certificates, IssuedPem, UnusableCertificate};

/// Plaintext that rustls keeps at most while a socket takes nothing, in bytes.
const BUFFER: usize = 64 << 10;

/// rustls' defaults with AES-128 first, which is what BoringSSL prefers on machines that have AES in hardware.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        Arc::new(provider)
    })
}

/// Who is on the other side of a connection, by its certificate.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Is it of the mesh, and knows who we are? A server that a rule describes (`SIMPLE`, `MUTUAL`) is not.
    pub(crate) mutual: bool,
    /// What metrics call it, where the snapshot's workloads do not tell better.
    pub(crate) labels: PeerId,
    /// The certificate's only URI (`spiffe://…`).
    pub(crate) principal: Option<Arc<str>>,
    /// The same, where it is an identity of the mesh.
    pub(crate) identity: Option<SpiffeId>,
    /// `x-forwarded-client-cert` for the app.
    pub(crate) forwarded: Option<HeaderValue>,
    /// The name that the client asked for.
    pub(crate) server_name: Option<Box<str>>,
}

impl Peer {
    /// Of a client that has proved who it is. `own` = the identity that it was shown.
    fn of_client(der: &CertificateDer<'_>, own: &str, server_name: Option<&str>) -> Result<(Self, Certificate), Unreadable> {
        let certificate = Certificate::read(der)?;
        let mut peer = Self::of(&certificate, true);
        peer.forwarded = HeaderValue::try_from(certificate.forwarded(own)).ok();
        peer.server_name = server_name.map(Into::into);
        Ok((peer, certificate))
    }

    fn of(certificate: &Certificate, mutual: bool) -> Self {
        let uri = certificate.sole_uri();
        Self {
            mutual,
            labels: PeerId::UNKNOWN,
            principal: uri.map(Into::into),
            identity: uri.and_then(|uri| uri.parse().ok()),
            forwarded: None,
            server_name: None,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
