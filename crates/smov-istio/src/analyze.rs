//! What does not fit together: findings over a whole world, with the codes of `istioctl analyze`
//! (<https://istio.io/latest/docs/reference/config/analysis/>).
//!
//! [`analyze`] is for a world that is known to be whole, as a control plane's; [`input`] is for files, where what is not in them may be
//! elsewhere: there [`Known`] says which absences mean something.

use smov_model::names::ResourceRef;

use crate::compile::Prepared;
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::Resource;
use crate::world::World;

pub mod assume;
mod gateways;
mod hosts;
pub mod input;
mod left_out;
mod mutual_tls;
mod objects;
mod policies;
mod ports;
mod references;
mod report;
mod selectors;
mod templates;

/// The Istio whose words and rules these are.
pub const ISTIO_VERSION: &str = "1.32";

/// What a world can tell by its silence: is an object that is not in it absent, or only not in the input?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Services and ServiceEntries.
    pub services: bool,
    /// Pods, or what makes them.
    pub pods: bool,
    /// Gateways.
    pub gateways: bool,
    /// The pods of gateways.
    pub gateway_pods: bool,
    /// DestinationRules, and with them subsets.
    pub subsets: bool,
}

impl Known {
    /// A world that is whole.
    pub const ALL: Self = Self { services: true, pods: true, gateways: true, gateway_pods: true, subsets: true };
}

/// All findings over a world, those of single objects (warnings, objects that were refused) first.
pub fn analyze(world: &World) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = world.diagnostics().cloned().collect();
    findings.extend(Prepared::new(world).analyze());
    findings
}

impl Prepared<'_> {
    /// The findings over several objects alone.
    pub fn analyze(&self) -> Vec<Diagnostic> {
        self.analyze_knowing(Known::ALL)
    }

    /// As [`Self::analyze`], where not everything may be in the world.
    pub fn analyze_knowing(&self, known: Known) -> Vec<Diagnostic> {
        let mut findings = self.virtual_services.findings.clone();
        self.check_references(known, &mut findings);
        self.check_hosts(&mut findings);
        self.check_policies(known, &mut findings);
        self.check_mutual_tls(known, &mut findings);
        self.check_gateways(known, &mut findings);
        findings
    }
}

/// IST0101 for anything.
fn not_found(resource: &ResourceRef, path: impl Into<String>, what: &str, name: &str) -> Diagnostic {
    let message = format!("Referenced {what} not found: \"{name}\"");
    let korean = format!("가리키는 대상({what})이 없습니다: {name}");
    Diagnostic::new("IST0101", Severity::Error, resource, path, message, korean)
}

/// The nearest of some names, as the next step of a finding about one that does not exist.
fn did_you_mean<'n>(finding: Diagnostic, name: &str, known: impl Iterator<Item = &'n str>) -> Diagnostic {
    match nearest_name(name, known) {
        Some(near) => finding.with_help(format!("did you mean `{near}`?"), format!("혹시 `{near}`인가요?")),
        None => finding,
    }
}

/// The known name with the fewest changed letters, if few.
fn nearest_name<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let ranked = known.map(|one| (distance(name, one), one)).filter(|(distance, _)| *distance <= limit);
    ranked.min().map(|(_, one)| one)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, one) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, other) in right.iter().enumerate() {
            let change = diagonal + usize::from(one != *other);
            diagonal = row[place + 1];
            row[place + 1] = change.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

/// `namespace/name`, as Istio's sentences name objects.
fn full_name<S>(resource: &Resource<S>) -> String {
    format!("{}/{}", resource.metadata.namespace, resource.metadata.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest_name("user-servce", ["movie-service", "user-service"].into_iter()), Some("user-service"));
        assert_eq!(nearest_name("ctx3", ["ctx1", "v2"].into_iter()), Some("ctx1"));
        assert_eq!(nearest_name("redis", ["booking-service"].into_iter()), None);
    }
}
