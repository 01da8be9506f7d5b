//! Comparing what came of a request with what the case expects.

use std::collections::BTreeMap;
use std::fmt::Display;

use smov_istio::diagnostic::Diagnostic;
use smov_model::authorization::{AuthorizationTaken, Told, Verdict};
use smov_model::record::{Record, RefusedConnection};
use smov_theatre::echo::Received;

use crate::case::matcher::Matcher;
use crate::case::{Expect, Finding, Seen};
use crate::chance;
use crate::client::Reply;
use crate::plane::PlaneName;
use crate::report::{Failure, What};

/// Everything that is known about one request entry after it was sent.
pub(crate) struct Played<'a> {
    pub(crate) replies: &'a [Reply],
    pub(crate) records: &'a [Option<Record>],
    /// What each pod got.
    pub(crate) received: &'a BTreeMap<String, Vec<Received>>,
    /// What pods' proxies did not serve, since the case began.
    pub(crate) refused: &'a BTreeMap<String, Vec<RefusedConnection>>,
    /// What the policies at each proxy said to these requests.
    pub(crate) decided: &'a BTreeMap<String, Vec<AuthorizationTaken>>,
    pub(crate) plane: PlaneName,
}

/// Could it still turn out right a moment later? Records and mirrored requests follow the answer.
pub(crate) fn may_come_later(what: What) -> bool {
    matches!(
        what,
        What::Flags
            | What::Rule
            | What::Cluster
            | What::Attempts
            | What::Security
            | What::Principal
            | What::Failure
            | What::Refused
            | What::Decided
            | What::Received
            | What::SeenMethod
            | What::SeenPath
            | What::SeenHost
            | What::SeenHeader
            | What::SeenBody
    )
}

struct Bench {
    failures: Vec<Failure>,
}

impl Bench {
    fn fail(&mut self, what: What, of: &str, expected: &dyn Display, seen: &dyn Display, reason: &str) {
        let known = |failure: &Failure| failure.what == what && failure.of == of;
        // One of a hundred equal failures says enough.
        if !self.failures.iter().any(known) {
            let (expected, seen) = (expected.to_string(), seen.to_string());
            self.failures.push(Failure { request: None, what, of: of.to_owned(), expected, seen, reason: reason.to_owned() });
        }
    }

    fn text(&mut self, what: What, of: &str, matcher: &Matcher, values: &[&str], reason: &str) {
        if !matcher.fits(values) {
            let seen = if values.is_empty() { "(absent)".to_owned() } else { shorten(&values.join(",")) };
            self.fail(what, of, &matcher, &seen, reason);
        }
    }
}

