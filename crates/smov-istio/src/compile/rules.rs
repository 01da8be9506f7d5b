//! One VirtualService's `http:` to rules, as one proxy sees them on one port.

use std::collections::BTreeSet;

use smov_model::names::Port;
use smov_model::route::{RouteMatch, RouteRule, ValueMatch};
use smov_model::text::{Pattern, StringMatch};
use smov_model::workload::Workload;

use super::Prepared;
use super::action::action;
use super::virtual_services::{ResolvedRoute, ResolvedVirtualService};
use crate::hosts::resolve_gateway;
use crate::resource::{HttpMatchRequest, StringMatchSpec};

/// Who meets a rule, and where: what of a `match` is decided in compile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleScope<'a> {
    /// The names under which the proxy is addressed: `mesh`, or `namespace/name` of gateways.
    pub(crate) gateways: &'a BTreeSet<String>,
    /// The proxy's pod.
    pub(crate) client: &'a Workload,
    /// The port that the client dialled, or the gateway's server port.
    pub(crate) port: Port,
}

impl RuleScope<'_> {
    /// Does this part of a `match` hold? `gateways` of an entry replace its conditions on the source.
    pub(crate) fn admits(
        &self,
        namespace: &str,
        gateways: &[String],
        source_labels: &std::collections::BTreeMap<String, String>,
        source_namespace: Option<&str>,
        port: Option<u32>,
    ) -> bool {
        let source = if gateways.is_empty() {
            source_labels.iter().all(|(key, value)| self.client.labels.get(key) == Some(value))
                && source_namespace.is_none_or(|wanted| wanted.is_empty() || wanted == self.client.namespace.as_str())
        } else {
            gateways.iter().any(|name| self.gateways.contains(&resolve_gateway(name, namespace)))
        };
        source && port.is_none_or(|wanted| wanted == 0 || wanted == u32::from(self.port.number()))
    }
}

impl Prepared<'_> {
    /// The rules that this proxy gets, up to and including the first catch-all. Empty when all are for others.
    pub(crate) fn rules(&self, virtual_service: &ResolvedVirtualService<'_>, scope: &RuleScope<'_>) -> Vec<RouteRule> {
        let mut rules = Vec::new();
        for one in &virtual_service.http {
            let Some(rule) = self.rule(one, scope) else { continue };
            let last = is_catch_all(&rule);
            rules.push(rule);
            if last {
                break;
            }
        }
        rules
    }

    fn rule(&self, one: &ResolvedRoute<'_>, scope: &RuleScope<'_>) -> Option<RouteRule> {
        let admitted = |entry: &&HttpMatchRequest| {
            scope.admits(one.namespace, &entry.gateways, &entry.source_labels, entry.source_namespace.as_deref(), entry.port)
        };
        let mut matches = Vec::new();
        for entry in one.route.matches.iter().filter(admitted) {
            let entry = route_match(entry)?;
            let last = entry_is_catch_all(&entry);
            matches.push(entry);
            if last {
                break;
            }
        }
        if matches.is_empty() && !one.route.matches.is_empty() {
            return None;
        }
        let action = action(&self.services, one, scope)?;
        Some(RouteRule { origin: one.origin.clone(), matches, action, policy: self.route_policy(one, scope) })
    }
}

/// Does the rule take every request, so that nothing after it is ever met?
pub(crate) fn is_catch_all(rule: &RouteRule) -> bool {
    rule.matches.is_empty() || rule.matches.iter().any(entry_is_catch_all)
}

fn entry_is_catch_all(entry: &RouteMatch) -> bool {
    let any_path = match &entry.uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => prefix == "/",
        Some(StringMatch::Regex(pattern)) => pattern.source() == ".*",
        Some(StringMatch::Exact(_)) => false,
    };
    let pseudo = entry.scheme.is_some() || entry.method.is_some() || entry.authority.is_some();
    any_path && !pseudo && entry.headers.is_empty() && entry.without_headers.is_empty() && entry.query.is_empty()
}

/// `None` only for a pattern that validate refuses.
fn route_match(entry: &HttpMatchRequest) -> Option<RouteMatch> {
    let text = |spec: &Option<StringMatchSpec>| match spec {
        None => Some(None),
        // An empty `{}` on a pseudo header asks for nothing.
        Some(spec) => string_match(spec).map(|condition| match condition {
            ValueMatch::Present => None,
            ValueMatch::Value(value) => Some(value),
        }),
    };
    let values = |specs: &std::collections::BTreeMap<String, StringMatchSpec>, lower: bool| {
        let named = |(name, spec): (&String, &StringMatchSpec)| {
            Some((if lower { name.to_ascii_lowercase() } else { name.clone() }, string_match(spec)?))
        };
        specs.iter().map(named).collect::<Option<Vec<_>>>()
    };
    Some(RouteMatch {
        uri: text(&entry.uri)?,
        ignore_uri_case: entry.ignore_uri_case,
        scheme: text(&entry.scheme)?,
        method: text(&entry.method)?,
        authority: text(&entry.authority)?,
        headers: values(&entry.headers, true)?,
        without_headers: values(&entry.without_headers, true)?,
        query: values(&entry.query_params, false)?,
    })
}

pub(super) fn string_match(spec: &StringMatchSpec) -> Option<ValueMatch> {
    let value = match spec {
        StringMatchSpec { exact: Some(text), .. } => StringMatch::Exact(text.clone()),
        StringMatchSpec { prefix: Some(text), .. } => StringMatch::Prefix(text.clone()),
        StringMatchSpec { regex: Some(text), .. } if text == "*" => return Some(ValueMatch::Present),
        StringMatchSpec { regex: Some(text), .. } => StringMatch::Regex(Pattern::new(text).ok()?),
        StringMatchSpec { exact: None, prefix: None, regex: None } => return Some(ValueMatch::Present),
    };
    Some(ValueMatch::Value(value))
}
