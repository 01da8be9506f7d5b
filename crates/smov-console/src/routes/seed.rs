//! The seed's endpoints, with the seed's field names, from live data only: where something is not known they say so.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::live::Live;
use crate::problem::Problem;
use crate::routes::Console;
use crate::service::ServiceId;
use crate::view::cluster::{PodView, PodsView, Sight};

/// `GET /traffic-weights`: integers when all three live rules are splits, else 503 with the reasons.
pub(super) async fn traffic_weights(State(console): State<Console>) -> Response {
    let (mut weights, mut reasons) = (Map::new(), Map::new());
    for service in ServiceId::ALL {
        let configured = console.live.configured(service).configured;
        let name = camel(service);
        if let Some(shares) = configured.shares() {
            weights.insert(format!("{name}Ctx1Weight"), json!(shares.ctx1));
            weights.insert(format!("{name}Ctx2Weight"), json!(shares.ctx2));
        } else {
            reasons.insert(service.host().to_owned(), json!(configured));
        }
    }
    if reasons.is_empty() {
        return Json(weights).into_response();
    }
    let named: Vec<String> =
        reasons.iter().map(|(host, reason)| format!("{host}: {}", reason["text_en"].as_str().unwrap_or("unknown"))).collect();
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "WeightsUnknown",
        "지금 적용 중인 트래픽 비율을 말할 수 없습니다",
        "The live traffic weights cannot be told",
    )
    .with_detail(named.join("; "))
    .with("services", Value::Object(reasons))
    .with("known", Value::Object(weights))
    .into_response()
}

/// `UserService`.
fn camel(service: ServiceId) -> &'static str {
    match service {
        ServiceId::User => "UserService",
        ServiceId::Movie => "MovieService",
        ServiceId::Booking => "BookingService",
    }
}

#[derive(Deserialize)]
pub(super) struct Limit {
    limit: Option<usize>,
}

/// `GET /traffic-history?limit=`: where the last requests of each service ended, oldest first.
pub(super) async fn traffic_history(State(console): State<Console>, Query(Limit { limit }): Query<Limit>) -> Json<Value> {
    let limit = limit.unwrap_or(10).min(100);
    let (mut history, mut requests) = (Map::new(), Map::new());
    for service in ServiceId::ALL {
        let rows = console.live.recent_of(service, limit);
        let ends: Vec<&str> = rows.iter().map(|row| row.cluster.as_deref().unwrap_or("unreached")).collect();
        history.insert(format!("{service}ServiceHistory"), json!(ends));
        requests.insert(service.as_str().to_owned(), json!(rows));
    }
    history.insert("requests".to_owned(), Value::Object(requests));
    Json(Value::Object(history))
}

/// A part of the theatre as the seed draws it: name, what it is called, sign, port.
const PARTS: [(&str, &str, &str, &str); 5] = [
    ("api-gateway", "API Gateway", "🌐", "8080"),
    ("user-service", "User Service", "👤", "8081"),
    ("movie-service", "Movie Service", "🎬", "8082"),
    ("booking-service", "Booking Service", "🎟️", "8083"),
    ("redis", "Redis", "💾", "6379"),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentInfo<'a> {
    service: &'a str,
    cluster: &'a str,
    namespace: &'a str,
    pod_name: &'a str,
    node_name: &'a str,
    status: &'a str,
    port: &'a str,
    icon: &'a str,
    last_checked: String,
    ready: &'a str,
    restarts: u32,
}

/// `GET /deployment-status`: every pod of the theatre in both clusters; `Unknown` where a cluster cannot be seen.
pub(super) async fn deployment_status(State(console): State<Console>) -> Response {
    let pods = console.live.state().pods;
    let mut infos = Vec::new();
    for (cluster, view) in &pods {
        for pod in &view.pods {
            let Some((_, service, icon, port)) = PARTS.into_iter().find(|part| part.0 == pod.app) else { continue };
            infos.push(DeploymentInfo {
                service,
                cluster,
                namespace: &pod.namespace,
                pod_name: &pod.name,
                node_name: pod.node.as_deref().unwrap_or(""),
                status: status(view, pod),
                port,
                icon,
                last_checked: korean_time(view.as_of),
                ready: &pod.ready,
                restarts: pod.restarts,
            });
        }
    }
    Json(infos).into_response()
}

fn status<'a>(view: &PodsView, pod: &'a PodView) -> &'a str {
    match view.state {
        Sight::Unknown => "Unknown",
        Sight::Ok if pod.status == "Running" && !pod.all_ready() => "Not Ready",
        Sight::Ok => &pod.status,
    }
}

/// `GET /topology`: clusters, services and who calls whom with which share.
pub(super) async fn topology(State(console): State<Console>) -> Json<Value> {
    let state = console.live.state();
    let clusters: Vec<Value> = state
        .clusters
        .iter()
        .map(|cluster| {
            let view = state.pods.get(&cluster.id);
            let seen = view.is_some_and(|view| view.state == Sight::Ok);
            let nodes = view.filter(|_| seen).map(|view| view.nodes.len());
            json!({ "name": cluster.id, "provider": cluster.cloud, "status": if seen { "Active" } else { "Unknown" }, "nodeCount": nodes })
        })
        .collect();
    let services: Vec<Value> = PARTS
        .into_iter()
        .map(|(name, _, icon, port)| {
            let first = |view: &PodsView| view.pods.iter().find(|pod| pod.app == name).map(|pod| pod.name.clone());
            let deployments: BTreeMap<&String, String> =
                state.pods.iter().filter_map(|(cluster, view)| Some((cluster, first(view)?))).collect();
            json!({ "name": name, "icon": icon, "port": port, "deployments": deployments })
        })
        .collect();
    let last_updated = korean_time(console.live.now());
    Json(json!({
        "clusters": clusters, "services": services, "trafficFlow": flows(&console.live), "edges": state.mesh.edges, "lastUpdated": last_updated,
    }))
}

/// The gateway's calls with their configured share; `null` and inactive where it is not known.
fn flows(live: &Live) -> Vec<Value> {
    let mut flows = vec![json!({ "from": "external", "to": "api-gateway-ctx1", "weight": 100, "isActive": true, "flowType": "external" })];
    for service in ServiceId::ALL {
        let configured = live.configured(service).configured;
        let shares = configured.shares();
        for (cluster, flow_type) in [("ctx1", "internal"), ("ctx2", "cross-cluster")] {
            let weight = shares.map(|shares| if cluster == "ctx1" { shares.ctx1 } else { shares.ctx2 });
            flows.push(json!({
                "from": "api-gateway-ctx1",
                "to": format!("{}-{cluster}", service.host()),
                "weight": weight,
                "isActive": weight.is_some_and(|weight| weight > 0),
                "flowType": flow_type,
            }));
        }
    }
    flows
}

/// `2025-01-31 09:00:00` in Korea, which has no summer time; empty when never.
fn korean_time(micros: u64) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    match i64::try_from(micros).map(jiff::Timestamp::from_microsecond) {
        Ok(Ok(time)) if micros > 0 => time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => String::new(),
    }
}
