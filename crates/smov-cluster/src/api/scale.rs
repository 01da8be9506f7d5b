//! The `scale` of Deployments and ReplicaSets.

use axum::{
    body::Body,
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    Api, Call, body,
    negotiate::{self, Form},
    patch,
    route::Target,
    table,
};
use crate::error::ApiError;

pub(super) async fn handle(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let (namespace, name) = target.key();
    let options = call.write_options()?;
    let object = match call.method {
        Method::GET => api.registry().get(target.kind, namespace, name)?,
        Method::PUT => {
            let bytes = body::read(body).await?;
            let (scale, _) = body::object(&call.headers, &bytes, options.field_validation)?;
            let change = |object: &mut Value| set(object, &scale, name);
            api.registry().modify(target.kind, namespace, name, &options, change)?.object
        }
        Method::PATCH => {
            let bytes = body::read(body).await?;
            let patch = patch::Patch::parse(call, &bytes)?;
            let change = |object: &mut Value| {
                let present = scale_of(object);
                let scale = patch.apply(None, &present)?;
                set(object, &scale, name)
            };
            api.registry().modify(target.kind, namespace, name, &options, change)?.object
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    match Form::of(&call.headers)? {
        Form::Table => negotiate::json(StatusCode::OK, &table(&scale_of(&object))),
        form => negotiate::object(StatusCode::OK, form, &scale_of(&object)),
    }
}

/// The one row that `kubectl get --subresource=scale` prints.
fn table(scale: &Value) -> Value {
    let column = |name: &str, r#type: &str| json!({ "name": name, "type": r#type, "format": if name == "Name" { "name" } else { "" }, "description": "", "priority": 0 });
    let metadata = &scale["metadata"];
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": { "resourceVersion": metadata["resourceVersion"] },
        "columnDefinitions": [column("Name", "string"), column("Desired", "integer"), column("Available", "integer"), column("Age", "string")],
        "rows": [{
            "cells": [
                metadata["name"],
                scale["spec"]["replicas"],
                scale["status"]["replicas"],
                table::age(scale),
            ],
            "object": { "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata },
        }],
    })
}

fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let selector: Vec<String> = object["spec"]["selector"]["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": { "replicas": object["spec"]["replicas"] },
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or_default(),
            "selector": selector.join(","),
        },
    })
}

fn set(object: &mut Value, scale: &Value, name: &str) -> Result<(), ApiError> {
    if scale["metadata"]["name"].as_str().is_some_and(|found| found != name) {
        return Err(ApiError::bad_request("the name of the provided object does not match the name sent on the request"));
    }
    if let Some(version) = scale["metadata"]["resourceVersion"].as_str().filter(|text| !text.is_empty()) {
        // Checked by the registry when it writes.
        object["metadata"]["resourceVersion"] = json!(version);
    }
    let wanted = &scale["spec"]["replicas"];
    let replicas = match wanted {
        // What nobody says is none, as for Kubernetes.
        Value::Null => 0,
        wanted => wanted.as_i64().and_then(|wanted| i32::try_from(wanted).ok()).ok_or_else(|| {
            ApiError::bad_request(format!(
                "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {} into Go struct field ScaleSpec.spec.replicas of type int32",
                crate::schema::go_kind(wanted)
            ))
        })?,
    };
    object["spec"]["replicas"] = json!(replicas);
    Ok(())
}
