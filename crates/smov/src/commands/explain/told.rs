//! An explanation for people: the way of the request from top to bottom.

use std::time::Duration;

use smov_istio::analyze::input::is_documentation;
use smov_istio::explain::{Candidate, Chance, ClusterPolicy, End, Explanation, Odds, Outcome, Question};
use smov_model::cluster::{Discovery, LoadBalancer, OutlierDetection};
use smov_model::record::SkippedRule;
use smov_model::route::{AbortStatus, HashKey, HeaderOperations, Mismatch, Origin, Percent, RetryOn, RoutePolicy};
use smov_model::snapshot::Snapshot;

use super::expect::round;
use super::sheet::Sheet;
use super::{Asked, mtls, policy};
use crate::printer::{self, BOLD, paint};
use crate::text::{self, Language, Text};

/// Prints everything.
pub(super) fn print(question: &Question, asked: &Asked, explanation: &Explanation, language: Language) {
    let headers: Vec<String> = question.header_lines().iter().map(|line| format!(" -H '{line}'")).collect();
    printer::wrapped(&paint(BOLD, &format!("{} {}{}", question.method, question.url(), headers.concat())), 2);
    printer::line("");
    sheet(question, asked, explanation, language).print();
}

fn sheet(question: &Question, asked: &Asked, explanation: &Explanation, language: Language) -> Sheet {
    let say = |text: Text, arguments: &[&str]| language.line(text, arguments);
    let label = |text: Text| language.line(text, &[]);
    let mut sheet = Sheet::default();
    sheet.row(label(text::LABEL_FROM), vec![asked.from.clone()]);
    sheet.row(label(text::LABEL_HOST), host(question, asked, explanation, language));
    if explanation.virtual_host.is_some() {
        sheet.row(label(text::LABEL_RULE), rule(explanation, language));
        sheet.row(label(text::LABEL_PASSED), passed_over(explanation, language));
    }
    if let Some(policy) = &explanation.policy {
        sheet.row(label(text::LABEL_FAULT), fault(policy, language));
        sheet.row(label(text::LABEL_CORS), cors(policy, language));
        sheet.row(label(text::LABEL_REWRITE), rewrite(policy));
        sheet.row(label(text::LABEL_HEADERS), headers(&policy.headers));
    }
    match &explanation.outcome {
        Outcome::Forward { odds } => {
            sheet.row(label(text::LABEL_SPLIT), split(odds, language));
            if let Some(policy) = &explanation.policy {
                sheet.row(label(text::LABEL_HASH), policy.hash.iter().map(hash_key).collect());
                sheet.row(
                    label(text::LABEL_MIRROR),
                    policy
                        .mirrors
                        .iter()
                        .map(|one| format!("{} % → {}", percent(one.share), cluster_label(&one.cluster, language)))
                        .collect(),
                );
            }
            sheet.row(label(text::LABEL_ENDPOINTS), odds.iter().flat_map(|one| endpoints(one, asked, language)).collect());
            sheet.row(label(text::LABEL_BALANCE), common(odds, |policy, _| Some(balancing(policy, language))));
            sheet.row(label(text::LABEL_BREAKER), breakers(odds, asked, language));
            if let Some(policy) = &explanation.policy {
                sheet.row(label(text::LABEL_TIMEOUT), vec![timeout(policy, language)]);
                sheet.row(label(text::LABEL_RETRIES), vec![retries(policy, language)]);
            }
            sheet.row(label(text::LABEL_MTLS), mtls::told(odds, asked, language));
            let mut policies = policy::told(question, asked.into(), explanation, language);
            if !asked.policies.is_empty() {
                policies.push(say(text::POLICY_IN_INPUT, &[&asked.policies.join(", ")]));
            }
            sheet.row(label(text::LABEL_POLICY), policies);
        }
        Outcome::Redirect { .. } | Outcome::DirectResponse { .. } | Outcome::NoRoute | Outcome::UnknownHost { .. } => {
            sheet.row(label(text::LABEL_POLICY), policy::at_the_door(question, asked.into(), language));
        }
    }
    sheet.row(
        label(text::LABEL_ENDS),
        policy::chances(question, asked.into(), explanation).iter().map(|chance| ends(chance, explanation, language)).collect(),
    );
    sheet.row(label(text::LABEL_NOTE), asked.notes.clone());
    sheet
}

