//! A mesh's authority for tests: one root, one intermediate, whatever leaves a test wants.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use smov_proxy::Certificates;

/// A root and an intermediate below it.
pub struct Authority {
    root: rcgen::Certificate,
    intermediate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A public key as proxies send it.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A workload's certificate: valid from long ago until far away, no subject, one identity.
fn workload(identity: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// `spiffe://cluster.local/ns/t/sa/ACCOUNT`.
pub fn identity(account: &str) -> String {
    format!("spiffe://cluster.local/ns/t/sa/{account}")
}

impl Authority {
    pub fn new() -> Self {
        let root_key = KeyPair::generate().unwrap();
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let root_params = authority(&format!("root {}", NUMBER.fetch_add(1, Relaxed)));
        let root = root_params.self_signed(&root_key).unwrap();
        let (params, key) = (authority("ctx1"), KeyPair::generate().unwrap());
        let intermediate = params.signed_by(&key, &Issuer::new(root_params, root_key)).unwrap();
        Self { root, intermediate, issuer: Issuer::new(params, key) }
    }

    pub fn roots(&self) -> String {
        self.root.pem()
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    /// A chain for a proxy's key.
    pub fn certify(&self, public_key: &str, identity: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        let point = Point(BASE64_STANDARD.decode(public_key).unwrap());
        assert_eq!((point.0.len(), point.0[0]), (65, 4), "an uncompressed point of P-256");
        let mut params = workload(identity);
        change(&mut params);
        params.signed_by(&point, &self.issuer).unwrap().pem() + &self.intermediate.pem()
    }

    /// Gives a proxy a certificate.
    pub fn issue(&self, certificates: &Certificates, identity: &str) {
        let chain = self.certify(&certificates.request().unwrap(), identity, |_| {});
        certificates.take(&chain, &self.roots()).unwrap();
    }

    /// A chain and key for somebody who is no proxy.
    pub fn leaf(
        &self,
        identity: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let (mut params, key) = (workload(identity), KeyPair::generate().unwrap());
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (vec![leaf.der().clone(), self.intermediate.der().clone()], key.into())
    }
}

/// Over since long ago.
pub fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
}
