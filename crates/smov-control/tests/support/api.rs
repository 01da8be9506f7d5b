//! A tiny Kubernetes API server: list, watch with history, create and replace, token reviews; may be taken down and made to forget.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<Objects>>,
    /// Counts changes of the state.
    changes: watch::Sender<u64>,
    pub(crate) address: SocketAddr,
}

#[derive(Default)]
struct Objects {
    version: u64,
    /// By plural, then namespace/name.
    objects: BTreeMap<(String, String), Value>,
    history: Vec<(u64, String, Value)>,
    /// Versions up to this one can no longer be watched from.
    forgotten: u64,
    down: bool,
    reviews: usize,
}

impl FakeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self { state: Arc::default(), changes: watch::channel(0).0, address: listener.local_addr().unwrap() };
        let routes = Router::new().fallback(answer).with_state(api.clone());
        // Without it an event waits for the acknowledgement of the one before, up to 40 ms.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        api
    }

    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "u", "user": { "token": "istiod" } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        })
        .to_string()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// The `resourceVersion` of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.state.lock().unwrap().version
    }

    /// Creates or changes objects, all in one moment.
    pub(crate) fn apply(&self, objects: impl IntoIterator<Item = Value>) {
        self.change(|state| {
            for mut object in objects {
                state.version += 1;
                object["metadata"]["resourceVersion"] = state.version.to_string().into();
                let key = key_of(&object);
                let event = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
                state.history.push((state.version, key.0.clone(), json!({ "type": event, "object": object })));
                state.objects.insert(key, object);
            }
        });
    }

    /// The object of the same kind and name, as it is now.
    pub(crate) fn find(&self, object: &Value) -> Option<Value> {
        self.state.lock().unwrap().objects.get(&key_of(object)).cloned()
    }

    pub(crate) fn delete(&self, object: &Value) {
        self.change(|state| {
            let key = key_of(object);
            let mut object = state.objects.remove(&key).expect("it exists");
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.history.push((state.version, key.0, json!({ "type": "DELETED", "object": object })));
        });
    }

    /// Ends all watches; nothing is answered but 503.
    pub(crate) fn take_down(&self) {
        self.change(|state| state.down = true);
    }

    pub(crate) fn bring_up(&self) {
        self.change(|state| state.down = false);
    }

    /// No watch can go on from before now: `410 Gone`.
    pub(crate) fn forget_history(&self) {
        self.change(|state| {
            state.history.clear();
            state.forgotten = state.version;
        });
    }

    pub(crate) fn token_reviews(&self) -> usize {
        self.state.lock().unwrap().reviews
    }
}

fn key_of(object: &Value) -> (String, String) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (format!("{}s", text("/kind").to_lowercase()), format!("{}/{}", text("/metadata/namespace"), text("/metadata/name")))
}

async fn answer(
    State(api): State<FakeApi>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let plural = uri.path().rsplit('/').next().unwrap().to_owned();
    if api.state.lock().unwrap().down {
        return status(503, "down");
    }
    if plural == "version" {
        return Json(json!({})).into_response();
    }
    if plural == "tokenreviews" {
        return Json(review(&api, &serde_json::from_slice(&body).unwrap())).into_response();
    }
    if method != Method::GET {
        let object: Value = serde_json::from_slice(&body).unwrap();
        if method == Method::POST && api.find(&object).is_some() {
            return status(409, "AlreadyExists");
        }
        api.apply([object.clone()]);
        return Json(api.find(&object).unwrap()).into_response();
    }
    let labels = query.get("labelSelector").and_then(|text| text.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
    if query.get("watch").is_some_and(|watch| watch == "true") {
        return watch_from(api, plural, labels, query["resourceVersion"].parse().unwrap());
    }
    let state = api.state.lock().unwrap();
    // Real API servers leave out the kind of a list's items.
    let wanted = state.objects.iter().filter(|((kind, _), object)| *kind == plural && has(object, labels.as_ref()));
    let items: Vec<Value> = wanted.map(|(_, object)| without_kind(object)).collect();
    Json(json!({ "kind": "List", "metadata": { "resourceVersion": state.version.to_string() }, "items": items })).into_response()
}

fn has(object: &Value, label: Option<&(String, String)>) -> bool {
    label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == *value)
}

fn without_kind(object: &Value) -> Value {
    let mut object = object.clone();
    let fields = object.as_object_mut().unwrap();
    fields.remove("kind");
    fields.remove("apiVersion");
    object
}

fn status(code: u16, reason: &str) -> Response {
    let body = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason });
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

/// Tokens read `namespace:account:pod`; all others are unknown.
fn review(api: &FakeApi, review: &Value) -> Value {
    api.state.lock().unwrap().reviews += 1;
    let token = review["spec"]["token"].as_str().unwrap();
    let parts: Vec<&str> = token.split(':').collect();
    let status = match parts[..] {
        [namespace, account, pod] => json!({ "authenticated": true, "user": {
            "username": format!("system:serviceaccount:{namespace}:{account}"),
            "extra": { "authentication.kubernetes.io/pod-name": [pod] } } }),
        _ => json!({ "authenticated": false, "error": "unknown token" }),
    };
    json!({ "kind": "TokenReview", "status": status })
}

fn watch_from(api: FakeApi, plural: String, labels: Option<(String, String)>, version: u64) -> Response {
    if version < api.state.lock().unwrap().forgotten {
        return status(410, "Expired");
    }
    let changes = api.changes.subscribe();
    let events = stream::unfold((api, (plural, labels), version, changes), |(api, wanted, mut version, mut changes)| async move {
        loop {
            let lines = {
                let state = api.state.lock().unwrap();
                if state.down {
                    return None;
                }
                if version < state.forgotten {
                    let error =
                        json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "message": "too old", "reason": "Expired" } });
                    drop(state);
                    return Some((Ok::<_, Infallible>(Bytes::from(format!("{error}\n"))), (api, wanted, u64::MAX, changes)));
                }
                let news = state
                    .history
                    .iter()
                    .filter(|(at, kind, event)| *at > version && *kind == wanted.0 && has(&event["object"], wanted.1.as_ref()));
                let lines: String = news.map(|(_, _, event)| format!("{event}\n")).collect();
                version = version.max(state.version);
                lines
            };
            if !lines.is_empty() {
                return Some((Ok(Bytes::from(lines)), (api, wanted, version, changes)));
            }
            changes.changed().await.ok()?;
        }
    });
    Body::from_stream(events).into_response()
}
