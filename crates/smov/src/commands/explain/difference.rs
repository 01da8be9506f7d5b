//! `--diff OLD NEW`: which requests move where.

use std::path::PathBuf;

use serde_json::json;
use smov_istio::explain::{Change, Explanation, Question, differences};

use super::sheet::Sheet;
use super::{Asked, from_files, settle, told};
use crate::cli::{Explain, Global, Output};
use crate::failure::Outcome;
use crate::printer::{self, BOLD, paint};
use crate::text::{self, Language};

/// Runs the comparison; what changes is no error.
pub(super) fn run(global: &Global, explain: &Explain, sides: [&PathBuf; 2], given: &[Question], language: Language) -> Outcome {
    let read = |own: &PathBuf| from_files::read(explain, &explain.filename.iter().chain([own]).cloned().collect::<Vec<_>>());
    let inputs = [read(sides[0])?, read(sides[1])?];
    let side = |own: usize| from_files::ask(explain, inputs[own].clone(), &[&inputs[1 - own]], given, language);
    let [mut old, mut new] = [side(0)?, side(1)?];
    let mut given = given.to_vec();
    given.iter_mut().for_each(|question| settle(question, &mut new, language));
    let (changes, count, unclear) = differences(&old.snapshot, &new.snapshot, new.role, &given);
    if global.output == Output::Json {
        let change = |change: &Change| {
            json!({"request": {"method": change.question.method, "url": change.question.url(), "headers": change.question.header_lines()},
                "old": side_document(&change.old), "new": side_document(&change.new)})
        };
        let document = json!({"from": new.from, "compared": count, "changes": changes.iter().map(change).collect::<Vec<_>>(),
            "notChecked": unclear.iter().map(Question::url).collect::<Vec<_>>()});
        printer::line(&serde_json::to_string_pretty(&document).expect("JSON values serialise"));
        return Ok(());
    }
    heading(&mut old, &new, count, changes.len(), language);
    for change in &changes {
        tell(change, language);
    }
    if !unclear.is_empty() {
        printer::line("");
        let list = unclear.iter().map(Question::url).collect::<Vec<_>>().join(", ");
        printer::wrapped(&language.line(text::DIFF_UNCLEAR, &[&list]), 2);
    }
    Ok(())
}

fn side_document(explanation: &Explanation) -> serde_json::Value {
    json!({"chances": explanation.chances(), "explanation": explanation})
}

fn heading(old: &mut Asked, new: &Asked, count: usize, changed: usize, language: Language) {
    let mut sheet = Sheet::default();
    sheet.row(language.line(text::LABEL_FROM, &[]), vec![new.from.clone()]);
    old.notes.retain(|note| !new.notes.contains(note));
    sheet.row(language.line(text::LABEL_NOTE, &[]), new.notes.iter().chain(&old.notes).cloned().collect());
    sheet.print();
    printer::line("");
    let count = count.to_string();
    let lines = match changed {
        0 => language.lines(text::DIFF_NONE, &[&count]),
        some => language.lines(text::DIFF_SOME, &[&count, &some.to_string()]),
    };
    lines.iter().for_each(|line| printer::line(&paint(BOLD, line)));
}

/// One request: where it ended before and after, and what of its treatment changed.
fn tell(change: &Change, language: Language) {
    printer::line("");
    let headers: Vec<String> = change.question.header_lines().iter().map(|line| format!(" -H '{line}'")).collect();
    printer::wrapped(&format!("{} {}{}", change.question.method, change.question.url(), headers.concat()), 2);
    let [old, new] = [&change.old, &change.new].map(|side| treatment(side, language));
    let mut sheet = Sheet::default();
    for (index, (label, was)) in old.iter().enumerate() {
        let now = &new[index].1;
        if was != now {
            let side = |text| format!("  {label} · {}", language.once(text, &[]));
            sheet.row(side(text::LABEL_OLD), was.clone());
            sheet.row(side(text::LABEL_NEW), now.clone());
        }
    }
    sheet.print();
}

/// What of an explanation is compared in words.
fn treatment(explanation: &Explanation, language: Language) -> Vec<(String, Vec<String>)> {
    let label = |text| language.once(text, &[]);
    let ends: Vec<String> = explanation.chances().iter().map(|chance| told::ends(chance, explanation, language)).collect();
    let policy = explanation.policy.clone().unwrap_or_default();
    let rule =
        explanation.rule.as_ref().map_or_else(|| "-".to_owned(), |rule| format!("{} {}", rule.origin.resource.name, rule.origin.path));
    let rest = told::rest(&policy, explanation, language);
    vec![
        (label(text::LABEL_RULE), vec![rule]),
        (label(text::LABEL_ENDS), ends),
        (label(text::LABEL_FAULT), told::fault(&policy, language)),
        (label(text::LABEL_TIMEOUT), vec![told::timeout(&policy, language)]),
        (label(text::LABEL_RETRIES), vec![told::retries(&policy, language)]),
        (label(text::LABEL_BALANCE), rest),
    ]
}
