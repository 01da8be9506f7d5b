//! Routes: virtual hosts and their rules.
//!
//! The outbound door is one listener for all destination ports, so its domains carry the port: `user-service:8081`. Port 80 is also what a
//! name without port means.

use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use smov_model::names::{HostPattern, Port};
use smov_model::route::{Destination, Redirect, RedirectPort, RouteAction, RouteMatch, RouteRule, VirtualHost};
use smov_model::snapshot::{Snapshot, UnknownHosts};
use smov_model::split::Split;
use smov_proxy::ProxyConfig;

use super::matching::route_match;
use super::{OUTBOUND, PASSTHROUGH, cluster, filters, object, policy, seconds};

/// Istio allows direct responses of up to 1 MB.
const DIRECT_RESPONSE_LIMIT: u32 = 1 << 20;

/// Istio's name of a gateway server's routes.
pub(super) fn ingress_name(port: Port) -> String {
    format!("http.{port}")
}

/// RDS.
pub(super) fn translate(settings: &ProxyConfig, snapshot: &Snapshot) -> BTreeMap<String, Value> {
    let mut routes = BTreeMap::new();
    match &settings.ingress {
        Some(ingress) => {
            let name = ingress_name(ingress.server_port);
            routes.insert(name.clone(), gateway(&name, ingress.server_port, settings, snapshot));
        }
        None => {
            routes.insert(OUTBOUND.to_owned(), outbound(settings, snapshot));
        }
    }
    routes
}

fn configuration(name: &str, hosts: Vec<Value>) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("name".into(), json!(name));
    // A cluster that is not there answers 503 `NC`; the rest of the routes works.
    value.insert("validate_clusters".into(), json!(false));
    value.insert("max_direct_response_body_size_bytes".into(), json!(DIRECT_RESPONSE_LIMIT));
    value.insert("virtual_hosts".into(), hosts.into());
    value
}

fn gateway(name: &str, port: Port, settings: &ProxyConfig, snapshot: &Snapshot) -> Value {
    let mut taken = Taken::default();
    let table = snapshot.ingress.get(&port);
    let hosts = table.iter().flat_map(|table| &table.hosts).filter_map(|host| {
        let domains = taken.domains(host.domains.iter().map(ToString::to_string));
        let routes = Routes { settings, snapshot, port }.of(host, None);
        virtual_host(&taken.name(&host.name), domains, routes)
    });
    let mut value = configuration(name, hosts.collect());
    value.insert("ignore_port_in_host_matching".into(), json!(true));
    value.into()
}

fn outbound(settings: &ProxyConfig, snapshot: &Snapshot) -> Value {
    let mut taken = Taken::default();
    let mut hosts = Vec::new();
    let mut fallback = Vec::new();
    for (port, table) in &snapshot.outbound {
        let routes = Routes { settings, snapshot, port: *port };
        for host in &table.hosts {
            let domains = taken.domains(host.domains.iter().flat_map(|domain| {
                let without = (port.number() == 80 && *domain != HostPattern::Any).then(|| domain.to_string());
                [Some(format!("{domain}:{port}")), without].into_iter().flatten()
            }));
            hosts.extend(virtual_host(&taken.name(&host.name), domains, routes.of(host, None)));
            if port.number() == 80 && host.domains.contains(&HostPattern::Any) {
                // `*` on port 80 is every name without port; the same names with a port are other services.
                fallback.extend(routes.of(host, Some("[^:]*")));
            }
        }
    }
    hosts.push(unknown_hosts(settings, snapshot, fallback));
    configuration(OUTBOUND, hosts).into()
}

/// Domains and names given so far: Envoy wants each once, and the first virtual host that has one keeps it.
#[derive(Default)]
struct Taken {
    domains: HashSet<String>,
    names: HashSet<String>,
}

impl Taken {
    fn domains(&mut self, domains: impl Iterator<Item = String>) -> Vec<String> {
        domains.filter(|domain| self.domains.insert(domain.clone())).collect()
    }

    fn name(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut number = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{name}#{number}");
            number += 1;
        }
        unique
    }
}

fn virtual_host(name: &str, domains: Vec<String>, routes: Vec<Value>) -> Option<Value> {
    (!domains.is_empty()).then(|| {
        let fields = [
            ("name", json!(name)),
            ("domains", json!(domains)),
            ("include_request_attempt_count", json!(true)),
            ("routes", Value::Array(routes)),
        ];
        object(fields)
    })
}

