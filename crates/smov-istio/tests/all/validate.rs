//! What the webhook refuses and what it admits with a warning, one line per case.

use serde_json::{Value, json};
use smov_istio::diagnostic::Severity;
use smov_istio::validate::validate;
use smov_istio::yaml;

/// The findings as `severity code path`, for a `spec` in YAML.
fn findings(kind: &str, spec: &str) -> Vec<String> {
    let spec = yaml::parse(spec).unwrap().remove(0).value;
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "n"}, "spec": spec});
    let told = |finding: smov_istio::diagnostic::Diagnostic| {
        assert!(!finding.message.is_empty() && !finding.message_ko.is_empty());
        let severity = match finding.severity {
            Severity::Error => "E",
            Severity::Warning => "W",
            Severity::Info => "I",
        };
        format!("{severity} {} {}", finding.code, finding.path.trim_start_matches("spec."))
    };
    validate(&object).into_iter().map(told).collect()
}

fn check(kind: &str, cases: &[(&str, &[&str])]) {
    for (spec, expected) in cases {
        assert_eq!(findings(kind, spec), *expected, "{spec}");
    }
}

/// A VirtualService with this one rule.
fn rule(rule: &str) -> Vec<String> {
    findings("VirtualService", &format!("{{hosts: [a], http: [{rule}]}}"))
}

#[test]
fn virtual_services_as_a_whole() {
    let ok = "http: [{route: [{destination: {host: a}}]}]";
    check(
        "VirtualService",
        &[
            (&format!("{{hosts: [a], {ok}}}"), &[]),
            ("{hosts: [a]}", &["E no-rules spec"]),
            (&format!("{{hosts: [\"*\"], {ok}}}"), &["E wildcard-on-mesh hosts[0]"]),
            (&format!("{{hosts: [\"*\"], gateways: [g], {ok}}}"), &[]),
            (&format!("{{hosts: [\"*\"], gateways: [g, mesh], {ok}}}"), &["E wildcard-on-mesh hosts[0]"]),
            (&format!("{{hosts: [a, a], {ok}}}"), &["E duplicate-host hosts[1]"]),
            (&format!("{{hosts: [\"*.a.b\", \"*.b\"], {ok}}}"), &["E duplicate-host hosts[1]"]),
            (&format!("{{hosts: [\"*.a.b\", c.a.b], {ok}}}"), &["E duplicate-host hosts[1]"]),
            (&format!("{{hosts: [\"*.a.b\", a.b], {ok}}}"), &[]),
            (&format!("{{hosts: [a_b], {ok}}}"), &["E invalid-host hosts[0]"]),
            (&format!("{{hosts: [theater.DOMAIN_PLACEHOLDER], {ok}}}"), &["E invalid-host hosts[0]"]),
            (&format!("{{hosts: [a.123], {ok}}}"), &["E invalid-host hosts[0]"]),
            (&format!("{{hosts: [10.0.0.1], {ok}}}"), &[]),
            (&format!("{{hosts: [a], gateways: [g.n.svc.cluster.local], {ok}}}"), &["W legacy-gateway gateways[0]"]),
            (&format!("{{hosts: [a], exportTo: [., .], {ok}}}"), &["E export-to exportTo[1]"]),
            (&format!("{{hosts: [a], exportTo: [ns1, \"*\"], {ok}}}"), &["E export-to exportTo"]),
            (&format!("{{gateways: [g], {ok}}}"), &["E no-hosts gateways"]),
            ("{hosts: [a], tcp: [{route: []}]}", &["E no-route tcp[0].route"]),
            ("{hosts: [a], tls: [{route: [{destination: {host: a}}]}]}", &["E no-match tls[0]", "W not-executed tls"]),
        ],
    );
}

#[test]
fn rules_need_exactly_one_action() {
    assert_eq!(rule("{timeout: 1s}"), ["E no-action http[0]"]);
    assert_eq!(rule("{route: [{destination: {host: a}}], redirect: {uri: /b}}"), ["E two-actions http[0]"]);
    assert_eq!(rule("{redirect: {uri: /b}, directResponse: {status: 200}}"), ["E two-actions http[0]"]);
    assert_eq!(rule("{redirect: {uri: /b}, fault: {abort: {httpStatus: 500, percentage: {value: 1}}}}"), ["E two-actions http[0]"]);
    assert_eq!(rule("{redirect: {uri: /b}}"), [""; 0]);
    assert_eq!(rule("{directResponse: {status: 99}}"), ["E invalid-response http[0].directResponse.status"]);
}

