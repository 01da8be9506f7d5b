//! Claims of a verified token, as policies look at them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A claim's value. Numbers, booleans and null match nothing, as in Istio.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Claim {
    /// A text.
    Text(String),
    /// Several values.
    List(Vec<Self>),
    /// Claims inside a claim.
    Object(BTreeMap<String, Self>),
    /// What no policy can look at.
    #[default]
    Other,
}

impl Claim {
    /// The claim at a path.
    pub fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |claim, name| match claim {
            Self::Object(claims) => claims.get(name),
            Self::Text(_) | Self::List(_) | Self::Other => None,
        })
    }

    /// The text at a name.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Object(claims) => match claims.get(name)? {
                Self::Text(text) => Some(text),
                Self::List(_) | Self::Object(_) | Self::Other => None,
            },
            Self::Text(_) | Self::List(_) | Self::Other => None,
        }
    }

    /// Is it a text that passes the test, or a list with one?
    pub fn any_text(&self, test: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Text(text) => test(text),
            Self::List(members) => members.iter().any(|member| matches!(member, Self::Text(text) if test(text))),
            Self::Object(_) | Self::Other => false,
        }
    }
}
