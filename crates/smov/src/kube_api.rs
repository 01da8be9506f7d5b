//! A thin client of Kubernetes API servers: the same calls reach the local clusters and real ones.

use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use smov_cluster::kinds::{self, Kind};

/// The longest refusal that is read, in bytes.
const MOST_OF_A_REFUSAL: usize = 64 << 10;

/// One API server, reached with the credentials of a kubeconfig context.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// The context's name: `ctx1`.
    pub(crate) name: String,
    client: kube::Client,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server refused: code, its sentence, and the fields that it names.
    #[error("{message}")]
    Refused { code: u16, message: String, causes: Vec<FieldCause> },
    /// It did not answer, or not as it should.
    #[error("{cluster}: {reason}")]
    Unreachable { cluster: String, reason: String },
}

/// A field that an API server finds wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldCause {
    /// `spec.http[0].route`; may be empty.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// One write of one object, exactly: no merging with what is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act<'a> {
    /// It must not be there.
    Create(&'a Value),
    /// It becomes this; its `metadata.resourceVersion` must be that of what is stored.
    Replace(&'a Value),
    /// It goes, if it still is this one in this version.
    Delete { namespace: &'a str, name: &'a str, uid: &'a str, version: &'a str },
}

/// How an object is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Write {
    /// Only check.
    pub(crate) dry_run: bool,
}

/// Which lines of a log, each with its time in front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions<'a> {
    pub(crate) container: &'a str,
    /// Only the last ones.
    pub(crate) tail: Option<u32>,
    /// Only those after it; whole seconds count.
    pub(crate) since: Option<jiff::Timestamp>,
    /// Go on until the container ends.
    pub(crate) follow: bool,
}

/// All clusters of a kubeconfig file, in its order.
pub(crate) async fn clusters(kubeconfig: &Path) -> Result<Vec<Cluster>, CallError> {
    let unreachable = |reason: String| CallError::Unreachable { cluster: kubeconfig.display().to_string(), reason };
    let config = Kubeconfig::read_from(kubeconfig).map_err(|error| unreachable(error.to_string()))?;
    let mut found = Vec::new();
    for context in &config.contexts {
        let options = KubeConfigOptions { context: Some(context.name.clone()), ..KubeConfigOptions::default() };
        let config =
            kube::Config::from_custom_kubeconfig(config.clone(), &options).await.map_err(|error| unreachable(error.to_string()))?;
        let client = kube::Client::try_from(config).map_err(|error| unreachable(error.to_string()))?;
        found.push(Cluster { name: context.name.clone(), client });
    }
    Ok(found)
}

/// The URL path of a kind's collection, or of one object.
fn path(kind: &Kind, version: &str, namespace: Option<&str>, name: Option<&str>) -> String {
    let root = if kind.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", kind.group) };
    let scope = namespace.filter(|_| kind.namespaced).map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("{root}{scope}/{}{name}", kind.plural)
}

/// A kind by any name that kubectl users type: `pods`, `pod`, `po`, `Pod`, `virtualservices.networking.istio.io`.
pub(crate) fn kind_named(word: &str) -> Option<&'static Kind> {
    let lower = word.to_ascii_lowercase();
    kinds::kinds().iter().copied().find(|kind| {
        kind.plural == lower || kind.singular == lower || kind.resource() == lower || kind.short_names.contains(&lower.as_str())
    })
}

impl Cluster {
    /// A client made elsewhere.
    pub(crate) fn new(name: String, client: kube::Client) -> Self {
        Self { name, client }
    }

