//! `smov validate`: what is wrong with YAML, where, and what to do about it. Needs no cluster.

use serde_json::{Value, json};
use smov_istio::analyze::ISTIO_VERSION;
use smov_istio::analyze::input::{Found, NotConsidered, Report};
use smov_istio::diagnostic::{Diagnostic, Severity};
use smov_istio::resource::reference_of;

use super::files::{self, Texts};
use crate::cli::{Global, Output, Validate};
use crate::failure::{Exit, Failure, Outcome};
use crate::printer::{self, BAD, BOLD, CTX1, CTX2, DIM, paint};
use crate::text::{self, Language};

mod excerpt;

/// Runs the command: exit code 1 when there are errors.
pub(crate) fn run(global: &Global, validate: &Validate, language: Language) -> Outcome {
    let texts = files::read(&validate.filename, &validate.kustomize, validate.namespace.as_deref())?;
    let mut report = texts.input.report(validate.whole);
    for source in texts.input.sources() {
        report.add(source, core_fields(&source.document.value));
    }
    if global.output == Output::Json {
        let document = document(&texts, &report);
        printer::line(&serde_json::to_string_pretty(&document).expect("JSON values serialise"));
    } else {
        heading(&texts, &report, language);
        for found in &report.findings {
            tell(found, &texts, language);
        }
        sum(&report, language);
    }
    if report.count(Severity::Error) > 0 { Err(Failure::quiet(Exit::Check)) } else { Ok(()) }
}

/// Fields of Kubernetes' own kinds that do not exist, or hold something else than they should.
fn core_fields(object: &Value) -> Vec<Diagnostic> {
    let reference = reference_of(object);
    let error = |code: &'static str, path: &str, message: String, korean: String| {
        Diagnostic::new(code, Severity::Error, &reference, path, message, korean)
    };
    match smov_cluster::registry::undeclared(object) {
        None => Vec::new(),
        Some(Ok(paths)) => {
            let unknown = |path: &String| {
                error(smov_istio::schema::UNKNOWN_FIELD, path, format!("unknown field \"{path}\""), format!("모르는 필드입니다: `{path}`"))
            };
            paths.iter().map(unknown).collect()
        }
        Some(Err((path, sentence))) => {
            vec![error(smov_istio::schema::WRONG_TYPE, &path, sentence.clone(), format!("값의 형식이 맞지 않습니다: {sentence}"))]
        }
    }
}

/// First of all: whose rules these are, and what was left out.
fn heading(texts: &Texts, report: &Report, language: Language) {
    let files: std::collections::BTreeSet<&str> = texts.input.sources().iter().map(|source| source.file.as_str()).collect();
    let objects = texts.input.sources().len().to_string();
    for line in language.lines(text::VALIDATE_AS, &[ISTIO_VERSION, &files.len().to_string(), &objects]) {
        printer::line(&paint(BOLD, &line));
    }
    if !report.not_considered.is_empty() {
        let list = report.not_considered.iter().map(|one| format!("{} × {}", one.count, one.kind)).collect::<Vec<_>>().join(", ");
        for line in language.lines(text::VALIDATE_NOT_CONSIDERED, &[&list]) {
            printer::wrapped(&line, 0);
        }
    }
    if texts.passed_over > 0 {
        printer::wrapped(&language.line(text::VALIDATE_SKIPPED, &[&texts.passed_over.to_string()]), 0);
    }
    if !report.unjudged.is_empty() {
        printer::line(&format!("{}:", language.line(text::VALIDATE_UNJUDGED, &[])));
        for one in &report.unjudged {
            for sentence in language.choose_of(one.sentence_ko(), one.sentence()) {
                printer::wrapped(&format!("- {sentence}"), 2);
            }
        }
        printer::wrapped(&format!("  ({})", language.line(text::VALIDATE_WHOLE_HINT, &[])), 2);
    }
}

/// One finding with its place in the text.
fn tell(found: &Found, texts: &Texts, language: Language) {
    let finding = &found.finding;
    let (word, style) = match finding.severity {
        Severity::Error => (text::WORD_ERROR, BAD),
        Severity::Warning => (text::WORD_WARNING, CTX2),
        Severity::Info => (text::WORD_NOTE, CTX1),
    };
    let reason = if found.reason == finding.code { String::new() } else { format!(" {}", found.reason) };
    let word = language.line(word, &[]);
    let resource = match finding.resource.namespace.as_str() {
        "" => finding.resource.name.clone(),
        namespace => format!("{namespace}/{}", finding.resource.name),
    };
    printer::line("");
    let head = paint(style.bold(), &format!("{word}[{}]", finding.code));
    printer::line(&format!("{head}{reason}  {} {resource}", finding.resource.kind));
    if let Some(file) = &found.file {
        let place = finding.position.map(|position| format!(":{}:{}", position.line, position.column)).unwrap_or_default();
        printer::line(&format!("{} {file}{place}", paint(DIM, "  -->")));
    }
    if !finding.path.is_empty() {
        printer::line(&format!("      {}", finding.path));
    }
    let text = found.file.as_ref().and_then(|file| texts.texts.get(file));
    if let (Some(text), Some(position)) = (text, finding.position) {
        for line in excerpt::lines(text, position, style) {
            printer::line(&line);
        }
    }
    for sentence in language.choose_of(&finding.message_ko, &finding.message) {
        printer::wrapped(&format!("  {sentence}"), 2);
    }
    for sentence in language.choose_of(&finding.help_ko, &finding.help).into_iter().filter(|sentence| !sentence.is_empty()) {
        printer::wrapped(&format!("  {}: {sentence}", language.line(text::WORD_HELP, &[])), 4);
    }
}

fn sum(report: &Report, language: Language) {
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Info].map(|severity| report.count(severity).to_string());
    printer::line("");
    for line in language.lines(text::VALIDATE_SUM, &[&errors, &warnings, &notes]) {
        printer::line(&paint(BOLD, &line));
    }
    if report.findings.is_empty() {
        printer::line(&language.line(text::VALIDATE_FINE, &[]));
    }
}

fn document(texts: &Texts, report: &Report) -> Value {
    let found = |found: &Found| {
        let finding = &found.finding;
        let excerpt = found.file.as_ref().and_then(|file| texts.texts.get(file)).zip(finding.position);
        json!({
            "severity": finding.severity,
            "code": finding.code,
            "reason": found.reason,
            "resource": {"kind": finding.resource.kind, "namespace": finding.resource.namespace, "name": finding.resource.name},
            "path": finding.path,
            "file": found.file,
            "line": finding.position.map(|position| position.line),
            "column": finding.position.map(|position| position.column),
            "excerpt": excerpt.and_then(|(text, position)| excerpt::line(text, position)),
            "message": finding.message,
            "messageKo": finding.message_ko,
            "help": finding.help,
            "helpKo": finding.help_ko,
        })
    };
    let left_out = |one: &NotConsidered| json!({"kind": one.kind, "group": one.group, "count": one.count});
    json!({
        "istioVersion": ISTIO_VERSION,
        "objects": texts.input.sources().len(),
        "notConsidered": report.not_considered.iter().map(left_out).collect::<Vec<_>>(),
        "notJudged": report.unjudged.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
        "passedOver": texts.passed_over,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.count(Severity::Info),
        "findings": report.findings.iter().map(found).collect::<Vec<_>>(),
    })
}
