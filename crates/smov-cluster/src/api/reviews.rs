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
use crate::{error::ApiError, identity::User, registry::FieldValidation};

pub(super) async fn review(api: &Api, call: &Call, review: Review, body: Body) -> Result<Response, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let bytes = body::read(body).await?;
    let (mut question, _) = body::object(&call.headers, &bytes, FieldValidation::Ignore)?;
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
        // Every known user may do everything so far: rules are stored but not enforced yet.
        Review::SelfSubjectAccess | Review::SubjectAccess => json!({ "allowed": true }),
        Review::SelfSubjectRules => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
    };
    negotiate::json(StatusCode::CREATED, &question)
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
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < 600 {
        return Err(ApiError::bad_request("spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes"));
    }
    let bound = &request["spec"]["boundObjectRef"];
    let pod = (bound["kind"] == "Pod").then(|| bound["name"].as_str().unwrap_or_default());
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let (namespace, name) = target.key();
    let token = api.inner.authority.issue_until(namespace, name, pod, Some(end.as_second()))?;
    request["metadata"] = json!({ "name": name, "namespace": namespace, "creationTimestamp": null });
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["status"] = json!({
        "token": token,
        "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    negotiate::json(StatusCode::CREATED, &request)
}
