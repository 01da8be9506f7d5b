//! Calls to other services. The app does not know that there is a mesh: it honours `http_proxy` like any program,
//! and the proxy happens to be its sidecar's door.

mod pool;

use std::{fmt, str::FromStr, time::Duration};

use axum::body::Body;
use http::{Request, Response, Uri, header::HOST, uri::Authority};

use self::pool::Pool;

/// Time to open a connection; a door on the same machine needs none of it.
const CONNECT: Duration = Duration::from_secs(5);

/// A plain-HTTP service: host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    authority: Authority,
    port: u16,
}

/// Text that is no `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no plain-HTTP address; write `http://host:port`")]
pub struct InvalidOrigin(pub String);

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let authority: Authority = rest.parse().map_err(|_| invalid())?;
        if rest.contains(['/', '@']) || authority.host().is_empty() {
            return Err(invalid());
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| invalid())?,
            // A port that is no number of 16 bits reads as none.
            None if rest.len() > authority.host().len() => return Err(invalid()),
            None => 80,
        };
        Ok(Self { authority, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}", self.authority)
    }
}

impl Origin {
    /// Host and port as they stand in a URI.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    fn address(&self) -> (&str, u16) {
        (self.authority.host().trim_matches(['[', ']']), self.port)
    }
}

/// An HTTP proxy and the hosts that are reached without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    door: Origin,
    exceptions: Vec<String>,
}

impl Proxy {
    /// `no_proxy` is the usual comma-separated list of hosts and domain suffixes, or `*`.
    pub fn new(door: Origin, no_proxy: &str) -> Self {
        let exceptions = no_proxy.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase());
        Self { door, exceptions: exceptions.filter(|entry| !entry.is_empty()).collect() }
    }

    fn applies_to(&self, host: &str) -> bool {
        !self.exceptions.iter().any(|entry| {
            entry == "*"
                || host.eq_ignore_ascii_case(entry)
                || host.to_ascii_lowercase().strip_suffix(entry.as_str()).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect to `{to}`")]
    Connect {
        /// Whom we dialled: the door, or the service itself.
        to: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke before the answer's headers.
    #[error("connection to `{to}` broke")]
    Broken {
        /// Whom we dialled.
        to: String,
        /// What was wrong.
        #[source]
        source: hyper::Error,
    },
    /// No answer's headers in time.
    #[error("`{to}` did not answer within {limit:?}")]
    Timeout {
        /// Whom we dialled.
        to: String,
        /// The limit.
        limit: Duration,
    },
    /// Path and authority do not make a URI.
    #[error("no valid request target")]
    Target(#[source] http::Error),
}

/// Calls one service, directly or through the door; keeps a few idle connections.
#[derive(Debug)]
pub struct MeshClient {
    origin: Origin,
    by_proxy: bool,
    pool: Pool,
    timeout: Duration,
}

impl MeshClient {
    /// A client of `origin`. `timeout` is for connecting and the answer's headers; the body may take as long as it takes.
    pub fn new(origin: &Origin, proxy: Option<&Proxy>, timeout: Duration) -> Self {
        let proxy = proxy.filter(|proxy| proxy.applies_to(origin.authority.host()));
        let dialled = proxy.map_or(origin, |proxy| &proxy.door);
        Self { origin: origin.clone(), by_proxy: proxy.is_some(), pool: Pool::new(dialled.clone(), CONNECT.min(timeout)), timeout }
    }

    /// Sends `request`, whose URI holds path and query only, to the service, naming `authority` (else the service's own).
    pub async fn send(&self, mut request: Request<Body>, authority: Option<&Authority>) -> Result<Response<Body>, CallError> {
        let authority = authority.unwrap_or(&self.origin.authority);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        if self.by_proxy {
            let uri = Uri::builder().scheme("http").authority(authority.clone()).path_and_query(path).build();
            *request.uri_mut() = uri.map_err(CallError::Target)?;
        } else if request.uri().authority().is_some() {
            *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(CallError::Target)?;
        }
        let host = authority.as_str().try_into().map_err(|error| CallError::Target(http::Error::from(error)))?;
        request.headers_mut().insert(HOST, host);
        match tokio::time::timeout(self.timeout, self.pool.send(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Timeout { to: self.pool.peer(), limit: self.timeout }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_host_and_port() {
        let origin: Origin = "http://user-service:8081/".parse().unwrap();
        assert_eq!(origin.address(), ("user-service", 8081));
        assert_eq!("http://[::1]".parse::<Origin>().unwrap().address(), ("::1", 80));
        for text in ["", "https://x", "http://a/b", "http://u@h", "http://h:99999"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        let proxy = Proxy::new("http://127.0.0.1:15001".parse().unwrap(), "localhost, .svc.test");
        assert!(proxy.applies_to("user-service"));
        assert!(!proxy.applies_to("localhost"));
        assert!(!proxy.applies_to("a.SVC.test"));
        assert!(proxy.applies_to("asvc.test"));
        assert!(!Proxy::new("http://127.0.0.1:1".parse().unwrap(), "*").applies_to("x"));
    }
}
