//! The other clusters of the mesh: read from labelled Secrets, which may come, change and go at any time.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;
use smov_model::names::{KubeCluster, Namespace};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api_server::ApiServer;
use crate::publisher::Command;
use crate::source::{self, News, SourceEvent, SourceId, SourceKind, describe};

/// Starts and stops the sources of remote clusters.
pub(crate) struct Remotes {
    own: KubeCluster,
    root_namespace: Namespace,
    publisher: mpsc::Sender<Command>,
    /// What each Secret says, by its name.
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    running: BTreeMap<KubeCluster, Remote>,
}

struct Remote {
    kubeconfig: String,
    sources: Sources,
}

/// Source tasks of one cluster. They end together.
pub(crate) struct Sources {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Sources {
    /// Starts sources of `kinds` at an API server.
    pub(crate) fn start(
        cluster: &KubeCluster,
        root_namespace: &Namespace,
        server: &ApiServer,
        kinds: impl Iterator<Item = SourceKind>,
        events: &mpsc::Sender<impl From<SourceEvent> + Send + 'static>,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for kind in kinds {
            let source = SourceId { cluster: cluster.clone(), kind };
            tasks.spawn(source::run(source, root_namespace.clone(), server.clone(), events.clone(), stop.clone()));
        }
        Self { tasks, stop }
    }

    /// Ends them all; none says anything afterwards.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Remotes {
    pub(crate) fn new(own: KubeCluster, root_namespace: Namespace, publisher: mpsc::Sender<Command>) -> Self {
        Self { own, root_namespace, publisher, secrets: BTreeMap::new(), running: BTreeMap::new() }
    }

    /// Follows the Secrets until `shutdown`.
    pub(crate) async fn run(mut self, server: ApiServer, shutdown: CancellationToken) {
        let (sender, mut events) = mpsc::channel(16);
        let kinds = std::iter::once(SourceKind::RemoteSecret);
        let secrets = Sources::start(&self.own, &self.root_namespace, &server, kinds, &sender);
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.recv() => event,
            };
            let Some(event) = event else { break };
            self.take(event).await;
        }
        secrets.stop().await;
        for remote in self.running.into_values() {
            remote.sources.stop().await;
        }
    }

    async fn take(&mut self, SourceEvent { source, news }: SourceEvent) {
        let summary = match news {
            News::Listed(objects) => {
                self.secrets = objects.iter().map(|object| (name_of(object), kubeconfigs(object))).collect();
                self.reconcile().await;
                // After the clusters themselves, so that the first snapshots wait for them.
                News::Listed(Vec::new())
            }
            News::Applied(object) => {
                self.secrets.insert(name_of(&object), kubeconfigs(&object));
                self.reconcile().await;
                News::Alive
            }
            News::Deleted(object) => {
                self.secrets.remove(&name_of(&object));
                self.reconcile().await;
                News::Alive
            }
            News::Alive => News::Alive,
            News::Failed(error) => News::Failed(error),
        };
        self.tell(Command::Source(SourceEvent { source, news: summary })).await;
    }

    /// Makes what runs equal to what the Secrets say. An unusable kubeconfig leaves its cluster as it was.
    async fn reconcile(&mut self) {
        let mut wanted: BTreeMap<KubeCluster, String> = BTreeMap::new();
        for (name, kubeconfig) in self.secrets.values().flatten() {
            match name.parse::<KubeCluster>() {
                Ok(cluster) if cluster == self.own => warn!(%cluster, "a remote Secret names the own cluster, passed over"),
                Ok(cluster) => drop(wanted.insert(cluster, kubeconfig.clone())),
                Err(error) => warn!(%error, "a remote Secret's key is no cluster name, passed over"),
            }
        }
        let gone: Vec<KubeCluster> = self.running.keys().filter(|cluster| !wanted.contains_key(*cluster)).cloned().collect();
        for cluster in gone {
            if let Some(remote) = self.running.remove(&cluster) {
                remote.sources.stop().await;
            }
            self.tell(Command::ClusterRemoved { cluster }).await;
        }
        for (cluster, kubeconfig) in wanted {
            if self.running.get(&cluster).is_none_or(|remote| remote.kubeconfig != kubeconfig) {
                self.start(cluster, kubeconfig).await;
            }
        }
    }

    async fn start(&mut self, cluster: KubeCluster, kubeconfig: String) {
        let server = match ApiServer::from_kubeconfig_text(cluster.as_str(), &kubeconfig).await {
            Ok(server) => server,
            Err(error) => {
                let error = describe(&error);
                warn!(%cluster, error, "remote cluster cannot be used");
                return self.tell(Command::ClusterTrouble { cluster, error: Some(error) }).await;
            }
        };
        if let Some(remote) = self.running.remove(&cluster) {
            remote.sources.stop().await;
        }
        self.tell(Command::ClusterTrouble { cluster: cluster.clone(), error: None }).await;
        self.tell(Command::ClusterAdded { cluster: cluster.clone(), server: server.address() }).await;
        let sources = Sources::start(&cluster, &self.root_namespace, &server, SourceKind::remote(), &self.publisher);
        self.running.insert(cluster, Remote { kubeconfig, sources });
    }

    /// Fails only at the end of the process, when the publisher has gone first.
    async fn tell(&self, command: Command) {
        let _ = self.publisher.send(command).await;
    }
}

fn name_of(secret: &Value) -> String {
    secret.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The `data` of a Secret, decoded; keys are cluster names, values kubeconfigs.
fn kubeconfigs(secret: &Value) -> BTreeMap<String, String> {
    let data = secret.get("data").and_then(Value::as_object).into_iter().flatten();
    let decoded = data.filter_map(|(name, value)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
        Some((name.clone(), String::from_utf8(bytes).ok()?))
    });
    decoded.collect()
}
