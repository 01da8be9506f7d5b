//! Fields that a kind does not have, and values of the wrong type, in Kubernetes' sentences.

use serde_json::Value;

use super::{FieldValidation, Registry};
use crate::{
    error::ApiError,
    kinds::Kind,
    schema::{self, Findings},
};

/// Checks and prunes an object; returns warnings.
pub(super) fn check(
    registry: &Registry,
    kind: &'static Kind,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let cannot = |why: &str| {
        ApiError::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind))
    };
    let Findings { unknown, wrong, causes } = schema::check(&schema::of(kind, registry), object);
    if let Some(wrong) = &wrong
        && (!kind.custom || wrong.path.starts_with("metadata"))
    {
        // Of custom kinds the metadata is read by itself.
        let sentence = if kind.custom { wrong.sentence.replacen(".metadata.", ".", 1) } else { wrong.sentence.clone() };
        return Err(cannot(&sentence));
    }
    let told: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    if validation == FieldValidation::Strict && !told.is_empty() {
        return Err(cannot(&format!("strict decoding error: {}", told.join(", "))));
    }
    if !causes.is_empty() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::invalid(kind, name, &causes));
    }
    Ok(match validation {
        FieldValidation::Warn => told,
        FieldValidation::Ignore | FieldValidation::Strict => Vec::new(),
    })
}

/// What a core object's type does not know, for files: the paths of unknown fields, or the path of a value of the wrong type with
/// Kubernetes' sentence. `None` for kinds whose fields are not known here.
pub fn undeclared(object: &Value) -> Option<Result<Vec<String>, (String, String)>> {
    let kind = crate::kinds::of_object(object).filter(|kind| !kind.custom)?;
    let Findings { unknown, wrong, .. } = schema::check(&schema::of_builtin(kind), &mut object.clone());
    Some(wrong.map_or(Ok(unknown), |wrong| Err((wrong.path, wrong.sentence))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_found_with_their_paths() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "a", "colour": "red" },
            "spec": {
                "selector": { "matchLabels": { "app": "a" } },
                "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [
                    { "name": "a", "image": "a", "volume": 3, "env": [{ "name": "A", "value": "b" }] },
                ] } },
            },
        });
        let unknown = undeclared(&object).unwrap().unwrap();
        assert_eq!(unknown, ["metadata.colour", "spec.template.spec.containers[0].volume"]);
    }

    #[test]
    fn wrong_types_are_told_in_gos_words() {
        let wrong = |object: Value| undeclared(&object).unwrap().unwrap_err().1;
        assert_eq!(
            wrong(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": { "replicas": "3" } })),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            wrong(json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [{ "env": [{ "name": "A", "value": 1 }] }] } })),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"
        );
    }
}
