//! The mesh's root, kept in the state folder, and the intermediates under it that the clusters' control planes sign with.

use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use smov_pki::{Authority, AuthorityError, PluggedIn};

use super::state::{State, private_folder, unwritable, write_private};
use super::up::chain;
use crate::failure::{Exit, Failure};
use crate::text;

/// Istio's `O=` of certificates.
const ORGANIZATION: &str = "smov";

/// The root.
pub(crate) struct Root {
    authority: Authority,
    /// Was it made just now? Then nothing that is signed by another one is of use.
    pub(crate) is_new: bool,
}

impl Root {
    /// Reads it from the state folder, or makes it.
    pub(crate) fn open(state: &State) -> Result<Self, Failure> {
        Self::open_in(&state.folder().join("ca"))
    }

    fn open_in(folder: &Path) -> Result<Self, Failure> {
        let (certificate, key) = (folder.join("root.crt"), folder.join("root.key"));
        let broken = |error: AuthorityError| {
            Failure::new(Exit::Usage, text::ROOT_BROKEN, &[&folder.display(), &chain(&error)])
                .hint(text::ROOT_BROKEN_HINT, &[&folder.display()])
        };
        let unreadable = |path: &Path, error: &std::io::Error| {
            Failure::new(Exit::Usage, text::ROOT_BROKEN, &[&folder.display(), &format!("{}: {error}", path.display())])
                .hint(text::ROOT_BROKEN_HINT, &[&folder.display()])
        };
        // Only where there is no key there is no root yet. A key that is there, in whatever state, is never written over.
        match std::fs::read_to_string(&key) {
            Ok(key) => {
                let certificate = std::fs::read_to_string(&certificate).map_err(|error| unreadable(&certificate, &error))?;
                return Ok(Self { authority: Authority::from_pem(&certificate, &key).map_err(broken)?, is_new: false });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&key, &error)),
        }
        let authority = Authority::root(ORGANIZATION, SystemTime::now()).map_err(broken)?;
        private_folder(folder).map_err(|error| unwritable(folder, &error))?;
        // The key last: a certificate alone is made again.
        for (path, content) in [(&certificate, authority.certificate()), (&key, &authority.key())] {
            write_private(path, content).map_err(|error| unwritable(path, &error))?;
        }
        Ok(Self { authority, is_new: true })
    }

    /// The Secret that a cluster's istiod signs with, under a new intermediate.
    pub(crate) fn secret(&self, cluster: &str) -> Result<Value, AuthorityError> {
        let intermediate = self.authority.intermediate(ORGANIZATION, cluster, SystemTime::now())?;
        let plugged_in = PluggedIn::under(&self.authority, &intermediate);
        let data: serde_json::Map<String, Value> =
            plugged_in.texts().map(|(name, text)| (name.to_owned(), Value::from(STANDARD.encode(text)))).collect();
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": PluggedIn::SECRET, "namespace": "istio-system"},
            "data": data,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_stays_the_same_and_its_key_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("ca");
        let first = Root::open_in(&place).unwrap();
        let again = Root::open_in(&place).unwrap();
        assert!(first.is_new && !again.is_new);
        let root = |root: &Root| root.secret("ctx1").unwrap()["data"]["root-cert.pem"].clone();
        assert_eq!(root(&first), root(&again));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join("root.key"))), (0o700, 0o600));
    }

    #[test]
    fn a_root_that_cannot_be_read_is_refused_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("root.crt"), folder.path().join("root.key"));
        let open = || Root::open_in(folder.path());
        let refused = |what: &str| {
            let failure = open().err().unwrap_or_else(|| panic!("{what}"));
            let said = format!("{failure:?}");
            assert!(said.contains("cannot be read") && said.contains("put its files back"), "{what}: {said}");
        };
        drop(open().unwrap());
        let good = std::fs::read(&key).unwrap();
        for (what, bytes) in [("nonsense", b"nonsense".to_vec()), ("no text", [&good[..], &[0xff]].concat()), ("nothing", Vec::new())] {
            std::fs::write(&key, &bytes).unwrap();
            refused(what);
            assert_eq!(std::fs::read(&key).unwrap(), bytes, "{what}");
        }
        std::fs::remove_file(&key).unwrap();
        std::fs::create_dir(&key).unwrap();
        refused("a folder");
        std::fs::remove_dir(&key).unwrap();
        // The certificate is gone and its key is not: whoever has the certificate may put it back.
        std::fs::write(&key, &good).unwrap();
        std::fs::rename(&certificate, folder.path().join("kept")).unwrap();
        refused("no certificate");
        assert_eq!(std::fs::read(&key).unwrap(), good);
        std::fs::rename(folder.path().join("kept"), &certificate).unwrap();
        assert!(!open().unwrap().is_new);
        // A certificate without a key is a beginning that was broken off.
        std::fs::remove_file(&key).unwrap();
        assert!(open().unwrap().is_new);
    }

    #[test]
    fn a_control_plane_can_sign_with_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secret = Root::open_in(folder.path()).unwrap().secret("ctx2").unwrap();
        let text = |name: &str| String::from_utf8(STANDARD.decode(secret["data"][name].as_str()?).ok()?).ok();
        let plugged_in = PluggedIn::read(text).unwrap();
        assert!(smov_pki::Signer::new(&plugged_in, SystemTime::now()).is_ok());
    }
}
