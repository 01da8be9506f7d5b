//! Every namespace has a ConfigMap `kube-root-ca.crt`: what the API server is checked against.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{is_deleting, name, namespace};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{CONFIG_MAP, NAMESPACE};
use crate::registry::Registry;

const NAME: &str = "kube-root-ca.crt";
const ABOUT: &str = "Holds the certificate that this cluster's API server is checked against.";

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let changed = Source::new(&CONFIG_MAP, |event| {
        (name(&event.object) == NAME).then(|| Key::new("", namespace(&event.object))).into_iter().collect()
    });
    let maps = registry.clone();
    drive("root-ca-cert-publisher", registry, vec![Source::itself(&NAMESPACE), changed], move |key| ensure(&maps, key), shutdown).await;
}

fn ensure(registry: &Registry, key: &Key) -> Result<Again, ApiError> {
    let (Some(certificate), Ok(namespace)) = (registry.root_certificate(), registry.get(&NAMESPACE, "", &key.name)) else {
        return Ok(None);
    };
    if is_deleting(&namespace) {
        return Ok(None);
    }
    let wanted = json!({ "ca.crt": certificate });
    let options = writer("root-ca-cert-publisher");
    if let Some(present) = registry.find(&CONFIG_MAP, &key.name, NAME) {
        if present["data"] != wanted && present["metadata"]["deletionTimestamp"].is_null() {
            registry.modify(&CONFIG_MAP, &key.name, NAME, &options, |object| {
                object["data"] = wanted.clone();
                Ok(())
            })?;
        }
        return Ok(None);
    }
    let map: Value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": NAME, "namespace": key.name, "annotations": { "kubernetes.io/description": ABOUT } },
        "data": wanted,
    });
    match registry.create(map, &options) {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(None),
    }
}
