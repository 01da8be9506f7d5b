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
    VirtualService,
    DestinationRule,
    Gateway,
}

impl WatchedKind {
    /// All of them; rules last, so that a first list brings the Services before what names them.
    pub const ALL: [Self; 8] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::ReplicaSet,
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
    ];

    /// As `kind:` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::ReplicaSet => "ReplicaSet",
            Self::VirtualService => IstioKind::VirtualService.as_str(),
            Self::DestinationRule => IstioKind::DestinationRule.as_str(),
            Self::Gateway => IstioKind::Gateway.as_str(),
        }
    }

    /// Group and version in which it is watched: `networking.istio.io/v1`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Service | Self::Pod | Self::Node => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ReplicaSet => "apps/v1",
            Self::VirtualService | Self::DestinationRule | Self::Gateway => "networking.istio.io/v1",
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
            Self::VirtualService => "virtualservices",
            Self::DestinationRule => "destinationrules",
            Self::Gateway => "gateways",
        }
    }

    /// Is it a rule of Istio, which counts only from the own cluster?
    pub fn is_rule(self) -> bool {
        matches!(self, Self::VirtualService | Self::DestinationRule | Self::Gateway)
    }

    /// By the word of `kind:`.
    pub fn by_name(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// Of an object, by `apiVersion` and `kind`.
    pub fn of(object: &Value) -> Option<Self> {
        let kind = Self::by_name(object.get("kind")?.as_str()?)?;
        let known =
            if kind.is_rule() { IstioKind::of(object).is_some() } else { object.get("apiVersion")?.as_str()? == kind.api_version() };
        known.then_some(kind)
    }
}
