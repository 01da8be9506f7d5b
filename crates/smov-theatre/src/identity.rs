//! Who answers: the three headers of the sample and the version, built once.

use http::{HeaderName, HeaderValue};

/// Cluster of the pod that answered.
pub const X_SERVICE_CLUSTER: HeaderName = HeaderName::from_static("x-service-cluster");
/// Name of the pod that answered.
pub const X_POD_NAME: HeaderName = HeaderName::from_static("x-pod-name");
/// Service that answered.
pub const X_SERVICE_NAME: HeaderName = HeaderName::from_static("x-service-name");
/// Its `APP_VERSION`.
pub const X_SERVICE_VERSION: HeaderName = HeaderName::from_static("x-service-version");

/// The pod that runs this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `CLUSTER_NAME`, else read off the pod's name, else `unknown`.
    pub cluster: String,
    /// `HOSTNAME`.
    pub pod: String,
    /// `user-service` and so on.
    pub service: String,
    /// `APP_VERSION`, `v1` when unset.
    pub version: String,
}

impl Identity {
    /// The headers that every answer carries. A value that no header can hold reads `unknown`.
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 4] {
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"));
        [
            (X_SERVICE_CLUSTER, value(&self.cluster)),
            (X_POD_NAME, value(&self.pod)),
            (X_SERVICE_NAME, value(&self.service)),
            (X_SERVICE_VERSION, value(&self.version)),
        ]
    }
}

/// The cluster that a pod's name tells of, as in `user-service-ctx2-754bc8dd6f-kghtc`.
pub(crate) fn cluster_in(pod: &str) -> &'static str {
    ["ctx1", "ctx2"].into_iter().find(|cluster| pod.contains(cluster)).unwrap_or("unknown")
}
