//! What `kubectl explain` says about Istio's kinds and the fields that people ask for most, in our own words.

use crate::resource::IstioKind;
use crate::resource::IstioKind::{
    AuthorizationPolicy, DestinationRule, Gateway, PeerAuthentication, RequestAuthentication, ServiceEntry, Sidecar, Telemetry,
    VirtualService, WorkloadEntry,
};

/// What a kind is for.
pub(super) fn of_kind(kind: IstioKind) -> &'static str {
    match kind {
        VirtualService => "Rules by which callers find the destination of a request: matches, weights, retries, timeouts, faults.",
        DestinationRule => "What happens once the destination is chosen: subsets, load balancing, connection pools, outlier detection.",
        Gateway => "Ports and hosts at which traffic from outside enters the mesh.",
        ServiceEntry => "A service that Kubernetes does not know, with its hosts, ports and endpoints.",
        WorkloadEntry => "One endpoint that is no pod.",
        Sidecar => "What the proxies of some workloads know and accept.",
        PeerAuthentication => "Whether workloads accept plain text or only mutual TLS.",
        AuthorizationPolicy => "Who may call what; decided by the proxy of the callee.",
        RequestAuthentication => "Which tokens (JWT) workloads accept.",
        Telemetry => "What is logged, measured and traced.",
    }
}

/// What a field means; `path` without places of lists, below `spec`.
pub(super) fn of_field(kind: IstioKind, path: &str) -> Option<&'static str> {
    WORDS.iter().find(|(known, field, _)| (*known, *field) == (kind, path)).map(|(_, _, words)| *words)
}

/// Every place that is described.
#[cfg(test)]
pub(super) fn mentioned() -> impl Iterator<Item = (IstioKind, &'static str)> {
    WORDS.iter().map(|(kind, path, _)| (*kind, *path))
}

