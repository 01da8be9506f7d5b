//! AuthorizationPolicies with every condition that there is, none of which refuses anything.

use smov_model::authorization::{
    Account, Among, Authorization, Chain, Condition, Glob, PathMatch, PathTemplate, RequestPrincipal, Rule, RuleSet, TextMatch,
};
use smov_model::names::ResourceRef;
use smov_model::route::Origin;

fn among<T: Clone>(values: &[T]) -> Among<T> {
    Among { values: values.to_vec(), not_values: values.to_vec() }
}

fn texts() -> Among<TextMatch> {
    among(&["exact", "pre*", "*fix", "*"].map(TextMatch::of))
}

fn set(name: &str, from: Vec<Vec<Condition>>, to: Vec<Vec<Condition>>, when: Vec<Condition>) -> RuleSet {
    let resource =
        ResourceRef { kind: "AuthorizationPolicy".into(), namespace: "t".into(), name: name.into(), resource_version: "1".into() };
    let origin = Origin { resource: resource.clone(), path: "spec.rules[0]".into(), name: String::new() };
    RuleSet { policies: vec![resource], rules: vec![Rule { id: Rule::id_of("t", name, 0), origin, from, to, when }] }
}

/// Every condition with values of every kind, and none of them besides; so that nothing matches.
fn all(of_http: bool) -> Vec<Condition> {
    let blocks = || among(&["10.0.0.0/8", "::1"].map(|block| block.parse().unwrap()));
    let account = Account { namespace: "a.b".into(), name: "c+d".into() };
    let paths = [
        PathMatch::Text(TextMatch::of("/a*")),
        PathMatch::Template(PathTemplate::of("/a/{*}/b/{**}").unwrap()),
        PathMatch::Template(PathTemplate::of("/{**}/end").unwrap()),
    ];
    let connection = [
        Condition::SourceIp(blocks()),
        Condition::RemoteIp(blocks()),
        Condition::DestinationIp(blocks()),
        Condition::DestinationPort(among(&[0, 65_535])),
        Condition::ServerName(texts()),
        Condition::Principal(texts()),
        Condition::Namespace(among(&["a*b", "*"].map(Glob::of))),
        Condition::ServiceAccount(among(&[account])),
        Condition::TrustDomain(texts()),
        Condition::Metadata {
            filter: "envoy.filters.network.mysql_proxy".into(),
            key: "db.table".into(),
            among: among(&["[update]", "x*"].map(str::to_owned)),
        },
    ];
    let principal = RequestPrincipal { issuer: TextMatch::of("https://i/*"), subject: TextMatch::Present };
    let http = [
        Condition::RequestPrincipal(among(&[principal])),
        Condition::Claim(vec!["a".into(), "b".into()], texts()),
        Condition::Header("x-role".into(), texts()),
        Condition::Host(texts()),
        Condition::Method(texts()),
        Condition::Path(among(&paths)),
    ];
    connection.into_iter().chain(http.into_iter().filter(|_| of_http)).collect()
}

/// For requests and for connections: in force, as a shadow, as a note.
pub fn policies() -> Authorization {
    let chain = |of_http| {
        let full = |name| {
            let (to, from) = all(of_http).into_iter().partition::<Vec<_>, _>(Condition::is_of_the_operation);
            set(name, vec![from.clone(), from], vec![to.clone(), to], all(of_http))
        };
        let everybody = set("everybody", Vec::new(), Vec::new(), Vec::new());
        Chain { audit: full("look"), deny: full("never"), allow: everybody, dry_run_deny: full("would"), dry_run_allow: full("might") }
    };
    Authorization { http: chain(true), tcp: chain(false) }
}
