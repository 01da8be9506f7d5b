//! Who may do what: Kubernetes' role-based access control, read from the stored roles and bindings.
//!
//! Pure decisions over the registry: nothing is remembered, so a changed binding counts for the
//! next request. <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

use serde_json::Value;

use crate::{
    error::ApiError,
    identity::User,
    kinds::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING},
    registry::{Object, Registry, Selector},
};

mod aggregation;
mod defaults;
mod escalation;
mod request;
mod rule;

pub(crate) use aggregation::{aggregate, run as aggregate_roles};
pub(crate) use defaults::ensure as ensure_defaults;
pub(crate) use escalation::check_write;
pub(crate) use request::Attributes;
pub(crate) use rule::Rule;

/// The group that may do everything, whatever the roles say.
pub(crate) const MASTERS: &str = "system:masters";

/// An answer with its reason, as a `SubjectAccessReview` tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    /// What allowed it; of a refusal, what is broken in the roles, mostly nothing.
    pub(crate) reason: String,
}

/// Rules that somebody has, and the binding they come from.
struct Grant {
    rules: Vec<Rule>,
    reason: String,
}

/// May this user do that?
pub(crate) fn authorize(registry: &Registry, user: &User, asked: &Attributes) -> Verdict {
    if user.is_admin() {
        return Verdict { allowed: true, reason: String::new() };
    }
    let (grants, broken) = grants(registry, user, asked.namespace());
    match grants.into_iter().find(|grant| grant.rules.iter().any(|rule| asked.allowed_by(rule))) {
        Some(grant) => Verdict { allowed: true, reason: grant.reason },
        None => Verdict { allowed: false, reason: told(&broken) },
    }
}

/// The same as an error: Kubernetes' 403.
pub(crate) fn require(registry: &Registry, user: &User, asked: &Attributes) -> Result<(), ApiError> {
    let verdict = authorize(registry, user, asked);
    if verdict.allowed { Ok(()) } else { Err(asked.forbidden(user, &verdict.reason)) }
}

/// Every rule that a user has in a namespace (empty: only those that hold everywhere), and what
/// could not be read.
pub(crate) fn rules_of(registry: &Registry, user: &User, namespace: &str) -> (Vec<Rule>, String) {
    let (grants, broken) = grants(registry, user, namespace);
    (grants.into_iter().flat_map(|grant| grant.rules).collect(), told(&broken))
}

fn told(broken: &[String]) -> String {
    match broken {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

/// What the bindings give to a user, cluster-wide ones first.
fn grants(registry: &Registry, user: &User, namespace: &str) -> (Vec<Grant>, Vec<String>) {
    let (mut grants, mut broken) = (Vec::new(), Vec::new());
    let all = Selector::default();
    let everywhere = registry.list(&CLUSTER_ROLE_BINDING, None, &all).0;
    let here = if namespace.is_empty() { Vec::new() } else { registry.list(&ROLE_BINDING, Some(namespace), &all).0 };
    for binding in everywhere.iter().chain(&here) {
        let own_namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        let Some(subject) = subjects(binding).find(|subject| is(user, subject, own_namespace)) else { continue };
        match referenced(registry, binding) {
            Ok(role) => grants.push(Grant { rules: rule::of(&role), reason: reason(binding, subject, own_namespace) }),
            Err(missing) => broken.push(missing),
        }
    }
    (grants, broken)
}

fn subjects(binding: &Value) -> impl Iterator<Item = &Value> {
    binding["subjects"].as_array().into_iter().flatten()
}

/// Does the subject of a binding mean this user?
fn is(user: &User, subject: &Value, binding_namespace: &str) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => user.name == name,
        Some("Group") => user.groups.iter().any(|group| group == name),
        Some("ServiceAccount") => {
            let namespace = subject["namespace"].as_str().filter(|text| !text.is_empty()).unwrap_or(binding_namespace);
            let account = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            !namespace.is_empty() && account == Some((namespace, name))
        }
        _ => false,
    }
}

/// The role that a binding names; its absence as Kubernetes says it.
fn referenced(registry: &Registry, binding: &Value) -> Result<Object, String> {
    let (reference, namespace) = (&binding["roleRef"], binding["metadata"]["namespace"].as_str().unwrap_or_default());
    let name = reference["name"].as_str().unwrap_or_default();
    let kind = if reference["kind"] == "Role" { &ROLE } else { &CLUSTER_ROLE };
    registry.find(kind, namespace, name).ok_or_else(|| format!("{}.{} {name:?} not found", kind.singular, kind.group))
}

fn reason(binding: &Value, subject: &Value, binding_namespace: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&subject["kind"]), text(&subject["name"]));
    let who = if kind == "ServiceAccount" {
        let namespace = subject["namespace"].as_str().unwrap_or(binding_namespace);
        format!("{name}/{namespace}")
    } else {
        name
    };
    let place = if binding_namespace.is_empty() { String::new() } else { format!("/{binding_namespace}") };
    format!(
        "RBAC: allowed by {} \"{}{place}\" of {} {:?} to {kind} {who:?}",
        text(&binding["kind"]),
        text(&binding["metadata"]["name"]),
        text(&binding["roleRef"]["kind"]),
        text(&binding["roleRef"]["name"]),
    )
}

#[cfg(test)]
mod tests;
