//! What VirtualServices point at: hosts, ports, subsets, gateways (IST0101, IST0112, IST0132, IST0140).

use std::collections::BTreeMap;

use smov_model::names::{HostPattern, Hostname, Namespace};

use super::{Known, did_you_mean, full_name, not_found};
use crate::compile::{MeshService, Prepared};
use crate::diagnostic::{Diagnostic, Severity};
use crate::hosts::{SERVICE_SUFFIX, host_pattern, hostname, intersect, resolve_gateway};
use crate::resource::{DestinationRuleSpec, DestinationSpec, GatewaySpec, Metadata, Resource, VirtualServiceSpec};

impl Prepared<'_> {
    pub(super) fn check_references(&self, known: Known, findings: &mut Vec<Diagnostic>) {
        for one in self.virtual_services.iter() {
            self.destinations(one.resource, known, findings);
            self.gateways_named(one.resource, known, findings);
            self.subsets_past_gateways(one.resource, findings);
        }
    }

    /// IST0101 and IST0112: destinations whose host, port or subset does not exist, or whose port is not said where it must be.
    fn destinations(&self, resource: &Resource<VirtualServiceSpec>, known: Known, findings: &mut Vec<Diagnostic>) {
        for (path, destination) in destinations_of(&resource.spec) {
            let namespace = &resource.metadata.namespace;
            let Ok(host) = hostname(&destination.host, namespace) else { continue };
            let service = self.services.get(&host);
            match service {
                Some(service) => self.port(resource, &path, destination, service, findings),
                None if known.services && !self.is_under_a_wildcard(&host) => {
                    let finding = not_found(&resource.reference(), format!("{path}.host"), "host", &destination.host);
                    findings.push(self.near_host(finding, &host, &destination.host, namespace));
                    continue;
                }
                None => {}
            }
            let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) else { continue };
            let owner = service.map(|service| service.namespace.clone()).or_else(|| namespace_of(&host));
            if known.subsets && !self.has_subset(&host, owner.as_ref(), namespace, subset) {
                let name = format!("{host}+{subset}");
                let finding = not_found(&resource.reference(), format!("{path}.subset"), "host+subset in destinationrule", &name);
                findings.push(self.defined_subsets(finding, &host, subset));
            }
        }
    }

    /// ServiceEntries may be for all of a domain.
    fn is_under_a_wildcard(&self, host: &Hostname) -> bool {
        let hosts = self.world.service_entries.values().flat_map(|entry| &entry.spec.hosts);
        hosts.filter_map(|pattern| pattern.parse::<HostPattern>().ok()).any(|pattern| pattern.covers(host.as_str()))
    }

    /// The next step for a host that does not exist: the full name of one that was cut short, or one that is spelt nearly so.
    fn near_host(&self, finding: Diagnostic, host: &Hostname, written: &str, namespace: &str) -> Diagnostic {
        let full: Option<Hostname> = format!("{host}.{SERVICE_SUFFIX}").parse().ok();
        if let Some(full) = full.filter(|full| self.services.get(full).is_some()) {
            return finding.with_help(
                format!("a name with a dot is taken as it is: write `{full}`"),
                format!("점이 있는 이름은 그대로 쓰입니다. `{full}`(으)로 적으세요"),
            );
        }
        let names = self.services.iter().filter(|service| service.namespace.as_str() == namespace);
        did_you_mean(finding, written, names.map(|service| service.name.as_str()))
    }

    fn port(
        &self,
        resource: &Resource<VirtualServiceSpec>,
        path: &str,
        destination: &DestinationSpec,
        service: &MeshService,
        findings: &mut Vec<Diagnostic>,
    ) {
        let ports: Vec<u16> = service.ports.iter().map(|known| known.port.number()).collect();
        match &destination.port {
            Some(port) if !ports.iter().any(|known| u32::from(*known) == port.number) => {
                let name = format!("{}:{}", destination.host, port.number);
                let finding = not_found(&resource.reference(), format!("{path}.port.number"), "host:port", &name);
                let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                findings.push(finding.with_help(format!("its ports: {list}"), format!("있는 포트: {list}")));
            }
            None if ports.len() > 1 => {
                let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                let message = format!(
                    "This VirtualService routes to a service \"{}\" that exposes multiple ports [{list}]. Specifying a port in the destination is required to disambiguate.",
                    destination.host
                );
                let korean = format!("서비스 {}에는 포트가 여러 개({list}) 있습니다. 목적지에 port를 적어야 합니다", destination.host);
                findings.push(Diagnostic::new("IST0112", Severity::Error, &resource.reference(), path, message, korean));
            }
            _ => {}
        }
    }

    /// Does any client that could meet the rule know the subset? Asked of the rule's own namespace, the service's and the root's.
    fn has_subset(&self, host: &Hostname, owner: Option<&Namespace>, namespace: &str, subset: &str) -> bool {
        let root = self.world.mesh.root_namespace.as_str();
        let near = |rule: &Resource<DestinationRuleSpec>| {
            let of = rule.metadata.namespace.as_str();
            of == namespace || of == root || owner.is_none_or(|owner| owner.as_str() == of)
        };
        let mut policies = self.policies.iter().filter(|policy| policy.pattern.covers(host.as_str()));
        policies.any(|policy| policy.rules.iter().any(|rule| near(rule)) && policy.subset(subset).is_some())
    }

    fn defined_subsets(&self, finding: Diagnostic, host: &Hostname, subset: &str) -> Diagnostic {
        let policies = self.policies.iter().filter(|policy| policy.pattern.covers(host.as_str()));
        let names: Vec<&str> = policies.flat_map(|policy| &policy.subsets).map(|subset| subset.name.as_str()).collect();
        match names.as_slice() {
            [] => finding.with_help(
                format!("no DestinationRule defines subsets of {host}; until one does, requests get 503 (NC)"),
                format!("{host}의 서브셋을 정의한 DestinationRule이 없습니다. 그동안 요청은 503(NC)을 받습니다"),
            ),
            names => {
                let near = super::nearest_name(subset, names.iter().copied()).map(|near| format!(" ({near}?)")).unwrap_or_default();
                let list = names.join(", ");
                finding.with_help(
                    format!("defined: {list}{near}; requests to an undefined one get 503 (NC)"),
                    format!("정의된 서브셋: {list}{near}. 없는 서브셋으로 가는 요청은 503(NC)을 받습니다"),
                )
            }
        }
    }

    /// IST0101 and IST0132: gateways that do not exist, and hosts that the gateway does not let in.
    fn gateways_named(&self, resource: &Resource<VirtualServiceSpec>, known: Known, findings: &mut Vec<Diagnostic>) {
        for (index, name) in resource.spec.gateways.iter().enumerate() {
            let full = resolve_gateway(name, &resource.metadata.namespace);
            if full == "mesh" {
                continue;
            }
            let is_it = |metadata: &Metadata| format!("{}/{}", metadata.namespace, metadata.name) == full;
            let Some(gateway) = self.world.gateways.values().find(|gateway| is_it(&gateway.metadata)) else {
                if known.gateways {
                    let finding = not_found(&resource.reference(), format!("spec.gateways[{index}]"), "gateway", name);
                    let names: Vec<String> = self.world.gateways.values().map(|gateway| full_name(gateway)).collect();
                    let finding = match names.as_slice() {
                        [] => finding,
                        names => {
                            let list = names.join(", ");
                            finding.with_help(format!("there is: {list}"), format!("있는 게이트웨이: {list}"))
                        }
                    };
                    findings.push(finding);
                }
                continue;
            };
            let missing: Vec<&str> = resource
                .spec
                .hosts
                .iter()
                .filter(|host| !lets_in(gateway, host, &resource.metadata.namespace))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                let (list, own) = (missing.join(" "), full_name(resource));
                let message = format!("one or more host [{list}] defined in VirtualService {own} not found in Gateway {full}.");
                let korean = format!("VirtualService {own}의 호스트 {list}을(를) Gateway {full}이(가) 받지 않습니다");
                findings.push(Diagnostic::new("IST0132", Severity::Warning, &resource.reference(), "spec.hosts", message, korean));
            }
        }
    }

    /// IST0140: what enters by a gateway follows the gateway's VirtualService alone; subsets that another one names do not count for it.
    fn subsets_past_gateways(&self, resource: &Resource<VirtualServiceSpec>, findings: &mut Vec<Diagnostic>) {
        if resource.spec.gateways.is_empty() {
            return;
        }
        let host_of = |destination: &DestinationSpec, metadata: &Metadata| hostname(&destination.host, &metadata.namespace).ok();
        for (path, destination) in destinations_of(&resource.spec).into_iter().filter(|(path, _)| path.starts_with("spec.http")) {
            if destination.subset.as_deref().is_some_and(|subset| !subset.is_empty()) || path.contains(".mirror") {
                continue;
            }
            let host = host_of(destination, &resource.metadata);
            let with_subset = |other: &Resource<VirtualServiceSpec>| {
                let mut named = destinations_of(&other.spec).into_iter();
                named
                    .any(|(_, one)| one.subset.as_deref().is_some_and(|subset| !subset.is_empty()) && host_of(one, &other.metadata) == host)
            };
            let others = self.virtual_services.iter().filter(|other| other.resource.reference() != resource.reference());
            for other in others.filter(|other| host.is_some() && with_subset(other.resource)) {
                let (theirs, ours) = (full_name(other.resource), full_name(resource));
                let message = format!("Subset in virtual service {theirs} has no effect on ingress gateway {ours} requests");
                let korean = format!("VirtualService {theirs}의 서브셋은 게이트웨이로 들어오는 요청({ours})에는 적용되지 않습니다");
                findings.push(Diagnostic::new("IST0140", Severity::Warning, &resource.reference(), path.as_str(), message, korean));
            }
        }
    }
}

