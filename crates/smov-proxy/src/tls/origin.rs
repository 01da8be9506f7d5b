//! TLS that a rule describes in full: `SIMPLE` and `MUTUAL`. Files are read when the snapshot that names them comes into use.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use rustls::client::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ALL_VERSIONS, RootCertStore};
use smov_model::tls::{ClientCertificate, OriginTls, Roots};

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

/// How such a cluster is called; the reason where it cannot be.
pub(super) fn configure(origin: &OriginTls) -> Result<ClientConfig, String> {
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
