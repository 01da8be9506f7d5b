//! Who is calling? A proxy shows its pod's service-account token, the API server says whose it is (TokenReview).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use smov_model::names::{Namespace, ServiceAccount};
use tokio::time::Instant;

use crate::api_server::ApiServer;
use crate::source::describe_api;

/// How long an answer is believed. A deleted pod's token may open streams for that long; the pod itself must exist in any case.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers kept; beyond, the old ones go.
const KEPT: usize = 1024;
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Namespace of the pod and its account.
    pub(crate) namespace: Namespace,
    /// The account.
    pub(crate) service_account: ServiceAccount,
    /// The pod that the token was issued for.
    pub(crate) pod: String,
}

/// A token that proves nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The API server does not know it.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// It is somebody's, but not a pod's.
    #[error("the token belongs to `{0}`, not to a pod's service account")]
    NotAPod(String),
    /// The API server did not answer.
    #[error("the API server could not check the token: {0}")]
    Unchecked(String),
}

/// Asks the API server and remembers its answers, by the token's hash.
pub(crate) struct TokenReviewer {
    server: ApiServer,
    /// Guards the remembered answers.
    known: Mutex<HashMap<[u8; 32], (Instant, Caller)>>,
}

impl TokenReviewer {
    pub(crate) fn new(server: ApiServer) -> Self {
        Self { server, known: Mutex::default() }
    }

    /// Whose token is it?
    pub(crate) async fn review(&self, token: &str) -> Result<Caller, TokenError> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((at, caller)) = self.known.lock().expect("no panic while it is held").get(&hash)
            && at.elapsed() < BELIEVED
        {
            return Ok(caller.clone());
        }
        let asked = tokio::time::timeout(PATIENCE, self.ask(token)).await;
        let status = asked.map_err(|_| TokenError::Unchecked("no answer within 5 s".to_owned()))??;
        let caller = caller(status)?;
        let mut known = self.known.lock().expect("no panic while it is held");
        if known.len() >= KEPT {
            known.retain(|_, (at, _)| at.elapsed() < BELIEVED);
        }
        if known.len() < KEPT {
            known.insert(hash, (Instant::now(), caller.clone()));
        }
        Ok(caller)
    }

    async fn ask(&self, token: &str) -> Result<Status, TokenError> {
        let unchecked = |error: &kube::Error| TokenError::Unchecked(describe_api(error));
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": { "token": token },
        });
        let request = http::Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes())
            .map_err(|error| unchecked(&kube::Error::HttpError(error)))?;
        let review: Review = self.server.client().request(request).await.map_err(|error| unchecked(&error))?;
        Ok(review.status)
    }
}

fn caller(status: Status) -> Result<Caller, TokenError> {
    if !status.authenticated {
        return Err(TokenError::Invalid(status.error.unwrap_or_else(|| "the API server does not know it".to_owned())));
    }
    let user = status.user.unwrap_or_default();
    let parts = user.username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let pod = user.extra.get(POD_NAME).and_then(|values| values.first());
    let named = parts.and_then(|(namespace, account)| Some((namespace.parse().ok()?, account.parse().ok()?)));
    match (named, pod) {
        (Some((namespace, service_account)), Some(pod)) => Ok(Caller { namespace, service_account, pod: pod.clone() }),
        _ => Err(TokenError::NotAPod(user.username)),
    }
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    authenticated: bool,
    error: Option<String>,
    user: Option<User>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    extra: HashMap<String, Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: serde_json::Value) -> Result<Caller, TokenError> {
        caller(serde_json::from_value(text).unwrap())
    }

    #[test]
    fn a_pods_token_names_its_account_and_pod() {
        let caller = status(json!({ "authenticated": true, "user": {
            "username": "system:serviceaccount:theater-msa:user-service", "extra": { POD_NAME: ["user-service-1"] } } }));
        let caller = caller.unwrap();
        assert_eq!(
            (caller.namespace.as_str(), caller.service_account.as_str(), caller.pod.as_str()),
            ("theater-msa", "user-service", "user-service-1")
        );
    }

    #[test]
    fn other_tokens_are_refused() {
        assert!(matches!(status(json!({ "authenticated": false, "error": "expired" })), Err(TokenError::Invalid(why)) if why == "expired"));
        for user in [
            json!({ "username": "admin" }),
            json!({ "username": "system:serviceaccount:a:b" }),
            json!({ "username": "system:serviceaccount::b", "extra": { POD_NAME: ["p"] } }),
        ] {
            assert!(matches!(status(json!({ "authenticated": true, "user": user })), Err(TokenError::NotAPod(_))));
        }
    }
}
