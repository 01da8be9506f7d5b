//! What DestinationRules say about hosts, subsets and breakers (IST0128, IST0129, IST0173, IST0174, and words of our own).

use std::collections::BTreeMap;

use smov_model::names::HostPattern;

use super::{Known, did_you_mean, full_name};
use crate::compile::{MeshService, Policy, Prepared, label, outlier};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{ClientTlsSettings, DestinationRuleSpec, OutlierDetectionSpec, PolicyBlocks, Resource, Subset, TrafficPolicy};

impl Prepared<'_> {
    pub(super) fn check_policies(&self, known: Known, findings: &mut Vec<Diagnostic>) {
        let in_force: Vec<&TrafficPolicy> = self.policies.iter().filter_map(|policy| policy.top).collect();
        let before = findings.len();
        for policy in self.policies.iter() {
            let service = if let HostPattern::Exact(host) = &policy.pattern { self.services.get(host) } else { None };
            for rule in &policy.rules {
                unverified_servers(rule, findings);
                if let HostPattern::Exact(_) = &policy.pattern {
                    if service.is_none() && known.services {
                        let message =
                            format!("The host {} defined in the DestinationRule does not match any services in the mesh.", rule.spec.host);
                        let korean = format!("DestinationRule의 호스트 {}에 맞는 Service가 없습니다", rule.spec.host);
                        let finding = Diagnostic::new("IST0174", Severity::Warning, &rule.reference(), "spec.host", message, korean);
                        let names = self.services.iter().filter(|service| service.namespace.as_str() == rule.metadata.namespace);
                        findings.push(did_you_mean(finding, &rule.spec.host, names.map(|service| service.name.as_str())));
                    }
                    if known.pods
                        && let Some(service) = service
                    {
                        self.subsets_without_pods(service, rule, findings);
                    }
                }
            }
            overshadowed(policy, &in_force, findings);
            never_ejects(policy, service.filter(|_| known.pods), findings);
        }
        // A rule may count for several groups of clients: what is said of it is said once.
        let mut told = findings.split_off(before);
        for finding in told.drain(..) {
            if !findings[before..].contains(&finding) {
                findings.push(finding);
            }
        }
    }

    /// IST0173: subsets that select no pod.
    fn subsets_without_pods(&self, service: &MeshService, rule: &Resource<DestinationRuleSpec>, findings: &mut Vec<Diagnostic>) {
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            if self.selects_any(service, &subset.labels) {
                continue;
            }
            let path = format!("spec.subsets[{index}]");
            let message = format!("The Subset {} defined in the DestinationRule does not select any pods.", subset.name);
            let korean = format!("서브셋 {}이(가) 고르는 파드가 없습니다", subset.name);
            let finding = Diagnostic::new("IST0173", Severity::Error, &rule.reference(), path, message, korean);
            let labels = subset.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            findings.push(finding.with_help(
                format!("no pod of {} has {labels}; requests to this subset get 503 (UH)", service.name),
                format!("{labels} 레이블을 가진 {} 파드가 없습니다. 이 서브셋으로 가는 요청은 503(UH)을 받습니다", service.name),
            ));
        }
    }

    /// Is there a pod of the Service, ready or not, with these labels?
    fn selects_any(&self, service: &MeshService, labels: &BTreeMap<String, String>) -> bool {
        let copies = self.world.services.iter().filter(|(key, _)| key.name == service.name && key.namespace == service.namespace.as_str());
        let selectors: BTreeMap<_, _> = copies.map(|(key, copy)| (&key.cluster, &copy.selector)).collect();
        let mut pods = self.workloads().filter(|pod| pod.namespace == service.namespace);
        let has = |pod, labels: &BTreeMap<String, String>| labels.iter().all(|(key, value)| label(pod, key) == Some(value.as_str()));
        let by_selector = pods.any(|pod| {
            let selector = selectors.get(&pod.cluster).filter(|selector| !selector.is_empty());
            selector.is_some_and(|selector| has(pod, selector) && has(pod, labels))
        });
        by_selector || service.ports.iter().flat_map(|port| &port.endpoints).any(|(_, workload)| has(workload, labels))
    }
}

