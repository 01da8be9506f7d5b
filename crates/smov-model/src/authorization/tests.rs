use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const CALLER: &str = "spiffe://cluster.local/ns/shop/sa/cart";

fn texts(values: &[&str]) -> Vec<TextMatch> {
    values.iter().map(|value| TextMatch::of(value)).collect()
}

fn is<T>(values: Vec<T>) -> Among<T> {
    Among { values, not_values: Vec::new() }
}

fn is_not<T>(not_values: Vec<T>) -> Among<T> {
    Among { values: Vec::new(), not_values }
}

fn rule(policy: &str, index: usize, when: Vec<Condition>) -> Rule {
    let resource =
        ResourceRef { kind: "AuthorizationPolicy".into(), namespace: "shop".into(), name: policy.into(), resource_version: String::new() };
    let origin = Origin { resource, path: format!("spec.rules[{index}]"), name: String::new() };
    Rule { id: Rule::id_of("shop", policy, index), origin, from: Vec::new(), to: Vec::new(), when }
}

fn set(rules: Vec<Rule>) -> RuleSet {
    let mut set = RuleSet { policies: rules.iter().map(|rule| rule.origin.resource.clone()).collect(), rules };
    set.sort();
    set
}

struct Asked {
    principal: Option<&'static str>,
    headers: HeaderMap,
    path: &'static str,
    authority: &'static str,
    claims: Option<Claim>,
    http: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self { principal: Some(CALLER), headers: HeaderMap::new(), path: "/admin", authority: "Shop:8080", claims: None, http: true }
    }
}

impl Asked {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    fn view(&self) -> RequestView<'_> {
        let source: IpAddr = "127.9.0.7".parse().unwrap();
        let http = HttpView {
            method: "GET",
            scheme: "http",
            authority: self.authority,
            path: self.path,
            query: Some("a=1"),
            headers: &self.headers,
            claims: self.claims.as_ref(),
        };
        RequestView {
            source,
            remote: forwarded_for(&self.headers).unwrap_or(source),
            destination: "127.9.0.8:8080".parse().unwrap(),
            server_name: if self.principal.is_some() { "outbound_.8080_._.shop" } else { "" },
            principal: self.principal,
            http: self.http.then_some(http),
        }
    }

    fn fulfils(&self, condition: &Condition) -> bool {
        condition.holds(&self.view())
    }
}

#[test]
fn a_star_counts_at_one_end_only() {
    for (value, text, expected) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("abc*", "abcd", true),
        ("*abc", "xabc", true),
        ("*", "x", true),
        ("*", "", false),
        ("a*c", "abc", false),
        ("a*c", "a*c", true),
        ("*a*", "xa*", true),
        ("*a*", "xay", false),
    ] {
        assert_eq!(TextMatch::of(value).matches(text), expected, "{value} {text}");
        assert_eq!(TextMatch::of(value).to_string(), value);
    }
}

#[test]
fn what_was_not_proved_matches_no_value_and_every_negation() {
    let (mutual, plain) = (Asked::default(), Asked { principal: None, ..Asked::default() });
    let account = |namespace: &str, name: &str| Account { namespace: namespace.into(), name: name.into() };
    for (value, other) in [
        (
            Condition::Principal(is(texts(&["cluster.local/ns/shop/sa/cart"]))),
            Condition::Principal(is_not(texts(&["cluster.local/ns/shop/sa/cart"]))),
        ),
        (Condition::Principal(is(texts(&["*"]))), Condition::Principal(is_not(texts(&["*/sa/cart"])))),
        (Condition::Namespace(is(vec![Glob::of("sh*")])), Condition::Namespace(is_not(vec![Glob::of("shop")]))),
        (Condition::ServiceAccount(is(vec![account("shop", "cart")])), Condition::ServiceAccount(is_not(vec![account("shop", "cart")]))),
        (Condition::TrustDomain(is(texts(&["cluster.*"]))), Condition::TrustDomain(is_not(texts(&["*.local"])))),
    ] {
        assert!(mutual.fulfils(&value) && !mutual.fulfils(&other), "{value:?}");
        assert!(!plain.fulfils(&value) && plain.fulfils(&other), "{value:?}");
    }
    for other in [account("shop", "car"), account("sho", "cart"), account("cart", "shop")] {
        assert!(!mutual.fulfils(&Condition::ServiceAccount(is(vec![other]))));
    }
    for other in ["sho", "hop", "cart"] {
        assert!(!mutual.fulfils(&Condition::Namespace(is(vec![Glob::of(other)]))), "{other}");
    }
}

