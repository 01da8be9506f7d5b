//! The verbs on stored objects: get, list, create, update, delete; the others are handed on.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Api, Call, body, eviction, lists, live, logs,
    negotiate::{self, Form},
    patch, portforward, reviews,
    route::Target,
    scale, stream, table,
};
use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    rbac,
    registry::{DeleteOptions, Object, Propagation, WriteOptions},
};

pub(super) async fn handle(api: &Api, call: Call, target: Target, body: Body) -> Result<Response, ApiError> {
    match target.subresource.as_deref() {
        Some("scale") => return scale::handle(api, &call, &target, body).await,
        Some("exec" | "attach") => return live::handle(api, call, &target).await,
        Some("portforward") => return portforward::handle(api, call, &target).await,
        Some("eviction") if call.method == Method::POST => return eviction::handle(api, &call, &target, body).await,
        Some("kill") if call.method == Method::POST => return live::kill(api, &call, &target).await,
        Some("log") if call.method == Method::GET => return logs::handle(api, &call, &target),
        Some("token") if call.method == Method::POST => {
            return reviews::token_request(api, &call, &target, body).await;
        }
        None | Some("status" | "finalize") => {}
        Some(_) => return Err(ApiError::method_not_allowed()),
    }
    match (call.method.clone(), target.name.is_some()) {
        (Method::GET, true) if call.query.flag("watch") => stream::watch(api, &call, &target),
        (Method::GET, true) => get(api, &call, &target),
        (Method::GET, false) if call.query.flag("watch") => stream::watch(api, &call, &target),
        (Method::GET, false) => list(api, &call, &target),
        (Method::POST, false) => create(api, &call, &target, body).await,
        (Method::PUT, true) => update(api, &call, &target, body).await,
        (Method::PATCH, true) => {
            may_create_by_apply(api, &call, &target)?;
            patch::handle(api, &call, &target, body).await
        }
        (Method::DELETE, true) if target.subresource.is_none() => delete(api, &call, &target, body).await,
        (Method::DELETE, false) if target.kind != &crate::kinds::NAMESPACE => delete_collection(api, &call, &target, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Server-side apply of what is not there yet is a creation, and must be allowed as one.
fn may_create_by_apply(api: &Api, call: &Call, target: &Target) -> Result<(), ApiError> {
    let (namespace, name) = target.key();
    if !body::media_type(&call.headers).starts_with("application/apply-patch")
        || api.registry().find(target.kind, namespace, name).is_some()
    {
        return Ok(());
    }
    let asked = rbac::Attributes::Resource {
        verb: "create".to_owned(),
        group: target.kind.group.to_owned(),
        resource: target.kind.plural.to_owned(),
        subresource: target.subresource.clone().unwrap_or_default(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    rbac::require(api.registry(), &call.user, &asked)
}

impl Target {
    /// The parts of an object's key; kinds without a namespace have an empty one.
    pub(super) fn key(&self) -> (&str, &str) {
        (self.namespace.as_deref().unwrap_or_default(), self.name.as_deref().unwrap_or_default())
    }
}

fn get(api: &Api, call: &Call, target: &Target) -> Result<Response, ApiError> {
    let (namespace, name) = target.key();
    let object = api.registry().get(target.kind, namespace, name)?;
    one(StatusCode::OK, call, target, &object)
}

/// One object in the wanted form and version.
pub(super) fn one(code: StatusCode, call: &Call, target: &Target, object: &Object) -> Result<Response, ApiError> {
    match Form::of(&call.headers)? {
        Form::Table => {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let table = table::of(target, std::slice::from_ref(object), &json!({ "resourceVersion": version }), call);
            negotiate::json(code, &table)
        }
        Form::Metadata => negotiate::json(code, &metadata_only(object)),
        form @ (Form::Full | Form::Yaml) => negotiate::object(code, form, &in_version(target.kind, &target.version, object)),
    }
}

/// The object under the asked `apiVersion`.
pub(super) fn in_version(kind: &Kind, version: &str, object: &Object) -> Object {
    if version == kind.version {
        return Arc::clone(object);
    }
    let mut converted = Value::clone(object);
    converted["apiVersion"] = json!(kind.api_version_as(version));
    Arc::new(converted)
}

pub(super) fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

#[derive(Serialize)]
struct List<'a, T> {
    kind: String,
    #[serde(rename = "apiVersion")]
    api_version: String,
    metadata: Value,
    items: &'a [T],
}

fn list(api: &Api, call: &Call, target: &Target) -> Result<Response, ApiError> {
    let selector = call.query.selector(target.kind)?;
    let (objects, metadata) = lists::read(api.registry(), &call.query, target, &selector)?;
    answer_list(call, target, &objects, metadata)
}

fn answer_list(call: &Call, target: &Target, objects: &[Object], metadata: Value) -> Result<Response, ApiError> {
    let form = Form::of(&call.headers)?;
    match form {
        Form::Table => negotiate::json(StatusCode::OK, &table::of(target, objects, &metadata, call)),
        Form::Metadata => {
            let items: Vec<Value> = objects.iter().map(|object| metadata_only(object)).collect();
            let list =
                List { kind: "PartialObjectMetadataList".to_owned(), api_version: "meta.k8s.io/v1".to_owned(), metadata, items: &items };
            negotiate::json(StatusCode::OK, &list)
        }
        Form::Full | Form::Yaml => {
            let converted: Vec<Object>;
            let items = if target.version == target.kind.version {
                objects
            } else {
                let convert = |object| in_version(target.kind, &target.version, object);
                converted = objects.iter().map(convert).collect();
                &converted
            };
            let list = List {
                kind: format!("{}List", target.kind.kind),
                api_version: target.kind.api_version_as(&target.version),
                metadata,
                items,
            };
            negotiate::object(StatusCode::OK, form, &list)
        }
    }
}

impl Call {
    /// How a write is meant.
    pub(super) fn write_options(&self) -> Result<WriteOptions, ApiError> {
        self.check_options()?;
        Ok(WriteOptions {
            user: self.user.name.clone(),
            identity: Some(Arc::new(self.user.clone())),
            dry_run: self.query.dry_run(&self.method)?,
            field_validation: self.query.field_validation()?,
            field_manager: self.field_manager(),
            tracked: true,
        })
    }
}

async fn create(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = call.write_options()?;
    let bytes = body::read(body).await?;
    let (mut object, mut warnings) = body::object_of(target.kind.kind, &call.headers, &bytes, options.field_validation)?;
    fit(target, &mut object)?;
    let written = api.registry().create(object, &options)?;
    warnings.extend(written.warnings);
    let response = one(StatusCode::CREATED, call, target, &written.object)?;
    Ok(negotiate::warn(response, &warnings))
}

async fn update(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = call.write_options()?;
    let bytes = body::read(body).await?;
    let (mut object, mut warnings) = body::object_of(target.kind.kind, &call.headers, &bytes, options.field_validation)?;
    fit(target, &mut object)?;
    let written = match target.subresource.as_deref() {
        Some("status") => api.registry().update_status(object, &options)?,
        _ => api.registry().update(object, &options)?,
    };
    warnings.extend(written.warnings);
    answer_written(call, target, &written.object, &warnings)
}

/// The answer to an accepted update or patch.
pub(super) fn answer_written(call: &Call, target: &Target, object: &Object, warnings: &[String]) -> Result<Response, ApiError> {
    let response = one(StatusCode::OK, call, target, object)?;
    Ok(negotiate::warn(response, warnings))
}

/// Kind, namespace and name in a body must be those of the path; what is absent is filled in.
pub(super) fn fit(target: &Target, object: &mut Value) -> Result<(), ApiError> {
    let kind = target.kind;
    if !object.is_object() {
        return Err(ApiError::bad_request("the body must be an object"));
    }
    let expected = kind.api_version_as(&target.version);
    let same_kind = object["kind"].as_str().is_none_or(|found| found == kind.kind)
        && object["apiVersion"].as_str().is_none_or(|found| found == expected);
    if !same_kind {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        return Err(ApiError::another_kind(kind, text("apiVersion"), text("kind"), crate::kinds::of_object(object)));
    }
    object["apiVersion"] = json!(expected);
    object["kind"] = json!(kind.kind);
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        // The registry tells what is wrong with it.
        return Ok(());
    }
    let namespace = metadata["namespace"].as_str().filter(|found| !found.is_empty());
    match (namespace, target.namespace.as_deref()) {
        (Some(found), Some(wanted)) if found != wanted => {
            return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
        }
        (None, Some(wanted)) => metadata["namespace"] = json!(wanted),
        _ => {}
    }
    let name = metadata["name"].as_str().filter(|found| !found.is_empty());
    match (name, target.name.as_deref()) {
        (Some(found), Some(wanted)) if found != wanted => {
            let message = format!("the name of the object ({found}) does not match the name on the URL ({wanted})");
            return Err(ApiError::bad_request(message));
        }
        (None, Some(wanted)) => metadata["name"] = json!(wanted),
        _ => {}
    }
    Ok(())
}

fn delete_options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, ApiError> {
    let body: Value =
        if bytes.is_empty() { Value::Null } else { body::object(&call.headers, bytes, crate::registry::FieldValidation::Ignore)?.0 };
    let text = |field: &str| body[field].as_str().or_else(|| call.query.text(field));
    let propagation = match text("propagationPolicy") {
        None | Some("Background") => Propagation::Background,
        Some("Foreground") => Propagation::Foreground,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let cause = Cause::not_supported("propagationPolicy", &json!(other), &supported);
            return Err(ApiError::invalid_options("DeleteOptions", &cause));
        }
    };
    let orphan = body["orphanDependents"].as_bool().unwrap_or(false);
    let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    Ok(DeleteOptions {
        user: call.user.name.clone(),
        grace_period_seconds: match body["gracePeriodSeconds"].as_i64() {
            Some(seconds) => Some(seconds),
            None => call.query.number("gracePeriodSeconds")?,
        },
        propagation: if orphan { Propagation::Orphan } else { propagation },
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: call.query.dry_run(&call.method)? || body["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
    })
}

async fn delete(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = delete_options(call, &body::read(body).await?)?;
    let (namespace, name) = target.key();
    let deleted = api.registry().delete(target.kind, namespace, name, &options)?;
    if !deleted.gone {
        return one(StatusCode::OK, call, target, &deleted.object);
    }
    let mut details = json!({
        "name": name, "kind": target.kind.plural, "uid": deleted.object["metadata"]["uid"],
    });
    if !target.kind.group.is_empty() {
        details["group"] = json!(target.kind.group);
    }
    negotiate::success(&details)
}

async fn delete_collection(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let options = delete_options(call, &body::read(body).await?)?;
    let selector = call.query.selector(target.kind)?;
    let namespace = target.namespace.as_deref();
    let (objects, version) = api.registry().list(target.kind, namespace, &selector);
    for object in &objects {
        let metadata = &object["metadata"];
        let key = |field: &str| metadata[field].as_str().unwrap_or_default();
        match api.registry().delete(target.kind, key("namespace"), key("name"), &options) {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    answer_list(call, target, &objects, json!({ "resourceVersion": version.to_string() }))
}
