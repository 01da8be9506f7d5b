//! Callers and callees that do not agree on mutual TLS. Istio had a finding for it (IST0113, MTLSPolicyConflict) and retired it; the sentence
//! here is ours.

use smov_model::names::HostPattern;
use smov_model::tls::MutualTlsMode;

use super::{Known, full_name};
use crate::compile::{MeshPort, MeshService, Policy, Prepared, WrittenTls, is_able, label};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::Subset;

impl Prepared<'_> {
    /// `mtls-conflict`: a DestinationRule's `tls` against what the pods take.
    pub(super) fn check_mutual_tls(&self, known: Known, findings: &mut Vec<Diagnostic>) {
        for policy in self.policies.iter() {
            let HostPattern::Exact(host) = &policy.pattern else { continue };
            let Some(service) = self.services.get(host).filter(|_| known.services) else { continue };
            for port in &service.ports {
                for subset in std::iter::once(None).chain(policy.subsets.iter().copied().map(Some)) {
                    let written = policy.written_tls(subset.map(|subset| subset.name.as_str()), port.port);
                    let Some(written) = written else { continue };
                    self.secrets_for_nobody(policy, &written, findings);
                    let found = self.disagreement(service, port, subset, &written);
                    findings.extend(found.filter(|finding| !findings.contains(finding)));
                }
            }
        }
    }

    fn disagreement(
        &self,
        service: &MeshService,
        port: &MeshPort,
        subset: Option<&Subset>,
        written: &WrittenTls<'_>,
    ) -> Option<Diagnostic> {
        let mode = written.tls.mode.as_deref().unwrap_or("DISABLE");
        let selected = |workload: &smov_model::workload::Workload| {
            subset.is_none_or(|subset| subset.labels.iter().all(|(key, value)| label(workload, key) == Some(value.as_str())))
        };
        let mut endpoints = port.endpoints.iter().filter(|(_, workload)| selected(workload)).map(|(address, workload)| {
            let number = u32::from(address.port()).try_into().ok();
            let decided = number.filter(|_| is_able(workload)).map(|number| self.peer_authentications.of(workload, number));
            (workload, decided)
        });
        let error = |message: String, korean: String, help: (&str, &str)| {
            let finding =
                Diagnostic::new("mtls-conflict", Severity::Error, &written.origin.resource, &written.origin.path, message, korean);
            finding.with_help(help.0, help.1)
        };
        if mode == "ISTIO_MUTUAL" {
            let plain =
                |decided: &Option<crate::compile::Mode>| decided.as_ref().is_none_or(|decided| decided.mode == MutualTlsMode::Disable);
            let (workload, _) = endpoints.find(|(_, decided)| plain(decided))?;
            let (name, number) = (&service.name, port.port);
            return Some(error(
                format!("mode ISTIO_MUTUAL towards {name}:{number}, whose pod {} takes plaintext only: its requests get 503", workload.pod),
                format!("{name}:{number}의 파드 {}은(는) 평문만 받는데 ISTIO_MUTUAL로 부릅니다. 그 요청은 503을 받습니다", workload.pod),
                ("take the tls block out: auto mTLS looks at each pod", "tls 블록을 지우세요. 자동 mTLS는 파드마다 맞춰 부릅니다"),
            ));
        }
        let strict = endpoints.find_map(|(workload, decided)| {
            decided.filter(|decided| decided.mode == MutualTlsMode::Strict).map(|decided| (workload, decided))
        });
        let (workload, decided) = strict?;
        let by = decided.origin.map_or_else(String::new, |origin| format!("{}/{}", origin.resource.namespace, origin.resource.name));
        let (name, number) = (&service.name, port.port);
        Some(error(
            format!(
                "mode {mode} towards {name}:{number}, but PeerAuthentication {by} wants STRICT mutual TLS there (pod {}): connections are reset, requests get 503",
                workload.pod
            ),
            format!(
                "{name}:{number}은(는) PeerAuthentication {by}이(가) STRICT인데(파드 {}) {mode}로 부릅니다. 연결이 끊기고 요청은 503을 받습니다",
                workload.pod
            ),
            (
                "take the tls block out (auto mTLS), or set mode: ISTIO_MUTUAL",
                "tls 블록을 지우거나(자동 mTLS) mode: ISTIO_MUTUAL로 바꾸세요",
            ),
        ))
    }

    /// `credential-unused`: sidecars get Secrets only by rules for certain clients.
    fn secrets_for_nobody(&self, policy: &Policy<'_>, written: &WrittenTls<'_>, findings: &mut Vec<Diagnostic>) {
        let named = written.tls.credential_name.as_deref().is_some_and(|name| !name.is_empty());
        if !named || policy.is_for_certain_clients() || !matches!(written.tls.mode.as_deref(), Some("SIMPLE" | "MUTUAL")) {
            return;
        }
        let Some(rule) = policy.rules.iter().find(|rule| rule.reference() == written.origin.resource) else { return };
        let message = format!(
            "DestinationRule {} has a credentialName and no workloadSelector: gateways use it, sidecars call in plaintext",
            full_name(rule)
        );
        let korean = "workloadSelector 없이 credentialName을 쓰면 게이트웨이만 사용하고, 사이드카는 평문으로 부릅니다";
        let path = format!("{}.credentialName", written.origin.path);
        let finding = Diagnostic::new("credential-unused", Severity::Warning, &written.origin.resource, path, message, korean);
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}