#[test]
fn addresses_are_compared_by_block() {
    let asked = Asked::default().header("x-forwarded-for", "10.1.2.3, 192.168.7.9");
    let block = |text: &str| vec![text.parse::<IpBlock>().unwrap()];
    assert!(asked.fulfils(&Condition::SourceIp(is(block("127.9.0.0/16")))));
    assert!(asked.fulfils(&Condition::SourceIp(is(block("0.0.0.0/0")))));
    assert!(!asked.fulfils(&Condition::SourceIp(is(block("127.9.0.6")))));
    assert!(!asked.fulfils(&Condition::SourceIp(is(block("::/0")))));
    assert!(asked.fulfils(&Condition::RemoteIp(is(block("192.168.0.0/16")))));
    assert!(!asked.fulfils(&Condition::RemoteIp(is(block("10.0.0.0/8")))));
    assert!(asked.fulfils(&Condition::DestinationIp(is(block("127.9.0.8")))));
    assert!(asked.fulfils(&Condition::DestinationPort(is(vec![80, 8080]))));
    assert!(Asked::default().fulfils(&Condition::RemoteIp(is(block("127.9.0.7/32")))));
    for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8"] {
        assert!(text.parse::<IpBlock>().is_err(), "{text}");
    }
}

#[test]
fn each_value_of_a_repeated_header_is_looked_at_alone() {
    let role = |among| Condition::Header("x-role".into(), among);
    let both = Asked::default().header("x-role", "admin").header("x-role", "user");
    assert!(both.fulfils(&role(is(texts(&["admin"])))) && both.fulfils(&role(is(texts(&["user"])))));
    assert!(!both.fulfils(&role(is_not(texts(&["admin"])))) && !both.fulfils(&role(is(texts(&["admin,user"])))));
    assert!(Asked::default().fulfils(&role(is_not(texts(&["admin"])))) && !Asked::default().fulfils(&role(is(texts(&["*"])))));
    assert!(Asked::default().header("x-role", "").fulfils(&role(is(texts(&["*"])))));
    assert!(Asked::default().fulfils(&Condition::Header(":path".into(), is(texts(&["/admin?a=1"])))));
}

#[test]
fn hosts_ignore_case_and_have_their_port() {
    for (value, expected) in [("shop:8080", true), ("shop", false), ("SHOP:*", true), ("*:8080", true), ("shop:80*", true), ("*", true)] {
        assert_eq!(Asked::default().fulfils(&Condition::Host(is(texts(&[value])))), expected, "{value}");
    }
}

#[test]
fn templates_take_one_segment_or_the_rest() {
    for (template, path, expected) in [
        ("/users/{*}", "/users/1", true),
        ("/users/{*}", "/users/", false),
        ("/users/{*}", "/users/1/x", false),
        ("/users/{*}/seats", "/users/1/seats", true),
        ("/users/{*}/seats/{*}", "/users/1/seats/2", true),
        ("/users/{**}", "/users/", true),
        ("/users/{**}", "/users/1/x/y", true),
        ("/users/{**}", "/users", false),
        ("/users/{**}/seats", "/users/1/2/seats", true),
        ("/users/{**}/seats", "/users/seats", false),
        ("/{*}/x/{**}", "/a/x/b/c", true),
        ("/users/{*}", "/users/a*b", false),
    ] {
        let read = PathTemplate::of(template).unwrap();
        assert_eq!(read.matches(path), expected, "{template} {path}");
        assert_eq!(read.to_string(), template);
    }
    assert_eq!(PathTemplate::of("/users/*"), None);
}

