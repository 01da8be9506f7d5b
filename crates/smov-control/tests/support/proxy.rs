//! A proxy in a test's hand: says hello, reads frames, answers when told to.

use std::path::Path;
use std::time::Duration;

use smov_model::snapshot::Snapshot;
use smov_model::wire::{FromProxy, ProxyRole, ToProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub(crate) struct FakeProxy {
    stream: UnixStream,
}

impl FakeProxy {
    /// A sidecar of `pod` with its true token, greeting the control plane of `ctx1`.
    pub(crate) async fn greet(socket: &Path, pod: &str) -> Self {
        Self::greet_with(socket, pod, &format!("theater-msa:user-service:{pod}")).await
    }

    pub(crate) async fn greet_with(socket: &Path, pod: &str, token: &str) -> Self {
        let mut proxy = Self::connect(socket).await;
        let hello = FromProxy::Hello {
            token: token.to_owned(),
            pod: pod.to_owned(),
            namespace: "theater-msa".parse().unwrap(),
            cluster: "ctx1".parse().unwrap(),
            role: ProxyRole::Sidecar,
            have: None,
        };
        proxy.say(&hello).await;
        proxy
    }

    pub(crate) async fn connect(socket: &Path) -> Self {
        Self { stream: UnixStream::connect(socket).await.unwrap() }
    }

    pub(crate) async fn say(&mut self, message: &FromProxy) {
        self.say_bytes(&serde_json::to_vec(message).unwrap()).await;
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_u32(bytes.len().try_into().unwrap()).await.unwrap();
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> ToProxy {
        let frame = async {
            let mut bytes = vec![0; self.stream.read_u32().await.unwrap() as usize];
            self.stream.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let bytes = tokio::time::timeout(Duration::from_secs(20), frame).await.expect("a frame within 20 s");
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&bytes)))
    }

    pub(crate) async fn hear_snapshot(&mut self) -> Snapshot {
        match self.hear().await {
            ToProxy::Snapshot { snapshot } => *snapshot,
            other => panic!("a snapshot, not {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self, snapshot: &Snapshot) {
        self.say(&FromProxy::Ack { version: snapshot.version }).await;
    }

    /// Takes snapshots into use until one is as wanted.
    pub(crate) async fn use_until(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        loop {
            let snapshot = self.hear_snapshot().await;
            self.ack(&snapshot).await;
            if wanted(&snapshot) {
                return snapshot;
            }
        }
    }
}

/// The addresses behind `user-service`, without subset.
pub(crate) fn endpoints(snapshot: &Snapshot) -> Vec<String> {
    let cluster = "outbound|8081||user-service.theater-msa.svc.cluster.local".parse().unwrap();
    let endpoints = snapshot.clusters.get(&cluster).map(|cluster| &cluster.endpoints);
    endpoints.into_iter().flatten().map(|endpoint| endpoint.address.ip().to_string()).collect()
}
