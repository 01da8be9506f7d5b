//! Delegated rules: the match of each rule of the delegate is narrowed by those of the root, and what it does not say comes from the root
//! (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate>).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::virtual_services::{ResolvedRoute, origin};
use crate::diagnostic::{Diagnostic, Severity};
use crate::hosts::{exported_to, resolve_gateway, resolve_host};
use crate::resource::{Delegate, HttpMatchRequest, HttpRoute, Resource, StringMatchSpec, VirtualServiceSpec};

/// The rules that stand in the place of a root's rule. What cannot be put there is dropped and said.
pub(super) fn merged<'w>(
    root: &'w Resource<VirtualServiceSpec>,
    index: usize,
    route: &HttpRoute,
    delegate: &Delegate,
    delegates: &BTreeMap<(&'w str, &'w str), &'w Resource<VirtualServiceSpec>>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<ResolvedRoute<'w>> {
    let own = root.metadata.namespace.as_str();
    let namespace = delegate.namespace.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let name = delegate.name.as_deref().unwrap_or_default();
    let mut dropped = |resource: &Resource<VirtualServiceSpec>, path: String, message: String, korean: String| {
        findings.push(Diagnostic::new("delegate", Severity::Warning, &resource.reference(), path, message, korean));
    };
    let at = format!("spec.http[{index}].delegate");
    let Some(found) = delegates.get(&(namespace, name)) else {
        let message =
            format!("delegate virtual service {namespace}/{name} of {own}/{} not found: the rule is not used", root.metadata.name);
        dropped(root, at, message, format!("위임할 VirtualService {namespace}/{name}이(가) 없어 이 규칙은 쓰이지 않습니다"));
        return Vec::new();
    };
    if !exported_to(&found.spec.export_to, namespace, own) {
        let message = format!("delegate virtual service {namespace}/{name} is not exported to {own}: the rule is not used");
        dropped(root, at, message, format!("VirtualService {namespace}/{name}이(가) {own}에 공개되지 않아 이 규칙은 쓰이지 않습니다"));
        return Vec::new();
    }
    let root_route = resolved(route, own);
    let mut rules = Vec::new();
    for (position, leaf) in found.spec.http.iter().enumerate() {
        match merge(&root_route, resolved(leaf, namespace)) {
            Some(rule) => rules.push(ResolvedRoute {
                origin: origin(found, position, rule.name.as_deref()),
                route: Cow::Owned(rule),
                namespace: found.metadata.namespace.as_str(),
            }),
            None => {
                let (path, by) = (format!("spec.http[{position}].match"), format!("{own}/{} spec.http[{index}]", root.metadata.name));
                let message = format!("the match conflicts with that of the root rule {by}: the rule is not used");
                dropped(found, path, message, format!("상위 규칙 {by}의 조건과 맞지 않아 이 규칙은 쓰이지 않습니다"));
            }
        }
    }
    rules
}

/// The rule with all names in full, so that it means the same wherever it stands.
fn resolved(route: &HttpRoute, namespace: &str) -> HttpRoute {
    let mut route = route.clone();
    let destinations = route.route.iter_mut().filter_map(|arm| arm.destination.as_mut());
    let mirrors = route.mirrors.iter_mut().filter_map(|mirror| mirror.destination.as_mut());
    for destination in destinations.chain(mirrors).chain(&mut route.mirror) {
        destination.host = resolve_host(&destination.host, namespace);
    }
    for gateway in route.matches.iter_mut().flat_map(|entry| &mut entry.gateways) {
        *gateway = resolve_gateway(gateway, namespace);
    }
    route
}

/// A rule of the delegate with what the root adds; `None` when their matches have nothing in common.
fn merge(root: &HttpRoute, leaf: HttpRoute) -> Option<HttpRoute> {
    Some(HttpRoute {
        matches: merge_matches(&root.matches, &leaf.matches)?,
        name: join(root.name.as_deref(), leaf.name.as_deref()),
        rewrite: leaf.rewrite.or_else(|| root.rewrite.clone()),
        direct_response: leaf.direct_response.or_else(|| root.direct_response.clone()),
        timeout: leaf.timeout.or_else(|| root.timeout.clone()),
        retries: leaf.retries.or_else(|| root.retries.clone()),
        fault: leaf.fault.or_else(|| root.fault.clone()),
        mirror: leaf.mirror.or_else(|| root.mirror.clone()),
        mirror_percent: leaf.mirror_percent.or(root.mirror_percent),
        mirror_percentage: leaf.mirror_percentage.or(root.mirror_percentage),
        mirrors: if leaf.mirrors.is_empty() { root.mirrors.clone() } else { leaf.mirrors },
        cors_policy: leaf.cors_policy.or_else(|| root.cors_policy.clone()),
        headers: leaf.headers.or_else(|| root.headers.clone()),
        route: leaf.route,
        redirect: leaf.redirect,
        delegate: leaf.delegate,
    })
}

