//! Which kinds of object a cluster knows, under which names and versions.
//!
//! One static per kind; an object is always stored in `version`, the first of `versions`.

use serde_json::Value;

/// A kind of object and how it is addressed.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty is the core group.
    pub group: &'static str,
    /// The stored and preferred version.
    pub version: &'static str,
    /// All served versions, preferred first; they differ by `apiVersion` only.
    pub versions: &'static [&'static str],
    /// As `Deployment`.
    pub kind: &'static str,
    /// As `deployments`.
    pub plural: &'static str,
    /// As `deployment`.
    pub singular: &'static str,
    /// What kubectl users type, as `deploy`.
    pub short_names: &'static [&'static str],
    /// Does it live in a namespace?
    pub namespaced: bool,
    /// As `all`, `istio-io`.
    pub categories: &'static [&'static str],
    /// Served below an object: `status`, `scale`, `log`…
    pub subresources: &'static [&'static str],
    /// Checked and converted by somebody else (Istio's kinds), not by Kubernetes' own types.
    pub custom: bool,
}

impl Kind {
    /// As in messages: `pods`, `deployments.apps`.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `v1`, `apps/v1`: the stored form.
    pub fn api_version(&self) -> String {
        self.api_version_as(self.version)
    }

    /// The same for one of the served versions.
    pub fn api_version_as(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Has this kind the subresource?
    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Place of this kind in [`kinds`].
    pub(crate) fn index(&self) -> usize {
        KINDS.iter().position(|kind| std::ptr::eq(*kind, self) || *kind == self).expect("every Kind is one of KINDS")
    }
}

const STATUS: &[&str] = &["status"];
const STATUS_SCALE: &[&str] = &["status", "scale"];
const ISTIO: &[&str] = &["istio-io", "networking-istio-io"];
const SECURITY: &[&str] = &["istio-io", "security-istio-io"];
const THREE: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const TWO: &[&str] = &["v1", "v1beta1"];

macro_rules! kind {
    ($(#[$doc:meta])* $id:ident, $group:literal, $versions:expr, $kind:literal, $plural:literal, $singular:literal,
     $short:expr, $namespaced:literal, $categories:expr, $subresources:expr, $custom:literal) => {
        $(#[$doc])*
        pub static $id: Kind = Kind {
            group: $group,
            version: $versions[0],
            versions: $versions,
            kind: $kind,
            plural: $plural,
            singular: $singular,
            short_names: $short,
            namespaced: $namespaced,
            categories: $categories,
            subresources: $subresources,
            custom: $custom,
        };
    };
}

const V1: &[&str] = &["v1"];
const NONE: &[&str] = &[];
const ALL: &[&str] = &["all"];

kind!(/** Namespace. */ NAMESPACE, "", V1, "Namespace", "namespaces", "namespace", &["ns"], false, NONE, &["status", "finalize"], false);
kind!(/** Node. */ NODE, "", V1, "Node", "nodes", "node", &["no"], false, NONE, STATUS, false);
kind!(/** Pod. */ POD, "", V1, "Pod", "pods", "pod", &["po"], true, ALL, &["status", "log", "exec", "attach", "portforward", "eviction"], false);
kind!(/** Service. */ SERVICE, "", V1, "Service", "services", "service", &["svc"], true, ALL, STATUS, false);
kind!(/** Endpoints (the old form). */ ENDPOINTS, "", V1, "Endpoints", "endpoints", "endpoints", &["ep"], true, NONE, NONE, false);
kind!(/** ConfigMap. */ CONFIG_MAP, "", V1, "ConfigMap", "configmaps", "configmap", &["cm"], true, NONE, NONE, false);
kind!(/** Secret. */ SECRET, "", V1, "Secret", "secrets", "secret", &[], true, NONE, NONE, false);
kind!(/** ServiceAccount. */ SERVICE_ACCOUNT, "", V1, "ServiceAccount", "serviceaccounts", "serviceaccount", &["sa"], true, NONE, &["token"], false);
kind!(/** Event (core/v1). */ EVENT, "", V1, "Event", "events", "event", &["ev"], true, NONE, NONE, false);
kind!(/** PersistentVolumeClaim. */ PERSISTENT_VOLUME_CLAIM, "", V1, "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", &["pvc"], true, NONE, STATUS, false);
kind!(/** Deployment. */ DEPLOYMENT, "apps", V1, "Deployment", "deployments", "deployment", &["deploy"], true, ALL, STATUS_SCALE, false);
kind!(/** ReplicaSet. */ REPLICA_SET, "apps", V1, "ReplicaSet", "replicasets", "replicaset", &["rs"], true, ALL, STATUS_SCALE, false);
kind!(/** EndpointSlice. */ ENDPOINT_SLICE, "discovery.k8s.io", V1, "EndpointSlice", "endpointslices", "endpointslice", &[], true, NONE, NONE, false);
kind!(/** Role. */ ROLE, "rbac.authorization.k8s.io", V1, "Role", "roles", "role", &[], true, NONE, NONE, false);
kind!(/** RoleBinding. */ ROLE_BINDING, "rbac.authorization.k8s.io", V1, "RoleBinding", "rolebindings", "rolebinding", &[], true, NONE, NONE, false);
kind!(/** ClusterRole. */ CLUSTER_ROLE, "rbac.authorization.k8s.io", V1, "ClusterRole", "clusterroles", "clusterrole", &[], false, NONE, NONE, false);
kind!(/** ClusterRoleBinding. */ CLUSTER_ROLE_BINDING, "rbac.authorization.k8s.io", V1, "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", &[], false, NONE, NONE, false);
kind!(/** Lease. */ LEASE, "coordination.k8s.io", V1, "Lease", "leases", "lease", &[], true, NONE, NONE, false);
kind!(/** PodDisruptionBudget. */ POD_DISRUPTION_BUDGET, "policy", V1, "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget", &["pdb"], true, NONE, STATUS, false);
kind!(/** CustomResourceDefinition: those of the mesh's kinds. */ CUSTOM_RESOURCE_DEFINITION, "apiextensions.k8s.io", V1, "CustomResourceDefinition", "customresourcedefinitions", "customresourcedefinition", &["crd", "crds"], false, &["api-extensions"], STATUS, false);
kind!(/** Istio's VirtualService. */ VIRTUAL_SERVICE, "networking.istio.io", THREE, "VirtualService", "virtualservices", "virtualservice", &["vs"], true, ISTIO, STATUS, true);
kind!(/** Istio's DestinationRule. */ DESTINATION_RULE, "networking.istio.io", THREE, "DestinationRule", "destinationrules", "destinationrule", &["dr"], true, ISTIO, STATUS, true);
kind!(/** Istio's Gateway. */ GATEWAY, "networking.istio.io", THREE, "Gateway", "gateways", "gateway", &["gw"], true, ISTIO, STATUS, true);
kind!(/** Istio's ServiceEntry. */ SERVICE_ENTRY, "networking.istio.io", THREE, "ServiceEntry", "serviceentries", "serviceentry", &["se"], true, ISTIO, STATUS, true);
kind!(/** Istio's Sidecar. */ SIDECAR, "networking.istio.io", THREE, "Sidecar", "sidecars", "sidecar", &[], true, ISTIO, STATUS, true);
kind!(/** Istio's WorkloadEntry. */ WORKLOAD_ENTRY, "networking.istio.io", THREE, "WorkloadEntry", "workloadentries", "workloadentry", &["we"], true, ISTIO, STATUS, true);
kind!(/** Istio's PeerAuthentication. */ PEER_AUTHENTICATION, "security.istio.io", TWO, "PeerAuthentication", "peerauthentications", "peerauthentication", &["pa"], true, SECURITY, STATUS, true);
kind!(/** Istio's AuthorizationPolicy. */ AUTHORIZATION_POLICY, "security.istio.io", TWO, "AuthorizationPolicy", "authorizationpolicies", "authorizationpolicy", &["ap"], true, SECURITY, STATUS, true);
kind!(/** Istio's RequestAuthentication. */ REQUEST_AUTHENTICATION, "security.istio.io", TWO, "RequestAuthentication", "requestauthentications", "requestauthentication", &["ra"], true, SECURITY, STATUS, true);
kind!(/** Istio's Telemetry. */ TELEMETRY, "telemetry.istio.io", &["v1", "v1alpha1"], "Telemetry", "telemetries", "telemetry", &["telemetry"], true, &["istio-io", "telemetry-istio-io"], STATUS, true);

static KINDS: &[&Kind] = &[
    &NAMESPACE,
    &NODE,
    &POD,
    &SERVICE,
    &ENDPOINTS,
    &CONFIG_MAP,
    &SECRET,
    &SERVICE_ACCOUNT,
    &EVENT,
    &PERSISTENT_VOLUME_CLAIM,
    &DEPLOYMENT,
    &REPLICA_SET,
    &ENDPOINT_SLICE,
    &ROLE,
    &ROLE_BINDING,
    &CLUSTER_ROLE,
    &CLUSTER_ROLE_BINDING,
    &LEASE,
    &POD_DISRUPTION_BUDGET,
    &CUSTOM_RESOURCE_DEFINITION,
    &VIRTUAL_SERVICE,
    &DESTINATION_RULE,
    &GATEWAY,
    &SERVICE_ENTRY,
    &SIDECAR,
    &WORKLOAD_ENTRY,
    &PEER_AUTHENTICATION,
    &AUTHORIZATION_POLICY,
    &REQUEST_AUTHENTICATION,
    &TELEMETRY,
];

/// Every kind, core group first.
pub fn kinds() -> &'static [&'static Kind] {
    KINDS
}

/// The kind of this name, as `Deployment` (names are unique over all groups here).
pub fn by_kind(kind: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|known| known.kind == kind)
}

/// The kind with this plural in this group.
pub fn by_plural(group: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|known| known.group == group && known.plural == plural)
}

