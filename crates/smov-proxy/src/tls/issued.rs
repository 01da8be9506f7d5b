//! A certificate as it was issued to this proxy, and what follows from it: how it serves, and how it calls.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ALL_VERSIONS, RootCertStore};
use smov_model::tls::{InvalidSpiffeId, SpiffeId};

use super::certificate::{Certificate, Unreadable};
use super::{provider, verify};

/// What a server of HTTP speaks. Istio's offers the same and h2.
const HTTP: &[u8] = b"http/1.1";

/// A certificate that cannot be used; the one before it stays.
#[derive(Debug, thiserror::Error)]
pub enum UnusableCertificate {
    /// Nobody asked for it.
    #[error("no certificate was asked for")]
    NotAsked,
    /// Its text.
    #[error("the {0} cannot be read as PEM certificates")]
    Pem(&'static str),
    /// Its content.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It says nothing of the workload, or more than one thing.
    #[error("the certificate does not have one URI, which is an identity")]
    NoIdentity,
    /// What it says is no identity.
    #[error(transparent)]
    Identity(#[from] InvalidSpiffeId),
    /// Key, chain or roots do not fit each other.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The roots cannot be used.
    #[error(transparent)]
    Roots(#[from] rustls::server::VerifierBuilderError),
    /// It ended already.
    #[error("the certificate has expired")]
    Expired,
    /// The system gave no randomness.
    #[error("no key could be made")]
    Key,
}

impl From<Unreadable> for UnusableCertificate {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// A certificate in use.
#[derive(Debug)]
pub(crate) struct Issued {
    /// Counts up: what was built for another one is out of date.
    pub(crate) number: u64,
    pub(crate) identity: SpiffeId,
    /// The identity as it is written.
    pub(crate) principal: Arc<str>,
    /// The chain, the proxy's own first.
    pub(crate) chain: Vec<Certificate>,
    pub(crate) roots: Vec<Certificate>,
    pub(super) trusted: Arc<RootCertStore>,
    pub(super) certified: Arc<SingleCertAndKey>,
    /// Serves HTTP.
    pub(super) http: Arc<ServerConfig>,
    /// Serves opaque bytes: no protocol is chosen, in particular not `istio-peer-exchange`, which promises metadata before the bytes.
    pub(super) opaque: Arc<ServerConfig>,
    pub(super) chain_pem: String,
    pub(super) roots_pem: String,
    pub(super) key: PrivatePkcs8KeyDer<'static>,
}

impl Issued {
    pub(super) fn new(
        number: u64,
        key: PrivatePkcs8KeyDer<'static>,
        chain_pem: &str,
        roots_pem: &str,
    ) -> Result<Self, UnusableCertificate> {
        let chain_der = certificates(chain_pem).ok_or(UnusableCertificate::Pem("chain"))?;
        let roots_der = certificates(roots_pem).ok_or(UnusableCertificate::Pem("roots"))?;
        let chain = chain_der.iter().map(Certificate::read).collect::<Result<Vec<_>, _>>()?;
        // Roots are read to be shown; one that cannot be may still be trusted.
        let roots: Vec<_> = roots_der.iter().filter_map(|root| Certificate::read(root).ok()).collect();
        let own = &chain[0];
        let principal: Arc<str> = own.sole_uri().ok_or(UnusableCertificate::NoIdentity)?.into();
        let identity: SpiffeId = principal.parse()?;
        if own.not_after <= super::now() {
            return Err(UnusableCertificate::Expired);
        }
        let trusted = Arc::new(trust(roots_der)?);
        verify::chains(&chain_der, &trusted)?;
        let certified = CertifiedKey::from_der(chain_der, PrivateKeyDer::Pkcs8(key.clone_key()), provider())?;
        let certified = Arc::new(SingleCertAndKey::from(certified));
        let verifier = verify::ClientVerifier::new(trusted.clone(), identity.trust_domain.clone())?;
        let mut server = ServerConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(ALL_VERSIONS)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(certified.clone());
        // Keys of its own that rotate every six hours, and go with the certificate.
        server.ticketer = rustls::crypto::ring::Ticketer::new()?;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        // One at a time: each resumed session brings the next.
        server.send_tls13_tickets = 1;
        let opaque = Arc::new(server.clone());
        server.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Self {
            number,
            identity,
            principal,
            chain,
            roots,
            trusted,
            certified,
            http: Arc::new(server),
            opaque,
            chain_pem: chain_pem.to_owned(),
            roots_pem: roots_pem.to_owned(),
            key,
        })
    }

    /// The proxy's own certificate.
    pub(crate) fn own(&self) -> &Certificate {
        &self.chain[0]
    }

    /// How this proxy calls one endpoint: sessions are kept per endpoint, since no other one could resume them.
    pub(super) fn client(&self, verifier: Arc<dyn ServerCertVerifier>, protocols: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
        let mut client = ClientConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(ALL_VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(self.certified.clone());
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        client.resumption = sessions();
        Ok(client)
    }
}

/// Room for the sessions of one endpoint: rustls keeps eight tickets per server.
pub(super) fn sessions() -> Resumption {
    Resumption::in_memory_sessions(8)
}

/// The certificates of a PEM text, at least one.
pub(super) fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

/// These as roots.
pub(super) fn trust(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, rustls::Error> {
    let mut trusted = RootCertStore::empty();
    // As the authority that sent them: those that cannot be roots are passed over, as long as one can.
    let (added, _) = trusted.add_parsable_certificates(certificates);
    if added == 0 { Err(rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding)) } else { Ok(trusted) }
}
