//! Each analyzer of files: an input that it speaks about, and the same input mended, about which it is silent.

use smov_istio::analyze::input::{Input, Unjudged};
use smov_istio::diagnostic::Severity;

/// Code and path of every finding.
fn codes_of(text: &str, whole: bool) -> Vec<String> {
    let mut input = Input::default();
    input.add("x.yaml", text).unwrap();
    let report = input.report(whole);
    let told = |found: &smov_istio::analyze::input::Found| {
        let finding = &found.finding;
        assert!(!finding.message.is_empty() && !finding.message_ko.is_empty() && finding.help.is_empty() == finding.help_ko.is_empty());
        format!("{} {} {}", finding.code, finding.resource.name, finding.path).trim_end().to_owned()
    };
    // What is not executed yet is another matter than what does not fit together.
    report.findings.iter().filter(|found| found.finding.code != "not-executed").map(told).collect()
}

fn codes(text: &str) -> Vec<String> {
    codes_of(text, false)
}

/// Says this about the text, and nothing once `broken` reads `mended`.
#[track_caller]
fn speaks(text: &str, expected: &[&str], broken: &str, mended: &str) {
    assert!(text.contains(broken), "`{broken}` is in the text");
    assert_eq!(codes(text), expected, "{text}");
    let after = codes(&text.replace(broken, mended));
    assert!(after.iter().all(|code| !expected.contains(&code.as_str())), "mended, it still says {after:?}");
}

const SERVICE: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {selector: {app: a}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: shop}
spec: {replicas: 2, template: {metadata: {labels: {app: a, version: v1}}, spec: {containers: [{name: a, ports: [{name: web, containerPort: 8080}]}]}}}
";

fn with(rules: &str) -> String {
    format!("{SERVICE}---\n{rules}")
}

fn virtual_service(route: &str) -> String {
    with(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs, namespace: shop}}\nspec: {{hosts: [a], http: [{{route: [{{destination: {route}}}]}}]}}\n"
    ))
}

fn destination_rule(spec: &str) -> String {
    with(&format!("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: dr, namespace: shop}}\nspec: {{{spec}}}\n"))
}

#[test]
fn a_destination_that_does_not_exist_is_ist0101() {
    let at = "spec.http[0].route[0].destination";
    speaks(&virtual_service("{host: b}"), &[&format!("IST0101 vs {at}.host")], "host: b", "host: a");
    speaks(&virtual_service("{host: a.shop}"), &[&format!("IST0101 vs {at}.host")], "host: a.shop", "host: a.shop.svc.cluster.local");
    speaks(&virtual_service("{host: a, port: {number: 81}}"), &[&format!("IST0101 vs {at}.port.number")], "number: 81", "number: 80");
    let subset = virtual_service("{host: a, subset: v2}") + &destination_rule("host: a, subsets: [{name: v1, labels: {version: v1}}]");
    speaks(&subset, &[&format!("IST0101 vs {at}.subset")], "subset: v2", "subset: v1");
    speaks(
        &(virtual_service("{host: api.example.com}")),
        &[&format!("IST0101 vs {at}.host")],
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService",
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: shop}\nspec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService",
    );
}

#[test]
fn a_destination_under_the_wildcard_of_a_service_entry_exists() {
    let entry = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: shop}\nspec: {hosts: [\"*.example.com\"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}\n";
    let text = virtual_service("{host: api.example.com}") + entry;
    assert_eq!(codes(&text), [""; 0]);
    assert_eq!(codes(&text.replace("*.example.com", "*.example.org")), ["IST0101 vs spec.http[0].route[0].destination.host"]);
}

#[test]
fn a_gateway_or_its_pods_that_do_not_exist_are_ist0101() {
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {app: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [x.example.com]}]}\n";
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs, namespace: shop}\nspec: {hosts: [x.example.com], gateways: [h], http: [{route: [{destination: {host: a}}]}]}\n";
    speaks(&with(&format!("{gateway}{rule}")), &["IST0101 vs spec.gateways[0]"], "gateways: [h]", "gateways: [g]");
    let elsewhere = rule.replace("[h]", "[g]").replace("hosts: [x.example.com]", "hosts: [y.example.com]");
    speaks(&with(&format!("{gateway}{elsewhere}")), &["IST0132 vs spec.hosts"], "y.example.com", "x.example.com");
    // Without any pod of a gateway in the input its selector is not judged, unless the input is everything.
    let lonely = with(&gateway.replace("{app: a}", "{istio: ingressgateway}"));
    assert_eq!(codes(&lonely), [""; 0]);
    assert_eq!(codes_of(&lonely, true), ["IST0101 g spec.selector"]);
}

