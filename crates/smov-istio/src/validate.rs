//! What Istio's webhook says to a resource: all findings at once, each with the field's path.
//!
//! [`validate`] is for an API server, whose `fieldValidation` decides on unknown fields before ([`crate::schema::unknown_fields`]);
//! [`validate_strictly`] is for files, where an unknown field is an error.

use serde_json::Value;
use smov_model::names::ResourceRef;

use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{
    AuthorizationPolicySpec, DestinationRuleSpec, GatewaySpec, IstioKind, PeerAuthenticationSpec, ServiceEntrySpec, TelemetrySpec,
    VirtualServiceSpec, WorkloadEntrySpec, parse_resource, reference_of,
};
use crate::schema::{UNKNOWN_FIELD, check, prune_as};

mod authorization_policy;
mod connection_pool;
mod destination_rule;
mod gateway;
mod headers;
mod http_fault;
mod http_match;
mod http_policy;
mod http_route;
mod load_balancer;
mod names;
mod peer_authentication;
mod reachable;
mod service_entry;
mod telemetry;
mod values;
mod virtual_service;

/// What a webhook says to an object that an API server is about to store; empty for kinds that are not ours. Unknown fields are not
/// among it: an API server has refused or pruned them before, by `fieldValidation`.
pub fn validate(object: &Value) -> Vec<Diagnostic> {
    IstioKind::of(object).map(|kind| validate_as(kind, object)).unwrap_or_default()
}

/// As [`validate`], with unknown fields as errors: for files.
pub fn validate_strictly(object: &Value) -> Vec<Diagnostic> {
    IstioKind::of(object).map(|kind| all_findings(kind, object)).unwrap_or_default()
}

/// As [`validate`], for an object whose kind is known from elsewhere (the items of a list do not say theirs).
pub(crate) fn validate_as(kind: IstioKind, object: &Value) -> Vec<Diagnostic> {
    all_findings(kind, object).into_iter().filter(|finding| finding.code != UNKNOWN_FIELD).collect()
}

fn all_findings(kind: IstioKind, object: &Value) -> Vec<Diagnostic> {
    let mut findings = check(kind, object);
    // Wrong types would only give the same finding again, in other words.
    let typed = !findings.iter().any(|finding| finding.is_error() && finding.code != UNKNOWN_FIELD);
    if typed {
        let mut pruned = object.clone();
        prune_as(kind, &mut pruned);
        findings.extend(webhook(kind, &pruned));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn webhook(kind: IstioKind, object: &Value) -> Vec<Diagnostic> {
    let mut reference = reference_of(object);
    kind.as_str().clone_into(&mut reference.kind);
    let mut findings = Findings { resource: reference, list: Vec::new() };
    let outcome = match kind {
        IstioKind::VirtualService => {
            parse_resource::<VirtualServiceSpec>(kind, object).map(|r| virtual_service::check(&r.spec, &mut findings))
        }
        IstioKind::DestinationRule => {
            parse_resource::<DestinationRuleSpec>(kind, object).map(|r| destination_rule::check(&r.spec, &mut findings))
        }
        IstioKind::Gateway => parse_resource::<GatewaySpec>(kind, object).map(|r| gateway::check(&r.spec, &mut findings)),
        IstioKind::ServiceEntry => parse_resource::<ServiceEntrySpec>(kind, object).map(|r| service_entry::check(&r.spec, &mut findings)),
        IstioKind::WorkloadEntry => parse_resource::<WorkloadEntrySpec>(kind, object)
            .map(|r| service_entry::check_workload(&r.spec, "spec", None, true, &mut findings)),
        IstioKind::PeerAuthentication => {
            parse_resource::<PeerAuthenticationSpec>(kind, object).map(|r| peer_authentication::check(&r.spec, &mut findings))
        }
        IstioKind::AuthorizationPolicy => {
            parse_resource::<AuthorizationPolicySpec>(kind, object).map(|r| authorization_policy::check(&r.spec, &mut findings))
        }
        IstioKind::Telemetry => parse_resource::<TelemetrySpec>(kind, object).map(|r| telemetry::check(&r.spec, &mut findings)),
        // What is not executed is checked by its schema alone.
        IstioKind::Sidecar | IstioKind::RequestAuthentication => Ok(()),
    };
    if let Err(finding) = outcome {
        findings.list.push(*finding);
    }
    debug_assert!(findings.list.iter().all(|finding| !finding.message_ko.is_empty()));
    findings.list
}

/// Findings about one resource, as they are gathered.
pub(crate) struct Findings {
    resource: ResourceRef,
    list: Vec<Diagnostic>,
}

impl Findings {
    /// The resource's namespace.
    pub(crate) fn namespace(&self) -> &str {
        if self.resource.namespace.is_empty() { "default" } else { &self.resource.namespace }
    }

    /// The resource's name.
    pub(crate) fn name(&self) -> &str {
        &self.resource.name
    }

    /// The webhook refuses this.
    pub(crate) fn error(&mut self, code: &'static str, path: &str, message: impl Into<String>, korean: impl Into<String>) {
        self.list.push(Diagnostic::new(code, Severity::Error, &self.resource, path, message, korean));
    }

    /// The webhook admits this with a warning.
    pub(crate) fn warning(&mut self, code: &'static str, path: &str, message: impl Into<String>, korean: impl Into<String>) {
        self.list.push(Diagnostic::new(code, Severity::Warning, &self.resource, path, message, korean));
    }

    /// A next step for the finding just added.
    pub(crate) fn help(&mut self, help: &str, korean: &str) {
        if let Some(last) = self.list.pop() {
            self.list.push(last.with_help(help, korean));
        }
    }

    /// The same, said while it is admitted: information.
    pub(crate) fn info(&mut self, code: &'static str, path: &str, message: impl Into<String>, korean: impl Into<String>) {
        self.list.push(Diagnostic::new(code, Severity::Info, &self.resource, path, message, korean));
    }
}
