//! Rewrites of path and host, and redirects.

use std::borrow::Cow;

use http::HeaderValue;
use http::uri::PathAndQuery;
use regex::Regex;
use smov_model::route::{Redirect, RedirectPort, Rewrite, RouteMatch};
use smov_model::text::StringMatch;

use super::split_port;

/// A rewrite with its expression and host ready.
#[derive(Debug)]
pub(crate) struct RewritePlan {
    uri: Option<String>,
    regex: Option<(Regex, String)>,
    pub(crate) authority: Option<HeaderValue>,
}

impl RewritePlan {
    pub(crate) fn compile(rewrite: &Rewrite) -> Self {
        let regex = rewrite.uri_regex.as_ref().and_then(|(pattern, replacement)| {
            // The pattern compiled once already, where it was read.
            Some((Regex::new(pattern.source()).ok()?, groups(replacement)))
        });
        Self { uri: rewrite.uri.clone(), regex, authority: rewrite.authority.as_ref().and_then(|authority| authority.parse().ok()) }
    }

    /// The new path; `taken` is the match entry that took the request. The query stays.
    pub(crate) fn path(&self, path: &PathAndQuery, taken: Option<&RouteMatch>) -> Option<PathAndQuery> {
        let old = path.path();
        let new: Cow<'_, str> = match (&self.uri, &self.regex) {
            (Some(uri), _) => replaced(uri, old, taken).into(),
            (None, Some((regex, replacement))) => regex.replace_all(old, replacement.as_str()),
            (None, None) => return None,
        };
        with_query(&new, path.query()).parse().ok()
    }
}

/// RE2's `\1` as `${1}`, and a literal `$` kept literal.
fn groups(replacement: &str) -> String {
    let mut text = String::with_capacity(replacement.len() + 4);
    let mut letters = replacement.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(digit) if digit.is_ascii_digit() => text.extend(["${", digit.to_string().as_str(), "}"]),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            '$' => text.push_str("$$"),
            other => text.push(other),
        }
    }
    text
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// The `Location` of a redirect. `taken` is the match entry that took the request, `listener` the port that it came for.
pub(crate) fn location(redirect: &Redirect, authority: &str, path: &PathAndQuery, taken: Option<&RouteMatch>, listener: u16) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or("http");
    let new_port = match redirect.port {
        Some(RedirectPort::Fixed(port)) => Some(port.number()),
        Some(RedirectPort::OfListener) => Some(listener),
        Some(RedirectPort::OfScheme) | None => None,
    };
    // Istio never writes the port that the scheme has anyway; then it is as if none were asked for.
    let new_port = new_port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
    let host = redirect.authority.as_deref().unwrap_or_else(|| match split_port(authority) {
        // The request's own port stays, unless another is asked for or the scheme that it is the port of goes.
        (host, Some(port)) if new_port.is_some() || (scheme != "http" && port == "80") => host,
        _ => authority,
    });
    let port = new_port.map(|port| format!(":{port}")).unwrap_or_default();
    let target = match (&redirect.uri, &redirect.prefix_rewrite) {
        (Some(uri), _) if uri.contains('?') => uri.clone(),
        (Some(uri), _) => with_query(uri, path.query()),
        (None, Some(prefix)) => with_query(&replaced(prefix, path.path(), taken), path.query()),
        (None, None) => path.as_str().to_owned(),
    };
    format!("{scheme}://{host}{port}{target}")
}

