//! Settings of one control plane, read from the environment that the kubelet gives.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use smov_model::link::LinkAddresses;
use smov_model::names::{InvalidName, KubeCluster, Namespace};
use smov_telemetry::export::{Collector, Format, InvalidCollector};

/// Istio's name for the lifetime of workloads' certificates.
const CERTIFICATE_LIFETIME: &str = "DEFAULT_WORKLOAD_CERT_TTL";
/// Istio's own default is 24 h; here people shall see certificates change.
const DEFAULT_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(3600);

/// Settings of one control plane.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// The own cluster, Istio's cluster id.
    pub cluster: KubeCluster,
    /// Kubeconfig of the own API server; `None` = the service account that Kubernetes mounts into a pod.
    pub kubeconfig: Option<PathBuf>,
    /// Where proxies connect.
    pub xds_socket: PathBuf,
    /// Where the debug API listens.
    pub debug_socket: PathBuf,
    /// Where apps give their spans; `None` = nowhere here.
    pub otlp_socket: Option<PathBuf>,
    /// Where spans are sent on to.
    pub collectors: Vec<(Collector, Format)>,
    /// Namespace of mesh-wide rules and of the remote clusters' Secrets: `istio-system`.
    pub root_namespace: Namespace,
    /// The pod's address; there `/ready` and `/metrics` are served on port 8080. `None` = not served over TCP.
    pub pod_address: Option<IpAddr>,
    /// Lifetime of workloads' certificates. Default 1 h.
    pub certificate_lifetime: Duration,
    /// How long the first snapshots wait for a remote cluster that does not answer. Default 5 s.
    pub remote_patience: Duration,
    /// Pods of other clusters are reached through a link by these addresses; `None` = directly.
    pub link: Option<LinkAddresses>,
}

