//! Snapshots as text that a person can read and review.

use std::fmt::Write;

use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, Endpoint};
use smov_model::route::{HeaderOperations, RetryPolicy, RouteAction, RouteMatch, RoutePolicy, RouteRule, RouteTable};
use smov_model::snapshot::Snapshot;
use smov_model::tls::ClusterTls;

/// Everything about routes, and of the clusters what differs from the default.
pub(crate) fn told(snapshot: &Snapshot) -> String {
    let mut text = format!("proxy {} of {} in {}\n", snapshot.proxy.pod, snapshot.proxy.name, snapshot.proxy.cluster);
    for inbound in &snapshot.inbound {
        let service = inbound.service.as_ref().map_or("-", |service| service.as_str());
        writeln!(text, "inbound {} {:?} {service} {:?}", inbound.port, inbound.protocol, inbound.mutual_tls).unwrap();
    }
    for (direction, tables) in [("outbound", &snapshot.outbound), ("ingress", &snapshot.ingress)] {
        for (port, table) in tables {
            writeln!(text, "\n{direction} port {port}").unwrap();
            tell_table(&mut text, table);
        }
    }
    for route in &snapshot.tcp {
        let arms: Vec<String> = route.split.arms().map(|(weight, name)| format!("{}/{} {name}", weight.0, route.split.total())).collect();
        writeln!(text, "\ntcp {}:{} -> {}", route.host, route.port, arms.join(", ")).unwrap();
    }
    writeln!(text, "\nclusters").unwrap();
    for cluster in snapshot.clusters.values() {
        tell_cluster(&mut text, cluster);
    }
    text
}

fn tell_table(text: &mut String, table: &RouteTable) {
    for host in &table.hosts {
        let domains: Vec<String> = host.domains.iter().map(ToString::to_string).collect();
        writeln!(text, "  {} [{}]", host.name, domains.join(" ")).unwrap();
        for rule in &host.rules {
            tell_rule(text, rule);
        }
    }
}

fn tell_rule(text: &mut String, rule: &RouteRule) {
    let matches: Vec<String> = rule.matches.iter().map(tell_match).collect();
    let when = if matches.is_empty() { "always".to_owned() } else { matches.join(" | ") };
    let name = if rule.origin.name.is_empty() { String::new() } else { format!(" ({})", rule.origin.name) };
    writeln!(text, "    {} {}{name}: {when}", rule.origin.resource, rule.origin.path).unwrap();
    match &rule.action {
        RouteAction::Forward(split) => {
            for (weight, destination) in split.arms() {
                write!(text, "      {}/{} {}", weight.0, split.total(), destination.cluster).unwrap();
                tell_headers(text, &destination.headers);
                text.push('\n');
            }
        }
        RouteAction::Redirect(redirect) => writeln!(text, "      {redirect:?}").unwrap(),
        RouteAction::DirectResponse(response) => writeln!(text, "      {response:?}").unwrap(),
    }
    let RoutePolicy { timeout, retry, fault, rewrite, headers, mirrors, cors, hash } = &rule.policy;
    if let Some(timeout) = timeout {
        writeln!(text, "      timeout {timeout:?}").unwrap();
    }
    match retry {
        Some(retry) if *retry == RetryPolicy::default() => {}
        Some(retry) => writeln!(text, "      {retry:?}").unwrap(),
        None => writeln!(text, "      no retries").unwrap(),
    }
    if let Some(fault) = fault {
        writeln!(text, "      {fault:?}").unwrap();
    }
    if let Some(rewrite) = rewrite {
        writeln!(text, "      {rewrite:?}").unwrap();
    }
    if *headers != HeaderOperations::default() {
        text.push_str("      ");
        tell_headers(text, headers);
        text.push('\n');
    }
    for mirror in mirrors {
        writeln!(text, "      mirror {} of 1000000 to {}", mirror.share.millionths(), mirror.cluster).unwrap();
    }
    if let Some(cors) = cors {
        writeln!(text, "      {cors:?}").unwrap();
    }
    for key in hash {
        writeln!(text, "      sticks by {key:?}").unwrap();
    }
}

fn tell_headers(text: &mut String, headers: &HeaderOperations) {
    for (direction, change) in [("request", &headers.request), ("response", &headers.response)] {
        if !change.is_empty() {
            write!(text, " {direction} set {:?} add {:?} remove {:?}", change.set, change.add, change.remove).unwrap();
        }
    }
}

fn tell_match(entry: &RouteMatch) -> String {
    let mut parts = Vec::new();
    for (name, condition) in [("uri", &entry.uri), ("scheme", &entry.scheme), ("method", &entry.method), ("authority", &entry.authority)] {
        parts.extend(condition.as_ref().map(|condition| format!("{name} {condition}")));
    }
    if entry.ignore_uri_case {
        parts.push("ignoring case".to_owned());
    }
    for (kind, conditions) in [("header", &entry.headers), ("without", &entry.without_headers), ("query", &entry.query)] {
        parts.extend(conditions.iter().map(|(name, condition)| format!("{kind} {name} {condition:?}")));
    }
    if parts.is_empty() { "anything".to_owned() } else { parts.join(" & ") }
}

fn tell_cluster(text: &mut String, cluster: &Cluster) {
    let told = |endpoint: &Endpoint| {
        let weight = if endpoint.weight == 1 { String::new() } else { format!(" weight {}", endpoint.weight) };
        let priority = if endpoint.priority == 0 { String::new() } else { format!(" priority {}", endpoint.priority) };
        let plain = if endpoint.mutual_tls { "" } else { " plain" };
        format!("{} {}{weight}{priority}{plain}", endpoint.address, endpoint.workload.pod)
    };
    let endpoints: Vec<String> = cluster.endpoints.iter().map(told).collect();
    writeln!(text, "  {} {:?} {:?} [{}]", cluster.name, cluster.protocol, cluster.load_balancer, endpoints.join(", ")).unwrap();
    if cluster.limits != ConnectionLimits::default() {
        writeln!(text, "    {:?}", cluster.limits).unwrap();
    }
    if let Some(outlier) = &cluster.outlier {
        writeln!(text, "    {outlier:?}").unwrap();
    }
    if cluster.discovery != Discovery::Listed {
        writeln!(text, "    {:?}", cluster.discovery).unwrap();
    }
    if cluster.tls != ClusterTls::Disable {
        writeln!(text, "    {:?}", cluster.tls).unwrap();
    }
    if !cluster.locality_weights.is_empty() {
        writeln!(text, "    localities {:?}", cluster.locality_weights).unwrap();
    }
}
