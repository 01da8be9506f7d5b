//! Kubernetes' own objects as far as a mesh reads them: Services, EndpointSlices, Pods, Nodes, ReplicaSets.
//!
//! Read from untyped JSON and kept small, so that a status update which changes nothing for the mesh compares equal.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::resource::Metadata;

mod credential;
mod protocol;
pub use credential::Credential;
pub use protocol::PortProtocol;

/// A Service, as one cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `spec.clusterIPs` that are addresses; none for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// Pods that it leads to; empty = endpoints are written by hand.
    pub selector: BTreeMap<String, String>,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
    /// `metadata.creationTimestamp`.
    pub creation_timestamp: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// The annotation `networking.istio.io/exportTo`, split; empty = all namespaces.
    pub export_to: Vec<String>,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty when the only one.
    pub name: String,
    /// The number that clients dial.
    pub number: u16,
    /// Where it leads on the pod.
    pub target: TargetPort,
    /// What it speaks.
    pub protocol: PortProtocol,
}

/// `targetPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of a container port.
    Name(String),
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service (label `kubernetes.io/service-name`).
    pub service: String,
    /// Port numbers by port name.
    pub ports: BTreeMap<String, u16>,
    /// The endpoints that serve: ready and not terminating.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The pod, by `targetRef`.
    pub pod: Option<String>,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its service account.
    pub service_account: String,
    /// Its node; empty before scheduling.
    pub node: String,
    /// Its address; none before it has one, none when it ended.
    pub address: Option<IpAddr>,
    /// Its owner: kind and name.
    pub owner: Option<(String, String)>,
    /// Numbers of named container ports.
    pub named_ports: BTreeMap<String, u16>,
    /// Is there a container `istio-proxy`, beside others? Alone it is a gateway.
    pub has_sidecar: bool,
    /// Is nothing said against its being ready?
    pub ready: bool,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `topology.kubernetes.io/region`.
    pub region: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: String,
    /// `topology.istio.io/subzone`.
    pub subzone: String,
}

/// A ReplicaSet: only who owns it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSet {
    /// The Deployment.
    pub deployment: Option<String>,
}

