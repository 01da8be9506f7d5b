//! Selectors of policies, credentials of gateways, and ServiceEntries (IST0101, IST0127, IST0134, IST0177).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::not_found;
use super::templates::{Template, texts, word};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::reference_of;

/// Policies that select pods by `spec.selector.matchLabels`.
const POLICIES: [&str; 4] = ["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Telemetry"];

/// IST0127 and IST0101: selectors that match no pod. Only where the pods are known.
pub(super) fn check_selectors(objects: &[&Value], root: &str, templates: &[Template<'_>], findings: &mut Vec<Diagnostic>) {
    for object in objects {
        let (kind, namespace) = (word(object, "/kind"), word(object, "/metadata/namespace"));
        let (pointer, path) = match kind {
            kind if POLICIES.contains(&kind) => ("/spec/selector/matchLabels", "spec.selector"),
            "Sidecar" => ("/spec/workloadSelector/labels", "spec.workloadSelector"),
            _ => continue,
        };
        let labels = texts(object.pointer(pointer));
        let here = |template: &&Template<'_>| template.namespace == namespace || (namespace == root && kind != "Sidecar");
        if labels.is_empty() || templates.iter().filter(here).any(|template| template.is_selected_by(&labels)) {
            continue;
        }
        let told = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        if kind == "Sidecar" {
            findings.push(not_found(&reference_of(object), path, "selector", &told));
            continue;
        }
        let message = format!("No matching workloads for this resource with the following labels: {told}");
        let korean = format!("{told} 레이블을 가진 파드가 없어 이 정책은 아무에게도 적용되지 않습니다");
        findings.push(Diagnostic::new("IST0127", Severity::Warning, &reference_of(object), path, message, korean));
    }
}

/// IST0101: namespaces in the sources of AuthorizationPolicies that do not exist. Only where namespaces are known.
pub(super) fn check_namespaces(objects: &[&Value], known: &BTreeSet<&str>, findings: &mut Vec<Diagnostic>) {
    for object in objects.iter().filter(|object| word(object, "/kind") == "AuthorizationPolicy") {
        let rules = object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten().enumerate();
        for (rule, value) in rules {
            let sources = value.get("from").and_then(Value::as_array).into_iter().flatten().enumerate();
            for (from, source) in sources {
                let names = source.pointer("/source/namespaces").and_then(Value::as_array).into_iter().flatten().enumerate();
                for (place, name) in names {
                    let Some(name) = name.as_str().filter(|name| !name.contains('*') && !known.contains(name)) else { continue };
                    let path = format!("spec.rules[{rule}].from[{from}].source.namespaces[{place}]");
                    findings.push(not_found(&reference_of(object), path, "namespace", name));
                }
            }
        }
    }
}

/// IST0101: Secrets that gateways take their certificates from. They live beside the gateway's pods.
pub(super) fn check_credentials(
    objects: &[&Value],
    secrets: &BTreeSet<(&str, &str)>,
    templates: &[Template<'_>],
    findings: &mut Vec<Diagnostic>,
) {
    let gateways = objects
        .iter()
        .filter(|object| word(object, "/kind") == "Gateway" && word(object, "/apiVersion").starts_with("networking.istio.io/"));
    for gateway in gateways {
        let selector = texts(gateway.pointer("/spec/selector"));
        let namespaces: BTreeSet<&str> =
            templates.iter().filter(|template| template.is_selected_by(&selector)).map(|template| template.namespace).collect();
        let servers = gateway.pointer("/spec/servers").and_then(Value::as_array).into_iter().flatten().enumerate();
        for (index, server) in servers {
            let name = word(server, "/tls/credentialName");
            if name.is_empty() || namespaces.is_empty() || namespaces.iter().any(|namespace| secrets.contains(&(*namespace, name))) {
                continue;
            }
            let path = format!("spec.servers[{index}].tls.credentialName");
            findings.push(not_found(&reference_of(gateway), path, "credentialName", name));
        }
    }
}

/// IST0134 and IST0177: TCP ports without addresses; one host and port with several protocols.
pub(super) fn check_service_entries(objects: &[&Value], findings: &mut Vec<Diagnostic>) {
    let mut protocols: BTreeMap<(&str, u64), BTreeMap<String, &Value>> = BTreeMap::new();
    for entry in objects.iter().filter(|object| word(object, "/kind") == "ServiceEntry") {
        let ports = || entry.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten().enumerate();
        let no_addresses = entry.pointer("/spec/addresses").and_then(Value::as_array).is_none_or(Vec::is_empty);
        for (index, port) in ports() {
            let protocol = word(port, "/protocol").to_ascii_uppercase();
            if no_addresses && matches!(protocol.as_str(), "" | "TCP") {
                let path = format!("spec.ports[{index}]");
                let message = "ServiceEntry addresses are required for this protocol.";
                let korean = "이 프로토콜(TCP)에는 addresses가 필요합니다. 없으면 같은 포트의 다른 연결과 구별할 수 없습니다";
                findings.push(Diagnostic::new("IST0134", Severity::Warning, &reference_of(entry), path, message, korean));
            }
            let number = port.get("number").and_then(Value::as_u64).unwrap_or(0);
            for host in entry.pointer("/spec/hosts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                protocols.entry((host, number)).or_default().entry(protocol.clone()).or_insert(entry);
            }
        }
    }
    for ((host, number), found) in protocols.into_iter().filter(|(_, found)| found.len() > 1) {
        let list = found.keys().cloned().collect::<Vec<_>>().join(", ");
        for entry in found.values() {
            let message = format!("ServiceEntries define host {host} port {number} with different protocols: {list}");
            let korean = format!("호스트 {host}의 포트 {number}을(를) 서로 다른 프로토콜({list})로 정의한 ServiceEntry가 있습니다");
            findings.push(Diagnostic::new("IST0177", Severity::Warning, &reference_of(entry), "spec.ports", message, korean));
        }
    }
}