#[test]
fn claims_are_texts_or_members_of_lists() {
    let text = |text: &str| Claim::Text(text.to_owned());
    let nested = Claim::Object(BTreeMap::from([("role".to_owned(), text("admin"))]));
    let claims = Claim::Object(BTreeMap::from([
        ("iss".to_owned(), text("https://i.example")),
        ("sub".to_owned(), text("user-1")),
        ("aud".to_owned(), Claim::List(vec![text("a"), Claim::Other, text("b")])),
        ("realm".to_owned(), nested),
        ("age".to_owned(), Claim::Other),
    ]));
    let asked = Asked { claims: Some(claims), ..Asked::default() };
    let claim = |path: &[&str], among| Condition::Claim(path.iter().map(|name| (*name).to_owned()).collect(), among);
    assert!(asked.fulfils(&claim(&["aud"], is(texts(&["b"])))) && !asked.fulfils(&claim(&["aud"], is(texts(&["c"])))));
    assert!(asked.fulfils(&claim(&["realm", "role"], is(texts(&["adm*"])))));
    assert!(!asked.fulfils(&claim(&["age"], is(texts(&["*"])))) && asked.fulfils(&claim(&["none"], is_not(texts(&["*"])))));
    let principal = |issuer: &str, subject: &str| RequestPrincipal { issuer: TextMatch::of(issuer), subject: TextMatch::of(subject) };
    for (wanted, expected) in [(principal("https://i.example", "*"), true), (principal("*", "user-2"), false), (principal("*", "*"), true)]
    {
        assert_eq!(asked.fulfils(&Condition::RequestPrincipal(is(vec![wanted.clone()]))), expected);
        assert!(Asked::default().fulfils(&Condition::RequestPrincipal(is_not(vec![wanted]))));
    }
}

#[test]
fn deny_comes_before_allow_and_an_allow_policy_closes_what_it_does_not_name() {
    let path = |path: &str| Condition::Path(is(vec![PathMatch::Text(TextMatch::of(path))]));
    let asked = Asked::default();
    let decide = |deny: Vec<Rule>, allow: Vec<Rule>| Chain { deny: set(deny), allow: set(allow), ..Chain::default() }.decide(&asked.view());
    assert_eq!(decide(Vec::new(), Vec::new()), Decision::Open);
    assert_eq!(decide(vec![rule("d", 0, vec![path("/x")])], Vec::new()), Decision::Open);
    assert_eq!(decide(vec![rule("d", 0, vec![])], vec![rule("a", 0, vec![])]), Decision::Denied(0));
    assert_eq!(decide(Vec::new(), vec![rule("a", 0, vec![path("/x")]), rule("a", 1, vec![path("/adm*")])]), Decision::Allowed(1));
    assert_eq!(decide(Vec::new(), vec![rule("a", 0, vec![path("/x")])]), Decision::NotAllowed);
    // spec: {} is an ALLOW policy that allows nothing.
    let nothing = Chain { allow: RuleSet { policies: vec![rule("a", 0, vec![]).origin.resource], rules: Vec::new() }, ..Chain::default() };
    assert_eq!(nothing.decide(&asked.view()), Decision::NotAllowed);
    assert_eq!(nothing.details(Decision::NotAllowed).as_deref(), Some("rbac_access_denied_matched_policy[none]"));
    let told = nothing.told(nothing.outcome(&asked.view()));
    assert_eq!((told.decision.verdict, told.decision.policies[0].name.as_str()), (Verdict::NotAllowed, "a"));
}

#[test]
fn alternatives_of_from_and_to_are_ored_and_the_three_are_anded() {
    let ns = |name: &str| vec![Condition::Namespace(is(vec![Glob::of(name)]))];
    let path = |path: &str| vec![Condition::Path(is(vec![PathMatch::Text(TextMatch::of(path))]))];
    let asked = Asked::default();
    let full = Rule { from: vec![ns("bar"), ns("shop")], to: vec![path("/x"), path("/admin")], ..rule("a", 0, Vec::new()) };
    assert!(full.matches(&asked.view()));
    assert!(!Rule { from: vec![ns("bar")], ..full.clone() }.matches(&asked.view()));
    assert!(!Rule { to: vec![path("/x")], ..full.clone() }.matches(&asked.view()));
    let never = vec![Condition::Method(is(texts(&["POST"])))];
    assert!(!Rule { when: never, ..full }.matches(&asked.view()));
}

