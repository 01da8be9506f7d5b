//! The requests of a case as bytes, and their way out.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::case::{Body, Case, RequestCase};
use crate::client::{self, Reply, Wire};
use crate::plane;
use crate::stage::{OUTSIDE, Part, Stage, TcpService};

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    wire: Wire,
    /// By which the proxy's record is found.
    pub(crate) request_id: Option<String>,
}

/// As many as `times` says.
pub(crate) fn wires(case: &Case, index: usize, request: &RequestCase, stage: &Stage) -> Result<Vec<Outgoing>, String> {
    (0..request.times).map(|number| outgoing(case, index, number, request, stage)).collect()
}

fn outgoing(case: &Case, index: usize, number: u32, request: &RequestCase, stage: &Stage) -> Result<Outgoing, String> {
    let url = stage.fill(request.get.as_ref().or(request.url.as_ref()).map_or("", String::as_str));
    let opaque = url.starts_with("tcp://");
    let (authority, target) = if request.raw.is_some() && url.is_empty() { (String::new(), String::new()) } else { split(&url)? };
    let from = stage.pod(&request.from);
    let to = match from {
        None if request.from == OUTSIDE => {
            let (host, port) = authority.rsplit_once(':').unwrap_or((&authority, "80"));
            let host = stage.pod(host).map_or_else(|| host.to_owned(), |pod| pod.address.to_string());
            format!("{host}:{port}").parse().map_err(|_| format!("`{url}`: a request from outside goes to a pod: http://POD:PORT/"))?
        }
        None => return Err(format!("`from: {}` names no pod", request.from)),
        Some(pod) if matches!(pod.part, Part::Gateway(_)) => super::ingress(pod),
        Some(pod) if opaque => SocketAddr::new(pod.address.into(), tcp_door(&authority, stage)?),
        Some(pod) => plane::door(pod.address),
    };
    let patience = request.leaves.map(|time| time.0);
    let through_door = !opaque && from.is_some_and(|pod| !matches!(pod.part, Part::Gateway(_)));
    let method = request.method.as_deref().unwrap_or("GET");
    if let Some(raw) = &request.raw {
        let bytes = stage.fill(raw).into_bytes();
        return Ok(Outgoing { wire: Wire { to, bytes, head_only: raw.starts_with("HEAD "), patience }, request_id: None });
    }
    let mut head =
        if through_door { format!("{method} http://{authority}{target} HTTP/1.1\r\n") } else { format!("{method} {target} HTTP/1.1\r\n") };
    let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    let names = |name: &str| request.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
    if !names("host") {
        line("host", &authority);
    }
    for (name, values) in &request.headers {
        for value in &values.0 {
            line(name, &value_of(value, number, stage));
        }
    }
    let request_id = (request.request_id && !names("x-request-id")).then(|| request_id(&case.name, index, number));
    if let Some(id) = &request_id {
        line("x-request-id", id);
    }
    let body = match &request.body {
        None => Vec::new(),
        Some(Body::Text(text)) => text.clone().into_bytes(),
        Some(Body::Bytes { bytes }) => vec![b'x'; *bytes],
    };
    if request.body.is_some() && !names("content-length") && !names("transfer-encoding") {
        line("content-length", &body.len().to_string());
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(body);
    Ok(Outgoing { wire: Wire { to, bytes, head_only: method == "HEAD", patience }, request_id })
}

/// A header's value: addresses filled in, `$(n)` the number of the request, `$(x*N)` so many `x`.
fn value_of(value: &str, number: u32, stage: &Stage) -> String {
    let count = value.strip_prefix("$(x*").and_then(|rest| rest.strip_suffix(')')).and_then(|count| count.parse().ok());
    count.map_or_else(|| stage.fill(value).replace("$(n)", &number.to_string()), |count| "x".repeat(count))
}

/// Authority and the rest of a URL, byte by byte as written.
fn split(url: &str) -> Result<(String, String), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("tcp://"));
    let rest = rest.ok_or_else(|| format!("`{url}` does not begin with http:// or tcp://"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok((authority.to_owned(), target))
}

/// The door that leads to `SERVICE:PORT`.
fn tcp_door(authority: &str, stage: &Stage) -> Result<u16, String> {
    let named = |service: &&TcpService| format!("{}:{}", service.name, service.port) == authority;
    let place = stage.tcp.iter().position(|service| named(&service));
    let place = place.ok_or_else(|| format!("`tcp://{authority}`: no Service of the case has such a port named `tcp` or `tcp-…`"))?;
    u16::try_from(place).map(|place| plane::FIRST_TCP_DOOR + place).map_err(|error| error.to_string())
}

/// The same for every run, so that seeded dice fall the same way; in the form of a UUID.
fn request_id(case: &str, index: usize, number: u32) -> String {
    let hash = case.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}-{:04x}-4000-8000-{number:012x}", hash >> 32, index & 0xffff)
}

/// Sends them, one after the other or all at once; replies in the order of the requests.
pub(crate) async fn all(requests: &[Outgoing], parallel: bool) -> Vec<Reply> {
    if !parallel {
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            replies.push(client::send(&request.wire).await);
        }
        return replies;
    }
    let mut sending = JoinSet::new();
    for (index, request) in requests.iter().enumerate() {
        let wire = request.wire.clone();
        sending.spawn(async move { (index, client::send(&wire).await) });
    }
    let mut replies = vec![Reply::default(); requests.len()];
    while let Some(sent) = sending.join_next().await {
        if let Ok((index, reply)) = sent {
            replies[index] = reply;
        }
    }
    replies
}
