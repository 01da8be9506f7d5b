//! Roles, their bindings, and budgets of disruptions.

use serde_json::{Value, json};

use super::container::not_negative;
use crate::{error::Cause, kinds::Kind};

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// What a Role or ClusterRole allows.
pub(super) fn role(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    for (place, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let path = format!("rules[{place}]");
        if empty(&rule["verbs"]) {
            causes.push(Cause::required(format!("{path}.verbs"), "verbs must contain at least one value"));
        }
        if !empty(&rule["nonResourceURLs"]) {
            let path = format!("{path}.nonResourceURLs");
            if kind.namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                causes.push(Cause::invalid(path.clone(), &rule["nonResourceURLs"], why));
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !empty(&rule[*field])) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                causes.push(Cause::invalid(path, &rule["nonResourceURLs"], why));
            }
            continue;
        }
        if empty(&rule["apiGroups"]) {
            causes.push(Cause::required(format!("{path}.apiGroups"), "resource rules must supply at least one api group"));
        }
        if empty(&rule["resources"]) {
            causes.push(Cause::required(format!("{path}.resources"), "resource rules must supply at least one resource"));
        }
    }
}

/// Whom a role is given to.
pub(super) fn binding(kind: &Kind, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let role = &object["roleRef"];
    let roles: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if role["apiGroup"] != "rbac.authorization.k8s.io" {
        causes.push(Cause::not_supported("roleRef.apiGroup", &role["apiGroup"], &["rbac.authorization.k8s.io"]));
    }
    if !role["kind"].as_str().is_some_and(|kind| roles.contains(&kind)) {
        causes.push(Cause::not_supported("roleRef.kind", &role["kind"], roles));
    }
    if role["name"].as_str().is_none_or(str::is_empty) {
        causes.push(Cause::required("roleRef.name", ""));
    }
    for (place, subject) in object["subjects"].as_array().into_iter().flatten().enumerate() {
        let path = format!("subjects[{place}]");
        if subject["name"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
        match subject["kind"].as_str().unwrap_or_default() {
            "ServiceAccount" if !kind.namespaced && subject["namespace"].as_str().is_none_or(str::is_empty) => {
                causes.push(Cause::required(format!("{path}.namespace"), ""));
            }
            "ServiceAccount" => {}
            "User" | "Group" if subject["apiGroup"] == "rbac.authorization.k8s.io" => {}
            "User" | "Group" => {
                causes.push(Cause::not_supported(format!("{path}.apiGroup"), &subject["apiGroup"], &["rbac.authorization.k8s.io"]));
            }
            _ => causes.push(Cause::not_supported(format!("{path}.kind"), &subject["kind"], &["ServiceAccount", "User", "Group"])),
        }
    }
    if let Some(old) = old
        && old["roleRef"] != *role
    {
        // As Kubernetes has it in memory.
        let value = json!({ "APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"] });
        causes.push(Cause::invalid("roleRef", &value, "cannot change roleRef"));
    }
}

/// How many pods may be away at once.
pub(super) fn budget(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        // As Kubernetes has it in memory.
        let value = json!({
            "MinAvailable": spec["minAvailable"],
            "Selector": spec["selector"],
            "MaxUnavailable": spec["maxUnavailable"],
            "UnhealthyPodEvictionPolicy": spec["unhealthyPodEvictionPolicy"],
        });
        causes.push(Cause::invalid("spec", &value, "minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let (value, path) = (&spec[field], format!("spec.{field}"));
        let Some(text) = value.as_str() else {
            not_negative(value, &path, causes);
            continue;
        };
        match text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok()) {
            None => causes.push(Cause::invalid(path, value, PERCENT)),
            Some(percent) if percent > 100 => causes.push(Cause::invalid(path, value, "must not be greater than 100%")),
            Some(_) => {}
        }
    }
    super::workload::expressions(&spec["selector"]["matchExpressions"], "spec.selector", causes);
}
