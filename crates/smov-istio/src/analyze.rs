//! What does not fit together: findings over a whole world, with the codes of `istioctl analyze`
//! (<https://istio.io/latest/docs/reference/config/analysis/>).

use std::collections::{BTreeMap, BTreeSet};

use smov_model::names::HostPattern;

use crate::compile::{MeshService, Policy, Prepared, label, mesh_gateway, outlier};
use crate::diagnostic::{Diagnostic, Severity};
use crate::hosts::{hostname, resolve_gateway};
use crate::resource::{DestinationRuleSpec, DestinationSpec, Metadata, Resource, VirtualServiceSpec};
use crate::world::World;

/// All findings over a world, those of single objects (warnings, objects that were refused) first.
pub fn analyze(world: &World) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = world.diagnostics().cloned().collect();
    findings.extend(Prepared::new(world).analyze());
    findings
}

impl Prepared<'_> {
    /// The findings over several objects alone.
    pub fn analyze(&self) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for one in self.virtual_services.iter() {
            self.destinations(one.resource, &mut findings);
            self.gateways(one.resource, &mut findings);
        }
        self.conflicting_hosts(&mut findings);
        for policy in self.policies.iter() {
            self.policy(policy, &mut findings);
        }
        findings
    }

    /// IST0101: destinations whose host, port or subset does not exist.
    fn destinations(&self, resource: &Resource<VirtualServiceSpec>, findings: &mut Vec<Diagnostic>) {
        for (path, destination) in destinations_of(&resource.spec) {
            let namespace = &resource.metadata.namespace;
            let Ok(host) = hostname(&destination.host, namespace) else { continue };
            let Some(service) = self.services.get(&host) else {
                // Hosts outside the cluster come from ServiceEntries, which the world does not have yet: only Services are judged.
                if host.as_str().ends_with(crate::hosts::SERVICE_SUFFIX) {
                    findings.push(not_found(resource, &format!("{path}.host"), "host", host.as_str()));
                }
                continue;
            };
            if let Some(port) =
                destination.port.as_ref().filter(|port| !service.ports.iter().any(|known| u32::from(known.port.number()) == port.number))
            {
                findings.push(not_found(resource, &format!("{path}.port"), "host:port", &format!("{host}:{}", port.number)));
            }
            let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) else { continue };
            if !self.has_subset(service, namespace, subset) {
                findings.push(not_found(
                    resource,
                    &format!("{path}.subset"),
                    "host+subset in destinationrule",
                    &format!("{host}+{subset}"),
                ));
            }
        }
    }

    /// Does any client that could meet the rule know the subset? Asked for the rule's own namespace and the service's.
    fn has_subset(&self, service: &MeshService, namespace: &str, subset: &str) -> bool {
        let viewers = [namespace.parse().ok(), Some(service.namespace.clone())];
        let mut policies = viewers.iter().flatten().filter_map(|viewer| self.policies.find(viewer, &service.namespace, &service.host));
        policies.any(|policy| policy.subset(subset).is_some())
    }

    /// IST0101: gateways that do not exist.
    fn gateways(&self, resource: &Resource<VirtualServiceSpec>, findings: &mut Vec<Diagnostic>) {
        for (index, name) in resource.spec.gateways.iter().enumerate() {
            let full = resolve_gateway(name, &resource.metadata.namespace);
            let exists = |metadata: &Metadata| format!("{}/{}", metadata.namespace, metadata.name) == full;
            if full != "mesh" && !self.world.gateways.values().any(|gateway| exists(&gateway.metadata)) {
                findings.push(not_found(resource, &format!("spec.gateways[{index}]"), "gateway", name));
            }
        }
    }

    /// IST0109: several VirtualServices of the mesh for one host.
    fn conflicting_hosts(&self, findings: &mut Vec<Diagnostic>) {
        let mesh = mesh_gateway();
        let mut owners: BTreeMap<&HostPattern, Vec<&Resource<VirtualServiceSpec>>> = BTreeMap::new();
        for one in self.virtual_services.iter().filter(|one| !one.gateways.is_disjoint(&mesh)) {
            for host in &one.hosts {
                owners.entry(host).or_default().push(one.resource);
            }
        }
        for (host, all) in owners {
            let meets_another = |one: &&Resource<VirtualServiceSpec>| {
                all.iter().any(|other| other.reference() != one.reference() && share_a_viewer(one, other))
            };
            let resources: Vec<_> = all.iter().copied().filter(meets_another).collect();
            let names: Vec<String> = resources.iter().map(|one| format!("{}/{}", one.metadata.namespace, one.metadata.name)).collect();
            let names = names.join(",");
            for resource in &resources {
                let message = format!(
                    "The VirtualServices {names} associated with mesh gateway define the same host {host} which can lead to undefined behavior. This can be fixed by merging the conflicting VirtualServices into a single resource."
                );
                let korean = format!("VirtualService {names}이(가) 같은 호스트 {host}을(를) 다룹니다. 가장 오래된 것만 쓰입니다");
                let finding = Diagnostic::new("IST0109", Severity::Error, &resource.reference(), "spec.hosts", message, korean);
                findings.push(finding.with_help("merge them into one VirtualService", "하나의 VirtualService로 합치세요"));
            }
        }
    }

    /// IST0174 and IST0173: rules for hosts that do not exist, subsets that select no pod.
    fn policy(&self, policy: &Policy<'_>, findings: &mut Vec<Diagnostic>) {
        let HostPattern::Exact(host) = &policy.pattern else { return };
        let service = self.services.get(host);
        for rule in &policy.rules {
            let Some(service) = service else {
                if host.as_str().ends_with(crate::hosts::SERVICE_SUFFIX) {
                    let message = format!("The host {host} defined in the DestinationRule does not match any services in the mesh.");
                    let korean = format!("DestinationRule의 호스트 {host}에 맞는 Service가 없습니다");
                    findings.push(Diagnostic::new("IST0174", Severity::Warning, &rule.reference(), "spec.host", message, korean));
                }
                continue;
            };
            never_ejects(policy, service, rule, findings);
            for (index, subset) in rule.spec.subsets.iter().enumerate() {
                if !self.selects_any(service, &subset.labels) {
                    let path = format!("spec.subsets[{index}]");
                    let message = format!("The Subset {} defined in the DestinationRule does not select any pods.", subset.name);
                    let korean = format!("서브셋 {}이(가) 고르는 파드가 없습니다", subset.name);
                    findings.push(Diagnostic::new("IST0173", Severity::Error, &rule.reference(), path, message, korean));
                }
            }
        }
    }

    /// Is there a pod of the Service, ready or not, with these labels?
    fn selects_any(&self, service: &MeshService, labels: &BTreeMap<String, String>) -> bool {
        let copies = self.world.services.iter().filter(|(key, _)| key.name == service.name && key.namespace == service.namespace.as_str());
        let selectors: BTreeMap<_, _> = copies.map(|(key, copy)| (&key.cluster, &copy.selector)).collect();
        let mut pods = self.workloads().filter(|pod| pod.namespace == service.namespace);
        pods.any(|pod| {
            let selector = selectors.get(&pod.cluster).filter(|selector| !selector.is_empty());
            selector.is_some_and(|selector| selector.iter().chain(labels).all(|(key, value)| label(pod, key) == Some(value.as_str())))
        })
    }
}