// ---- the JSON that they are read from ----

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct OwnerReference {
    kind: String,
    name: String,
    controller: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Owned {
    owner_references: Vec<OwnerReference>,
}

impl Owned {
    fn owner(self) -> Option<(String, String)> {
        let mut references = self.owner_references;
        let index = references.iter().position(|reference| reference.controller).unwrap_or(0);
        (index < references.len()).then(|| references.swap_remove(index)).map(|reference| (reference.kind, reference.name))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceObject {
    metadata: AnnotatedMetadata,
    spec: ServiceSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AnnotatedMetadata {
    #[serde(flatten)]
    common: Metadata,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    selector: BTreeMap<String, String>,
    ports: Vec<ServicePortObject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePortObject {
    #[serde(default)]
    name: String,
    port: u16,
    #[serde(default)]
    target_port: Option<IntOrString>,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    app_protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrString {
    Number(u16),
    Text(String),
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ServiceObject { metadata, spec } = ServiceObject::deserialize(deserializer)?;
        let texts = if spec.cluster_ips.is_empty() { vec![spec.cluster_ip] } else { spec.cluster_ips };
        let ports = spec.ports.into_iter().filter(|port| matches!(port.protocol.as_str(), "" | "TCP")).map(ServicePort::from).collect();
        let export_to = metadata.annotations.get("networking.istio.io/exportTo").map(String::as_str).unwrap_or_default();
        Ok(Self {
            cluster_ips: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            selector: spec.selector,
            ports,
            creation_timestamp: metadata.common.creation_timestamp,
            resource_version: metadata.common.resource_version,
            export_to: export_to.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })
    }
}

impl From<ServicePortObject> for ServicePort {
    fn from(port: ServicePortObject) -> Self {
        let target = match port.target_port {
            Some(IntOrString::Number(number)) if number > 0 => TargetPort::Number(number),
            Some(IntOrString::Text(name)) => TargetPort::Name(name),
            Some(IntOrString::Number(_)) | None => TargetPort::Number(port.port),
        };
        let protocol = PortProtocol::of(port.app_protocol.as_deref(), &port.name, port.port);
        Self { name: port.name, number: port.port, target, protocol }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SliceObject {
    metadata: Metadata,
    ports: Option<Vec<SlicePort>>,
    endpoints: Option<Vec<EndpointObject>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SlicePort {
    name: String,
    port: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct EndpointObject {
    addresses: Vec<String>,
    conditions: EndpointConditions,
    target_ref: Option<TargetRef>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TargetRef {
    kind: String,
    name: String,
}

impl<'de> Deserialize<'de> for EndpointSlice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let slice = SliceObject::deserialize(deserializer)?;
        let ports = slice.ports.unwrap_or_default();
        // `ready: null` means ready (EndpointSlice API); terminating ones are left out even when they still serve.
        let serves = |conditions: &EndpointConditions| conditions.ready != Some(false) && conditions.terminating != Some(true);
        let endpoints = slice.endpoints.unwrap_or_default().into_iter().filter(|endpoint| serves(&endpoint.conditions));
        Ok(Self {
            service: slice.metadata.labels.get("kubernetes.io/service-name").cloned().unwrap_or_default(),
            ports: ports.into_iter().filter_map(|port| Some((port.name, port.port.filter(|number| *number > 0)?))).collect(),
            endpoints: endpoints
                .map(|endpoint| SliceEndpoint {
                    addresses: endpoint.addresses.iter().filter_map(|text| text.parse().ok()).collect(),
                    pod: endpoint.target_ref.filter(|target| target.kind == "Pod").map(|target| target.name),
                })
                .collect(),
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodObject {
    metadata: OwnedMetadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct OwnedMetadata {
    labels: BTreeMap<String, String>,
    #[serde(flatten)]
    owned: Owned,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    service_account_name: String,
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    ports: Vec<ContainerPort>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: String,
    container_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Vec<PodCondition>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodCondition {
    r#type: String,
    status: String,
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let PodObject { metadata, spec, status } = PodObject::deserialize(deserializer)?;
        let ended = matches!(status.phase.as_str(), "Succeeded" | "Failed");
        let mut containers = spec.containers.iter().chain(&spec.init_containers);
        let has_sidecar = containers.clone().any(|container| container.name == "istio-proxy")
            && spec.containers.iter().any(|container| container.name != "istio-proxy");
        let named = containers.by_ref().flat_map(|container| &container.ports).filter(|port| !port.name.is_empty());
        Ok(Self {
            named_ports: named.map(|port| (port.name.clone(), port.container_port)).collect(),
            labels: metadata.labels,
            service_account: if spec.service_account_name.is_empty() { "default".to_owned() } else { spec.service_account_name },
            node: spec.node_name,
            address: if ended || spec.host_network { None } else { status.pod_ip.parse().ok() },
            owner: metadata.owned.owner(),
            has_sidecar,
            ready: !status.conditions.iter().any(|condition| condition.r#type == "Ready" && condition.status == "False"),
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct NodeObject {
            metadata: Metadata,
        }
        let labels = NodeObject::deserialize(deserializer)?.metadata.labels;
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Ok(Self {
            region: label("topology.kubernetes.io/region"),
            zone: label("topology.kubernetes.io/zone"),
            subzone: label("topology.istio.io/subzone"),
        })
    }
}

impl<'de> Deserialize<'de> for ReplicaSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct ReplicaSetObject {
            metadata: Owned,
        }
        let owner = ReplicaSetObject::deserialize(deserializer)?.metadata.owner();
        Ok(Self { deployment: owner.filter(|(kind, _)| kind == "Deployment").map(|(_, name)| name) })
    }
}