#[test]
fn dry_run_and_audit_are_noted_and_change_nothing() {
    let chain = Chain { audit: set(vec![rule("look", 0, vec![])]), dry_run_deny: set(vec![rule("would", 0, vec![])]), ..Chain::default() };
    let asked = Asked::default();
    let told = chain.told(chain.outcome(&asked.view()));
    assert_eq!((told.decision.verdict, told.audit.unwrap().resource.name.as_str()), (Verdict::Open, "look"));
    let would = told.dry_run.unwrap();
    assert_eq!((would.verdict, would.rule.unwrap().resource.name.as_str()), (Verdict::Denied, "would"));
    assert!(!chain.is_empty() && chain.is_open());
}

#[test]
fn what_envoy_says_of_a_refusal_names_the_rule() {
    let chain = Chain { deny: set(vec![rule("b", 0, vec![]), rule("a", 1, vec![])]), ..Chain::default() };
    let decision = chain.decide(&Asked::default().view());
    let details = chain.details(decision).unwrap();
    assert_eq!(details, "rbac_access_denied_matched_policy[ns[shop]-policy[a]-rule[1]]");
    assert_eq!(chain.outcome_of_details(&details).unwrap().decision, decision);
    assert_eq!(chain.outcome_of_details("via_upstream"), None);
}

#[test]
fn an_opaque_connection_has_nothing_of_http() {
    let asked = Asked { http: false, ..Asked::default() };
    assert!(!asked.fulfils(&Condition::Method(is(texts(&["GET"])))) && asked.fulfils(&Condition::Method(is_not(texts(&["GET"])))));
    assert!(Condition::Method(is(Vec::new())).is_http_only() && !Condition::DestinationPort(is(vec![1])).is_http_only());
}

#[test]
fn a_snapshot_part_reads_back_and_may_be_missing() {
    let mut full = rule("a", 0, vec![Condition::Header("x".into(), is(texts(&["a", "b*", "*c", "*"])))]);
    full.from = vec![vec![Condition::SourceIp(is(vec!["10.0.0.0/8".parse().unwrap()]))]];
    full.to = vec![vec![Condition::Path(is_not(vec![PathMatch::Template(PathTemplate::of("/a/{*}").unwrap())]))]];
    let chain = Chain { deny: set(vec![full]), ..Chain::default() };
    let one = Authorization { http: chain, tcp: Chain::default() };
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Authorization>(&text).unwrap(), one);
    assert!(serde_json::from_str::<Authorization>("{}").unwrap().is_empty());
}

proptest! {
    #[test]
    fn adding_a_deny_rule_never_lets_more_pass(paths in proptest::collection::vec("/[ab]{0,2}\\*?", 0..4), more in "/[ab]{0,2}\\*?") {
        let path = |path: &str| vec![Condition::Path(is(vec![PathMatch::Text(TextMatch::of(path))]))];
        let rules = |name: &str, paths: &[String]| set(paths.iter().enumerate().map(|(index, one)| rule(name, index, path(one))).collect());
        let half = paths.len() / 2;
        let before = Chain { deny: rules("d", &paths[..half]), allow: rules("a", &paths[half..]), ..Chain::default() };
        let mut after = before.clone();
        let extra = rule("e", 0, path(&more));
        after.deny.policies.push(extra.origin.resource.clone());
        after.deny.rules.push(extra);
        let asked = Asked::default();
        for asked in ["/", "/a", "/ab", "/b"].map(|path| Asked { path, ..Asked { headers: asked.headers.clone(), ..Asked::default() } }) {
            prop_assert!(before.decide(&asked.view()).passes() || !after.decide(&asked.view()).passes());
        }
    }

    #[test]
    fn a_glob_is_its_regular_expression(pattern in "[ab*]{0,6}", text in "[ab]{0,6}") {
        let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
        prop_assert_eq!(Glob::of(&pattern).matches(&text), regex.is_match(&text));
    }
}