/// Several rules of one namespace for one host: subsets are united, but only the oldest rule's `trafficPolicy` is in force. One that is
/// in force for other clients (by its `exportTo` or `workloadSelector`) is not idle.
fn overshadowed(policy: &Policy<'_>, in_force: &[&TrafficPolicy], findings: &mut Vec<Diagnostic>) {
    let mut with_policy = policy.rules.iter().filter(|rule| rule.spec.traffic_policy.is_some());
    let Some(first) = with_policy.next() else { return };
    let idle = |rule: &&&Resource<DestinationRuleSpec>| {
        rule.spec.traffic_policy.as_ref().is_some_and(|own| !in_force.iter().any(|other| std::ptr::eq(*other, own)))
    };
    for rule in with_policy.filter(idle) {
        let (host, oldest) = (&rule.spec.host, full_name(first));
        let message = format!(
            "two DestinationRules set a trafficPolicy for {host}: only that of {oldest} is in force (the oldest, then by name), this one is ignored"
        );
        let korean = format!(
            "DestinationRule 두 개가 {host}의 trafficPolicy를 정합니다. {oldest}의 것(가장 오래된 것, 같으면 이름순)만 쓰이고 이것은 무시됩니다"
        );
        let finding = Diagnostic::new("policy-ignored", Severity::Warning, &rule.reference(), "spec.trafficPolicy", message, korean);
        findings.push(finding.with_help("merge them into one DestinationRule", "하나의 DestinationRule로 합치세요"));
    }
}

/// One breaker of a rule: where it is written, and for which subsets it is in force.
struct Breaker<'a> {
    path: String,
    spec: &'a OutlierDetectionSpec,
    subsets: Vec<&'a Subset>,
}

/// An endpoint is ejected only while (ejected + 1) of all endpoints stays within `maxEjectionPercent`: with few endpoints, never. Where
/// the endpoints are not known, the number that would be needed is said.
fn never_ejects(policy: &Policy<'_>, service: Option<&MeshService>, findings: &mut Vec<Diagnostic>) {
    for rule in &policy.rules {
        for breaker in breakers(policy, rule) {
            let settings = outlier(breaker.spec);
            let most = settings.max_ejection_percent;
            let needed = 100_usize.div_ceil(usize::from(most));
            if needed < 2 {
                continue;
            }
            let counted = service.map(|service| count(service, &breaker.subsets));
            let few: Vec<(String, usize)> = match &counted {
                Some(counts) => counts.iter().filter(|(_, count)| (1..needed).contains(count)).cloned().collect(),
                None => breaker.subsets.iter().map(|subset| (subset.name.clone(), 0)).collect(),
            };
            if counted.is_some() && few.is_empty() {
                continue;
            }
            let names = few.iter().filter(|(name, _)| !name.is_empty()).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            let (of, of_ko) = match names.as_str() {
                "" => (String::new(), String::new()),
                names => (format!(" in subset {names}"), format!("서브셋 {names}에서 ")),
            };
            let largest = few.iter().map(|(_, count)| *count).max().unwrap_or(0);
            let (message, korean) = match largest {
                1.. => (
                    format!(
                        "this circuit breaker never ejects{of}: 1 of {largest} endpoint(s) is {} %, over maxEjectionPercent {most}",
                        100 / largest
                    ),
                    format!(
                        "이 서킷 브레이커는 {of_ko}아무것도 차단하지 않습니다. 엔드포인트 {largest}개 중 1개는 {} %로 maxEjectionPercent {most}을(를) 넘습니다",
                        100 / largest
                    ),
                ),
                0 => (
                    format!(
                        "this circuit breaker ejects only where there are at least {needed} endpoints{of}: with fewer, one is over maxEjectionPercent {most} and it never ejects"
                    ),
                    format!(
                        "이 서킷 브레이커는 {of_ko}엔드포인트가 {needed}개 이상일 때만 차단합니다. 그보다 적으면 하나만 빼도 maxEjectionPercent {most}을(를) 넘어 아무것도 차단하지 않습니다"
                    ),
                ),
            };
            let finding = Diagnostic::new("never-ejects", Severity::Warning, &rule.reference(), breaker.path, message, korean);
            let least = few.iter().map(|(_, count)| 100_usize.div_ceil((*count).max(1))).max().unwrap_or(100);
            let (value, value_ko) = if least == 100 {
                ("100".to_owned(), "100으로".to_owned())
            } else {
                (format!("{least} or more"), format!("{least} 이상으로"))
            };
            findings.push(finding.with_help(
                format!("set maxEjectionPercent to {value}, or run at least {needed} pods"),
                format!("maxEjectionPercent를 {value_ko} 하거나 파드를 {needed}개 이상으로 늘리세요"),
            ));
        }
    }
}

