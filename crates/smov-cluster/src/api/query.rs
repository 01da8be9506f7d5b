//! The options of a request: `?labelSelector=…&limit=…`.

use std::{collections::HashMap, str::FromStr};

use crate::{
    error::ApiError,
    kinds::Kind,
    registry::{FieldSelector, FieldValidation, LabelSelector, Selector},
};

/// Parsed query parameters; of repeated ones the first counts.
#[derive(Debug, Default)]
pub(super) struct Query {
    values: HashMap<String, String>,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut values = HashMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(decode(name, true)).or_insert_with(|| decode(value, true));
        }
        Self { values }
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
        text.parse().map(Some).map_err(|_| ApiError::bad_request(format!("invalid value {text:?} of parameter {name:?}")))
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

    pub(super) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.text("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!("dryRun: Unsupported value: {other:?}: supported values: \"All\""))),
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
pub(super) fn decode(text: &str, plus: bool) -> String {
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
    }
}
