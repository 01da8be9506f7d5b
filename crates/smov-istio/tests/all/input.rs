//! Folders as one world: what is wrong with the sample, folder by folder, and nothing that is not.

use std::path::{Path, PathBuf};

use smov_istio::analyze::input::{Input, Report};
use smov_istio::diagnostic::Severity;

use crate::fixtures::fixtures;

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    files
}

fn report(folders: &[&Path], change: impl Fn(String) -> String) -> Report {
    let mut input = Input::default();
    for file in folders.iter().flat_map(|folder| yaml_files(folder)) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        input.add_objects(&name, &change(std::fs::read_to_string(&file).unwrap())).unwrap();
    }
    input.report(false)
}

/// One line per finding: severity, code, place, resource.
pub(crate) fn told(report: &Report) -> Vec<String> {
    let line = |found: &smov_istio::analyze::input::Found| {
        let finding = &found.finding;
        assert!(!finding.message.is_empty() && !finding.message_ko.is_empty(), "{finding}");
        let severity = match finding.severity {
            Severity::Error => "E",
            Severity::Warning => "W",
            Severity::Info => "I",
        };
        let place = finding.position.map_or(0, |position| position.line);
        format!("{severity} {} {}:{place} {} {}", finding.code, found.file.as_deref().unwrap_or("-"), finding.resource.name, finding.path)
    };
    report.findings.iter().map(line).collect()
}

fn same(text: String) -> String {
    text
}

#[test]
fn the_deployment_of_the_sample() {
    let Some(folder) = fixtures("sample/deploy") else { return };
    insta::assert_snapshot!(told(&report(&[&folder], same)).join("\n"), @r"
    I IST0118 booking-service-ctx2.yaml:56 booking-service spec.ports[0]
    E IST0106 istio-virtualservice.yaml:10 theater-msa spec.hosts[0]
    I IST0118 movie-service-ctx2.yaml:56 movie-service spec.ports[0]
    W written-again redis-ctx1-service.yaml:5 redis metadata.name
    W written-again redis-multicluster.yaml:5 redis metadata.name
    E IST0173 redis-multicluster.yaml:90 redis-dr spec.subsets[0]
    E IST0173 redis-multicluster.yaml:93 redis-dr spec.subsets[1]
    I IST0118 redis.yaml:80 redis spec.ports[0]
    I IST0118 user-service-ctx2.yaml:56 user-service spec.ports[0]
    ");
    let filled_in = report(&[&folder], |text| text.replace("DOMAIN_PLACEHOLDER", "example.com"));
    assert!(!told(&filled_in).iter().any(|line| line.contains("theater-msa")), "with a domain in place it is fine");
    let redis = filled_in.findings.iter().find(|found| found.finding.code == "IST0173").unwrap();
    assert!(redis.finding.help.contains("`cluster-name` is a label of nodes"), "{}", redis.finding.help);
}

#[test]
fn each_practice_of_the_sample_alone() {
    let Some(folder) = fixtures("sample/practice") else { return };
    let of = |name: &str| told(&report(&[&folder.join(name)], same)).join("\n");
    insta::assert_snapshot!(of("01-initial"), @"");
    let breakers = of("02-circuit-breaker");
    insta::assert_snapshot!(breakers, @r"
    W never-ejects destinationrules.yaml:27 user-service-circuit-breaker spec.trafficPolicy.outlierDetection.maxEjectionPercent
    W never-ejects destinationrules.yaml:74 movie-service-circuit-breaker spec.trafficPolicy.outlierDetection.maxEjectionPercent
    W never-ejects destinationrules.yaml:106 booking-service-circuit-breaker spec.trafficPolicy.outlierDetection.maxEjectionPercent
    ");
    for other in ["03-delay-fault", "04-error-fault", "05-block-fault", "99-scenarios"] {
        assert_eq!(of(other), breakers, "{other}");
    }
}

#[test]
fn a_practice_on_top_of_the_deployment_counts_the_pods() {
    let (Some(deploy), Some(practice)) = (fixtures("sample/deploy"), fixtures("sample/practice")) else { return };
    let report = report(&[&deploy, &practice.join("02-circuit-breaker")], same);
    let messages: Vec<&str> =
        report.findings.iter().filter(|found| found.finding.code == "never-ejects").map(|found| found.finding.message.as_str()).collect();
    let sentence = |most| {
        format!("this circuit breaker never ejects in subset ctx1, ctx2: 1 of 1 endpoint(s) is 100 %, over maxEjectionPercent {most}")
    };
    assert_eq!(messages, [sentence(50), sentence(70), sentence(50)]);
    // The deployment's own DestinationRules name the same hosts: only one trafficPolicy per host can be in force.
    assert_eq!(report.findings.iter().filter(|found| found.finding.code == "policy-ignored").count(), 3);
}