/// The path with what the rule matched replaced: the prefix, the whole path, or without `uri` match the leading `/`.
fn replaced(new: &str, path: &str, taken: Option<&RouteMatch>) -> String {
    match taken.and_then(|entry| entry.uri.as_ref()) {
        Some(StringMatch::Prefix(prefix)) => format!("{new}{}", path.get(prefix.len()..).unwrap_or_default()),
        Some(StringMatch::Exact(_) | StringMatch::Regex(_)) => new.to_owned(),
        None => format!("{new}{}", path.strip_prefix('/').unwrap_or(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smov_model::text::Pattern;

    fn entry(uri: StringMatch) -> RouteMatch {
        RouteMatch { uri: Some(uri), ..RouteMatch::default() }
    }

    fn rewritten(rewrite: &Rewrite, path: &'static str, taken: Option<&RouteMatch>) -> String {
        RewritePlan::compile(rewrite).path(&PathAndQuery::from_static(path), taken).unwrap().to_string()
    }

    #[test]
    fn a_prefix_is_replaced_textually_and_the_query_kept() {
        let rewrite = Rewrite { uri: Some("/".into()), ..Rewrite::default() };
        assert_eq!(rewritten(&rewrite, "/v2/users?a=1", Some(&entry(StringMatch::Prefix("/v2".into())))), "//users?a=1");
        assert_eq!(rewritten(&rewrite, "/v2/users", Some(&entry(StringMatch::Prefix("/v2/".into())))), "/users");
        assert_eq!(rewritten(&rewrite, "/v2/users", Some(&entry(StringMatch::Exact("/v2/users".into())))), "/");
        let prefix = Rewrite { uri: Some("/api/".into()), ..Rewrite::default() };
        assert_eq!(rewritten(&prefix, "/users", None), "/api/users");
    }

    #[test]
    fn a_regex_rewrites_all_occurrences_with_groups() {
        let rewrite = Rewrite { uri_regex: Some((Pattern::new("/u([0-9]+)").unwrap(), "/user$\\1".into())), ..Rewrite::default() };
        assert_eq!(rewritten(&rewrite, "/u1/u22?x=/u3", None), "/user$1/user$22?x=/u3");
    }

    #[test]
    fn redirects_are_those_of_envoy_as_istio_configures_it() {
        let plain = Redirect { code: 301, uri: None, authority: None, scheme: None, port: None, prefix_rewrite: None };
        let fixed = |port: u32| Some(RedirectPort::Fixed(port.try_into().unwrap()));
        let https = Some("https".to_owned());
        let prefix = entry(StringMatch::Prefix("/a".into()));
        for (redirect, asked, expected) in [
            (plain.clone(), "shop:8081", "http://shop:8081/a/b?c=1"),
            (Redirect { scheme: https.clone(), ..plain.clone() }, "shop:8081", "https://shop:8081/a/b?c=1"),
            (Redirect { scheme: https.clone(), ..plain.clone() }, "shop:80", "https://shop/a/b?c=1"),
            (Redirect { scheme: https.clone(), port: fixed(8443), ..plain.clone() }, "shop:8081", "https://shop:8443/a/b?c=1"),
            // Istio leaves the scheme's own port out, and then the request's stays.
            (Redirect { scheme: https, port: fixed(443), ..plain.clone() }, "shop", "https://shop/a/b?c=1"),
            (Redirect { port: fixed(80), ..plain.clone() }, "shop:8081", "http://shop:8081/a/b?c=1"),
            (Redirect { port: Some(RedirectPort::OfScheme), ..plain.clone() }, "shop:8081", "http://shop:8081/a/b?c=1"),
            (Redirect { port: Some(RedirectPort::OfListener), ..plain.clone() }, "shop", "http://shop:8082/a/b?c=1"),
            (Redirect { authority: Some("other".into()), uri: Some("/x".into()), ..plain.clone() }, "shop:8081", "http://other/x?c=1"),
            (Redirect { authority: Some("other".into()), port: fixed(99), ..plain.clone() }, "shop:8081", "http://other:99/a/b?c=1"),
            (Redirect { uri: Some("/x?y=1".into()), ..plain.clone() }, "[::1]:8081", "http://[::1]:8081/x?y=1"),
            (Redirect { prefix_rewrite: Some("/p2".into()), ..plain }, "shop", "http://shop/p2/b?c=1"),
        ] {
            let path = PathAndQuery::from_static("/a/b?c=1");
            assert_eq!(location(&redirect, asked, &path, Some(&prefix), 8082), expected, "{redirect:?}");
        }
    }
}
