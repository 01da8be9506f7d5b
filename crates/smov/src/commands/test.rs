//! `smov test`: conformance cases, a user's own as well as ours, on the built-in plane or the real Envoy. No cluster, no running mesh.

use serde_json::json;
use smov_suite::report::{CaseReport, Failure as CaseFailure, What};
use smov_suite::{Both, LoadError, Options, Outcome as CaseOutcome, PlaneName, Report, junit, load};

use crate::cli::{Global, Output, Test, TestPlane};
use crate::failure::{Exit, Failure, Outcome};
use crate::printer::{self, BAD, DIM, GOOD, paint};
use crate::text::{self, Language, Text};

/// Plays the cases; exit 1 when one fails, 2 when they cannot be read or played.
pub(crate) fn run(global: &Global, test: &Test, language: Language) -> Outcome {
    let cases = load(&test.path).map_err(|errors| not_loaded(&errors, language))?;
    let planes = match test.data_plane {
        TestPlane::Smov => vec![PlaneName::Smov],
        TestPlane::Envoy => vec![PlaneName::Envoy],
        TestPlane::Both => vec![PlaneName::Smov, PlaneName::Envoy],
    };
    if planes.contains(&PlaneName::Envoy) && smov_suite::plane::envoy_binary().is_none() {
        return Err(Failure::new(Exit::Usage, text::NO_ENVOY, &[]).hint(text::NO_ENVOY_HINT, &[]));
    }
    let options = Options { planes: planes.clone(), filter: test.filter.clone(), parallel: usize::from(test.parallel) };
    let report = crate::roles::runtime(true)
        .block_on(smov_suite::run(cases, &options))
        .map_err(|error| Failure::new(Exit::Usage, text::TEST_CANNOT_RUN, &[&error]))?;
    if report.cases.is_empty() {
        let filter = test.filter.clone().unwrap_or_default();
        return Err(Failure::new(Exit::Usage, text::TEST_NONE_LEFT, &[&filter]).hint(text::TEST_NONE_LEFT_HINT, &[]));
    }
    if let Some(file) = &test.junit {
        let document = junit::render(&report, |failure| sentence(failure, language));
        std::fs::write(file, document)
            .map_err(|error| Failure::new(Exit::Usage, text::TEST_JUNIT_UNWRITABLE, &[&file.display(), &error]))?;
    }
    match global.output {
        Output::Json => printer::line(&serde_json::to_string_pretty(&json!(report)).expect("JSON values serialise")),
        Output::Text => show(&report, &planes, test.verbose, language),
    }
    if report.failed().next().is_some() { Err(Failure::quiet(Exit::Check)) } else { Ok(()) }
}

fn both(sentence: &Both, language: Language) -> String {
    match language {
        Language::Korean => sentence.ko.clone(),
        Language::English => sentence.en.clone(),
        Language::Both => format!("{} · {}", sentence.ko, sentence.en),
    }
}

fn not_loaded(errors: &[LoadError], language: Language) -> Failure {
    for error in errors {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        printer::note(&format!("{}{line}: {}", error.file.display(), both(&error.message, language)));
    }
    Failure::new(Exit::Usage, text::TEST_NOT_LOADED, &[&errors.len()]).hint(text::TEST_NOT_LOADED_HINT, &[])
}

fn show(report: &Report, planes: &[PlaneName], verbose: bool, language: Language) {
    for case in &report.cases {
        show_case(case, verbose, language);
    }
    for plane in planes {
        let count = |which| report.count(*plane, which).to_string();
        let counts = [count(CaseOutcome::is_passed), count(CaseOutcome::is_failed), count(CaseOutcome::is_skipped)];
        printer::line(&language.line(text::TEST_SUMMARY, &[&plane.to_string(), &counts[0], &counts[1], &counts[2]]));
    }
    printer::line(&language.line(text::TEST_TOOK, &[&format!("{:.1}", report.took.as_secs_f64())]));
}

fn show_case(case: &CaseReport, verbose: bool, language: Language) {
    let place = paint(DIM, &format!("{}:{} ({})", case.file.display(), case.line, case.plane));
    match &case.outcome {
        CaseOutcome::Passed if !verbose => {}
        CaseOutcome::Passed => printer::line(&format!("{} {}  {place}", paint(GOOD, "✓"), case.name)),
        CaseOutcome::Skipped(reason) => printer::line(&format!("- {}  {place}  {reason}", case.name)),
        CaseOutcome::Failed(failures) => {
            printer::line(&format!("{} {}  {place}", paint(BAD, "✗"), case.name));
            for failure in failures {
                printer::line(&format!("    {}", sentence(failure, language)));
                if !failure.reason.is_empty() {
                    printer::line(&paint(DIM, &format!("      {}", language.line(text::TEST_BECAUSE, &[&failure.reason]))));
                }
            }
        }
    }
    if verbose || case.outcome.is_failed() {
        for reason in &case.differences {
            printer::line(&paint(DIM, &format!("    {}", language.line(text::TEST_DIFFERENCE, &[reason]))));
        }
    }
}

/// `request 2 · status: expected 200, seen 503`.
fn sentence(failure: &CaseFailure, language: Language) -> String {
    let of = if failure.of.is_empty() { "" } else { failure.of.as_str() };
    let what = language.line(word(failure.what), &[of]).trim().to_owned();
    let number = failure.request.map(|number| format!("{}: ", language.line(text::TEST_REQUEST, &[&number.to_string()])));
    let told = match failure.what {
        // There is nothing that the case expects here.
        What::Setup | What::NotRejected => format!("{what}: {}", failure.seen),
        _ => language.line(text::TEST_EXPECTED, &[&what, &failure.expected, &failure.seen]),
    };
    format!("{}{told}", number.unwrap_or_default())
}

fn word(what: What) -> Text {
    match what {
        What::Setup => text::TEST_SETUP,
        What::Status => text::TEST_STATUS,
        What::Flags => text::TEST_FLAGS,
        What::Body => text::TEST_BODY,
        What::Header => text::TEST_HEADER,
        What::Pod => text::TEST_POD,
        What::Rule => text::TEST_RULE,
        What::Cluster => text::TEST_CLUSTER,
        What::Attempts => text::TEST_ATTEMPTS,
        What::Security => text::TEST_SECURITY,
        What::Principal => text::TEST_PRINCIPAL,
        What::Failure => text::TEST_FAILURE,
        What::Refused => text::TEST_REFUSED,
        What::Decided => text::TEST_DECIDED,
        What::Took => text::TEST_TIME,
        What::Received => text::TEST_RECEIVED,
        What::SeenMethod => text::TEST_SEEN_METHOD,
        What::SeenPath => text::TEST_SEEN_PATH,
        What::SeenHost => text::TEST_SEEN_HOST,
        What::SeenHeader => text::TEST_SEEN_HEADER,
        What::SeenBody => text::TEST_SEEN_BODY,
        What::Shares => text::TEST_SHARES,
        What::Seeded => text::TEST_SEEDED,
        What::Statuses => text::TEST_STATUSES,
        What::Pods => text::TEST_PODS,
        What::Connections => text::TEST_CONNECTIONS,
        What::Rejected => text::TEST_REJECTED,
        What::NotRejected => text::TEST_NOT_REJECTED,
        What::Warned => text::TEST_WARNED,
        What::Analyzed => text::TEST_ANALYZED,
    }
}
