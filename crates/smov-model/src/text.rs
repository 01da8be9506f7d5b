//! Matching of texts: exact, prefix, RE2-like full-match regular expressions.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A regular expression that must match the whole text, as Istio's RE2 patterns do. Equal when the sources are.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    compiled: regex::Regex,
}

/// A pattern that does not compile.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{source_text}` is not a valid regular expression: {reason}")]
pub struct InvalidPattern {
    /// The pattern as written.
    pub source_text: String,
    /// The compiler's reason, one line.
    pub reason: String,
}

impl Pattern {
    /// Compiles a pattern; anchored at both ends.
    pub fn new(source: &str) -> Result<Self, InvalidPattern> {
        let failed = |error: regex::Error| InvalidPattern {
            source_text: source.to_owned(),
            reason: error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        };
        // Checked alone first: `a)(b` must not become valid by the group around it.
        regex::Regex::new(source).map_err(failed)?;
        let compiled = regex::RegexBuilder::new(&format!("^(?:{source})$")).size_limit(1 << 20).build().map_err(failed)?;
        Ok(Self { source: source.to_owned(), compiled })
    }

    /// Does the whole text match?
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// The pattern as written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
impl Eq for Pattern {}
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}
impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}
impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How a text is compared (Istio's `StringMatch`, <https://istio.io/latest/docs/reference/config/networking/virtual-service/#StringMatch>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// The whole text, byte for byte.
    Exact(String),
    /// The text starts with this; `/users` also matches `/users-x`.
    Prefix(String),
    /// The whole text matches.
    Regex(Pattern),
}

impl StringMatch {
    /// Does the text match, case-sensitively?
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }

    /// As [`Self::matches`], but exact and prefix ignore ASCII case; a regex never does (checked on Envoy 1.40).
    pub fn matches_ignoring_case(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(text),
            Self::Prefix(prefix) => text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}

impl fmt::Display for StringMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "= {text}"),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Regex(pattern) => write!(f, "~ {}", pattern.source()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text_only() {
        let pattern = Pattern::new("/users/[0-9]+|/me").unwrap();
        assert!(pattern.is_match("/users/12"));
        assert!(pattern.is_match("/me"));
        assert!(!pattern.is_match("/users/12/x"));
        assert!(!pattern.is_match("x/me"));
        assert!(Pattern::new("a)(b").is_err());
    }

    #[test]
    fn ignoring_case_never_applies_to_a_regex() {
        assert!(StringMatch::Prefix("/Users".into()).matches_ignoring_case("/users/1"));
        assert!(!StringMatch::Prefix("/Users".into()).matches("/users/1"));
        assert!(!StringMatch::Regex(Pattern::new("/Users.*").unwrap()).matches_ignoring_case("/users/1"));
    }
}
