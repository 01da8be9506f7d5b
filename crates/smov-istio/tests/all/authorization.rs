//! AuthorizationPolicies: for whom they are, what they mean there, and what the webhook says to them.

use smov_istio::compile::compile;
use smov_istio::validate::validate;
use smov_istio::world::World;
use smov_istio::yaml;
use smov_model::authorization::{Authorization, Condition, RequestView, Rule};

use crate::theatre::{VERSION, api_gateway, cp_gateway, world_with};

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    annotated(name, namespace, "", spec)
}

fn annotated(name: &str, namespace: &str, annotations: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: {namespace}, annotations: {{{annotations}}}}}\nspec: {spec}\n"
    )
}

fn of(world: &World) -> Authorization {
    compile(world, &api_gateway(), VERSION).snapshot.authorization
}

fn names(rules: &[Rule]) -> Vec<&str> {
    rules.iter().map(|rule| rule.id.as_str()).collect()
}

#[test]
fn a_policy_is_for_its_namespace_its_selector_or_the_whole_mesh() {
    let world = world_with(
        &(policy("b", "theater-msa", "{action: DENY, rules: [{}, {}]}")
            + &policy("a", "istio-system", "{action: DENY, rules: [{}]}")
            + &policy("picked", "theater-msa", "{selector: {matchLabels: {app: api-gateway}}, rules: [{}]}")
            + &policy("other", "theater-msa", "{selector: {matchLabels: {app: user-service}}, rules: [{}]}")
            + &policy("elsewhere", "default", "{rules: [{}]}")
            + &policy(
                "gateways",
                "theater-msa",
                "{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}], rules: [{}]}",
            )),
    );
    let found = of(&world);
    let expected = ["ns[istio-system]-policy[a]-rule[0]", "ns[theater-msa]-policy[b]-rule[0]", "ns[theater-msa]-policy[b]-rule[1]"];
    assert_eq!(names(&found.http.deny.rules), expected, "in the order in which Envoy looks at them");
    assert_eq!(names(&found.http.allow.rules), ["ns[theater-msa]-policy[picked]-rule[0]"]);
    assert_eq!(found.http.deny.rules[2].origin.path, "spec.rules[1]");
    let gateway = compile(&world, &cp_gateway(), VERSION).snapshot.authorization;
    assert_eq!(names(&gateway.http.deny.rules), expected[..1]);
}

#[test]
fn an_allow_policy_without_rules_closes_and_dry_run_stands_aside() {
    let world = world_with(&policy("nothing", "theater-msa", "{}"));
    let found = of(&world).http;
    assert_eq!((found.allow.policies.len(), found.allow.rules.len()), (1, 0));
    for (value, shadow) in [("true", true), ("T", true), ("no", false)] {
        let world = world_with(&annotated("try", "theater-msa", &format!("istio.io/dry-run: \"{value}\""), "{action: DENY, rules: [{}]}"));
        let found = of(&world).http;
        assert_eq!((found.dry_run_deny.rules.len(), found.deny.rules.len()), (usize::from(shadow), usize::from(!shadow)), "{value}");
    }
    let world = world_with(&policy("c", "theater-msa", "{action: CUSTOM, provider: {name: p}, rules: [{}]}"));
    assert!(of(&world).is_empty());
}

#[test]
fn what_only_http_has_closes_opaque_ports() {
    let http_only = "{to: [{operation: {methods: [GET], ports: [\"6379\"]}}]}";
    let both = "{from: [{source: {namespaces: [a]}}]}";
    let allow = of(&world_with(&policy("a", "theater-msa", &format!("{{rules: [{http_only}, {both}]}}"))));
    assert_eq!((allow.http.allow.rules.len(), names(&allow.tcp.allow.rules)), (2, vec!["ns[theater-msa]-policy[a]-rule[1]"]));
    let only = of(&world_with(&policy("a", "theater-msa", &format!("{{rules: [{http_only}]}}"))));
    assert_eq!((only.tcp.allow.policies.len(), only.tcp.allow.rules.len()), (1, 0), "the policy is there, so that nothing passes");
    let deny = of(&world_with(&policy("d", "theater-msa", &format!("{{action: DENY, rules: [{http_only}]}}"))));
    let [conditions] = &deny.tcp.deny.rules[0].to[..] else { panic!("one operation") };
    assert!(matches!(conditions[..], [Condition::DestinationPort(_)]), "{conditions:?}");
}