#[test]
fn weights_and_destinations() {
    assert_eq!(rule("{route: [{destination: {host: a}, weight: 0}]}"), [""; 0]);
    assert_eq!(rule("{route: [{destination: {host: a}, weight: -1}]}"), ["E invalid-weight http[0].route[0].weight"]);
    assert_eq!(rule("{route: [{destination: {host: a}}, {destination: {host: b}}]}"), ["E invalid-weight http[0].route"]);
    assert_eq!(rule("{route: [{destination: {host: a}, weight: 1}, {destination: {host: b}, weight: 3}]}"), [""; 0]);
    assert_eq!(rule("{route: [{weight: 1}]}"), ["E no-destination http[0].route[0]"]);
    assert_eq!(rule("{route: [{destination: {host: a, subset: A_b}}]}"), ["E invalid-subset http[0].route[0].destination.subset"]);
    assert_eq!(
        rule("{route: [{destination: {host: a, port: {number: 70000}}}]}"),
        ["E invalid-port http[0].route[0].destination.port.number"]
    );
    assert_eq!(rule("{route: [{destination: {host: \"*.a\"}}]}"), [""; 0]);
    assert_eq!(rule("{route: [{destination: {host: \"*\"}}]}"), ["E invalid-host http[0].route[0].destination.host"]);
}

/// A rule that forwards, with more.
fn forwarding(more: &str) -> Vec<String> {
    rule(&format!("{{route: [{{destination: {{host: a}}}}], {more}}}"))
}

#[test]
fn matches() {
    assert_eq!(forwarding("match: [{uri: {regex: \"(\"}}]"), ["E invalid-regex http[0].match[0].uri.regex"]);
    assert_eq!(forwarding("match: [{uri: {prefix: \"\"}}]"), [""; 0]);
    assert_eq!(forwarding("match: [{headers: {x: {prefix: \"\"}}}]"), ["E empty-prefix http[0].match[0].headers.x.prefix"]);
    assert_eq!(forwarding("match: [{headers: {\"a b\": {}}}]"), ["E invalid-header http[0].match[0].headers.a b"]);
    assert_eq!(forwarding("match: [{headers: {x: {regex: \"*\"}}}]"), ["E invalid-regex http[0].match[0].headers.x.regex"]);
    assert_eq!(forwarding("match: [{withoutHeaders: {x: {regex: \"*\"}}}]"), [""; 0]);
    assert_eq!(forwarding("match: [{uri: {exact: /a, prefix: /b}}]"), ["E two-conditions http[0].match[0].uri"]);
}

#[test]
fn timeouts_retries_and_faults() {
    assert_eq!(forwarding("timeout: 0s"), ["E invalid-duration http[0].timeout"]);
    assert_eq!(forwarding("timeout: 1500us"), ["E invalid-duration http[0].timeout"]);
    assert_eq!(forwarding("timeout: soon"), ["E invalid-duration http[0].timeout"]);
    assert_eq!(forwarding("retries: {attempts: 0}"), [""; 0]);
    assert_eq!(forwarding("retries: {retryOn: 5xx}"), ["E invalid-retries http[0].retries"]);
    assert_eq!(forwarding("retries: {attempts: 1, retryOn: \"5xx,503\"}"), [""; 0]);
    assert_eq!(forwarding("retries: {attempts: 1, retryOn: \"5xx, reset\"}"), ["E invalid-retries http[0].retries.retryOn"]);
    assert_eq!(forwarding("retries: {attempts: -1}"), ["E invalid-retries http[0].retries.attempts"]);
    assert_eq!(forwarding("fault: {}"), ["E invalid-fault http[0].fault"]);
    assert_eq!(forwarding("fault: {abort: {httpStatus: 600, percentage: {value: 100}}}"), [""; 0]);
    assert_eq!(
        forwarding("fault: {abort: {httpStatus: 199, percentage: {value: 101}}}"),
        ["E invalid-percentage http[0].fault.abort.percentage.value", "E invalid-fault http[0].fault.abort.httpStatus"]
    );
    assert_eq!(forwarding("fault: {abort: {httpStatus: 500}}"), ["W fault-without-percentage http[0].fault.abort"]);
    assert_eq!(
        forwarding("fault: {delay: {fixedDelay: 1s, percentage: {value: 0.00001}}}"),
        ["E invalid-percentage http[0].fault.delay.percentage.value"]
    );
    assert_eq!(forwarding("fault: {delay: {percentage: {value: 1}}}"), ["W delay-without-length http[0].fault.delay"]);
    assert_eq!(forwarding("fault: {abort: {percentage: {value: 1}}}"), ["W abort-without-type http[0].fault.abort"]);
}

#[test]
fn rewrites_redirects_headers_and_more() {
    assert_eq!(forwarding("rewrite: {}"), ["E invalid-rewrite http[0].rewrite"]);
    assert_eq!(
        forwarding("rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}"),
        ["E invalid-rewrite http[0].rewrite.uriRegexRewrite"]
    );
    assert_eq!(forwarding("rewrite: {authority: b}, headers: {request: {set: {Host: c}}}"), ["E two-authorities http[0]"]);
    assert_eq!(forwarding("headers: {request: {remove: [Host]}}"), ["E invalid-header http[0].headers.request.remove[0]"]);
    assert_eq!(forwarding("headers: {response: {set: {\":status\": x}}}"), ["E invalid-header http[0].headers.response.set.:status"]);
    assert_eq!(forwarding("headers: {request: {set: {x: 50%}}}"), ["E invalid-header http[0].headers.request.set.x"]);
    assert_eq!(forwarding("mirror: {host: b}, mirrors: [{destination: {host: c}}]"), ["E two-actions http[0]"]);
    assert_eq!(rule("{redirect: {}}"), ["E invalid-redirect http[0].redirect"]);
    assert_eq!(rule("{redirect: {uri: /a, redirectCode: 200}}"), ["E invalid-redirect http[0].redirect.redirectCode"]);
    assert_eq!(rule("{redirect: {uri: /a, scheme: ftp}}"), ["E invalid-redirect http[0].redirect.scheme"]);
}

