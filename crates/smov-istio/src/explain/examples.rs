//! Requests that stand for the matches of a proxy's rules: one per match entry, and a plain one per host.

use http::{HeaderMap, HeaderName, HeaderValue};
use smov_model::names::HostPattern;
use smov_model::route::{RouteMatch, ValueMatch, VirtualHost};
use smov_model::snapshot::Snapshot;
use smov_model::text::StringMatch;

use super::Question;
use crate::world::Role;

/// A request made up for a match entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The request.
    pub question: Question,
    /// Does the entry that it was made for take it? Not where only a pattern says what is wanted and no text for it was found.
    pub fits: bool,
}

/// Examples for every host and match of a snapshot, in order, without repetition.
pub fn examples(snapshot: &Snapshot, role: Role) -> Vec<Example> {
    let tables = match role {
        Role::Sidecar => &snapshot.outbound,
        Role::Gateway => &snapshot.ingress,
    };
    let mut found: Vec<Example> = Vec::new();
    for (port, table) in tables {
        for host in &table.hosts {
            let Some(name) = host_name(host) else { continue };
            let plain = Question {
                method: "GET".to_owned(),
                scheme: "http".to_owned(),
                authority: if port.number() == 80 { name.clone() } else { format!("{name}:{port}") },
                port: *port,
                path: "/".to_owned(),
                query: None,
                headers: HeaderMap::new(),
            };
            let entries = host.rules.iter().flat_map(|rule| &rule.matches);
            let made = entries.map(|entry| {
                let question = fitting(&plain, entry);
                Example { fits: entry.matches(&question.head()), question }
            });
            for example in std::iter::once(Example { question: plain.clone(), fits: true }).chain(made.collect::<Vec<_>>()) {
                if !found.iter().any(|known| known.question == example.question) {
                    found.push(example);
                }
            }
        }
    }
    found
}

/// A short name where a Service has one in the caller's own namespace; one label below a wildcard.
fn host_name(host: &VirtualHost) -> Option<String> {
    let names = host.domains.iter().map(|domain| match domain {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Suffix(suffix) => format!("any.{suffix}"),
        HostPattern::Any => "any.example.com".to_owned(),
    });
    // Addresses are names too, but nobody reads them.
    names.filter(|name| name.parse::<std::net::IpAddr>().is_err()).min_by_key(String::len)
}

fn fitting(plain: &Question, entry: &RouteMatch) -> Question {
    let mut question = plain.clone();
    if let Some(uri) = &entry.uri {
        let path = sample(uri);
        question.path = if path.starts_with('/') { path } else { format!("/{path}") };
    }
    if let Some(method) = &entry.method {
        question.method = sample(method);
    }
    if let Some(scheme) = &entry.scheme {
        question.scheme = sample(scheme);
    }
    if let Some(authority) = &entry.authority {
        question.authority = sample(authority);
    }
    for (name, wanted) in &entry.headers {
        let value = value(wanted);
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            question.headers.append(name, value);
        }
    }
    let query: Vec<String> = entry.query.iter().map(|(name, wanted)| format!("{name}={}", value(wanted))).collect();
    if !query.is_empty() {
        question.query = Some(query.join("&"));
    }
    question
}

fn value(wanted: &ValueMatch) -> String {
    match wanted {
        ValueMatch::Present => "any".to_owned(),
        ValueMatch::Value(wanted) => sample(wanted),
    }
}

fn sample(wanted: &StringMatch) -> String {
    match wanted {
        StringMatch::Exact(text) | StringMatch::Prefix(text) => text.clone(),
        StringMatch::Regex(pattern) => simplest(pattern.source()),
    }
}

/// A text that a simple pattern may match: `.` becomes a letter, `*` and `?` leave away, `+` keeps, of alternatives the first, of a set
/// its first letter. Whether it fits is asked afterwards.
fn simplest(pattern: &str) -> String {
    let mut text = String::new();
    let mut rest = pattern.trim_start_matches('^').trim_end_matches('$').chars().peekable();
    let mut depth = 0_usize;
    while let Some(character) = rest.next() {
        let one = match character {
            '(' => {
                depth += 1;
                if rest.peek() == Some(&'?') {
                    // `(?i)`, `(?:`.
                    while !matches!(rest.next(), None | Some(':' | ')')) {}
                }
                continue;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                continue;
            }
            '|' => {
                // Only the first alternative: skip to the end of the group, or of the pattern.
                let mut inner = 0_usize;
                while let Some(next) = rest.peek() {
                    match next {
                        '(' => inner += 1,
                        ')' if inner == 0 => break,
                        ')' => inner -= 1,
                        _ => {}
                    }
                    rest.next();
                }
                continue;
            }
            '.' => 'a',
            '[' => {
                let mut first = 'a';
                let negated = rest.peek() == Some(&'^');
                if !negated {
                    first = rest.peek().copied().unwrap_or('a');
                }
                while !matches!(rest.next(), None | Some(']')) {}
                first
            }
            '\\' => match rest.next() {
                Some('d') => '1',
                Some('w') => 'a',
                Some('s') => ' ',
                Some(other) => other,
                None => break,
            },
            '^' | '$' => continue,
            other => other,
        };
        match rest.peek() {
            Some('*' | '?') => {
                rest.next();
            }
            Some('+') => {
                rest.next();
                text.push(one);
            }
            _ => text.push(one),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use smov_model::text::Pattern;

    #[test]
    fn simple_patterns_have_a_text_that_they_match() {
        for pattern in ["/users/[0-9]+", "^/(movies|films)/.*$", "true|yes", "/v\\d/.+", "(?i)abc", "a?b", ".*"] {
            let wanted = StringMatch::Regex(Pattern::new(pattern).unwrap());
            assert!(wanted.matches(&sample(&wanted)), "{pattern}: {}", sample(&wanted));
        }
    }
}
