//! `smov explain` against a running mesh: the sidecar's own snapshot, and what the proxies recorded of one request.

use std::process::{Command, Output};

use serde_json::Value;

use crate::theatre::{Theatre, program};
use crate::traffic::gets;

fn explain(theatre: &Theatre, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("--state-dir").arg(theatre.state()).args(["--lang", "en", "explain"]).args(arguments);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained_before_and_told_after() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let asked = ["GET", "http://user-service:8081/users/", "--from", "api-gateway"];
    let document =
        json(&explain(&theatre, &[&asked[..], &["-o", "json", "--expect", "cluster=ctx1:70", "--expect", "cluster=ctx2:30"]].concat()));
    assert_eq!(document["source"], "mesh");
    assert!(document["expectations"].as_array().unwrap().iter().all(|one| one["met"] == true), "{document:#}");
    let odds = document["explanation"]["outcome"]["odds"].as_array().unwrap();
    assert!(odds.iter().all(|one| one["endpoints"][0]["ejected"] == false), "the sidecar says how its endpoints are: {odds:#?}");
    let canary =
        explain(&theatre, &[&asked[..], &["-H", "x-canary: true", "--expect", "cluster=ctx2", "--expect", "rule=spec.http[0]"]].concat());
    assert_eq!(canary.status.code(), Some(0), "{}", String::from_utf8_lossy(&canary.stdout));
    assert_eq!(explain(&theatre, &["--gateway", "http://localhost/users/", "--expect", "cluster=ctx1"]).status.code(), Some(0));
    assert_eq!(explain(&theatre, &["http://user-service:8081/", "--from", "nobody"]).status.code(), Some(2));

    let answer = gets(&theatre, "/users/", &[("x-request-id", "told-1"), ("x-canary", "true")], 1).await?.remove(0);
    let told = json(&explain(&theatre, &["--request", "told-1", "-o", "json"]));
    let records = told["records"].as_array().unwrap();
    let sides: Vec<(&str, &str)> =
        records.iter().map(|record| (record["cluster_of_proxy"].as_str().unwrap(), record["direction"].as_str().unwrap())).collect();
    assert_eq!(sides, [("ctx1", "ingress"), ("ctx1", "inbound"), ("ctx1", "outbound"), ("ctx2", "inbound")], "caller and callee");
    assert_eq!(records[2]["rule"]["origin"]["path"], "spec.http[0]");
    assert_eq!(records[2]["attempts"][0]["pod"], answer.header("x-pod-name"));
    let text = String::from_utf8(explain(&theatre, &["--request", "told-1"]).stdout)?;
    assert!(text.contains(answer.header("x-pod-name")) && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(explain(&theatre, &["--request", "never-sent"]).status.code(), Some(1));
    theatre.end()
}
