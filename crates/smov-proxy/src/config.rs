//! The settings of one proxy process, from the environment that the kubelet gives it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use smov_model::names::{Hostname, KubeCluster, Namespace, Port, ServiceAccount};
use smov_model::wire::ProxyRole;

/// Everything a proxy knows before its first snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Sidecar or gateway.
    pub role: ProxyRole,
    /// Whose proxy it is.
    pub pod: PodIdentity,
    /// The pod's own ports, each with where the app is.
    pub inbound: Vec<InboundListen>,
    /// Doors to opaque TCP services.
    pub tcp_doors: Vec<TcpDoor>,
    /// Where a gateway listens.
    pub ingress: Option<IngressListen>,
    /// Ports of the proxy itself, all on the pod's address.
    pub ports: ProxyPorts,
    /// Where the control plane is; `None` = the snapshot is given by hand (tests, embedding).
    pub control: Option<ControlAddress>,
    /// The run's seed, if it is to be repeatable.
    pub seed: Option<u64>,
    /// Worker threads.
    pub concurrency: usize,
    /// May the access log be written to stdout? What of it is for Telemetry to say.
    pub access_log: bool,
    /// Are requests counted? Without, `istio_requests_total`, its histograms, edges and charts stay empty; for measuring what they cost.
    pub metrics: bool,
    /// Where the app has metrics of its own.
    pub app_metrics: Option<AppMetrics>,
    /// What downstream connections may do.
    pub limits: DownstreamLimits,
}

/// The pod of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its name.
    pub name: String,
    /// Its address: doors listen there and upstream connections come from there.
    pub address: IpAddr,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its service account.
    pub service_account: ServiceAccount,
    /// Its Kubernetes cluster.
    pub cluster: KubeCluster,
}

/// One port of the pod that the sidecar serves for the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundListen {
    /// The pod's port.
    pub port: u16,
    /// Where the app is.
    pub app: AppAddress,
}

/// An app's own metrics, as `prometheus.io/...` annotations of its pod say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppMetrics {
    /// The app.
    pub app: AppAddress,
    /// The page, `/metrics` as a rule.
    pub path: String,
}

/// Where an app listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppAddress {
    /// A unix socket, as our apps do.
    Unix(PathBuf),
    /// A loopback port, as foreign programs do.
    Tcp(SocketAddr),
}

/// A local port that leads to one TCP service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpDoor {
    /// Port on the pod's address.
    pub door: u16,
    /// The service.
    pub host: Hostname,
    /// The service's port.
    pub port: Port,
}

/// Where a gateway listens, and which of the snapshot's server ports that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressListen {
    /// The address.
    pub address: SocketAddr,
    /// `servers[].port.number` of the Gateway resource. Default 80.
    pub server_port: Port,
}

/// Ports of the proxy itself; 0 = any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyPorts {
    /// The HTTP door for the app's outbound requests.
    pub outbound: u16,
    /// The admin pages.
    pub admin: u16,
    /// Prometheus, of the proxy alone.
    pub metrics: u16,
    /// Prometheus, of the proxy and its app on one page.
    pub merged: u16,
    /// Readiness.
    pub ready: u16,
}

impl ProxyPorts {
    /// Is this one of the ports where proxies themselves listen, doors included?
    pub(crate) fn are_of_proxies(self, port: u16) -> bool {
        port == self.outbound || port == self.admin || (16000..17000).contains(&port)
    }
}

impl Default for ProxyPorts {
    fn default() -> Self {
        Self { outbound: 15001, admin: 15000, metrics: 15090, merged: 15020, ready: 15021 }
    }
}

/// Where the control plane is and who we say we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlAddress {
    /// Unix socket of istiod's wire.
    pub socket: PathBuf,
    /// File with the pod's service-account token.
    pub token_file: PathBuf,
}

/// What a downstream connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownstreamLimits {
    /// A begun request head must be complete within this, else 408.
    pub header_timeout: Duration,
    /// An unused connection is closed after this.
    pub idle_timeout: Duration,
    /// A begun TLS handshake must be complete within this. Default 10 s.
    pub tls_timeout: Duration,
    /// Request head in bytes; over it 431. Envoy's 60 KiB.
    pub header_bytes: usize,
    /// Request headers; over it 431. Envoy's 100.
    pub header_count: usize,
    /// At shutdown, requests in flight get this long.
    pub drain: Duration,
    /// What is open on a port that would not take it any more (its PeerAuthentication has changed) gets this long. Default 45 s, Istio's.
    pub mode_drain: Duration,
}

impl Default for DownstreamLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(60),
            // A little over the hour that Istio's clients keep an unused connection, so that the client closes first.
            idle_timeout: Duration::from_secs(3900),
            tls_timeout: Duration::from_secs(10),
            header_bytes: 60 << 10,
            header_count: 100,
            drain: Duration::from_secs(10),
            mode_drain: Duration::from_secs(45),
        }
    }
}

