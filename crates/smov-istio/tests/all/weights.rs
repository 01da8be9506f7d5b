//! Configured splits and explanations over the golden cases.

use http::HeaderMap;
use smov_istio::explain::{Outcome, explain};
use smov_istio::weights::{ConfiguredSplit, InterventionKind, NoSplit, configured_split};
use smov_model::route::{Mismatch, RequestHead};

use crate::theatre::{api_gateway, case, cluster, world_with};

fn split_of(name: &str, host: &str) -> ConfiguredSplit {
    configured_split(&world_with(&case(name)), &api_gateway(), host)
}

fn percents(split: &ConfiguredSplit) -> Vec<(&str, u32)> {
    split.shares.iter().map(|share| (share.subset.as_str(), share.percent)).collect()
}

#[test]
fn the_configured_split_is_that_of_the_rule_which_plain_requests_meet() {
    let split = split_of("01-baseline", "user-service");
    assert_eq!(percents(&split), [("ctx1", 70), ("ctx2", 30)]);
    assert_eq!(split.shares[1].kube_cluster, Some(cluster("ctx2")));
    let rule = split.rule.unwrap();
    assert_eq!((rule.resource.name.as_str(), rule.path.as_str()), ("user-service-vs", "spec.http[1]"));
    assert_eq!(split.special.len(), 1);
    assert_eq!(split.special[0].shares[1].percent, 100);
    assert!(split.interventions.is_empty() && split.reason.is_none());
}

#[test]
fn one_route_is_a_hundred_to_nothing_and_counts_as_blocked() {
    let split = split_of("05-block", "booking-service.theater-msa");
    assert_eq!(percents(&split), [("ctx1", 100), ("ctx2", 0)]);
    assert!(matches!(&split.interventions[0].kind, InterventionKind::Blocked { subset, .. } if subset == "ctx2"));
}

#[test]
fn faults_are_listed_with_the_path_of_their_field() {
    let split = split_of("04-abort", "user-service");
    let told: Vec<(&str, bool)> = split.interventions.iter().map(|one| (one.origin.path.as_str(), one.on_default)).collect();
    assert_eq!(told, [("spec.http[1].fault.abort", false), ("spec.http[2].fault.abort", true)]);
}

#[test]
fn where_there_is_no_number_there_is_a_reason() {
    for (name, host, reason) in [
        ("13-other-cluster", "user-service", NoSplit::NoVirtualService),
        ("13-other-cluster", "nobody", NoSplit::NoSuchService),
        ("13-other-cluster", "redis", NoSplit::NotHttp),
        ("08-every-match", "user-service", NoSplit::WholeHost),
        ("09-every-action", "movie-service", NoSplit::NoDefaultRule),
        ("10-two-rules-one-host", "movie-service", NoSplit::OtherHost),
    ] {
        let split = split_of(name, host);
        assert_eq!(split.reason, Some(reason), "{name} {host}");
        assert!(split.shares.is_empty());
    }
}

#[test]
fn an_explanation_names_the_rule_the_odds_and_why_earlier_rules_did_not_match() {
    let world = world_with(&case("01-baseline"));
    let headers = HeaderMap::new();
    let head =
        RequestHead { method: "GET", scheme: "http", authority: "user-service:8081", path: "/users/", query: None, headers: &headers };
    let explained = explain(&world, &api_gateway(), 8081.try_into().unwrap(), &head);
    assert_eq!(explained.rule.unwrap().index, 1);
    assert!(matches!(&explained.skipped[0].mismatches[0], Mismatch::Header { name, found: None, .. } if name == "x-canary"));
    let Outcome::Forward { odds } = explained.outcome else { panic!("{:?}", explained.outcome) };
    let told: Vec<_> = odds.iter().map(|arm| (arm.weight, arm.total, arm.endpoints.as_ref().unwrap()[0].kube_cluster.as_str())).collect();
    assert_eq!(told, [(70, 100, "ctx1"), (30, 100, "ctx2")]);
    let elsewhere = explain(&world, &api_gateway(), 9999.try_into().unwrap(), &head);
    assert!(matches!(elsewhere.outcome, Outcome::UnknownHost { .. }));
}
