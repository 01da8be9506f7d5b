//! One condition of a rule: an attribute of the request, and the values that it may and may not have.

use serde::{Deserialize, Serialize};

use super::{Claim, Glob, HttpView, IpBlock, PathTemplate, RequestView, TextMatch};

/// The values that an attribute may have, and those that it may not: one of `values` (where there are any) and none of `not_values`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Among<T> {
    /// ORed; empty = any.
    #[serde(default = "Vec::new")]
    pub values: Vec<T>,
    /// None of these.
    #[serde(default = "Vec::new")]
    pub not_values: Vec<T>,
}

impl<T> Among<T> {
    fn holds(&self, matches: impl Fn(&T) -> bool) -> bool {
        (self.values.is_empty() || self.values.iter().any(&matches)) && !self.not_values.iter().any(matches)
    }
}

/// An attribute with its values, in Istio's words
/// (<https://istio.io/latest/docs/reference/config/security/conditions/>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// `source.ip`, `ipBlocks`: the TCP peer.
    SourceIp(Among<IpBlock>),
    /// `remote.ip`, `remoteIpBlocks`.
    RemoteIp(Among<IpBlock>),
    /// `source.principal`, `principals`: the peer's identity without `spiffe://`.
    Principal(Among<TextMatch>),
    /// `source.namespace`, `namespaces`.
    Namespace(Among<Glob>),
    /// `source.serviceAccount`, `serviceAccounts`.
    ServiceAccount(Among<Account>),
    /// `source.trustDomain`, `trustDomains`.
    TrustDomain(Among<TextMatch>),
    /// `request.auth.principal`, `requestPrincipals`: issuer and subject of a verified token.
    RequestPrincipal(Among<RequestPrincipal>),
    /// `request.auth.claims[…]`, and `audiences` and `presenter` as the claims `aud` and `azp`.
    Claim(Vec<String>, Among<TextMatch>),
    /// `request.headers[…]`, lower-case name.
    Header(String, Among<TextMatch>),
    /// `hosts`: ignoring case, with the port.
    Host(Among<TextMatch>),
    /// `methods`.
    Method(Among<TextMatch>),
    /// `paths`.
    Path(Among<PathMatch>),
    /// `destination.ip`.
    DestinationIp(Among<IpBlock>),
    /// `destination.port`, `ports`: the pod's port.
    DestinationPort(Among<u16>),
    /// `connection.sni`.
    ServerName(Among<TextMatch>),
    /// `experimental.envoy.filters.NAME[KEY]`: metadata that other filters of Envoy leave. Where there are no such filters it has no value.
    Metadata {
        /// `envoy.filters.…`.
        filter: String,
        /// The key.
        key: String,
        /// Values as written; in brackets = a member of a list.
        among: Among<String>,
    },
}

/// A service account, with the namespace that the policy means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// Is it in this identity? `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/NAME`, where other parts may stand between and after.
    fn is_of(&self, principal: &str) -> bool {
        let Some((trust_domain, rest)) = principal.strip_prefix("spiffe://").and_then(|id| id.split_once("/ns/")) else { return false };
        let Some(rest) = rest.strip_prefix(self.namespace.as_str()).and_then(|rest| rest.strip_prefix('/')) else { return false };
        let named = |rest: &str| {
            rest.strip_prefix("sa/")
                .and_then(|rest| rest.strip_prefix(self.name.as_str()))
                .is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && rest.len() > 1))
        };
        let later = || rest.match_indices("/sa/").any(|(place, _)| place > 0 && named(&rest[place + 1..]));
        !trust_domain.is_empty() && (named(rest) || later())
    }
}

/// `ISSUER/SUBJECT` of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestPrincipal {
    /// `iss`.
    pub issuer: TextMatch,
    /// `sub`.
    pub subject: TextMatch,
}

impl RequestPrincipal {
    fn is_of(&self, claims: Option<&Claim>) -> bool {
        let is = |name, wanted: &TextMatch| claims.and_then(|claims| claims.text(name)).is_some_and(|text| wanted.matches(text));
        is("iss", &self.issuer) && is("sub", &self.subject)
    }
}

/// A condition on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// As any other text.
    Text(TextMatch),
    /// With `{*}` and `{**}`.
    Template(PathTemplate),
}

