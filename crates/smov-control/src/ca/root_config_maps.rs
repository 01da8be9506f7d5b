//! ConfigMap `istio-ca-root-cert` in every namespace: whom pods trust, for whoever reads it there, as Istio writes it.

use std::collections::BTreeMap;

use http::Request;
use serde_json::{Value, json};
use smov_model::names::{KubeCluster, Namespace};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::State;
use crate::api_server::ApiServer;
use crate::remotes::Sources;
use crate::source::{News, SourceEvent, SourceKind, describe_api};

const NAME: &str = "istio-ca-root-cert";
const KEY: &str = "root-cert.pem";
/// Namespaces that Istio leaves alone.
const IGNORED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Keeps the ConfigMaps as they should be.
pub(crate) struct RootConfigMaps {
    server: ApiServer,
    authority: watch::Receiver<State>,
    namespaces: BTreeMap<String, bool>,
    /// What is there, by namespace; `None` until it was listed.
    written: Option<BTreeMap<String, Value>>,
}

impl RootConfigMaps {
    pub(crate) fn new(server: ApiServer, authority: watch::Receiver<State>) -> Self {
        Self { server, authority, namespaces: BTreeMap::new(), written: None }
    }

    /// Keeps them until `shutdown`.
    pub(crate) async fn run(mut self, own: KubeCluster, root_namespace: Namespace, shutdown: CancellationToken) {
        let (sender, mut events) = mpsc::channel::<SourceEvent>(64);
        let kinds = [SourceKind::Namespace, SourceKind::RootConfigMap].into_iter();
        let sources = Sources::start(&own, &root_namespace, &self.server, kinds, &sender);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = events.recv() => self.take(event),
                Ok(()) = self.authority.changed() => {}
            }
            while let Ok(event) = events.try_recv() {
                self.take(event);
            }
            self.write_all().await;
        }
        sources.stop().await;
    }

    fn take(&mut self, SourceEvent { source, news }: SourceEvent) {
        let is_namespace = source.kind == SourceKind::Namespace;
        match news {
            News::Listed(objects) => {
                if is_namespace {
                    self.namespaces.clear();
                } else {
                    self.written = Some(BTreeMap::new());
                }
                objects.into_iter().for_each(|object| self.keep(is_namespace, object));
            }
            News::Applied(object) => self.keep(is_namespace, object),
            News::Deleted(object) if is_namespace => drop(self.namespaces.remove(text(&object, "/metadata/name"))),
            News::Deleted(object) => {
                if text(&object, "/metadata/name") == NAME {
                    self.written.as_mut().map(|written| written.remove(text(&object, "/metadata/namespace")));
                }
            }
            News::Alive | News::Failed(_) => {}
        }
    }

    fn keep(&mut self, is_namespace: bool, object: Value) {
        if is_namespace {
            let stays = text(&object, "/metadata/deletionTimestamp").is_empty();
            self.namespaces.insert(text(&object, "/metadata/name").to_owned(), stays);
        } else if text(&object, "/metadata/name") == NAME {
            let namespace = text(&object, "/metadata/namespace").to_owned();
            self.written.get_or_insert_default().insert(namespace, object);
        }
    }

    async fn write_all(&mut self) {
        let (Some(signer), Some(written)) = (self.authority.borrow().signer.clone(), &mut self.written) else { return };
        let roots = signer.roots();
        for (namespace, _) in self.namespaces.iter().filter(|(name, stays)| **stays && !IGNORED.contains(&name.as_str())) {
            let known = written.get(namespace);
            if known.is_some_and(|known| known.pointer("/data/root-cert.pem").and_then(Value::as_str) == Some(roots)) {
                continue;
            }
            match write(&self.server, namespace, known, roots).await {
                Ok(object) => drop(written.insert(namespace.clone(), object)),
                // The namespace ends, or somebody was faster: the watch tells.
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => {
                    debug!(namespace, reason = status.message, "{NAME} not written");
                }
                Err(error) => warn!(namespace, error = describe_api(&error), "{NAME} not written"),
            }
        }
    }
}

/// Creates it, or replaces the one that is known.
async fn write(server: &ApiServer, namespace: &str, known: Option<&Value>, roots: &str) -> Result<Value, kube::Error> {
    let mut object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {"istio.io/config": "true"}},
        "data": {KEY: roots},
    });
    let collection = format!("/api/v1/namespaces/{namespace}/configmaps");
    let request = match known {
        Some(known) => {
            object["metadata"]["resourceVersion"] = text(known, "/metadata/resourceVersion").into();
            Request::put(format!("{collection}/{NAME}"))
        }
        None => Request::post(collection),
    };
    let request = request.header("content-type", "application/json").body(object.to_string().into_bytes());
    server.client().request(request.map_err(kube::Error::HttpError)?).await
}

fn text<'o>(object: &'o Value, pointer: &str) -> &'o str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
