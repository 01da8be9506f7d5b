//! One cluster put together: its objects, its identities, and the API server in front of them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    api::{Api, PodAccess, Server},
    error::OpenError,
    identity::Authority,
    registry::Registry,
};

pub use crate::network::{PodNetwork, ServiceNetwork};

/// What a cluster needs to know about itself.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its name, which is also its kubectl context: `ctx1`.
    pub name: String,
    /// Where the API server listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Other addresses under which clients reach it, for its certificate.
    pub reached_at: Vec<IpAddr>,
    /// Folder of this cluster alone; made where it is absent.
    pub state_dir: PathBuf,
    /// Addresses of its pods.
    pub pod_network: PodNetwork,
    /// Addresses of its Services.
    pub service_network: ServiceNetwork,
}

/// An API server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not of this machine.
    #[error("the API server of `{cluster}` cannot listen on `{address}`")]
    Listen {
        /// Whose API server.
        cluster: String,
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server certificate cannot be used.
    #[error("the API server of `{cluster}` has no usable certificate")]
    Certificate {
        /// Whose API server.
        cluster: String,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
}

struct Inner {
    config: ClusterConfig,
    registry: Registry,
    authority: Arc<Authority>,
    pods: Arc<OnceLock<Arc<dyn PodAccess>>>,
    address: OnceLock<SocketAddr>,
}

/// A cluster whose state is open. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

impl Cluster {
    /// Opens the cluster's state, or founds it.
    ///
    /// # Errors
    /// The state folder cannot be used, is in use, or is of another version.
    pub fn open(config: ClusterConfig, admission: Arc<dyn Admission>) -> Result<Self, OpenError> {
        let registry = Registry::open_with(&config.state_dir.join("objects.db"), &config.name, admission, config.service_network.clone())?;
        let addresses: Vec<IpAddr> =
            [config.listen.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST)].into_iter().chain(config.reached_at.iter().copied()).collect();
        let folder = config.state_dir.join("pki");
        let authority = Authority::open(&folder, registry.clone(), &addresses)?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                registry,
                authority: Arc::new(authority),
                pods: Arc::new(OnceLock::new()),
                address: OnceLock::new(),
            }),
        })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// What it was opened with.
    pub fn config(&self) -> &ClusterConfig {
        &self.inner.config
    }

    /// Its objects.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Its identities.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.inner.authority
    }

    /// Gives `kubectl logs`, `exec` and the like the kubelet that they ask; only the first call counts.
    pub fn serve_pods(&self, kubelet: Arc<dyn PodAccess>) {
        if self.inner.pods.set(kubelet).is_err() {
            tracing::warn!(cluster = self.name(), "kubelet given twice");
        }
    }

    /// Starts to listen; nothing is answered before [`Bound::run`].
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn bind(&self) -> Result<Bound, BindError> {
        let address = self.inner.config.listen;
        let cluster = || self.name().to_owned();
        let tls = self.inner.authority.server_config().map_err(|source| BindError::Certificate { cluster: cluster(), source })?;
        let failed = |source| BindError::Listen { cluster: cluster(), address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // A second bind (tests) keeps the first address in kubeconfigs.
        self.inner.address.get_or_init(|| address);
        let api = Api::new(self.inner.registry.clone(), Arc::clone(&self.inner.authority), Arc::clone(&self.inner.pods));
        Ok(Bound { server: Server::new(listener, tls, api), address })
    }

    /// Where the API server is reached, as kubeconfigs name it.
    pub fn server(&self) -> String {
        let address = self.inner.address.get().unwrap_or(&self.inner.config.listen);
        format!("https://{address}")
    }

    /// A kubeconfig with one cluster, one user and one context, the cluster's name.
    pub fn kubeconfig(&self, user: &str, token: &str) -> Value {
        let name = self.name();
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{ "name": name, "cluster": {
                "server": self.server(),
                "certificate-authority-data": STANDARD.encode(self.inner.authority.ca_pem()),
            } }],
            "users": [{ "name": user, "user": { "token": token } }],
            "contexts": [{ "name": name, "context": { "cluster": name, "user": user } }],
        })
    }

    /// The kubeconfig of the one who may do everything; the user's name is `<cluster>-admin`.
    pub fn admin_kubeconfig(&self) -> Value {
        let user = format!("{}-admin", self.name());
        self.kubeconfig(&user, self.inner.authority.admin_token())
    }
}

/// An API server that listens.
pub struct Bound {
    server: Server,
    address: SocketAddr,
}

impl Bound {
    /// The address that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`; open watches end then, other requests are finished.
    pub async fn run(self, shutdown: CancellationToken) {
        self.server.run(shutdown).await;
    }
}
