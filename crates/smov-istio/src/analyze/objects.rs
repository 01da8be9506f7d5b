//! Namespaces and pods: who gets a sidecar (IST0102, IST0103, IST0123).

use std::collections::BTreeMap;

use serde_json::Value;
use smov_model::names::ResourceRef;

use super::templates::{Template, texts, word};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::reference_of;

/// Namespaces that no application runs in.
const SYSTEM: [&str; 6] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "istio-system", "istio-operator"];

impl Template<'_> {
    /// Points at what the pods come from.
    pub(super) fn reference(&self) -> ResourceRef {
        let (kind, namespace, name) = (self.kind.to_owned(), self.namespace.to_owned(), self.name.to_owned());
        ResourceRef { kind, namespace, name, resource_version: String::new() }
    }
}

/// What a namespace's labels say about injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Injection {
    Enabled,
    Disabled,
    Unsaid,
    /// The namespace is not in the input.
    Unknown,
}

/// Injection of every namespace of the input.
pub(super) fn injections<'a>(namespaces: &[&'a Value]) -> BTreeMap<&'a str, Injection> {
    namespaces.iter().map(|namespace| (word(namespace, "/metadata/name"), injection(namespace))).collect()
}

fn injection(namespace: &Value) -> Injection {
    let labels = texts(namespace.pointer("/metadata/labels"));
    match labels.get("istio-injection").map(String::as_str) {
        Some("enabled") => Injection::Enabled,
        Some(_) => Injection::Disabled,
        None if labels.get("istio.io/rev").is_some_and(|revision| !revision.is_empty()) => Injection::Enabled,
        // Ambient has no sidecars to inject.
        None if labels.contains_key("istio.io/dataplane-mode") => Injection::Disabled,
        None => Injection::Unsaid,
    }
}

/// Does a pod of this template get a sidecar, by what is known?
pub(super) fn is_injected(template: &Template<'_>, namespace: Injection) -> bool {
    if template.has_proxy() {
        return true;
    }
    match (template.inject(), namespace) {
        (Some("false"), _) | (_, Injection::Disabled) => false,
        (Some("true"), _) | (_, Injection::Enabled) => true,
        (_, Injection::Unsaid | Injection::Unknown) => false,
    }
}

pub(super) fn check(namespaces: &[&Value], templates: &[Template<'_>], findings: &mut Vec<Diagnostic>) {
    let injections = injections(namespaces);
    for namespace in namespaces {
        let name = word(namespace, "/metadata/name");
        let labels = texts(namespace.pointer("/metadata/labels"));
        let both: Vec<&str> = ["istio-injection", "istio.io/rev"].into_iter().filter(|key| labels.contains_key(*key)).collect();
        if both.len() > 1 {
            let message = format!(
                "The namespace has more than one type of injection labels [{}], which may lead to undefined behavior. Make sure only one injection label exists.",
                both.join(" ")
            );
            let korean = format!("네임스페이스에 주입 레이블이 둘({}) 있습니다. 하나만 두세요", both.join(", "));
            findings.push(Diagnostic::new("IST0123", Severity::Warning, &reference_of(namespace), "metadata.labels", message, korean));
        }
        if injections.get(name) == Some(&Injection::Unsaid) && !SYSTEM.contains(&name) && !name.starts_with("openshift-") {
            let message = format!(
                "The namespace is not enabled for Istio injection. Run 'kubectl label namespace {name} istio-injection=enabled' to enable it, or 'kubectl label namespace {name} istio-injection=disabled' to explicitly mark it as not needing injection."
            );
            let korean = format!(
                "사이드카 주입이 켜져 있지 않습니다. 켜려면 'kubectl label namespace {name} istio-injection=enabled', 필요 없다고 표시하려면 '=disabled'"
            );
            findings.push(Diagnostic::new("IST0102", Severity::Info, &reference_of(namespace), "metadata", message, korean));
        }
    }
    for pod in templates.iter().filter(|template| template.kind == "Pod") {
        let enabled = injections.get(pod.namespace) == Some(&Injection::Enabled);
        let host_network = pod.spec.get("hostNetwork") == Some(&Value::Bool(true));
        if enabled && !pod.has_proxy() && pod.inject() != Some("false") && !host_network {
            let message = format!(
                "The pod {}/{} is missing the Istio proxy. This can often be resolved by restarting or redeploying the workload.",
                pod.namespace, pod.name
            );
            let korean = format!("파드 {}에 사이드카가 없습니다. 다시 시작하거나 배포하면 대개 해결됩니다", pod.name);
            findings.push(Diagnostic::new("IST0103", Severity::Warning, &pod.reference(), "spec.containers", message, korean));
        }
    }
}
