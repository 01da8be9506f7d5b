//! `pods/eviction`: a deletion that asks the PodDisruptionBudgets first, as `kubectl drain` does it.

use axum::{body::Body, response::Response};
use serde_json::{Value, json};

use super::{Api, Call, body, negotiate, route::Target};
use crate::{
    controllers::fields::{is_deleting, is_finished, is_ready, label_selector_matches, labels, name, number},
    error::ApiError,
    kinds::{POD, POD_DISRUPTION_BUDGET},
    registry::{DeleteOptions, Object, Registry, Selector, WriteOptions},
};

/// When a client should ask again, in seconds.
const RETRY_AFTER: u64 = 10;

pub(super) async fn handle(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = call.write_options()?;
    let (eviction, _) = body::object(&call.headers, &body::read(body).await?, options.field_validation)?;
    let (namespace, pod) = target.key();
    let asked = eviction["metadata"]["name"].as_str().unwrap_or(pod);
    if asked != pod {
        return Err(ApiError::bad_request(format!("name in URL does not match name in Eviction object: {pod} != {asked}")));
    }
    let wish = &eviction["deleteOptions"];
    let delete = DeleteOptions {
        user: call.user.name.clone(),
        grace_period_seconds: wish["gracePeriodSeconds"].as_i64(),
        uid: wish["preconditions"]["uid"].as_str().map(str::to_owned),
        dry_run: options.dry_run || wish["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
        ..DeleteOptions::default()
    };
    let found = api.registry().get(&POD, namespace, pod)?;
    if counts(&found) {
        permit(api.registry(), &found, &delete, &options)?;
    }
    api.registry().delete(&POD, namespace, pod, &delete)?;
    let mut response = negotiate::success(&Value::Null)?;
    *response.status_mut() = axum::http::StatusCode::CREATED;
    Ok(response)
}

/// A pod that has ended, waits for a node or is being deleted anyway is nobody's loss.
fn counts(pod: &Value) -> bool {
    !is_finished(pod) && !is_deleting(pod) && pod["status"]["phase"] != "Pending"
}

/// Takes one disruption from the pod's budget, or refuses.
fn permit(registry: &Registry, pod: &Object, delete: &DeleteOptions, options: &WriteOptions) -> Result<(), ApiError> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let budgets = registry.list(&POD_DISRUPTION_BUDGET, Some(namespace), &Selector::default()).0;
    let pod_labels = labels(pod);
    let mine: Vec<&Object> = budgets.iter().filter(|budget| label_selector_matches(&budget["spec"]["selector"], &pod_labels)).collect();
    let budget = match mine.as_slice() {
        [] => return Ok(()),
        [one] => *one,
        _ => {
            return Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    let status = |field: &str| number(budget, &format!("/status/{field}")).unwrap_or(0);
    if !is_ready(pod) {
        // One that serves nobody may go where enough others do, or where its owner said so.
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if always || (status("currentHealthy") >= status("desiredHealthy") && status("desiredHealthy") > 0) {
            return Ok(());
        }
    }
    let metadata = &budget["metadata"];
    if status("observedGeneration") < metadata["generation"].as_i64().unwrap_or(0) {
        return Err(too_many(&format!("The disruption budget {} is still being processed by the server.", name(budget))));
    }
    if delete.dry_run {
        return if status("disruptionsAllowed") > 0 { Ok(()) } else { Err(exhausted(budget)) };
    }
    let pod_name = name(pod).to_owned();
    registry
        .modify(&POD_DISRUPTION_BUDGET, namespace, name(budget), options, |budget| {
            let allowed = number(budget, "/status/disruptionsAllowed").unwrap_or(0);
            if allowed <= 0 {
                return Err(exhausted(budget));
            }
            budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
            budget["status"]["disruptedPods"][pod_name.as_str()] = json!(crate::controllers::fields::now_text());
            Ok(())
        })
        .map(drop)
}

fn exhausted(budget: &Value) -> ApiError {
    let status = |field: &str| number(budget, &format!("/status/{field}")).unwrap_or(0);
    let why = format!(
        "The disruption budget {} needs {} healthy pods and has {} currently",
        name(budget),
        status("desiredHealthy"),
        status("currentHealthy")
    );
    too_many(&why)
}

fn too_many(why: &str) -> ApiError {
    ApiError {
        code: 429,
        reason: "TooManyRequests",
        message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
        details: Some(json!({"causes": [{"reason": "DisruptionBudget", "message": why}], "retryAfterSeconds": RETRY_AFTER})),
    }
}
