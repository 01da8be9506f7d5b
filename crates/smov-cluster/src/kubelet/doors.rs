//! TCP doors: for each port of the namespace's Services that is not HTTP, a port of the pod's own sidecar that leads there.
//!
//! Apps find them by the ordinary `<SERVICE>_SERVICE_HOST/PORT`, so the same manifest works on real Kubernetes, where these name the Service itself.
//! The doors of a pod are fixed when it first starts (as its environment is) and kept in an annotation.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::controllers::fields::{items, name, namespace, text};
use crate::registry::Object;

/// Annotation with a pod's doors: `16000=redis.theater-msa.svc.cluster.local:6379,…`.
pub const TCP_DOORS: &str = "smov.dev/tcp-doors";
/// Annotation with a pod's door for outbound HTTP, as in `curl -x 127.9.1.5:15001 http://user-service:8081/`.
pub const OUTBOUND_DOOR: &str = "smov.dev/outbound-door";
/// Port of a sidecar's outbound door.
pub(super) const OUTBOUND: u16 = 15001;
/// Port of the first door.
const FIRST_DOOR: u16 = 16000;
/// Protocols that go through the HTTP door; the rest is opaque TCP.
const HTTP: [&str; 7] = ["http", "http2", "grpc", "grpc-web", "https", "kubernetes.io/h2c", "kubernetes.io/ws"];

/// True for a Service port that carries HTTP, by `appProtocol`, else by the prefix of its name, as Istio decides.
pub(super) fn is_http(port: &Value) -> bool {
    if let Some(protocol) = port["appProtocol"].as_str() {
        return HTTP.contains(&protocol.to_ascii_lowercase().as_str());
    }
    let port_name = port["name"].as_str().unwrap_or_default();
    let prefix = port_name.split('-').next().unwrap_or_default();
    HTTP.contains(&prefix) || port_name.starts_with("grpc-web")
}

/// Door → `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Doors(BTreeMap<u16, String>);

impl Doors {
    /// One door per opaque port of these Services, in order of name and port.
    pub(super) fn of(services: &[Object]) -> Self {
        let mut targets: Vec<String> = services
            .iter()
            .filter(|service| text(service, "/spec/type") != "ExternalName")
            .flat_map(|service| items(service, "/spec/ports").iter().filter(|port| is_tcp(port)).map(|port| target(service, port)))
            .collect();
        targets.sort();
        Self((FIRST_DOOR..).zip(targets).collect())
    }

    /// Reads the annotation.
    pub(super) fn parse(annotation: &str) -> Self {
        let pairs = annotation.split(',').filter_map(|pair| pair.split_once('='));
        Self(pairs.filter_map(|(door, target)| Some((door.parse().ok()?, target.to_owned()))).collect())
    }

    /// The door that leads to this port, if there is one.
    pub(super) fn to(&self, service: &Value, port: &Value) -> Option<u16> {
        let wanted = target(service, port);
        self.0.iter().find(|(_, target)| **target == wanted).map(|(door, _)| *door)
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.keys().copied()
    }
}

impl std::fmt::Display for Doors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(door, target)| format!("{door}={target}")).collect();
        formatter.write_str(&pairs.join(","))
    }
}

fn is_tcp(port: &Value) -> bool {
    !is_http(port) && port["protocol"].as_str().unwrap_or("TCP") == "TCP"
}

fn target(service: &Value, port: &Value) -> String {
    format!("{}.{}.svc.cluster.local:{}", name(service), namespace(service), port["port"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn service(name: &str, ports: &Value) -> Object {
        Arc::new(json!({"metadata": {"name": name, "namespace": "theater-msa"}, "spec": {"ports": ports}}))
    }

    #[test]
    fn opaque_ports_get_doors_in_order_and_http_ports_do_not() {
        let services = [
            service("user-service", &json!([{"name": "http", "port": 8081}])),
            service("redis", &json!([{"name": "tcp-redis", "port": 6379}])),
            service("amqp", &json!([{"name": "http-admin", "port": 15672}, {"name": "amqp", "port": 5672}])),
        ];
        let doors = Doors::of(&services);
        assert_eq!(doors.to_string(), "16000=amqp.theater-msa.svc.cluster.local:5672,16001=redis.theater-msa.svc.cluster.local:6379");
        assert_eq!(Doors::parse(&doors.to_string()), doors);
        assert_eq!(doors.to(&services[1], &services[1]["spec"]["ports"][0]), Some(16001));
        assert_eq!(doors.to(&services[0], &services[0]["spec"]["ports"][0]), None);
    }

    #[test]
    fn the_protocol_field_wins_over_the_name() {
        assert!(is_http(&json!({"name": "tcp-x", "appProtocol": "http"})));
        assert!(!is_http(&json!({"name": "http-x", "appProtocol": "redis"})));
        assert!(is_http(&json!({"name": "http2-x"})) && !is_http(&json!({"name": "httpx"})) && !is_http(&json!({})));
    }
}
