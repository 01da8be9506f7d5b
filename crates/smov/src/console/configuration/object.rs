//! Istio's objects as people edit them: without what the API server keeps for itself, printed always in the same way.

use std::fmt;

use serde_json::{Map, Value, json};
use smov_cluster::kinds::{self, Kind};

use crate::three_way::{LAST_APPLIED, remembering};

/// Names an object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

impl Reference {
    /// Of an object; what it does not say is empty.
    pub(crate) fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { kind: text("/kind"), namespace: text("/metadata/namespace"), name: text("/metadata/name") }
    }

    /// From `Kind/namespace/name`, if those could be names: they become part of a URL.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [kind, namespace, name] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
        let reference = Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
        reference.is_addressable().then_some(reference)
    }

    /// Can an API server be asked for it?
    pub(crate) fn is_addressable(&self) -> bool {
        let allowed = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '-' | '.');
        [&self.namespace, &self.name].into_iter().all(|text| !text.is_empty() && text.len() <= 253 && text.chars().all(allowed))
    }

    /// Its kind, when it is a rule.
    pub(crate) fn kind(&self) -> Option<&'static Kind> {
        kinds::by_kind(&self.kind).filter(|kind| is_rule(kind))
    }
}

/// Istio's kinds, which this view is about.
pub(crate) fn rule_kinds() -> impl Iterator<Item = &'static Kind> {
    kinds::kinds().iter().copied().filter(|kind| is_rule(kind))
}

fn is_rule(kind: &Kind) -> bool {
    kind.group.ends_with(".istio.io")
}

/// What the API server fills in, and what nobody edits.
const OF_THE_SERVER: [&str; 7] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink", "deletionTimestamp"];

/// The object as it is shown, compared and kept in the history.
pub(crate) fn cleaned(object: &Value, kind: &Kind) -> Value {
    let mut metadata = Map::new();
    let found = object["metadata"].as_object();
    let first = ["name", "namespace"];
    for field in first {
        if let Some(value) = found.and_then(|found| found.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    for (field, value) in found.into_iter().flatten() {
        if first.contains(&field.as_str()) || OF_THE_SERVER.contains(&field.as_str()) {
            continue;
        }
        let mut value = value.clone();
        if let Some(annotations) = value.as_object_mut().filter(|_| field == "annotations") {
            annotations.remove(LAST_APPLIED);
        }
        let empty = value.as_object().is_some_and(Map::is_empty) || value.is_null();
        if !empty {
            metadata.insert(field.clone(), value);
        }
    }
    let mut clean = Map::new();
    clean.insert("apiVersion".to_owned(), Value::from(kind.api_version()));
    clean.insert("kind".to_owned(), Value::from(kind.kind));
    clean.insert("metadata".to_owned(), Value::Object(metadata));
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
            clean.insert(field.clone(), value.clone());
        }
    }
    Value::Object(clean)
}

/// What is sent to an API server: the cleaned object, remembered as `kubectl apply` does, in place of this version.
pub(crate) fn to_send(clean: &Value, version: Option<&str>) -> Value {
    let mut object = remembering(clean);
    if let Some(version) = version {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    object
}

/// The object as YAML.
pub(crate) fn yaml(object: &Value) -> String {
    // Values that came from JSON or YAML can be written as YAML; a failure would be the library's.
    serde_saphyr::to_string(object).unwrap_or_else(|error| format!("# {error}\n"))
}

/// `metadata.resourceVersion`.
pub(crate) fn version_of(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_keeps_for_itself_is_not_shown() {
        let live = json!({
            "metadata": {"uid": "u", "resourceVersion": "7", "labels": {"app": "a"}, "namespace": "n", "name": "a", "managedFields": [],
                "annotations": {LAST_APPLIED: "{}"}, "creationTimestamp": "x", "generation": 2},
            "spec": {"hosts": ["a"]}, "status": {},
        });
        let clean = cleaned(&live, Reference { kind: "VirtualService".into(), namespace: "n".into(), name: "a".into() }.kind().unwrap());
        assert_eq!(
            clean.to_string(),
            r#"{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"a","namespace":"n","labels":{"app":"a"}},"spec":{"hosts":["a"]}}"#
        );
        let sent = to_send(&clean, Some("7"));
        assert_eq!(sent["metadata"]["resourceVersion"], "7");
        assert!(sent["metadata"]["annotations"][LAST_APPLIED].as_str().is_some_and(|text| text.contains("\"hosts\"")));
        assert_eq!(cleaned(&sent, Reference::of(&sent).kind().unwrap()), clean);
    }

    #[test]
    fn references_that_could_leave_their_url_are_none() {
        assert_eq!(Reference::parse("VirtualService/n/a").unwrap().to_string(), "VirtualService/n/a");
        for text in ["", "VirtualService/n", "VirtualService/n/a/b", "VirtualService/../a?x", "VirtualService//a", "VirtualService/n/A b"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
        assert!(Reference::parse("Secret/n/a").unwrap().kind().is_none());
    }

    #[test]
    fn yaml_reads_back_as_the_object() {
        let object = json!({"metadata": {"name": "true", "labels": {"version": "1.10", "on": "yes", "empty": "", "y": "n", "date": "2025-01-01", "hex": "0x1F", "tilde": "~"}},
            "spec": {"http": [{"match": [{"headers": {"x-canary": {"exact": "true"}}}], "timeout": "3s", "weights": [1, 2.5, null, "0777"]}], "list": []}});
        let text = yaml(&object);
        let back = smov_istio::yaml::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(back[0].value, object, "{text}");
        let block = text.lines().filter(|line| line.trim_start().starts_with('-')).count();
        assert!(block >= 3, "{text}");
    }
}