#[rustfmt::skip]
const WORDS: &[(IstioKind, &str, &str)] = &[
    (VirtualService, "", "The rules, and the hosts and proxies they are for."),
    (VirtualService, "hosts", "The hosts that the rules are for. A short name belongs to the namespace of this object; `*` stands for any first part."),
    (VirtualService, "gateways", "Which proxies use the rules: names of Gateways, `mesh` for all sidecars. Absent: `mesh`."),
    (VirtualService, "exportTo", "Namespaces in which the rules are known; `.` is this one, `*` all of them."),
    (VirtualService, "http", "Rules for HTTP, tried in order: the first that matches decides."),
    (VirtualService, "http.name", "Name of the rule, as it appears in records and logs."),
    (VirtualService, "http.match", "Conditions: one of the entries must hold, and in it every field. Absent: every request."),
    (VirtualService, "http.match.uri", "Condition on the path."),
    (VirtualService, "http.match.headers", "Conditions on headers, by their name in lower case."),
    (VirtualService, "http.match.uri.exact", "The whole text."),
    (VirtualService, "http.match.uri.prefix", "Its beginning."),
    (VirtualService, "http.match.uri.regex", "A regular expression (RE2) for the whole text."),
    (VirtualService, "http.route", "Destinations and their shares."),
    (VirtualService, "http.route.destination", "Where requests go."),
    (VirtualService, "http.route.destination.host", "Name of a service."),
    (VirtualService, "http.route.destination.subset", "One of the subsets that a DestinationRule of the host defines."),
    (VirtualService, "http.route.destination.port", "Port of the service; needed where it has several."),
    (VirtualService, "http.route.weight", "The share of requests: this weight of the sum of all."),
    (VirtualService, "http.redirect", "Answer with a redirection instead of forwarding."),
    (VirtualService, "http.directResponse", "Answer without asking anybody."),
    (VirtualService, "http.rewrite", "Change path or authority before forwarding."),
    (VirtualService, "http.timeout", "How long a request may take, all attempts together, as `2s`. Absent: no limit."),
    (VirtualService, "http.retries", "Whether and when a failed request is sent again."),
    (VirtualService, "http.retries.attempts", "How often at most, after the first try; 0 means never."),
    (VirtualService, "http.retries.perTryTimeout", "How long one attempt may take. Absent: as long as the request."),
    (VirtualService, "http.retries.retryOn", "What counts as failed, as `5xx,connect-failure`."),
    (VirtualService, "http.fault", "Failures made on purpose, in the caller's proxy."),
    (VirtualService, "http.fault.delay", "Wait before forwarding."),
    (VirtualService, "http.fault.delay.fixedDelay", "How long, as `500ms`."),
    (VirtualService, "http.fault.delay.percentage", "For how many requests of a hundred."),
    (VirtualService, "http.fault.abort", "Answer with an error instead of forwarding."),
    (VirtualService, "http.fault.abort.httpStatus", "The status of that answer."),
    (VirtualService, "http.fault.abort.percentage", "For how many requests of a hundred."),
    (VirtualService, "http.mirror", "Send a copy here and ignore its answer."),
    (VirtualService, "http.corsPolicy", "Answers to questions of browsers about other origins."),
    (VirtualService, "http.headers", "Headers that are set, added or removed."),
    (VirtualService, "tcp", "Rules for connections without HTTP, tried in order."),
    (VirtualService, "tls", "Rules for TLS connections that are not opened here, by server name."),
    (DestinationRule, "", "How proxies talk to one host."),
    (DestinationRule, "host", "The service that this is about."),
    (DestinationRule, "trafficPolicy", "Policy for all subsets and ports that say nothing else."),
    (DestinationRule, "trafficPolicy.loadBalancer", "How an endpoint is chosen."),
    (DestinationRule, "trafficPolicy.loadBalancer.simple", "One of the plain algorithms."),
    (DestinationRule, "trafficPolicy.connectionPool", "Limits of connections and waiting requests: the circuit breaker."),
    (DestinationRule, "trafficPolicy.connectionPool.tcp.maxConnections", "Connections to the host at most, for HTTP/1.1 and TCP."),
    (DestinationRule, "trafficPolicy.connectionPool.http.http1MaxPendingRequests", "Requests that may wait for a connection."),
    (DestinationRule, "trafficPolicy.outlierDetection", "When an endpoint that fails is left out for a while."),
    (DestinationRule, "trafficPolicy.outlierDetection.consecutive5xxErrors", "So many answers with 5xx in a row."),
    (DestinationRule, "trafficPolicy.outlierDetection.interval", "How often it is looked at."),
    (DestinationRule, "trafficPolicy.outlierDetection.baseEjectionTime", "How long an endpoint is left out, times how often it was."),
    (DestinationRule, "trafficPolicy.outlierDetection.maxEjectionPercent", "How many of the endpoints may be left out."),
    (DestinationRule, "trafficPolicy.tls", "Whether and how the connection is encrypted."),
    (DestinationRule, "subsets", "Named parts of the service."),
    (DestinationRule, "subsets.name", "What VirtualServices call it."),
    (DestinationRule, "subsets.labels", "Labels that a pod of this subset has."),
    (DestinationRule, "subsets.trafficPolicy", "Policy of this subset; it goes before the host's."),
    (DestinationRule, "exportTo", "Namespaces in which this is known."),
    (Gateway, "", "The proxy, and the ports it opens."),
    (Gateway, "selector", "Labels of the pods that are this gateway."),
    (Gateway, "servers", "Ports, and the hosts that are served there."),
    (Gateway, "servers.port", "The port."),
    (Gateway, "servers.hosts", "Hosts that may be asked for here."),
    (Gateway, "servers.tls", "Certificates, and whether plain requests are redirected."),
    (ServiceEntry, "", "The service."),
    (ServiceEntry, "hosts", "Its names."),
    (ServiceEntry, "ports", "Its ports."),
    (ServiceEntry, "location", "Whether it belongs to the mesh."),
    (ServiceEntry, "resolution", "How its endpoints are found."),
    (ServiceEntry, "endpoints", "Its endpoints, where they are listed."),
    (WorkloadEntry, "", "The endpoint."),
    (WorkloadEntry, "address", "Its address."),
    (Sidecar, "", "Which workloads, and what their proxies know."),
    (Sidecar, "workloadSelector", "Labels of the workloads; absent: all of the namespace."),
    (Sidecar, "egress", "Hosts that they know."),
    (Sidecar, "outboundTrafficPolicy", "What happens to hosts that nobody knows."),
    (PeerAuthentication, "", "Which workloads, and what they accept."),
    (PeerAuthentication, "selector", "Labels of the workloads; absent: all of the namespace."),
    (PeerAuthentication, "mtls", "The mode for all ports that say nothing else."),
    (PeerAuthentication, "portLevelMtls", "The mode of single ports of the workload."),
    (AuthorizationPolicy, "", "Which workloads, and who may call them. One DENY that matches wins; with any ALLOW, one must match."),
    (AuthorizationPolicy, "selector", "Labels of the workloads; absent: all of the namespace."),
    (AuthorizationPolicy, "action", "What happens to a request that a rule matches."),
    (AuthorizationPolicy, "rules", "One of them must match; no rule at all never matches."),
    (AuthorizationPolicy, "rules.from", "Who calls; one of the entries must hold."),
    (AuthorizationPolicy, "rules.to", "What is called; one of the entries must hold."),
    (AuthorizationPolicy, "rules.when", "Further conditions; all must hold."),
    (RequestAuthentication, "", "Which workloads, and which tokens they accept."),
    (RequestAuthentication, "jwtRules", "Issuers, and where their keys and tokens are found."),
    (Telemetry, "", "Which workloads, and what is kept of their traffic."),
    (Telemetry, "accessLogging", "What is logged of requests."),
    (Telemetry, "metrics", "What is measured."),
    (Telemetry, "tracing", "How many requests are traced."),
];
