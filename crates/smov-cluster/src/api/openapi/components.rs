//! The schemas of an OpenAPI document, from the types.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use crate::{
    kinds::Kind,
    registry::Registry,
    schema::{self, Elements, Field, ObjectType, Shape, TimeScale, Width},
};

const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";

/// Which version of OpenAPI is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Version2,
    Version3,
}

impl Style {
    pub(super) fn reference(self, name: &str) -> String {
        match self {
            Self::Version2 => format!("#/definitions/{name}"),
            Self::Version3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// Named schemas, each once.
pub(super) struct Components {
    style: Style,
    schemas: BTreeMap<String, Value>,
}

impl Components {
    pub(super) fn new(style: Style) -> Self {
        Self { style, schemas: BTreeMap::new() }
    }

    /// A kind, its list, and everything that they refer to.
    pub(super) fn add_kind(&mut self, registry: &Registry, kind: &'static Kind, version: &str) {
        let known = schema::of(kind, registry);
        let name = name_of(kind, version);
        if kind.custom {
            let written = self.object(&known);
            self.schemas.insert(name.clone(), written);
        } else {
            self.add(&known);
        }
        self.identify(&name, kind.group, version, kind.kind);
        self.add(&schema::list_metadata());
        self.add(&schema::status());
        self.add(&schema::delete_options());
        self.schemas
            .entry(PATCH.to_owned())
            .or_insert_with(|| json!({ "description": "A change of an object, in the form that its media type says.", "type": "object" }));
        if kind.has("scale") {
            self.add(&schema::scale());
            self.identify("io.k8s.api.autoscaling.v1.Scale", "autoscaling", "v1", "Scale");
        }
        let item = json!({ "$ref": self.style.reference(&name) });
        let item = if self.style == Style::Version3 && !kind.custom { json!({ "default": {}, "allOf": [item] }) } else { item };
        let metadata = json!({ "$ref": self.style.reference(&schema::list_metadata().name) });
        let list = json!({
            "description": format!("{}List is a list of {}.", kind.kind, kind.plural),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "description": "The group and version of this object's form.", "type": "string" },
                "items": { "description": format!("The {}.", kind.plural), "type": "array", "items": item },
                "kind": { "description": "The kind of this object.", "type": "string" },
                "metadata": metadata,
            },
        });
        self.schemas.insert(format!("{name}List"), list);
        self.identify(&format!("{name}List"), kind.group, version, &format!("{}List", kind.kind));
    }

    /// A question that is answered and not stored.
    pub(super) fn add_review(&mut self, group: &str, version: &str, kind: &str) {
        if let Some(known) = schema::review(kind) {
            self.add(&known);
            self.identify(&known.name, group, version, kind);
        }
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.schemas.into_iter().collect()
    }

    fn identify(&mut self, name: &str, group: &str, version: &str, kind: &str) {
        if let Some(schema) = self.schemas.get_mut(name) {
            schema["x-kubernetes-group-version-kind"] = json!([{ "group": group, "kind": kind, "version": version }]);
        }
    }

    fn add(&mut self, known: &Arc<ObjectType>) {
        if !self.schemas.contains_key(&known.name) {
            // Kept free for itself while the fields are written.
            self.schemas.insert(known.name.clone(), Value::Null);
            let written = self.object(known);
            self.schemas.insert(known.name.clone(), written);
        }
    }

    fn object(&mut self, known: &ObjectType) -> Value {
        let mut schema = Map::new();
        if !known.description.is_empty() {
            schema.insert("description".to_owned(), json!(known.description));
        }
        schema.insert("type".to_owned(), json!("object"));
        let required: Vec<&String> = known.fields.iter().filter(|(_, field)| field.required).map(|(name, _)| name).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !known.fields.is_empty() {
            let fields: Map<String, Value> = known.fields.iter().map(|(name, field)| (name.clone(), self.field(name, field))).collect();
            schema.insert("properties".to_owned(), Value::Object(fields));
        }
        if known.atomic {
            schema.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
        }
        if known.open && known.name.is_empty() {
            schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        }
        Value::Object(schema)
    }

    fn field(&mut self, name: &str, field: &Field) -> Value {
        let mut schema = self.shape(&field.shape);
        let reference = schema.get("$ref").cloned();
        if let (Some(reference), Style::Version3) = (reference, self.style) {
            schema = json!({ "allOf": [{ "$ref": reference }] });
            if field.inherent {
                schema["default"] = json!({});
            }
        }
        if !field.description.is_empty() {
            schema["description"] = json!(field.description);
        }
        if let (Some(default), Style::Version3, Shape::Text) = (schema::key_default(name), self.style, &field.shape)
            && field.values.iter().any(|value| value == default)
        {
            schema["default"] = json!(default);
        }
        if !field.values.is_empty() {
            schema["enum"] = json!(field.values);
        }
        let patch = &field.patch;
        if let Some(key) = patch.key {
            schema["x-kubernetes-patch-merge-key"] = json!(key);
        }
        let strategies: Vec<&str> = [(patch.merge, "merge"), (patch.retain_keys, "retainKeys"), (patch.replace, "replace")]
            .into_iter()
            .filter_map(|(wanted, name)| wanted.then_some(name))
            .collect();
        if !strategies.is_empty() {
            schema["x-kubernetes-patch-strategy"] = json!(strategies.join(","));
        }
        schema
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        let version3 = self.style == Style::Version3;
        match shape {
            Shape::Any => json!({ "x-kubernetes-preserve-unknown-fields": true }),
            Shape::Text => json!({ "type": "string" }),
            Shape::Bytes => json!({ "type": "string", "format": "byte" }),
            Shape::Time(TimeScale::Text) => json!({ "type": "string", "format": "date-time" }),
            Shape::Time(scale) => {
                let (name, precision) = if *scale == TimeScale::Micros { (MICRO_TIME, "microseconds") } else { (TIME, "seconds") };
                let description = format!("A time in UTC (RFC 3339), in {precision}.");
                self.named(name, json!({ "description": description, "type": "string", "format": "date-time" }))
            }
            Shape::Integer(Width::Int32) => json!({ "type": "integer", "format": "int32" }),
            Shape::Integer(Width::Int64) => json!({ "type": "integer", "format": "int64" }),
            Shape::Number => json!({ "type": "number", "format": "double" }),
            Shape::Boolean => json!({ "type": "boolean" }),
            Shape::IntOrString => {
                let mut schema = json!({ "description": "A number, or text as a name or a percentage.", "format": "int-or-string" });
                if version3 {
                    schema["oneOf"] = json!([{ "type": "integer" }, { "type": "string" }]);
                } else {
                    schema["type"] = json!("string");
                }
                self.named(INT_OR_STRING, schema)
            }
            Shape::Quantity => {
                let mut schema = json!({ "description": "An amount with a decimal or binary suffix, as `100m`, `2`, `64Mi`." });
                if version3 {
                    schema["oneOf"] = json!([{ "type": "string" }, { "type": "number" }]);
                } else {
                    schema["type"] = json!("string");
                }
                self.named(QUANTITY, schema)
            }
            Shape::List(item, elements) => {
                let mut item = self.shape(item);
                if let (Some(reference), true) = (item.get("$ref").cloned(), version3) {
                    item = json!({ "default": {}, "allOf": [{ "$ref": reference }] });
                }
                let mut schema = json!({ "type": "array", "items": item });
                match elements {
                    Elements::Atomic => schema["x-kubernetes-list-type"] = json!("atomic"),
                    Elements::Set => schema["x-kubernetes-list-type"] = json!("set"),
                    Elements::Keyed(keys) => {
                        schema["x-kubernetes-list-map-keys"] = json!(keys);
                        schema["x-kubernetes-list-type"] = json!("map");
                    }
                }
                schema
            }
            Shape::Map(item, atomic) => {
                let mut schema = json!({ "type": "object", "additionalProperties": self.shape(item) });
                if *atomic {
                    schema["x-kubernetes-map-type"] = json!("atomic");
                }
                schema
            }
            Shape::Object(known) if known.name.is_empty() => self.object(known),
            Shape::Object(known) => {
                self.add(known);
                json!({ "$ref": self.style.reference(&known.name) })
            }
        }
    }

    fn named(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.entry(name.to_owned()).or_insert(schema);
        json!({ "$ref": self.style.reference(name) })
    }
}

/// What a kind's schema is called: Kubernetes' own name, or the group backwards.
pub(super) fn name_of(kind: &'static Kind, version: &str) -> String {
    if !kind.custom {
        return schema::of_builtin(kind).name.clone();
    }
    let group: Vec<&str> = kind.group.split('.').rev().collect();
    format!("{}.{version}.{}", group.join("."), kind.kind)
}
