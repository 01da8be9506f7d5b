//! Whether an object fits its type: unknown fields with their paths, and the first value of a
//! wrong type, in the words of Kubernetes' decoder (or, for custom kinds, of its validation).

use serde_json::{Map, Number, Value};

use super::{ObjectType, Shape, TimeScale, Width};
use crate::{error::Cause, quantity};

/// How many unknown fields are told, as in Kubernetes.
const MOST: usize = 100;

/// What does not fit.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Paths of the first unknown fields, as `spec.containers[0].imag`, in the order of the document.
    pub(crate) unknown: Vec<String>,
    /// The first value that cannot be read.
    pub(crate) wrong: Option<WrongType>,
    /// The same for custom kinds: all of them, with the type they should have.
    pub(crate) causes: Vec<Cause>,
}

/// A value that does not fit its field.
#[derive(Debug)]
pub(crate) struct WrongType {
    /// With places of lists, as `spec.containers[0].name`.
    pub(crate) path: String,
    /// The decoder's sentence.
    pub(crate) sentence: String,
}

/// Compares an object with its type. Unknown fields are taken out, all of them; numbers where quantities are wanted become text.
pub(crate) fn check(known: &ObjectType, object: &mut Value) -> Findings {
    let mut walk = Walk { path: String::new(), go: Vec::new(), holder: known.short_name().to_owned(), findings: Findings::default() };
    match object {
        Value::Object(map) => walk.object(known, map),
        other => walk.wrong(other, &format!("v1.{}", known.short_name()), "object"),
    }
    walk.findings
}

struct Walk {
    path: String,
    /// The names on the way, as Go tells them: without places of lists and keys of maps.
    go: Vec<String>,
    /// The struct around the value.
    holder: String,
    findings: Findings,
}

impl Walk {
    fn object(&mut self, known: &ObjectType, map: &mut Map<String, Value>) {
        let outer = std::mem::replace(&mut self.holder, known.short_name().to_owned());
        let mut unknown = false;
        for (name, value) in map.iter_mut() {
            let length = self.path.len();
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            match known.fields.get(name) {
                Some(field) => {
                    self.go.push(name.clone());
                    self.value(&field.shape, value, name);
                    self.go.pop();
                }
                None if known.open => {}
                // Kubernetes says so of null as well.
                None => {
                    unknown = true;
                    if self.findings.unknown.len() < MOST {
                        self.findings.unknown.push(self.path.clone());
                    }
                }
            }
            self.path.truncate(length);
        }
        if unknown {
            // By name, not by path: a name may have dots in it.
            map.retain(|name, _| known.fields.contains_key(name));
        }
        self.holder = outer;
    }

    fn value(&mut self, shape: &Shape, value: &mut Value, field: &str) {
        if value.is_null() {
            return;
        }
        match (shape, &mut *value) {
            (Shape::Any, _)
            | (Shape::Text, Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::IntOrString, Value::String(_)) => {}
            (Shape::Integer(width), Value::Number(number)) if fits(number, *width) => {}
            (Shape::IntOrString, Value::Number(number)) if fits(number, Width::Int32) => {}
            (Shape::Quantity, Value::Number(_) | Value::String(_)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match quantity::parse(&text) {
                    Ok(canonical) if *value == canonical => {}
                    Ok(canonical) => *value = Value::String(canonical),
                    Err(why) => self.refuse(why),
                }
            }
            (Shape::Bytes, Value::String(text)) => {
                if let Err(place) = base64_error(text) {
                    self.refuse(format!("illegal base64 data at input byte {place}"));
                }
            }
            (Shape::Time(scale), Value::String(text)) => self.time(*scale, text),
            (Shape::List(item, _), Value::Array(list)) => {
                for (place, element) in list.iter_mut().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{place}]"));
                    self.value(item, element, field);
                    self.path.truncate(length);
                }
            }
            (Shape::Map(item, _), Value::Object(map)) => {
                for (key, element) in map.iter_mut() {
                    let length = self.path.len();
                    self.path.push_str(&format!(".{key}"));
                    self.value(item, element, field);
                    self.path.truncate(length);
                }
            }
            (Shape::Object(known), Value::Object(map)) => self.object(known, map),
            (shape, found) => {
                let found = found.clone();
                let (go, open_api) = (go_type(shape, &self.holder, field), open_api_type(shape));
                if matches!(shape, Shape::Quantity) {
                    self.refuse(quantity::EXPRESSION.to_owned());
                } else {
                    self.wrong(&found, &go, open_api);
                }
            }
        }
    }

    fn time(&mut self, scale: TimeScale, text: &str) {
        if text.parse::<jiff::Timestamp>().is_ok() {
            return;
        }
        let layout = match scale {
            TimeScale::Seconds | TimeScale::Text => "2006-01-02T15:04:05Z07:00",
            TimeScale::Micros => "2006-01-02T15:04:05.000000Z07:00",
        };
        self.refuse(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""));
    }

    fn refuse(&mut self, sentence: String) {
        if self.findings.wrong.is_none() {
            self.findings.wrong = Some(WrongType { path: self.path.clone(), sentence });
        }
    }

    fn wrong(&mut self, found: &Value, go: &str, open_api: &str) {
        let sentence =
            format!("json: cannot unmarshal {} into Go struct field {}.{} of type {go}", go_kind(found), self.holder, self.go.join("."));
        let told = open_api_kind(found);
        self.findings.causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            field: self.path.clone(),
            message: format!("Invalid value: {told:?}: {} in body must be of type {open_api}: {told:?}", self.path),
        });
        self.refuse(sentence);
    }
}

