//! Request bodies: read up to a limit, JSON or YAML, keys that occur twice.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use super::{BODY_LIMIT, protobuf};
use crate::{error::ApiError, registry::FieldValidation};

/// Reads a whole body.
pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the body cannot be read: {error}"))),
    }
}

/// The media type of a body, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(|value| value.split(';').next()).map_or("", str::trim)
}

/// What Go's decoder says of text that is no JSON.
pub(super) fn go_error(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// The first letters of a body that cannot be read.
fn beginning(bytes: &[u8]) -> String {
    const LETTERS: usize = 30;
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') if bytes.len() > LETTERS => format!("{} ...", String::from_utf8_lossy(&bytes[..LETTERS])),
        Some(b'{') => String::from_utf8_lossy(bytes).into_owned(),
        Some(_) => {
            let hex: String = bytes.iter().take(LETTERS).map(|byte| format!("{byte:02x}")).collect();
            if bytes.len() > LETTERS { format!("{hex} ...") } else { hex }
        }
    }
}

/// The same for an object of a known kind, which the answer about unreadable text names.
pub(super) fn object_of(
    kind: &str,
    headers: &HeaderMap,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), ApiError> {
    if matches!(media_type(headers), "application/json" | "" | "*/*")
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
    {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {} ({})",
            go_error(&error),
            beginning(bytes)
        )));
    }
    object(headers, bytes, validation)
}

/// Parses an object; what is said of keys that occur twice depends on `validation`.
pub(super) fn object(headers: &HeaderMap, bytes: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), ApiError> {
    match media_type(headers) {
        "application/json" | "" | "*/*" => json(bytes, validation),
        "application/yaml" | "application/x-yaml" => Ok((yaml(bytes)?, Vec::new())),
        protobuf::MEDIA_TYPE => Ok((protobuf::decode(bytes)?, Vec::new())),
        _ => Err(ApiError::unsupported(&["application/json", "application/yaml"])),
    }
}

fn json(bytes: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), ApiError> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(format!("the object provided is unrecognized: {error}")))?;
    let duplicates = duplicates::find(bytes);
    if duplicates.is_empty() || validation == FieldValidation::Ignore {
        return Ok((value, Vec::new()));
    }
    let told: Vec<String> = duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect();
    if validation == FieldValidation::Strict {
        let kind = value["kind"].as_str().unwrap_or("object");
        let version = value["apiVersion"].as_str().unwrap_or_default();
        let version = version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            told.join(", ")
        )));
    }
    Ok((value, told))
}

/// One YAML document; a key that occurs twice is an error with its place.
pub(super) fn yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("error decoding YAML: the text is no UTF-8"))?;
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: error converting YAML to JSON: yaml: {error}")))
}

mod duplicates {
    //! Paths of keys that occur twice in one JSON object, which `Value` cannot tell.

    use std::{cell::RefCell, collections::BTreeSet};

    use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

    pub(super) fn find(bytes: &[u8]) -> Vec<String> {
        let found = RefCell::new(Vec::new());
        let walk = Walk { path: String::new(), found: &found };
        // The text has been parsed before: it is well formed.
        if walk.deserialize(&mut serde_json::Deserializer::from_slice(bytes)).is_err() {
            return Vec::new();
        }
        found.into_inner()
    }

    struct Walk<'a> {
        path: String,
        found: &'a RefCell<Vec<String>>,
    }

    impl<'de> DeserializeSeed<'de> for Walk<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Walk<'_> {
        type Value = ();
        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("any JSON value")
        }
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }
        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }
        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }
        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }
        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }
        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            let mut place = 0;
            while list.next_element_seed(Walk { path: format!("{}[{place}]", self.path), found: self.found })?.is_some() {
                place += 1;
            }
            Ok(())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut seen = BTreeSet::new();
            while let Some(key) = map.next_key::<String>()? {
                let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
                if !seen.insert(key) {
                    self.found.borrow_mut().push(path.clone());
                }
                map.next_value_seed(Walk { path, found: self.found })?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_occur_twice_are_told_with_their_path() {
        let text = br#"{"kind":"A","spec":{"a":[{"b":1,"b":2}]},"kind":"A"}"#;
        let (_, warnings) = json(text, FieldValidation::Warn).unwrap();
        assert_eq!(warnings, [r#"duplicate field "spec.a[0].b""#, r#"duplicate field "kind""#]);
        let error = json(text, FieldValidation::Strict).unwrap_err();
        assert!(error.message.contains("strict decoding error: duplicate field"), "{error}");
    }

    #[test]
    fn yaml_booleans_are_only_true_and_false() {
        assert_eq!(yaml(b"a: no\nb: true").unwrap(), serde_json::json!({ "a": "no", "b": true }));
        assert!(yaml(b"a: 1\na: 2").is_err());
    }
}
