//! What policies look at in a request or a connection.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use super::Claim;

/// A request or an opaque connection, borrowed from whoever has it.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The TCP peer.
    pub source: IpAddr,
    /// Who is behind the peer, as `X-Forwarded-For` says at a sidecar; the TCP peer itself where nothing says.
    pub remote: IpAddr,
    /// The pod's own end of the connection.
    pub destination: SocketAddr,
    /// The name that the connection's TLS asked for; empty where there is none.
    pub server_name: &'a str,
    /// The identity that the peer has proved (`spiffe://…`). Plaintext proves none.
    pub principal: Option<&'a str>,
    /// What only HTTP has.
    pub http: Option<HttpView<'a>>,
}

/// The part of a request that an opaque connection does not have.
#[derive(Debug, Clone, Copy)]
pub struct HttpView<'a> {
    /// `GET`.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host as sent, with its port.
    pub authority: &'a str,
    /// Normalised path without query.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The claims of its verified token.
    pub claims: Option<&'a Claim>,
}

impl HttpView<'_> {
    /// Does any value of the header pass the test? Each value of a repeated header is looked at alone (Envoy since 1.39).
    pub(super) fn any_header(&self, name: &str, test: impl Fn(&str) -> bool) -> bool {
        match name {
            ":method" => test(self.method),
            ":scheme" => test(self.scheme),
            ":authority" | "host" => test(self.authority),
            ":path" => match self.query {
                None => test(self.path),
                Some(query) => test(&format!("{}?{query}", self.path)),
            },
            // A value that is no text is compared as far as it is one.
            _ => self.headers.get_all(name).iter().any(|value| match value.to_str() {
                Ok(text) => test(text),
                Err(_) => test(&String::from_utf8_lossy(value.as_bytes())),
            }),
        }
    }
}

/// The address that `X-Forwarded-For` ends with: who a sidecar believes to be behind its peer. `None` = nothing, or no address.
pub fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}