fn shorten(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// All that is not as expected.
pub(crate) fn judge(expect: &Expect, played: &Played<'_>) -> Vec<Failure> {
    let mut bench = Bench { failures: Vec::new() };
    for (reply, record) in played.replies.iter().zip(played.records) {
        let reason = record.as_ref().map(story).or_else(|| reply.error.clone()).unwrap_or_default();
        judge_reply(&mut bench, expect, reply, &reason);
        judge_record(&mut bench, expect, record.as_ref(), &reason);
    }
    let reason = played.records.iter().flatten().next_back().map(story).unwrap_or_default();
    judge_received(&mut bench, expect, played, &reason);
    judge_refused(&mut bench, expect, played);
    judge_decided(&mut bench, expect, played);
    judge_all(&mut bench, expect, played, &reason);
    bench.failures
}

fn judge_reply(bench: &mut Bench, expect: &Expect, reply: &Reply, reason: &str) {
    if let Some(allowed) = &expect.status
        && !allowed.0.contains(&reply.status)
    {
        let seen = match (&reply.error, reply.status) {
            (Some(error), 0) => error.clone(),
            (_, status) => status.to_string(),
        };
        bench.fail(What::Status, "", &words(&allowed.0), &seen, reason);
    }
    if let Some(body) = &expect.body {
        bench.text(What::Body, "", body, &[reply.body.as_str()], reason);
    }
    for (name, matcher) in &expect.headers {
        bench.text(What::Header, name, matcher, &reply.values(name), reason);
    }
    if let Some(allowed) = &expect.pod {
        let pod = pod_of(reply);
        if !allowed.0.iter().any(|one| one == pod) {
            bench.fail(What::Pod, "", &words(&allowed.0), &pod, reason);
        }
    }
    if let Some(span) = &expect.took
        && !span.holds(reply.took)
    {
        bench.fail(What::Took, "", &span, &format!("{} ms", reply.took.as_millis()), reason);
    }
}

/// The pod that answered, or `none`.
fn pod_of(reply: &Reply) -> &str {
    reply.values("x-pod-name").first().copied().unwrap_or("none")
}

fn words(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

fn judge_record(bench: &mut Bench, expect: &Expect, record: Option<&Record>, reason: &str) {
    let mut compare = |what: What, expected: &Option<String>, seen: fn(&Record) -> String| {
        if let Some(expected) = expected {
            let seen = record.map_or_else(|| "(no record)".to_owned(), seen);
            if seen != *expected {
                bench.fail(what, "", &expected, &seen, reason);
            }
        }
    };
    compare(What::Flags, &expect.flags, |record| record.flags.to_string());
    compare(What::Rule, &expect.rule, rule_of);
    compare(What::Cluster, &expect.cluster, |record| record.cluster.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
    compare(What::Security, &expect.security, |record| record.security.as_str().to_owned());
    compare(What::Principal, &expect.principal, |record| record.peer_principal.clone().unwrap_or_else(|| "none".to_owned()));
    compare(What::Attempts, &expect.attempts.map(|attempts| attempts.to_string()), |record| record.attempts.len().to_string());
    if let Some(matcher) = &expect.failure {
        let failure = record.and_then(|record| record.attempts.last()?.reason.as_deref());
        bench.text(What::Failure, "", matcher, &failure.into_iter().collect::<Vec<_>>(), reason);
    }
}

/// What the pods' proxies did not serve.
fn judge_refused(bench: &mut Bench, expect: &Expect, played: &Played<'_>) {
    for (pod, wanted) in &expect.refused {
        let all = played.refused.get(pod).map(Vec::as_slice).unwrap_or_default();
        let is_like = |refused: &RefusedConnection| {
            let name: Vec<&str> = refused.server_name.as_deref().into_iter().collect();
            wanted.reason.as_ref().is_none_or(|matcher| matcher.fits(&[&refused.reason]))
                && wanted.server_name.as_ref().is_none_or(|matcher| matcher.fits(&name))
        };
        if !all.iter().any(is_like) {
            let told = |refused: &RefusedConnection| format!("{} ({})", refused.reason, refused.server_name.as_deref().unwrap_or("-"));
            let seen = all.iter().map(told).collect::<Vec<_>>().join(" | ");
            let expected: Vec<String> = [&wanted.reason, &wanted.server_name].into_iter().flatten().map(ToString::to_string).collect();
            bench.fail(What::Refused, pod, &expected.join(", "), &shorten(&seen), "");
        }
    }
}

/// What the policies at pods' proxies said.
fn judge_decided(bench: &mut Bench, expect: &Expect, played: &Played<'_>) {
    for (pod, wanted) in &expect.decided {
        let said: Vec<String> = played.decided.get(pod).into_iter().flatten().map(decided).collect();
        let wrong = said.iter().find(|said| !wanted.fits(&[said.as_str()]));
        if said.is_empty() {
            bench.text(What::Decided, pod, wanted, &[], "");
        } else if let Some(wrong) = wrong {
            bench.text(What::Decided, pod, wanted, &[wrong.as_str()], "");
        }
    }
}

fn decided(taken: &AuthorizationTaken) -> String {
    let Told { verdict, rule, policies } = &taken.decision;
    match (verdict, rule) {
        (Verdict::Denied, Some(rule)) => format!("denied {} {}", rule.resource.name, rule.path),
        (Verdict::Denied, None) => "denied".to_owned(),
        (Verdict::NotAllowed, _) => {
            let names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
            format!("not allowed by {}", names.join(","))
        }
        (Verdict::Open | Verdict::Allowed, _) => "passed".to_owned(),
    }
}

fn rule_of(record: &Record) -> String {
    record.rule.as_ref().map_or_else(|| "-".to_owned(), |rule| format!("{} {}", rule.origin.resource.name, rule.origin.path))
}

fn judge_received(bench: &mut Bench, expect: &Expect, played: &Played<'_>, reason: &str) {
    if let Some(counts) = &expect.received {
        for (pod, received) in played.received {
            let (seen, wanted) = (received.len() as u64, counts.get(pod));
            if !wanted.map_or(seen == 0, |count| count.holds(seen)) {
                bench.fail(What::Received, pod, &wanted.map_or_else(|| "0".to_owned(), ToString::to_string), &seen, reason);
            }
        }
        for pod in counts.keys().filter(|pod| !played.received.contains_key(*pod)) {
            bench.fail(What::Received, pod, &"a pod of the case", &"(no such pod)", reason);
        }
    }
    if let Some(seen) = &expect.seen {
        let all: Vec<&Received> = played.received.values().flatten().collect();
        if all.is_empty() {
            bench.fail(What::Received, "", &"1..", &0, reason);
        }
        all.into_iter().for_each(|received| judge_seen(bench, "", seen, received, reason));
    }
    for (pod, seen) in &expect.seen_by {
        let all = played.received.get(pod).map(Vec::as_slice).unwrap_or_default();
        if all.is_empty() {
            bench.fail(What::Received, pod, &"1..", &0, reason);
        }
        all.iter().for_each(|received| judge_seen(bench, pod, seen, received, reason));
    }
}

fn judge_seen(bench: &mut Bench, pod: &str, expect: &Seen, received: &Received, reason: &str) {
    let host = if received.host.is_empty() { Vec::new() } else { vec![received.host.as_str()] };
    let fields = [
        (What::SeenMethod, &expect.method, vec![received.method.as_str()]),
        (What::SeenPath, &expect.path, vec![received.target.as_str()]),
        (What::SeenHost, &expect.host, host),
        (What::SeenBody, &expect.body, vec![received.body.as_str()]),
    ];
    for (what, matcher, values) in fields {
        if let Some(matcher) = matcher {
            bench.text(what, pod, matcher, &values, reason);
        }
    }
    for (name, matcher) in &expect.headers {
        let values: Vec<&str> = received.values(name).collect();
        let of = if pod.is_empty() { name.clone() } else { format!("{pod} {name}") };
        bench.text(What::SeenHeader, &of, matcher, &values, reason);
    }
}

/// What is judged over all of `times`.
fn judge_all(bench: &mut Bench, expect: &Expect, played: &Played<'_>, reason: &str) {
    let mut pods: BTreeMap<&str, u64> = BTreeMap::new();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for reply in played.replies {
        *pods.entry(pod_of(reply)).or_default() += 1;
        *statuses.entry(reply.status).or_default() += 1;
    }
    let all = played.replies.len() as u64;
    if let Some(shares) = &expect.shares {
        let total: u32 = shares.values().sum();
        for (pod, share) in shares {
            let (low, high) = chance::interval(all, f64::from(*share) / f64::from(total.max(1)));
            let seen = pods.get(pod.as_str()).copied().unwrap_or(0);
            if !(low..=high).contains(&seen) {
                bench.fail(What::Shares, pod, &format!("{low}..{high}"), &seen, reason);
            }
        }
        for (pod, seen) in pods.iter().filter(|(pod, _)| !shares.contains_key(**pod)) {
            bench.fail(What::Shares, pod, &0, &seen, reason);
        }
    }
    if let (Some(seeded), PlaneName::Smov) = (&expect.seeded, played.plane) {
        for (pod, count) in seeded {
            let seen = pods.get(pod.as_str()).copied().unwrap_or(0);
            if seen != u64::from(*count) {
                bench.fail(What::Seeded, pod, &count, &seen, reason);
            }
        }
    }
    if let Some(counts) = &expect.statuses {
        for (status, count) in counts {
            let seen = statuses.get(status).copied().unwrap_or(0);
            if !count.holds(seen) {
                bench.fail(What::Statuses, &status.to_string(), &count, &seen, reason);
            }
        }
        for (status, seen) in statuses.iter().filter(|(status, _)| !counts.contains_key(status)) {
            bench.fail(What::Statuses, &status.to_string(), &0, &seen, reason);
        }
    }
    if let Some(count) = expect.connections {
        let connections = |(pod, all): (&String, &Vec<Received>)| all.iter().map(|one| (pod.clone(), one.connection)).collect::<Vec<_>>();
        let all: std::collections::BTreeSet<_> = played.received.iter().flat_map(connections).collect();
        if !count.holds(all.len() as u64) {
            bench.fail(What::Connections, "", &count, &all.len(), reason);
        }
    }
    if let Some(count) = expect.pods {
        let seen = pods.keys().filter(|pod| **pod != "none").count() as u64;
        if !count.holds(seen) {
            bench.fail(What::Pods, "", &count, &seen, reason);
        }
    }
}

/// A record in one line, in the mesh's own words.
fn story(record: &Record) -> String {
    let mut parts = vec![format!("rule {}", rule_of(record))];
    for skipped in &record.skipped {
        let why: Vec<String> = skipped.mismatches.iter().map(|mismatch| serde_json::to_string(mismatch).unwrap_or_default()).collect();
        parts.push(format!("not {} ({})", skipped.origin.path, why.join("; ")));
    }
    if let Some(cluster) = &record.cluster {
        parts.push(cluster.to_string());
    }
    for attempt in &record.attempts {
        let pod = attempt.pod.as_deref().unwrap_or("no endpoint");
        let reason = attempt.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        parts.push(format!("{pod} {}{reason}", attempt.status));
    }
    parts.push(format!("{} {}", record.status, record.flags));
    parts.join(" → ")
}

fn fits(expected: &Finding, finding: &Diagnostic) -> bool {
    expected.code.as_ref().is_none_or(|code| finding.code == code.as_str())
        && expected.resource.as_ref().is_none_or(|name| finding.resource.name == *name)
        && expected.path.as_ref().is_none_or(|path| finding.path == *path)
        && expected.message.as_ref().is_none_or(|part| finding.message.contains(part))
}

/// Every expected finding is there, and no error that nobody expects.
pub(crate) fn rejected(expected: &[Finding], errors: &[&Diagnostic]) -> Vec<Failure> {
    let mut failures = found(What::Rejected, expected, errors);
    for error in errors.iter().filter(|error| !expected.iter().any(|one| fits(one, error))) {
        let seen = format!("{}: {} [{}]", error.path, error.message, error.code);
        failures.push(Failure {
            request: None,
            what: What::NotRejected,
            of: error.resource.name.clone(),
            expected: String::new(),
            seen,
            reason: String::new(),
        });
    }
    failures
}

/// Every expected finding is there.
pub(crate) fn found(what: What, expected: &[Finding], findings: &[&Diagnostic]) -> Vec<Failure> {
    let told = || {
        findings.iter().map(|finding| format!("{}: {} [{}]", finding.path, finding.message, finding.code)).collect::<Vec<_>>().join(" | ")
    };
    let missing = expected.iter().filter(|one| !findings.iter().any(|finding| fits(one, finding)));
    let failure = |one: &Finding| {
        let seen = if findings.is_empty() { "-".to_owned() } else { told() };
        Failure { request: None, what, of: String::new(), expected: one.to_string(), seen, reason: String::new() }
    };
    missing.map(failure).collect()
}