/// A setting that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A variable that must be there is not.
    #[error("environment variable `{0}` is not set")]
    Missing(&'static str),
    /// A variable's value cannot be read.
    #[error("environment variable `{variable}` is `{value}`: {reason}")]
    Invalid {
        /// Which.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What was expected.
        reason: String,
    },
}

impl ProxyConfig {
    /// A proxy of this role for this pod, with Istio's ports and nothing behind it yet.
    pub fn new(role: ProxyRole, pod: PodIdentity) -> Self {
        Self {
            role,
            pod,
            inbound: Vec::new(),
            tcp_doors: Vec::new(),
            ingress: None,
            ports: ProxyPorts::default(),
            control: None,
            seed: None,
            concurrency: 1,
            access_log: false,
            metrics: true,
            app_metrics: None,
            limits: DownstreamLimits::default(),
        }
    }

    /// Reads the variables that the kubelet sets (`POD_NAME`, `POD_IP`, `SMOV_INBOUND` …).
    pub fn from_environment(role: ProxyRole, environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let optional = |variable: &'static str| environment.get(variable).map(String::as_str).filter(|value| !value.is_empty());
        let required = |variable: &'static str| optional(variable).ok_or(ConfigError::Missing(variable));
        let pod = PodIdentity {
            name: optional("POD_NAME").or_else(|| optional("HOSTNAME")).ok_or(ConfigError::Missing("POD_NAME"))?.to_owned(),
            address: parse("POD_IP", required("POD_IP")?)?,
            namespace: parse("POD_NAMESPACE", required("POD_NAMESPACE")?)?,
            service_account: parse("SERVICE_ACCOUNT", optional("SERVICE_ACCOUNT").unwrap_or("default"))?,
            cluster: parse("SMOV_CLUSTER_ID", required("SMOV_CLUSTER_ID")?)?,
        };
        let mut config = Self::new(role, pod);
        config.inbound = entries(optional("SMOV_INBOUND"), "SMOV_INBOUND", inbound_entry)?;
        config.tcp_doors = entries(optional("SMOV_TCP_DOORS"), "SMOV_TCP_DOORS", door_entry)?;
        if let Some(address) = optional("SMOV_INGRESS_LISTEN") {
            let number: u32 = parse("SMOV_INGRESS_PORT", optional("SMOV_INGRESS_PORT").unwrap_or("80"))?;
            let server_port =
                Port::try_from(number).map_err(|error| wrong("SMOV_INGRESS_PORT", &number.to_string(), error.reason.to_owned()))?;
            config.ingress = Some(IngressListen { address: parse("SMOV_INGRESS_LISTEN", address)?, server_port });
        }
        config.control =
            Some(ControlAddress { socket: required("SMOV_XDS_SOCKET")?.into(), token_file: required("SMOV_TOKEN_FILE")?.into() });
        config.seed = optional("SMOV_SEED").map(|seed| parse("SMOV_SEED", seed)).transpose()?;
        config.concurrency = optional("SMOV_CONCURRENCY").map_or(Ok(1), |count| parse::<usize>("SMOV_CONCURRENCY", count))?.clamp(1, 64);
        config.access_log = optional("SMOV_ACCESS_LOG") != Some("off");
        config.app_metrics = optional("ISTIO_PROMETHEUS_ANNOTATIONS").map(|text| app_metrics(text, &config.inbound)).transpose()?.flatten();
        Ok(config)
    }
}

fn wrong(variable: &'static str, value: &str, reason: String) -> ConfigError {
    ConfigError::Invalid { variable, value: value.to_owned(), reason }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(variable: &'static str, value: &str) -> Result<T, ConfigError> {
    value.parse().map_err(|error: T::Err| wrong(variable, value, error.to_string()))
}

/// A comma list of `left=right`.
fn entries<T>(list: Option<&str>, variable: &'static str, read: fn(&str, &str) -> Option<T>) -> Result<Vec<T>, ConfigError> {
    let expected = || "expected a comma list such as `8081=unix:/path` or `16000=host:6379`".to_owned();
    list.unwrap_or_default()
        .split(',')
        .filter(|entry| !entry.is_empty())
        .map(|entry| entry.split_once('=').and_then(|(left, right)| read(left, right)).ok_or_else(|| wrong(variable, entry, expected())))
        .collect()
}

/// What Istio's injector leaves of the pod's annotations: `{"scrape":"true","path":"/metrics","port":"8081"}`.
fn app_metrics(text: &str, inbound: &[InboundListen]) -> Result<Option<AppMetrics>, ConfigError> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Annotations {
        scrape: String,
        path: String,
        port: String,
    }
    const VARIABLE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
    let annotations: Annotations = serde_json::from_str(text).map_err(|error| wrong(VARIABLE, text, error.to_string()))?;
    if annotations.scrape != "true" {
        return Ok(None);
    }
    let port: u16 = if annotations.port.is_empty() { 80 } else { parse(VARIABLE, &annotations.port)? };
    let path = if annotations.path.is_empty() { "/metrics".to_owned() } else { annotations.path };
    // A port that no container advertises leads nowhere.
    Ok(inbound.iter().find(|inbound| inbound.port == port).map(|inbound| AppMetrics { app: inbound.app.clone(), path }))
}

