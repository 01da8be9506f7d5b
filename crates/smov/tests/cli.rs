//! The command line as a person meets it: help, completions, and one clear sentence with a hint for everything that can go wrong at the start.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use smov_testkit::mesh::free_port;

#[path = "cli/yaml.rs"]
mod yaml;

fn smov(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smov"))
        .arg("--state-dir")
        .arg(state)
        .args(["--lang", "en"])
        .args(arguments)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The command fails with this code, one `error:` line that contains the words, and a hint.
fn fails(output: &Output, code: i32, words: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(error.lines().filter(|line| line.starts_with("error:")).count(), 1, "{error}");
    assert!(error.contains(words), "{error}");
    assert!(error.lines().any(|line| line.starts_with("hint:")), "{error}");
    assert!(text(&output.stdout).is_empty(), "nothing for a pipe to choke on");
}

#[test]
fn help_names_every_command_with_examples_in_both_languages() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&smov(folder.path(), &["--help"]).stdout);
    for word in [
        "up",
        "down",
        "status",
        "kubeconfig",
        "env",
        "get",
        "apply",
        "reset",
        "doctor",
        "load",
        "validate",
        "explain",
        "test",
        "request",
        "completions",
        "Examples",
        "예",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}\n{help}");
    }
    assert!(!help.contains("shim"), "what only the kubelet uses is not shown");
    assert!(text(&smov(folder.path(), &["up", "--help"]).stdout).contains("smov up --seed 42"));
}

#[test]
fn completions_are_written_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = smov(folder.path(), &["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("smov"), "{shell}");
    }
}

#[test]
fn a_taken_port_is_named_with_another_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&smov(folder.path(), &["up", "--port", &port]), 2, &format!("port {port} is already in use"));
}

#[test]
fn a_store_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fails(&smov(folder.path(), &["up", "--store", "oracle"]), 2, "`oracle` is not a store");
}

#[test]
fn redis_without_a_server_is_refused_with_the_package_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_smov"))
        .arg("--state-dir")
        .arg(folder.path())
        .args(["--lang", "en", "up", "--store", "redis"])
        .env("PATH", folder.path())
        .output()
        .unwrap();
    fails(&output, 2, "neither redis-server nor valkey-server is on PATH");
    assert!(text(&output.stderr).contains("--store sqlite"));
}

#[test]
fn a_broken_manifest_is_named_with_its_place_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("k8s");
    std::fs::create_dir(&manifests).unwrap();
    std::fs::write(manifests.join("service.yaml"), "apiVersion: v1\nkind: Service\nmetadata:\n  name: [\n").unwrap();
    let state = folder.path().join("state");
    let output = smov(&state, &["up", "--port", &free_port().to_string(), "--manifests", manifests.to_str().unwrap()]);
    fails(&output, 2, "service.yaml");
    assert!(!state.join("kubeconfig").exists());
}

#[test]
fn a_manifest_that_the_api_refuses_is_named_with_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("k8s");
    std::fs::create_dir(&manifests).unwrap();
    let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: theater-msa}\nspec: {hosts: [a], http: [{route: [{destination: {host: a}, weight: -1}]}]}\n";
    std::fs::write(manifests.join("rule.yaml"), rule).unwrap();
    let output = smov(
        &folder.path().join("state"),
        &["up", "--port", &free_port().to_string(), "--operator-port", "0", "--manifests", manifests.to_str().unwrap()],
    );
    fails(&output, 2, "VirtualService/a");
    assert!(text(&output.stderr).contains("weight"), "{}", text(&output.stderr));
}

#[test]
fn a_folder_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("version"), "99").unwrap();
    fails(&smov(folder.path(), &["up", "--port", &free_port().to_string()]), 2, "another version (99)");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // Below a file there can be no folder, not even for root.
    fails(&smov(&file.join("state"), &["up", "--port", &free_port().to_string()]), 2, "cannot write to the state folder");
}

#[test]
fn an_address_beyond_this_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fails(&smov(folder.path(), &["up", "--listen", "0.0.0.0"]), 2, "0.0.0.0 is not a loopback address");
}

#[test]
fn commands_without_a_mesh_say_so_with_code_3() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["status"][..], &["down"], &["reset"], &["get", "pods"], &["load"], &["env"], &["kubeconfig"]] {
        fails(&smov(folder.path(), command), 3, "no smov runs on this state folder");
    }
}

#[test]
fn both_languages_are_printed_where_the_locale_is_neither() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_smov")).arg("--state-dir").arg(folder.path()).arg("status").env("LC_ALL", "C").output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("실행 중인 smov가 없습니다") && error.contains("no smov runs"), "{error}");
}

#[test]
fn doctor_gives_json_for_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let output = smov(folder.path(), &["doctor", "--port", &free_port().to_string(), "--output", "json"]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(checks.as_array().is_some_and(|checks| checks.len() >= 8));
    assert!(output.status.success(), "{checks:#}");
}

/// A folder with one case whose answer should have this status.
fn one_case(status: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let case = format!(
        r#"name: A direct response needs no pod
services: [{{name: shop, pods: [{{name: shop-1}}]}}]
resources: |
  apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {{name: shop}}
  spec:
    hosts: [shop]
    http:
    - directResponse: {{status: 418}}
requests:
  - {{get: "http://shop:8080/", expect: {{status: {status}, received: {{}}}}}}
"#
    );
    std::fs::write(folder.path().join("case.yaml"), case).unwrap();
    folder
}

#[test]
fn test_plays_the_cases_of_a_folder_without_a_mesh() {
    let (folder, state) = (one_case(418), tempfile::tempdir().unwrap());
    let output = smov(state.path(), &["test", &folder.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("smov: 1 passed, 0 failed, 0 skipped"), "{}", text(&output.stdout));
}

#[test]
fn test_says_what_was_expected_and_what_was_seen_and_writes_junit() {
    let (folder, state) = (one_case(200), tempfile::tempdir().unwrap());
    let report = state.path().join("report.xml");
    let output = smov(state.path(), &["test", &folder.path().display().to_string(), "--junit", &report.display().to_string()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("request 1: status: expected 200, seen 418"), "{said}");
    assert!(said.contains("rule shop spec.http[0]"), "the record says why: {said}");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("failures=\"1\"") && report.contains("expected 200, seen 418"), "{report}");
}

#[test]
fn test_refuses_what_is_no_case_with_its_line() {
    let (folder, state) = (one_case(200), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("wrong.yaml"), "name: Wrong\nrequests:\n  - {get: \"http://a/\", expct: {}}\n").unwrap();
    let output = smov(state.path(), &["test", &folder.path().display().to_string()]);
    fails(&output, 2, "the cases cannot be read: 1 mistake(s)");
    assert!(text(&output.stderr).contains("wrong.yaml:3: `requests[0].expct` cannot be read: unknown field"), "{}", text(&output.stderr));
}

#[test]
fn request_needs_a_url_and_a_running_mesh() {
    let state = tempfile::tempdir().unwrap();
    fails(&smov(state.path(), &["request", "--from", "api-gateway", "user-service"]), 2, "`user-service` is not a URL to request");
    fails(&smov(state.path(), &["request", "--from", "api-gateway", "http://user-service:8081/"]), 3, "no smov runs");
}
