//! A mesh's authority, for certificates of Envoys and of strangers.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PublicKeyData};
use smov_pki::{Authority, PluggedIn, PublicKey, Signer};
use smov_proxy::IssuedPem;

pub struct Mesh {
    signer: Signer,
}

impl Mesh {
    pub fn new() -> Self {
        let root = Authority::root("test", SystemTime::now()).unwrap();
        let intermediate = root.intermediate("test", "ctx1", SystemTime::now()).unwrap();
        Self { signer: Signer::new(&PluggedIn::under(&root, &intermediate), SystemTime::now()).unwrap() }
    }

    /// A certificate with its key for an identity.
    pub fn issue(&self, identity: &str) -> IssuedPem {
        let key = KeyPair::generate().unwrap();
        let public = PublicKey::try_from(key.der_bytes()).unwrap();
        let signed = self.signer.sign(&public, &identity.parse().unwrap(), Duration::from_secs(3600), SystemTime::now()).unwrap();
        IssuedPem {
            chain: signed.chain,
            private_key: key.serialize_pem(),
            roots: self.signer.roots().to_owned(),
            identity: identity.to_owned(),
            expires: signed.expires,
        }
    }
}

/// `spiffe://cluster.local/ns/t/sa/ACCOUNT`.
pub fn identity(account: &str) -> String {
    format!("spiffe://cluster.local/ns/t/sa/{account}")
}
