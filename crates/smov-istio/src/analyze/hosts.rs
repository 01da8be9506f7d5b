//! Several VirtualServices of the mesh for one host (IST0109).

use std::collections::{BTreeMap, BTreeSet};

use smov_model::names::HostPattern;

use super::full_name;
use crate::compile::{Prepared, mesh_gateway};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{Resource, VirtualServiceSpec};

impl Prepared<'_> {
    pub(super) fn check_hosts(&self, findings: &mut Vec<Diagnostic>) {
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
            let names: Vec<String> = resources.iter().map(|one| full_name(one)).collect();
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
