//! Nobody gives away what he does not have: the check when roles and bindings are written.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>

use serde_json::Value;

use super::{Attributes, Rule, authorize, rule, rules_of};
use crate::{
    error::ApiError,
    identity::User,
    kinds::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, ROLE, ROLE_BINDING},
    registry::Registry,
};

/// Refuses a role or binding by which `user` would give rights that he does not have; other kinds
/// pass. Nobody (`None`) is the cluster itself.
pub(crate) fn check_write(
    registry: &Registry,
    user: Option<&User>,
    kind: &'static Kind,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let binding = kind == &ROLE_BINDING || kind == &CLUSTER_ROLE_BINDING;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let Some(user) = user.filter(|user| !user.is_admin()) else { return Ok(()) };
    let namespace = if kind.namespaced { object["metadata"]["namespace"].as_str().unwrap_or_default() } else { "" };
    if binding {
        check_binding(registry, user, kind, (namespace, name), object, old)
    } else if kind == &ROLE || kind == &CLUSTER_ROLE {
        check_role(registry, user, kind, (namespace, name), object, old)
    } else {
        Ok(())
    }
}

fn may(registry: &Registry, user: &User, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let asked = Attributes::Resource {
        verb: verb.to_owned(),
        group: ROLE.group.to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    authorize(registry, user, &asked).allowed
}

fn check_role(
    registry: &Registry,
    user: &User,
    kind: &'static Kind,
    (namespace, name): (&str, &str),
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let unchanged = |field: &str| old.is_some_and(|old| old[field] == object[field]);
    if (unchanged("rules") && unchanged("aggregationRule")) || may(registry, user, "escalate", kind.plural, namespace, name) {
        return Ok(());
    }
    if !object["aggregationRule"].is_null() && !unchanged("aggregationRule") {
        let everything = ["apiGroups", "resources", "verbs"].map(|field| (field.to_owned(), serde_json::json!(["*"])));
        let all = [
            rule_of(everything),
            rule_of([("nonResourceURLs".to_owned(), serde_json::json!(["*"])), ("verbs".to_owned(), serde_json::json!(["*"]))]),
        ];
        if !missing(registry, user, "", &all).is_empty() {
            return Err(ApiError::forbidden(kind, name, "must have cluster-admin privileges to use the aggregationRule"));
        }
    }
    refuse(kind, name, user, &missing(registry, user, namespace, &rule::of(object)))
}

fn rule_of<const N: usize>(fields: [(String, Value); N]) -> Rule {
    let map: serde_json::Map<String, Value> = fields.into_iter().collect();
    serde_json::from_value(Value::Object(map)).unwrap_or_default()
}

fn check_binding(
    registry: &Registry,
    user: &User,
    kind: &'static Kind,
    (namespace, name): (&str, &str),
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if old.is_some_and(|old| old["subjects"] == object["subjects"] && old["roleRef"] == object["roleRef"]) {
        return Ok(());
    }
    let role = object["roleRef"]["name"].as_str().unwrap_or_default();
    let (role_kind, role_namespace) = if object["roleRef"]["kind"] == "Role" { (&ROLE, namespace) } else { (&CLUSTER_ROLE, "") };
    if may(registry, user, "bind", role_kind.plural, namespace, role) {
        return Ok(());
    }
    // Kubernetes names the binding's resource and the role's name here.
    let found = registry.find(role_kind, role_namespace, role).ok_or_else(|| ApiError::not_found(kind, role))?;
    refuse(kind, name, user, &missing(registry, user, namespace, &rule::of(&found)))
}

/// What of `wanted` the user does not have: one rule per thing, its verbs together, in order.
fn missing(registry: &Registry, user: &User, namespace: &str, wanted: &[Rule]) -> Vec<Rule> {
    let (owned, _) = rules_of(registry, user, namespace);
    let mut missing: Vec<Rule> = Vec::new();
    for part in wanted.iter().flat_map(Rule::parts).filter(|part| !owned.iter().any(|rule| rule.covers(part))) {
        let same = |known: &&mut Rule| {
            known.api_groups == part.api_groups
                && known.resources == part.resources
                && known.resource_names == part.resource_names
                && known.urls == part.urls
        };
        match missing.iter_mut().find(same) {
            Some(known) if known.verbs.contains(&part.verbs[0]) => {}
            Some(known) => known.verbs.extend(part.verbs),
            None => missing.push(part),
        }
    }
    missing
}

fn refuse(kind: &Kind, name: &str, user: &User, missing: &[Rule]) -> Result<(), ApiError> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut told: Vec<String> = missing.iter().map(Rule::compact).collect();
    told.sort_unstable();
    let groups = rule::quoted(&user.groups);
    let why = format!(
        "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        told.join("\n")
    );
    Err(ApiError::forbidden(kind, name, &why))
}
