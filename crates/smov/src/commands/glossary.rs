//! `smov glossary`: what a word means, from the same document as the page's `?`.

use smov_console::glossary::{Term, find, terms};

use crate::cli::{Global, GlossaryArguments, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::printer::{self, BOLD, DIM, paint};
use crate::text::{self, Language};

/// Runs the command.
pub(crate) fn run(global: &Global, arguments: &GlossaryArguments, language: Language) -> Outcome {
    let found: Vec<&Term> = match &arguments.term {
        Some(word) => find(word),
        None => terms().iter().collect(),
    };
    if let (true, Some(word)) = (found.is_empty(), &arguments.term) {
        return Err(Failure::new(Exit::Usage, text::GLOSSARY_NONE, &[word]).hint(text::GLOSSARY_NONE_HINT, &[]));
    }
    if global.output == Output::Json {
        printer::line(&serde_json::to_string_pretty(&found).expect("plain data serialises"));
    } else if arguments.term.is_none() {
        let rows: Vec<_> = found.iter().map(|term| vec![term.key.to_owned(), term.ko.to_owned(), term.en.to_owned()]).collect();
        printer::table(&rows);
    } else {
        for (place, term) in found.iter().enumerate() {
            if place > 0 {
                printer::line("");
            }
            tell(term, language);
        }
    }
    Ok(())
}

fn tell(term: &Term, language: Language) {
    let names = language.choose_of(term.ko, term.en).join(" · ");
    printer::line(&format!("{} {}", paint(BOLD, &names), paint(DIM, &format!("({})", term.key))));
    for sentence in language.choose_of(term.text_ko, term.text_en) {
        printer::wrapped(&format!("  {sentence}"), 2);
    }
    for line in filled(term.command.unwrap_or_default()).lines() {
        printer::line(&format!("  {} {line}", paint(DIM, "$")));
    }
}

/// The places that the page fills by what was clicked, as for the first service.
fn filled(command: &str) -> String {
    command.replace("{host}", "user-service").replace("{path}", "/users/").replace("{origin}", "http://localhost:8080")
}
