//! The rows about AuthorizationPolicies: who lets the request in, and which line decides. By the function that decides on the wire.

use serde_json::{Value, json};
use smov_istio::explain::{Chance, ClusterSecurity, End, Explanation, Odds, Outcome, Question, ServerSide, authorized_at_gateway};
use smov_istio::world::Role;
use smov_model::authorization::{AuthorizationTaken, Told, Verdict};
use smov_model::snapshot::Snapshot;

use super::{Asked, mtls};
use crate::text::{self, Language};

/// From where a visitor of a gateway is taken to come: from this machine.
const VISITOR: ([u8; 4], u16) = ([127, 0, 0, 1], 80);

/// Whose proxy is asked about, and whom it calls.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) role: Role,
    /// How the caller's connections are secured, by cluster.
    pub(crate) security: &'a [ClusterSecurity],
    /// Does nobody say where sidecars are, as in files?
    pub(crate) sidecars_assumed: bool,
}

impl<'a> From<&'a Asked> for Scene<'a> {
    fn from(asked: &'a Asked) -> Self {
        let Asked { snapshot, role, security, source, .. } = asked;
        Self { snapshot, role: *role, security, sidecars_assumed: *source == "files" }
    }
}

/// What the policies of every endpoint say, for the JSON document.
pub(crate) fn of(question: &Question, asked: Scene<'_>, explanation: &Explanation) -> Vec<Value> {
    let here = door(question, asked).map(|taken| json!({"pod": asked.snapshot.proxy.pod, "said": taken}));
    let there = clusters(asked, explanation).flat_map(|cluster| {
        let said = move |server: &ServerSide| {
            let taken = authorized(cluster, server, question, asked)?;
            Some(json!({"cluster": cluster.cluster.to_string(), "pod": server.pod, "said": taken}))
        };
        cluster.servers.iter().filter_map(said)
    });
    here.into_iter().chain(there).collect()
}

/// How the request ends, refusals among it.
pub(crate) fn chances(question: &Question, asked: Scene<'_>, explanation: &Explanation) -> Vec<Chance> {
    if door(question, asked).is_some_and(|taken| is_refused(&taken)) {
        return vec![Chance { end: End::Status { status: 403, flag: None }, percent: 100.0 }];
    }
    let refused = |name: &smov_model::names::ClusterName| {
        let cluster = asked.security.iter().find(|one| one.cluster == *name);
        let servers = cluster.map(|cluster| (cluster, cluster.servers.as_slice()));
        servers.is_some_and(|(cluster, servers)| {
            let closed = |server: &ServerSide| authorized(cluster, server, question, asked).is_some_and(|taken| is_refused(&taken));
            !servers.is_empty() && servers.iter().all(closed)
        })
    };
    let mut told: Vec<Chance> = Vec::new();
    for mut chance in mtls::chances(asked.security, explanation) {
        if matches!(&chance.end, End::Cluster { cluster, .. } if refused(cluster)) {
            chance.end = End::Status { status: 403, flag: None };
        }
        match told.iter_mut().find(|known| known.end == chance.end) {
            Some(known) => known.percent += chance.percent,
            None => told.push(chance),
        }
    }
    told
}

/// The rows. Endpoints that say the same are told once.
pub(super) fn told(question: &Question, asked: Scene<'_>, explanation: &Explanation, language: Language) -> Vec<String> {
    let mut lines = at_the_door(question, asked, language);
    let mut there: Vec<String> = Vec::new();
    for cluster in clusters(asked, explanation) {
        for server in &cluster.servers {
            let said = authorized(cluster, server, question, asked);
            let said = said.map_or_else(|| language.lines(text::POLICY_OPEN, &[]), |taken| self::lines(&taken, language));
            there.extend(said.into_iter().filter(|line| !there.contains(line)).collect::<Vec<_>>());
        }
    }
    if there.is_empty() {
        there = language.lines(text::POLICY_OPEN, &[]);
    }
    lines.extend(there);
    let own = asked.snapshot.proxy.cluster.as_str();
    if !asked.sidecars_assumed
        && let Some(other) = elsewhere(explanation, own)
    {
        lines.push(language.line(text::POLICY_OF_OWN_CLUSTER, &[other, own]));
    }
    if explanation.policy.as_ref().is_some_and(|policy| policy.rewrite.is_some()) {
        lines.extend(language.lines(text::POLICY_BEFORE_REWRITE, &[]));
    }
    lines
}

/// Another cluster in which there are endpoints: each cluster has rules of its own.
fn elsewhere<'a>(explanation: &'a Explanation, own: &str) -> Option<&'a str> {
    let odds: &[Odds] = if let Outcome::Forward { odds } = &explanation.outcome { odds } else { &[] };
    let candidates = odds.iter().filter_map(|one| one.endpoints.as_ref()).flatten();
    candidates.map(|candidate| candidate.kube_cluster.as_str()).find(|cluster| *cluster != own)
}

/// What the gateway's own policies say; nothing for a sidecar, whose policies are for those who call its pod.
pub(super) fn at_the_door(question: &Question, asked: Scene<'_>, language: Language) -> Vec<String> {
    door(question, asked).map_or_else(Vec::new, |taken| lines(&taken, language))
}

/// A decision in words.
pub(super) fn lines(taken: &AuthorizationTaken, language: Language) -> Vec<String> {
    let mut lines = vec![decision(&taken.decision, language)];
    lines.extend(taken.audit.as_ref().map(|rule| language.line(text::POLICY_AUDIT, &[&mtls::place(rule)])));
    lines.extend(taken.dry_run.as_ref().map(|told| language.line(text::POLICY_DRY_RUN, &[&decision(told, language)])));
    lines
}

fn decision(told: &Told, language: Language) -> String {
    let rule = || told.rule.as_ref().map_or_else(|| language.line(text::POLICY_NO_RULE, &[]), mtls::place);
    match told.verdict {
        Verdict::Open => language.line(text::POLICY_OPEN, &[]),
        Verdict::Allowed => language.line(text::POLICY_ALLOWED, &[&rule()]),
        Verdict::Denied => language.line(text::POLICY_DENIED, &[&rule()]),
        Verdict::NotAllowed => {
            let names: Vec<String> = told.policies.iter().map(|policy| format!("{}/{}", policy.namespace, policy.name)).collect();
            language.line(text::POLICY_NOT_ALLOWED, &[&names.join(", ")])
        }
    }
}

fn is_refused(taken: &AuthorizationTaken) -> bool {
    matches!(taken.decision.verdict, Verdict::Denied | Verdict::NotAllowed)
}

fn clusters<'a>(asked: Scene<'a>, explanation: &'a Explanation) -> impl Iterator<Item = &'a ClusterSecurity> {
    let odds: &[Odds] = if let Outcome::Forward { odds } = &explanation.outcome { odds } else { &[] };
    odds.iter().filter_map(move |one| asked.security.iter().find(|security| security.cluster == one.cluster))
}

fn authorized(cluster: &ClusterSecurity, server: &ServerSide, question: &Question, asked: Scene<'_>) -> Option<AuthorizationTaken> {
    server.authorized(cluster, question, asked.sidecars_assumed)
}

fn door(question: &Question, asked: Scene<'_>) -> Option<AuthorizationTaken> {
    let visitor = std::net::SocketAddr::from(VISITOR);
    (asked.role == Role::Gateway).then(|| authorized_at_gateway(&asked.snapshot.authorization, visitor, question)).flatten()
}
