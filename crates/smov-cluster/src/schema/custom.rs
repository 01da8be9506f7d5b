//! Types of custom kinds, from the OpenAPI schema of their `spec`, as a CustomResourceDefinition has it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Elements, Field, ObjectType, PatchStrategy, Shape, TimeScale, Width, builtin};
use crate::kinds::Kind;

/// The type of a custom kind whose `spec` has this schema; without one every field is known.
/// `x-kind-description` says what the kind is, `x-kind-status` is the schema of its `status`.
pub(crate) fn of_custom(kind: &Kind, schema: Option<&Value>) -> Arc<ObjectType> {
    let text = |description: &str| field(Shape::Text, description);
    let spec = schema.map_or(Shape::Any, shape);
    let status = schema.map_or(&Value::Null, |schema| &schema["x-kind-status"]);
    let spec_description = schema.and_then(|schema| schema["description"].as_str()).unwrap_or_default();
    let fields = BTreeMap::from([
        ("apiVersion".to_owned(), text("The group and version of this object's form.")),
        ("kind".to_owned(), text("The kind of this object.")),
        ("metadata".to_owned(), field(Shape::Object(builtin::metadata()), "Name, namespace, labels and what else every object has.")),
        ("spec".to_owned(), field(spec, spec_description)),
        ("status".to_owned(), field(shape(status), "What controllers say about this object.")),
    ]);
    Arc::new(ObjectType {
        name: kind.kind.to_owned(),
        description: schema.and_then(|schema| schema["x-kind-description"].as_str()).unwrap_or_default().to_owned(),
        fields,
        ..ObjectType::default()
    })
}

fn field(shape: Shape, description: &str) -> Field {
    Field {
        shape,
        description: description.to_owned(),
        required: false,
        values: Vec::new(),
        patch: PatchStrategy::default(),
        inherent: false,
    }
}

fn shape(schema: &Value) -> Shape {
    if schema["x-kubernetes-int-or-string"] == true {
        return Shape::IntOrString;
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("date-time")) => Shape::Time(TimeScale::Text),
        (Some("string"), Some("byte")) => Shape::Bytes,
        (Some("string"), _) => Shape::Text,
        (Some("integer"), Some("int32")) => Shape::Integer(Width::Int32),
        (Some("integer"), _) => Shape::Integer(Width::Int64),
        (Some("number"), _) => Shape::Number,
        (Some("boolean"), _) => Shape::Boolean,
        (Some("array"), _) => {
            let elements = if schema["x-kubernetes-list-type"] == "set" { Elements::Set } else { Elements::Atomic };
            Shape::List(Box::new(shape(&schema["items"])), elements)
        }
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            Shape::Map(Box::new(shape(&schema["additionalProperties"])), schema["x-kubernetes-map-type"] == "atomic")
        }
        (Some("object"), _) => object(schema),
        _ => Shape::Any,
    }
}

fn object(schema: &Value) -> Shape {
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let properties = schema["properties"].as_object();
    let fields = properties.into_iter().flatten().map(|(name, schema)| {
        let values = schema["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        let known = Field {
            required: required.iter().any(|one| one == name),
            values: values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            ..field(shape(schema), schema["description"].as_str().unwrap_or_default())
        };
        (name.clone(), known)
    });
    Shape::Object(Arc::new(ObjectType {
        fields: fields.collect(),
        atomic: schema["x-kubernetes-map-type"] == "atomic",
        open: schema["x-kubernetes-preserve-unknown-fields"] == true || properties.is_none(),
        ..ObjectType::default()
    }))
}
