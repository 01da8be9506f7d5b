//! An authority: a certificate that may sign others, with its key.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::facts::{Facts, facts};

/// How long roots and intermediates are valid, Istio's default.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Istio's `ClockSkewGracePeriod`: certificates are valid from so long before they are made.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(2 * 60);

/// A certificate that may sign others, with its key.
pub struct Authority {
    certificate: String,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// Seconds since 1970.
    pub(crate) not_after: u64,
}

/// An authority that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificate is no PEM.
    #[error("there is no certificate in PEM")]
    NoCertificate,
    /// Its certificate is not what it should be.
    #[error("the certificate cannot be read: {0} is expected")]
    Unreadable(&'static str),
    /// Its key.
    #[error("the key cannot be used; hint: keys are read as PEM in PKCS #8, of P-256, P-384, RSA or Ed25519")]
    Key(#[source] rcgen::Error),
    /// rcgen could not make it.
    #[error("the certificate cannot be made")]
    Unmade(#[source] rcgen::Error),
}

impl Authority {
    /// A new root, ECDSA P-256, for ten years. `organization` is Istio's `O=`.
    pub fn root(organization: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let params =
            params(&[(DnType::OrganizationName, organization), (DnType::CommonName, "Root CA")], BasicConstraints::Unconstrained, now)?;
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        let certificate = params.self_signed(&key).map_err(AuthorityError::Unmade)?.pem();
        Self::from_pem(&certificate, &key.serialize_pem())
    }

    /// A new intermediate for a cluster; it signs workloads and nothing else.
    pub fn intermediate(&self, organization: &str, cluster: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let names = [(DnType::OrganizationName, organization), (DnType::CommonName, "Intermediate CA"), (DnType::LocalityName, cluster)];
        let mut params = params(&names, BasicConstraints::Constrained(0), now)?;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Unmade)?.pem();
        Self::from_pem(&certificate, &key.serialize_pem())
    }

    /// An authority as it was written down.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let der =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).next().and_then(Result::ok).ok_or(AuthorityError::NoCertificate)?;
        let Facts { subject, not_after, key_identifier } = facts(&der).map_err(AuthorityError::Unreadable)?;
        let key = KeyPair::from_pem(key.trim()).map_err(AuthorityError::Key)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(AuthorityError::Unmade)?;
        params.distinguished_name = subject;
        params.key_identifier_method = key_identifier.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { certificate: certificate.to_owned(), issuer: Issuer::new(params, key), not_after })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, PEM in PKCS #8.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The end of its certificate, seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.not_after
    }
}

/// Without the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

fn params(names: &[(DnType, &str)], constraints: BasicConstraints, now: SystemTime) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(AuthorityError::Unmade)?;
    params.distinguished_name = DistinguishedName::new();
    for (kind, name) in names {
        params.distinguished_name.push(kind.clone(), *name);
    }
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now - CLOCK_SKEW, now + LIFETIME);
    Ok(params)
}

/// Sets the validity, in whole seconds.
pub(crate) fn valid(params: &mut CertificateParams, from: SystemTime, until: SystemTime) {
    let seconds = |time: SystemTime| Duration::from_secs(seconds_since_1970(time));
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + seconds(from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + seconds(until);
}

pub(crate) fn seconds_since_1970(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
