//! Bodies in Kubernetes' protobuf encoding, which kubectl's own `create …`, `auth can-i` and
//! `create token` send since 1.32. Answers are JSON, which every client takes.
//!
//! Field numbers are those of Kubernetes' published `generated.proto` files, for the kinds and
//! fields that these commands write. A field outside the table is refused, never dropped.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::error::ApiError;

mod messages;

use messages::{
    Field,
    Type::{self, Bool, BytesMap, Many, Number, NumberOrText, One, Optional, QuantityMap, Skip, Text, TextMap, Texts, Time},
    message,
};

pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// The object in a protobuf body.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, ApiError> {
    let bytes = bytes.strip_prefix(MAGIC).ok_or_else(|| broken("the body does not start with the Kubernetes prefix"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &bytes[..0]);
    each(bytes, |number, wire| {
        match (number, wire) {
            (1, Wire::Bytes(inner)) => each(inner, |number, wire| {
                match number {
                    1 => api_version = text(wire)?,
                    2 => kind = text(wire)?,
                    _ => {}
                }
                Ok(())
            })?,
            (2, Wire::Bytes(inner)) => raw = inner,
            _ => {}
        }
        Ok(())
    })?;
    let fields = message(&kind).ok_or_else(|| ApiError::unsupported(&["application/json", "application/yaml"]))?;
    let mut object = object(&kind, fields, raw)?;
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

fn broken(why: &str) -> ApiError {
    ApiError::bad_request(format!("error decoding protobuf: {why}"))
}

#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Calls `found` for each field of a message.
fn each<'a>(mut bytes: &'a [u8], mut found: impl FnMut(u64, Wire<'a>) -> Result<(), ApiError>) -> Result<(), ApiError> {
    while !bytes.is_empty() {
        let tag = variable(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Number(variable(&mut bytes)?),
            2 => {
                let length = usize::try_from(variable(&mut bytes)?).unwrap_or(usize::MAX);
                let (inner, rest) = bytes.split_at_checked(length).ok_or_else(|| broken("a field is longer than the body"))?;
                bytes = rest;
                Wire::Bytes(inner)
            }
            _ => return Err(broken("a field has an encoding that Kubernetes does not use")),
        };
        found(tag >> 3, wire)?;
    }
    Ok(())
}

fn variable(bytes: &mut &[u8]) -> Result<u64, ApiError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(|| broken("the body ends within a number"))?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken("a number is too long"))
}

fn raw(wire: Wire<'_>) -> Result<&[u8], ApiError> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        Wire::Number(_) => Err(broken("a number where text is expected")),
    }
}

fn text(wire: Wire<'_>) -> Result<String, ApiError> {
    String::from_utf8(raw(wire)?.to_vec()).map_err(|_| broken("text that is no UTF-8"))
}

fn number(wire: Wire<'_>) -> Result<i64, ApiError> {
    match wire {
        Wire::Number(value) => Ok(value.cast_signed()),
        Wire::Bytes(_) => Err(broken("text where a number is expected")),
    }
}

fn object(name: &str, fields: &[Field], bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let mut found = Map::new();
    each(bytes, |number, wire| {
        let Some((_, field, kind)) = fields.iter().find(|(known, _, _)| *known == number) else {
            return Err(broken(&format!("field {number} of {name} is not known here; send the object as JSON or YAML")));
        };
        put(&mut found, field, *kind, wire)
    })?;
    Ok(found)
}

fn put(found: &mut Map<String, Value>, field: &str, kind: Type, wire: Wire<'_>) -> Result<(), ApiError> {
    let value = match kind {
        Skip => return Ok(()),
        Text => match text(wire)? {
            text if text.is_empty() => return Ok(()),
            text => json!(text),
        },
        Bool => match number(wire)? {
            // Pointers to false are told; plain false is the same as absent everywhere.
            0 if field != "automountServiceAccountToken" => return Ok(()),
            value => json!(value != 0),
        },
        Number => match number(wire)? {
            0 => return Ok(()),
            value => json!(value),
        },
        Optional => json!(number(wire)?),
        Time => return Ok(()),
        NumberOrText => number_or_text(raw(wire)?)?,
        One(fields) => {
            let inner = object(field, fields, raw(wire)?)?;
            if inner.is_empty() {
                return Ok(());
            }
            Value::Object(inner)
        }
        Texts | Many(_) => {
            let element = match kind {
                Many(fields) => Value::Object(object(field, fields, raw(wire)?)?),
                _ => json!(text(wire)?),
            };
            let list = found.entry(field).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(element);
            }
            return Ok(());
        }
        TextMap | BytesMap | QuantityMap => {
            let (key, value) = entry(kind, raw(wire)?)?;
            found.entry(field).or_insert_with(|| json!({}))[key] = value;
            return Ok(());
        }
    };
    found.insert(field.to_owned(), value);
    Ok(())
}

fn entry(kind: Type, bytes: &[u8]) -> Result<(String, Value), ApiError> {
    let (mut key, mut value) = (String::new(), json!(""));
    each(bytes, |number, wire| {
        match (number, kind) {
            (1, _) => key = text(wire)?,
            (2, BytesMap) => value = json!(STANDARD.encode(raw(wire)?)),
            (2, QuantityMap) => each(raw(wire)?, |_, wire| {
                value = json!(text(wire)?);
                Ok(())
            })?,
            (2, _) => value = json!(text(wire)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

fn number_or_text(bytes: &[u8]) -> Result<Value, ApiError> {
    let (mut is_text, mut whole, mut words) = (false, 0, String::new());
    each(bytes, |field, wire| {
        match field {
            1 => is_text = number(wire)? == 1,
            2 => whole = number(wire)?,
            3 => words = text(wire)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(if is_text { json!(words) } else { json!(whole) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(inner.len()).unwrap()];
        bytes.extend_from_slice(inner);
        bytes
    }

    #[test]
    fn a_config_map_is_read_and_a_cut_one_refused() {
        let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        let metadata = [field(1, b"settings"), field(8, b"")].concat();
        let data = [field(1, b"colour"), field(2, b"red")].concat();
        let raw = [field(1, &metadata), field(2, &data)].concat();
        let body = [MAGIC, &field(1, &kind), &field(2, &raw)].concat();
        assert_eq!(
            decode(&body).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "settings" }, "data": { "colour": "red" },
            })
        );
        for end in 0..body.len() {
            if let Ok(object) = decode(&body[..end]) {
                assert_ne!(object["data"]["colour"], "red", "{end}");
            }
        }
    }
}