    async fn call(&self, request: Request<Vec<u8>>) -> Result<Value, CallError> {
        let unreachable = |reason: String| CallError::Unreachable { cluster: self.name.clone(), reason };
        self.client.request::<Value>(request).await.map_err(|error| match error {
            kube::Error::Api(status) => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let causes = causes.map(|cause| FieldCause { field: cause.field.clone(), message: cause.message.clone() }).collect();
                CallError::Refused { code: status.code, message: status.message.clone(), causes }
            }
            other => unreachable(other.to_string()),
        })
    }

    fn request(method: Method, uri: &str, content: Option<(&str, &Value)>) -> Request<Vec<u8>> {
        let mut request = Request::new(Vec::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().expect("paths of kinds and checked names are URIs");
        if let Some((kind, body)) = content {
            request.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_str(kind).expect("media types are ASCII"));
            *request.body_mut() = body.to_string().into_bytes();
        }
        request
    }

    /// Any call; its answer is JSON.
    pub(crate) async fn ask(&self, method: Method, uri: &str, body: Option<&Value>) -> Result<Value, CallError> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        self.call(Self::request(method, uri, body.map(|body| (kind, body)))).await
    }

    /// A GET whose answer is text that comes piece by piece.
    pub(crate) async fn text(&self, uri: &str) -> Result<BoxStream<'static, Result<Bytes, String>>, CallError> {
        let unreachable = |reason: String| CallError::Unreachable { cluster: self.name.clone(), reason };
        let request = Self::request(Method::GET, uri, None).map(kube::client::Body::from);
        let answer = self.client.send(request).await.map_err(|error| unreachable(error.to_string()))?;
        let status = answer.status();
        if !status.is_success() {
            let body = Limited::new(answer.into_body(), MOST_OF_A_REFUSAL).collect().await.map(http_body_util::Collected::to_bytes);
            let text = body.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
            let told = serde_json::from_str::<Value>(&text).ok().and_then(|status| Some(status["message"].as_str()?.to_owned()));
            return Err(CallError::Refused { code: status.as_u16(), message: told.unwrap_or(text), causes: Vec::new() });
        }
        Ok(answer.into_body().into_data_stream().map(|piece| piece.map_err(|error| error.to_string())).boxed())
    }

    /// One object; `None` = there is none.
    pub(crate) async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>, CallError> {
        match self.call(Self::request(Method::GET, &path(kind, kind.version, Some(namespace), Some(name)), None)).await {
            Ok(object) => Ok(Some(object)),
            Err(CallError::Refused { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind, of one namespace or of all.
    pub(crate) async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Value>, CallError> {
        let mut list = self.call(Self::request(Method::GET, &path(kind, kind.version, namespace, None), None)).await?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Objects as the server's table: column names and rows.
    pub(crate) async fn table(&self, kind: &Kind, namespace: Option<&str>, name: Option<&str>) -> Result<Value, CallError> {
        let mut request = Self::request(Method::GET, &path(kind, kind.version, namespace, name), None);
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(accept));
        self.call(request).await
    }

    /// Hands on the lines of a container's log, until it ends or nobody takes them any more.
    pub(crate) async fn log(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions<'_>,
        lines: tokio::sync::mpsc::Sender<String>,
    ) -> Result<(), CallError> {
        use http_body_util::BodyExt;
        let unreachable = |reason: String| CallError::Unreachable { cluster: self.name.clone(), reason };
        let LogOptions { container, tail, since, follow } = options;
        let tail = tail.map(|count| format!("&tailLines={count}")).unwrap_or_default();
        let since =
            since.map(|at| format!("&sinceTime={}", jiff::Timestamp::from_second(at.as_second()).unwrap_or(at))).unwrap_or_default();
        let follow = if follow { "&follow=true" } else { "" };
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?timestamps=true&container={container}{tail}{since}{follow}");
        let request = Self::request(Method::GET, &uri, None).map(kube::client::Body::from);
        let answer = self.client.send(request).await.map_err(|error| unreachable(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(CallError::Refused {
                code: answer.status().as_u16(),
                message: format!("{uri}: {}", answer.status()),
                causes: Vec::new(),
            });
        }
        let mut body = std::pin::pin!(answer.into_body());
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| unreachable(error.to_string()))?.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line[..end]).into_owned();
                if lines.send(line).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !rest.is_empty() {
            let _ = lines.send(String::from_utf8_lossy(&rest).into_owned()).await;
        }
        Ok(())
    }

    /// Creates or changes an object as `kubectl apply` does. Gives what happened: `created`, `configured`, `unchanged`.
    pub(crate) async fn apply(&self, kind: &Kind, object: &Value, write: Write) -> Result<&'static str, CallError> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let version = object["apiVersion"].as_str().and_then(|version| version.rsplit('/').next()).unwrap_or(kind.version);
        let query = if write.dry_run {
            "?fieldManager=smov&fieldValidation=Strict&dryRun=All"
        } else {
            "?fieldManager=smov&fieldValidation=Strict"
        };
        let Some(live) = self.get(kind, namespace, name).await? else {
            let uri = path(kind, version, Some(namespace), None) + query;
            self.call(Self::request(Method::POST, &uri, Some(("application/json", &crate::three_way::remembering(object))))).await?;
            return Ok("created");
        };
        let mut wanted = object.clone();
        wanted["apiVersion"] = live["apiVersion"].clone();
        let Some(patch) = crate::three_way::patch(&wanted, &live) else { return Ok("unchanged") };
        let uri = path(kind, kind.version, Some(namespace), Some(name)) + query;
        self.call(Self::request(Method::PATCH, &uri, Some(("application/merge-patch+json", &patch)))).await?;
        Ok("configured")
    }

    /// Replaces the spec by a merge patch with removals, so that it becomes exactly the one given. Gives whether anything changed.
    pub(crate) async fn patch(&self, kind: &Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value, CallError> {
        let uri = path(kind, kind.version, Some(namespace), Some(name)) + "?fieldManager=smov";
        self.call(Self::request(Method::PATCH, &uri, Some(("application/merge-patch+json", patch)))).await
    }

    /// As [`Self::patch`], under this name in the managed fields, so that others can tell whose change it was.
    pub(crate) async fn patch_as(
        &self,
        manager: &str,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, CallError> {
        let uri = path(kind, kind.version, Some(namespace), Some(name)) + "?fieldManager=" + manager;
        self.call(Self::request(Method::PATCH, &uri, Some(("application/merge-patch+json", patch)))).await
    }

    /// Carries out one write under a manager's name; gives what is stored then.
    pub(crate) async fn write(&self, kind: &Kind, act: Act<'_>, manager: &str, dry_run: bool) -> Result<Value, CallError> {
        let query = format!("?fieldManager={manager}&fieldValidation=Strict{}", if dry_run { "&dryRun=All" } else { "" });
        let told = |object: &Value| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let version = text("/apiVersion").rsplit('/').next().filter(|version| !version.is_empty()).unwrap_or(kind.version).to_owned();
            (version, text("/metadata/namespace"), text("/metadata/name"))
        };
        let request = match act {
            Act::Create(object) => {
                let (version, namespace, _) = told(object);
                Self::request(Method::POST, &(path(kind, &version, Some(&namespace), None) + &query), Some(("application/json", object)))
            }
            Act::Replace(object) => {
                let (version, namespace, name) = told(object);
                let uri = path(kind, &version, Some(&namespace), Some(&name)) + &query;
                Self::request(Method::PUT, &uri, Some(("application/json", object)))
            }
            Act::Delete { namespace, name, uid, version } => {
                let mut body =
                    json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid, "resourceVersion": version } });
                if dry_run {
                    body["dryRun"] = json!(["All"]);
                }
                let uri = path(kind, kind.version, Some(namespace), Some(name));
                Self::request(Method::DELETE, &uri, Some(("application/json", &body)))
            }
        };
        self.call(request).await
    }

    /// Deletes an object; one that is not there is fine.
    pub(crate) async fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), CallError> {
        match self.call(Self::request(Method::DELETE, &path(kind, kind.version, Some(namespace), Some(name)), None)).await {
            Ok(_) | Err(CallError::Refused { code: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
