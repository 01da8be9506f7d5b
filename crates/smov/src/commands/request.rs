//! `smov request`: a request as a pod sends it, through that pod's sidecar; or in plain text from outside the mesh to a pod's port.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::cli::{Global, Output, Request};
use crate::failure::{Exit, Failure, Outcome};
use crate::kube_api::{Cluster, kind_named};
use crate::printer;
use crate::text;

/// `--from` of a request that comes from no pod.
const OUTSIDE: &str = "outside";
/// The port of a sidecar's outbound door, where the pod's annotation says nothing else.
const DOOR: &str = "15001";

/// Sends it and prints the answer.
pub(crate) async fn run(global: &Global, request: &Request) -> Outcome {
    let bad_url = || Failure::new(Exit::Usage, text::REQUEST_BAD_URL, &[&request.url]).hint(text::REQUEST_BAD_URL_HINT, &[]);
    let uri: Uri = request.url.parse().map_err(|_| bad_url())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(bad_url)?.clone();
    let pods = Pods::list(global, request).await?;
    let (to, target) = if request.from == OUTSIDE {
        let port = authority.port_u16().unwrap_or(80);
        let host = match pods.find(authority.host()) {
            Some(pod) => pod.place(port)?,
            None => format!("{}:{port}", authority.host()),
        };
        (host, uri.path_and_query().map_or("/", |path| path.as_str()).to_owned())
    } else {
        let pod = pods.find(&request.from).ok_or_else(|| pods.unknown(request))?;
        (pod.door()?, uri.to_string())
    };
    let no_answer = |reason: String| Failure::new(Exit::Unreachable, text::REQUEST_NO_ANSWER, &[&to, &reason]);
    let message = message(request, authority.as_str(), &target)?;
    let answer = tokio::time::timeout(request.timeout, send(&to, message)).await;
    let answer = answer.map_err(|_| no_answer(format!("> {}", seconds(request.timeout))))?.map_err(|error| no_answer(error.to_string()))?;
    show(global, request, &answer);
    if request.fail && answer.status() >= 400 { Err(Failure::quiet(Exit::Check)) } else { Ok(()) }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn message(request: &Request, authority: &str, target: &str) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let body = match request.data.as_deref() {
        None => Bytes::new(),
        Some(data) => match data.strip_prefix('@') {
            Some(file) => std::fs::read(file).map_err(|error| Failure::new(Exit::Usage, text::BAD_FILE, &[&file, &error]))?.into(),
            None => Bytes::from(data.to_owned()),
        },
    };
    let method = request.method.as_deref().unwrap_or(if request.data.is_some() { "POST" } else { "GET" });
    let mut message = hyper::Request::builder().method(method).uri(target);
    let mut named = std::collections::HashSet::new();
    for header in &request.header {
        let bad = || Failure::new(Exit::Usage, text::REQUEST_BAD_HEADER, &[header]);
        let (name, value) = header.split_once(':').ok_or_else(bad)?;
        let name = http::HeaderName::try_from(name.trim()).map_err(|_| bad())?;
        let value = http::HeaderValue::try_from(value.trim()).map_err(|_| bad())?;
        named.insert(name.clone());
        message = message.header(name, value);
    }
    let mut default = |message: http::request::Builder, name: http::HeaderName, value: &str| {
        if named.insert(name.clone()) { message.header(name, value) } else { message }
    };
    message = default(message, http::header::HOST, authority);
    message = default(message, http::header::USER_AGENT, concat!("smov/", env!("CARGO_PKG_VERSION")));
    if request.data.is_some() {
        message = default(message, http::header::CONTENT_TYPE, "application/json");
    }
    message.body(Full::new(body)).map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))
}

/// An answer, read to its end.
struct Answer {
    head: http::response::Parts,
    body: Bytes,
    took: Duration,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.status.as_u16()
    }
}

async fn send(to: &str, message: hyper::Request<Full<Bytes>>) -> Result<Answer, Box<dyn std::error::Error>> {
    let started = tokio::time::Instant::now();
    let stream = tokio::net::TcpStream::connect(to).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection, which ends with this command.
    tokio::spawn(connection);
    let response: Response<Incoming> = sender.send_request(message).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { head, body, took: started.elapsed() })
}

