//! How expected values are written: exact, part of, absent; times and spans.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One value or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Many<T>(pub Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<T> {
            Many(Vec<T>),
            One(T),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Many(all) => all,
            Form::One(one) => vec![one],
        }))
    }
}

/// What a text (or a header with its values) must be.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// `null`: not there.
    Absent,
    /// A text or number: exactly this.
    Equal(String),
    /// A list: exactly these values, in order.
    Values(Vec<String>),
    /// `{contains: …}`.
    Contains(String),
    /// `{prefix: …}`.
    Prefix(String),
    /// `{regex: …}`, over the whole.
    Regex(regex::Regex),
    /// `{present: true}`: anything.
    Present,
}

impl Matcher {
    /// Do the values fit? A value that is not there has none.
    pub fn fits(&self, values: &[&str]) -> bool {
        let joined = || values.join(",");
        match self {
            Self::Absent => values.is_empty(),
            Self::Present => !values.is_empty(),
            Self::Equal(text) => !values.is_empty() && joined() == *text,
            Self::Values(all) => values == all,
            Self::Contains(text) => !values.is_empty() && joined().contains(text),
            Self::Prefix(text) => !values.is_empty() && joined().starts_with(text),
            Self::Regex(regex) => !values.is_empty() && regex.is_match(&joined()),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("(absent)"),
            Self::Present => f.write_str("(present)"),
            Self::Equal(text) => write!(f, "{text}"),
            Self::Values(all) => write!(f, "{all:?}"),
            Self::Contains(text) => write!(f, "…{text}…"),
            Self::Prefix(text) => write!(f, "{text}…"),
            Self::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(bool) => Some(bool.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::Absent),
            Value::Array(values) => {
                let texts: Option<Vec<String>> = values.iter().map(scalar).collect();
                texts.map(Self::Values).ok_or_else(|| D::Error::custom("a list of expected values holds texts"))
            }
            Value::Object(fields) => {
                let mut fields = fields.iter();
                let (Some((key, value)), None) = (fields.next(), fields.next()) else {
                    return Err(D::Error::custom("expected one of contains, prefix, regex, present"));
                };
                let text = scalar(value).unwrap_or_default();
                match key.as_str() {
                    "contains" => Ok(Self::Contains(text)),
                    "prefix" => Ok(Self::Prefix(text)),
                    "regex" => regex::Regex::new(&format!("^(?s:{text})$")).map(Self::Regex).map_err(D::Error::custom),
                    "present" => Ok(if text == "false" { Self::Absent } else { Self::Present }),
                    other => Err(D::Error::custom(format!("`{other}` is none of contains, prefix, regex, present"))),
                }
            }
            value => scalar(&value).map(Self::Equal).ok_or_else(|| D::Error::custom("expected a text")),
        }
    }
}

/// A time such as `300ms` or `1.5s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        smov_theatre::echo::script::parse_delay(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// How long something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// At least so long.
    #[serde(default)]
    pub min: Option<Time>,
    /// At most so long.
    #[serde(default)]
    pub max: Option<Time>,
}

impl Span {
    /// Is it within?
    pub fn holds(&self, took: Duration) -> bool {
        self.min.is_none_or(|min| took >= min.0) && self.max.is_none_or(|max| took <= max.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |time: Option<Time>| time.map(|time| format!("{} ms", time.0.as_millis())).unwrap_or_default();
        write!(f, "{}..{}", text(self.min), text(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(json: &str) -> Matcher {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn values_are_exact_unless_said_otherwise() {
        assert!(matcher("\"a\"").fits(&["a"]) && !matcher("\"a\"").fits(&["ab"]) && !matcher("\"\"").fits(&[]));
        assert!(matcher("200").fits(&["200"]));
        assert!(matcher("null").fits(&[]) && !matcher("null").fits(&[""]));
        assert!(matcher("[\"a\", \"b\"]").fits(&["a", "b"]) && !matcher("[\"a\"]").fits(&["a", "b"]));
        assert!(matcher("{\"regex\": \"a+\"}").fits(&["aaa"]) && !matcher("{\"regex\": \"a+\"}").fits(&["aab"]));
        assert!(serde_json::from_str::<Matcher>("{\"like\": \"a\"}").is_err());
    }
}