impl Condition {
    /// Does the request fulfil it? What a request does not have fulfils no positive value and every negative one.
    pub fn holds(&self, request: &RequestView<'_>) -> bool {
        let http = |test: &dyn Fn(&HttpView<'_>) -> bool| request.http.as_ref().is_some_and(test);
        match self {
            Self::SourceIp(among) => among.holds(|block| block.contains(request.source)),
            Self::RemoteIp(among) => among.holds(|block| block.contains(request.remote)),
            Self::DestinationIp(among) => among.holds(|block| block.contains(request.destination.ip())),
            Self::DestinationPort(among) => among.holds(|port| *port == request.destination.port()),
            Self::ServerName(among) => among.holds(|wanted| wanted.matches(request.server_name)),
            Self::Principal(among) => among.holds(|wanted| request.principal.is_some_and(|id| is_principal(wanted, id))),
            Self::Namespace(among) => among.holds(|wanted| request.principal.is_some_and(|id| wanted.has_segment(id, "/ns/"))),
            Self::ServiceAccount(among) => among.holds(|wanted| request.principal.is_some_and(|id| wanted.is_of(id))),
            Self::TrustDomain(among) => among.holds(|wanted| request.principal.is_some_and(|id| is_trust_domain(wanted, id))),
            Self::RequestPrincipal(among) => among.holds(|wanted| http(&|http| wanted.is_of(http.claims))),
            Self::Claim(path, among) => among.holds(|wanted| {
                let claim = |http: &HttpView<'_>| {
                    http.claims.and_then(|claims| claims.at(path)).is_some_and(|claim| claim.any_text(|text| wanted.matches(text)))
                };
                http(&claim)
            }),
            Self::Header(name, among) => among.holds(|wanted| http(&|http| http.any_header(name, |value| wanted.is_header(value)))),
            Self::Host(among) => among.holds(|wanted| http(&|http| wanted.is_header_ignoring_case(http.authority))),
            Self::Method(among) => among.holds(|wanted| http(&|http| wanted.is_header(http.method))),
            Self::Path(among) => among.holds(|wanted| http(&|http| is_path(wanted, http.path))),
            Self::Metadata { among, .. } => among.holds(|_| false),
        }
    }

    /// Does only HTTP have it?
    pub fn is_http_only(&self) -> bool {
        match self {
            Self::RequestPrincipal(_) | Self::Claim(..) | Self::Header(..) | Self::Host(_) | Self::Method(_) | Self::Path(_) => true,
            Self::SourceIp(_)
            | Self::RemoteIp(_)
            | Self::Principal(_)
            | Self::Namespace(_)
            | Self::ServiceAccount(_)
            | Self::TrustDomain(_)
            | Self::DestinationIp(_)
            | Self::DestinationPort(_)
            | Self::ServerName(_)
            | Self::Metadata { .. } => false,
        }
    }

    /// Is it about what is asked for, not about who asks? Envoy keeps the two apart.
    pub fn is_of_the_operation(&self) -> bool {
        match self {
            Self::Host(_)
            | Self::Method(_)
            | Self::Path(_)
            | Self::DestinationIp(_)
            | Self::DestinationPort(_)
            | Self::ServerName(_)
            | Self::Metadata { .. } => true,
            Self::RequestPrincipal(_)
            | Self::Claim(..)
            | Self::Header(..)
            | Self::SourceIp(_)
            | Self::RemoteIp(_)
            | Self::Principal(_)
            | Self::Namespace(_)
            | Self::ServiceAccount(_)
            | Self::TrustDomain(_) => false,
        }
    }
}

/// Policies write identities without their scheme; `*` takes any that was proved.
fn is_principal(wanted: &TextMatch, identity: &str) -> bool {
    match (wanted, identity.strip_prefix("spiffe://")) {
        (TextMatch::Present, _) => !identity.is_empty(),
        (_, Some(principal)) => wanted.matches(principal),
        (_, None) => false,
    }
}

fn is_trust_domain(wanted: &TextMatch, identity: &str) -> bool {
    let Some((trust_domain, _)) = identity.strip_prefix("spiffe://").and_then(|id| id.split_once('/')) else { return false };
    wanted.matches(trust_domain)
}

fn is_path(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Text(wanted) => wanted.matches(path),
        PathMatch::Template(template) => template.matches(path),
    }
}
