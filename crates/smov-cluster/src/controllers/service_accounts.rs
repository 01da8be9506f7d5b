//! Every namespace has a ServiceAccount `default`, for pods that name none.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{is_deleting, name, namespace};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{NAMESPACE, SERVICE_ACCOUNT};
use crate::registry::{EventKind, Registry};

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let missing = Source::new(&SERVICE_ACCOUNT, |event| {
        let gone = matches!(event.kind, EventKind::Deleted) && name(&event.object) == "default";
        gone.then(|| Key::new("", namespace(&event.object))).into_iter().collect()
    });
    let sources = vec![Source::itself(&NAMESPACE), missing];
    let accounts = registry.clone();
    drive("serviceaccount", registry, sources, move |key| ensure(&accounts, key), shutdown).await;
}

fn ensure(registry: &Registry, key: &Key) -> Result<Again, ApiError> {
    let Ok(namespace) = registry.get(&NAMESPACE, "", &key.name) else { return Ok(None) };
    if is_deleting(&namespace) || registry.get(&SERVICE_ACCOUNT, &key.name, "default").is_ok() {
        return Ok(None);
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key.name}});
    match registry.create(account, &writer("service-account-controller")) {
        Ok(_) => Ok(None),
        Err(error) if error.reason == "AlreadyExists" => Ok(None),
        Err(error) => Err(error),
    }
}
