//! Who proves to whom who it is: mutual TLS between workloads and TLS towards others, as a snapshot tells a proxy.
//!
//! Certificates are not part of a snapshot: a proxy asks its control plane for its own (see [`crate::wire`]), and keys never travel.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::{InvalidName, Namespace, ServiceAccount};
use crate::workload::Workload;

/// Istio's default trust domain.
pub const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// What a port of a workload takes
/// (<https://istio.io/latest/docs/reference/config/security/peer_authentication/#PeerAuthentication-MutualTLS-Mode>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// Plaintext; TLS is not ended here but goes to the app as it comes.
    Disable,
    /// Plaintext and mutual TLS. Istio's default.
    #[default]
    Permissive,
    /// Mutual TLS; a plaintext connection is closed before any answer.
    Strict,
}

/// How connections of a cluster are secured
/// (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings-TLSmode>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterTls {
    /// Plaintext: `DISABLE`, or a cluster outside the mesh.
    #[default]
    Disable,
    /// No rule says anything: mutual TLS towards endpoints that take it ([`crate::cluster::Endpoint::mutual_tls`]), plaintext to the others.
    Auto(MutualTls),
    /// `ISTIO_MUTUAL`: the mesh's certificates towards every endpoint, whatever it takes.
    IstioMutual(MutualTls),
    /// `SIMPLE` and `MUTUAL`: TLS with certificates of one's own.
    Origin(Box<OriginTls>),
}

/// Mutual TLS with the mesh's certificates: what the client says and what it expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MutualTls {
    /// Server name, `outbound_.8081_.ctx1_.user-service.theater-msa.svc.cluster.local` unless a rule says otherwise: an east-west gateway
    /// routes by it.
    pub sni: String,
    /// Identities that are accepted, one of which the server has to have. Empty = any of the trust domain.
    pub subject_alt_names: Vec<String>,
}

/// TLS that a rule describes in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct OriginTls {
    /// Server name to send; `None` = none.
    pub sni: Option<String>,
    /// Names that are accepted, one of which the server's certificate has to have. Empty = the certificate needs to be valid only, as in
    /// Istio.
    pub subject_alt_names: Vec<String>,
    /// Whom to trust.
    pub roots: Roots,
    /// `MUTUAL`: the client's own certificate.
    pub client: Option<ClientCertificate>,
}

/// Whom a client of an [`OriginTls`] trusts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Roots {
    /// The certificates that the system trusts.
    #[default]
    System,
    /// A file in the proxy's container (`caCertificates`).
    File(String),
    /// PEM out of a Secret (`credentialName`).
    Pem(String),
    /// Anybody (`insecureSkipVerify`).
    Anybody,
}

/// A certificate chain with its key.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientCertificate {
    /// Files in the proxy's container (`clientCertificate`, `privateKey`).
    Files {
        /// The chain, PEM.
        certificate: String,
        /// The key, PEM.
        private_key: String,
    },
    /// PEM out of a Secret (`credentialName`).
    Pem {
        /// The chain.
        certificate: String,
        /// The key.
        private_key: String,
    },
}

/// Without keys: snapshots are printed by debug endpoints and in logs.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { certificate, private_key } => {
                f.debug_struct("Files").field("certificate", certificate).field("private_key", private_key).finish()
            }
            Self::Pem { certificate, .. } => f.debug_struct("Pem").field("certificate", certificate).finish_non_exhaustive(),
        }
    }
}

/// How a connection is secured, as Istio's metrics name it (`connection_security_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionSecurityPolicy {
    /// Nobody says: what Istio's client side reports.
    #[default]
    Unknown,
    /// Plaintext.
    None,
    /// Both sides have shown their certificates.
    MutualTls,
}

impl ConnectionSecurityPolicy {
    /// The metrics' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::MutualTls => "mutual_tls",
        }
    }
}

/// A workload's identity: `spiffe://cluster.local/ns/theater-msa/sa/api-gateway`
/// (<https://istio.io/latest/docs/concepts/security/#istio-identity>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// Trust domain.
    pub trust_domain: Arc<str>,
    /// The service account's namespace.
    pub namespace: Namespace,
    /// The service account.
    pub service_account: ServiceAccount,
}

impl SpiffeId {
    /// The identity that a workload's certificate carries.
    pub fn of(trust_domain: &str, workload: &Workload) -> Self {
        Self { trust_domain: trust_domain.into(), namespace: workload.namespace.clone(), service_account: workload.service_account.clone() }
    }

    /// As policies and metrics write it, without the scheme: `cluster.local/ns/theater-msa/sa/api-gateway`.
    pub fn principal(&self) -> String {
        format!("{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}", self.principal())
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSpiffeId::Form(text.to_owned());
        let mut parts = text.strip_prefix("spiffe://").ok_or_else(invalid)?.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or_else(invalid);
        let trust_domain = next()?.into();
        let (ns, namespace, sa, service_account) = (next()?, next()?, next()?, next()?);
        if ns != "ns" || sa != "sa" || parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { trust_domain, namespace: namespace.parse()?, service_account: service_account.parse()? })
    }
}

/// A text that is no identity of a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// It is not of this form.
    #[error("`{0}` is not of the form spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT")]
    Form(String),
    /// A name in it is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_is_written() {
        let text = "spiffe://cluster.local/ns/theater-msa/sa/api-gateway";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.principal(), "cluster.local/ns/theater-msa/sa/api-gateway");
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for text in [
            "cluster.local/ns/a/sa/b",
            "spiffe:///ns/a/sa/b",
            "spiffe://x/ns/a/sa",
            "spiffe://x/ns//sa/b",
            "spiffe://x/sa/a/ns/b",
            "spiffe://x/ns/a/sa/b/c",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let pem = ClientCertificate::Pem { certificate: "CERT".to_owned(), private_key: "SECRET".to_owned() };
        assert!(!format!("{pem:?}").contains("SECRET"));
    }
}
