//! Questions about identity and permission, and tokens on request.

use axum::{
    body::Body,
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    Api, Call, body, negotiate,
    route::{Review, Target},
};
use crate::{
    error::{ApiError, Cause},
    identity::User,
    rbac::{self, Attributes, Rule},
    registry::FieldValidation,
};

pub(super) async fn review(api: &Api, call: &Call, review: &Review, body: Body) -> Result<Response, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let bytes = body::read(body).await?;
    let (mut question, _) = body::object(&call.headers, &bytes, FieldValidation::Ignore)?;
    if !question.is_object() {
        return Err(ApiError::bad_request("the body must be an object"));
    }
    question["metadata"] = json!({ "creationTimestamp": null });
    question["status"] = match review {
        Review::Token => {
            let token = question["spec"]["token"].as_str().unwrap_or_default();
            match api.inner.authority.authenticate(token) {
                Some(user) => json!({ "authenticated": true, "user": user_info(&user) }),
                None => json!({
                    "user": {},
                    "error": "the token is unknown, has expired, or its pod is gone",
                }),
            }
        }
        Review::SelfSubject => json!({ "userInfo": user_info(&call.user) }),
        Review::SelfSubjectAccess => verdict(api, &call.user, &question["spec"])?,
        Review::SubjectAccess => verdict(api, &subject(&question["spec"])?, &question["spec"])?,
        Review::LocalSubjectAccess(namespace) => {
            if question["spec"]["resourceAttributes"]["namespace"].as_str() != Some(namespace) {
                return Err(ApiError::bad_request("spec.resourceAttributes.namespace must match the namespace of the request"));
            }
            verdict(api, &subject(&question["spec"])?, &question["spec"])?
        }
        Review::SelfSubjectRules => rules(api, &call.user, question["spec"]["namespace"].as_str().unwrap_or_default())?,
    };
    negotiate::json(StatusCode::CREATED, &question)
}

/// The one that a `SubjectAccessReview` is about.
fn subject(spec: &Value) -> Result<User, ApiError> {
    let list = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let user = User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: list(&spec["groups"]),
        extra: spec["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.clone(), list(values))).collect(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        return Err(ApiError::bad_request("spec.user: Required value: at least one of user or group must be specified"));
    }
    Ok(user)
}

fn verdict(api: &Api, user: &User, spec: &Value) -> Result<Value, ApiError> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let asked = match (resource.is_object(), path.is_object()) {
        (true, false) => Attributes::Resource {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
        },
        (false, true) => Attributes::Path { verb: text(path, "verb"), path: text(path, "path") },
        _ => return Err(ApiError::bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")),
    };
    let verdict = rbac::authorize(api.registry(), user, &asked);
    let mut status = json!({ "allowed": verdict.allowed });
    if !verdict.reason.is_empty() {
        status["reason"] = json!(verdict.reason);
    }
    Ok(status)
}

fn rules(api: &Api, user: &User, namespace: &str) -> Result<Value, ApiError> {
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, broken) = rbac::rules_of(api.registry(), user, namespace);
    let (paths, resources): (Vec<Rule>, Vec<Rule>) = rules.into_iter().partition(|rule| !rule.urls.is_empty());
    let mut status = json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": !broken.is_empty() });
    if !broken.is_empty() {
        status["evaluationError"] = json!(broken);
    }
    Ok(status)
}

fn user_info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// `serviceaccounts/token`: what `kubectl create token` asks for.
pub(super) async fn token_request(api: &Api, call: &Call, target: &Target, body: Body) -> Result<Response, ApiError> {
    let bytes = body::read(body).await?;
    let (mut request, _) = body::object(&call.headers, &bytes, FieldValidation::Ignore)?;
    if !request.is_object() {
        return Err(ApiError::bad_request("the body must be an object"));
    }
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds > 1 << 32 {
        let cause = Cause::invalid("spec.expirationSeconds", &json!(seconds), "may not specify a duration larger than 2^32 seconds");
        return Err(ApiError::invalid_as("authentication.k8s.io", "TokenRequest", &cause));
    }
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        let cause = Cause::invalid("spec.expirationSeconds", &json!(seconds), why);
        return Err(ApiError::invalid_as("authentication.k8s.io", "TokenRequest", &cause));
    }
    let bound = &request["spec"]["boundObjectRef"];
    let expected = bound["uid"].as_str().filter(|uid| !uid.is_empty());
    let bound = bound["kind"].as_str().map(|kind| (kind, bound["name"].as_str().unwrap_or_default()));
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let (namespace, name) = target.key();
    let token = api.inner.authority.issue_for(namespace, name, bound, expected, Some(end.as_second()))?;
    request["metadata"] = json!({ "name": name, "namespace": namespace, "creationTimestamp": null });
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["status"] = json!({
        "token": token,
        "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    negotiate::json(StatusCode::CREATED, &request)
}
