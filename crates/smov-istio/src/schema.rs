//! The shape of Istio's resources as one table: field names, types, and which of them the mesh executes.
//!
//! From this table come the findings about unknown fields, wrong types and fields that are known but not executed yet, and the pruning
//! of unknown fields. A test walks Istio's published schema and fails when a field is missing here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{IstioKind, reference_of};

mod destination_rule;
mod gateway;
mod near;
mod openapi;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod virtual_service;
mod words;

pub use near::nearest;
pub use openapi::open_api;

/// What a field holds.
#[derive(Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list.
    List(&'static Self),
    /// An object with free keys.
    Map(&'static Self),
    /// Anything; not looked into.
    Any,
}

/// What the mesh does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is executed.
    Executed,
    /// Istio executes it, we do not yet: a warning says so.
    NotYet,
    /// It has no effect on traffic in Istio either.
    NoEffect,
}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// As YAML has it.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// What the mesh does with it.
    pub support: Support,
}

const fn on(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, support: Support::Executed }
}

const fn not_yet(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, support: Support::NotYet }
}

const fn no_effect(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, support: Support::NoEffect }
}

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_MAP: Shape = Shape::Map(&Shape::Text);
const SELECTOR: Shape = Shape::Object(&[on("matchLabels", TEXT_MAP)]);
const TARGET_REFERENCE: Shape =
    Shape::Object(&[on("group", Shape::Text), on("kind", Shape::Text), on("name", Shape::Text), on("namespace", Shape::Text)]);
const PORT_SELECTOR: Shape = Shape::Object(&[on("number", Shape::Integer)]);

/// The shape of `spec` of a kind.
pub fn spec_of(kind: IstioKind) -> &'static Shape {
    match kind {
        IstioKind::VirtualService => &virtual_service::SPEC,
        IstioKind::DestinationRule => &destination_rule::SPEC,
        IstioKind::Gateway => &gateway::SPEC,
        IstioKind::ServiceEntry => &service_entry::SPEC,
        IstioKind::WorkloadEntry => &service_entry::WORKLOAD_ENTRY,
        IstioKind::Sidecar => &sidecar::SPEC,
        IstioKind::PeerAuthentication => &security::PEER_AUTHENTICATION,
        IstioKind::AuthorizationPolicy => &security::AUTHORIZATION_POLICY,
        IstioKind::RequestAuthentication => &security::REQUEST_AUTHENTICATION,
        IstioKind::Telemetry => &telemetry::SPEC,
    }
}

/// Code of findings about fields that the schema does not have. Kubernetes refuses, warns or prunes, by `fieldValidation`.
pub const UNKNOWN_FIELD: &str = "unknown-field";
/// Code of findings about values of another type than the schema's.
pub const WRONG_TYPE: &str = "IST0106";
/// Code of findings about fields that Istio executes and we do not yet.
pub const NOT_EXECUTED: &str = "not-executed";

const OBJECT_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// All findings of one object against the table.
pub fn check(kind: IstioKind, object: &Value) -> Vec<Diagnostic> {
    let mut walk = Walk { object, findings: Vec::new() };
    if let Some(fields) = object.as_object() {
        for name in fields.keys().filter(|name| !OBJECT_FIELDS.contains(&name.as_str())) {
            walk.unknown(name, name, OBJECT_FIELDS.into_iter());
        }
    }
    if !kind.is_executed() {
        walk.kind_not_executed(kind);
    }
    match object.get("spec") {
        Some(Value::Null) | None if kind.may_lack_spec() => {}
        Some(Value::Null) | None => walk.wrong_type("spec", "Required value", "필수 값이 없습니다"),
        Some(spec) => walk.value(spec, spec_of(kind), "spec"),
    }
    walk.findings
}

/// The paths of unknown fields of an object of this `kind`, as `fieldValidation` reports them; empty for kinds that are not ours.
pub fn unknown_fields(kind: &str, object: &Value) -> Vec<String> {
    let findings = IstioKind::by_name(kind).map(|kind| check(kind, object)).unwrap_or_default();
    findings.into_iter().filter(|finding| finding.code == UNKNOWN_FIELD).map(|finding| finding.path).collect()
}

/// Takes unknown fields of `spec` out, as the API server does before it stores.
pub fn prune(object: &mut Value) {
    if let Some(kind) = IstioKind::of(object) {
        prune_as(kind, object);
    }
}

/// As [`prune`], for an object whose kind is known from elsewhere.
pub(crate) fn prune_as(kind: IstioKind, object: &mut Value) {
    if let Some(spec) = object.get_mut("spec") {
        prune_value(spec, spec_of(kind));
    }
}

fn prune_value(value: &mut Value, shape: &Shape) {
    match (shape, value) {
        (Shape::Object(fields), Value::Object(values)) => {
            values.retain(|name, _| fields.iter().any(|field| field.name == name));
            for field in *fields {
                if let Some(value) = values.get_mut(field.name) {
                    prune_value(value, &field.shape);
                }
            }
        }
        (Shape::List(item), Value::Array(values)) => values.iter_mut().for_each(|value| prune_value(value, item)),
        (Shape::Map(item), Value::Object(values)) => values.values_mut().for_each(|value| prune_value(value, item)),
        _ => {}
    }
}

