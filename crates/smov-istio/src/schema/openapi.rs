//! The same table as OpenAPI v3, as a CustomResourceDefinition has it: what an API server needs for `kubectl explain`, for the
//! validation of fields and for pruning.

use serde_json::{Map, Value, json};

use super::{Shape, Support, spec_of, words};
use crate::resource::IstioKind;

/// The schema of `spec` of a kind; `x-kind-description` says what the kind is for, `x-kind-status` is the schema of its `status`.
pub fn open_api(kind: IstioKind) -> Value {
    let mut schema = shape(kind, spec_of(kind), "");
    schema["description"] = json!(words::of_field(kind, "").unwrap_or_default());
    schema["x-kind-description"] = json!(words::of_kind(kind));
    schema["x-kind-status"] = status();
    schema
}

/// The status that all of Istio's kinds have.
fn status() -> Value {
    let text = json!({ "type": "string" });
    let time = json!({ "type": "string", "format": "date-time" });
    let generation = json!({ "x-kubernetes-int-or-string": true });
    let condition = json!({ "type": "object", "properties": {
        "lastProbeTime": time, "lastTransitionTime": time, "message": text, "observedGeneration": generation,
        "reason": text, "status": text, "type": text,
    } });
    let message = json!({ "type": "object", "properties": {
        "documentationUrl": text,
        "level": { "type": "string", "enum": ["UNKNOWN", "ERROR", "WARNING", "INFO"] },
        "type": { "type": "object", "properties": { "code": text, "name": text } },
    } });
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "conditions": { "type": "array", "items": condition },
        "observedGeneration": generation,
        "validationMessages": { "type": "array", "items": message },
    } })
}

fn shape(kind: IstioKind, known: &Shape, path: &str) -> Value {
    match known {
        Shape::Text => json!({ "type": "string" }),
        Shape::Integer => json!({ "type": "integer" }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::OneOf(words) => json!({ "type": "string", "enum": words }),
        Shape::Any => json!({ "x-kubernetes-preserve-unknown-fields": true }),
        Shape::List(item) => json!({ "type": "array", "items": shape(kind, item, path) }),
        Shape::Map(item) => json!({ "type": "object", "additionalProperties": shape(kind, item, path) }),
        Shape::Object(fields) => {
            let mut properties = Map::new();
            for field in *fields {
                let inner = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
                let mut schema = shape(kind, &field.shape, &inner);
                let said = words::of_field(kind, &inner).unwrap_or_default();
                let note = match field.support {
                    Support::Executed => "",
                    Support::NotYet => "Valid in Istio; not executed here yet.",
                    Support::NoEffect => "Has no effect on traffic.",
                };
                let description = [said, note].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
                if !description.is_empty() {
                    schema["description"] = json!(description);
                }
                properties.insert(field.name.to_owned(), schema);
            }
            json!({ "type": "object", "properties": properties })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_its_type_its_words_and_whether_it_is_executed() {
        let schema = open_api(IstioKind::VirtualService);
        let route = schema.pointer("/properties/http/items/properties").unwrap();
        let weight = &route["route"]["items"]["properties"]["weight"];
        assert_eq!(weight["type"], "integer");
        assert!(weight["description"].as_str().unwrap().contains("share"));
        let remote = &route["retries"]["properties"]["retryRemoteLocalities"];
        assert_eq!(remote["description"], "Valid in Istio; not executed here yet.");
        assert_eq!(route["headers"]["properties"]["request"]["properties"]["set"]["additionalProperties"], json!({ "type": "string" }));
    }

    #[test]
    fn everything_that_is_said_is_about_a_field_that_exists() {
        for (kind, path) in words::mentioned() {
            let mut schema = &open_api(kind);
            for name in path.split('.').filter(|name| !name.is_empty()) {
                while schema["items"].is_object() || schema["additionalProperties"].is_object() {
                    schema = if schema["items"].is_object() { &schema["items"] } else { &schema["additionalProperties"] };
                }
                schema = &schema["properties"][name];
            }
            assert!(schema.is_object() || path.is_empty(), "{} {path}", kind.as_str());
        }
    }
}
