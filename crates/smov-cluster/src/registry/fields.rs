//! Fields that a kind does not have, and values of the wrong type.
//!
//! Core kinds are read into Kubernetes' own types and written again: what is missing afterwards
//! is unknown. Custom kinds are asked from admission. The sentences are Kubernetes'.

use k8s_openapi::{
    api::{apps::v1 as apps, coordination, core::v1 as core, discovery, policy, rbac},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{FieldValidation, Registry};
use crate::{error::ApiError, kinds::Kind};

/// Checks and prunes an object; returns warnings.
pub(super) fn check(
    registry: &Registry,
    kind: &'static Kind,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let cannot = |why: String| {
        ApiError::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind))
    };
    quantities_as_text(object);
    let mut unknown = Vec::new();
    if kind.custom {
        let metadata = json!({ "metadata": object["metadata"] });
        let known = round_trip::<Metadata>(&metadata).map_err(|error| cannot(error.sentence(kind)))?;
        compare(&metadata, &known, "", &mut unknown);
        unknown.extend(registry.unknown_fields(kind, object));
    } else {
        let known = typed(kind, object).map_err(|error| cannot(error.sentence(kind)))?;
        compare(object, &known, "", &mut unknown);
    }
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let told: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    if validation == FieldValidation::Strict {
        return Err(cannot(format!("strict decoding error: {}", told.join(", "))));
    }
    // From the back, so that places in lists stay true.
    for path in unknown.iter().rev() {
        remove_path(object, path);
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
    let mut object = object.clone();
    quantities_as_text(&mut object);
    let known = typed(kind, &object).map_err(|error| (error.path.clone(), error.sentence(kind)));
    Some(known.map(|known| {
        let mut unknown = Vec::new();
        compare(&object, &known, "", &mut unknown);
        unknown
    }))
}

#[derive(Serialize, serde::Deserialize)]
struct Metadata {
    metadata: ObjectMeta,
}

/// A value that does not fit its field.
struct WrongType {
    path: String,
    found: String,
    expected: String,
}

impl WrongType {
    fn sentence(&self, kind: &Kind) -> String {
        let (path, found, expected) = (&self.path, &self.found, &self.expected);
        let kind = kind.kind;
        if expected.is_empty() {
            return format!("json: invalid value of field {kind}.{path}: {found}");
        }
        format!("json: cannot unmarshal {found} into Go struct field {kind}.{path} of type {expected}")
    }
}

/// The object as Kubernetes' types see it.
fn typed(kind: &Kind, object: &Value) -> Result<Value, WrongType> {
    match kind.kind {
        "Namespace" => round_trip::<core::Namespace>(object),
        "Node" => round_trip::<core::Node>(object),
        "Pod" => round_trip::<core::Pod>(object),
        "Service" => round_trip::<core::Service>(object),
        "Endpoints" => round_trip::<core::Endpoints>(object),
        "ConfigMap" => round_trip::<core::ConfigMap>(object),
        "Secret" => round_trip::<core::Secret>(object),
        "ServiceAccount" => round_trip::<core::ServiceAccount>(object),
        "Event" => round_trip::<core::Event>(object),
        "PersistentVolumeClaim" => round_trip::<core::PersistentVolumeClaim>(object),
        "Deployment" => round_trip::<apps::Deployment>(object),
        "ReplicaSet" => round_trip::<apps::ReplicaSet>(object),
        "EndpointSlice" => round_trip::<discovery::v1::EndpointSlice>(object),
        "Role" => round_trip::<rbac::v1::Role>(object),
        "RoleBinding" => round_trip::<rbac::v1::RoleBinding>(object),
        "ClusterRole" => round_trip::<rbac::v1::ClusterRole>(object),
        "ClusterRoleBinding" => round_trip::<rbac::v1::ClusterRoleBinding>(object),
        "Lease" => round_trip::<coordination::v1::Lease>(object),
        "PodDisruptionBudget" => round_trip::<policy::v1::PodDisruptionBudget>(object),
        _ => Ok(object.clone()),
    }
}