fn join(root: Option<&str>, leaf: Option<&str>) -> Option<String> {
    let set = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
    match (set(root), set(leaf)) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (root, leaf) => leaf.or(root),
    }
}

/// Each entry of the delegate with each of the root that covers it; one that none covers makes the whole rule void.
fn merge_matches(root: &[HttpMatchRequest], leaf: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() || leaf.is_empty() {
        return Some(if root.is_empty() { leaf.to_vec() } else { root.to_vec() });
    }
    let mut merged = Vec::new();
    for entry in leaf {
        let before = merged.len();
        merged.extend(root.iter().filter(|wide| !conflict(wide, entry)).map(|wide| merge_entry(wide, entry)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_entry(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    fn union<V: Clone>(root: &BTreeMap<String, V>, leaf: &BTreeMap<String, V>) -> BTreeMap<String, V> {
        root.iter().chain(leaf).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
    let text = |leaf: &Option<String>, root: &Option<String>| leaf.clone().filter(|text| !text.is_empty()).or_else(|| root.clone());
    HttpMatchRequest {
        name: join(root.name.as_deref(), leaf.name.as_deref()),
        uri: leaf.uri.clone().or_else(|| root.uri.clone()),
        scheme: leaf.scheme.clone().or_else(|| root.scheme.clone()),
        method: leaf.method.clone().or_else(|| root.method.clone()),
        authority: leaf.authority.clone().or_else(|| root.authority.clone()),
        headers: union(&root.headers, &leaf.headers),
        without_headers: union(&root.without_headers, &leaf.without_headers),
        query_params: union(&root.query_params, &leaf.query_params),
        ignore_uri_case: leaf.ignore_uri_case,
        port: leaf.port.filter(|port| *port > 0).or(root.port),
        source_labels: union(&root.source_labels, &leaf.source_labels),
        source_namespace: text(&leaf.source_namespace, &root.source_namespace),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        stat_prefix: text(&leaf.stat_prefix, &root.stat_prefix),
    }
}

fn conflict(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let texts = [(&root.uri, &leaf.uri), (&root.scheme, &leaf.scheme), (&root.method, &leaf.method), (&root.authority, &leaf.authority)];
    let maps = [(&root.headers, &leaf.headers), (&root.without_headers, &leaf.without_headers), (&root.query_params, &leaf.query_params)];
    let set = |port: Option<u32>| port.filter(|port| *port > 0);
    let source = |entry: &HttpMatchRequest| entry.source_namespace.clone().unwrap_or_default();
    texts.into_iter().any(|(root, leaf)| texts_conflict(root.as_ref(), leaf.as_ref()))
        || maps.into_iter().any(|(root, leaf)| leaf.iter().any(|(name, value)| texts_conflict(root.get(name), Some(value))))
        || root.ignore_uri_case != leaf.ignore_uri_case
        || set(root.port).zip(set(leaf.port)).is_some_and(|(root, leaf)| root != leaf)
        || !source(root).is_empty() && source(root) != source(leaf)
        || leaf.source_labels.iter().any(|(key, value)| root.source_labels.get(key).is_some_and(|known| known != value))
        || !root.gateways.is_empty() && leaf.gateways.iter().any(|gateway| !root.gateways.contains(gateway))
}

/// Is the delegate's condition no part of the root's? With a regular expression on either side nobody can tell, and it counts as one.
fn texts_conflict(root: Option<&StringMatchSpec>, leaf: Option<&StringMatchSpec>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else { return false };
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (set(&root.exact), set(&root.prefix)) {
        _ if set(&root.regex).is_some() || set(&leaf.regex).is_some() => true,
        (Some(exact), _) => set(&leaf.exact) != Some(exact),
        (None, Some(prefix)) => !set(&leaf.prefix).or(set(&leaf.exact)).is_some_and(|text| text.starts_with(&prefix)),
        (None, None) => true,
    }
}
