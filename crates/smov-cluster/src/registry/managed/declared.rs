//! Whether a manifest that is applied fits its kind, in the words of Kubernetes' merging.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::walk::step_of;
use crate::{
    error::ApiError,
    kinds::Kind,
    schema::{Elements, Shape},
};

/// Checks the fields of a manifest before anybody asks who owns them.
///
/// # Errors
/// 500, as Kubernetes answers: fields that the kind does not have, values of another type, elements of one key.
pub(in crate::registry) fn check(kind: &Kind, shape: &Shape, config: &Value) -> Result<(), ApiError> {
    let mut wrong = Vec::new();
    walk(shape, config, &mut String::new(), &mut wrong);
    let told = match wrong.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let text = |field: &str| config["metadata"][field].as_str().unwrap_or_default();
    let group_version = format!("{}/{}", kind.group, kind.version);
    Err(ApiError::internal_plain(format!(
        "failed to create typed patch object ({}/{}; {group_version}, Kind={}): {told}",
        text("namespace"),
        text("name"),
        kind.kind
    )))
}

fn walk(shape: &Shape, value: &Value, path: &mut String, wrong: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match (shape, value) {
        (Shape::Object(known), Value::Object(map)) => {
            each(map, path, wrong, |name, value, path, wrong| match known.fields.get(name) {
                Some(field) => walk(&field.shape, value, path, wrong),
                None if known.open => {}
                None => wrong.push(format!("{path}: field not declared in schema")),
            });
        }
        (Shape::Map(item, _), Value::Object(map)) => each(map, path, wrong, |_, value, path, wrong| walk(item, value, path, wrong)),
        (Shape::List(item, elements), Value::Array(list)) => {
            let mut seen = BTreeSet::new();
            for (place, element) in list.iter().enumerate() {
                let step = step_of(*elements, element, place);
                let length = path.len();
                path.push_str(&step.to_string());
                walk(item, element, path, wrong);
                path.truncate(length);
                if *elements != Elements::Atomic && !seen.insert(step.clone()) {
                    wrong.push(format!("{path}: duplicate entries for key {step}"));
                }
            }
        }
        (Shape::Any | Shape::IntOrString | Shape::Quantity, _)
        | (Shape::Text | Shape::Bytes | Shape::Time(_), Value::String(_))
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Integer(_) | Shape::Number, Value::Number(_)) => {}
        (Shape::Object(_) | Shape::Map(..), found) => wrong.push(format!("{path}: expected map, got &{{{}}}", go(found))),
        (Shape::List(..), found) => wrong.push(format!("{path}: expected list, got &{{{}}}", go(found))),
        (Shape::Boolean, found) => wrong.push(format!("{path}: expected boolean, got &{{{}}}", go(found))),
        (Shape::Integer(_) | Shape::Number, found) => {
            wrong.push(format!("{path}: expected numeric (int or float), got {}", go_type(found)));
        }
        (Shape::Text | Shape::Bytes | Shape::Time(_), found) => {
            wrong.push(format!("{path}: expected string, got &value.valueUnstructured{{Value:{}}}", go_literal(found)));
        }
    }
}

/// Kubernetes looks at fields in the order of their names.
fn each(
    map: &Map<String, Value>,
    path: &mut String,
    wrong: &mut Vec<String>,
    mut look: impl FnMut(&str, &Value, &mut String, &mut Vec<String>),
) {
    let mut names: Vec<&String> = map.keys().collect();
    names.sort_unstable();
    for name in names {
        let length = path.len();
        path.push('.');
        path.push_str(name);
        look(name, &map[name.as_str()], path, wrong);
        path.truncate(length);
    }
}

fn go(value: &Value) -> String {
    crate::schema::go_text(value)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn go_literal(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => format!("{}{{{}}}", go_type(value), go(value)),
        plain => plain.to_string(),
    }
}