fn host(question: &Question, asked: &Asked, explanation: &Explanation, language: Language) -> Vec<String> {
    match &explanation.virtual_host {
        Some(name) => vec![language.line(text::HOST_KNOWN, &[&question.authority, name])],
        None => {
            let mut lines = vec![language.line(text::HOST_UNKNOWN, &[&question.authority, &question.port.to_string()])];
            let ports = ports_of(&asked.snapshot, &question.authority);
            if !ports.is_empty() {
                lines.push(language.line(text::HOST_PORTS, &[&ports.join(", ")]));
            }
            lines
        }
    }
}

/// Ports on which a host would be known.
fn ports_of(snapshot: &Snapshot, authority: &str) -> Vec<String> {
    let tables = snapshot.outbound.iter().chain(&snapshot.ingress);
    tables.filter(|(_, table)| table.host(authority).is_some()).map(|(port, _)| port.to_string()).collect()
}

pub(super) fn origin_words(origin: &Origin, language: Language) -> String {
    let resource = &origin.resource;
    if origin.path.is_empty() {
        return language.line(text::RULE_DEFAULT, &[]);
    }
    let name = if origin.name.is_empty() { String::new() } else { format!(" ({})", origin.name) };
    format!("{}{name}", language.once(text::RULE_TAKEN, &[&resource.kind, &resource.namespace, &resource.name, &origin.path]).trim_end())
}

fn rule(explanation: &Explanation, language: Language) -> Vec<String> {
    let Some(rule) = &explanation.rule else { return language.lines(text::RULE_NONE, &[]) };
    let mut lines = vec![origin_words(&rule.origin, language)];
    // The default route has no conditions that anybody wrote.
    if !rule.origin.path.is_empty() {
        lines.push(if explanation.conditional {
            language.line(text::RULE_ENTRY, &[&rule.entry.to_string()])
        } else {
            language.line(text::RULE_ALL, &[])
        });
    }
    lines
}

fn passed_over(explanation: &Explanation, language: Language) -> Vec<String> {
    let mut lines: Vec<(String, String)> =
        explanation.absent.iter().map(|origin| (origin.path.clone(), language.line(text::SKIPPED_ABSENT, &[]))).collect();
    lines.extend(explanation.skipped.iter().map(|rule| (rule.origin.path.clone(), why_not(rule, language))));
    lines.sort_by_key(|(path, _)| path.strip_prefix("spec.http[").and_then(|rest| rest.trim_end_matches(']').parse::<usize>().ok()));
    lines.into_iter().map(|(path, why)| format!("{path}: {why}")).collect()
}

/// Why a rule did not take a request; several entries, several reasons.
pub(super) fn why_not(rule: &SkippedRule, language: Language) -> String {
    rule.mismatches.iter().map(|mismatch| mismatch_words(mismatch, language)).collect::<Vec<_>>().join("; ")
}

fn mismatch_words(mismatch: &Mismatch, language: Language) -> String {
    let plain = |word: Text, found: &str, wanted: &str| language.line(text::MISMATCH, &[&language.line(word, &[]), found, wanted]);
    let named = |word: Text, name: &str, found: Option<&str>, wanted: &str| {
        let word = language.line(word, &[name]);
        match found {
            Some(found) => language.line(text::MISMATCH, &[&word, &format!("`{found}`"), wanted]),
            None => language.line(text::MISMATCH_ABSENT, &[&word, wanted]),
        }
    };
    match mismatch {
        Mismatch::Uri { wanted, found } => plain(text::WORD_URI, found, wanted),
        Mismatch::Scheme { wanted, found } => plain(text::WORD_SCHEME, found, wanted),
        Mismatch::Method { wanted, found } => plain(text::WORD_METHOD, found, wanted),
        Mismatch::Authority { wanted, found } => plain(text::WORD_AUTHORITY, found, wanted),
        Mismatch::Header { name, wanted, found } => named(text::WORD_HEADER, name, found.as_deref(), wanted),
        Mismatch::Query { name, wanted, found } => named(text::WORD_QUERY, name, found.as_deref(), wanted),
        Mismatch::WithoutHeader { name, found: Some(found) } => language.line(text::MISMATCH_EXCLUDED, &[name, found]),
        Mismatch::WithoutHeader { name, found: None } => language.line(text::MISMATCH_EXCLUDED_ABSENT, &[name]),
    }
}