#[test]
fn rules_that_nothing_reaches() {
    let spec =
        "{hosts: [a], http: [{route: [{destination: {host: a}}]}, {match: [{uri: {exact: /x}}], route: [{destination: {host: a}}]}]}";
    assert_eq!(findings("VirtualService", spec), ["W IST0130 http[1]"]);
    let spec = "{hosts: [a], http: [{match: [{uri: {exact: /x}}], route: [{destination: {host: a}}]}, {match: [{uri: {exact: /x}}, {uri: {exact: /y}}], route: [{destination: {host: b}}]}]}";
    assert_eq!(findings("VirtualService", spec), ["I IST0131 http[1].match[0]"]);
    let spec = "{hosts: [a], http: [{match: [{uri: {prefix: /}, method: {exact: GET}}], route: [{destination: {host: a}}]}, {route: [{destination: {host: a}}]}]}";
    assert_eq!(findings("VirtualService", spec), [""; 0]);
}

#[test]
fn destination_rules() {
    check(
        "DestinationRule",
        &[
            ("{host: a}", &[]),
            ("{host: \"\"}", &["E invalid-host host"]),
            ("{host: a, trafficPolicy: {}}", &["E empty-policy trafficPolicy"]),
            ("{host: a, subsets: [{name: x}, {name: x}]}", &["E duplicate-subset subsets[1].name"]),
            ("{host: a, trafficPolicy: {connectionPool: {}}}", &["E empty-policy trafficPolicy.connectionPool"]),
            (
                "{host: a, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}}",
                &["E invalid-limit trafficPolicy.connectionPool.tcp.maxConnections"],
            ),
            (
                "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}",
                &["E invalid-percentage trafficPolicy.outlierDetection.maxEjectionPercent"],
            ),
            ("{host: a, trafficPolicy: {loadBalancer: {simple: FASTEST}}}", &["E IST0106 trafficPolicy.loadBalancer.simple"]),
            ("{host: a, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}", &[]),
            (
                "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {maglev: {tableSize: 10}}}}}",
                &["E invalid-hash trafficPolicy.loadBalancer.consistentHash.maglev.tableSize"],
            ),
            (
                "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 40, c: 50}}]}}}}",
                &["E invalid-weight trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to"],
            ),
            (
                "{host: a, trafficPolicy: {portLevelSettings: [{loadBalancer: {simple: RANDOM}}]}}",
                &["E invalid-port trafficPolicy.portLevelSettings[0]"],
            ),
            ("{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}", &["E invalid-tls trafficPolicy.tls", "E invalid-tls trafficPolicy.tls"]),
        ],
    );
}

#[test]
fn gateways() {
    check(
        "Gateway",
        &[
            ("{servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]}", &[]),
            ("{selector: {a: b}}", &["E no-servers servers"]),
            ("{servers: [{port: {number: 80, name: http, protocol: HTTP}}]}", &["E no-hosts servers[0].hosts"]),
            ("{servers: [{hosts: [a.b]}]}", &["E invalid-port servers[0].port"]),
            ("{servers: [{port: {number: 80, name: x, protocol: HTTQ}, hosts: [a.b]}]}", &["E invalid-port servers[0].port.protocol"]),
            (
                "{servers: [{port: {number: 0, protocol: HTTP}, hosts: [a.b]}]}",
                &["E invalid-port servers[0].port.number", "E invalid-port servers[0].port.name"],
            ),
            (
                "{servers: [{port: {number: 443, name: x, protocol: HTTPS}, hosts: [a.b]}]}",
                &["E invalid-tls servers[0]", "W not-executed servers[0].port.protocol"],
            ),
            (
                "{servers: [{port: {number: 80, name: x, protocol: HTTP}, hosts: [a.b], tls: {mode: SIMPLE}}]}",
                &[
                    "E invalid-tls servers[0].tls",
                    "E invalid-tls servers[0].tls",
                    "E invalid-tls servers[0].tls",
                    "W not-executed servers[0].tls.mode",
                ],
            ),
            ("{servers: [{port: {number: 80, name: x, protocol: HTTP}, hosts: [a.b], tls: {httpsRedirect: true}}]}", &[]),
        ],
    );
}

#[test]
fn findings_of_a_file_know_their_line() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec:\n  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n      weight: -5\n";
    let document = yaml::parse(text).unwrap().remove(0);
    let findings = document.place(validate(&document.value));
    assert_eq!(findings[0].position.map(|place| (place.line, place.column)), Some((9, 7)));
    let empty: Value = json!({});
    assert!(validate(&empty).is_empty());
}
