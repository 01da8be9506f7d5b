//! Cases that must fail do: every word of `expect` is looked at, and mistakes in a file are told with their place.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;

use smov_suite::report::{Failure, What};
use smov_suite::{Options, Outcome, Report, load, run};

/// A world with two versions of a service, one of which answers with a header.
const WORLD: &str = r#"services:
  - name: shop
    pods:
      - {name: shop-v1, labels: {version: v1}, script: [{headers: {x-a: "1"}, body: hello}]}
      - {name: shop-v2, labels: {version: v2}, script: [{headers: {x-a: "1"}, body: hello}]}
resources: |
  apiVersion: networking.istio.io/v1
  kind: DestinationRule
  metadata: {name: shop}
  spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}]}
  ---
  apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {name: shop}
  spec: {hosts: [shop], http: [{route: [{destination: {host: shop, subset: v1}}]}]}
"#;

fn play(case: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("world.yaml"), WORLD).unwrap();
    std::fs::write(folder.path().join("case.yaml"), case).unwrap();
    let cases = load(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(cases, &Options::default())).unwrap()
}

fn failures(case: &str) -> Vec<Failure> {
    let mut report = play(case);
    match report.cases.remove(0).outcome {
        Outcome::Failed(failures) => failures,
        other => panic!("{other:?}"),
    }
}

fn failed(case: &str) -> BTreeSet<String> {
    failures(case).iter().map(|failure| format!("{:?}", failure.what)).collect()
}

#[test]
fn every_word_of_an_expectation_can_fail() {
    let case = r#"name: Everything is wrong
requests:
  - url: http://shop:8080/a
    method: POST
    body: sent
    times: 4
    expect:
      status: 201
      flags: UH
      body: {prefix: bye}
      headers: {x-a: null}
      pod: shop-v2
      rule: shop spec.http[1]
      cluster: outbound|8080|v2|shop.default.svc.cluster.local
      attempts: 2
      took: {max: 0ms}
      received: {shop-v1: 1, shop-v2: 3}
      seen: {method: GET, path: /b, host: other, headers: {x-b: {present: true}}, body: other}
      shares: {shop-v2: 1}
      seeded: {shop-v2: 4}
      statuses: {201: 4}
      pods: 2
      connections: {min: 5}
"#;
    let expected = [
        What::Status,
        What::Flags,
        What::Body,
        What::Header,
        What::Pod,
        What::Rule,
        What::Cluster,
        What::Attempts,
        What::Took,
        What::Received,
        What::SeenMethod,
        What::SeenPath,
        What::SeenHost,
        What::SeenHeader,
        What::SeenBody,
        What::Shares,
        What::Seeded,
        What::Statuses,
        What::Pods,
        What::Connections,
    ];
    assert_eq!(failed(case), expected.iter().map(|what| format!("{what:?}")).collect());
}

#[test]
fn a_failure_carries_what_the_proxy_remembers() {
    let all = failures("name: Wrong\nrequests: [{get: \"http://shop:8080/\", expect: {status: 404}}]\n");
    let [failure] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((failure.request, failure.expected.as_str(), failure.seen.as_str()), (Some(1), "404", "200"));
    assert!(failure.reason.starts_with("rule shop spec.http[0] → outbound|8080|v1|"), "{}", failure.reason);
}

#[test]
fn resources_that_are_refused_against_expectation_fail_the_case() {
    let refused = "kind: VirtualService\napiVersion: networking.istio.io/v1\nmetadata: {name: x}\nspec: {hosts: [shop]}";
    let inline = refused.replace('\n', "\n  ");
    let unexpected =
        format!("name: Refused\nresources: |\n  {inline}\nrequests: [{{get: \"http://shop:8080/\", expect: {{status: 200}}}}]\n");
    assert_eq!(failed(&unexpected), BTreeSet::from(["NotRejected".to_owned()]));
    let accepted = "name: Accepted\nrejected: [{path: spec}]\nwarned: [{code: x}]\nanalyzed: [{code: IST0101}]\n";
    assert_eq!(failed(accepted), ["Rejected", "Warned", "Analyzed"].map(str::to_owned).into());
}

#[test]
fn a_case_that_cannot_be_set_up_says_why() {
    for (line, words) in [
        ("from: nobody, get: \"http://shop:8080/\"", "`from: nobody` names no pod"),
        ("get: \"https://shop/\"", "does not begin with http://"),
        ("get: \"http://shop:8080/\", delete: VirtualService/none", "there is no such resource"),
        ("get: \"http://shop:8080/\", scripts: {none: 200}", "names no pod that serves"),
        ("get: \"tcp://shop:8080/\"", "no Service of the case has such a port"),
    ] {
        let all = failures(&format!("name: Wrong\nrequests: [{{{line}}}]\n"));
        assert!(all[0].what == What::Setup && all[0].seen.contains(words), "{all:?}");
    }
}

#[test]
fn a_plane_that_is_skipped_or_differs_gives_its_reason() {
    let report = play("name: Skipped\nplanes: {smov: {skip: because}}\nrequests: [{get: \"http://shop:8080/\"}]\n");
    assert_eq!(report.cases[0].outcome, Outcome::Skipped("because".into()));
    let differs = "name: Differs\nrequests:\n- get: http://shop:8080/\n  expect: {status: 404}\n  differs: {smov: {reason: it does, expect: {status: 200}}}\n";
    let report = play(differs);
    assert_eq!((&report.cases[0].outcome, report.cases[0].differences.as_slice()), (&Outcome::Passed, ["it does".to_owned()].as_slice()));
}

#[test]
fn mistakes_in_files_are_told_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.yaml", "name: Nothing is asked\n"),
        ("b.yaml", "name: Unknown word\nrequests:\n- get: http://a/\n  expect:\n    statuss: 200\n"),
        ("c.yaml", "name: [\n"),
        ("d.yaml", "name: No URL\nrequests: [{method: GET}]\n"),
        (
            "e.yaml",
            "name: Twice\nservices: [{name: a, pods: [{name: p}]}, {name: b, pods: [{name: p}]}]\nrequests: [{get: \"http://a/\"}]\n",
        ),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let errors = load(folder.path()).unwrap_err();
    let told: Vec<(String, Option<u32>)> =
        errors.iter().map(|error| (error.file.file_name().unwrap().to_string_lossy().into_owned(), error.line)).collect();
    let places = [("a.yaml", Some(1)), ("b.yaml", Some(5)), ("c.yaml", Some(1)), ("d.yaml", Some(1)), ("e.yaml", Some(1))];
    assert_eq!(told, places.map(|(file, line)| (file.to_owned(), line)));
    assert!(errors.iter().all(|error| !error.message.ko.is_empty() && !error.message.en.is_empty()));
}