fn percent(percent: Percent) -> String {
    round(f64::from(percent.millionths()) / 10_000.0)
}

pub(super) fn duration(duration: Duration) -> String {
    match duration.as_micros() {
        micros if micros >= 1_000_000 && micros.is_multiple_of(1_000_000) => format!("{} s", micros / 1_000_000),
        micros if micros >= 1_000 => format!("{} ms", round(micros as f64 / 1_000.0)),
        micros => format!("{micros} µs"),
    }
}

pub(super) fn fault(policy: &RoutePolicy, language: Language) -> Vec<String> {
    let Some(fault) = &policy.fault else { return language.lines(text::FAULT_NONE, &[]) };
    let delay = fault.delay.map(|(share, long)| language.line(text::FAULT_DELAY, &[&percent(share), &duration(long)]));
    let status = |status| match status {
        AbortStatus::Http(status) => status.to_string(),
        AbortStatus::Grpc(status) => format!("gRPC {status}"),
    };
    let abort = fault.abort.map(|(share, with)| language.line(text::FAULT_ABORT, &[&percent(share), &status(with)]));
    delay.into_iter().chain(abort).collect()
}

fn cors(policy: &RoutePolicy, language: Language) -> Vec<String> {
    policy
        .cors
        .iter()
        .map(|cors| {
            let origins = cors.allow_origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            language.line(text::CORS_SAID, &[&origins])
        })
        .collect()
}

fn rewrite(policy: &RoutePolicy) -> Vec<String> {
    let Some(rewrite) = &policy.rewrite else { return Vec::new() };
    let uri = rewrite.uri.as_ref().map(|uri| format!("uri: {uri}"));
    let regex = rewrite.uri_regex.as_ref().map(|(pattern, replacement)| format!("uri: {} → {replacement}", pattern.source()));
    let authority = rewrite.authority.as_ref().map(|authority| format!("authority: {authority}"));
    uri.into_iter().chain(regex).chain(authority).collect()
}

fn headers(operations: &HeaderOperations) -> Vec<String> {
    let mut lines = Vec::new();
    for (side, change) in [("request", &operations.request), ("response", &operations.response)] {
        lines.extend(change.remove.iter().map(|name| format!("{side} − {name}")));
        lines.extend(change.set.iter().map(|(name, value)| format!("{side} = {name}: {value}")));
        lines.extend(change.add.iter().map(|(name, value)| format!("{side} + {name}: {value}")));
    }
    lines
}

fn hash_key(key: &HashKey) -> String {
    match key {
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie { name, ttl, .. } => {
            let issued = ttl.map(|ttl| format!(" (ttl {})", duration(ttl))).unwrap_or_default();
            format!("cookie {name}{issued}")
        }
        HashKey::SourceIp => "source IP".to_owned(),
        HashKey::Query(name) => format!("query {name}"),
    }
}

fn cluster_label(cluster: &smov_model::names::ClusterName, language: Language) -> String {
    let short = cluster.host.as_str().split(".svc.").next().unwrap_or_default();
    let short = short.split('.').next().unwrap_or(short);
    match &cluster.subset {
        Some(subset) => format!("{short} {subset}"),
        None => language.line(text::SPLIT_WHOLE, &[short]),
    }
}