fn fits(number: &Number, width: Width) -> bool {
    match width {
        Width::Int64 => number.is_i64(),
        Width::Int32 => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
    }
}

fn base64_error(text: &str) -> Result<(), usize> {
    use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
    match STANDARD.decode(text) {
        Ok(_) => Ok(()),
        Err(DecodeError::InvalidByte(place, _) | DecodeError::InvalidLastSymbol(place, _)) => Err(place),
        Err(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding) => Err(text.trim_end_matches('=').len()),
    }
}

/// What Go's decoder calls a value that does not fit.
pub(crate) fn go_kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => format!("number{}", if number.is_f64() { format!(" {number}") } else { String::new() }),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// A value as Go prints it.
pub(crate) fn go_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => go_map(map),
        Value::Array(list) => format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

fn go_map(map: &Map<String, Value>) -> String {
    let mut entries: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", go_text(value))).collect();
    entries.sort_unstable();
    format!("map[{}]", entries.join(" "))
}

/// The name of the Go type of a field.
fn go_type(shape: &Shape, holder: &str, field: &str) -> String {
    match shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::Text => go_text_type(holder, field).to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Time(TimeScale::Micros) => "v1.MicroTime".to_owned(),
        Shape::Time(_) => "v1.Time".to_owned(),
        Shape::Integer(Width::Int32) => "int32".to_owned(),
        Shape::Integer(Width::Int64) => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::IntOrString => "int32".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::List(item, _) => format!("[]{}", go_type(item, holder, field)),
        Shape::Map(item, _) if matches!(**item, Shape::Quantity) => "v1.ResourceList".to_owned(),
        Shape::Map(item, _) => format!("map[string]{}", go_type(item, holder, field)),
        Shape::Object(known) => format!("v1.{}", known.short_name()),
    }
}

/// Texts with a Go type of their own, where people meet them.
fn go_text_type(holder: &str, field: &str) -> &'static str {
    match (holder, field) {
        (_, "imagePullPolicy" | "pullPolicy") => "v1.PullPolicy",
        (_, "protocol") => "v1.Protocol",
        (_, "terminationMessagePolicy") => "v1.TerminationMessagePolicy",
        ("PodSpec", "restartPolicy") => "v1.RestartPolicy",
        ("PodSpec", "dnsPolicy") => "v1.DNSPolicy",
        ("HTTPGetAction", "scheme") => "v1.URIScheme",
        ("ServiceSpec", "type") => "v1.ServiceType",
        ("ServiceSpec", "sessionAffinity") => "v1.ServiceAffinity",
        ("Secret", "type") => "v1.SecretType",
        ("DeploymentStrategy", "type") => "v1.DeploymentStrategyType",
        ("Toleration" | "Taint", "effect") => "v1.TaintEffect",
        ("Toleration", "operator") => "v1.TolerationOperator",
        ("LabelSelectorRequirement", "operator") => "v1.LabelSelectorOperator",
        ("NodeSelectorRequirement", "operator") => "v1.NodeSelectorOperator",
        ("PersistentVolumeClaimSpec", "accessModes") => "v1.PersistentVolumeAccessMode",
        ("ObjectMeta" | "OwnerReference", "uid") => "types.UID",
        _ => "string",
    }
}

fn open_api_type(shape: &Shape) -> &'static str {
    match shape {
        Shape::Any => "object",
        Shape::Text | Shape::Bytes | Shape::Time(_) | Shape::Quantity => "string",
        Shape::Integer(_) | Shape::IntOrString => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::List(..) => "array",
        Shape::Map(..) | Shape::Object(_) => "object",
    }
}

fn open_api_kind(value: &Value) -> &'static str {
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
