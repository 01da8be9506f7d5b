//! Secrets of type `kubernetes.io/service-account-token` get their token: what `istioctl create-remote-secret` and people who need a credential that does
//! not run out ask for (<https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets>).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{is_deleting, namespace, text};
use super::writer;
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::kinds::{SECRET, SERVICE_ACCOUNT};
use crate::registry::{Registry, Selector};

/// The annotation that names the account.
const ACCOUNT: &str = "/metadata/annotations/kubernetes.io~1service-account.name";
const TYPE: &str = "kubernetes.io/service-account-token";

/// Runs the controller until shutdown.
pub async fn run(cluster: Cluster, shutdown: CancellationToken) {
    let registry = cluster.registry().clone();
    let of_accounts = registry.clone();
    // An account that comes after its Secret, and one that goes, concern the Secrets that name it.
    let accounts = Source::new(&SERVICE_ACCOUNT, move |event| secrets_of(&of_accounts, namespace(&event.object)));
    let sources = vec![Source::itself(&SECRET), accounts];
    let secrets = registry.clone();
    drive("token-secrets", registry, sources, move |key| fill(&secrets, &cluster, key), shutdown).await;
}

fn secrets_of(registry: &Registry, namespace: &str) -> Vec<Key> {
    let (secrets, _) = registry.list(&SECRET, Some(namespace), &Selector::default());
    secrets.iter().filter(|secret| secret["type"] == TYPE).map(Key::of).collect()
}

fn fill(registry: &Registry, cluster: &Cluster, key: &Key) -> Result<Again, ApiError> {
    let Some(secret) = registry.find(&SECRET, &key.namespace, &key.name) else { return Ok(None) };
    if secret["type"] != TYPE || is_deleting(&secret) {
        return Ok(None);
    }
    let Some(account) = registry.find(&SERVICE_ACCOUNT, &key.namespace, text(&secret, ACCOUNT)) else {
        // As on Kubernetes, a token does not outlive its account; one that never had an account waits for it.
        if secret["data"]["token"].is_string() {
            registry.delete(&SECRET, &key.namespace, &key.name, &crate::registry::DeleteOptions::default())?;
        }
        return Ok(None);
    };
    let token =
        secret["data"]["token"].as_str().and_then(|text| STANDARD.decode(text).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    let uid = account["metadata"]["uid"].clone();
    let authority = cluster.authority();
    if token.is_some_and(|token| authority.authenticate(&token).is_some_and(|user| uid == user.uid.as_str())) {
        return Ok(None);
    }
    let token = authority.issue_bound(&key.namespace, text(&account, "/metadata/name"), Some(("Secret", &key.name)), None)?;
    let data = json!({
        "token": STANDARD.encode(token),
        "ca.crt": STANDARD.encode(authority.ca_pem()),
        "namespace": STANDARD.encode(&key.namespace),
    });
    registry.modify(&SECRET, &key.namespace, &key.name, &writer("token-controller"), |object| {
        let mut kept = object["data"].as_object().cloned().unwrap_or_default();
        kept.extend(data.as_object().cloned().unwrap_or_default());
        object["data"] = Value::Object(kept);
        object["metadata"]["annotations"]["kubernetes.io/service-account.uid"] = uid.clone();
        Ok(())
    })?;
    Ok(None)
}