/// A setting that is missing or not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not set.
    #[error("the environment variable `{variable}` is not set; hint: `smov up` sets it for the istiod pods")]
    Missing {
        /// Which.
        variable: &'static str,
    },
    /// It is not a name.
    #[error("the environment variable `{variable}` is not usable")]
    Name {
        /// Which.
        variable: &'static str,
        /// What is wrong with it.
        #[source]
        source: InvalidName,
    },
    /// It is no address of a collector.
    #[error("the environment variable `{variable}` is not usable")]
    Collector {
        /// Which.
        variable: &'static str,
        /// What is wrong with it.
        #[source]
        source: InvalidCollector,
    },
    /// It is not a number that can be added to the third one of an address.
    #[error("the environment variable `{variable}` holds `{value}`, which is not a number from 1 to 255")]
    Offset {
        /// Which.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// It is no duration.
    #[error("the environment variable `{variable}` holds `{value}`, which is not a duration of at least a second; hint: `1h`, `24h0m0s`")]
    Duration {
        /// Which.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// It is not an address.
    #[error("the environment variable `{variable}` holds `{value}`, which is not an IP address")]
    Address {
        /// Which.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
}

impl ControlConfig {
    /// Reads `SMOV_CLUSTER_ID`, `SMOV_XDS_SOCKET`, `SMOV_DEBUG_SOCKET` (all needed), `KUBECONFIG`, `ROOT_NAMESPACE`, `POD_IP`,
    /// `SMOV_LINK_OFFSET`, `SMOV_OTLP_SOCKET`, `SMOV_OTLP`, `SMOV_ZIPKIN` and Istio's `DEFAULT_WORKLOAD_CERT_TTL`.
    pub fn from_environment(environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let optional = |variable: &str| environment.get(variable).filter(|value| !value.is_empty());
        let needed = |variable: &'static str| optional(variable).ok_or(ConfigError::Missing { variable });
        let name = |variable: &'static str| move |source| ConfigError::Name { variable, source };
        Ok(Self {
            cluster: needed("SMOV_CLUSTER_ID")?.parse().map_err(name("SMOV_CLUSTER_ID"))?,
            kubeconfig: optional("KUBECONFIG").map(PathBuf::from),
            xds_socket: needed("SMOV_XDS_SOCKET")?.into(),
            debug_socket: needed("SMOV_DEBUG_SOCKET")?.into(),
            otlp_socket: optional("SMOV_OTLP_SOCKET").map(PathBuf::from),
            collectors: [("SMOV_OTLP", Format::Otlp), ("SMOV_ZIPKIN", Format::Zipkin)]
                .into_iter()
                .filter_map(|(variable, format)| Some((variable, optional(variable)?, format)))
                .map(|(variable, value, format)| {
                    let collector = value.parse().map_err(|source| ConfigError::Collector { variable, source })?;
                    Ok((collector, format))
                })
                .collect::<Result<_, ConfigError>>()?,
            root_namespace: optional("ROOT_NAMESPACE").map_or("istio-system", String::as_str).parse().map_err(name("ROOT_NAMESPACE"))?,
            pod_address: optional("POD_IP")
                .map(|value| value.parse().map_err(|_| ConfigError::Address { variable: "POD_IP", value: value.clone() }))
                .transpose()?,
            certificate_lifetime: match optional(CERTIFICATE_LIFETIME) {
                None => DEFAULT_CERTIFICATE_LIFETIME,
                Some(value) => {
                    lifetime(value).ok_or_else(|| ConfigError::Duration { variable: CERTIFICATE_LIFETIME, value: value.clone() })?
                }
            },
            remote_patience: Duration::from_secs(5),
            link: optional("SMOV_LINK_OFFSET").map(|value| offset(value)).transpose()?,
        })
    }
}

fn offset(value: &str) -> Result<LinkAddresses, ConfigError> {
    let offset = value.parse().ok().filter(|offset| *offset > 0);
    let offset = offset.ok_or_else(|| ConfigError::Offset { variable: "SMOV_LINK_OFFSET", value: value.to_owned() })?;
    Ok(LinkAddresses { offset })
}

/// As Go writes durations; certificates know whole seconds only.
fn lifetime(text: &str) -> Option<Duration> {
    smov_istio::duration::parse_duration(text).ok().filter(|lifetime| *lifetime >= Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_kubelets_environment_is_enough() {
        let config = ControlConfig::from_environment(&environment(&[
            ("SMOV_CLUSTER_ID", "ctx1"),
            ("SMOV_XDS_SOCKET", "/run/x.sock"),
            ("SMOV_DEBUG_SOCKET", "/run/d.sock"),
            ("POD_IP", "127.9.1.4"),
            ("KUBECONFIG", ""),
        ]))
        .unwrap();
        assert_eq!(config.cluster.as_str(), "ctx1");
        assert_eq!(config.root_namespace.as_str(), "istio-system");
        assert_eq!(config.pod_address, Some("127.9.1.4".parse().unwrap()));
        assert!(config.kubeconfig.is_none());
    }

    #[test]
    fn a_missing_or_bad_setting_is_named() {
        let error = ControlConfig::from_environment(&environment(&[("SMOV_CLUSTER_ID", "ctx1")])).unwrap_err();
        assert!(error.to_string().contains("SMOV_XDS_SOCKET"));
        let error = ControlConfig::from_environment(&environment(&[("SMOV_CLUSTER_ID", "Not A Name")])).unwrap_err();
        assert!(error.to_string().contains("SMOV_CLUSTER_ID"));
        let good = [("SMOV_CLUSTER_ID", "ctx1"), ("SMOV_XDS_SOCKET", "/x"), ("SMOV_DEBUG_SOCKET", "/d")];
        let with = |offset| ControlConfig::from_environment(&environment(&[good.as_slice(), &[("SMOV_LINK_OFFSET", offset)]].concat()));
        assert_eq!(with("100").unwrap().link, Some(LinkAddresses { offset: 100 }));
        assert!(with("0").unwrap_err().to_string().contains("SMOV_LINK_OFFSET"));
    }
}
