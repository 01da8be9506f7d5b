//! What k8s-openapi's types do not say about Kubernetes' fields: keys of lists, owners of whole
//! objects, closed lists of values. One line per fact; a test holds them against the types.

use super::{Elements, PatchStrategy, Shape};

/// Lists whose elements are told apart by these fields; the first one is also the key of strategic merge patches.
#[rustfmt::skip]
const KEYED: &[(&str, &str, &[&str])] = &[
    ("apps.v1.DeploymentStatus", "conditions", &["type"]),
    ("apps.v1.ReplicaSetStatus", "conditions", &["type"]),
    ("core.v1.Container", "env", &["name"]),
    ("core.v1.Container", "ports", &["containerPort", "protocol"]),
    ("core.v1.Container", "volumeDevices", &["devicePath"]),
    ("core.v1.Container", "volumeMounts", &["mountPath"]),
    ("core.v1.ContainerStatus", "allocatedResourcesStatus", &["name"]),
    ("core.v1.ContainerStatus", "volumeMounts", &["mountPath"]),
    ("core.v1.EphemeralContainer", "env", &["name"]),
    ("core.v1.EphemeralContainer", "ports", &["containerPort", "protocol"]),
    ("core.v1.EphemeralContainer", "volumeDevices", &["devicePath"]),
    ("core.v1.EphemeralContainer", "volumeMounts", &["mountPath"]),
    ("core.v1.NamespaceStatus", "conditions", &["type"]),
    ("core.v1.NodeStatus", "addresses", &["type"]),
    ("core.v1.NodeStatus", "conditions", &["type"]),
    ("core.v1.PersistentVolumeClaimStatus", "conditions", &["type"]),
    ("core.v1.PodSpec", "containers", &["name"]),
    ("core.v1.PodSpec", "ephemeralContainers", &["name"]),
    ("core.v1.PodSpec", "hostAliases", &["ip"]),
    ("core.v1.PodSpec", "imagePullSecrets", &["name"]),
    ("core.v1.PodSpec", "initContainers", &["name"]),
    ("core.v1.PodSpec", "resourceClaims", &["name"]),
    ("core.v1.PodSpec", "schedulingGates", &["name"]),
    ("core.v1.PodSpec", "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("core.v1.PodSpec", "volumes", &["name"]),
    ("core.v1.PodStatus", "conditions", &["type"]),
    ("core.v1.PodStatus", "podIPs", &["ip"]),
    ("core.v1.PodStatus", "resourceClaimStatuses", &["name"]),
    ("core.v1.ResourceRequirements", "claims", &["name"]),
    ("core.v1.ResourceStatus", "resources", &["resourceID"]),
    ("core.v1.ServiceAccount", "secrets", &["name"]),
    ("core.v1.ServiceSpec", "ports", &["port", "protocol"]),
    ("core.v1.ServiceStatus", "conditions", &["type"]),
    ("policy.v1.PodDisruptionBudgetStatus", "conditions", &["type"]),
    ("meta.v1.ObjectMeta", "ownerReferences", &["uid"]),
];

/// Keyed for server-side apply, but replaced by strategic merge patches.
const NOT_MERGED: &[Place] = &[("core.v1.ResourceRequirements", "claims"), ("core.v1.ResourceStatus", "resources")];

/// Replaced as a whole by server-side apply, but merged by this key by strategic merge patches.
const ONLY_MERGED: &[(&str, &str, &str)] = &[("core.v1.PodStatus", "hostIPs", "ip")];

/// Lists of values that occur once; the last column: strategic merge patches merge them too.
const SETS: &[(&str, &str, bool)] = &[
    ("core.v1.ContainerRestartRuleOnExitCodes", "values", false),
    ("core.v1.NodeSpec", "podCIDRs", true),
    ("discovery.v1.Endpoint", "addresses", false),
    ("meta.v1.ObjectMeta", "finalizers", true),
];

/// Fields with the strategy `retainKeys`.
const RETAIN_KEYS: &[Place] = &[
    ("apps.v1.DeploymentSpec", "strategy"),
    ("core.v1.PodSpec", "resourceClaims"),
    ("core.v1.PodSpec", "volumes"),
    ("core.v1.PodStatus", "resourceClaimStatuses"),
];

/// Fields with the strategy `replace`.
const REPLACED: &[Place] = &[("policy.v1.PodDisruptionBudgetSpec", "selector")];

/// Maps with one owner.
const ATOMIC_MAPS: &[Place] = &[("core.v1.PodSpec", "nodeSelector"), ("core.v1.ServiceSpec", "selector")];

/// Objects with one owner.
const ATOMIC_TYPES: &[&str] = &[
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.SecretKeySelector",
    "core.v1.TypedLocalObjectReference",
    "discovery.v1.EndpointPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
];

/// Fields that hold a struct by value.
#[rustfmt::skip]
const BY_VALUE: &[(&str, &[&str])] = &[
    ("apps.v1.Deployment", &["metadata", "spec", "status"]),
    ("apps.v1.DeploymentSpec", &["strategy", "template"]),
    ("apps.v1.ReplicaSet", &["metadata", "spec", "status"]),
    ("apps.v1.ReplicaSetSpec", &["template"]),
    ("autoscaling.v1.Scale", &["metadata", "spec", "status"]),
    ("coordination.v1.Lease", &["metadata", "spec"]),
    ("core.v1.ConfigMap", &["metadata"]),
    ("core.v1.Container", &["resources"]),
    ("core.v1.ContainerStatus", &["lastState", "state"]),
    ("core.v1.Endpoints", &["metadata"]),
    ("core.v1.EphemeralContainer", &["resources"]),
    ("core.v1.Event", &["involvedObject", "metadata", "source"]),
    ("core.v1.Namespace", &["metadata", "spec", "status"]),
    ("core.v1.Node", &["metadata", "spec", "status"]),
    ("core.v1.NodeDaemonEndpoints", &["kubeletEndpoint"]),
    ("core.v1.NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    ("core.v1.PersistentVolumeClaim", &["metadata", "spec", "status"]),
    ("core.v1.PersistentVolumeClaimSpec", &["resources"]),
    ("core.v1.PersistentVolumeClaimTemplate", &["metadata", "spec"]),
    ("core.v1.Pod", &["metadata", "spec", "status"]),
    ("core.v1.PodTemplateSpec", &["metadata", "spec"]),
    ("core.v1.PreferredSchedulingTerm", &["preference"]),
    ("core.v1.Secret", &["metadata"]),
    ("core.v1.Service", &["metadata", "spec", "status"]),
    ("core.v1.ServiceAccount", &["metadata"]),
    ("core.v1.ServiceStatus", &["loadBalancer"]),
    ("core.v1.WeightedPodAffinityTerm", &["podAffinityTerm"]),
    ("discovery.v1.Endpoint", &["conditions"]),
    ("discovery.v1.EndpointSlice", &["metadata"]),
    ("policy.v1.PodDisruptionBudget", &["metadata", "spec", "status"]),
    ("rbac.v1.ClusterRole", &["metadata"]),
    ("rbac.v1.ClusterRoleBinding", &["metadata", "roleRef"]),
    ("rbac.v1.Role", &["metadata"]),
    ("rbac.v1.RoleBinding", &["metadata", "roleRef"]),
];

/// Closed lists of values, and the fields that have them.
#[rustfmt::skip]
const VALUES: &[(&[&str], &[Place])] = &[
    (&["Recreate", "RollingUpdate"], &[("apps.v1.DeploymentStrategy", "type")]),
    (&["Localhost", "RuntimeDefault", "Unconfined"], &[("core.v1.AppArmorProfile", "type"), ("core.v1.SeccompProfile", "type")]),
    (&["None", "ReadOnly", "ReadWrite"], &[("core.v1.AzureDiskVolumeSource", "cachingMode")]),
    (&["Dedicated", "Managed", "Shared"], &[("core.v1.AzureDiskVolumeSource", "kind")]),
    (&["Always", "IfNotPresent", "Never"], &[("core.v1.Container", "imagePullPolicy"), ("core.v1.EphemeralContainer", "imagePullPolicy"), ("core.v1.ImageVolumeSource", "pullPolicy")]),
    (&["FallbackToLogsOnError", "File"], &[("core.v1.Container", "terminationMessagePolicy"), ("core.v1.EphemeralContainer", "terminationMessagePolicy")]),
    (&["SCTP", "TCP", "UDP"], &[("core.v1.ContainerPort", "protocol"), ("core.v1.EndpointPort", "protocol"), ("core.v1.PortStatus", "protocol"), ("core.v1.ServicePort", "protocol"), ("discovery.v1.EndpointPort", "protocol")]),
    (&["HTTP", "HTTPS"], &[("core.v1.HTTPGetAction", "scheme")]),
    (&["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"], &[("core.v1.HostPathVolumeSource", "type")]),
    (&["InProgress", "Infeasible", "Pending"], &[("core.v1.ModifyVolumeStatus", "status")]),
    (&["Active", "Terminating"], &[("core.v1.NamespaceStatus", "phase")]),
    (&["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"], &[("core.v1.NodeSelectorRequirement", "operator")]),
    (&["Pending", "Running", "Terminated"], &[("core.v1.NodeStatus", "phase")]),
    (&["Block", "Filesystem"], &[("core.v1.PersistentVolumeClaimSpec", "volumeMode")]),
    (&["Bound", "Lost", "Pending"], &[("core.v1.PersistentVolumeClaimStatus", "phase")]),
    (&["Always", "OnRootMismatch"], &[("core.v1.PodSecurityContext", "fsGroupChangePolicy")]),
    (&["Merge", "Strict"], &[("core.v1.PodSecurityContext", "supplementalGroupsPolicy")]),
    (&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"], &[("core.v1.PodSpec", "dnsPolicy")]),
    (&["Never", "PreemptLowerPriority"], &[("core.v1.PodSpec", "preemptionPolicy")]),
    (&["Always", "Never", "OnFailure"], &[("core.v1.PodSpec", "restartPolicy")]),
    (&["Failed", "Pending", "Running", "Succeeded", "Unknown"], &[("core.v1.PodStatus", "phase")]),
    (&["BestEffort", "Burstable", "Guaranteed"], &[("core.v1.PodStatus", "qosClass")]),
    (&["Default", "Unmasked"], &[("core.v1.SecurityContext", "procMount")]),
    (&["Cluster", "Local"], &[("core.v1.ServiceSpec", "externalTrafficPolicy"), ("core.v1.ServiceSpec", "internalTrafficPolicy")]),
    (&["PreferDualStack", "RequireDualStack", "SingleStack"], &[("core.v1.ServiceSpec", "ipFamilyPolicy")]),
    (&["ClientIP", "None"], &[("core.v1.ServiceSpec", "sessionAffinity")]),
    (&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &[("core.v1.ServiceSpec", "type")]),
    (&["NoExecute", "NoSchedule", "PreferNoSchedule"], &[("core.v1.Taint", "effect"), ("core.v1.Toleration", "effect")]),
    (&["Equal", "Exists"], &[("core.v1.Toleration", "operator")]),
    (&["Honor", "Ignore"], &[("core.v1.TopologySpreadConstraint", "nodeAffinityPolicy"), ("core.v1.TopologySpreadConstraint", "nodeTaintsPolicy")]),
    (&["DoNotSchedule", "ScheduleAnyway"], &[("core.v1.TopologySpreadConstraint", "whenUnsatisfiable")]),
    (&["Bidirectional", "HostToContainer", "None"], &[("core.v1.VolumeMount", "mountPropagation")]),
    (&["FQDN", "IPv4", "IPv6"], &[("discovery.v1.EndpointSlice", "addressType")]),
    (&["AlwaysAllow", "IfHealthyBudget"], &[("policy.v1.PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy")]),
];

/// Objects whose `name` may be absent in Kubernetes, though k8s-openapi's types have it always.
const NAME_IS_OPTIONAL: &[&str] = &[
    "core.v1.ConfigMapEnvSource",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ConfigMapProjection",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.LocalObjectReference",
    "core.v1.SecretEnvSource",
    "core.v1.SecretKeySelector",
    "core.v1.SecretProjection",
];

/// Keys that Kubernetes fills in before it tells elements apart.
const KEY_DEFAULTS: &[(&str, &str)] = &[("protocol", "TCP")];

/// A type and its field.
type Place = (&'static str, &'static str);

/// As `core.v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("io.k8s.api.").or_else(|| name.strip_prefix("io.k8s.apimachinery.pkg.apis.")).unwrap_or(name)
}

pub(super) fn elements(of: &str, field: &str) -> Elements {
    if let Some((_, _, keys)) = KEYED.iter().find(|(name, known, _)| (*name, *known) == (of, field)) {
        Elements::Keyed(keys)
    } else if SETS.iter().any(|(name, known, _)| (*name, *known) == (of, field)) {
        Elements::Set
    } else {
        Elements::Atomic
    }
}

pub(super) fn patch(of: &str, field: &str, shape: &Shape, elements: Elements) -> PatchStrategy {
    let place = (of, field);
    let retain_keys = RETAIN_KEYS.contains(&place);
    if !matches!(shape, Shape::List(..)) {
        return PatchStrategy { retain_keys, replace: REPLACED.contains(&place), ..PatchStrategy::default() };
    }
    match elements {
        _ if NOT_MERGED.contains(&place) => PatchStrategy::default(),
        Elements::Keyed(keys) => PatchStrategy { merge: true, key: keys.first().copied(), retain_keys, replace: false },
        Elements::Set if SETS.contains(&(of, field, true)) => PatchStrategy::MERGE_VALUES,
        Elements::Set => PatchStrategy::default(),
        Elements::Atomic => match ONLY_MERGED.iter().find(|(name, known, _)| (*name, *known) == place) {
            Some((_, _, key)) => PatchStrategy { merge: true, key: Some(key), ..PatchStrategy::default() },
            None => PatchStrategy::default(),
        },
    }
}

pub(super) fn atomic_map(of: &str, field: &str) -> bool {
    ATOMIC_MAPS.contains(&(of, field))
}

pub(super) fn atomic_type(of: &str) -> bool {
    ATOMIC_TYPES.contains(&of)
}

pub(super) fn by_value(of: &str, field: &str) -> bool {
    BY_VALUE.iter().any(|(name, fields)| *name == of && fields.contains(&field))
}

pub(super) fn values(of: &str, field: &str) -> &'static [&'static str] {
    VALUES.iter().find(|(_, places)| places.contains(&(of, field))).map(|(values, _)| *values).unwrap_or_default()
}

/// k8s-openapi's types have some fields always that a manifest need not have.
pub(super) fn optional(of: &str, field: &str) -> bool {
    match field {
        "metadata" => of != "core.v1.Event",
        "name" => NAME_IS_OPTIONAL.contains(&of),
        _ => false,
    }
}

/// What an absent key counts as.
pub(crate) fn key_default(key: &str) -> Option<&'static str> {
    KEY_DEFAULTS.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}

/// Every type and field named above.
#[cfg(test)]
pub(super) fn mentioned() -> Vec<(&'static str, Option<&'static str>)> {
    let places = [NOT_MERGED, RETAIN_KEYS, REPLACED, ATOMIC_MAPS].into_iter().flatten().copied();
    let places = places.chain(VALUES.iter().flat_map(|(_, places)| places.iter().copied()));
    let places = places.chain(KEYED.iter().map(|(name, field, _)| (*name, *field)));
    let places = places.chain(ONLY_MERGED.iter().map(|(name, field, _)| (*name, *field)));
    let places = places.chain(SETS.iter().map(|(name, field, _)| (*name, *field)));
    let places = places.chain(BY_VALUE.iter().flat_map(|(name, fields)| fields.iter().map(|field| (*name, *field))));
    places.map(|(name, field)| (name, Some(field))).chain(ATOMIC_TYPES.iter().map(|name| (*name, None))).collect()
}
