//! What the webhook says, word by word: one line per rule of Istio's. `E` refuses, `W` admits and warns, `I` informs.

use serde_json::{Value, json};
use smov_istio::diagnostic::{Diagnostic, Severity};
use smov_istio::validate::validate;
use smov_istio::yaml;

fn findings(kind: &str, spec: &str) -> Vec<Diagnostic> {
    let spec = yaml::parse(spec).unwrap().remove(0).value;
    validate(&json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "n"}, "spec": spec}))
}

fn told(findings: &[Diagnostic]) -> Vec<String> {
    let severity = |finding: &Diagnostic| match finding.severity {
        Severity::Error => "E",
        Severity::Warning => "W",
        Severity::Info => "I",
    };
    findings
        .iter()
        .filter(|finding| finding.code != "not-executed")
        .map(|finding| {
            assert!(!finding.message_ko.is_empty() && !finding.path.is_empty(), "{finding}");
            format!("{} {}: {}", severity(finding), finding.path.trim_start_matches("spec."), finding.message)
        })
        .collect()
}

/// Each spec gives exactly these findings.
fn says(kind: &str, table: &[(&str, &[&str])]) {
    for (spec, expected) in table {
        assert_eq!(told(&findings(kind, spec)), *expected, "{spec}");
    }
}

