//! The mesh's root, kept in the state folder, and the intermediates under it that the clusters' control planes sign with.

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
        if let (Ok(certificate), Ok(key)) = (std::fs::read_to_string(&certificate), std::fs::read_to_string(&key)) {
            return Ok(Self { authority: Authority::from_pem(&certificate, &key).map_err(broken)?, is_new: false });
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
        std::fs::write(place.join("root.key"), "nonsense").unwrap();
        let failure = Root::open_in(&place).err().unwrap();
        assert!(format!("{failure:?}").contains("ca"), "{failure:?}");
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