fn show(global: &Global, request: &Request, answer: &Answer) {
    let text = String::from_utf8_lossy(&answer.body);
    let headers =
        || answer.head.headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    if global.output == Output::Json {
        let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_else(|_| json!(text));
        let headers: Vec<Value> = headers().map(|(name, value)| json!([name, value])).collect();
        let document = json!({"status": answer.status(), "seconds": answer.took.as_secs_f64(), "headers": headers, "body": body});
        return printer::line(&serde_json::to_string_pretty(&document).expect("JSON values serialise"));
    }
    if request.include {
        printer::line(&format!("HTTP/1.1 {}", answer.head.status));
        headers().for_each(|(name, value)| printer::line(&format!("{name}: {value}")));
        printer::line("");
    }
    printer::raw(&text);
    if !text.is_empty() && !text.ends_with('\n') {
        printer::line("");
    }
}

/// The pods of a namespace, of one cluster or all.
struct Pods(Vec<Value>);

/// A pod that was found.
struct Pod<'a>(&'a Value);

impl Pods {
    async fn list(global: &Global, request: &Request) -> Result<Self, Failure> {
        let clusters = match (super::connect(global, request.context.as_deref()).await, request.from == OUTSIDE) {
            (Ok(clusters), _) => clusters,
            // From outside an address is enough.
            (Err(_), true) if request.context.is_none() => Vec::new(),
            (Err(failure), _) => return Err(failure),
        };
        let kind = kind_named("pods").expect("Pod is a known kind");
        let mut pods = Vec::new();
        for cluster in &clusters {
            pods.extend(list(cluster, kind, &request.namespace).await?);
        }
        Ok(Self(pods))
    }

    /// By its name, else the first ready one whose name begins with the workload's.
    fn find(&self, name: &str) -> Option<Pod<'_>> {
        let exact = self.0.iter().find(|pod| pod["metadata"]["name"] == name);
        let of_workload = || {
            let mut pods: Vec<&Value> = self.0.iter().filter(|pod| is_of(pod, name)).collect();
            pods.sort_by_key(|pod| !is_ready(pod));
            pods.first().copied()
        };
        exact.or_else(of_workload).map(Pod)
    }

    fn unknown(&self, request: &Request) -> Failure {
        let names: Vec<&str> = self.0.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        Failure::new(Exit::Usage, text::REQUEST_NO_POD, &[&request.namespace, &request.from])
            .hint(text::REQUEST_NO_POD_HINT, &[&names.join(", ")])
    }
}

async fn list(cluster: &Cluster, kind: &smov_cluster::kinds::Kind, namespace: &str) -> Result<Vec<Value>, Failure> {
    cluster.list(kind, Some(namespace)).await.map_err(|error| super::unreachable(&error))
}

/// Does the pod belong to this workload: by its ReplicaSet's name without the hash, or by its `app` label?
fn is_of(pod: &Value, workload: &str) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let owned = owners.iter().filter_map(|owner| owner["name"].as_str());
    let deployment = |name: &str| name.rsplit_once('-').is_some_and(|(deployment, _)| deployment == workload);
    owned.into_iter().any(|name| name == workload || deployment(name)) || pod["metadata"]["labels"]["app"] == workload
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

impl Pod<'_> {
    fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Where one of its ports is: on its address, unless an annotation maps it elsewhere.
    fn place(&self, port: u16) -> Result<String, Failure> {
        let address = self.0["status"]["podIP"].as_str().filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| Failure::new(Exit::Unreachable, text::REQUEST_NOT_READY, &[&self.name()]))?;
        let map = self.0["metadata"]["annotations"][smov_cluster::kubelet::network::PORT_MAP].as_str().unwrap_or_default();
        let mapped = map.split(',').filter_map(|pair| pair.split_once('=')).find(|(from, _)| *from == port.to_string());
        Ok(mapped.map_or_else(|| format!("{address}:{port}"), |(_, to)| format!("{address}:{to}")))
    }

    /// The outbound door of its sidecar.
    fn door(&self) -> Result<String, Failure> {
        let no_sidecar = || Failure::new(Exit::Usage, text::REQUEST_NO_SIDECAR, &[&self.name()]).hint(text::REQUEST_NO_SIDECAR_HINT, &[]);
        if let Some(door) = self.0["metadata"]["annotations"][smov_cluster::kubelet::OUTBOUND_DOOR].as_str() {
            return Ok(door.to_owned());
        }
        let containers = self.0["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has = |name: &str| containers.iter().any(|container| container["name"] == name);
        // A gateway has a proxy and no app, and so no door.
        if !has("istio-proxy") || containers.len() < 2 {
            return Err(no_sidecar());
        }
        self.place(DOOR.parse().expect("a port"))
    }
}