pub(super) fn split(odds: &[Odds], language: Language) -> Vec<String> {
    let arm = |one: &Odds| {
        let trouble = match &one.endpoints {
            None => language.line(text::SPLIT_NC, &[]),
            Some(endpoints) if endpoints.is_empty() && one.is_listed() => language.line(text::SPLIT_UH, &[]),
            Some(_) if odds.len() == 1 => language.line(text::SPLIT_SINGLE, &[]),
            Some(_) => String::new(),
        };
        let share = format!("{:>5} %", round(one.percent()));
        language.once(text::SPLIT_ARM, &[&share, &one.weight.to_string(), &one.total.to_string(), &cluster_label(&one.cluster, language)])
            + "  "
            + &trouble
    };
    odds.iter().map(|one| arm(one).trim_end().to_owned()).collect()
}

fn endpoints(one: &Odds, asked: &Asked, language: Language) -> Vec<String> {
    let name = cluster_label(&one.cluster, language);
    match one.policy.as_ref().map(|policy| &policy.discovery) {
        Some(Discovery::Dns(names)) => {
            let list = names.iter().map(|name| format!("{}:{}", name.host, name.port)).collect::<Vec<_>>().join(", ");
            return vec![format!("{name}: {}", language.line(text::ENDPOINT_DNS, &[&list]))];
        }
        Some(Discovery::OriginalDestination) => return vec![format!("{name}: {}", language.line(text::ENDPOINT_DIALLED, &[]))],
        Some(Discovery::Listed) | None => {}
    }
    let Some(candidates) = one.endpoints.as_ref().filter(|candidates| !candidates.is_empty()) else { return Vec::new() };
    if asked.pods_assumed {
        return vec![format!("{name}: {}", language.line(text::ENDPOINT_ASSUMED, &[]))];
    }
    let several = candidates.iter().any(|candidate| candidate.priority > 0);
    let line = |candidate: &Candidate| {
        let address = if is_documentation(candidate.address.ip()) { String::new() } else { format!("  {}", candidate.address) };
        let health = match candidate.ejected {
            Some(true) => format!("  {}", language.line(text::ENDPOINT_EJECTED, &[])),
            Some(false) => format!("  {}", language.line(text::ENDPOINT_HEALTHY, &[])),
            None => String::new(),
        };
        let cluster = if candidate.kube_cluster == "local" { String::new() } else { format!("  {}", candidate.kube_cluster) };
        let priority = if several {
            format!("  {}", language.line(text::ENDPOINT_PRIORITY, &[&candidate.priority.to_string()]))
        } else {
            String::new()
        };
        format!("{name}: {}{cluster}{address}{health}{priority}", candidate.pod)
    };
    const MOST: usize = 12;
    let mut lines: Vec<String> = candidates.iter().take(MOST).map(line).collect();
    if candidates.len() > MOST {
        lines.push(format!("… +{}", candidates.len() - MOST));
    }
    lines
}

