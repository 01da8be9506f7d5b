//! A client of one Kubernetes API server: kube-rs' client over one HTTP/2 connection where the server speaks it.
//!
//! kube's own stack is HTTP/1.1 only, which would cost a TLS connection per watch; ours offers `h2` by ALPN and falls back.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::Config;
use kube::client::ConfigExt;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tower::{Layer, Service};

/// An API server that cannot be spoken to at all, because its settings are wrong.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig of cluster `{cluster}` cannot be used")]
    Kubeconfig {
        /// Which cluster.
        cluster: String,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// A Secret must not make this process run programs or read files.
    #[error("the kubeconfig of cluster `{cluster}` names programs or files; hint: a remote Secret holds token and certificates as data")]
    Unsafe {
        /// Which cluster.
        cluster: String,
    },
    /// There is no kubeconfig, and the process is in no pod.
    #[error("KUBECONFIG is not set and this is no pod with a service account: {missing}")]
    InCluster {
        /// What a pod would have.
        missing: String,
    },
    /// Certificates or tokens of the kubeconfig cannot be used.
    #[error("the credentials for cluster `{cluster}` cannot be used")]
    Credentials {
        /// Which cluster.
        cluster: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// One API server. Cheap to clone: all clones share the connection.
#[derive(Clone)]
pub struct ApiServer {
    client: kube::Client,
    first: Arc<OnceCell<()>>,
    /// Where it is, when the kubeconfig has an address and no name.
    address: Option<SocketAddr>,
}

impl ApiServer {
    /// From the text of a kubeconfig, as a remote cluster's Secret holds it.
    pub async fn from_kubeconfig_text(cluster: &str, text: &str) -> Result<Self, ApiServerError> {
        let failed = |source| ApiServerError::Kubeconfig { cluster: cluster.to_owned(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::from_yaml(text).map_err(failed)?;
        let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
        let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
        let runs_or_reads = |user: &AuthInfo| {
            let reads = user.token_file.is_some() || user.client_certificate.is_some() || user.client_key.is_some();
            reads || user.exec.is_some() || user.auth_provider.is_some()
        };
        if users.into_iter().any(runs_or_reads) || clusters.into_iter().any(|cluster| cluster.certificate_authority.is_some()) {
            return Err(ApiServerError::Unsafe { cluster: cluster.to_owned() });
        }
        Self::from_kubeconfig(cluster, kubeconfig).await
    }

    /// The own API server: from a kubeconfig file, or from what Kubernetes gives a pod (variables, and files below `$SMOV_ROOT`, else `/`).
    pub async fn own(cluster: &str, kubeconfig: Option<&Path>) -> Result<Self, ApiServerError> {
        let failed = |source| ApiServerError::Kubeconfig { cluster: cluster.to_owned(), source: Box::new(source) };
        match kubeconfig {
            Some(path) => Self::from_kubeconfig(cluster, Kubeconfig::read_from(path).map_err(failed)?).await,
            None => {
                let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
                let root = variable("SMOV_ROOT").unwrap_or_else(|| "/".to_owned());
                let kubeconfig = in_cluster(Path::new(&root), variable).map_err(|missing| ApiServerError::InCluster { missing })?;
                Self::from_kubeconfig(cluster, kubeconfig).await
            }
        }
    }

    /// All contexts of a kubeconfig file, each with its name, in the file's order.
    pub async fn of_kubeconfig(path: &Path) -> Result<Vec<(String, Self)>, ApiServerError> {
        let failed = |source| ApiServerError::Kubeconfig { cluster: path.display().to_string(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        let mut servers = Vec::with_capacity(kubeconfig.contexts.len());
        for context in &kubeconfig.contexts {
            let options = KubeConfigOptions { context: Some(context.name.clone()), ..KubeConfigOptions::default() };
            let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await.map_err(failed)?;
            servers.push((context.name.clone(), Self::connect(&context.name, &config)?));
        }
        Ok(servers)
    }

    async fn from_kubeconfig(cluster: &str, kubeconfig: Kubeconfig) -> Result<Self, ApiServerError> {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|source| ApiServerError::Kubeconfig { cluster: cluster.to_owned(), source: Box::new(source) })?;
        Self::connect(cluster, &config)
    }

    fn connect(cluster: &str, config: &Config) -> Result<Self, ApiServerError> {
        let client =
            build_client(config).map_err(|source| ApiServerError::Credentials { cluster: cluster.to_owned(), source: Box::new(source) })?;
        let address = config.cluster_url.authority().and_then(|authority| authority.as_str().parse().ok());
        Ok(Self { client, first: Arc::default(), address })
    }

    /// kube's client.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Where it is, when the kubeconfig has an address and no name.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Lets one request go first, so that those behind it find its HTTP/2 connection instead of opening one each.
    pub async fn warm_up(&self) -> Result<(), kube::Error> {
        let first = || async {
            let request = http::Request::get("/version").body(Vec::new()).map_err(kube::Error::HttpError)?;
            match self.client.request_text(request).await {
                Ok(_) | Err(kube::Error::Api(_)) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.first.get_or_try_init(first).await.copied()
    }
}

/// Where Kubernetes mounts a pod's service account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// What a pod is given to speak to its API server, as a kubeconfig. The token is named as a file, because the kubelet renews it.
/// Or what is missing.
fn in_cluster(root: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Kubeconfig, String> {
    let needed = |name: &str| variable(name).ok_or_else(|| format!("{name} is not set"));
    let (host, port) = (needed("KUBERNETES_SERVICE_HOST")?, needed("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let file = |name: &str| {
        let path = root.join(ACCOUNT).join(name);
        if path.is_file() { Ok(path) } else { Err(format!("{} does not exist", path.display())) }
    };
    let (authority, token) = (file("ca.crt")?, file("token")?);
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "own",
        "clusters": [{"name": "own", "cluster": {"server": format!("https://{host}:{port}"), "certificate-authority": authority}}],
        "users": [{"name": "own", "user": {"tokenFile": token}}],
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
    });
    serde_json::from_value(kubeconfig).map_err(|error| error.to_string())
}

fn build_client(config: &Config) -> Result<kube::Client, kube::Error> {
    let mut tls = config.rustls_client_config()?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server_name = config.tls_server_name.clone().and_then(|name| ServerName::try_from(name).ok());
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    tcp.set_connect_timeout(Some(Duration::from_secs(5)));
    let connector = Connector { tcp, tls: TlsConnector::from(Arc::new(tls)), server_name };
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .build::<_, kube::client::Body>(connector);
    let service = config.extra_headers_layer()?.layer(tower::util::MapErr::new(http, BoxError::from));
    let service = tower::util::option_layer(config.auth_layer()?).layer(service);
    let service = config.base_uri_layer().layer(service);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    tls: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let with_tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let (tls, server_name) = (self.tls.clone(), self.server_name.clone());
        let tcp = self.tcp.call(uri);
        Box::pin(async move {
            let tcp = tcp.await?.into_inner();
            if !with_tls {
                return Ok(TokioIo::new(Link { stream: Box::pin(tcp), http2: false }));
            }
            let server_name = server_name.map_or_else(|| ServerName::try_from(host), Ok)?;
            let stream = tokio::time::timeout(Duration::from_secs(5), tls.connect(server_name, tcp)).await??;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok(TokioIo::new(Link { stream: Box::pin(stream), http2 }))
        })
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection, with or without TLS.
struct Link {
    stream: Pin<Box<dyn Duplex>>,
    http2: bool,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        if self.http2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_speaks_to_its_api_server_with_what_kubernetes_mounted() {
        let root = std::env::temp_dir().join(format!("smov-in-cluster-{}", std::process::id()));
        let folder = root.join(ACCOUNT);
        let variables = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        };
        assert!(in_cluster(&root, |_| None).unwrap_err().contains("KUBERNETES_SERVICE_HOST"));
        assert!(in_cluster(&root, variables).unwrap_err().contains("ca.crt"));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["ca.crt", "token"] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        let kubeconfig = in_cluster(&root, variables).unwrap();
        assert_eq!(kubeconfig.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://[fd00::1]:443"));
        let user = kubeconfig.auth_infos[0].auth_info.as_ref().unwrap();
        assert_eq!(user.token_file.as_deref(), folder.join("token").to_str());
        assert!(user.token.is_none());
        std::fs::remove_dir_all(root).unwrap();
    }
}
