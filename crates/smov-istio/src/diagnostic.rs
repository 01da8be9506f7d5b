//! Diagnostics: what is wrong with a resource, where, and what to do about it. Always a list, never an exception.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smov_model::names::ResourceRef;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Refused by Istio's webhook, or cannot work.
    Error,
    /// Admitted, but probably not what was meant.
    Warning,
    /// Good to know.
    Info,
}

/// A place in the text that a resource was read from; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One finding about one field of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// Stable and public: Istio's (`IST0101`) where it has one, else a word of ours (`unknown-field`).
    pub code: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// The resource.
    pub resource: ResourceRef,
    /// The field: `spec.http[0].route[1].weight`; empty for the resource as a whole.
    pub path: String,
    /// What is wrong, in Istio's English where Istio has a sentence.
    pub message: String,
    /// The same in Korean.
    pub message_ko: String,
    /// The next step; may be empty.
    pub help: String,
    /// The same in Korean.
    pub help_ko: String,
    /// Where the field stands in its file, when it came from one.
    pub position: Option<Position>,
}

impl Diagnostic {
    /// A finding with both languages.
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        severity: Severity,
        resource: &ResourceRef,
        path: impl Into<String>,
        message: impl Into<String>,
        message_ko: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            severity,
            resource: resource.clone(),
            path: path.into(),
            message: message.into(),
            message_ko: message_ko.into(),
            help: String::new(),
            help_ko: String::new(),
            position: None,
        }
    }

    /// The same finding with a next step.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>, help_ko: impl Into<String>) -> Self {
        self.help = help.into();
        self.help_ko = help_ko.into();
        self
    }

    /// Is it an error?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.resource)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} [{}]", self.message, self.code)
    }
}

/// Is there an error among them?
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}
