//! OpenAPI v3, as far as kubectl needs it to send manifests: which kinds can be patched, and that
//! the server checks fields itself (`fieldValidation`).
//!
//! Strategic merge patch is left out on purpose: kubectl then takes merge keys from its own types,
//! which are the same ones.

use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value, json};

use super::{discovery, negotiate};
use crate::{error::ApiError, kinds::Kind};

pub(super) fn index() -> Result<Response, ApiError> {
    let mut paths = Map::new();
    let mut add = |path: String| {
        // The hash lets clients cache; documents change with the program only.
        let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
        paths.insert(path, json!({ "serverRelativeURL": url }));
    };
    add("api/v1".to_owned());
    for (group, versions) in discovery::named_groups() {
        for version in versions {
            add(format!("apis/{group}/{version}"));
        }
    }
    negotiate::json(StatusCode::OK, &json!({ "paths": paths }))
}

pub(super) fn document(group: &str, version: &str) -> Result<Response, ApiError> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in discovery::kinds_of(group, version) {
        let identity = json!({ "group": group, "version": version, "kind": kind.kind });
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("{root}{scope}/{}/{{name}}", kind.plural);
        let schema = schema_name(kind, version);
        paths.insert(path, operations(&identity, &schema));
        schemas.insert(
            schema,
            json!({
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-group-version-kind": [identity],
                "properties": {
                    "apiVersion": { "type": "string" },
                    "kind": { "type": "string" },
                    "metadata": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                },
            }),
        );
    }
    if paths.is_empty() && !discovery::named_groups().iter().any(|(name, _)| *name == group) {
        return Err(ApiError::no_such_path());
    }
    negotiate::json(
        StatusCode::OK,
        &json!({
            "openapi": "3.0.0",
            "info": { "title": "smov", "version": env!("CARGO_PKG_VERSION") },
            "paths": paths,
            "components": { "schemas": schemas },
        }),
    )
}

fn schema_name(kind: &Kind, version: &str) -> String {
    let group: Vec<&str> = kind.group.split('.').rev().filter(|part| !part.is_empty()).collect();
    let group = if group.is_empty() { "core".to_owned() } else { group.join(".") };
    format!("{group}.{version}.{}", kind.kind)
}

fn operations(identity: &Value, schema: &str) -> Value {
    let parameter = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } });
    let parameters = ["dryRun", "fieldManager", "fieldValidation", "force"].map(parameter);
    let content = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
    json!({
        "get": {
            "x-kubernetes-action": "get",
            "x-kubernetes-group-version-kind": identity,
            "responses": { "200": { "description": "OK", "content": { "application/json": content } } },
        },
        "patch": {
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": identity,
            "parameters": parameters,
            "requestBody": { "required": true, "content": {
                "application/apply-patch+yaml": content,
                "application/json-patch+json": content,
                "application/merge-patch+json": content,
            } },
            "responses": { "200": { "description": "OK", "content": { "application/json": content } } },
        },
    })
}