#[test]
fn cluster_local_means_the_meshs_own_trust_domain() {
    let mesh = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: \"trustDomain: theater.local\"}\n";
    let takes = |principal: &str, who: &'static str| {
        let text = policy("p", "theater-msa", &format!("{{rules: [{{from: [{{source: {{principals: [\"{principal}\"]}}}}]}}]}}"));
        let found = of(&world_with(&(mesh.to_owned() + &text)));
        let address = "127.0.0.9:8080".parse().unwrap();
        let view = RequestView {
            source: "127.0.0.8".parse().unwrap(),
            remote: "127.0.0.8".parse().unwrap(),
            destination: address,
            server_name: "",
            principal: Some(who),
            http: None,
        };
        found.tcp.decide(&view).passes()
    };
    assert!(takes("cluster.local/ns/a/sa/b", "spiffe://theater.local/ns/a/sa/b"));
    assert!(!takes("cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/b"));
    assert!(takes("theater.local/ns/a/sa/b", "spiffe://theater.local/ns/a/sa/b"));
    assert!(takes("*/ns/a/sa/b", "spiffe://theater.local/ns/a/sa/b"));
    assert!(!takes("other/ns/a/sa/b", "spiffe://theater.local/ns/a/sa/b"));
}

/// Codes with paths, as the webhook says them.
fn said(spec: &str) -> Vec<String> {
    let document = yaml::parse(&policy("p", "x", spec)).unwrap().remove(0);
    validate(&document.value).into_iter().map(|finding| format!("{} {}", finding.code, finding.path)).collect()
}

