//! Service ports: their names, and Services that disagree about the pods of one Deployment (IST0116, IST0118, IST0137).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::templates::{Template, texts, word};
use crate::core::PortProtocol;
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::reference_of;

pub(super) fn check(services: &[&Value], templates: &[Template<'_>], findings: &mut Vec<Diagnostic>) {
    for service in services {
        names(service, findings);
    }
    for template in templates {
        let selects = |service: &&&Value| {
            word(service, "/metadata/namespace") == template.namespace && template.is_selected_by(&texts(service.pointer("/spec/selector")))
        };
        let selecting: Vec<&Value> = services.iter().filter(selects).copied().collect();
        if selecting.len() > 1 {
            protocols_differ(template, &selecting, findings);
            ports_differ(template, &selecting, findings);
        }
    }
}

fn ports(service: &Value) -> impl Iterator<Item = (usize, &Value)> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn target_of(port: &Value) -> String {
    match port.get("targetPort") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => port.get("port").map(ToString::to_string).unwrap_or_default(),
    }
}

/// IST0118: a port whose name says nothing about its protocol.
fn names(service: &Value, findings: &mut Vec<Diagnostic>) {
    if word(service, "/spec/type") == "ExternalName" {
        return;
    }
    for (index, port) in ports(service) {
        let (name, number) = (word(port, "/name"), port.get("port").and_then(Value::as_u64).unwrap_or(0));
        let said = PortProtocol::of(port.get("appProtocol").and_then(Value::as_str), name, 1) != PortProtocol::Auto;
        // What Istio takes for a server that speaks first, whatever its name.
        let well_known = matches!(number, 25 | 53 | 3306 | 27017);
        if said || well_known || !matches!(word(port, "/protocol"), "" | "TCP") {
            continue;
        }
        let target = target_of(port);
        let shown = if name.is_empty() { "\"\"" } else { name };
        let message =
            format!("Port name {shown} (port: {number}, targetPort: {target}) doesn't follow the naming convention of Istio port.");
        let korean = format!(
            "포트 {number}의 이름 {shown}이(가) Istio의 이름 규칙(<프로토콜>[-<이름>])과 다릅니다. 프로토콜을 첫 바이트로 짐작합니다"
        );
        let at = format!("spec.ports[{index}]{}", if name.is_empty() { "" } else { ".name" });
        let finding = Diagnostic::new("IST0118", Severity::Info, &reference_of(service), at, message, korean);
        findings.push(finding.with_help(
            "name it http, http-…, grpc-…, tcp-…, or set appProtocol",
            "이름을 http, http-…, grpc-…, tcp-… 로 하거나 appProtocol을 적으세요",
        ));
    }
}

/// IST0116: one port, several protocols.
fn protocols_differ(template: &Template<'_>, services: &[&Value], findings: &mut Vec<Diagnostic>) {
    let mut by_port: BTreeMap<u64, BTreeMap<&str, Vec<&Value>>> = BTreeMap::new();
    for service in services {
        for (_, port) in ports(service) {
            let Some(number) = port.get("port").and_then(Value::as_u64) else { continue };
            let protocol = if word(port, "/protocol").is_empty() { "TCP" } else { word(port, "/protocol") };
            by_port.entry(number).or_default().entry(protocol).or_default().push(service);
        }
    }
    for (number, protocols) in by_port.into_iter().filter(|(_, protocols)| protocols.len() > 1) {
        let names: BTreeSet<&str> = protocols.values().flatten().map(|service| word(service, "/metadata/name")).collect();
        if names.len() < 2 {
            continue;
        }
        let (owner, names) = (format!("{}/{}", template.namespace, template.name), names.into_iter().collect::<Vec<_>>().join(" "));
        let message =
            format!("This deployment {owner} is associated with multiple services using port {number} but different protocols: [{names}]");
        let korean = format!("{owner}을(를) 고르는 Service들({names})이 포트 {number}에 서로 다른 프로토콜을 씁니다");
        findings.push(Diagnostic::new("IST0116", Severity::Warning, &template.reference(), "", message, korean));
    }
}

/// IST0137: one `targetPort`, several ports.
fn ports_differ(template: &Template<'_>, services: &[&Value], findings: &mut Vec<Diagnostic>) {
    let mut by_target: BTreeMap<String, BTreeMap<u64, BTreeSet<&str>>> = BTreeMap::new();
    for service in services {
        for (_, port) in ports(service) {
            let Some(number) = port.get("port").and_then(Value::as_u64) else { continue };
            by_target.entry(target_of(port)).or_default().entry(number).or_default().insert(word(service, "/metadata/name"));
        }
    }
    for (target, numbers) in by_target.into_iter().filter(|(_, numbers)| numbers.len() > 1) {
        let names: BTreeSet<&str> = numbers.values().flatten().copied().collect();
        if names.len() < 2 {
            continue;
        }
        let owner = format!("{}/{}", template.namespace, template.name);
        let (names, list) =
            (names.into_iter().collect::<Vec<_>>().join(" "), numbers.keys().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        let message = format!(
            "This deployment {owner} is associated with multiple services [{names}] using targetPort \"{target}\" but different ports: [{list}]."
        );
        let korean = format!("{owner}을(를) 고르는 Service들({names})이 같은 targetPort {target}에 서로 다른 포트({list})를 씁니다");
        findings.push(Diagnostic::new("IST0137", Severity::Warning, &template.reference(), "", message, korean));
    }
}
