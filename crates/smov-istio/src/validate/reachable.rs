//! IST0130 and IST0131: rules and matches that nothing can reach.

use std::collections::BTreeMap;

use super::Findings;
use crate::resource::{HttpMatchRequest, HttpRoute, L4Match, StringMatchSpec};

/// The rules of `http:`.
pub(super) fn check_http(routes: &[HttpRoute], findings: &mut Findings) {
    let name = |index: usize| called(routes[index].name.as_deref(), index);
    let entry_name = |entry: &HttpMatchRequest, index: usize| called(entry.name.as_deref(), index);
    let plain = |entry: &HttpMatchRequest| HttpMatchRequest { name: None, ..entry.clone() };
    let rules: Vec<Vec<HttpMatchRequest>> = routes.iter().map(|route| route.matches.iter().map(plain).collect()).collect();
    let told = |rule: usize, entry: usize| entry_name(&routes[rule].matches[entry], entry);
    check("http", &rules, &name, &told, findings);
    check_prefixes(routes, &name, &told, findings);
}

/// The rules of `tcp:` or `tls:`.
pub(super) fn check_l4<'a>(kind: &str, matches: impl Iterator<Item = &'a [L4Match]>, findings: &mut Findings) {
    let rules: Vec<Vec<L4Match>> = matches.map(<[L4Match]>::to_vec).collect();
    check(kind, &rules, &|index| called(None, index), &|_, index| called(None, index), findings);
}

/// As Istio's messages name a rule or a match.
fn called(name: Option<&str>, index: usize) -> String {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name:?}"),
        None => format!("#{index}"),
    }
}

fn check<M: PartialEq>(
    kind: &str,
    rules: &[Vec<M>],
    name: &dyn Fn(usize) -> String,
    entry_name: &dyn Fn(usize, usize) -> String,
    findings: &mut Findings,
) {
    let mut closed_by: Option<usize> = None;
    let mut seen: Vec<(usize, &M)> = Vec::new();
    for (index, matches) in rules.iter().enumerate() {
        let path = format!("spec.{kind}[{index}]");
        if let Some(first) = closed_by {
            let reason = if matches.is_empty() { "only the last rule can have no matches" } else { "route without matches defined before" };
            let korean = format!("앞의 {kind}[{first}]이(가) 모든 요청을 받으므로 이 규칙은 쓰이지 않습니다");
            unused(&path, &name(index), reason, &korean, findings);
            findings.help("move the rule without `match` to the end", "`match`가 없는 규칙을 맨 끝으로 옮기세요");
            continue;
        }
        if matches.is_empty() {
            closed_by = Some(index);
            continue;
        }
        let mut hidden = 0;
        for (position, entry) in matches.iter().enumerate() {
            match seen.iter().find(|(_, known)| *known == entry) {
                Some((earlier, _)) => {
                    let korean = format!("{kind}[{earlier}]에 같은 조건이 있어 이 match는 쓰이지 않습니다");
                    let at = format!("{path}.match[{position}]");
                    ineffective(&at, &name(index), &entry_name(index, position), &name(*earlier), &korean, findings);
                    hidden += 1;
                }
                None => seen.push((index, entry)),
            }
        }
        if hidden == matches.len() {
            let korean = "앞 규칙들과 조건이 같아 이 규칙은 쓰이지 않습니다";
            unused(&path, &name(index), "all matches used by prior rules", korean, findings);
        }
    }
}

fn unused(path: &str, rule: &str, reason: &str, korean: &str, findings: &mut Findings) {
    findings.warning("IST0130", path, format!("VirtualService rule {rule} not used ({reason})."), korean);
}

fn ineffective(path: &str, rule: &str, entry: &str, earlier: &str, korean: &str, findings: &mut Findings) {
    let message = format!("VirtualService rule {rule} match {entry} is not used (duplicate/overlapping match in rule {earlier}).");
    findings.info("IST0131", path, message, korean);
}

/// A match by prefix, as far as Istio compares them.
struct ByPrefix<'a> {
    rule: usize,
    entry: usize,
    prefix: &'a str,
    port: u32,
    method: String,
    authority: String,
    maps: [BTreeMap<&'a str, String>; 3],
}

/// A prefix that an earlier, shorter one covers, with the same other conditions.
fn check_prefixes(
    routes: &[HttpRoute],
    name: &dyn Fn(usize) -> String,
    entry_name: &dyn Fn(usize, usize) -> String,
    findings: &mut Findings,
) {
    let mut found: Vec<ByPrefix<'_>> = Vec::new();
    // What a rule without match hides is said already.
    for (rule, route) in routes.iter().enumerate().take_while(|(_, route)| !route.matches.is_empty()) {
        for (entry, request) in route.matches.iter().enumerate() {
            found.extend(by_prefix(rule, entry, request));
        }
    }
    for (index, wide) in found.iter().enumerate() {
        for narrow in found[index + 1..].iter().filter(|narrow| narrow.prefix != wide.prefix && covers(wide, narrow)) {
            let path = format!("spec.http[{}].match[{}]", narrow.rule, narrow.entry);
            let entry = format!("{} of prefix {}", entry_name(narrow.rule, narrow.entry), narrow.prefix);
            let earlier = format!("{} of prefix {} on {}", entry_name(wide.rule, wide.entry), wide.prefix, name(wide.rule));
            let korean = format!("http[{}]의 prefix {}가 먼저 받으므로 이 match는 쓰이지 않습니다", wide.rule, wide.prefix);
            ineffective(&path, &name(narrow.rule), &entry, &earlier, &korean, findings);
        }
    }
}

fn by_prefix(rule: usize, entry: usize, request: &HttpMatchRequest) -> Option<ByPrefix<'_>> {
    let prefix = request.uri.as_ref()?.prefix.as_deref().filter(|prefix| !prefix.is_empty())?;
    let text = |spec: Option<&StringMatchSpec>| {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let exact = spec.and_then(|spec| set(&spec.exact)).map(|text| format!("exact:{text}"));
        exact.or_else(|| spec.and_then(|spec| set(&spec.prefix)).map(|text| format!("prefix:{text}"))).unwrap_or_default()
    };
    let method = text(request.method.as_ref());
    Some(ByPrefix {
        rule,
        entry,
        prefix,
        port: request.port.unwrap_or_default(),
        method: if method.is_empty() { "exact:GET".to_owned() } else { method },
        authority: text(request.authority.as_ref()),
        maps: [&request.headers, &request.query_params, &request.without_headers]
            .map(|specs| specs.iter().map(|(name, spec)| (name.as_str(), text(Some(spec)))).collect()),
    })
}

fn covers(wide: &ByPrefix<'_>, narrow: &ByPrefix<'_>) -> bool {
    let same = |(wide, narrow): (&BTreeMap<&str, String>, &BTreeMap<&str, String>)| {
        wide.len() == narrow.len()
            && wide.iter().all(|(name, value)| narrow.get(name).is_some_and(|other| value.starts_with(other.as_str())))
    };
    narrow.prefix.starts_with(wide.prefix)
        && wide.port == narrow.port
        && wide.method.starts_with(&narrow.method)
        && wide.authority.starts_with(&narrow.authority)
        && wide.maps.iter().zip(&narrow.maps).all(same)
}
