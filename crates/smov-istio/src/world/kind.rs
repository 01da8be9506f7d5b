//! The kinds that a control plane watches.

use serde_json::Value;

use crate::resource::IstioKind;

/// A kind that a control plane watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are Kubernetes' and Istio's kinds")]
pub enum WatchedKind {
    Service,
    EndpointSlice,
    Pod,
    Node,
    ReplicaSet,
    /// Of these only the one that holds MeshConfig: `istio` in the root namespace.
    ConfigMap,
    /// Of these only those that hold certificates, for `credentialName`.
    Secret,
    ServiceEntry,
    WorkloadEntry,
    VirtualService,
    DestinationRule,
    Gateway,
    PeerAuthentication,
    AuthorizationPolicy,
    Telemetry,
}

impl WatchedKind {
    /// All of them; rules last, so that a first list brings the Services before what names them.
    pub const ALL: [Self; 15] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::ReplicaSet,
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
        Self::Telemetry,
    ];

    /// As `kind:` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::ReplicaSet => "ReplicaSet",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceEntry => IstioKind::ServiceEntry.as_str(),
            Self::WorkloadEntry => IstioKind::WorkloadEntry.as_str(),
            Self::VirtualService => IstioKind::VirtualService.as_str(),
            Self::DestinationRule => IstioKind::DestinationRule.as_str(),
            Self::Gateway => IstioKind::Gateway.as_str(),
            Self::PeerAuthentication => IstioKind::PeerAuthentication.as_str(),
            Self::AuthorizationPolicy => IstioKind::AuthorizationPolicy.as_str(),
            Self::Telemetry => IstioKind::Telemetry.as_str(),
        }
    }

    /// Group and version in which it is watched: `networking.istio.io/v1`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Service | Self::Pod | Self::Node | Self::ConfigMap | Self::Secret => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ReplicaSet => "apps/v1",
            Self::VirtualService | Self::DestinationRule | Self::Gateway | Self::ServiceEntry | Self::WorkloadEntry => {
                "networking.istio.io/v1"
            }
            Self::PeerAuthentication | Self::AuthorizationPolicy => "security.istio.io/v1",
            Self::Telemetry => "telemetry.istio.io/v1",
        }
    }

    /// As paths have it: `virtualservices`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Pod => "pods",
            Self::Node => "nodes",
            Self::ReplicaSet => "replicasets",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::ServiceEntry => "serviceentries",
            Self::WorkloadEntry => "workloadentries",
            Self::VirtualService => "virtualservices",
            Self::DestinationRule => "destinationrules",
            Self::Gateway => "gateways",
            Self::PeerAuthentication => "peerauthentications",
            Self::AuthorizationPolicy => "authorizationpolicies",
            Self::Telemetry => "telemetries",
        }
    }

    /// Is it configuration, which counts only from the own cluster?
    pub fn is_rule(self) -> bool {
        self.istio().is_some() || matches!(self, Self::ConfigMap | Self::Secret)
    }

    /// Is it read only in the root namespace?
    pub fn is_of_root_namespace(self) -> bool {
        self == Self::ConfigMap
    }

    fn istio(self) -> Option<IstioKind> {
        IstioKind::by_name(self.as_str())
    }

    /// By the word of `kind:`.
    pub fn by_name(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// Of an object, by `apiVersion` and `kind`.
    pub fn of(object: &Value) -> Option<Self> {
        let kind = Self::by_name(object.get("kind")?.as_str()?)?;
        let known = if kind.istio().is_some() {
            IstioKind::of(object).is_some()
        } else {
            object.get("apiVersion")?.as_str()? == kind.api_version()
        };
        known.then_some(kind)
    }
}
