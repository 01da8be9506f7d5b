//! An authority as Istio is given it
//! (<https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/>).

use std::fmt;

use crate::authority::{Authority, AuthorityError};

/// The four texts of Istio's Secret `cacerts`, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PluggedIn {
    /// `ca-cert.pem`: the certificate that signs workloads.
    pub ca_cert: String,
    /// `ca-key.pem`: its key.
    pub ca_key: String,
    /// `root-cert.pem`: whom everybody trusts; several while a root is being changed.
    pub root_cert: String,
    /// `cert-chain.pem`: from `ca-cert.pem` up to a root.
    pub cert_chain: String,
}

impl PluggedIn {
    /// The names of its texts in the Secret, in the order of its fields.
    pub const KEYS: [&'static str; 4] = ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"];
    /// The Secret, in the root namespace.
    pub const SECRET: &'static str = "cacerts";
    /// Istio's Secret for an authority of its own, with `ca-cert.pem` and `ca-key.pem` alone.
    pub const OWN_SECRET: &'static str = "istio-ca-secret";

    /// An intermediate under a root.
    pub fn under(root: &Authority, intermediate: &Authority) -> Self {
        Self {
            ca_cert: intermediate.certificate().to_owned(),
            ca_key: intermediate.key(),
            root_cert: root.certificate().to_owned(),
            cert_chain: format!("{}{}", intermediate.certificate(), root.certificate()),
        }
    }

    /// A root that signs workloads itself, as Istio makes one where nobody gives it any.
    pub fn alone(root: &Authority) -> Self {
        let certificate = root.certificate().to_owned();
        Self { ca_cert: certificate.clone(), ca_key: root.key(), root_cert: certificate, cert_chain: String::new() }
    }

    /// The texts of a Secret by their names; `None` = certificate or key is missing. Without `root-cert.pem` the authority is its own root.
    pub fn read(text: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let filled = |key| text(key).filter(|text| !text.trim().is_empty());
        let ca_cert = filled(Self::KEYS[0])?;
        let root_cert = filled(Self::KEYS[2]).unwrap_or_else(|| ca_cert.clone());
        Some(Self { ca_key: filled(Self::KEYS[1])?, root_cert, cert_chain: filled(Self::KEYS[3]).unwrap_or_default(), ca_cert })
    }

    /// The texts by their names, those that are there.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let texts = [self.ca_cert.as_str(), &self.ca_key, &self.root_cert, &self.cert_chain];
        Self::KEYS.into_iter().zip(texts).filter(|(_, text)| !text.is_empty())
    }

    /// The authority that signs.
    pub(crate) fn authority(&self) -> Result<Authority, AuthorityError> {
        Authority::from_pem(&self.ca_cert, &self.ca_key)
    }
}

/// Without the key.
impl fmt::Debug for PluggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluggedIn").field("ca_cert", &self.ca_cert).field("root_cert", &self.root_cert).finish_non_exhaustive()
    }
}
