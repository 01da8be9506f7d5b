//! The decision: host to virtual host, request to rule.

use std::borrow::Cow;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{RouteMatch, RouteRule, RouteTable, ValueMatch, VirtualHost};
use crate::names::HostPattern;
use crate::record::SkippedRule;

/// What rules look at in a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// `GET`.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host as sent, with its port.
    pub authority: &'a str,
    /// Normalised path without query.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// Why a match entry did not take a request: the first condition that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "camelCase")]
pub enum Mismatch {
    /// The path.
    Uri {
        /// What the rule wants.
        wanted: String,
        /// What the request has.
        found: String,
    },
    /// The scheme.
    Scheme {
        /// What the rule wants.
        wanted: String,
        /// What the request has.
        found: String,
    },
    /// The method.
    Method {
        /// What the rule wants.
        wanted: String,
        /// What the request has.
        found: String,
    },
    /// Host.
    Authority {
        /// What the rule wants.
        wanted: String,
        /// What the request has.
        found: String,
    },
    /// A header is missing or has another value.
    Header {
        /// The header.
        name: String,
        /// What the rule wants.
        wanted: String,
        /// Its value; `None` = the request has no such header.
        found: Option<String>,
    },
    /// A header is there that the rule excludes.
    WithoutHeader {
        /// The header.
        name: String,
        /// Its value.
        found: Option<String>,
    },
    /// A query parameter is missing or has another value.
    Query {
        /// The parameter.
        name: String,
        /// What the rule wants.
        wanted: String,
        /// Its raw value; `None` = absent.
        found: Option<String>,
    },
}

impl RouteTable {
    /// The virtual host of an authority (port ignored, case ignored): exact, then the longest wildcard, then `*`.
    pub fn host(&self, authority: &str) -> Option<&VirtualHost> {
        let host = canonical_host(authority);
        let host = host.as_ref();
        let mut best: Option<(usize, &VirtualHost)> = None;
        for candidate in &self.hosts {
            for domain in &candidate.domains {
                let rank = match domain {
                    HostPattern::Exact(name) if name.as_str() == host => return Some(candidate),
                    HostPattern::Exact(_) => continue,
                    HostPattern::Suffix(suffix) if domain.covers(host) => 1 + suffix.as_str().len(),
                    HostPattern::Suffix(_) => continue,
                    HostPattern::Any => 0,
                };
                if best.is_none_or(|(known, _)| rank > known) {
                    best = Some((rank, candidate));
                }
            }
        }
        best.map(|(_, host)| host)
    }
}

/// The host of an authority as domains are written: without port, in lower case. Copies only what has upper case.
pub fn canonical_host(authority: &str) -> Cow<'_, str> {
    let host = without_port(authority);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
}

/// The authority without its port; an IPv6 literal keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

impl VirtualHost {
    /// The first rule that takes the request, with its index.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<(usize, &RouteRule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.takes(head).is_some())
    }

    /// Why the first `count` rules do not take the request, each with the first condition that failed of each match entry.
    pub fn skipped(&self, count: usize, head: &RequestHead<'_>) -> Vec<SkippedRule> {
        let told = |(index, rule): (usize, &RouteRule)| SkippedRule {
            index,
            origin: rule.origin.clone(),
            mismatches: rule.matches.iter().filter_map(|entry| explain_match(entry, head)).collect(),
        };
        self.rules.iter().enumerate().take(count).map(told).collect()
    }
}

impl RouteRule {
    /// The match entry that takes the request: its index, 0 for a rule without `match`.
    pub fn takes(&self, head: &RequestHead<'_>) -> Option<usize> {
        if self.matches.is_empty() {
            return Some(0);
        }
        self.matches.iter().position(|entry| entry.matches(head))
    }
}

