//! The ports of the proxy's own pod: those to which a Service leads, and those of which a PeerAuthentication speaks.

use std::collections::BTreeMap;

use smov_model::cluster::Protocol;
use smov_model::names::Port;
use smov_model::snapshot::InboundPort;

use super::Prepared;
use crate::core::{Pod, TargetPort};
use crate::world::{ObjectKey, ProxyIdentity};

impl Prepared<'_> {
    /// One entry per pod port; where several Services lead to it, the first by name.
    pub(super) fn inbound(&self, proxy: &ProxyIdentity) -> Vec<InboundPort> {
        let key = ObjectKey { namespace: proxy.namespace.to_string(), name: proxy.pod.clone(), cluster: proxy.cluster.clone() };
        let Some(pod) = self.world.pods.get(&key) else { return Vec::new() };
        let workload = self.workload_of(proxy);
        let mut ports: BTreeMap<Port, InboundPort> = BTreeMap::new();
        for (service_key, service) in &self.world.services {
            let near = service_key.cluster == key.cluster && service_key.namespace == key.namespace;
            let selects = !service.selector.is_empty() && service.selector.iter().all(|(name, value)| pod.labels.get(name) == Some(value));
            if !near || !selects {
                continue;
            }
            let Ok(host) = crate::hosts::hostname(&service_key.name, &service_key.namespace) else { continue };
            for service_port in &service.ports {
                let Some(port) = pod_port(&service_port.target, pod) else { continue };
                let entry = || InboundPort {
                    port,
                    protocol: service_port.protocol.in_snapshot(),
                    service: Some(host.clone()),
                    mutual_tls: self.peer_authentications.of(&workload, port).mode,
                };
                ports.entry(port).or_insert_with(entry);
            }
        }
        // No Service need lead to a port for its own mode to hold.
        for port in self.peer_authentications.ports_of(&workload) {
            let mutual_tls = self.peer_authentications.of(&workload, port).mode;
            ports.entry(port).or_insert_with(|| InboundPort { port, protocol: Protocol::Http, service: None, mutual_tls });
        }
        ports.into_values().collect()
    }
}

fn pod_port(target: &TargetPort, pod: &Pod) -> Option<Port> {
    let number = match target {
        TargetPort::Number(number) => *number,
        TargetPort::Name(name) => *pod.named_ports.get(name)?,
    };
    u32::from(number).try_into().ok()
}
