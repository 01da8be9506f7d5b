//! A proxy's snapshot from files, with no mesh at all.

use std::path::PathBuf;

use smov_istio::analyze::ISTIO_VERSION;
use smov_istio::analyze::input::Input;
use smov_istio::compile::Prepared;
use smov_istio::diagnostic::Severity;
use smov_istio::explain::{Question, caller, gateway};
use smov_istio::world::{MeshConfig, Role};
use smov_model::names::{KubeCluster, Namespace, Port};
use smov_model::snapshot::SnapshotVersion;

use super::Asked;
use crate::cli::Explain;
use crate::commands::files;
use crate::failure::{Exit, Failure};
use crate::text::{self, Language};

/// The cluster of everything that says no other.
const OWN: &str = "local";

/// Reads the files.
pub(super) fn read(explain: &Explain, files: &[PathBuf]) -> Result<Input, Failure> {
    Ok(files::read(files, &explain.kustomize, explain.namespace.as_deref())?.input)
}

/// Compiles what the caller's proxy would get. What is only implied by `others` is assumed here too, so that the two can be compared.
pub(super) fn ask(
    explain: &Explain,
    mut input: Input,
    others: &[&Input],
    questions: &[Question],
    language: Language,
) -> Result<Asked, Failure> {
    let report = input.report(false);
    let mut notes = vec![language.line(text::VALIDATE_AS_SHORT, &[ISTIO_VERSION])];
    let errors = report.count(Severity::Error);
    if errors > 0 {
        notes.push(language.line(text::NOTE_ERRORS, &[&errors.to_string()]));
    }
    let left_out: Vec<String> = report.not_considered.iter().map(|one| format!("{} × {}", one.count, one.kind)).collect();
    if !left_out.is_empty() {
        notes.push(language.line(text::NOTE_NOT_CONSIDERED, &[&left_out.join(", ")]));
    }
    let policies = report.not_considered.iter().filter(|one| one.group == "security.istio.io");
    let policies = policies.map(|one| format!("{} × {}", one.count, one.kind)).collect();
    let mut ports: Vec<Port> = questions.iter().map(|question| question.port).collect();
    if ports.is_empty() {
        ports.extend(Port::try_from(80));
    }
    let assumed = input.assume(&ports, questions.first().map(|question| question.authority.as_str()), others);
    if assumed.services {
        let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        notes.push(language.line(text::NOTE_ASSUMED_SERVICES, &[&list]));
    }
    if assumed.pods {
        notes.push(language.line(text::NOTE_ASSUMED_PODS, &[]));
    }
    notes.push(language.line(text::NOTE_COMPUTED, &[]));

    let own: KubeCluster = OWN.parse().expect("a DNS label");
    let mut world = input.world(&own, MeshConfig::default());
    let (caller, from) = if explain.gateway {
        let found = gateway(&mut world, None);
        let found =
            found.ok_or_else(|| Failure::new(Exit::Usage, text::EXPLAIN_NO_GATEWAY, &[]).hint(text::EXPLAIN_NO_GATEWAY_HINT, &[]))?;
        let name = format!("{}/{}", found.proxy.namespace, found.proxy.pod);
        let words = if found.known { name } else { language.line(text::FROM_GATEWAY_ASSUMED, &[&name]) };
        (found, words)
    } else {
        let namespace = namespace_of(explain, &input)?;
        let found = caller(&mut world, explain.from.as_deref(), &namespace);
        let (pod, cluster) = (found.proxy.pod.clone(), found.proxy.cluster.to_string());
        let words = match (found.known, cluster.as_str()) {
            (false, _) => language.line(text::FROM_ASSUMED, &[&pod, namespace.as_str()]),
            (true, OWN) => format!("{namespace}/{pod}"),
            (true, cluster) => language.line(text::FROM_POD, &[&pod, cluster, namespace.as_str()]),
        };
        (found, words)
    };
    let prepared = Prepared::new(&world);
    let security = prepared.security_of(&caller.proxy).into_values().collect();
    let compiled = prepared.snapshot_for(&caller.proxy, SnapshotVersion { epoch: 0, number: 0 });
    let role = if explain.gateway { Role::Gateway } else { Role::Sidecar };
    Ok(Asked { snapshot: compiled.snapshot, role, from, source: "files", notes, pods_assumed: assumed.pods, security, policies })
}

/// The caller's namespace: as asked, else the one with the most rules.
fn namespace_of(explain: &Explain, input: &Input) -> Result<Namespace, Failure> {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for source in input.sources() {
        let value = &source.document.value;
        if matches!(value["kind"].as_str(), Some("VirtualService" | "DestinationRule" | "Service")) {
            *counts.entry(value["metadata"]["namespace"].as_str().unwrap_or_default()).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name);
    let name = explain.namespace.as_deref().or(most).unwrap_or(smov_istio::analyze::input::DEFAULT_NAMESPACE);
    name.parse().map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))
}