struct Walk<'a> {
    object: &'a Value,
    findings: Vec<Diagnostic>,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, shape: &'static Shape, path: &str) {
        let wanted = match (shape, value) {
            // `null` means the same as an absent field.
            (_, Value::Null) | (Shape::Any, _) | (Shape::Text, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) => return,
            (Shape::Number, Value::Number(_)) => return,
            (Shape::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => return,
            (Shape::OneOf(words), Value::String(text)) => return self.word(text, words, path),
            (Shape::Object(fields), Value::Object(values)) => return self.object(values, fields, path),
            (Shape::List(item), Value::Array(values)) => {
                return values.iter().enumerate().for_each(|(index, value)| self.value(value, item, &format!("{path}[{index}]")));
            }
            (Shape::Map(item), Value::Object(values)) => {
                return values.iter().for_each(|(key, value)| self.value(value, item, &join(path, key)));
            }
            (Shape::Text | Shape::OneOf(_), _) => "string",
            (Shape::Integer, _) => "integer",
            (Shape::Number, _) => "number",
            (Shape::Boolean, _) => "boolean",
            (Shape::List(_), _) => "array",
            (Shape::Object(_) | Shape::Map(_), _) => "object",
        };
        let found = type_of(value);
        let message = format!("Invalid value: \"{found}\": must be of type {wanted}: \"{found}\"");
        self.wrong_type(path, &message, &format!("값의 형식이 {found}입니다. {wanted}이어야 합니다"));
    }

    fn word(&mut self, text: &str, words: &[&str], path: &str) {
        if !words.contains(&text) {
            let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
            let message = format!("Unsupported value: \"{text}\": supported values: {list}");
            self.wrong_type(path, &message, &format!("`{text}`은(는) 쓸 수 없는 값입니다. 쓸 수 있는 값: {list}"));
        }
    }

    fn object(&mut self, values: &Map<String, Value>, fields: &'static [Field], path: &str) {
        for (name, value) in values {
            let inner = join(path, name);
            match fields.iter().find(|field| field.name == name) {
                None => self.unknown(&inner, name, fields.iter().map(|field| field.name)),
                Some(_) if value.is_null() => {}
                Some(field) => {
                    if field.support == Support::NotYet {
                        self.not_executed(&inner, name);
                    }
                    self.value(value, &field.shape, &inner);
                }
            }
        }
    }

    fn unknown(&mut self, path: &str, name: &str, known: impl Iterator<Item = &'static str>) {
        let mut finding =
            self.finding(UNKNOWN_FIELD, Severity::Error, path, format!("unknown field \"{path}\""), format!("모르는 필드입니다: `{path}`"));
        if let Some(near) = nearest(name, known) {
            finding = finding.with_help(format!("did you mean `{near}`?"), format!("혹시 `{near}`인가요?"));
        }
        self.findings.push(finding);
    }

    fn not_executed(&mut self, path: &str, name: &str) {
        // Of a field inside one that is not executed as a whole, the outer one has said it.
        let said = |finding: &Diagnostic| finding.code == NOT_EXECUTED && path.starts_with(&format!("{}.", finding.path));
        if self.findings.iter().any(said) {
            return;
        }
        let message = format!("`{name}` is valid in Istio but not executed here yet: traffic behaves as if it were absent");
        let korean = format!("`{name}`은(는) Istio에서는 유효하지만 여기서는 아직 실행하지 않습니다. 없는 것처럼 동작합니다");
        let finding = self.finding(NOT_EXECUTED, Severity::Warning, path, message, korean);
        self.findings.push(finding);
    }

    fn kind_not_executed(&mut self, kind: IstioKind) {
        let kind = kind.as_str();
        let message = format!("{kind} is valid in Istio but not executed here yet: traffic behaves as if it were absent");
        let korean = format!("{kind}은(는) Istio에서는 유효하지만 여기서는 아직 실행하지 않습니다. 없는 것처럼 동작합니다");
        let finding = self.finding(NOT_EXECUTED, Severity::Warning, "spec", message, korean);
        self.findings.push(finding);
    }

    fn wrong_type(&mut self, path: &str, message: &str, korean: &str) {
        let finding = self.finding(WRONG_TYPE, Severity::Error, path, message.to_owned(), korean.to_owned());
        self.findings.push(finding);
    }

    fn finding(&self, code: &'static str, severity: Severity, path: &str, message: String, korean: String) -> Diagnostic {
        Diagnostic::new(code, severity, &reference_of(self.object), path, message, korean)
    }
}

/// A path and one more key; keys with a dot are put in brackets so that paths stay readable.
pub(crate) fn join(path: &str, key: &str) -> String {
    if key.contains(['.', '[', ']', '/']) || key.is_empty() { format!("{path}[\"{key}\"]") } else { format!("{path}.{key}") }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// All field paths of a kind with their support, lists as `[]` and free keys as `{}`: what the guide prints and the tests walk.
pub fn fields(kind: IstioKind) -> BTreeMap<String, Support> {
    fn collect(shape: &Shape, path: &str, found: &mut BTreeMap<String, Support>) {
        match shape {
            Shape::Object(fields) => {
                for field in *fields {
                    let inner = format!("{path}.{}", field.name);
                    found.insert(inner.clone(), field.support);
                    collect(&field.shape, &inner, found);
                }
            }
            Shape::List(item) => collect(item, &format!("{path}[]"), found),
            Shape::Map(item) => collect(item, &format!("{path}{{}}"), found),
            Shape::Text | Shape::Integer | Shape::Number | Shape::Boolean | Shape::OneOf(_) | Shape::Any => {}
        }
    }
    let mut found = BTreeMap::new();
    collect(spec_of(kind), "spec", &mut found);
    found
}
