//! The page in a real Chromium, on a real mesh: ui.md's acceptance checks and the element-by-element list of `tests/browser`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use smov_testkit::mesh::{Mesh, processes_of};
use smov_testkit::tools;

#[test]
fn the_live_page_passes_its_checks_in_chromium() {
    passes("page-check.mjs");
}

#[test]
fn the_gallery_of_scenarios_and_the_glossary_pass_their_checks_in_chromium() {
    passes("scenarios-check.mjs");
}

#[test]
fn the_request_inspector_passes_its_checks_in_chromium() {
    passes("inspect-check.mjs");
}

#[test]
fn the_configuration_view_passes_its_checks_in_chromium() {
    passes("config-check.mjs");
}

#[test]
fn the_deployments_view_passes_its_checks_in_chromium() {
    passes("deployments-check.mjs");
}

#[test]
fn the_traffic_view_passes_its_checks_in_chromium() {
    passes("traffic-check.mjs");
}

#[test]
fn the_metrics_view_passes_its_checks_in_chromium() {
    passes("metrics-check.mjs");
}

#[test]
fn the_way_of_a_lesson_can_be_walked_by_visible_labels_in_both_languages() {
    passes("path-check.mjs");
}

/// Browsers are measured, so they run one after the other.
static ONE: Mutex<()> = Mutex::new(());

/// Plays one script of `tests/browser` on a mesh of its own.
fn passes(script: &str) {
    if !tools::found("chromium") {
        return;
    }
    let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mesh = Mesh::start(Path::new(env!("CARGO_BIN_EXE_smov")), &state, &["--store", "sqlite"]).unwrap();
    // Pictures for a person to look at; kept with the build's other output.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(script.trim_end_matches(".mjs"));
    let output = Command::new("node")
        .arg(root.join("tests/browser").join(script))
        .arg(&mesh.page)
        .arg(&pictures)
        .arg("--quick")
        .env("CHROMIUM", chromium())
        .env("SMOV_OPERATOR", &mesh.operator)
        .env("KUBECONFIG", mesh.kubeconfig())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("0 failed"), "{report}");
    assert!(mesh.stop().unwrap().success());
    assert_eq!(processes_of(&state), []);
}

fn chromium() -> std::path::PathBuf {
    ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| tools::which(name)).expect("it was found before")
}
