//! The cases of `conformance/` on the built-in plane, and on the real Envoy where there is one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use smov_suite::{Options, Outcome, PlaneName, load, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance")
}

/// Plays all cases (or those that `SMOV_CASE` names) and shows every failure.
fn play(plane: PlaneName) {
    let cases = load(&folder()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let options = Options { planes: vec![plane], filter: std::env::var("SMOV_CASE").ok(), ..Options::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(run(cases, &options)).unwrap();
    let mut told = Vec::new();
    for case in report.failed() {
        let Outcome::Failed(failures) = &case.outcome else { continue };
        told.push(format!("{}:{} {}", case.file.display(), case.line, case.name));
        for failure in failures {
            let request = failure.request.map(|number| format!("request {number} ")).unwrap_or_default();
            told.push(format!("    {request}{:?} {}: expected {}, seen {}", failure.what, failure.of, failure.expected, failure.seen));
            if !failure.reason.is_empty() {
                told.push(format!("        {}", failure.reason));
            }
        }
    }
    let failed = report.failed().count();
    assert!(failed == 0, "{failed} of {} cases failed on {plane} in {:?}:\n{}", report.cases.len(), report.took, told.join("\n"));
}

#[test]
fn every_case_passes_on_the_built_in_plane() {
    play(PlaneName::Smov);
}

#[test]
fn every_case_passes_on_the_real_envoy() {
    if smov_testkit::tools::found("envoy") {
        play(PlaneName::Envoy);
    }
}
