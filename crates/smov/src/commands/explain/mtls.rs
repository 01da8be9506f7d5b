//! The rows about mutual TLS: what comes of the caller's and the callee's side, who they are, and which line decides.

use smov_istio::explain::{Chance, ClientSide, ClusterSecurity, End, Explanation, Odds, Outcome, ServerSide, Verdict};
use smov_model::names::ClusterName;
use smov_model::route::Origin;
use smov_model::tls::MutualTlsMode;

use super::Asked;
use crate::text::{self, Language};

/// What is said of the clusters that a request may go to, for the JSON document.
pub(crate) fn of<'a>(security: &'a [ClusterSecurity], explanation: &Explanation) -> Vec<&'a ClusterSecurity> {
    let Outcome::Forward { odds } = &explanation.outcome else { return Vec::new() };
    odds.iter().filter_map(|one| find(security, one)).collect()
}

/// How the request ends: where no endpoint of a cluster lets the caller in, or the caller none of them, nobody answers.
pub(crate) fn chances(security: &[ClusterSecurity], explanation: &Explanation) -> Vec<Chance> {
    let refused = |cluster: &ClusterName| {
        let servers = security.iter().find(|one| one.cluster == *cluster).map(|one| one.servers.as_slice()).unwrap_or_default();
        let closed = |server: &ServerSide| matches!(server.verdict, Verdict::RefusedByCallee | Verdict::RefusedByCaller);
        !servers.is_empty() && servers.iter().all(closed)
    };
    let mut told: Vec<Chance> = Vec::new();
    for mut chance in explanation.chances() {
        if matches!(&chance.end, End::Cluster { cluster, .. } if refused(cluster)) {
            // Whether it is UF or UC is a matter of microseconds.
            chance.end = End::Status { status: 503, flag: None };
        }
        match told.iter_mut().find(|known| known.end == chance.end) {
            Some(known) => known.percent += chance.percent,
            None => told.push(chance),
        }
    }
    told
}

fn find<'a>(security: &'a [ClusterSecurity], odds: &Odds) -> Option<&'a ClusterSecurity> {
    security.iter().find(|one| one.cluster == odds.cluster)
}

/// The rows. Clusters that are secured alike are told once.
pub(super) fn told(odds: &[Odds], asked: &Asked, language: Language) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for security in odds.iter().filter_map(|one| find(&asked.security, one)) {
        for server in &security.servers {
            // In files it is the namespace's label that brings sidecars, and that may be elsewhere.
            let unknown = asked.source == "files" && server.mode.is_none();
            let told = if unknown { language.lines(text::MTLS_NO_INJECTION, &[]) } else { tell(security, server, language) };
            for line in told {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
    if lines.is_empty() { language.lines(text::MTLS_UNKNOWN, &[]) } else { lines }
}

fn tell(security: &ClusterSecurity, server: &ServerSide, language: Language) -> Vec<String> {
    let why = client(security, language);
    let verdict = match server.verdict {
        Verdict::MutualTls => text::MTLS_YES,
        Verdict::Plaintext => text::MTLS_PLAIN,
        Verdict::OtherTls => text::MTLS_OTHER,
        Verdict::RefusedByCallee => text::MTLS_REFUSED_BY_CALLEE,
        Verdict::RefusedByCaller => text::MTLS_REFUSED_BY_CALLER,
    };
    // Pods of one Service differ in their names only, as a rule.
    let service = security.cluster.host.as_str().split('.').next().unwrap_or_default();
    let port = format!("{service}:{}", server.address.port());
    let callee = match server.mode {
        None => language.line(text::MTLS_CALLEE_BARE, &[&port]),
        Some(mode) => {
            let by = server.origin.as_ref().map_or_else(|| language.line(text::MTLS_CALLEE_DEFAULT, &[]), place);
            language.line(text::MTLS_CALLEE, &[&port, word(mode), &by])
        }
    };
    let mut lines = vec![language.line(verdict, &[&why]), callee];
    if let (Verdict::MutualTls | Verdict::RefusedByCaller, Some(identity)) = (server.verdict, &server.identity) {
        let short = |identity: &str| identity.trim_start_matches("spiffe://").to_owned();
        lines.push(language.line(text::MTLS_IDENTITIES, &[&short(&security.identity), &short(identity)]));
    }
    lines
}

/// What the caller does, and by which line.
fn client(security: &ClusterSecurity, language: Language) -> String {
    let mode = match security.client {
        ClientSide::Auto => return language.line(text::MTLS_AUTO, &[]),
        ClientSide::Plaintext => "DISABLE",
        ClientSide::IstioMutual => "ISTIO_MUTUAL",
        ClientSide::Simple => "SIMPLE",
        ClientSide::Mutual => "MUTUAL",
    };
    match &security.written {
        Some(origin) => language.line(text::MTLS_BY_RULE, &[mode, &place(origin)]),
        None => language.line(text::MTLS_NO_RULE, &[]),
    }
}

pub(super) fn place(origin: &Origin) -> String {
    let resource = &origin.resource;
    format!("{} {}/{} {}", resource.kind, resource.namespace, resource.name, origin.path)
}

fn word(mode: MutualTlsMode) -> &'static str {
    match mode {
        MutualTlsMode::Disable => "DISABLE",
        MutualTlsMode::Permissive => "PERMISSIVE",
        MutualTlsMode::Strict => "STRICT",
    }
}
