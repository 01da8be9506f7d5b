//! Would it be let in? The policies of an endpoint over the request that is asked about, by the function that decides on the wire.

use std::net::SocketAddr;

use smov_model::authorization::{Authorization, AuthorizationTaken, HttpView, RequestView, forwarded_for};

use super::{ClusterSecurity, Question, ServerSide, Verdict};

impl ServerSide {
    /// What the endpoint's policies say; `None` = it has none, or no sidecar to obey them, or the request does not come that far. In files nobody
    /// says where sidecars are: with `sidecars_assumed` both sides have one.
    pub fn authorized(&self, cluster: &ClusterSecurity, question: &Question, sidecars_assumed: bool) -> Option<AuthorizationTaken> {
        let secured = match self.verdict {
            Verdict::MutualTls => true,
            Verdict::Plaintext | Verdict::OtherTls => sidecars_assumed && self.mode.is_none(),
            Verdict::RefusedByCallee | Verdict::RefusedByCaller => return None,
        };
        let principal = secured.then_some(cluster.identity.as_str());
        let server_name = cluster.sni.as_deref().filter(|_| secured).unwrap_or_default();
        let obeyed = self.mode.is_some() || sidecars_assumed;
        taken(&self.authorization, self.address, principal, server_name, cluster.caller, question).filter(|_| obeyed)
    }
}

/// What a gateway's own policies say to a visitor from that address; `None` = it has none.
pub fn authorized_at_gateway(authorization: &Authorization, visitor: SocketAddr, question: &Question) -> Option<AuthorizationTaken> {
    taken(authorization, visitor, None, "", Some(visitor.ip()), question)
}

fn taken(
    authorization: &Authorization,
    destination: SocketAddr,
    principal: Option<&str>,
    server_name: &str,
    caller: Option<std::net::IpAddr>,
    question: &Question,
) -> Option<AuthorizationTaken> {
    let chain = &authorization.http;
    if chain.is_empty() {
        return None;
    }
    let head = question.head();
    let http = HttpView {
        method: head.method,
        scheme: if principal.is_some() { "https" } else { "http" },
        authority: head.authority,
        path: head.path,
        query: head.query,
        headers: head.headers,
        claims: None,
    };
    let source = caller.unwrap_or_else(|| destination.ip());
    let remote = forwarded_for(head.headers).unwrap_or(source);
    let request = RequestView { source, remote, destination, server_name, principal, http: Some(http) };
    Some(chain.told(chain.outcome(&request)))
}
