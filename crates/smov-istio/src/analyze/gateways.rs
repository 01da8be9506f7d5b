//! Gateways: their pods, their ports, and servers that collide (IST0101, IST0145, IST0162).

use std::collections::BTreeMap;

use smov_model::names::HostPattern;
use smov_model::workload::Workload;

use super::{Known, full_name, not_found};
use crate::compile::Prepared;
use crate::core::{Service, TargetPort};
use crate::diagnostic::{Diagnostic, Severity};
use crate::hosts::{host_pattern, intersect};
use crate::resource::{GatewaySpec, Resource, Server};
use crate::world::ObjectKey;

impl Prepared<'_> {
    pub(super) fn check_gateways(&self, known: Known, findings: &mut Vec<Diagnostic>) {
        let gateways: Vec<&Resource<GatewaySpec>> = self.world.gateways.values().map(|gateway| &**gateway).collect();
        for (index, gateway) in gateways.iter().enumerate() {
            if known.gateway_pods {
                self.pods_of_gateway(gateway, findings);
            }
            for other in gateways.iter().enumerate().filter(|(place, _)| *place != index).map(|(_, other)| other) {
                collide(gateway, other, findings);
            }
        }
    }

    /// IST0101 and IST0162: no pod runs the gateway, or no Service leads to its port.
    fn pods_of_gateway(&self, gateway: &Resource<GatewaySpec>, findings: &mut Vec<Diagnostic>) {
        let selector = &gateway.spec.selector;
        if selector.is_empty() {
            return;
        }
        let told = selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        let pods: Vec<&Workload> = self.workloads().filter(|pod| has(&pod.labels, selector)).collect();
        if pods.is_empty() {
            findings.push(not_found(&gateway.reference(), "spec.selector", "selector", &told));
            return;
        }
        let leads_there = |(key, service): &(&ObjectKey, &Service)| {
            !service.selector.is_empty()
                && pods
                    .iter()
                    .any(|pod| pod.namespace.as_str() == key.namespace && pod.cluster == key.cluster && has(&pod.labels, &service.selector))
        };
        let services: Vec<&Service> =
            self.world.services.iter().map(|(key, service)| (key, &**service)).filter(leads_there).map(|(_, service)| service).collect();
        if services.is_empty() {
            return;
        }
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(port) = &server.port else { continue };
            let reached = services.iter().flat_map(|service| &service.ports).any(|known| match &known.target {
                TargetPort::Number(number) => u32::from(*number) == port.number || u32::from(known.number) == port.number,
                // A named port is whatever the pod calls so; Istio does not judge it either.
                TargetPort::Name(_) => true,
            });
            if !reached {
                let number = port.number;
                let message = format!(
                    "The gateway is listening on a target port (port {number}) that is not defined in the Service associated with its workload instances (Pod selector {told}). If you need to access the gateway port through the gateway Service, it will not be available."
                );
                let korean = format!("게이트웨이 포트 {number}(으)로 이어지는 Service 포트가 없습니다 (파드 선택자 {told})");
                let path = format!("spec.servers[{index}].port.number");
                findings.push(Diagnostic::new("IST0162", Severity::Warning, &gateway.reference(), path, message, korean));
            }
        }
    }
}

fn has(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// IST0145: the same pods, the same port, the same hosts.
fn collide(gateway: &Resource<GatewaySpec>, other: &Resource<GatewaySpec>, findings: &mut Vec<Diagnostic>) {
    if gateway.spec.selector != other.spec.selector {
        return;
    }
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        let number = |server: &Server| server.port.as_ref().map(|port| port.number);
        for theirs in other.spec.servers.iter().filter(|theirs| number(theirs) == number(server) && theirs.bind == server.bind) {
            let mut shared: Vec<&str> = Vec::new();
            for host in &server.hosts {
                let mut others = theirs.hosts.iter();
                if others.any(|their_host| overlap((gateway, host), (other, their_host))) {
                    shared.push(host);
                }
            }
            if shared.is_empty() {
                continue;
            }
            let selector = gateway.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            let (name, port, hosts) = (full_name(other), number(server).unwrap_or(0), shared.join(","));
            let message = format!("Conflict with gateways {name} (workload selector {selector}, port {port}, hosts {hosts}).");
            let korean = format!("Gateway {name}과(와) 겹칩니다 (선택자 {selector}, 포트 {port}, 호스트 {hosts})");
            let path = format!("spec.servers[{index}].hosts");
            findings.push(Diagnostic::new("IST0145", Severity::Error, &gateway.reference(), path, message, korean));
        }
    }
}

/// Is there a host that both let in, of a namespace that both let in?
fn overlap(left: (&Resource<GatewaySpec>, &str), right: (&Resource<GatewaySpec>, &str)) -> bool {
    let parts = |(gateway, text): (&Resource<GatewaySpec>, &str)| -> (Option<String>, Option<HostPattern>) {
        let own = &gateway.metadata.namespace;
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        let namespace = match namespace {
            "*" => None,
            "." => Some(own.clone()),
            named => Some(named.to_owned()),
        };
        (namespace, host_pattern(host, own).ok())
    };
    let ((left_namespace, left_host), (right_namespace, right_host)) = (parts(left), parts(right));
    let same_namespace = left_namespace.is_none() || right_namespace.is_none() || left_namespace == right_namespace;
    same_namespace && left_host.zip(right_host).is_some_and(|(left, right)| intersect(&left, &right).is_some())
}
