//! Workloads: the running processes behind addresses, as metrics and the page name them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{KubeCluster, Namespace, ServiceAccount};

/// One pod as the mesh sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// The pod's name: `user-service-ctx1-754bc8dd6f-kghtc`.
    pub pod: String,
    /// The name of what owns the pod, a Deployment as a rule: `user-service-ctx1`.
    pub name: String,
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The Kubernetes cluster in which it runs.
    pub cluster: KubeCluster,
    /// Its service account, which is its identity.
    pub service_account: ServiceAccount,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// Region of its node (`topology.kubernetes.io/region`); empty when unknown.
    pub region: String,
    /// Zone of its node; empty when unknown.
    pub zone: String,
    /// Does the pod have a sidecar?
    pub has_sidecar: bool,
}

impl Workload {
    /// The place inside the zone (`topology.istio.io/subzone`, which Istio puts on every endpoint); empty when unknown.
    pub fn subzone(&self) -> &str {
        self.label(&["topology.istio.io/subzone"]).unwrap_or_default()
    }

    /// Where it runs, as `localityLbSetting` writes it: `region/zone/subzone`, always with both slashes.
    pub fn locality(&self) -> String {
        format!("{}/{}/{}", self.region, self.zone, self.subzone())
    }

    /// Istio's canonical service name: label `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, else `app`, else the
    /// workload's name (<https://istio.io/latest/docs/ops/deployment/application-requirements/>).
    pub fn canonical_service(&self) -> &str {
        self.label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or(&self.name)
    }

    /// Istio's canonical revision: the `version` label by its several names, else `latest`.
    pub fn canonical_revision(&self) -> &str {
        self.label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]).unwrap_or("latest")
    }

    /// The label `app`, as Istio's metrics have it.
    pub fn app(&self) -> &str {
        self.label(&["app"]).unwrap_or("unknown")
    }

    /// The label `version`, as Istio's metrics have it.
    pub fn version(&self) -> &str {
        self.label(&["version"]).unwrap_or("unknown")
    }

    fn label(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.labels.get(*key)).map(String::as_str)
    }
}
