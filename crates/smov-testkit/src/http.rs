//! A small HTTP client for tests: one connection per request, no proxy, no redirects.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, the first value of each name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a GET.
pub async fn get(url: &str) -> anyhow::Result<Answer> {
    send(Method::GET, url, &[], Bytes::new()).await
}

/// Sends a JSON body.
pub async fn post(url: &str, headers: &[(&str, &str)], body: &serde_json::Value) -> anyhow::Result<Answer> {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    send(Method::POST, url, &all, Bytes::from(body.to_string())).await
}

/// Sends a request and reads the whole answer.
pub async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: Bytes) -> anyhow::Result<Answer> {
    let response = open(method, url, headers, body).await?;
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, headers, body })
}

/// Sends a request; the body of the answer still streams.
pub async fn open(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().ok_or_else(|| anyhow::anyhow!("{url} has no host"))?.clone();
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request =
        Request::builder().method(method).uri(uri.path_and_query().map_or("/", |path| path.as_str())).header("host", authority.as_str());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(sender.send_request(request.body(Full::new(body))?).await?)
}