#[test]
fn what_istio_takes_is_taken() {
    for spec in [
        "{}",
        "{rules: [{}]}",
        "{action: DENY, rules: [{}]}",
        "{action: AUDIT, rules: [{}]}",
        "{rules: [{from: [{source: {serviceAccounts: [a, b/c], trustDomains: [\"*.local\"], ipBlocks: [10.0.0.0/8, \"::1\"]}}]}]}",
        "{rules: [{to: [{operation: {paths: [\"/a/{*}/b/{**}\", \"/x*\", \"*y\"], ports: [\"0\", \"65535\"], hosts: [a, \"a:*\"]}}]}]}",
        "{rules: [{when: [{key: \"request.headers[X-Y]\", notValues: [c]}, {key: connection.sni, values: [\"*\"]}]}]}",
        "{rules: [{when: [{key: \"experimental.envoy.filters.network.mysql_proxy[db.t]\", values: [\"[update]\"]}]}]}",
        "{action: DENY, rules: [{from: [{source: {namespaces: [a]}}]}, {to: [{operation: {methods: [GET], ports: [\"80\"]}}]}]}",
    ] {
        assert_eq!(said(spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn what_istio_refuses_is_refused_with_its_place() {
    let from = |source: &str| format!("{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}");
    let to = |operation: &str| format!("{{rules: [{{to: [{{operation: {{{operation}}}}}]}}]}}");
    let when = |condition: &str| format!("{{rules: [{{when: [{{{condition}}}]}}]}}");
    let source = |field: &str| format!("spec.rules[0].from[0].source.{field}");
    let operation = |field: &str| format!("spec.rules[0].to[0].operation.{field}");
    let condition = |field: &str| format!("spec.rules[0].when[0].{field}");
    for (spec, expected) in [
        ("{action: DENY}".to_owned(), "policy-without-rules spec.rules".to_owned()),
        ("{action: CUSTOM}".to_owned(), "policy-without-rules spec.rules".to_owned()),
        ("{action: BLOCK, rules: [{}]}".to_owned(), "IST0106 spec.action".to_owned()),
        ("{provider: {name: a}, rules: [{}]}".to_owned(), "unexpected-provider spec.provider".to_owned()),
        ("{rules: [{from: []}]}".to_owned(), "empty-rule spec.rules[0].from".to_owned()),
        ("{rules: [{to: []}]}".to_owned(), "empty-rule spec.rules[0].to".to_owned()),
        ("{rules: [{from: [{}]}]}".to_owned(), "empty-rule spec.rules[0].from[0].source".to_owned()),
        ("{rules: [{to: [{operation: {}}]}]}".to_owned(), "empty-rule spec.rules[0].to[0].operation".to_owned()),
        (from("ipBlocks: [10.0.0.0/33]"), format!("invalid-address {}", source("ipBlocks[0]"))),
        (from("notRemoteIpBlocks: [x]"), format!("invalid-address {}", source("notRemoteIpBlocks[0]"))),
        (from("principals: [\"\"]"), format!("empty-value {}", source("principals[0]"))),
        (from("serviceAccounts: [a], namespaces: [b]"), format!("service-account-with-principal {}", source("serviceAccounts"))),
        (from("serviceAccounts: [\"a*\"]"), format!("invalid-service-account {}", source("serviceAccounts[0]"))),
        (from("serviceAccounts: [a/b/c]"), format!("invalid-service-account {}", source("serviceAccounts[0]"))),
        (from("trustDomains: [a/b]"), format!("invalid-trust-domain {}", source("trustDomains[0]"))),
        (from("notTrustDomains: [\"a*b\"]"), format!("invalid-wildcard {}", source("notTrustDomains[0]"))),
        (to("ports: [\"65536\"]"), format!("invalid-port {}", operation("ports[0]"))),
        (to("notPorts: [http]"), format!("invalid-port {}", operation("notPorts[0]"))),
        (to("paths: [\"/a/{**}/{*}\"]"), format!("invalid-path {}", operation("paths[0]"))),
        (to("paths: [\"/a{*}\"]"), format!("invalid-path {}", operation("paths[0]"))),
        (to("notPaths: [\"/a/{*}/b*\"]"), format!("invalid-path {}", operation("notPaths[0]"))),
        (to("hosts: [\"\"]"), format!("empty-value {}", operation("hosts[0]"))),
        (when("values: [a]"), format!("empty-rule {}", condition("key"))),
        (when("key: source.ip"), format!("empty-rule {}", condition("values"))),
        (when("key: source.ipp, values: [a]"), format!("invalid-key {}", condition("key"))),
        (when("key: destination.namespace, values: [a]"), format!("invalid-key {}", condition("key"))),
        (when("key: \"request.headers[]\", values: [a]"), format!("invalid-key {}", condition("key"))),
        (when("key: request.headers, values: [a]"), format!("invalid-key {}", condition("key"))),
        (when("key: destination.port, notValues: [x]"), format!("invalid-port {}", condition("notValues[0]"))),
        (
            "{selector: {matchLabels: {a: b}}, targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: g}}".to_owned(),
            "selector-and-target spec.selector".to_owned(),
        ),
        ("{selector: {matchLabels: {a: \"b*\"}}}".to_owned(), "invalid-selector spec.selector".to_owned()),
    ] {
        assert!(said(&spec).contains(&expected), "{spec}: {:?}", said(&spec));
    }
}

#[test]
fn what_istio_warns_of_is_admitted_with_a_warning() {
    assert_eq!(said("{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}"), ["http-only-deny spec.rules[0]"]);
    let tokens = ["not-executed spec.rules[0].from[0].source.notRequestPrincipals", "http-only-deny spec.rules[0]"];
    assert_eq!(said("{action: DENY, rules: [{from: [{source: {notRequestPrincipals: [\"*\"]}}]}]}"), tokens);
    assert_eq!(said("{rules: [{when: [{key: \"request.auth.claims[a][b]\", values: [c]}]}]}"), ["not-executed spec.rules[0].when[0].key"]);
    assert_eq!(said("{action: CUSTOM, provider: {name: p}, rules: [{}]}"), ["not-executed spec.provider", "not-executed spec.action"]);
    assert_eq!(
        said("{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {principals: [a]}}]}]}")[0],
        "custom-with-identity spec.rules[0].from[0].source.principals"
    );
}
