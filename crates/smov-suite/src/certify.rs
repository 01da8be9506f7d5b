//! The authority of a case: every proxy has a certificate, as its control plane would give it, or the wrong one that the case asks for.

use std::time::{Duration, SystemTime};

use smov_model::tls::{DEFAULT_TRUST_DOMAIN, SpiffeId};
use smov_pki::{Authority, PluggedIn, PublicKey, Signer};
use smov_proxy::Certificates;

use crate::case::CertificateCase;
use crate::stage::StagePod;

/// As long as any case.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The mesh's authority, and one that the mesh does not know.
#[derive(Debug)]
pub(crate) struct Issuers {
    mesh: Signer,
    stranger: Signer,
    trust_domain: String,
}

/// A certificate that a case asks for and that cannot be made.
fn wrong(error: impl std::fmt::Display) -> String {
    format!("certificate: {error}")
}

impl Issuers {
    pub(crate) fn new(trust_domain: Option<&str>) -> Result<Self, String> {
        let now = SystemTime::now();
        let signer = |name: &str| {
            let root = Authority::root(name, now).map_err(wrong)?;
            let intermediate = root.intermediate(name, "ctx1", now).map_err(wrong)?;
            Signer::new(&PluggedIn::under(&root, &intermediate), now).map_err(wrong)
        };
        let trust_domain = trust_domain.unwrap_or(DEFAULT_TRUST_DOMAIN).to_owned();
        Ok(Self { mesh: signer("mesh")?, stranger: signer("stranger")?, trust_domain })
    }

    /// Gives a pod's proxy what it shows to others.
    pub(crate) fn give(&self, pod: &StagePod, certificates: &Certificates) -> Result<(), String> {
        let CertificateCase { none, stranger, identity, lifetime } = &pod.certificate;
        if *none {
            return Ok(());
        }
        let identity = match identity {
            Some(identity) => identity.parse().map_err(wrong)?,
            None => SpiffeId {
                trust_domain: self.trust_domain.as_str().into(),
                namespace: pod.namespace.parse().map_err(wrong)?,
                service_account: pod.service.parse().map_err(wrong)?,
            },
        };
        let signer = if *stranger { &self.stranger } else { &self.mesh };
        let asked = certificates.request().map_err(wrong)?;
        let key = PublicKey::try_from(from_base64(&asked).as_slice()).map_err(wrong)?;
        let lifetime = lifetime.map_or(LIFETIME, |lifetime| lifetime.0);
        let signed = signer.sign(&key, &identity, lifetime, SystemTime::now()).map_err(wrong)?;
        // A stranger believes the mesh; the mesh does not believe the stranger.
        let roots = if *stranger { format!("{}{}", self.mesh.roots(), self.stranger.roots()) } else { self.mesh.roots().to_owned() };
        certificates.take(&signed.chain, &roots).map_err(wrong)
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}