/// A sentence per arm; one for all where they are the same.
fn common(odds: &[Odds], sentence: impl Fn(&ClusterPolicy, &Odds) -> Option<String>) -> Vec<String> {
    let told: Vec<(&Odds, String)> = odds.iter().filter_map(|one| Some((one, sentence(one.policy.as_ref()?, one)?))).collect();
    match told.as_slice() {
        [] => Vec::new(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => vec![first.clone()],
        several => several
            .iter()
            .map(|(one, sentence)| format!("{}: {sentence}", one.cluster.subset.as_ref().map_or("*", |subset| subset.as_str())))
            .collect(),
    }
}

fn balancing(policy: &ClusterPolicy, language: Language) -> String {
    let name = match policy.load_balancer {
        LoadBalancer::LeastRequest => "LEAST_REQUEST".to_owned(),
        LoadBalancer::RoundRobin => "ROUND_ROBIN".to_owned(),
        LoadBalancer::Random => "RANDOM".to_owned(),
        LoadBalancer::RingHash { minimum_size } => format!("RING_HASH ≥ {minimum_size}"),
        LoadBalancer::Maglev { table_size } => format!("MAGLEV {table_size}"),
    };
    let limits = &policy.limits;
    let limit = |value: u32| if value == u32::MAX { "∞".to_owned() } else { value.to_string() };
    let [connections, pending, requests] = [limits.max_connections, limits.max_pending_requests, limits.max_requests].map(limit);
    if [&connections, &pending, &requests].iter().all(|value| *value == "∞") {
        return name;
    }
    format!("{name}; {}", language.line(text::LIMITS_SAID, &[&connections, &pending, &requests]))
}

fn breakers(odds: &[Odds], asked: &Asked, language: Language) -> Vec<String> {
    common(odds, |policy, one| {
        let Some(outlier) = &policy.outlier else { return Some(language.line(text::BREAKER_NONE, &[])) };
        let count = one.endpoints.as_ref().map_or(0, Vec::len);
        let mut sentence = breaker(outlier, language);
        if !asked.pods_assumed && count > 0 && 100 > usize::from(outlier.max_ejection_percent) * count {
            sentence = format!("{sentence}. {}", language.line(text::BREAKER_NEVER, &[&count.to_string()]));
        }
        Some(sentence)
    })
}

fn breaker(outlier: &OutlierDetection, language: Language) -> String {
    let count = |value: u32| if value == 0 { "–".to_owned() } else { value.to_string() };
    let [any, gateway] = [outlier.consecutive_5xx, outlier.consecutive_gateway_errors].map(count);
    language.line(text::BREAKER_SAID, &[&any, &gateway, &duration(outlier.base_ejection_time), &outlier.max_ejection_percent.to_string()])
}

pub(super) fn timeout(policy: &RoutePolicy, language: Language) -> String {
    policy.timeout.map_or_else(|| language.line(text::TIMEOUT_NONE, &[]), |limit| language.line(text::TIMEOUT_SAID, &[&duration(limit)]))
}

pub(super) fn retries(policy: &RoutePolicy, language: Language) -> String {
    let Some(retry) = &policy.retry else { return language.line(text::RETRIES_NONE, &[]) };
    let said = language.line(text::RETRIES_SAID, &[&retry.attempts.to_string(), &retry_on(&retry.on)]);
    match retry.per_try_timeout {
        Some(limit) => format!("{said}; {}", language.line(text::RETRIES_PER_TRY, &[&duration(limit)])),
        None => said,
    }
}

fn retry_on(on: &RetryOn) -> String {
    let words = on.words().map(str::to_owned);
    words.chain(on.status_codes.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
}

/// What else of a rule acts on a request, for comparisons: rewrites, headers, CORS, copies, stickiness, breakers and limits.
pub(super) fn rest(policy: &RoutePolicy, explanation: &Explanation, language: Language) -> Vec<String> {
    let mut lines = rewrite(policy);
    lines.extend(headers(&policy.headers));
    lines.extend(cors(policy, language));
    lines.extend(policy.mirrors.iter().map(|one| format!("mirror {} % → {}", percent(one.share), cluster_label(&one.cluster, language))));
    lines.extend(policy.hash.iter().map(hash_key));
    if let Outcome::Forward { odds } = &explanation.outcome {
        lines.extend(common(odds, |policy, _| Some(balancing(policy, language))));
        lines.extend(common(odds, |policy, _| policy.outlier.as_ref().map(|outlier| breaker(outlier, language))));
    }
    lines
}

/// One way in which the request may end.
pub(super) fn ends(chance: &Chance, explanation: &Explanation, language: Language) -> String {
    let what = match &chance.end {
        End::Cluster { cluster, .. } => language.line(text::ENDS_CLUSTER, &[&cluster_label(cluster, language)]),
        End::Passthrough => language.line(text::ENDS_PASSTHROUGH, &[]),
        End::Status { status, flag } => {
            let flag = flag.map(|flag| format!(" {}", flag.as_str())).unwrap_or_default();
            let more = match &explanation.outcome {
                Outcome::Redirect { redirect } if flag.is_empty() => {
                    let place = [&redirect.scheme, &redirect.authority, &redirect.uri, &redirect.prefix_rewrite].into_iter().flatten();
                    format!(" → {}", place.cloned().collect::<Vec<_>>().join(" "))
                }
                _ => String::new(),
            };
            format!("{status}{flag}{more}")
        }
    };
    format!("{:>5} %  {what}", round(chance.percent))
}
