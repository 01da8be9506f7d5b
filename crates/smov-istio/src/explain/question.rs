//! A request that is asked about: what a proxy would read of it.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use smov_model::names::Port;
use smov_model::route::RequestHead;

/// A request in words: enough for every decision of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// `GET`.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host, with its port where one was written.
    pub authority: String,
    /// The port dialled.
    pub port: Port,
    /// Path without query.
    pub path: String,
    /// Query without `?`.
    pub query: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
}

/// A text that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuestion {
    /// Not `http://HOST[:PORT]/PATH`.
    #[error("`{0}` is not a URL such as http://user-service:8081/users/")]
    Url(String),
    /// Not `NAME: VALUE`.
    #[error("`{0}` is not a header such as x-canary: true")]
    Header(String),
    /// Not a method.
    #[error("`{0}` is not a method such as GET")]
    Method(String),
}

impl Question {
    /// From a method, a URL and `Name: value` lines. A `Host` header stands in for the URL's host, the port stays the URL's.
    pub fn new(method: &str, url: &str, headers: &[String]) -> Result<Self, InvalidQuestion> {
        let bad = || InvalidQuestion::Url(url.to_owned());
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
            return Err(InvalidQuestion::Method(method.to_owned()));
        }
        // A fragment never leaves a client.
        let uri: Uri = url.split('#').next().unwrap_or(url).parse().map_err(|_| bad())?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(bad)?;
        let default = if scheme == "https" { 443 } else { 80 };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(bad)?;
        let port = Port::try_from(u32::from(uri.port_u16().unwrap_or(default))).map_err(|_| bad())?;
        let mut question = Self {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority: authority.as_str().to_owned(),
            port,
            path: if uri.path().is_empty() { "/".to_owned() } else { uri.path().to_owned() },
            query: uri.query().map(str::to_owned),
            headers: HeaderMap::new(),
        };
        for line in headers {
            question.add_header(line)?;
        }
        Ok(question)
    }

    fn add_header(&mut self, line: &str) -> Result<(), InvalidQuestion> {
        let bad = || InvalidQuestion::Header(line.to_owned());
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
        let value: HeaderValue = value.trim().parse().map_err(|_| bad())?;
        if name == http::header::HOST {
            value.to_str().map_err(|_| bad())?.clone_into(&mut self.authority);
        } else {
            self.headers.append(name, value);
        }
        Ok(())
    }

    /// What rules look at.
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }

    /// The URL again.
    pub fn url(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let has_port = self.authority.ends_with(&format!(":{}", self.port));
        let default = self.port.number() == if self.scheme == "https" { 443 } else { 80 };
        let port = if has_port || default { String::new() } else { format!(":{}", self.port) };
        format!("{}://{}{port}{}{query}", self.scheme, self.authority, self.path)
    }

    /// The headers as lines.
    pub fn header_lines(&self) -> Vec<String> {
        self.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_path_and_query() {
        let question = Question::new("GET", "http://user-service:8081/users/?a=1#x", &["X-Canary: true".to_owned()]).unwrap();
        assert_eq!((question.authority.as_str(), question.port.number()), ("user-service:8081", 8081));
        assert_eq!((question.path.as_str(), question.query.as_deref()), ("/users/", Some("a=1")));
        assert_eq!(question.header_lines(), ["x-canary: true"]);
        assert_eq!(question.url(), "http://user-service:8081/users/?a=1");
    }

    #[test]
    fn a_host_header_is_the_authority_and_the_port_stays() {
        let question = Question::new("GET", "http://localhost:8080", &["Host: theater.example.com".to_owned()]).unwrap();
        assert_eq!((question.authority.as_str(), question.port.number(), question.path.as_str()), ("theater.example.com", 8080, "/"));
        assert_eq!(question.url(), "http://theater.example.com:8080/");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for url in ["user-service", "ftp://a/", "/users", "http://", "http://a:0/"] {
            assert_eq!(Question::new("GET", url, &[]), Err(InvalidQuestion::Url(url.to_owned())), "{url}");
        }
        assert!(Question::new("GET", "http://a/", &["no colon".to_owned()]).is_err());
        assert!(Question::new("GE T", "http://a/", &[]).is_err());
    }
}
