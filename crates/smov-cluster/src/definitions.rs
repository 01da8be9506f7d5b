//! The mesh's kinds as CustomResourceDefinitions, as a cluster with Istio lists them.
//!
//! They describe what is built in: a definition of another kind would not be served, so it is
//! refused rather than stored for show.

use serde_json::{Value, json};

use crate::{
    error::ApiError,
    kinds::{self, CUSTOM_RESOURCE_DEFINITION, Kind},
    registry::{Registry, WriteOptions},
};

/// Creates the definitions that are missing.
///
/// # Errors
/// The state cannot be written.
pub(crate) fn ensure(registry: &Registry) -> Result<(), ApiError> {
    let options = WriteOptions { field_manager: "kube-apiserver".to_owned(), ..WriteOptions::default() };
    for kind in kinds::kinds().iter().filter(|kind| kind.custom) {
        if registry.find(&CUSTOM_RESOURCE_DEFINITION, "", &kind.resource()).is_some() {
            continue;
        }
        let name = registry.create(definition(kind), &options)?.object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        registry.modify(&CUSTOM_RESOURCE_DEFINITION, "", &name, &options, |object| {
            let since = object["metadata"]["creationTimestamp"].clone();
            object["status"] = status(kind, &since);
            Ok(())
        })?;
    }
    Ok(())
}

/// Refuses definitions of kinds that are not built in; other objects pass.
///
/// # Errors
/// 403 with the reason.
pub(crate) fn check(kind: &'static Kind, object: &Value) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if kind != &CUSTOM_RESOURCE_DEFINITION || defined(name).is_some() {
        return Ok(());
    }
    Err(ApiError::forbidden(kind, name, "this cluster serves its built-in kinds only (kubectl api-resources lists them)"))
}

/// The built-in kind with this definition.
pub(crate) fn defined(name: &str) -> Option<&'static Kind> {
    kinds::kinds().iter().copied().find(|kind| kind.custom && kind.resource() == name)
}

fn names(kind: &Kind) -> Value {
    let mut names = json!({
        "categories": kind.categories,
        "kind": kind.kind,
        "listKind": format!("{}List", kind.kind),
        "plural": kind.plural,
        "singular": kind.singular,
    });
    if !kind.short_names.is_empty() {
        names["shortNames"] = json!(kind.short_names);
    }
    names
}

fn definition(kind: &Kind) -> Value {
    let versions: Vec<Value> = kind
        .versions
        .iter()
        .map(|version| {
            json!({
                "name": version,
                "served": true,
                "storage": *version == kind.version,
                // Fields are checked by the mesh's own validation, which knows more than a schema.
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                "subresources": { "status": {} },
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": kind.resource(), "labels": { "app": "istio-pilot" } },
        "spec": {
            "conversion": { "strategy": "None" },
            "group": kind.group,
            "names": names(kind),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    })
}

fn status(kind: &Kind, since: &Value) -> Value {
    let condition = |name: &str, reason: &str, message: &str| json!({ "type": name, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since });
    json!({
        "acceptedNames": names(kind),
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": [kind.version],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_served_can_be_defined() {
        let named = |name: &str| json!({ "metadata": { "name": name } });
        assert!(check(&CUSTOM_RESOURCE_DEFINITION, &named("gateways.networking.istio.io")).is_ok());
        let refused = check(&CUSTOM_RESOURCE_DEFINITION, &named("crontabs.example.com")).unwrap_err();
        assert_eq!(refused.code, 403);
        assert!(check(&kinds::POD, &named("any")).is_ok());
    }
}