/// The namespace in a Service's full name.
fn namespace_of(host: &Hostname) -> Option<Namespace> {
    host.as_str().strip_suffix(SERVICE_SUFFIX)?.strip_suffix('.')?.rsplit_once('.')?.1.parse().ok()
}

/// Does any server of the gateway let this host of a VirtualService in?
fn lets_in(gateway: &Resource<GatewaySpec>, host: &str, namespace: &str) -> bool {
    let Ok(wanted) = host_pattern(host, namespace) else { return true };
    let own = gateway.metadata.namespace.as_str();
    gateway.spec.servers.iter().flat_map(|server| &server.hosts).any(|text| {
        let (only, name) = text.split_once('/').unwrap_or(("*", text));
        let open = match only {
            "*" => true,
            "." => own == namespace,
            named => named == namespace,
        };
        let pattern: Option<HostPattern> = host_pattern(name, own).ok();
        open && pattern.is_some_and(|pattern| intersect(&wanted, &pattern).is_some())
    })
}

/// Every destination of a VirtualService with its path.
pub(super) fn destinations_of(spec: &VirtualServiceSpec) -> Vec<(String, &DestinationSpec)> {
    let mut found = Vec::new();
    for (index, route) in spec.http.iter().enumerate() {
        for (arm, destination) in route.route.iter().enumerate() {
            found.extend(
                destination.destination.as_ref().map(|destination| (format!("spec.http[{index}].route[{arm}].destination"), destination)),
            );
        }
        found.extend(route.mirror.as_ref().map(|mirror| (format!("spec.http[{index}].mirror"), mirror)));
        for (arm, mirror) in route.mirrors.iter().enumerate() {
            found.extend(
                mirror.destination.as_ref().map(|destination| (format!("spec.http[{index}].mirrors[{arm}].destination"), destination)),
            );
        }
    }
    let l4 = spec.tcp.iter().map(|route| ("tcp", &route.route)).chain(spec.tls.iter().map(|route| ("tls", &route.route)));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, arms) in l4 {
        let index = *counts.entry(kind).and_modify(|count| *count += 1).or_insert(0);
        for (arm, destination) in arms.iter().enumerate() {
            found.extend(
                destination.destination.as_ref().map(|destination| (format!("spec.{kind}[{index}].route[{arm}].destination"), destination)),
            );
        }
    }
    found
}
