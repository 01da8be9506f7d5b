//! The pods of a case: scripted echoes in this process, on their own addresses or behind their sidecars' sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use smov_theatre::echo::{Echo, Received, Script, Server};
use smov_theatre::identity::Identity;
use smov_theatre::serve::Bound;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stage::{Part, StagePod};

/// All pods of a case that serve.
#[derive(Debug)]
pub(crate) struct Cast {
    echoes: BTreeMap<String, Echo>,
    sockets: BTreeMap<String, PathBuf>,
    shutdown: CancellationToken,
    serving: JoinSet<()>,
    /// Holds the sockets; short, since a unix socket's path has at most 107 bytes.
    _folder: tempfile::TempDir,
}

impl Cast {
    pub(crate) async fn start(pods: &[StagePod]) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("smov").tempdir().map_err(|error| error.to_string())?;
        let mut cast = Self {
            echoes: BTreeMap::new(),
            sockets: BTreeMap::new(),
            shutdown: CancellationToken::new(),
            serving: JoinSet::new(),
            _folder: folder,
        };
        for pod in pods.iter().filter(|pod| matches!(pod.part, Part::Server | Part::External)) {
            cast.enter(pod).await?;
        }
        Ok(cast)
    }

    async fn enter(&mut self, pod: &StagePod) -> Result<(), String> {
        let version = pod.labels.get("version").cloned().unwrap_or_else(|| "v1".to_owned());
        let identity = Identity { cluster: pod.cluster.clone(), pod: pod.name.clone(), service: pod.service.clone(), version };
        let echo = Echo::new(identity, pod.script.clone());
        self.echoes.insert(pod.name.clone(), echo.clone());
        let mut listeners = Vec::new();
        if pod.sidecar {
            let path = self._folder.path().join(format!("{}.sock", self.sockets.len()));
            if !pod.down {
                listeners.push(Bound::Socket(UnixListener::bind(&path).map_err(|error| format!("{}: {error}", pod.name))?));
            }
            self.sockets.insert(pod.name.clone(), path);
        } else if !pod.down {
            for port in &pod.ports {
                let address = SocketAddr::new(pod.address.into(), *port);
                let listener = TcpListener::bind(address).await.map_err(|error| format!("{} on {address}: {error}", pod.name))?;
                listeners.push(Bound::Tcp(listener));
            }
        }
        for listener in listeners {
            self.serving.spawn(Server::new(echo.clone(), listener).run(self.shutdown.clone()));
        }
        Ok(())
    }

    /// Where the app behind a sidecar listens.
    pub(crate) fn socket(&self, pod: &str) -> Option<&PathBuf> {
        self.sockets.get(pod)
    }

    /// Gives a pod another script.
    pub(crate) fn play(&self, pod: &str, script: &Script) -> Result<(), String> {
        let echo = self.echoes.get(pod).ok_or_else(|| format!("`scripts: {pod}` names no pod that serves"))?;
        echo.play(script.clone());
        Ok(())
    }

    /// How many requests each pod has got.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.echoes.iter().map(|(name, echo)| (name.clone(), echo.count())).collect()
    }

    /// What each pod has got since.
    pub(crate) fn since(&self, before: &BTreeMap<String, u64>) -> BTreeMap<String, Vec<Received>> {
        let newer = |name: &String, echo: &Echo| {
            let seen = before.get(name).copied().unwrap_or(0);
            echo.received().into_iter().filter(|received| received.number >= seen).collect()
        };
        self.echoes.iter().map(|(name, echo)| (name.clone(), newer(name, echo))).collect()
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}
