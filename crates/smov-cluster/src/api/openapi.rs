//! OpenAPI documents: `/openapi/v3`, one document per group and version, and `/openapi/v2`.
//!
//! They are made when they are first asked for and kept. The index names each document with the
//! hash of its content, so that kubectl keeps what it has until the content changes.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use super::{Api, Call, discovery, negotiate};
use crate::{error::ApiError, registry::Registry};

mod components;
mod paths;
mod proto;

use components::{Components, Style};

/// What kubectl asks version 2 for; it takes nothing else.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What the answer is called.
const PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// A document under its hash never changes.
const FOREVER: &str = "public, immutable";

/// One document and the hash of its content.
struct Document {
    text: Bytes,
    hash: String,
}

impl Document {
    fn new(text: Vec<u8>) -> Self {
        let hash = Sha512::digest(&text).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { text: text.into(), hash }
    }
}

/// All documents of one API server.
pub(super) struct Documents {
    index: Bytes,
    /// By path below `/openapi/v3/`.
    groups: BTreeMap<String, Document>,
    version2: Document,
    version2_protobuf: Document,
}

impl Documents {
    fn make(registry: &Registry) -> Result<Self, ApiError> {
        let (mut groups, mut index) = (BTreeMap::new(), Map::new());
        for (group, version) in group_versions() {
            let path = document_path(group, version);
            let text = serde_json::to_vec(&version3(registry, group, version)).map_err(ApiError::internal)?;
            let document = Document::new(text);
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            index.insert(path.clone(), json!({ "serverRelativeURL": url }));
            groups.insert(path, document);
        }
        let version2 = version2(registry);
        Ok(Self {
            index: serde_json::to_vec(&json!({ "paths": index })).map_err(ApiError::internal)?.into(),
            groups,
            version2_protobuf: Document::new(proto::encode(&version2)),
            version2: Document::new(serde_json::to_vec(&version2).map_err(ApiError::internal)?),
        })
    }
}

fn group_versions() -> Vec<(&'static str, &'static str)> {
    let named = discovery::named_groups();
    let named = named.into_iter().flat_map(|(group, versions)| versions.into_iter().map(move |version| (group, version)));
    let mut all: Vec<_> = std::iter::once(("", "v1")).chain(named).collect();
    all.sort_unstable();
    all
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn information() -> Value {
    json!({ "title": "Kubernetes", "version": env!("CARGO_PKG_VERSION") })
}

fn version3(registry: &Registry, group: &'static str, version: &'static str) -> Value {
    let mut components = Components::new(Style::Version3);
    let mut paths = Map::new();
    for kind in discovery::kinds_of(group, version) {
        components.add_kind(registry, kind, version);
        paths::of_kind(kind, version, Style::Version3, &mut paths);
    }
    for (plural, kind) in discovery::reviews_of(group) {
        components.add_review(group, version, kind);
        paths::of_review(group, version, plural, kind, Style::Version3, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": information(),
        "paths": paths,
        "components": { "schemas": components.into_map() },
    })
}

fn version2(registry: &Registry) -> Value {
    let mut components = Components::new(Style::Version2);
    let mut paths = Map::new();
    for (group, version) in group_versions() {
        for kind in discovery::kinds_of(group, version) {
            components.add_kind(registry, kind, version);
            paths::of_kind(kind, version, Style::Version2, &mut paths);
        }
        for (plural, kind) in discovery::reviews_of(group) {
            components.add_review(group, version, kind);
            paths::of_review(group, version, plural, kind, Style::Version2, &mut paths);
        }
    }
    json!({ "swagger": "2.0", "info": information(), "paths": paths, "definitions": components.into_map() })
}

/// The documents, made now where nobody has asked before.
fn documents(api: &Api) -> Result<&Documents, ApiError> {
    if let Some(known) = api.inner.documents.get() {
        return Ok(known);
    }
    let made = Documents::make(api.registry())?;
    Ok(api.inner.documents.get_or_init(|| made))
}

pub(super) fn index(api: &Api) -> Result<Response, ApiError> {
    Ok(negotiate::with_type(StatusCode::OK, "application/json", documents(api)?.index.clone()))
}

pub(super) fn document(api: &Api, call: &Call, group: &str, version: &str) -> Result<Response, ApiError> {
    let path = document_path(group, version);
    let document = documents(api)?.groups.get(&path).ok_or_else(ApiError::no_such_path)?;
    let asked = call.query.text("hash");
    if let Some(asked) = asked
        && asked != document.hash
    {
        // Old links lead to the present document.
        let mut response = negotiate::with_type(StatusCode::MOVED_PERMANENTLY, "application/json", Bytes::new());
        let place = format!("/openapi/v3/{path}?hash={}", document.hash);
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&place).map_err(ApiError::internal)?);
        return Ok(response);
    }
    let mut response = serve(&call.headers, document, "application/json")?;
    if asked.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOREVER));
    }
    Ok(response)
}

pub(super) fn whole(api: &Api, call: &Call) -> Result<Response, ApiError> {
    let documents = documents(api)?;
    let accept = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains(PROTOBUF) || accept.contains(PROTOBUF_ANSWER) {
        return serve(&call.headers, &documents.version2_protobuf, PROTOBUF_ANSWER);
    }
    serve(&call.headers, &documents.version2, "application/json")
}

/// The document, or that the client has it already.
fn serve(headers: &HeaderMap, document: &Document, media: &'static str) -> Result<Response, ApiError> {
    let tag = format!("\"{}\"", document.hash);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|known| known.contains(&tag));
    let mut response = if known {
        negotiate::with_type(StatusCode::NOT_MODIFIED, media, Bytes::new())
    } else {
        negotiate::with_type(StatusCode::OK, media, document.text.clone())
    };
    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&tag).map_err(ApiError::internal)?);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}