#[test]
fn a_port_of_a_gateway_that_no_service_leads_to_is_ist0162() {
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {app: a}, servers: [{port: {number: 81, name: http, protocol: HTTP}, hosts: [\"*\"]}]}\n";
    speaks(&with(gateway), &["IST0162 g spec.servers[0].port.number"], "number: 81", "number: 80");
}

#[test]
fn two_gateways_for_the_same_pods_port_and_hosts_are_ist0145() {
    let gateway = |name: &str, host: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{selector: {{app: a}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{host}]}}]}}\n"
        )
    };
    let both = with(&(gateway("g", "\"*.example.com\"") + &gateway("h", "a.example.com")));
    speaks(&both, &["IST0145 g spec.servers[0].hosts", "IST0145 h spec.servers[0].hosts"], "[a.example.com]", "[a.example.org]");
}

#[test]
fn a_port_must_be_said_where_there_are_several() {
    let two = virtual_service("{host: a}").replace("{name: http, port: 80}", "{name: http, port: 80}, {name: http-more, port: 81}");
    speaks(&two, &["IST0112 vs spec.http[0].route[0].destination"], "{host: a}", "{host: a, port: {number: 80}}");
}

#[test]
fn two_virtual_services_for_one_host_are_ist0109() {
    let second = virtual_service("{host: a}").replace("name: vs", "name: second");
    let both = virtual_service("{host: a}") + second.rsplit_once("---\n").unwrap().1.replace("apiVersion", "---\napiVersion").as_str();
    speaks(
        &both,
        &["IST0109 vs spec.hosts", "IST0109 second spec.hosts"],
        "{name: second, namespace: shop}\nspec: {hosts: [a]",
        "{name: second, namespace: shop}\nspec: {hosts: [a.example.com]",
    );
}