fn round_trip<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, WrongType> {
    let typed: T = serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        wrong_type(path, &error.into_inner().to_string())
    })?;
    serde_json::to_value(typed).map_err(|error| wrong_type(String::new(), &error.to_string()))
}

/// From serde's sentence (`invalid type: string "3", expected i32`) to Go's words.
fn wrong_type(path: String, message: &str) -> WrongType {
    let parts = message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "));
    let Some((found, expected)) = parts else {
        return WrongType { path, found: message.to_owned(), expected: String::new() };
    };
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "string",
        "integer" | "floating" => "number",
        "boolean" => "bool",
        "sequence" => "array",
        "map" => "object",
        other => other,
    };
    let expected = match expected {
        "i32" => "int32",
        "i64" => "int64",
        "f64" => "float64",
        "a boolean" => "bool",
        "a string" => "string",
        "a sequence" => "[]interface {}",
        "a map" => "map[string]interface {}",
        other => other.strip_prefix("struct ").unwrap_or(other),
    };
    WrongType { path, found: found.to_owned(), expected: expected.to_owned() }
}

/// Paths that are in `sent` but not in `known`. Null is as good as absent.
fn compare(sent: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (sent, known) {
        (Value::Object(sent), Value::Object(known)) => {
            for (name, value) in sent {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(known) => compare(value, known, &inner, unknown),
                    None if value.is_null() => {}
                    None => unknown.push(inner),
                }
            }
        }
        (Value::Array(sent), Value::Array(known)) => {
            for (place, (value, known)) in sent.iter().zip(known).enumerate() {
                compare(value, known, &format!("{path}[{place}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Numbers where Kubernetes has quantities (`cpu: 1`) become text, as Kubernetes accepts both.
fn quantities_as_text(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if matches!(name.as_str(), "limits" | "requests" | "capacity" | "allocatable")
                    && let Some(quantities) = inner.as_object_mut()
                {
                    for quantity in quantities.values_mut().filter(|one| one.is_number()) {
                        *quantity = json!(quantity.to_string());
                    }
                } else {
                    quantities_as_text(inner);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(quantities_as_text),
        _ => {}
    }
}

/// Removes the field at a path as `spec.http[0].route`; nothing happens where it is absent.
pub fn remove_path(value: &mut Value, path: &str) {
    let (first, rest) = match path.find(['.', '[']) {
        Some(end) if end > 0 => path.split_at(end),
        Some(_) => ("", path),
        None => (path, ""),
    };
    let here = if first.is_empty() {
        Some(value)
    } else if rest.is_empty() {
        if let Some(map) = value.as_object_mut() {
            map.shift_remove(first);
        }
        None
    } else {
        value.get_mut(first)
    };
    let Some(here) = here else { return };
    if let Some(rest) = rest.strip_prefix('.') {
        remove_path(here, rest);
    } else if let Some((place, rest)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let Ok(place) = place.parse::<usize>() else {
            return;
        };
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            if let Some(list) = here.as_array_mut()
                && place < list.len()
            {
                list.remove(place);
            }
        } else if let Some(inner) = here.get_mut(place) {
            remove_path(inner, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

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
        let known = typed(&kinds::DEPLOYMENT, &object).ok().unwrap();
        let mut unknown = Vec::new();
        compare(&object, &known, "", &mut unknown);
        assert_eq!(unknown, ["metadata.colour", "spec.template.spec.containers[0].volume"]);
    }

    #[test]
    fn wrong_types_are_told_in_gos_words() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": { "replicas": "3" },
        });
        let error = typed(&kinds::DEPLOYMENT, &object).err().unwrap();
        assert_eq!(
            error.sentence(&kinds::DEPLOYMENT),
            "json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type int32"
        );
    }

    #[test]
    fn a_path_is_removed_and_nothing_else() {
        let mut value = json!({ "spec": { "http": [{ "a": 1, "b": [1, 2] }] } });
        remove_path(&mut value, "spec.http[0].a");
        remove_path(&mut value, "spec.http[0].b[1]");
        remove_path(&mut value, "spec.http[3].c");
        assert_eq!(value, json!({ "spec": { "http": [{ "b": [1] }] } }));
    }
}
