//! Whom a side of a connection believes: rustls checks chains and signatures, here are the names.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme};

use super::provider;
use crate::tls::certificate::Unreadable;

/// A certificate whose chain is right and whose names are not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongName {
    /// Names were asked for and none of them is there.
    #[error("SAN matcher, certificate SANs are {shown}, one of {asked} is expected")]
    NotAccepted {
        /// What was asked for.
        asked: String,
        /// What the certificate has.
        shown: String,
    },
    /// SPIFFE: an identity is the only URI, so that no two readers take different ones.
    #[error("SAN matcher, certificate SANs are {shown}, one URI and no more is expected")]
    NotOneIdentity {
        /// What the certificate has.
        shown: String,
    },
    /// It is of another mesh.
    #[error("SAN matcher, certificate SANs are {shown}, one of the trust domain {trust_domain} is expected")]
    OtherTrustDomain {
        /// What was asked for.
        trust_domain: Arc<str>,
        /// What the certificate has.
        shown: String,
    },
}

impl From<WrongName> for Error {
    fn from(wrong: WrongName) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong))))
    }
}

/// Which names a server must have.
#[derive(Debug, Clone)]
pub(super) enum Names {
    /// Of the mesh: its one identity is of this trust domain.
    TrustDomain(Arc<str>),
    /// Of the mesh: one identity and no more, and one of these names.
    Mesh(Vec<String>),
    /// One of these: identities, DNS names or addresses.
    OneOf(Vec<String>),
    /// None in particular.
    Any,
}

impl Names {
    fn check(&self, der: &CertificateDer<'_>) -> Result<(), Error> {
        let certificate = webpki::EndEntityCert::try_from(der).map_err(|_| bad_encoding())?;
        let shown = || {
            let names: Vec<&str> = certificate.valid_uri_names().chain(certificate.valid_dns_names()).collect();
            format!("[{}]", names.join(", "))
        };
        let identities = certificate.valid_uri_names().count();
        if matches!(self, Self::TrustDomain(_) | Self::Mesh(_)) && identities > 1 {
            return Err(WrongName::NotOneIdentity { shown: shown() }.into());
        }
        match self {
            Self::Any => Ok(()),
            Self::TrustDomain(trust_domain) if certificate.valid_uri_names().any(|uri| is_of(uri, trust_domain)) => Ok(()),
            Self::TrustDomain(trust_domain) => {
                Err(WrongName::OtherTrustDomain { trust_domain: trust_domain.clone(), shown: shown() }.into())
            }
            Self::Mesh(_) if identities == 0 => Err(WrongName::NotOneIdentity { shown: shown() }.into()),
            Self::Mesh(names) | Self::OneOf(names) if names.iter().any(|name| has_name(&certificate, name)) => Ok(()),
            Self::Mesh(names) | Self::OneOf(names) => {
                Err(WrongName::NotAccepted { asked: format!("[{}]", names.join(", ")), shown: shown() }.into())
            }
        }
    }
}

/// Is this an identity of that trust domain? As Istio, by the beginning alone.
fn is_of(uri: &str, trust_domain: &str) -> bool {
    uri.strip_prefix("spiffe://").and_then(|rest| rest.strip_prefix(trust_domain)).is_some_and(|rest| rest.starts_with('/'))
}

fn has_name(certificate: &webpki::EndEntityCert<'_>, name: &str) -> bool {
    // An identity is compared as it is; a DNS name by its own rules, which know wildcards.
    certificate.valid_uri_names().any(|uri| uri == name)
        || ServerName::try_from(name).is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

fn bad_encoding() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}

impl From<Unreadable> for Error {
    fn from(_: Unreadable) -> Self {
        bad_encoding()
    }
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    &provider().signature_verification_algorithms
}

/// Does this chain lead to one of the roots?
pub(super) fn chains(chain: &[CertificateDer<'static>], roots: &RootCertStore) -> Result<(), Error> {
    let (end_entity, intermediates) = chain.split_first().ok_or_else(bad_encoding)?;
    let certificate = rustls::server::ParsedCertificate::try_from(end_entity)?;
    verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, UnixTime::now(), algorithms().all)
}

/// Checks servers for clients.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None` = anybody (`insecureSkipVerify`).
    pub(super) roots: Option<Arc<RootCertStore>>,
    pub(super) names: Names,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = rustls::server::ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms().all)?;
            self.names.check(end_entity)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Checks clients for servers: each must show a certificate of the trust domain.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    names: Names,
}

impl ClientVerifier {
    pub(super) fn new(roots: Arc<RootCertStore>, trust_domain: Arc<str>) -> Result<Self, rustls::server::VerifierBuilderError> {
        // Clients of a mesh have one certificate: the list of roots would be bytes that nobody reads.
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider().clone()).clear_root_hint_subjects().build()?;
        Ok(Self { chains, names: Names::TrustDomain(trust_domain) })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chains.verify_client_cert(end_entity, intermediates, now)?;
        self.names.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_domain_is_a_whole_name() {
        assert!(is_of("spiffe://cluster.local/ns/a/sa/b", "cluster.local"));
        for other in [
            "spiffe://cluster.local.evil/ns/a/sa/b",
            "spiffe://evil/cluster.local/ns/a/sa/b",
            "spiffe://cluster.local",
            "https://cluster.local/",
        ] {
            assert!(!is_of(other, "cluster.local"), "{other}");
        }
    }
}
