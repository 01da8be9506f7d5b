//! Pods and Deployments, and the timeline.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures_util::StreamExt;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::live::Cause;
use crate::ports::workloads::{Ability, Action, LogQuery, ObjectRef, UsageView};
use crate::problem::Problem;
use crate::routes::Console;

/// The most pods that the page may ask for.
const MOST_PODS: u32 = 20;
/// The longest time after which a change goes back by itself, in seconds: an hour.
const LONGEST: u32 = 3_600;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Since {
    since: Option<u64>,
}

/// `GET /api/v1/timeline`.
pub(super) async fn timeline(State(console): State<Console>, Query(from): Query<Since>) -> Json<Value> {
    Json(json!({ "items": console.live.timeline(from.since.unwrap_or(0)) }))
}

/// `GET /api/v1/usage`.
pub(super) async fn usage(State(console): State<Console>) -> Json<UsageView> {
    Json(console.workloads.usage().await)
}

/// `GET /api/v1/abilities`: of the namespaces that have Deployments.
pub(super) async fn abilities(State(console): State<Console>) -> Json<Vec<Ability>> {
    let pods = console.live.state().pods;
    let mut namespaces: Vec<String> =
        pods.values().flat_map(|view| &view.deployments).map(|deployment| deployment.namespace.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    Json(console.workloads.abilities(namespaces).await)
}

type Object = Path<(String, String, String)>;

fn named(Path((cluster, namespace, name)): Object) -> Result<ObjectRef, Problem> {
    let plain = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    if [&cluster, &namespace, &name].into_iter().all(|text| plain(text)) {
        return Ok(ObjectRef { cluster, namespace, name });
    }
    Err(Problem::bad_request("cluster, namespace and name are DNS names"))
}

/// `GET /api/v1/pods/{cluster}/{namespace}/{name}/logs`.
pub(super) async fn logs(State(console): State<Console>, object: Object, Query(query): Query<LogQuery>) -> Result<Response, Problem> {
    let lines = console.workloads.logs(named(object)?, query).await?;
    // The browser learns of a break by the end of the stream, and asks again.
    let lines = lines.map(|piece| piece.map_err(std::io::Error::other));
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(value)| value).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeleteBody {
    grace: Option<u32>,
}

/// `POST /api/v1/pods/{cluster}/{namespace}/{name}/delete`.
pub(super) async fn delete(
    State(console): State<Console>,
    object: Object,
    body: Result<Json<DeleteBody>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let target = named(object)?;
    let DeleteBody { grace } = read(body)?;
    let cause = Cause::Deleted(target.name.clone());
    act(&console, target, Action::Delete { grace }, cause).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KillBody {
    container: String,
}

/// `POST /api/v1/pods/{cluster}/{namespace}/{name}/kill`.
pub(super) async fn kill(
    State(console): State<Console>,
    object: Object,
    body: Result<Json<KillBody>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let target = named(object)?;
    let KillBody { container } = read(body)?;
    let cause = Cause::Killed { pod: target.name.clone(), container: container.clone() };
    act(&console, target, Action::Kill { container }, cause).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Nothing {}

/// `POST /api/v1/deployments/{cluster}/{namespace}/{name}/restart`.
pub(super) async fn restart(
    State(console): State<Console>,
    object: Object,
    body: Result<Json<Nothing>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    read(body)?;
    act(&console, named(object)?, Action::Restart, Cause::Restarted).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleBody {
    replicas: u32,
    #[serde(default)]
    restore_after_s: Option<u32>,
}

/// `POST /api/v1/deployments/{cluster}/{namespace}/{name}/scale`.
pub(super) async fn scale(
    State(console): State<Console>,
    object: Object,
    body: Result<Json<ScaleBody>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let target = named(object)?;
    let ScaleBody { replicas, restore_after_s } = read(body)?;
    if replicas > MOST_PODS {
        return Err(out_of_range(&format!("replicas: 0 … {MOST_PODS}")));
    }
    if restore_after_s.is_some_and(|seconds| seconds == 0 || seconds > LONGEST) {
        return Err(out_of_range(&format!("restore_after_s: 1 … {LONGEST}")));
    }
    act(&console, target, Action::Scale { replicas, restore_after_s }, Cause::Scaled(replicas)).await
}

fn out_of_range(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "OutOfRange", "허용된 범위를 벗어났습니다", "That is outside what is allowed")
        .with_detail(detail)
}

/// Does it, and lets the timeline measure what follows.
async fn act(console: &Console, target: ObjectRef, action: Action, cause: Cause) -> Result<Json<Value>, Problem> {
    let ObjectRef { cluster, namespace, name } = &target;
    let app = console.live.app_of(cluster, namespace, name);
    let moment = app.map(|app| console.live.acting(cluster, namespace, &app, cause));
    match console.workloads.act(target, action).await {
        Ok(done) => Ok(Json(json!({ "moment": moment, "restore_at": done.restore_at }))),
        Err(problem) => {
            if let Some(moment) = moment {
                console.live.not_done(&moment);
            }
            Err(problem)
        }
    }
}