#[test]
fn a_subset_of_another_rule_does_not_count_at_a_gateway() {
    let rules = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {app: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: outside, namespace: shop}\nspec: {hosts: [x.example.com], gateways: [g], http: [{route: [{destination: {host: a}}]}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: inside, namespace: shop}\nspec: {hosts: [a], http: [{route: [{destination: {host: a, subset: v1}}]}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: dr, namespace: shop}\nspec: {host: a, subsets: [{name: v1, labels: {version: v1}}]}\n";
    speaks(
        &with(rules),
        &["IST0140 outside spec.http[0].route[0].destination"],
        "gateways: [g], http: [{route: [{destination: {host: a}}]}]",
        "gateways: [g], http: [{route: [{destination: {host: a, subset: v1}}]}]",
    );
}

#[test]
fn destination_rules_for_nobody_are_told() {
    speaks(&destination_rule("host: b"), &["IST0174 dr spec.host"], "host: b", "host: a");
    speaks(
        &destination_rule("host: a, subsets: [{name: v1, labels: {version: v9}}]"),
        &["IST0173 dr spec.subsets[0]"],
        "version: v9",
        "version: v1",
    );
    speaks(
        &destination_rule("host: a, trafficPolicy: {tls: {mode: SIMPLE}}"),
        &["IST0128 dr spec.trafficPolicy.tls.mode"],
        "tls: {mode: SIMPLE}",
        "loadBalancer: {simple: RANDOM}",
    );
}

#[test]
fn a_subset_that_names_another_cluster_is_an_error_only_in_a_whole_input() {
    let text = destination_rule("host: a, subsets: [{name: west, labels: {cluster: west}}]");
    for (whole, severity) in [(false, Severity::Warning), (true, Severity::Error)] {
        let mut input = Input::default();
        input.add("x.yaml", &text).unwrap();
        let found = input.report(whole).findings;
        assert_eq!((found[0].finding.code.as_ref(), found[0].finding.severity), ("IST0173", severity));
    }
    let both = text.replace("version: v1", "version: v1, cluster: west");
    assert_eq!(codes(&both), [""; 0]);
}

#[test]
fn a_breaker_that_never_ejects_is_told_and_one_that_can_is_not() {
    let at = "never-ejects dr spec.trafficPolicy.outlierDetection";
    let breaker =
        |most: &str| destination_rule(&format!("host: a, trafficPolicy: {{outlierDetection: {{consecutive5xxErrors: 2{most}}}}}"));
    // Two pods: one of them is 50 %, the default limit 10 %.
    assert_eq!(codes(&breaker("")), [at]);
    assert_eq!(codes(&breaker(", maxEjectionPercent: 49")), [format!("{at}.maxEjectionPercent")]);
    assert_eq!(codes(&breaker(", maxEjectionPercent: 50")), [""; 0]);
    assert_eq!(codes(&breaker(", maxEjectionPercent: 50").replace("replicas: 2", "replicas: 1")), [format!("{at}.maxEjectionPercent")]);
}

#[test]
fn only_one_traffic_policy_of_a_host_is_in_force() {
    let two = destination_rule("host: a, trafficPolicy: {loadBalancer: {simple: RANDOM}}");
    let second = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: later, namespace: shop}\nspec: {host: a, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}\n";
    speaks(
        &(two + second),
        &["policy-ignored later spec.trafficPolicy"],
        "name: later, namespace: shop}\nspec: {host: a, ",
        "name: later, namespace: shop}\nspec: {host: c, ",
    );
}

#[test]
fn names_of_ports_say_their_protocol() {
    assert_eq!(codes(SERVICE), [""; 0]);
    for (port, speaks) in [
        ("{port: 80}", true),
        ("{name: web, port: 80}", true),
        ("{name: web, port: 80, appProtocol: http}", false),
        ("{name: grpc-web, port: 80}", false),
        ("{port: 6379}", true),
        ("{port: 3306}", false),
        ("{name: dns, port: 5353, protocol: UDP}", false),
    ] {
        let found = codes(&SERVICE.replace("{name: http, port: 80}", port));
        assert_eq!(found.iter().any(|code| code.starts_with("IST0118")), speaks, "{port}: {found:?}");
    }
}

#[test]
fn services_that_disagree_about_a_deployment_are_told() {
    let other = |ports: &str| {
        format!(
            "{SERVICE}---\napiVersion: v1\nkind: Service\nmetadata: {{name: b, namespace: shop}}\nspec: {{selector: {{app: a}}, ports: [{ports}]}}\n"
        )
    };
    speaks(&other("{name: http, port: 81, targetPort: 80}"), &["IST0137 a"], "port: 81", "port: 80");
    speaks(&other("{name: http, port: 80, protocol: UDP, targetPort: 99}"), &["IST0116 a"], "protocol: UDP", "protocol: TCP");
}

#[test]
fn namespaces_and_pods_without_sidecars_are_told() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {x: y}}\n";
    speaks(namespace, &["IST0102 shop metadata"], "x: y", "istio-injection: enabled");
    speaks(namespace, &["IST0102 shop metadata"], "x: y", "istio-injection: disabled");
    let both = namespace.replace("x: y", "istio-injection: enabled, istio.io/rev: canary");
    speaks(&both, &["IST0123 shop metadata.labels"], ", istio.io/rev: canary", "");
    let pod = namespace.replace("x: y", "istio-injection: enabled")
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {containers: [{name: c}]}\n";
    speaks(&pod, &["IST0103 p spec.containers"], "[{name: c}]", "[{name: c}, {name: istio-proxy}]");
}

