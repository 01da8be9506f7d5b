use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::route::{DirectResponse, Origin, RouteAction, RoutePolicy};
use crate::text::{Pattern, StringMatch};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())).collect()
}

fn head<'a>(path: &'a str, headers: &'a HeaderMap) -> RequestHead<'a> {
    RequestHead { method: "GET", scheme: "http", authority: "user-service:8081", path, query: Some("a=1&b&a=2"), headers }
}

fn exact(text: &str) -> ValueMatch {
    ValueMatch::Value(StringMatch::Exact(text.into()))
}

fn rule(path: &str, matches: Vec<RouteMatch>) -> RouteRule {
    let resource = crate::names::ResourceRef {
        kind: "VirtualService".into(),
        namespace: "t".into(),
        name: "v".into(),
        resource_version: String::new(),
    };
    RouteRule {
        origin: Origin { resource, path: path.into(), name: String::new() },
        matches,
        action: RouteAction::DirectResponse(DirectResponse { status: 200, body: Default::default() }),
        policy: RoutePolicy::default(),
    }
}

fn table(domains: &[&str]) -> RouteTable {
    let hosts = domains.iter().map(|domain| VirtualHost {
        name: (*domain).into(),
        domains: vec![domain.parse().unwrap()],
        service: None,
        rules: vec![],
    });
    RouteTable { hosts: hosts.collect() }
}

#[test]
fn an_exact_host_beats_wildcards_and_the_longest_wildcard_wins() {
    let table = table(&["*", "*.example.com", "*.a.example.com", "b.a.example.com"]);
    let name = |authority| table.host(authority).map(|host| host.name.as_str());
    assert_eq!(name("b.a.example.com:8080"), Some("b.a.example.com"));
    assert_eq!(name("C.A.example.com"), Some("*.a.example.com"));
    assert_eq!(name("x.example.com"), Some("*.example.com"));
    assert_eq!(name("example.org"), Some("*"));
}

#[test]
fn the_first_rule_wins_even_if_a_later_one_is_narrower() {
    let canary = RouteMatch { headers: vec![("x-canary".into(), exact("true"))], ..RouteMatch::default() };
    let host = VirtualHost {
        name: "h".into(),
        domains: vec![],
        service: None,
        rules: vec![rule("spec.http[0]", vec![]), rule("spec.http[1]", vec![canary])],
    };
    let headers = headers(&[("x-canary", "true")]);
    assert_eq!(host.find(&head("/", &headers)).map(|(index, _)| index), Some(0));
}

#[test]
fn entries_are_ored_and_conditions_anded() {
    let users = RouteMatch {
        uri: Some(StringMatch::Prefix("/users".into())),
        headers: vec![("x-canary".into(), exact("true"))],
        ..RouteMatch::default()
    };
    let movies = RouteMatch { uri: Some(StringMatch::Regex(Pattern::new("/movies/[0-9]+").unwrap())), ..RouteMatch::default() };
    let rule = rule("spec.http[0]", vec![users, movies]);
    let none = headers(&[]);
    let canary = headers(&[("x-canary", "true")]);
    assert_eq!(rule.takes(&head("/users-x", &canary)), Some(0));
    assert_eq!(rule.takes(&head("/users", &none)), None);
    assert_eq!(rule.takes(&head("/movies/3", &none)), Some(1));
    assert_eq!(rule.takes(&head("/movies/3/x", &none)), None);
}

#[test]
fn each_value_of_a_repeated_header_is_looked_at_alone() {
    let entry = RouteMatch { headers: vec![("x-role".into(), exact("admin"))], ..RouteMatch::default() };
    let mut repeated = headers(&[("x-role", "user")]);
    repeated.append("x-role", HeaderValue::from_static("admin"));
    assert!(entry.matches(&head("/", &repeated)));
}

#[test]
fn a_missing_header_satisfies_without_headers() {
    let absent = RouteMatch { without_headers: vec![("x".into(), ValueMatch::Present)], ..RouteMatch::default() };
    let other = RouteMatch { without_headers: vec![("x".into(), exact("1"))], ..RouteMatch::default() };
    let (none, one, two) = (headers(&[]), headers(&[("x", "1")]), headers(&[("x", "2")]));
    assert!(absent.matches(&head("/", &none)) && !absent.matches(&head("/", &two)));
    assert!(other.matches(&head("/", &none)) && !other.matches(&head("/", &one)) && other.matches(&head("/", &two)));
}

#[test]
fn the_first_occurrence_of_a_query_parameter_counts() {
    let none = headers(&[]);
    let entry = |name: &str, value: ValueMatch| RouteMatch { query: vec![(name.into(), value)], ..RouteMatch::default() };
    assert!(entry("a", exact("1")).matches(&head("/", &none)));
    assert!(!entry("a", exact("2")).matches(&head("/", &none)));
    assert!(entry("b", ValueMatch::Present).matches(&head("/", &none)));
    assert!(!entry("c", ValueMatch::Present).matches(&head("/", &none)));
}

#[test]
fn explain_agrees_with_matches_and_names_the_first_failed_condition() {
    let entry = RouteMatch {
        method: Some(StringMatch::Exact("GET".into())),
        headers: vec![("x-canary".into(), exact("true"))],
        ..RouteMatch::default()
    };
    let (none, canary) = (headers(&[]), headers(&[("x-canary", "true")]));
    assert_eq!(explain_match(&entry, &head("/", &canary)), None);
    assert_eq!(
        explain_match(&entry, &head("/", &none)),
        Some(Mismatch::Header { name: "x-canary".into(), wanted: "= true".into(), found: None })
    );
}
