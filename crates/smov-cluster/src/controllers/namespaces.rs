//! Namespace deletion: delete what is in it, wait until it is gone, then release the namespace itself.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{is_deleting, name, namespace, text};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{EVENT, NAMESPACE, POD, kinds};
use crate::registry::{DeleteOptions, EventKind, Registry, Selector};

/// The finalizer in `spec.finalizers` that keeps a namespace until its contents are gone.
const KUBERNETES: &str = "kubernetes";

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let mut sources = vec![Source::itself(&NAMESPACE)];
    for kind in kinds().iter().filter(|kind| kind.namespaced) {
        sources.push(Source::new(kind, |event| {
            let gone = matches!(event.kind, EventKind::Deleted);
            gone.then(|| Key::new("", namespace(&event.object))).into_iter().collect()
        }));
    }
    let reconciler = Namespaces { registry: registry.clone() };
    drive("namespace", registry, sources, move |key| reconciler.reconcile(key), shutdown).await;
}

struct Namespaces {
    registry: Registry,
}

impl Namespaces {
    fn reconcile(&self, key: &Key) -> Result<Again, ApiError> {
        let Ok(found) = self.registry.get(&NAMESPACE, "", &key.name) else { return Ok(None) };
        if !is_deleting(&found) {
            return Ok(None);
        }
        if text(&found, "/status/phase") != "Terminating" {
            self.modify(&key.name, |namespace| namespace["status"]["phase"] = json!("Terminating"))?;
        }
        let mut left = 0;
        for kind in kinds().iter().filter(|kind| kind.namespaced && **kind != &EVENT) {
            for object in self.registry.list(kind, Some(&key.name), &Selector::default()).0 {
                left += 1;
                if !is_deleting(&object) {
                    ignore_missing(self.registry.delete(kind, &key.name, name(&object), &DeleteOptions::default()).map(drop))?;
                }
            }
        }
        // Objects without finalizers are gone at once; pods take their grace. Each deletion brings us back here.
        let pods = self.registry.list(&POD, Some(&key.name), &Selector::default()).0.len();
        if left > 0 && (pods > 0 || self.contents(&key.name) > 0) {
            return Ok(None);
        }
        for event in self.registry.list(&EVENT, Some(&key.name), &Selector::default()).0 {
            ignore_missing(self.registry.delete(&EVENT, &key.name, name(&event), &DeleteOptions::default()).map(drop))?;
        }
        ignore_missing(self.modify(&key.name, |namespace| {
            if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
                finalizers.retain(|finalizer| finalizer != KUBERNETES);
            }
        }))?;
        Ok(None)
    }

    fn contents(&self, namespace: &str) -> usize {
        kinds()
            .iter()
            .filter(|kind| kind.namespaced && **kind != &EVENT)
            .map(|kind| self.registry.list(kind, Some(namespace), &Selector::default()).0.len())
            .sum()
    }

    fn modify(&self, name: &str, mut change: impl FnMut(&mut Value)) -> Result<(), ApiError> {
        let change = |namespace: &mut Value| {
            change(namespace);
            Ok(())
        };
        self.registry.modify(&NAMESPACE, "", name, &writer("namespace-controller"), change).map(drop)
    }
}

fn ignore_missing(result: Result<(), ApiError>) -> Result<(), ApiError> {
    result.or_else(|error| if error.reason == "NotFound" { Ok(()) } else { Err(error) })
}
