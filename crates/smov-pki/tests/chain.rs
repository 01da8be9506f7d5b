//! What this crate writes, read by openssl: chains, names, uses, ends. Without openssl on the machine these tests say so and pass.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PublicKeyData};
use smov_model::tls::SpiffeId;
use smov_pki::{Authority, PluggedIn, PublicKey, Signed, Signer, SignerError};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

fn identity() -> SpiffeId {
    "spiffe://cluster.local/ns/theater-msa/sa/user-service".parse().unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// Runs openssl; its output and whether it was content. `None` = there is none.
fn openssl(arguments: &[&str], folder: &Path) -> Option<(bool, String)> {
    let run = Command::new("openssl").args(arguments).current_dir(folder).output();
    let Ok(output) = run else {
        eprintln!("skipped: there is no openssl on this machine");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

fn key() -> (KeyPair, PublicKey) {
    let pair = KeyPair::generate().unwrap();
    let public = PublicKey::try_from(pair.der_bytes()).unwrap();
    (pair, public)
}

fn mesh() -> (Authority, PluggedIn) {
    let root = Authority::root("smov", now()).unwrap();
    let intermediate = root.intermediate("smov", "ctx1", now()).unwrap();
    let plugged_in = PluggedIn::under(&root, &intermediate);
    (root, plugged_in)
}

fn write(folder: &TempDir, signed: &Signed, roots: &str) {
    std::fs::write(folder.path().join("chain.pem"), &signed.chain).unwrap();
    std::fs::write(folder.path().join("roots.pem"), roots).unwrap();
}

fn verifies(signed: &Signed, roots: &str) -> Option<bool> {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, signed, roots);
    let (good, text) = openssl(
        &["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "roots.pem", "-untrusted", "chain.pem", "chain.pem"],
        folder.path(),
    )?;
    assert_eq!(good, text.contains("chain.pem: OK"), "{text}");
    Some(good)
}

#[test]
fn a_workload_chains_to_the_root_through_its_clusters_intermediate() {
    let (_, plugged_in) = mesh();
    let signer = Signer::new(&plugged_in, now()).unwrap();
    let (_, public) = key();
    let signed = signer.sign(&public, &identity(), HOUR, now()).unwrap();
    assert_eq!(signed.chain.matches("BEGIN CERTIFICATE").count(), 2, "its own and the intermediate, without the root");
    assert_eq!(signer.roots(), plugged_in.root_cert);
    let Some(good) = verifies(&signed, signer.roots()) else { return };
    assert!(good);
    let (other, _) = mesh();
    assert_eq!(verifies(&signed, other.certificate()), Some(false), "another mesh's root");
}

#[test]
fn its_certificate_says_what_istios_does() {
    let (_, plugged_in) = mesh();
    let signer = Signer::new(&plugged_in, now()).unwrap();
    let (pair, public) = key();
    let signed = signer.sign(&public, &identity(), HOUR, now()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&folder, &signed, signer.roots());
    let Some((_, text)) = openssl(&["x509", "-in", "chain.pem", "-noout", "-text"], folder.path()) else { return };
    let said = |words: &str| assert!(text.contains(words), "`{words}` in {text}");
    said("Subject: \n");
    said("X509v3 Subject Alternative Name: critical\n                URI:spiffe://cluster.local/ns/theater-msa/sa/user-service\n");
    said("Digital Signature, Key Encipherment");
    said("TLS Web Server Authentication, TLS Web Client Authentication");
    said("X509v3 Basic Constraints: critical\n                CA:FALSE");
    said("X509v3 Authority Key Identifier");
    said("Issuer: O = smov, CN = Intermediate CA, L = ctx1");
    let (_, public_pem) = openssl(&["x509", "-in", "chain.pem", "-noout", "-pubkey"], folder.path()).unwrap();
    assert_eq!(public_pem.replace('\n', ""), pair.public_key_pem().replace(['\n', '\r'], ""));
    // Two minutes of skew, one hour of life.
    let (still, _) = openssl(&["x509", "-in", "chain.pem", "-noout", "-checkend", "3500"], folder.path()).unwrap();
    let (longer, _) = openssl(&["x509", "-in", "chain.pem", "-noout", "-checkend", "3700"], folder.path()).unwrap();
    assert_eq!((still, longer), (true, false));
}

#[test]
fn a_certificate_never_outlives_its_authority() {
    let (root, _) = mesh();
    let ten_years = Duration::from_secs(10 * 365 * 24 * 3600);
    let signer = Signer::new(&PluggedIn::alone(&root), now()).unwrap();
    let (_, public) = key();
    let late = now() + ten_years - HOUR;
    let signed = signer.sign(&public, &identity(), 24 * HOUR, late).unwrap();
    assert_eq!(signed.expires, root.expires());
    let error = signer.sign(&public, &identity(), HOUR, now() + ten_years + HOUR).unwrap_err();
    assert!(matches!(error, SignerError::Expired), "{error}");
}

#[test]
fn an_authority_reads_back_as_it_was_written() {
    let (root, plugged_in) = mesh();
    let again = Authority::from_pem(root.certificate(), &root.key()).unwrap();
    let other = again.intermediate("smov", "ctx2", now()).unwrap();
    let signer = Signer::new(&PluggedIn { root_cert: plugged_in.root_cert, ..PluggedIn::under(&again, &other) }, now()).unwrap();
    assert_eq!(signer.expires(), other.expires());
}

#[test]
fn two_roots_are_trusted_while_one_is_being_changed() {
    let ((old, _), (_, mut new)) = (mesh(), mesh());
    new.root_cert = format!("{}{}", old.certificate(), new.root_cert);
    let signer = Signer::new(&new, now()).unwrap();
    assert_eq!(signer.roots().matches("BEGIN CERTIFICATE").count(), 2);
    let (_, public) = key();
    let signed = signer.sign(&public, &identity(), HOUR, now()).unwrap();
    assert_ne!(verifies(&signed, signer.roots()), Some(false));
}

#[test]
fn what_nobody_would_believe_is_refused_at_once() {
    let ((other, _), (_, good)) = (mesh(), mesh());
    let refused = |plugged_in: PluggedIn| Signer::new(&plugged_in, now()).unwrap_err().to_string();
    assert!(refused(PluggedIn { root_cert: other.certificate().to_owned(), ..good.clone() }).contains("does not lead to a root"));
    assert!(refused(PluggedIn { ca_key: other.key(), ..good.clone() }).contains("does not lead to a root"));
    assert!(refused(PluggedIn { ca_key: "nonsense".to_owned(), ..good.clone() }).contains("key"));
    assert!(refused(PluggedIn { ca_cert: "nonsense".to_owned(), ..good.clone() }).contains("no certificate in PEM"));
    assert!(refused(PluggedIn { root_cert: String::new(), ..good }).contains("root-cert.pem"));
}

#[test]
fn an_authority_made_by_openssl_signs_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let made = [
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /C=KR/O=Theater/CN=Root -keyout root.key -out root.pem -addext keyUsage=critical,keyCertSign",
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=Theater/L=ctx1/CN=Intermediate -keyout ca.key -out ca.csr",
        "x509 -req -in ca.csr -CA root.pem -CAkey root.key -CAcreateserial -days 20 -extfile ext -out ca.pem",
    ];
    std::fs::write(
        folder.path().join("ext"),
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    )
    .unwrap();
    for line in made {
        let Some((good, text)) = openssl(&line.split(' ').collect::<Vec<_>>(), folder.path()) else { return };
        assert!(good, "{line}: {text}");
    }
    for plugged_in in [
        PluggedIn { ca_cert: at("ca.pem"), ca_key: at("ca.key"), root_cert: at("root.pem"), cert_chain: String::new() },
        PluggedIn { ca_cert: at("root.pem"), ca_key: at("root.key"), root_cert: at("root.pem"), cert_chain: String::new() },
    ] {
        let signer = Signer::new(&plugged_in, now()).unwrap();
        let (_, public) = key();
        let signed = signer.sign(&public, &identity(), HOUR, now()).unwrap();
        assert_eq!(verifies(&signed, signer.roots()), Some(true));
    }
}

#[test]
fn a_key_that_is_no_point_is_refused() {
    for bytes in [&[4; 64][..], &[4; 66], &[2; 65], &[]] {
        assert!(PublicKey::try_from(bytes).is_err());
    }
}
