//! Certificates of workloads: an identity for a key, under the authority of a cluster.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use smov_model::tls::SpiffeId;

use crate::authority::{Authority, AuthorityError, CLOCK_SKEW, seconds_since_1970, valid};
use crate::plugged_in::PluggedIn;

/// Signs workloads for one cluster.
#[derive(Debug)]
pub struct Signer {
    authority: Authority,
    /// What follows a workload's own certificate, up to and without the roots, PEM.
    chain: String,
    roots: String,
}

/// An authority under which nobody would believe a workload.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// It cannot be read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The roots cannot be read.
    #[error("there is no certificate in `root-cert.pem` that can be a root")]
    NoRoots,
    /// A certificate that it signs does not lead to a root: key and certificate do not belong together, the chain has a gap, or something is
    /// out of date.
    #[error("a certificate that it signs does not lead to a root of `root-cert.pem`: {0}")]
    LeadsNowhere(String),
    /// Its own certificate has ended.
    #[error("the authority's certificate has expired")]
    Expired,
    /// rcgen could not make it.
    #[error("the certificate cannot be made")]
    Unmade(#[source] rcgen::Error),
}

/// A public key of P-256: a point that lies on the curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 65]);

/// Bytes that are no uncompressed point on P-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key is an uncompressed point on P-256: 65 bytes that begin with 4")]
pub struct InvalidKey;

impl TryFrom<&[u8]> for PublicKey {
    type Error = InvalidKey;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let bytes: [u8; 65] = bytes.try_into().map_err(|_| InvalidKey)?;
        // ring looks at a point when it agrees on a secret with it (uncompressed, coordinates in the field, on the curve); the secret is of no use.
        let agreed = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())
            .and_then(|own| agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P256, bytes), |_| ()));
        agreed.map(|()| Self(bytes)).map_err(|_| InvalidKey)
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A workload's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// With what is between it and a root, PEM.
    pub chain: String,
    /// Its end, seconds since 1970.
    pub expires: u64,
}

impl Signer {
    /// An authority that workloads are signed with. What it signs is checked once here, so that a mistake shows before anybody relies on it.
    pub fn new(plugged_in: &PluggedIn, now: SystemTime) -> Result<Self, SignerError> {
        let authority = plugged_in.authority()?;
        let roots = certificates(&plugged_in.root_cert);
        let above = certificates(&plugged_in.cert_chain);
        // Without `cert-chain.pem`, or with one that begins above it, the authority's own certificate is the first.
        let own = certificates(&plugged_in.ca_cert);
        let missing = own.first().filter(|own| !above.contains(own)).cloned();
        let chain: Vec<_> = missing.into_iter().chain(above).filter(|one| !roots.contains(one)).collect();
        let signer =
            Self { authority, chain: chain.iter().map(|one| pem("CERTIFICATE", one)).collect(), roots: plugged_in.root_cert.clone() };
        signer.try_out(&roots, &chain, now)?;
        Ok(signer)
    }

    fn try_out(&self, roots: &[CertificateDer<'static>], chain: &[CertificateDer<'static>], now: SystemTime) -> Result<(), SignerError> {
        let key = KeyPair::generate().map_err(SignerError::Unmade)?;
        let params =
            self.params(SanType::URI(Ia5String::try_from("spiffe://try/ns/it/sa/out").map_err(SignerError::Unmade)?), CLOCK_SKEW, now)?;
        let certificate = params.0.signed_by(&key, &self.authority.issuer).map_err(SignerError::Unmade)?;
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(roots.iter().cloned());
        if usable == 0 {
            return Err(SignerError::NoRoots);
        }
        let nowhere = |error: &dyn std::fmt::Display| SignerError::LeadsNowhere(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build().map_err(|error| nowhere(&error))?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds_since_1970(now)));
        verifier.verify_client_cert(certificate.der(), chain, time).map_err(|error| nowhere(&error))?;
        Ok(())
    }

    /// A workload's certificate, valid for `lifetime` or as long as the authority itself is.
    pub fn sign(&self, key: &PublicKey, identity: &SpiffeId, lifetime: Duration, now: SystemTime) -> Result<Signed, SignerError> {
        let uri = SanType::URI(Ia5String::try_from(identity.to_string().as_str()).map_err(SignerError::Unmade)?);
        let (params, expires) = self.params(uri, lifetime, now)?;
        let certificate = params.signed_by(key, &self.authority.issuer).map_err(SignerError::Unmade)?;
        Ok(Signed { chain: certificate.pem() + &self.chain, expires })
    }

    /// As Istio's: no subject, so that the identity is critical; for both sides of a connection.
    fn params(&self, name: SanType, lifetime: Duration, now: SystemTime) -> Result<(CertificateParams, u64), SignerError> {
        let end = seconds_since_1970(now + lifetime).min(self.authority.not_after);
        if end <= seconds_since_1970(now) {
            return Err(SignerError::Expired);
        }
        let mut params = CertificateParams::new(Vec::new()).map_err(SignerError::Unmade)?;
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![name];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let mut serial: [u8; 16] = rand::random();
        // Positive, and without leading zeros.
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        valid(&mut params, now - CLOCK_SKEW, SystemTime::UNIX_EPOCH + Duration::from_secs(end));
        Ok((params, end))
    }

    /// Whom everybody trusts, PEM.
    pub fn roots(&self) -> &str {
        &self.roots
    }

    /// The end of the authority's own certificate, seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.authority.not_after
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect()
}

/// PEM with lines of 64 letters.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_lies_on_the_curve() {
        let key = KeyPair::generate().unwrap();
        let point = key.der_bytes();
        assert_eq!(PublicKey::try_from(point).unwrap().der_bytes(), point);
        let changed = |place: usize, byte: u8| {
            let mut point = point.to_vec();
            point[place] = byte;
            point
        };
        // Beside the curve, a coordinate outside the field, other forms, and other lengths.
        let beside = changed(64, point[64] ^ 1);
        let outside = [&[4], &[0xff; 32][..], &point[33..]].concat();
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        let nowhere = [&[4], &[0; 64][..]].concat();
        for bad in [
            beside,
            outside,
            nowhere,
            compressed,
            changed(0, 2),
            changed(0, 6),
            point[..64].to_vec(),
            [point, &[0]].concat(),
            Vec::new(),
            vec![0],
        ] {
            assert_eq!(PublicKey::try_from(&bad[..]), Err(InvalidKey), "{bad:?}");
        }
    }
}
