//! The guard: a web page elsewhere, or a name that was rebound to this machine, must not read or change the mesh.
//!
//! Every request's Host must be on the allow-list (that stops DNS rebinding). Every request that writes must come from the same origin
//! (`Origin` equals Host, or neither `Origin` nor a foreign `Sec-Fetch-Site`), with a content type that no HTML form can send.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Uri, header};

use crate::problem::Problem;

/// Hosts under which the console may be called, without port; `*.example.org` stands for the names below it.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    own: Arc<[String]>,
    /// What the mesh's operator routes here by name; locked for one look or one change.
    routed: Arc<RwLock<Vec<String>>>,
}

impl AllowedHosts {
    /// This machine's own names and `more`.
    pub fn loopback_and(more: impl IntoIterator<Item = String>) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Self { own: own.into_iter().chain(more).map(|host| host.to_ascii_lowercase()).collect(), routed: Arc::default() }
    }

    /// The names under which the ingress gateway leads here now: whoever wrote them into a VirtualService means this page. `*` is nobody's name, so it
    /// allows nothing.
    pub fn set_routed(&self, hosts: impl IntoIterator<Item = String>) {
        let hosts = hosts.into_iter().filter(|host| host != "*").map(|host| host.to_ascii_lowercase()).collect();
        *self.routed.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Is the host (with or without port) on the list?
    pub fn contains(&self, authority: &str) -> bool {
        let host = host_of(authority).to_ascii_lowercase();
        let takes = |allowed: &String| match allowed.strip_prefix('*') {
            Some(suffix) => suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix),
            None => *allowed == host,
        };
        self.own.iter().any(takes) || self.routed.read().unwrap_or_else(PoisonError::into_inner).iter().any(takes)
    }
}

/// Puts the guard in front of a router. The gateway's theatre routes want it as well.
pub fn guard(router: Router, hosts: AllowedHosts) -> Router {
    router.layer(from_fn_with_state(hosts, check))
}

async fn check(State(hosts): State<AllowedHosts>, request: Request, next: Next) -> Response {
    match refusal(&hosts, request.method(), request.uri(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

/// Why this request is refused, if it is.
fn refusal(hosts: &AllowedHosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    if !hosts.contains(host) {
        let problem = Problem::forbidden(
            "HostNotAllowed",
            "이 호스트 이름으로는 열 수 없습니다. localhost로 접속하세요",
            "This host name is not allowed here; use localhost",
        );
        return Some(problem.with_detail(format!("Host `{host}`")));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let from_here = match headers.get(header::ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(|origin| same_origin(origin, host)),
        None => true,
    };
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    if !from_here || !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Some(Problem::forbidden(
            "ForeignOrigin",
            "다른 사이트에서 온 변경 요청은 받지 않습니다",
            "Changes are not accepted from another site",
        ));
    }
    let json = text(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json") || (kind.starts_with("application/") && kind.ends_with("+json"))
    });
    let has_body = *method != Method::DELETE || headers.contains_key(header::CONTENT_TYPE);
    (has_body && !json).then(|| {
        Problem::forbidden(
            "JsonNeeded",
            "변경 요청에는 Content-Type: application/json 이 필요합니다",
            "A change needs `Content-Type: application/json`",
        )
    })
}

/// Does `http(s)://authority` name the host that was called? The scheme may differ behind a TLS terminator; the port may not.
fn same_origin(origin: &str, host: &str) -> bool {
    let stripped =
        [("http://", ":80"), ("https://", ":443")].into_iter().find_map(|(scheme, port)| Some((origin.strip_prefix(scheme)?, port)));
    let Some((authority, default_port)) = stripped else { return false };
    let plain = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && plain(authority) == plain(host)
}

/// The host of `host:port`, `[v6]:port` or `host`.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.find(']').map_or(authority, |end| &authority[..=end]);
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: &Method, headers: &[(&str, &str)]) -> Option<String> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap())).collect();
        let hosts = AllowedHosts::loopback_and(["*.apps.example".to_owned()]);
        refusal(&hosts, method, &Uri::from_static("/api/v1/load"), &headers).map(|problem| problem.reason.code)
    }

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        let hosts = AllowedHosts::loopback_and(["theater.example".to_owned(), "*.apps.example".to_owned()]);
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1", "[::1]:8088", "theater.example:80", "a.apps.example"] {
            assert!(hosts.contains(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "apps.example", "xapps.example", "[::2]"] {
            assert!(!hosts.contains(host), "{host}");
        }
    }

    #[test]
    fn a_name_that_leads_here_is_allowed_for_as_long_as_it_does() {
        let hosts = AllowedHosts::loopback_and([]);
        let door = hosts.clone();
        hosts.set_routed(["Theater.example".to_owned(), "*".to_owned()]);
        assert!(door.contains("theater.example:80") && !door.contains("evil.example"));
        hosts.set_routed([]);
        assert!(!door.contains("theater.example"));
    }

    #[test]
    fn reading_needs_only_the_host() {
        assert_eq!(code(&Method::GET, &[("host", "localhost:8080"), ("origin", "http://evil.example")]), None);
        assert_eq!(code(&Method::GET, &[("host", "rebound.example")]).as_deref(), Some("HostNotAllowed"));
        assert_eq!(code(&Method::GET, &[]).as_deref(), Some("HostNotAllowed"));
    }

    #[test]
    fn writing_needs_the_same_origin_and_json() {
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "localhost:8080");
        assert_eq!(code(&Method::POST, &[host, json]), None);
        assert_eq!(code(&Method::POST, &[host, json, ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")]), None);
        for foreign in ["http://localhost:9090", "http://evil.example", "null", "http://", "https://localhost"] {
            assert_eq!(code(&Method::POST, &[host, json, ("origin", foreign)]).as_deref(), Some("ForeignOrigin"), "{foreign}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(code(&Method::POST, &[host, json, ("sec-fetch-site", site)]).as_deref(), Some("ForeignOrigin"));
        }
        assert_eq!(code(&Method::POST, &[host]).as_deref(), Some("JsonNeeded"));
        assert_eq!(code(&Method::POST, &[host, ("content-type", "text/plain")]).as_deref(), Some("JsonNeeded"));
    }

    #[test]
    fn default_ports_are_the_same_origin() {
        assert!(same_origin("http://a.apps.example", "a.apps.example:80"));
        assert!(same_origin("https://a.apps.example", "a.apps.example"));
        assert!(!same_origin("https://a.apps.example", "a.apps.example:80"));
    }
}