fn inbound_entry(port: &str, app: &str) -> Option<InboundListen> {
    let app = match app.strip_prefix("unix:") {
        Some(path) => AppAddress::Unix(path.into()),
        None => AppAddress::Tcp(app.strip_prefix("tcp:").unwrap_or(app).parse().ok()?),
    };
    Some(InboundListen { port: port.parse().ok()?, app })
}

fn door_entry(door: &str, service: &str) -> Option<TcpDoor> {
    let (host, port) = service.rsplit_once(':')?;
    Some(TcpDoor { door: door.parse().ok()?, host: host.parse().ok()?, port: Port::try_from(port.parse::<u32>().ok()?).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let base = [
            ("POD_NAME", "user-service-ctx1-1"),
            ("POD_IP", "127.9.1.5"),
            ("POD_NAMESPACE", "theater-msa"),
            ("SERVICE_ACCOUNT", "user-service"),
            ("SMOV_CLUSTER_ID", "ctx1"),
            ("SMOV_XDS_SOCKET", "/run/xds.sock"),
            ("SMOV_TOKEN_FILE", "/run/token"),
        ];
        base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_sidecar_reads_its_ports_and_doors() {
        let environment = environment(&[
            ("SMOV_INBOUND", "8081=unix:/run/app.sock,9000=127.0.0.1:9100"),
            ("SMOV_TCP_DOORS", "16000=redis.theater-msa.svc.cluster.local:6379"),
            ("SMOV_SEED", "7"),
            ("SMOV_ACCESS_LOG", "off"),
        ]);
        let config = ProxyConfig::from_environment(ProxyRole::Sidecar, &environment).unwrap();
        assert_eq!(config.inbound[0], InboundListen { port: 8081, app: AppAddress::Unix("/run/app.sock".into()) });
        assert_eq!(config.inbound[1].app, AppAddress::Tcp("127.0.0.1:9100".parse().unwrap()));
        assert_eq!(config.tcp_doors[0].host.as_str(), "redis.theater-msa.svc.cluster.local");
        assert_eq!((config.seed, config.access_log, config.concurrency, config.ports.outbound), (Some(7), false, 1, 15001));
    }

    #[test]
    fn an_apps_metrics_are_where_its_pods_annotations_say() {
        let read = |annotations: &str| {
            let pairs = [("SMOV_INBOUND", "8081=unix:/run/app.sock"), ("ISTIO_PROMETHEUS_ANNOTATIONS", annotations)];
            ProxyConfig::from_environment(ProxyRole::Sidecar, &environment(&pairs))
        };
        let metrics = AppMetrics { app: AppAddress::Unix("/run/app.sock".into()), path: "/metrics".to_owned() };
        assert_eq!(read(r#"{"scrape":"true","port":"8081"}"#).unwrap().app_metrics, Some(metrics));
        assert_eq!(read(r#"{"scrape":"true","port":"9999"}"#).unwrap().app_metrics, None);
        assert_eq!(read(r#"{"scrape":"false","port":"8081"}"#).unwrap().app_metrics, None);
        assert!(read("{").unwrap_err().to_string().contains("ISTIO_PROMETHEUS_ANNOTATIONS"));
    }

    #[test]
    fn a_gateway_listens_for_server_port_80_unless_told_otherwise() {
        let environment = environment(&[("SMOV_INGRESS_LISTEN", "127.0.0.1:8080")]);
        let config = ProxyConfig::from_environment(ProxyRole::Gateway, &environment).unwrap();
        assert_eq!(config.ingress.map(|ingress| ingress.server_port.number()), Some(80));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let mut missing = environment(&[]);
        missing.remove("POD_IP");
        assert_eq!(ProxyConfig::from_environment(ProxyRole::Sidecar, &missing), Err(ConfigError::Missing("POD_IP")));
        let error = ProxyConfig::from_environment(ProxyRole::Sidecar, &environment(&[("SMOV_INBOUND", "x")])).unwrap_err();
        assert!(error.to_string().starts_with("environment variable `SMOV_INBOUND` is `x`"), "{error}");
    }
}