/// The kind of an object by its `apiVersion` and `kind`, if it is served.
pub fn of_object(object: &Value) -> Option<&'static Kind> {
    let known = by_kind(object["kind"].as_str()?)?;
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    (known.group == group && known.versions.contains(&version)).then_some(known)
}

/// The kind that a person may mean by `name`: plural, singular, short name, any case.
pub fn by_any_name(name: &str) -> Option<&'static Kind> {
    let name = name.to_lowercase();
    let (name, group) = match name.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (name.as_str(), None),
    };
    KINDS.iter().copied().find(|known| {
        group.is_none_or(|group| known.group == group)
            && (known.plural == name || known.singular == name || known.short_names.contains(&name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_all_its_names() {
        for kind in kinds() {
            assert_eq!(by_kind(kind.kind), Some(*kind));
            assert_eq!(by_plural(kind.group, kind.plural), Some(*kind));
            for name in kind.short_names {
                assert_eq!(by_any_name(name), Some(*kind), "{name}");
            }
            assert_eq!(kinds()[kind.index()], *kind);
        }
    }

    #[test]
    fn an_object_names_its_kind_in_any_served_version() {
        let object = serde_json::json!({ "apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService" });
        assert_eq!(of_object(&object), Some(&VIRTUAL_SERVICE));
        let unknown = serde_json::json!({ "apiVersion": "networking.istio.io/v2", "kind": "VirtualService" });
        assert_eq!(of_object(&unknown), None);
    }
}
