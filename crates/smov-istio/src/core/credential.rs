//! Secrets with certificates, as `credentialName` names them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What a Secret holds: of Kubernetes' type `kubernetes.io/tls` (`tls.crt`, `tls.key`, `ca.crt`), or with Istio's own keys (`cert`, `key`,
/// `cacert`) (<https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats>). PEM; empty where it has none.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The certificate chain.
    pub certificate: String,
    /// Its key.
    pub private_key: String,
    /// Whom to trust.
    pub roots: String,
}

/// Without the key.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("certificate", &self.certificate).field("roots", &self.roots).finish_non_exhaustive()
    }
}

impl Credential {
    /// What a Secret holds; `None` = nothing of this.
    pub(crate) fn read(secret: &Value) -> Option<Self> {
        let text = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| secret.get("data")?.get(name)?.as_str());
            found.and_then(|value| String::from_utf8(STANDARD.decode(value).ok()?).ok()).unwrap_or_default()
        };
        let credential =
            Self { certificate: text(["tls.crt", "cert"]), private_key: text(["tls.key", "key"]), roots: text(["ca.crt", "cacert"]) };
        let holds = !credential.roots.is_empty() || !credential.certificate.is_empty() && !credential.private_key.is_empty();
        holds.then_some(credential)
    }
}