/// The breakers that a rule writes and that are in force somewhere.
fn breakers<'a>(policy: &Policy<'a>, rule: &'a Resource<DestinationRuleSpec>) -> Vec<Breaker<'a>> {
    let written = |blocks: &'a PolicyBlocks| blocks.outlier_detection.as_ref();
    let mut found = Vec::new();
    // Only the first policy of the host is in force.
    let top = rule.spec.traffic_policy.as_ref().filter(|own| policy.top.is_some_and(|top| std::ptr::eq(top, *own)));
    if let Some(spec) = top.and_then(|top| written(&top.blocks)) {
        let inherits = |subset: &&&Subset| subset.traffic_policy.as_ref().is_none_or(|own| own.blocks.outlier_detection.is_none());
        let subsets: Vec<&Subset> = policy.subsets.iter().filter(inherits).copied().collect();
        // With subsets, traffic goes to them: the whole host is judged only where there are none.
        if policy.subsets.is_empty() || !subsets.is_empty() {
            found.push(Breaker { path: place("spec.trafficPolicy", spec), spec, subsets });
        }
    }
    for (index, subset) in rule.spec.subsets.iter().enumerate() {
        let in_force = policy.subset(&subset.name).is_some_and(|known| std::ptr::eq(known, subset));
        if let Some(spec) = subset.traffic_policy.as_ref().and_then(|own| written(&own.blocks)).filter(|_| in_force) {
            found.push(Breaker { path: place(&format!("spec.subsets[{index}].trafficPolicy"), spec), spec, subsets: vec![subset] });
        }
    }
    found
}

fn place(policy: &str, spec: &OutlierDetectionSpec) -> String {
    let field = if spec.max_ejection_percent.is_some() { ".maxEjectionPercent" } else { "" };
    format!("{policy}.outlierDetection{field}")
}

/// Endpoints per subset (the port with the most of them), or of the whole host under an empty name.
fn count(service: &MeshService, subsets: &[&Subset]) -> Vec<(String, usize)> {
    let most = |labels: Option<&BTreeMap<String, String>>| {
        let selected = |workload: &smov_model::workload::Workload| {
            labels.is_none_or(|labels| labels.iter().all(|(key, value)| label(workload, key) == Some(value.as_str())))
        };
        let of_port = |port: &crate::compile::MeshPort| port.endpoints.iter().filter(|(_, workload)| selected(workload)).count();
        service.ports.iter().map(of_port).max().unwrap_or(0)
    };
    match subsets {
        [] => vec![(String::new(), most(None))],
        subsets => subsets.iter().map(|subset| (subset.name.clone(), most(Some(&subset.labels)))).collect(),
    }
}

/// IST0128 and IST0129: TLS without anything to check the server's certificate against.
fn unverified_servers(rule: &Resource<DestinationRuleSpec>, findings: &mut Vec<Diagnostic>) {
    let Some(policy) = &rule.spec.traffic_policy else { return };
    let unverified = |tls: Option<&ClientTlsSettings>| {
        let tls = tls?;
        let mode = tls.mode.as_deref().filter(|mode| matches!(*mode, "SIMPLE" | "MUTUAL"))?;
        let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        (!filled(&tls.ca_certificates) && !filled(&tls.credential_name)).then(|| mode.to_owned())
    };
    let (name, namespace, host) = (&rule.metadata.name, &rule.metadata.namespace, &rule.spec.host);
    let korean = |mode: &str| format!("TLS 모드가 {mode}인데 caCertificates가 없어 {host}의 서버 인증서를 확인하지 않습니다");
    let sentence = |mode: &str| {
        format!(
            "DestinationRule {name} in namespace {namespace} has TLS mode set to {mode} but no caCertificates are set to validate server identity for host: {host}"
        )
    };
    if let Some(mode) = unverified(policy.blocks.tls.as_ref()) {
        let path = "spec.trafficPolicy.tls.mode";
        findings.push(Diagnostic::new("IST0128", Severity::Warning, &rule.reference(), path, sentence(&mode), korean(&mode)));
    }
    for (index, entry) in policy.port_level_settings.iter().enumerate() {
        if let Some(mode) = unverified(entry.blocks.tls.as_ref()) {
            let port = entry.port.as_ref().map_or(0, |port| port.number);
            let path = format!("spec.trafficPolicy.portLevelSettings[{index}].tls.mode");
            let message = format!("{} at port number:{port}", sentence(&mode));
            findings.push(Diagnostic::new("IST0129", Severity::Warning, &rule.reference(), path, message, korean(&mode)));
        }
    }
}
