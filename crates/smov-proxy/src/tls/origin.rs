//! TLS that a rule describes in full: `SIMPLE` and `MUTUAL`. Files are read when the snapshot that names them comes into use, and again when they have changed.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ALL_VERSIONS, RootCertStore};
use smov_model::tls::{ClientCertificate, OriginTls, Roots};

use tracing::warn;

use super::issued::{certificates, sessions, trust};
use super::provider;
use super::verify::{Names, ServerVerifier};

/// The largest file of certificates that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where systems keep the certificates that they trust.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How such a cluster is called, by its files as they are.
#[derive(Debug)]
pub(super) struct Kept {
    origin: OriginTls,
    current: ArcSwap<Current>,
}

/// What was read last.
#[derive(Debug)]
pub(super) struct Current {
    /// What the files looked like when this was tried.
    looked: u64,
    /// What they looked like when `config` was read: another number, other certificates.
    pub(super) number: u64,
    /// The reason where the rule cannot be followed.
    pub(super) config: Result<Arc<ClientConfig>, String>,
}

impl Kept {
    pub(super) fn new(origin: &OriginTls) -> Self {
        let number = look(origin);
        let config = configure(origin).map(Arc::new);
        Self { origin: origin.clone(), current: ArcSwap::from_pointee(Current { looked: number, number, config }) }
    }

    /// Looks at the files, without reading any that has not changed. Until new ones can be used, the last that could are.
    pub(super) fn current(&self) -> Arc<Current> {
        let known = self.current.load_full();
        let looked = look(&self.origin);
        if looked == known.looked {
            return known;
        }
        let next = match (configure(&self.origin), &known.config) {
            (Err(reason), Ok(last)) => {
                warn!(%reason, "changed certificates cannot be used: the last ones stay");
                Current { looked, number: known.number, config: Ok(last.clone()) }
            }
            (config, _) => Current { looked, number: looked, config: config.map(Arc::new) },
        };
        let next = Arc::new(next);
        self.current.store(next.clone());
        next
    }
}

/// A number for how the files look from outside; a file that was replaced looks different.
fn look(origin: &OriginTls) -> u64 {
    let roots = match &origin.roots {
        Roots::File(path) => Some(path),
        Roots::System | Roots::Pem(_) | Roots::Anybody => None,
    };
    let own = match &origin.client {
        Some(ClientCertificate::Files { certificate, private_key }) => vec![certificate, private_key],
        Some(ClientCertificate::Pem { .. }) | None => Vec::new(),
    };
    let mut hasher = DefaultHasher::new();
    for path in roots.into_iter().chain(own) {
        let about = std::fs::metadata(path).ok();
        about.map(|about| (about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec())).hash(&mut hasher);
    }
    hasher.finish()
}

/// How such a cluster is called; the reason where it cannot be.
fn configure(origin: &OriginTls) -> Result<ClientConfig, String> {
    let roots = match &origin.roots {
        Roots::System => Some(system()?),
        Roots::File(path) => Some(roots(&read(path)?).map_err(|reason| format!("{path}: {reason}"))?),
        Roots::Pem(pem) => Some(roots(pem)?),
        Roots::Anybody => None,
    };
    let names = if origin.subject_alt_names.is_empty() { Names::Any } else { Names::OneOf(origin.subject_alt_names.clone()) };
    let builder =
        ClientConfig::builder_with_provider(provider().clone()).with_protocol_versions(ALL_VERSIONS).map_err(|error| error.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(ServerVerifier { roots, names }));
    let mut config = match &origin.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = match client {
                ClientCertificate::Files { certificate, private_key } => (read(certificate)?, read(private_key)?),
                ClientCertificate::Pem { certificate, private_key } => (certificate.clone(), private_key.clone()),
            };
            let chain = certificates(&chain).ok_or("the client's certificate is not PEM")?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "the client's key is not PEM")?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
    };
    config.resumption = sessions();
    Ok(config)
}

/// A file's text. What a rule names may be anything: a device or a pipe would never end.
fn read(path: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{path}: {}", crate::upstream::plain(&error));
    let about = std::fs::metadata(path).map_err(told)?;
    if !about.is_file() {
        return Err(format!("{path}: not a plain file"));
    }
    if about.len() > MAX_FILE {
        return Err(format!("{path}: larger than {MAX_FILE} bytes"));
    }
    let mut text = String::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)).map_err(told)?;
    Ok(text)
}

fn roots(pem: &str) -> Result<Arc<RootCertStore>, String> {
    let certificates = certificates(pem).ok_or("no PEM certificates")?;
    trust(certificates).map(Arc::new).map_err(|error| error.to_string())
}

/// The system's, read once. Those among them that rustls cannot read are left out.
fn system() -> Result<Arc<RootCertStore>, String> {
    static SYSTEM: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    let found = SYSTEM.get_or_init(|| {
        let named = std::env::var("SSL_CERT_FILE").ok();
        let pem = named.iter().map(String::as_str).chain(BUNDLES).find_map(|path| std::fs::read_to_string(path).ok())?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates(&pem)?);
        (!store.is_empty()).then(|| Arc::new(store))
    });
    found
        .clone()
        .ok_or_else(|| format!("this system has no certificates that it trusts in {} (SSL_CERT_FILE names others)", BUNDLES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_files_are_read_again_and_broken_ones_leave_the_last_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let place = |name: &str, text: &str| {
            let fresh = path("fresh");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, path(name)).unwrap();
        };
        let issue = || {
            let made = rcgen::generate_simple_self_signed(vec!["caller.example".to_owned()]).unwrap();
            place("cert.pem", &made.cert.pem());
            place("key.pem", &made.signing_key.serialize_pem());
        };
        let client = ClientCertificate::Files { certificate: path("cert.pem"), private_key: path("key.pem") };
        let kept = Kept::new(&OriginTls { roots: Roots::Anybody, client: Some(client), ..OriginTls::default() });
        assert!(kept.current().config.as_ref().unwrap_err().contains("cert.pem"), "not there yet");

        issue();
        let first = kept.current();
        assert!(first.config.is_ok(), "there now: {:?}", first.config.as_ref().err());
        assert!(Arc::ptr_eq(&first, &kept.current()), "the same files are not read again");

        place("cert.pem", "no certificate");
        let broken = kept.current();
        assert_eq!(broken.number, first.number);
        assert!(Arc::ptr_eq(broken.config.as_ref().unwrap(), first.config.as_ref().unwrap()), "the last ones stay");

        issue();
        let second = kept.current();
        assert_ne!(second.number, first.number);
        assert!(second.config.is_ok());
    }
}
