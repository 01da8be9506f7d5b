//! The options of a request: `?labelSelector=…&limit=…`.

use std::{collections::HashMap, str::FromStr};

use axum::http::Method;
use serde_json::json;

use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    registry::{FieldSelector, FieldValidation, LabelSelector, Selector},
};

/// Parsed query parameters; of repeated ones the first counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    values: HashMap<String, String>,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut values = HashMap::new();
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name, true), decode(value, true));
            pairs.push((name.clone(), value.clone()));
            values.entry(name).or_insert(value);
        }
        Self { values, pairs }
    }

    /// Every value of a repeated parameter, in order.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Go's idea of a true parameter: present and not `false` or `0`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|text| !matches!(text.as_str(), "false" | "False" | "0"))
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    }

    pub(super) fn selector(&self, kind: &Kind) -> Result<Selector, ApiError> {
        let selector = Selector {
            labels: LabelSelector::parse(self.text("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(self.text("fieldSelector").unwrap_or_default())?,
        };
        selector.fields.check(kind)?;
        Ok(selector)
    }

    /// The name, where a field selector asks for one object only.
    pub(super) fn selected_name(&self) -> Option<String> {
        let fields = FieldSelector::parse(self.text("fieldSelector")?).ok()?;
        fields.name().map(str::to_owned)
    }

    /// Shall nothing be stored? The method says which options are wrong if they are.
    pub(super) fn dry_run(&self, method: &Method) -> Result<bool, ApiError> {
        match self.text("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let kind = match *method {
                    Method::POST => "CreateOptions",
                    Method::PATCH => "PatchOptions",
                    Method::DELETE => "DeleteOptions",
                    _ => "UpdateOptions",
                };
                Err(ApiError::invalid_options(kind, &Cause::not_supported("dryRun", &json!([other]), &["All"])))
            }
        }
    }

    /// A `resourceVersion`; none and `0` are both "any".
    pub(super) fn version(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text("resourceVersion").filter(|text| *text != "0") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
    }

    /// `resourceVersionMatch`, checked against the other options. Is the very version wanted?
    pub(super) fn exact_version(&self) -> Result<bool, ApiError> {
        const FIELD: &str = "resourceVersionMatch";
        let wrong = |cause: Cause| Err(ApiError::invalid_options("ListOptions", &cause));
        let (rule, version) = (self.text(FIELD), self.text("resourceVersion"));
        if self.flag("watch") && self.flag("sendInitialEvents") {
            return match rule {
                Some("NotOlderThan") => Ok(false),
                _ => wrong(Cause::forbidden(FIELD, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")),
            };
        }
        match (rule, version) {
            (None, _) => Ok(false),
            (Some(_), _) if self.flag("watch") => {
                wrong(Cause::forbidden(FIELD, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
            }
            (Some(_), None) => wrong(Cause::forbidden(FIELD, "resourceVersionMatch is forbidden unless resourceVersion is provided")),
            (Some("Exact"), Some("0")) => {
                wrong(Cause::forbidden(FIELD, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
            }
            (Some("Exact"), Some(_)) => Ok(true),
            (Some("NotOlderThan"), Some(_)) => Ok(false),
            (Some(other), Some(_)) => wrong(Cause::not_supported(FIELD, &json!(other), &["Exact", "NotOlderThan", ""])),
        }
    }

    pub(super) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.text("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Undoes percent-encoding; `+` is a space in queries only. What is no UTF-8 becomes `U+FFFD`.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[place], hex(place + 1), hex(place + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                place += 2;
            }
            (b'+', _, _) if plus => decoded.push(b' '),
            (byte, _, _) => decoded.push(byte),
        }
        place += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=app+in+%28a%2Cb%29&watch&limit=5&%ed%95");
        assert_eq!(query.text("labelSelector"), Some("app in (a,b)"));
        assert!(query.flag("watch"));
        assert_eq!(query.number::<usize>("limit"), Ok(Some(5)));
        assert_eq!(decode("a%2", false), "a%2");
        assert_eq!(Query::parse("command=ls&tty=true&command=-l").all("command"), ["ls", "-l"]);
    }
}