impl RouteMatch {
    /// Do all conditions hold?
    pub fn matches(&self, head: &RequestHead<'_>) -> bool {
        let uri = self
            .uri
            .as_ref()
            .is_none_or(|uri| if self.ignore_uri_case { uri.matches_ignoring_case(head.path) } else { uri.matches(head.path) });
        uri && self.scheme.as_ref().is_none_or(|scheme| scheme.matches(head.scheme))
            && self.method.as_ref().is_none_or(|method| method.matches(head.method))
            && self.authority.as_ref().is_none_or(|authority| authority.matches(head.authority))
            && self.headers.iter().all(|(name, value)| has_header(head.headers, name, value))
            && self.without_headers.iter().all(|(name, value)| lacks_header(head.headers, name, value))
            && self.query.iter().all(|(name, value)| has_query(head.query, name, value))
    }
}

/// Each value of a repeated header is looked at alone, any may match (Envoy since 1.39).
fn has_header(headers: &HeaderMap, name: &str, wanted: &ValueMatch) -> bool {
    headers.get_all(name).iter().any(|value| wanted.accepts(&String::from_utf8_lossy(value.as_bytes())))
}

/// Inverted: a missing header counts as an empty value, unless the condition is mere presence.
fn lacks_header(headers: &HeaderMap, name: &str, unwanted: &ValueMatch) -> bool {
    match unwanted {
        ValueMatch::Present => !headers.contains_key(name),
        ValueMatch::Value(value) if !headers.contains_key(name) => !value.matches(""),
        ValueMatch::Value(_) => !has_header(headers, name, unwanted),
    }
}

fn has_query(query: Option<&str>, name: &str, wanted: &ValueMatch) -> bool {
    query_value(query, name).is_some_and(|value| wanted.accepts(value))
}

/// The raw value of the first parameter of that name.
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find(|(key, _)| *key == name).map(|(_, value)| value)
}

impl ValueMatch {
    /// Is this value accepted?
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Value(wanted) => wanted.matches(value),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Present => "present".to_owned(),
            Self::Value(value) => value.to_string(),
        }
    }
}

/// Why does this entry not take the request? `None` when it does. The same conditions as [`RouteMatch::matches`], told.
pub fn explain_match(entry: &RouteMatch, head: &RequestHead<'_>) -> Option<Mismatch> {
    let header = |name: &str| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(uri) = &entry.uri {
        let fits = if entry.ignore_uri_case { uri.matches_ignoring_case(head.path) } else { uri.matches(head.path) };
        if !fits {
            return Some(Mismatch::Uri { wanted: uri.to_string(), found: head.path.to_owned() });
        }
    }
    if let Some(scheme) = entry.scheme.as_ref().filter(|scheme| !scheme.matches(head.scheme)) {
        return Some(Mismatch::Scheme { wanted: scheme.to_string(), found: head.scheme.to_owned() });
    }
    if let Some(method) = entry.method.as_ref().filter(|method| !method.matches(head.method)) {
        return Some(Mismatch::Method { wanted: method.to_string(), found: head.method.to_owned() });
    }
    if let Some(authority) = entry.authority.as_ref().filter(|authority| !authority.matches(head.authority)) {
        return Some(Mismatch::Authority { wanted: authority.to_string(), found: head.authority.to_owned() });
    }
    if let Some((name, wanted)) = entry.headers.iter().find(|(name, wanted)| !has_header(head.headers, name, wanted)) {
        return Some(Mismatch::Header { name: name.clone(), wanted: wanted.describe(), found: header(name) });
    }
    if let Some((name, _)) = entry.without_headers.iter().find(|(name, unwanted)| !lacks_header(head.headers, name, unwanted)) {
        return Some(Mismatch::WithoutHeader { name: name.clone(), found: header(name) });
    }
    entry.query.iter().find(|(name, wanted)| !has_query(head.query, name, wanted)).map(|(name, wanted)| Mismatch::Query {
        name: name.clone(),
        wanted: wanted.describe(),
        found: query_value(head.query, name).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
