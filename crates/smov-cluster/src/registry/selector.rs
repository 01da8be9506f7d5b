//! Label and field selectors: their text form, their object form, and what they match.

use serde_json::Value;

use crate::{error::ApiError, kinds::Kind};

mod parse;

/// Which objects a list or watch is about; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// By labels.
    pub labels: LabelSelector,
    /// By a few fields.
    pub fields: FieldSelector,
}

impl Selector {
    /// Only objects with exactly these labels.
    pub fn labelled(text: &str) -> Result<Self, ApiError> {
        Ok(Self { labels: LabelSelector::parse(text)?, fields: FieldSelector::default() })
    }

    /// Only objects that match this field selector.
    pub fn fields(text: &str) -> Result<Self, ApiError> {
        Ok(Self { labels: LabelSelector::default(), fields: FieldSelector::parse(text)? })
    }

    /// Does the object match?
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"]) && self.fields.matches(object)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    /// A number above this one.
    More(i64),
    /// A number below this one.
    Less(i64),
}

/// Requirements on labels, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, Test)>,
}

impl LabelSelector {
    /// Parses the text form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    ///
    /// # Errors
    /// `BadRequest` with Kubernetes' wording.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        Ok(Self { requirements: parse::requirements(text)? })
    }

    /// From the object form (`matchLabels`, `matchExpressions`), or a plain map as Services have it.
    ///
    /// An absent or empty selector of the object form matches everything, as in Kubernetes.
    pub fn from_object(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
        let labels = if plain { selector } else { &selector["matchLabels"] };
        for (key, value) in labels.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push((key.clone(), Test::In(vec![value])));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let test = match expression["operator"].as_str() {
                Some("In") => Test::In(values),
                Some("NotIn") => Test::NotIn(values),
                Some("Exists") => Test::Exists,
                Some("DoesNotExist") => Test::Absent,
                // Validation refuses other operators; one that slipped through matches nothing.
                _ => Test::In(Vec::new()),
            };
            requirements.push((key, test));
        }
        Self { requirements }
    }

    /// Is there no requirement at all?
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Do these labels (an object, or null) match?
    pub fn matches(&self, labels: &Value) -> bool {
        self.requirements.iter().all(|(key, test)| {
            let value = labels.get(key).and_then(Value::as_str);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::More(bound) => number().is_some_and(|number| number > *bound),
                Test::Less(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

/// Requirements on fields: path, wanted value, and whether it must be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<(String, String, bool)>,
}

impl FieldSelector {
    /// Parses `a.b=c,d!=e`.
    ///
    /// # Errors
    /// `BadRequest` with Kubernetes' wording.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (left, right, equal) = if let Some((left, right)) = part.split_once("!=") {
                (left, right, false)
            } else if let Some((left, right)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (left, right, true)
            } else {
                return Err(ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            requirements.push((left.trim().to_owned(), right.trim().to_owned(), equal));
        }
        Ok(Self { requirements })
    }

    /// Refuses fields that Kubernetes does not select this kind by.
    ///
    /// # Errors
    /// `BadRequest` with the field's name.
    pub fn check(&self, kind: &Kind) -> Result<(), ApiError> {
        for (path, _, _) in &self.requirements {
            let known = match path.as_str() {
                "metadata.name" => true,
                "metadata.namespace" => kind.namespaced,
                other => selectable(kind).contains(&other),
            };
            if !known {
                let own = kind.custom || !selectable(kind).is_empty() && kind.group.is_empty();
                return Err(ApiError::bad_request(if own {
                    format!("field label not supported: {path}")
                } else {
                    format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                }));
            }
        }
        Ok(())
    }

    /// The name, where only the object with this name can match.
    pub fn name(&self) -> Option<&str> {
        self.requirements.iter().find(|(path, _, equal)| path == "metadata.name" && *equal).map(|(_, wanted, _)| wanted.as_str())
    }

    /// Does the object match?
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|(path, wanted, equal)| {
            let mut value = object;
            for step in path.split('.') {
                value = value.get(step).unwrap_or(&Value::Null);
            }
            let same = match value {
                Value::Null => wanted.is_empty() || (wanted == "false" && path.starts_with("spec.")),
                Value::String(text) => text == wanted,
                Value::Bool(_) | Value::Number(_) => &value.to_string() == wanted,
                Value::Array(_) | Value::Object(_) => false,
            };
            same == *equal
        })
    }
}

/// The fields of a kind, beside name and namespace, that may be selected by.
fn selectable(kind: &Kind) -> &'static [&'static str] {
    match kind.kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        "Node" => &["spec.unschedulable"],
        "ReplicaSet" => &["status.replicas"],
        "Service" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_match_as_kubectl_users_expect() {
        let labels = json!({ "app": "user", "tier": "web" });
        for (text, expected) in [
            ("", true),
            ("app=user", true),
            ("app==user,tier!=db", true),
            ("app in (movie, user)", true),
            ("app notin (user)", false),
            ("version notin (v1)", true),
            ("tier", true),
            ("!tier", false),
            ("!version,app", true),
            ("app=", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        assert!(LabelSelector::parse("app in user").is_err());
        assert!(LabelSelector::parse("a b=c").is_err());
    }

    #[test]
    fn the_object_form_and_the_plain_form_agree() {
        let labels = json!({ "app": "user" });
        assert!(LabelSelector::from_object(&json!({ "app": "user" })).matches(&labels));
        let object = json!({ "matchLabels": { "app": "user" }, "matchExpressions": [
            { "key": "old", "operator": "DoesNotExist" },
            { "key": "app", "operator": "In", "values": ["user", "movie"] },
        ] });
        assert!(LabelSelector::from_object(&object).matches(&labels));
        assert!(LabelSelector::from_object(&Value::Null).is_empty());
    }

    #[test]
    fn field_selectors_know_their_fields() {
        let pod = json!({ "metadata": { "name": "a" }, "status": { "phase": "Running" } });
        let selector = FieldSelector::parse("status.phase!=Failed,spec.nodeName=").unwrap();
        assert!(selector.matches(&pod));
        assert!(selector.check(&crate::kinds::POD).is_ok());
        assert!(selector.check(&crate::kinds::SERVICE).is_err());
    }
}