/// Hosts that nobody knows.
fn unknown_hosts(settings: &ProxyConfig, snapshot: &Snapshot, mut routes: Vec<Value>) -> Value {
    let (name, route) = match snapshot.unknown_hosts {
        UnknownHosts::AllowAny => {
            let action = json!({"cluster": PASSTHROUGH, "timeout": "0s"});
            (
                "allow_any",
                json!({
                    "name": "allow_any",
                    "match": {"prefix": "/"},
                    "route": action,
                    "typed_per_filter_config": filters::route_by_name(settings, snapshot),
                }),
            )
        }
        UnknownHosts::RegistryOnly => {
            ("block_all", json!({"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}))
        }
    };
    routes.push(route);
    json!({"name": name, "domains": ["*"], "include_request_attempt_count": true, "routes": routes})
}

/// What the rules of one port need to know.
struct Routes<'a> {
    settings: &'a ProxyConfig,
    snapshot: &'a Snapshot,
    port: Port,
}

impl Routes<'_> {
    /// The rules of a host as routes, one per match entry. `authority` is one more condition on Host.
    fn of(&self, host: &VirtualHost, authority: Option<&str>) -> Vec<Value> {
        let mut routes = Vec::new();
        for (index, rule) in host.rules.iter().enumerate() {
            let entries: Vec<Option<&RouteMatch>> =
                if rule.matches.is_empty() { vec![None] } else { rule.matches.iter().map(Some).collect() };
            for (place, entry) in entries.into_iter().enumerate() {
                let mut matching = route_match(entry);
                if let Some(authority) = authority {
                    let condition = json!({"name": ":authority", "string_match": {"safe_regex": {"regex": authority}}});
                    match matching.get_mut("headers").and_then(Value::as_array_mut) {
                        Some(headers) => headers.push(condition),
                        None => {
                            matching.insert("headers".into(), json!([condition]));
                        }
                    }
                }
                let mut route = self.route(rule);
                route.insert("match".into(), matching.into());
                let taken = json!({"port": self.port.number(), "host": host.name, "rule": index, "entry": place});
                route.insert("metadata".into(), json!({"filter_metadata": {"smov": taken}}));
                routes.push(route.into());
            }
        }
        routes
    }

    fn route(&self, rule: &RouteRule) -> Map<String, Value> {
        let mut route = Map::new();
        let name = if rule.origin.name.is_empty() { "default" } else { &rule.origin.name };
        route.insert("name".into(), json!(name));
        let mut filters = Map::new();
        if let Some(fault) = &rule.policy.fault {
            filters.insert(filters::FAULT.into(), policy::fault(fault));
        }
        if let Some(cors) = &rule.policy.cors {
            filters.insert(filters::CORS.into(), policy::cors(cors));
        }
        let mut levels = vec![&rule.policy.headers];
        match &rule.action {
            RouteAction::Forward(split) => {
                let by_name = |(_, arm): (_, &Destination)| self.snapshot.clusters.get(&arm.cluster).is_some_and(cluster::by_name);
                if let (true, Value::Object(more)) = (split.arms().any(by_name), filters::route_by_name(self.settings, self.snapshot)) {
                    filters.extend(more);
                }
                if let Some((_, only)) = split.arms().next().filter(|_| split.is_single()) {
                    // One destination: its operations come after the route's, on the same level.
                    levels.push(&only.headers);
                }
                route.insert("route".into(), self.forward(rule, split));
            }
            RouteAction::Redirect(redirect) => {
                route.insert("redirect".into(), self.redirect(redirect));
            }
            RouteAction::DirectResponse(direct) => {
                let mut response = json!({"status": direct.status});
                match std::str::from_utf8(direct.body.as_bytes()) {
                    Ok("") => {}
                    Ok(text) => response["body"] = json!({"inline_string": text}),
                    Err(_) => response["body"] = json!({"inline_bytes": STANDARD.encode(direct.body.as_bytes())}),
                }
                route.insert("direct_response".into(), response);
            }
        }
        policy::header_operations(&mut route, &levels);
        if matches!(rule.action, RouteAction::Forward(_)) {
            self.name_ourselves(&mut route);
        }
        if !filters.is_empty() {
            route.insert("typed_per_filter_config".into(), filters.into());
        }
        route
    }

    /// Peers in the mesh are told who calls.
    fn name_ourselves(&self, route: &mut Map<String, Value>) {
        let pod = &self.settings.pod;
        let id = format!("sidecar~{}~{}.{}~{}.svc.cluster.local", pod.address, pod.name, pod.namespace, pod.namespace);
        let header = json!({"header": {"key": filters::PEER_NOTE, "value": id}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
        match route.get_mut("request_headers_to_add").and_then(Value::as_array_mut) {
            Some(headers) => headers.push(header),
            None => {
                route.insert("request_headers_to_add".into(), json!([header]));
            }
        }
    }

    fn forward(&self, rule: &RouteRule, split: &Split<Destination>) -> Value {
        let policy = &rule.policy;
        let mut action = Map::new();
        let mut authority = policy.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_deref());
        authority = policy::authority(&policy.headers).or(authority);
        if split.is_single() {
            if let Some((_, only)) = split.arms().next() {
                action.insert("cluster".into(), json!(only.cluster.to_string()));
                authority = policy::authority(&only.headers).or(authority);
            }
        } else {
            let arms: Vec<Value> = split.arms().map(|(weight, arm)| weighted(weight.0, arm)).collect();
            action.insert("weighted_clusters".into(), json!({"clusters": arms}));
        }
        if let Some(authority) = authority {
            action.insert("host_rewrite_literal".into(), json!(authority.replace("%%", "%")));
        }
        // Envoy's own default is 15 s; Istio's is none.
        action.insert("timeout".into(), json!(policy.timeout.map_or_else(|| "0s".to_owned(), seconds)));
        if let Some(retry) = &policy.retry {
            action.insert("retry_policy".into(), policy::retry_policy(retry));
        }
        if let Some(rewrite) = &policy.rewrite {
            if let Some(uri) = &rewrite.uri {
                // Replaces what was matched: a prefix, or the whole path of an exact or regex match.
                action.insert("prefix_rewrite".into(), json!(uri));
            } else if let Some((pattern, substitution)) = &rewrite.uri_regex {
                action.insert("regex_rewrite".into(), json!({"pattern": {"regex": pattern.source()}, "substitution": substitution}));
            }
        }
        let mirrors = policy::mirrors(&policy.mirrors);
        if !mirrors.is_empty() {
            action.insert("request_mirror_policies".into(), mirrors.into());
        }
        if !policy.hash.is_empty() {
            action.insert("hash_policy".into(), policy.hash.iter().map(policy::hash_policy).collect());
        }
        action.into()
    }

    fn redirect(&self, redirect: &Redirect) -> Value {
        let code = match redirect.code {
            302 => "FOUND",
            303 => "SEE_OTHER",
            307 => "TEMPORARY_REDIRECT",
            308 => "PERMANENT_REDIRECT",
            _ => "MOVED_PERMANENTLY",
        };
        let mut value = json!({"response_code": code});
        if let Some(uri) = &redirect.uri {
            value["path_redirect"] = json!(uri);
        } else if let Some(prefix) = &redirect.prefix_rewrite {
            value["prefix_rewrite"] = json!(prefix);
        }
        if let Some(authority) = &redirect.authority {
            value["host_redirect"] = json!(authority);
        }
        if let Some(scheme) = &redirect.scheme {
            value["scheme_redirect"] = json!(scheme);
        }
        let port = match redirect.port {
            Some(RedirectPort::Fixed(port)) => Some(port.number()),
            Some(RedirectPort::OfListener) => Some(self.port.number()),
            // What the scheme implies is what Envoy does by itself.
            Some(RedirectPort::OfScheme) | None => None,
        };
        // Istio never writes the port that the scheme has anyway.
        let scheme = redirect.scheme.as_deref().unwrap_or("http");
        if let Some(port) = port.filter(|port| !matches!((scheme, *port), ("http", 80) | ("https", 443))) {
            value["port_redirect"] = json!(port);
        }
        value
    }
}

fn weighted(weight: u32, arm: &Destination) -> Value {
    let mut value = Map::new();
    value.insert("name".into(), json!(arm.cluster.to_string()));
    value.insert("weight".into(), json!(weight));
    policy::header_operations(&mut value, &[&arm.headers]);
    if let Some(authority) = policy::authority(&arm.headers) {
        value.insert("host_rewrite_literal".into(), json!(authority.replace("%%", "%")));
    }
    value.into()
}