/// As [`says`], for rules of a VirtualService.
fn rule_says(table: &[(&str, &[&str])]) {
    for (rule, expected) in table {
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        let found: Vec<String> = told(&findings("VirtualService", &format!("{{hosts: [a], http: [{rule}]}}")))
            .iter()
            .map(|one| one.replace("http[0].", ""))
            .collect();
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn actions() {
    rule_says(&[
        ("{route: [{destination: {host: a}}], redirect: {uri: /b}}", &["E http[0]: HTTP route cannot contain both route and redirect"]),
        (
            "{fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}, redirect: {uri: /b}}",
            &["E http[0]: HTTP route cannot contain both fault and redirect"],
        ),
        ("{rewrite: {uri: /c}, redirect: {uri: /b}}", &["E http[0]: HTTP route rule cannot contain both rewrite and redirect"]),
        (
            "{directResponse: {status: 200}, redirect: {uri: /b}}",
            &["E http[0]: HTTP route rule cannot contain both direct_response and redirect"],
        ),
        (
            "{directResponse: {status: 200}, route: [{destination: {host: a}}]}",
            &["E http[0]: HTTP route cannot contain both route and direct_response"],
        ),
        (
            "{rewrite: {uri: /c}, directResponse: {status: 200}}",
            &["E http[0]: HTTP route rule cannot contain both rewrite and direct_response"],
        ),
        ("{timeout: 1s}", &["E http[0]: HTTP route, redirect or direct_response is required"]),
        ("{name: r, delegate: {name: b}, route: [{destination: {host: a}}]}", &["E http[0]: root HTTP route r must not specify route"]),
        ("{name: r, delegate: {name: b}, redirect: {uri: /b}}", &["E http[0]: root HTTP route r must not specify redirect"]),
        ("{delegate: {name: b}, timeout: 1s}", &[]),
        (
            "{route: [{destination: {host: a}}], mirror: {host: b}, mirrors: [{destination: {host: c}}]}",
            &["E http[0]: HTTP route cannot contain both mirror and mirrors"],
        ),
    ]);
    says(
        "VirtualService",
        &[
            (
                "{gateways: [g], tcp: [{route: [{destination: {host: a}}]}], http: [{delegate: {name: b}}]}",
                &[
                    "E gateways: delegate virtual service must have no gateways specified",
                    "E tcp: delegate virtual service must have no tcp route specified",
                    "E http[0]: HTTP route, redirect or direct_response is required",
                    "E http[0].delegate: delegate HTTP route cannot contain delegate",
                ],
            ),
            ("{http: [{route: [{destination: {host: a}}]}]}", &[]),
            ("{hosts: [a]}", &["E spec: http, tcp or tls must be provided in virtual service"]),
        ],
    );
}

#[test]
fn destinations() {
    rule_says(&[
        ("{route: [{weight: 1}]}", &["E route[0]: destination is required"]),
        ("{route: [{destination: {host: \"\"}}]}", &["E route[0].destination.host: empty domain name not allowed"]),
        ("{route: [{destination: {host: \"*\"}}]}", &["E route[0].destination.host: invalid destination host *"]),
        ("{route: [{destination: {host: a_b}}]}", &["E route[0].destination.host: domain name \"a_b\" invalid (label \"a_b\" invalid)"]),
        ("{route: [{destination: {host: a, subset: a_b}}]}", &["E route[0].destination.subset: subset name is invalid: a_b"]),
        (
            "{route: [{destination: {host: a, port: {number: 0}}}]}",
            &["E route[0].destination.port.number: port number 0 must be in the range 1..65535"],
        ),
        ("{route: [{destination: {host: a}, weight: -1}]}", &["E route[0].weight: weight -1 < 0"]),
        ("{route: [{destination: {host: a}}, {destination: {host: b}}]}", &["E route: total destination weight = 0"]),
    ]);
}

#[test]
fn matches() {
    let forward = |entry: &str| format!("{{match: [{entry}], route: [{{destination: {{host: a}}}}]}}");
    let says = |entry: &str, expected: &[&str]| rule_says(&[(&forward(entry), expected)]);
    says("{uri: {regex: \"\"}}", &["E match[0].uri.regex: \"uri\": regex string match should not be empty"]);
    says("{uri: {prefix: \"\"}}", &[]);
    says("{method: {prefix: \"\"}}", &["E match[0].method.prefix: \"method\": prefix string match should not be empty"]);
    says("{headers: {x: {prefix: \"\"}}}", &["E match[0].headers.x.prefix: \"headers\": prefix string match should not be empty"]);
    says("{headers: {\"a b\": {}}}", &["E match[0].headers.a b: header name a b is not a valid header name"]);
    says("{headers: {\":path\": {exact: /a}}}", &[]);
    says(
        "{queryParams: {q: {prefix: \"\"}}}",
        &["E match[0].queryParams.q.prefix: \"queryParams\": prefix string match should not be empty"],
    );
    says("{port: 70000}", &["E match[0].port: port number 70000 must be in the range 1..65535"]);
    says("{port: 0}", &[]);
    says("{sourceNamespace: a_b}", &["E match[0].sourceNamespace: sourceNamespace match a_b is invalid"]);
    says("{sourceLabels: {\"-a\": b}}", &["E match[0].sourceLabels: invalid tag key: \"-a\""]);
    says("{sourceLabels: {a: \"b c\"}}", &["E match[0].sourceLabels: invalid tag value: \"b c\""]);
    says("{gateways: [a/b/c]}", &["E match[0].gateways[0]: invalid value for gateway name: \"b/c\""]);
    let long = format!("{{uri: {{regex: \"{}\"}}}}", "a".repeat(1025));
    says(&long, &["E match[0].uri.regex: \"uri\": regex is too large, max length allowed is 1024"]);
    let broken = findings("VirtualService", "{hosts: [a], http: [{match: [{uri: {regex: \"(\"}}], route: [{destination: {host: a}}]}]}");
    assert!(broken[0].message.starts_with("\"uri\": error parsing regexp: "), "{}", broken[0].message);
    assert!(broken[0].message.ends_with("; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)"));
    let claim = "{\"@request.auth.claims.group\": {exact: a}}";
    says(
        &format!("{{headers: {claim}}}"),
        &[
            "E match[0].headers[\"@request.auth.claims.group\"]: JWT claim based routing (key: @request.auth.claims.group) is only supported for gateway, found no gateways: []",
        ],
    );
}

#[test]
fn time_retries_and_faults() {
    let forward = |more: &str, expected: &[&str]| rule_says(&[(&format!("{{route: [{{destination: {{host: a}}}}], {more}}}"), expected)]);
    forward("timeout: 0s", &["E timeout: duration must be greater than 1ms"]);
    forward("timeout: 1.5ms", &["E timeout: only durations to ms precision are supported"]);
    forward("retries: {attempts: -1}", &["E retries.attempts: attempts cannot be negative"]);
    let disabled = "E retries: http retry policy configured when attempts are set to 0 (disabled)";
    forward("retries: {retryOn: 5xx}", &[disabled]);
    forward("retries: {attempts: 0, perTryTimeout: 1s}", &[disabled]);
    forward("retries: {attempts: 0, retryRemoteLocalities: false}", &[disabled]);
    forward("retries: {attempts: 0, backoff: 1s}", &[]);
    forward("retries: {attempts: 1, perTryTimeout: 0s}", &["E retries.perTryTimeout: duration must be greater than 1ms"]);
    forward("retries: {attempts: 1, retryOn: \"5xx,sometimes\"}", &["E retries.retryOn: \"sometimes\" is not a valid retryOn policy"]);
    forward("retries: {attempts: 1, retryOn: \"599\"}", &["E retries.retryOn: \"599\" is not a valid retryOn policy"]);
    forward("retries: {attempts: 1, retryOn: \"5xx, reset\"}", &["E retries.retryOn: \" reset\" is not a valid retryOn policy"]);
    forward("fault: {}", &["E fault: HTTP fault injection must have an abort and/or a delay"]);
    forward(
        "fault: {abort: {httpStatus: 199, percentage: {value: 0}}}",
        &["E fault.abort.httpStatus: HTTP status 199 is not in range 200-599"],
    );
    forward(
        "fault: {abort: {grpcStatus: NOPE, percentage: {value: 0}}}",
        &[
            "E fault.abort.grpcStatus: gRPC status \"NOPE\" is not supported. See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md for a list of supported codes, for example 'NOT_FOUND'",
        ],
    );
    forward("fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 100}}}", &[]);
    forward("fault: {abort: {percentage: {value: 1}}}", &["W fault.abort: abort configured, but error type not set"]);
    forward(
        "fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}",
        &["E fault.delay.percentage.value: percentage 101 is neither 0.0, nor in range [0.0001, 100.0]"],
    );
    forward(
        "fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}",
        &["E fault.delay.exponentialDelay: exponentialDelay not supported yet"],
    );
}

#[test]
fn rewrites_redirects_and_answers() {
    let forward = |more: &str, expected: &[&str]| rule_says(&[(&format!("{{route: [{{destination: {{host: a}}}}], {more}}}"), expected)]);
    forward(
        "rewrite: {}",
        &[
            "E rewrite: rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified",
        ],
    );
    forward(
        "rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}",
        &["E rewrite.uriRegexRewrite: rewrite may only contain one of URI or UriRegexRewrite"],
    );
    forward(
        "rewrite: {uriRegexRewrite: {match: a}}",
        &["E rewrite.uriRegexRewrite: UriRegexRewrite requires both Rewrite and Match fields to be specified"],
    );
    forward(
        "rewrite: {authority: b.c}, headers: {request: {set: {host: d.e}}}",
        &["E http[0]: authority header cannot be set multiple times: have \"b.c\", attempting to set \"d.e\""],
    );
    rule_says(&[
        ("{redirect: {}}", &["E redirect: redirect must specify URI, authority, scheme, or port"]),
        ("{redirect: {redirectCode: 302}}", &["E redirect: redirect must specify URI, authority, scheme, or port"]),
        ("{redirect: {uri: /a, prefixRewrite: /b}}", &["E redirect: redirect may only specify one of uri or prefix_rewrite"]),
        (
            "{match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b}}",
            &["E redirect.prefixRewrite: redirect prefix_rewrite requires all URI matches to use prefix match type"],
        ),
        ("{redirect: {uri: /a, redirectCode: 200}}", &["E redirect.redirectCode: 200 is not a valid redirect code, must be 3xx"]),
        (
            "{redirect: {uri: /a, redirectCode: 304}}",
            &[
                "W redirect.redirectCode: redirect code 304 is not executed: Envoy knows 301, 302, 303, 307 and 308, and the rule is not used",
            ],
        ),
        ("{redirect: {uri: /a, scheme: ftp}}", &["E redirect.scheme: invalid redirect scheme, must be \"http\" or \"https\""]),
        ("{redirect: {port: 70000}}", &["E redirect.port: port number 70000 must be in the range 1..65535"]),
        ("{directResponse: {status: 99}}", &["E directResponse.status: HTTP status 99 is not in range 200-599"]),
    ]);
    let body = |size: usize| format!("{{directResponse: {{status: 200, body: {{string: {}}}}}}}", "a".repeat(size));
    let large = "large direct_responses may impact control plane performance";
    rule_says(&[
        (&body(100 << 10), &[]),
        (&body((100 << 10) + 1), &[&format!("W directResponse.body: {large}")]),
        (&body((1 << 20) + 1), &[&format!("E directResponse.body: {large}, must be less than 1MB")]),
    ]);
}

#[test]
fn mirrors_cors_and_headers() {
    let forward = |more: &str, expected: &[&str]| rule_says(&[(&format!("{{route: [{{destination: {{host: a}}}}], {more}}}"), expected)]);
    let deprecated = "W mirrorPercent: using deprecated setting \"mirrorPercent\", use \"mirrorPercentage\" instead";
    forward(
        "mirror: {host: b}, mirrorPercent: 101",
        &["E mirrorPercent: mirror_percent must have a max value of 100 (it has 101)", deprecated],
    );
    forward(
        "mirror: {host: b}, mirrorPercentage: {value: -1}",
        &["E mirrorPercentage.value: mirror_percentage must have a min value of 0 (it has -1.000000)"],
    );
    forward("mirrors: [{percentage: {value: 1}}]", &["E mirrors[0]: destination is required for mirrors"]);
    forward("corsPolicy: {allowMethods: [get]}", &["E corsPolicy.allowMethods[0]: \"get\" is not a supported HTTP method"]);
    forward("corsPolicy: {allowOrigins: [{}]}", &["E corsPolicy.allowOrigins[0]: '' is not a valid match type for CORS allow origins"]);
    forward("corsPolicy: {allowHeaders: [\"a b\"]}", &["E corsPolicy.allowHeaders[0]: header name a b is not a valid header name"]);
    forward("corsPolicy: {exposeHeaders: [\"*\"]}", &[]);
    forward("corsPolicy: {maxAge: 1500ms}", &["E corsPolicy.maxAge: max_age duration is accurate only to seconds precision"]);
    forward(
        "headers: {request: {set: {\":path\": /a}}}",
        &["E headers.request.set.:path: invalid header \":path\": header cannot have \":\" prefix"],
    );
    forward("headers: {request: {remove: [Host]}}", &["E headers.request.remove[0]: invalid header \"Host\": cannot set Host header"]);
    forward("headers: {response: {set: {host: a}}}", &["E headers.response.set.host: invalid header \"host\": cannot set Host header"]);
    forward(
        "headers: {request: {add: {x: 50%}}}",
        &["E headers.request.add.x: header value configuration: invalid header configuration. Un-escaped %"],
    );
    forward("headers: {request: {add: {x: \"%REQ(y)% 100%%\"}}}", &[]);
    forward(
        "headers: {request: {add: {x: \"%NO_SUCH%\"}}}",
        &["W headers.request.add.x: `%NO_SUCH%` is not a command operator of Envoy: the operation is left out"],
    );
}

#[test]
fn unreachable_rules() {
    says(
        "VirtualService",
        &[
            (
                "{hosts: [a], http: [{route: [{destination: {host: a}}]}, {name: late, match: [{uri: {exact: /x}}], route: [{destination: {host: a}}]}, {route: [{destination: {host: a}}]}]}",
                &[
                    "W http[1]: VirtualService rule \"late\" not used (route without matches defined before).",
                    "W http[2]: VirtualService rule #2 not used (only the last rule can have no matches).",
                ],
            ),
            (
                "{hosts: [a], http: [{match: [{uri: {exact: /x}}], route: [{destination: {host: a}}]}, {match: [{name: m, uri: {exact: /x}}], route: [{destination: {host: b}}]}]}",
                &[
                    "W http[1]: VirtualService rule #1 not used (all matches used by prior rules).",
                    "I http[1].match[0]: VirtualService rule #1 match \"m\" is not used (duplicate/overlapping match in rule #0).",
                ],
            ),
            (
                "{hosts: [a], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: a}}]}, {match: [{uri: {prefix: /a/b}}], route: [{destination: {host: b}}]}, {match: [{uri: {prefix: /a/c}, headers: {x: {exact: z}}}], route: [{destination: {host: b}}]}]}",
                &[
                    "I http[1].match[0]: VirtualService rule #1 match #0 of prefix /a/b is not used (duplicate/overlapping match in rule #0 of prefix /a on #0).",
                ],
            ),
            (
                "{hosts: [a], tcp: [{route: [{destination: {host: a}}]}, {match: [{port: 1}], route: [{destination: {host: a}}]}]}",
                &["W tcp[1]: VirtualService rule #1 not used (route without matches defined before)."],
            ),
        ],
    );
}

#[test]
fn hosts_gateways_and_opaque_rules() {
    let ok = "http: [{route: [{destination: {host: a}}]}]";
    says(
        "VirtualService",
        &[
            (
                &format!("{{hosts: [\"*\"], {ok}}}"),
                &["E hosts[0]: wildcard host * is not allowed for virtual services bound to the mesh gateway"],
            ),
            (&format!("{{hosts: [\"*.b\", a.b], {ok}}}"), &["E hosts[1]: duplicate hosts in virtual service: *.b & a.b"]),
            (
                &format!("{{hosts: [a.123], {ok}}}"),
                &["E hosts[0]: domain name \"a.123\" invalid (top level domain \"123\" cannot be all-numeric)"],
            ),
            (
                &format!("{{hosts: [a], gateways: [g.n.svc], {ok}}}"),
                &["W gateways[0]: using legacy gatewayName format \"g.n.svc\"; prefer the <namespace>/<name> format: \"n/g\""],
            ),
            (&format!("{{hosts: [a], gateways: [\"/g\"], {ok}}}"), &["E gateways[0]: config namespace and gateway name cannot be empty"]),
            (&format!("{{hosts: [a], exportTo: [., \"n\"], {ok}}}"), &["E exportTo[1]: duplicate entries in exportTo for entry n"]),
            (
                &format!("{{hosts: [a], exportTo: [\"n\", .], {ok}}}"),
                &["E exportTo[1]: duplicate entries in exportTo: . and current namespace n"],
            ),
            (
                &format!("{{hosts: [a], exportTo: [~], {ok}}}").replace("[~]", "[\"~\"]"),
                &["E exportTo[0]: exportTo ~ (none) is not allowed for Istio configuration objects"],
            ),
            (
                &format!("{{hosts: [a], exportTo: [\"*\", b], {ok}}}"),
                &["E exportTo: cannot have both public (*) and non-public exportTo values for a resource"],
            ),
            ("{hosts: [a], tcp: [{}]}", &["E tcp[0].route: TCP route is required"]),
            (
                "{hosts: [a], tcp: [{match: [{destinationSubnets: [x]}], route: [{destination: {host: a}}]}]}",
                &["E tcp[0].match[0].destinationSubnets[0]: x is not a valid IP"],
            ),
            (
                "{hosts: [a.b], tls: [{match: [{sniHosts: [c.d]}], route: [{destination: {host: a}}]}]}",
                &["E tls[0].match[0].sniHosts[0]: SNI host \"c.d\" is not a compatible subset of any of the virtual service hosts: [a.b]"],
            ),
            (
                "{hosts: [a.b], tls: [{match: [{}], route: [{destination: {host: a}}]}]}",
                &["E tls[0].match[0].sniHosts: TLS match must have at least one SNI host"],
            ),
        ],
    );
}

#[test]
fn destination_rules() {
    let policy =
        |policy: &str, expected: &[&str]| says("DestinationRule", &[(&format!("{{host: a, trafficPolicy: {{{policy}}}}}"), expected)]);
    policy("", &["E trafficPolicy: traffic policy must have at least one field"]);
    policy(
        "tunnel: {targetHost: a.b, targetPort: 1}, proxyProtocol: {version: V1}",
        &["E trafficPolicy: tunnel and proxyProtocol must not be set together"],
    );
    policy(
        "tunnel: {protocol: PUT, targetHost: a.b, targetPort: 1}",
        &["E trafficPolicy.tunnel.protocol: tunnel protocol must be \"CONNECT\" or \"POST\""],
    );
    policy("connectionPool: {}", &["E trafficPolicy.connectionPool: connection pool must have at least one field"]);
    policy(
        "connectionPool: {tcp: {maxConnections: -1}, http: {maxRetries: -1, http1MaxPendingRequests: -1}}",
        &[
            "E trafficPolicy.connectionPool.http.http1MaxPendingRequests: http1 max pending requests must be non-negative",
            "E trafficPolicy.connectionPool.http.maxRetries: max retries must be non-negative",
            "E trafficPolicy.connectionPool.tcp.maxConnections: max connections must be non-negative",
        ],
    );
    policy("connectionPool: {tcp: {idleTimeout: 0s}}", &[]);
    policy(
        "connectionPool: {tcp: {connectTimeout: 0s}}",
        &["E trafficPolicy.connectionPool.tcp.connectTimeout: duration must be greater than 1ms"],
    );
    policy(
        "connectionPool: {http: {http2KeepAlive: {interval: 1s}}}",
        &["E trafficPolicy.connectionPool.http.http2KeepAlive.timeout: http2 keepalive timeout is required"],
    );
    policy(
        "connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}",
        &["E trafficPolicy.connectionPool.http: use client protocol must not be true when H2UpgradePolicy is UPGRADE"],
    );
    policy(
        "outlierDetection: {maxEjectionPercent: 101, consecutiveLocalOriginFailures: 1, consecutiveErrors: 1}",
        &[
            "E trafficPolicy.outlierDetection.consecutiveLocalOriginFailures: outlier detection consecutive local origin failures is specified, but split external local origin errors is set to false",
            "E trafficPolicy.outlierDetection.maxEjectionPercent: percentage 101 is not in range 0..100",
            "W trafficPolicy.outlierDetection.consecutiveErrors: outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead",
        ],
    );
    policy(
        "portLevelSettings: [{loadBalancer: {simple: RANDOM}}]",
        &["E trafficPolicy.portLevelSettings[0]: portTrafficPolicy must have valid port"],
    );
    policy(
        "portLevelSettings: [{port: {number: 80}}]",
        &["E trafficPolicy.portLevelSettings[0]: port traffic policy must have at least one field"],
    );
    says(
        "DestinationRule",
        &[
            ("{host: \"\"}", &["E host: empty domain name not allowed"]),
            ("{host: a, subsets: [{name: b}, {name: b}]}", &["E subsets[1].name: duplicate subset names: b"]),
            ("{host: a, subsets: [{name: \"\"}]}", &["E subsets[0].name: subset name cannot be empty"]),
            ("{host: a, subsets: [{name: b, labels: {c: \"d e\"}}]}", &["E subsets[0].labels: invalid tag value: \"d e\""]),
            (
                "{host: a, workloadSelector: {matchLabels: {a: \"*\"}}, exportTo: [other]}",
                &[
                    "E exportTo: destination rule with workload selector cannot have exportTo beyond current namespace",
                    "E workloadSelector: wildcard is not supported in selector: \"a=*\"",
                ],
            ),
            (
                "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [., other]}",
                &["E exportTo: destination rule with workload selector cannot have multiple entries in exportTo"],
            ),
            ("{host: a, workloadSelector: {}}", &["W workloadSelector: workload selector specified without labels"]),
        ],
    );
}

#[test]
fn load_balancers_and_tls() {
    let balancer = |balancer: &str, expected: &[&str]| {
        let found = told(&findings("DestinationRule", &format!("{{host: a, trafficPolicy: {{loadBalancer: {{{balancer}}}}}}}")));
        let found: Vec<String> = found.iter().map(|one| one.replace("trafficPolicy.loadBalancer.", "")).collect();
        assert_eq!(found, expected, "{balancer}");
    };
    balancer("consistentHash: {httpCookie: {ttl: 1s}}", &["E consistentHash.httpCookie.name: name required for HttpCookie"]);
    balancer("consistentHash: {httpCookie: {name: a, ttl: 0s}}", &[]);
    balancer(
        "consistentHash: {httpCookie: {name: a, attributes: [{name: b, value: c}, {name: b, value: d}]}}",
        &["E consistentHash.httpCookie.attributes[1]: duplicate cookie attribute name: b"],
    );
    let ring = "W consistentHash.minimumRingSize: consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead";
    balancer("consistentHash: {useSourceIp: true, minimumRingSize: 8}", &[ring]);
    balancer(
        "consistentHash: {useSourceIp: true, minimumRingSize: 8, ringHash: {}}",
        &["E consistentHash.minimumRingSize: only one of MinimumRingSize or Maglev/Ringhash can be specified", ring],
    );
    balancer("consistentHash: {useSourceIp: true, maglev: {}}", &["E consistentHash.maglev.tableSize: tableSize must be set for maglev"]);
    balancer(
        "consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}",
        &["E consistentHash.maglev.tableSize: tableSize must be less than 5000011 for maglev"],
    );
    balancer(
        "consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}",
        &["E consistentHash.maglev.tableSize: tableSize must be a prime number for maglev"],
    );
    let place = "localityLbSetting";
    balancer(
        "localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}",
        &["E localityLbSetting: can not simultaneously specify 'distribute' and 'failover'"],
    );
    balancer(
        "localityLbSetting: {distribute: [{from: a, to: {b: 0}}]}",
        &[&format!("E {place}.distribute[0].to: locality weight must be in range [1, 100]")],
    );
    balancer(
        "localityLbSetting: {distribute: [{from: a, to: {b: 60, c: 50}}]}",
        &[&format!("E {place}.distribute[0].to: total locality weight 110 != 100")],
    );
    balancer(
        "localityLbSetting: {distribute: [{from: a/*, to: {b: 100}}, {from: a/b, to: {b: 100}}]}",
        &[&format!("E {place}.distribute: locality a/b overlap with previous specified ones")],
    );
    balancer(
        "localityLbSetting: {distribute: [{from: \"a/*/b\", to: {b: 100}}]}",
        &[&format!("E {place}.distribute: locality a/*/b wildcard '*' number can not exceed 1 and must be in the end")],
    );
    balancer(
        "localityLbSetting: {distribute: [{from: a//b, to: {b: 100}}]}",
        &[&format!("E {place}.distribute: locality a//b must not contain empty region/zone/subzone info")],
    );
    let alone = format!("W {place}: outlier detection policy must be provided for failover");
    balancer(
        "localityLbSetting: {failover: [{from: a, to: a}]}",
        &[&format!("E {place}.failover[0]: locality lb failover settings must specify different regions"), &alone],
    );
    balancer(
        "localityLbSetting: {failover: [{from: a, to: b/c}]}",
        &[&format!("E {place}.failover[0]: locality lb failover only specify region"), &alone],
    );
    balancer(
        "localityLbSetting: {failover: [{from: a, to: \"*\"}]}",
        &[&format!("E {place}.failover[0]: locality lb failover region should not contain '*' wildcard"), &alone],
    );
    balancer(
        "warmup: {aggression: 0}",
        &["E warmup.duration: duration is required", "E warmup.aggression: aggression should be greater than 0"],
    );
    let tls =
        |tls: &str, expected: &[&str]| says("DestinationRule", &[(&format!("{{host: a, trafficPolicy: {{tls: {{{tls}}}}}}}"), expected)]);
    tls(
        "mode: MUTUAL",
        &["E trafficPolicy.tls: client certificate required for mutual tls", "E trafficPolicy.tls: private key required for mutual tls"],
    );
    tls(
        "mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]",
        &["E trafficPolicy.tls: cannot specify CaCertificates or CredentialName or SubjectAltNames when InsecureSkipVerify is set true"],
    );
    tls(
        "mode: SIMPLE, credentialName: a, caCertificates: b",
        &["E trafficPolicy.tls: cannot specify client certificates or CA certificate or CA CRL If credentialName is set"],
    );
}

#[test]
fn gateways() {
    let server = |server: &str, expected: &[&str]| says("Gateway", &[(&format!("{{servers: [{{{server}}}]}}"), expected)]);
    let http = "port: {number: 80, name: a, protocol: HTTP}";
    says("Gateway", &[("{}", &["E servers: gateway must have at least one server"])]);
    server(http, &["E servers[0].hosts: server config must contain at least one host"]);
    server(&format!("{http}, hosts: [short]"), &["E servers[0].hosts[0]: short names (non FQDN) are not allowed"]);
    server(&format!("{http}, hosts: [\"*x.a.b\"]"), &["E servers[0].hosts[0]: partial wildcard \"*x.a.b\" not allowed"]);
    server(&format!("{http}, hosts: [a_b/c.d]"), &["E servers[0].hosts[0]: invalid namespace value \"a_b\" in gateway"]);
    server(&format!("{http}, hosts: [/c.d]"), &["E servers[0].hosts[0]: config namespace and dnsName in host entry cannot be empty"]);
    server(&format!("{http}, hosts: [./a.b, \"*/*.b\", 10.0.0.1]"), &[]);
    server("hosts: [a.b]", &["E servers[0].port: port is required"]);
    server(
        "hosts: [a.b], port: {number: 80, name: a, protocol: HTTQ}",
        &[
            "E servers[0].port.protocol: invalid protocol \"HTTQ\", supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP",
        ],
    );
    server(
        "hosts: [a.b], port: {number: 80, name: a, protocol: HTTP, targetPort: 1}",
        &["E servers[0].port.targetPort: targetPort has no impact on Gateways"],
    );
    server(
        "hosts: [a.b], port: {number: 80, protocol: HTTP}",
        &["E servers[0].port.name: port name must be set: number:80 protocol:\"HTTP\""],
    );
    server(&format!("{http}, hosts: [a.b], bind: nowhere"), &["E servers[0].bind: nowhere is not a valid IP"]);
    let https = "port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.b]";
    server(https, &["E servers[0]: server must have TLS settings for HTTPS/TLS protocols"]);
    server(
        &format!("{https}, tls: {{mode: SIMPLE}}"),
        &["E servers[0].tls: SIMPLE TLS requires a server certificate", "E servers[0].tls: SIMPLE TLS requires a private key"],
    );
    server(
        &format!("{https}, tls: {{mode: MUTUAL, serverCertificate: a, privateKey: b}}"),
        &["E servers[0].tls: MUTUAL TLS requires a client CA bundle"],
    );
    server(&format!("{https}, tls: {{mode: MUTUAL, credentialName: a}}"), &[]);
    server(
        &format!("{https}, tls: {{mode: ISTIO_MUTUAL, credentialName: a}}"),
        &["E servers[0].tls: ISTIO_MUTUAL TLS cannot have associated credentialName"],
    );
    server(
        &format!("{https}, tls: {{mode: SIMPLE, credentialName: a, serverCertificate: b, privateKey: c}}"),
        &[
            "E servers[0].tls: only one of credential_name, credential_names, server_certificate/private_key, tls_certificates should be specified",
        ],
    );
    server(
        &format!("{http}, hosts: [a.b], tls: {{mode: SIMPLE, credentialName: a}}"),
        &["E servers[0].tls: server cannot have TLS settings for plain text HTTP ports"],
    );
    server(
        "port: {number: 9, name: a, protocol: TCP}, hosts: [a.b], tls: {httpsRedirect: true}",
        &[
            "E servers[0].tls: server cannot have TLS settings for non HTTPS/TLS ports",
            "W servers[0].tls.httpsRedirect: tls.httpsRedirect should only be used with http servers",
        ],
    );
    let two = format!("{{servers: [{{{http}, hosts: [a.b]}}, {{{http}, hosts: [c.d]}}]}}");
    says("Gateway", &[(&two, &["E servers[1].port.name: port names in servers must be unique: duplicate name a"])]);
}

#[test]
fn service_entries() {
    let http = "ports: [{number: 80, name: http, protocol: HTTP}]";
    let entry = |entry: &str, expected: &[&str]| says("ServiceEntry", &[(&format!("{{{entry}, {http}}}"), expected)]);
    entry("resolution: DNS", &["E hosts: service entry must have at least one host"]);
    entry("hosts: [\"*\"]", &["E hosts[0]: invalid host *"]);
    entry("hosts: [\"*a.b\"]", &["W hosts[0]: partial wildcard \"*a.b\" not allowed"]);
    entry("hosts: [a.b], addresses: [x]", &["E addresses[0]: x is not a valid IP"]);
    entry("hosts: [a.b], addresses: [10.0.0.0/33]", &["E addresses[0]: 10.0.0.0/33 is not a valid CIDR block"]);
    entry(
        "hosts: [a.b], resolution: DNS, addresses: [10.0.0.0/8]",
        &["E addresses: CIDR addresses are allowed only for NONE/STATIC resolution types"],
    );
    entry("hosts: [a.b], endpoints: [{address: 10.0.0.1}]", &["E endpoints: no endpoints should be provided for resolution type none"]);
    entry(
        "hosts: [a.b], workloadSelector: {labels: {a: b}}",
        &["W workloadSelector: workloadSelector should not be set when resolution mode is NONE"],
    );
    entry(
        "hosts: [a.b], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 10.0.0.1}]",
        &["E spec: only one of WorkloadSelector or Endpoints is allowed in Service Entry"],
    );
    entry(
        "hosts: [a.b], resolution: STATIC, endpoints: [{address: c.d}, {ports: {http: 1}}]",
        &["E endpoints[0].address: endpoint address \"c.d\" is not a valid IP address", "E endpoints[1].address: address is required"],
    );
    entry(
        "hosts: [a.b], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {other: 1}}]",
        &["E endpoints[0].ports.other: endpoint port 1 is not defined by the service entry"],
    );
    entry(
        "hosts: [\"*.a.b\"], resolution: DNS",
        &[
            "E hosts[0]: hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode DNS, domain name \"*.a.b\" invalid (label \"*\" invalid)",
        ],
    );
    entry(
        "hosts: [a.b], resolution: DNS_ROUND_ROBIN, endpoints: [{address: c.d}, {address: e.f}]",
        &["E endpoints: there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN"],
    );
    entry(
        "hosts: [a.b], resolution: DNS, endpoints: [{address: a_b}]",
        &["E endpoints[0].address: endpoint address \"a_b\" is not a valid FQDN or an IP address"],
    );
    entry("hosts: [a.b], resolution: DYNAMIC_DNS", &["E hosts[0]: host must be wildcarded for resolution mode DYNAMIC_DNS"]);
    entry("hosts: [\"*.a.b\"], resolution: DYNAMIC_DNS", &[]);
    entry("hosts: [a.b], exportTo: [\"~\"]", &[]);
    entry("hosts: [a.b], exportTo: [\"~\", b]", &["E exportTo: cannot export service entry to no one (~) and someone"]);
    let missing = "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled";
    says(
        "ServiceEntry",
        &[
            (
                "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}, {number: 80, name: a, protocol: HTTP}]}",
                &[
                    "E ports[1].name: service entry port name \"a\" already defined",
                    "E ports[1].number: service entry port 80 already defined",
                ],
            ),
            ("{hosts: [a.b], ports: [{number: 80, name: a_b, protocol: HTTP}]}", &["E ports[0].name: invalid port name: a_b"]),
            ("{hosts: [a.b], ports: [{number: 80, name: a, protocol: QUIC}]}", &["E ports[0].protocol: unsupported protocol: QUIC"]),
            (
                "{hosts: [a.b, c.d], resolution: STATIC, ports: [{number: 80, name: a, protocol: TCP}]}",
                &["E hosts: multiple hosts provided with non-HTTP, non-TLS ports", &format!("W ports[0]: {missing}")],
            ),
        ],
    );
    says(
        "WorkloadEntry",
        &[
            ("{labels: {a: b}}", &["E address: address is required"]),
            ("{address: a.b, ports: {http: 0}}", &["E ports.http: port number 0 must be in the range 1..65535"]),
            ("{address: a_b}", &["E address: endpoint address \"a_b\" is not a valid FQDN or an IP address"]),
        ],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_said_once_in_the_words_of_the_api_server() {
    let spec: Value = json!({"hosts": "a"});
    let object = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry", "metadata": {"name": "x"}, "spec": spec});
    assert_eq!(told(&validate(&object)), ["E hosts: Invalid value: \"string\": must be of type array: \"string\""]);
}