/// An endpoint is ejected only while (ejected + 1) of all endpoints stays within `maxEjectionPercent`: with few endpoints, never.
fn never_ejects(policy: &Policy<'_>, service: &MeshService, rule: &Resource<DestinationRuleSpec>, findings: &mut Vec<Diagnostic>) {
    let subsets = rule.spec.subsets.iter().enumerate().map(|(index, subset)| (format!("spec.subsets[{index}]"), Some(subset)));
    for (path, subset) in std::iter::once(("spec".to_owned(), None)).chain(subsets) {
        // With subsets, traffic goes to them: the whole host is judged only where there are none.
        if subset.is_none() && !policy.subsets.is_empty() {
            continue;
        }
        for port in &service.ports {
            let Some(outlier) = policy.effective(subset, port.port).outlier_detection.as_ref().map(outlier) else { continue };
            let selected = port.endpoints.iter().filter(|(_, pod)| {
                subset.is_none_or(|subset| subset.labels.iter().all(|(key, value)| label(pod, key) == Some(value.as_str())))
            });
            let count = selected.count();
            if count == 0 || 100 <= usize::from(outlier.max_ejection_percent) * count {
                continue;
            }
            let (most, share) = (outlier.max_ejection_percent, 100 / count);
            let message =
                format!("outlier detection never ejects here: 1 of {count} is {share} %, which is over maxEjectionPercent {most}");
            let korean =
                format!("엔드포인트 {count}개 가운데 하나만 빼도 maxEjectionPercent {most}을(를) 넘으므로 차단이 일어나지 않습니다");
            let finding = Diagnostic::new("never-ejects", Severity::Warning, &rule.reference(), path.as_str(), message, korean);
            let least = 100_usize.div_ceil(count);
            findings.push(finding.with_help(
                format!("set maxEjectionPercent to {least} or more, or run more pods"),
                format!("maxEjectionPercent를 {least} 이상으로 하거나 파드를 늘리세요"),
            ));
        }
    }
}

/// Is there a namespace that sees both?
fn share_a_viewer(one: &Resource<VirtualServiceSpec>, other: &Resource<VirtualServiceSpec>) -> bool {
    let viewers = |resource: &Resource<VirtualServiceSpec>| -> Option<BTreeSet<String>> {
        let entries = &resource.spec.export_to;
        let named = |entry: &String| if entry == "." { resource.metadata.namespace.clone() } else { entry.clone() };
        (!entries.is_empty() && !entries.iter().any(|entry| entry == "*")).then(|| entries.iter().map(named).collect())
    };
    match (viewers(one), viewers(other)) {
        (Some(left), Some(right)) => !left.is_disjoint(&right),
        _ => true,
    }
}

fn not_found(resource: &Resource<VirtualServiceSpec>, path: &str, what: &str, name: &str) -> Diagnostic {
    let message = format!("Referenced {what} not found: \"{name}\"");
    let korean = format!("가리키는 대상({what})이 없습니다: {name}");
    Diagnostic::new("IST0101", Severity::Error, &resource.reference(), path, message, korean)
}

/// Every destination of a VirtualService with its path.
fn destinations_of(spec: &VirtualServiceSpec) -> Vec<(String, &DestinationSpec)> {
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
        let index = counts.entry(kind).and_modify(|count| *count += 1).or_insert(0);
        for (arm, destination) in arms.iter().enumerate() {
            found.extend(
                destination.destination.as_ref().map(|destination| (format!("spec.{kind}[{index}].route[{arm}].destination"), destination)),
            );
        }
    }
    found
}
