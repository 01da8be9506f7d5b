//! Endpoints, the old form of EndpointSlices: written from them, for those who type `kubectl get endpoints`.

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{is_deleting, items, label, labels, namespace, text};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{ENDPOINT_SLICE, ENDPOINTS, SERVICE};
use crate::registry::{DeleteOptions, Registry, Selector};

/// Label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let slices = Source::new(&ENDPOINT_SLICE, |event| {
        let service = label(&event.object, SERVICE_NAME);
        service.map(|service| Key::new(namespace(&event.object), service)).into_iter().collect()
    });
    let own = registry.clone();
    let sources = vec![Source::itself(&SERVICE), slices, Source::itself(&ENDPOINTS)];
    drive("endpoint", registry, sources, move |key| reconcile(&own, key), shutdown).await;
}

fn reconcile(registry: &Registry, key: &Key) -> Result<Again, ApiError> {
    let present = registry.find(&ENDPOINTS, &key.namespace, &key.name);
    let selects = |service: &Value| service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let service = registry
        .find(&SERVICE, &key.namespace, &key.name)
        .filter(|service| !is_deleting(service) && selects(service) && text(service, "/spec/type") != "ExternalName");
    let Some(service) = service else {
        if present.is_some_and(|present| label(&present, MANAGED_BY) == Some(MANAGER)) {
            registry.delete(&ENDPOINTS, &key.namespace, &key.name, &DeleteOptions::now())?;
        }
        return Ok(None);
    };
    let subsets = subsets(registry, key);
    let options = writer("endpoint-controller");
    if let Some(present) = present {
        // One that somebody wrote by hand stays his.
        if label(&present, MANAGED_BY) == Some(MANAGER) && items(&present, "/subsets") != subsets {
            registry.modify(&ENDPOINTS, &key.namespace, &key.name, &options, |object| {
                object["subsets"] = json!(subsets);
                Ok(())
            })?;
        }
        return Ok(None);
    }
    let mut own_labels: Map<String, Value> = labels(&service);
    own_labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    let mut object = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": key.name, "namespace": key.namespace, "labels": own_labels },
    });
    if !subsets.is_empty() {
        object["subsets"] = json!(subsets);
    }
    match registry.create(object, &options) {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(None),
    }
}

/// One subset per slice that has endpoints; those that are on their way out are left out.
fn subsets(registry: &Registry, key: &Key) -> Vec<Value> {
    let mut subsets = Vec::new();
    for slice in registry.list(&ENDPOINT_SLICE, Some(&key.namespace), &Selector::default()).0 {
        if label(&slice, SERVICE_NAME) != Some(&key.name) || is_deleting(&slice) {
            continue;
        }
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        for endpoint in items(&slice, "/endpoints").iter().filter(|endpoint| endpoint["conditions"]["terminating"] != true) {
            let list = if endpoint["conditions"]["ready"] == false { &mut waiting } else { &mut ready };
            list.extend(items(endpoint, "/addresses").iter().map(|address| {
                let mut one = json!({ "ip": address });
                for field in ["nodeName", "targetRef"] {
                    if !endpoint[field].is_null() {
                        one[field] = endpoint[field].clone();
                    }
                }
                one
            }));
        }
        let mut subset = json!({ "ports": slice["ports"] });
        for (field, list) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            if !list.is_empty() {
                subset[field] = json!(list);
            }
        }
        if subset.as_object().is_some_and(|subset| subset.len() > 1) {
            subsets.push(subset);
        }
    }
    subsets
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{admission::AdmitAll, registry::WriteOptions};

    #[test]
    fn endpoints_follow_the_slices_of_their_service_and_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("objects.db"), "ctx1", Arc::new(AdmitAll)).unwrap();
        let options = WriteOptions::default();
        let create = |object: Value| registry.create(object, &options).unwrap();
        let metadata = |name: &str| json!({ "name": name, "namespace": "default", "labels": { SERVICE_NAME: "web" } });
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata("web"),
            "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
        create(service);
        let key = Key::new("default", "web");
        reconcile(&registry, &key).unwrap();
        assert!(registry.find(&ENDPOINTS, "default", "web").unwrap()["subsets"].is_null(), "a Service without pods has none");
        let endpoint = |address: &str, ready: bool, ends: bool| json!({ "addresses": [address], "conditions": { "ready": ready, "terminating": ends }, "nodeName": "n" });
        create(json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata("web-1"), "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
            "endpoints": [endpoint("127.0.0.7", true, false), endpoint("127.0.0.8", false, false), endpoint("127.0.0.9", false, true)] }));
        reconcile(&registry, &key).unwrap();
        let found = registry.find(&ENDPOINTS, "default", "web").unwrap();
        assert_eq!(
            found["subsets"],
            json!([{
                "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
                "addresses": [{ "ip": "127.0.0.7", "nodeName": "n" }],
                "notReadyAddresses": [{ "ip": "127.0.0.8", "nodeName": "n" }],
            }])
        );
        registry.delete(&SERVICE, "default", "web", &DeleteOptions::now()).unwrap();
        reconcile(&registry, &key).unwrap();
        assert!(registry.find(&ENDPOINTS, "default", "web").is_none());
    }
}
