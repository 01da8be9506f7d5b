//! Rewrites of path and host, and redirects.

use std::borrow::Cow;

use http::HeaderValue;
use http::uri::PathAndQuery;
use regex::Regex;
use smov_model::route::{Redirect, RedirectPort, Rewrite, RouteMatch};
use smov_model::text::StringMatch;

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
            (Some(uri), _) => match taken.and_then(|entry| entry.uri.as_ref()) {
                Some(StringMatch::Prefix(prefix)) => format!("{uri}{}", old.get(prefix.len()..).unwrap_or_default()).into(),
                Some(StringMatch::Exact(_) | StringMatch::Regex(_)) => uri.as_str().into(),
                None => format!("{uri}{}", old.strip_prefix('/').unwrap_or(old)).into(),
            },
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

/// The `Location` of a redirect.
pub(crate) fn location(redirect: &Redirect, authority: &str, path: &PathAndQuery) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or("http");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.parse::<u16>().ok()),
        _ => (authority, None),
    };
    let host = redirect.authority.as_deref().unwrap_or(host);
    // A new host brings its own port, if any.
    let port = match redirect.port {
        Some(RedirectPort::Fixed(port)) => Some(port.number()),
        Some(RedirectPort::OfScheme) => None,
        Some(RedirectPort::OfListener) | None if redirect.authority.is_some() => None,
        Some(RedirectPort::OfListener) | None => port,
    };
    let default = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
    let port = port.filter(|_| !default).map(|port| format!(":{port}")).unwrap_or_default();
    let target = match &redirect.uri {
        Some(uri) if uri.contains('?') => uri.clone(),
        Some(uri) => with_query(uri, path.query()),
        None => path.as_str().to_owned(),
    };
    format!("{scheme}://{host}{port}{target}")
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
    fn redirects_keep_what_they_do_not_change() {
        let redirect = Redirect { code: 301, uri: None, authority: None, scheme: None, port: None, prefix_rewrite: None };
        let path = PathAndQuery::from_static("/a?b=1");
        assert_eq!(location(&redirect, "shop:8081", &path), "http://shop:8081/a?b=1");
        let https = Redirect { scheme: Some("https".into()), port: Some(RedirectPort::Fixed(443.try_into().unwrap())), ..redirect.clone() };
        assert_eq!(location(&https, "shop:8081", &path), "https://shop/a?b=1");
        let other = Redirect { authority: Some("other".into()), uri: Some("/x".into()), ..redirect };
        assert_eq!(location(&other, "shop:8081", &path), "http://other/x?b=1");
    }
}
