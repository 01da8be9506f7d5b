//! How a command fails: one clear sentence, a hint with the next step, an exit code.

use std::process::ExitCode;

use crate::text::{Language, Text};

/// Exit codes that scripts can rely on (`smov --help`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A check did not pass.
    Check = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The mesh is not reachable.
    Unreachable = 3,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// `None`: what there is to say was already printed.
    text: Option<Text>,
    arguments: Vec<String>,
    hint: Option<(Text, Vec<String>)>,
}

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(exit: Exit, text: Text, arguments: &[&dyn std::fmt::Display]) -> Self {
        Self { exit, text: Some(text), arguments: arguments.iter().map(ToString::to_string).collect(), hint: None }
    }

    /// Only an exit code: the command has printed what there is to say.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self { exit, text: None, arguments: Vec::new(), hint: None }
    }

    /// With the next step to take.
    #[must_use]
    pub(crate) fn hint(mut self, text: Text, arguments: &[&dyn std::fmt::Display]) -> Self {
        self.hint = Some((text, arguments.iter().map(ToString::to_string).collect()));
        self
    }

    /// Prints the sentence and the hint to standard error; gives the exit code.
    pub(crate) fn report(&self, language: Language) -> ExitCode {
        if let Some(text) = self.text {
            let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
            for line in language.lines(text, &arguments) {
                crate::printer::error(&line);
            }
        }
        if let Some((hint, arguments)) = &self.hint {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            for line in language.lines(*hint, &arguments) {
                crate::printer::hint(&line);
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

/// What a command gives back.
pub(crate) type Outcome = Result<(), Failure>;
