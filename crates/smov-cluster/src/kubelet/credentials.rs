//! A cluster's own tokens and kubeconfigs for its pods.

use serde_json::Value;

use super::Credentials;
use crate::cluster::Cluster;
use crate::error::ApiError;

impl Credentials for Cluster {
    fn token(&self, namespace: &str, account: &str, pod: &str) -> Result<String, ApiError> {
        self.authority().issue(namespace, account, Some(pod))
    }

    fn kubeconfig(&self, namespace: &str, account: &str, token: &str) -> Value {
        Self::kubeconfig(self, &format!("system:serviceaccount:{namespace}:{account}"), token)
    }
}