#[test]
fn policies_that_select_nobody_are_told() {
    let policy = with(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec: {selector: {matchLabels: {app: b}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}\n",
    );
    speaks(&policy, &["IST0127 p spec.selector"], "app: b", "app: a");
    let namespaces = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{istio-injection: enabled}}}}\n{policy}")
        .replace("app: b", "app: a");
    speaks(&namespaces.replace("[shop]", "[other]"), &["IST0101 p spec.rules[0].from[0].source.namespaces[0]"], "[other]", "[shop]");
    let sidecar = with(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: shop}\nspec: {workloadSelector: {labels: {app: b}}, egress: [{hosts: [./*]}]}\n",
    );
    speaks(&sidecar, &["IST0101 s spec.workloadSelector"], "app: b", "app: a");
}

#[test]
fn a_gateways_certificate_that_is_not_beside_its_pods_is_told() {
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {app: a}, servers: [{port: {number: 80, name: https, protocol: HTTPS}, hosts: [\"*\"], tls: {mode: SIMPLE, credentialName: cert}}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: other, namespace: shop}\ntype: Opaque\n";
    let found = codes(&with(gateway));
    assert!(found.contains(&"IST0101 g spec.servers[0].tls.credentialName".to_owned()), "{found:?}");
    let found = codes(&with(&gateway.replace("name: other", "name: cert")));
    assert!(!found.iter().any(|code| code.starts_with("IST0101")), "{found:?}");
}

#[test]
fn service_entries_say_what_istio_needs() {
    let entry = |name: &str, protocol: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{hosts: [db.example.com], location: MESH_EXTERNAL, ports: [{{number: 5432, name: p, protocol: {protocol}}}], resolution: DNS}}\n"
        )
    };
    let tcp = codes(&entry("e", "TCP"));
    assert!(tcp.contains(&"IST0134 e spec.ports[0]".to_owned()), "{tcp:?}");
    assert!(!codes(&entry("e", "HTTP")).iter().any(|code| code.starts_with("IST0134")));
    let both = codes(&(entry("e", "HTTP") + &entry("f", "HTTPS")));
    assert_eq!(both.iter().filter(|code| code.starts_with("IST0177")).count(), 2, "{both:?}");
    assert!(!codes(&(entry("e", "HTTP") + &entry("f", "HTTP"))).iter().any(|code| code.starts_with("IST0177")));
}

#[test]
fn what_is_no_object_of_istio_is_told_with_the_nearest_name() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: vs}\nspec: {}\n";
    assert_eq!(codes(rule), ["no-such-kind vs kind"]);
    assert_eq!(codes(&rule.replace("istio.io/v1", "istio.io/v2").replace("Servce", "Service")), ["no-such-version vs apiVersion"]);
    assert_eq!(codes("kind: Service\nmetadata: {name: a}\n"), ["no-object a apiVersion"]);
    assert_eq!(codes("apiVersion: v1\nkind: Service\nmetadata: {}\n"), ["no-object  metadata.name"]);
    // `n` is no text in YAML 1.1, which kubectl reads.
    assert_eq!(codes("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\n"), ["no-object a metadata.namespace"]);
}

#[test]
fn an_object_that_is_written_again_otherwise_is_told_and_a_copy_is_not() {
    assert_eq!(codes(&format!("{SERVICE}{SERVICE}")), [""; 0]);
    let other = format!("{SERVICE}{}", SERVICE.replace("replicas: 2", "replicas: 3"));
    assert_eq!(codes(&other), ["written-again a metadata.name"]);
}

#[test]
fn unknown_fields_are_errors_and_the_webhooks_refusals_are_ist0106() {
    speaks(&virtual_service("{host: a, subst: v1}"), &["unknown-field vs spec.http[0].route[0].destination.subst"], ", subst: v1", "");
    let mut input = Input::default();
    input.add("x.yaml", &virtual_service("{host: a}").replace("hosts: [a]", "hosts: [a_b]")).unwrap();
    let report = input.report(false);
    let found = &report.findings[0];
    assert_eq!((found.finding.code.as_ref(), found.reason.as_str()), ("IST0106", "invalid-host"));
}

#[test]
fn what_was_not_looked_at_is_said() {
    let mut input = Input::default();
    let filter = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: f}\nspec: {}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    input.add("x.yaml", filter).unwrap();
    let report = input.report(false);
    let kinds: Vec<&str> = report.not_considered.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["HTTPRoute", "EnvoyFilter"]);
    let mut input = Input::default();
    let rules = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs, namespace: shop}\nspec: {hosts: [a], gateways: [g], http: [{route: [{destination: {host: a, subset: v1}}]}]}\n";
    input.add("x.yaml", rules).unwrap();
    assert_eq!(input.report(false).unjudged, [Unjudged::Services, Unjudged::Gateways, Unjudged::Subsets]);
    let whole: Vec<String> = input.report(true).findings.into_iter().map(|found| found.finding.path).collect();
    assert_eq!(whole, ["spec.gateways[0]", "spec.http[0].route[0].destination.host"]);
}

#[test]
fn a_list_of_kubectl_is_its_items_with_real_pods() {
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [
      {\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\", \"namespace\": \"shop\"}, \"spec\": {\"selector\": {\"app\": \"a\"}, \"ports\": [{\"name\": \"http\", \"port\": 80}]}},
      {\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {\"name\": \"a\", \"namespace\": \"shop\"}, \"spec\": {\"replicas\": 9, \"template\": {\"metadata\": {\"labels\": {\"app\": \"a\", \"version\": \"v2\"}}, \"spec\": {\"containers\": []}}}},
      {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a-1\", \"namespace\": \"shop\", \"labels\": {\"app\": \"a\", \"version\": \"v1\"}}, \"spec\": {\"containers\": [{\"name\": \"c\"}]}, \"status\": {\"phase\": \"Running\", \"podIP\": \"10.0.0.1\"}},
      {\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"DestinationRule\", \"metadata\": {\"name\": \"dr\", \"namespace\": \"shop\"}, \"spec\": {\"host\": \"a\", \"subsets\": [{\"name\": \"v2\", \"labels\": {\"version\": \"v2\"}}]}}]}";
    assert_eq!(codes(list), ["IST0173 dr spec.subsets[0]"], "pods count, not the template, where there are pods");
}
