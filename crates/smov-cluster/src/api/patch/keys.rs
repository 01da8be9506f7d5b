//! Which lists are merged by a key, as the `patchMergeKey`s of Kubernetes' types say.

use crate::kinds::Kind;

/// How a list in a patch meets the list in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum ListKind {
    /// The patch's list replaces the object's.
    Atomic,
    /// Elements are objects, told apart by this field.
    Keyed(&'static str),
    /// Elements are values that occur once.
    Set,
}

/// How the list `field` below `parents` is merged.
pub(in crate::api) fn list_kind(kind: Option<&Kind>, parents: &[String], field: &str) -> ListKind {
    use ListKind::{Atomic, Keyed, Set};
    let Some(kind) = kind else { return Atomic };
    let under = |name: &str| parents.last().is_some_and(|parent| parent == name);
    if under("metadata") {
        return match field {
            "ownerReferences" => Keyed("uid"),
            "finalizers" => Set,
            _ => Atomic,
        };
    }
    if kind.custom {
        return Atomic;
    }
    match (kind.kind, field) {
        (_, "conditions") if under("status") => Keyed("type"),
        ("Node", "addresses") => Keyed("type"),
        ("Service", "ports") if under("spec") => Keyed("port"),
        ("ServiceAccount", "secrets" | "imagePullSecrets") => Keyed("name"),
        ("Pod" | "Deployment" | "ReplicaSet", _) => match field {
            "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => Keyed("name"),
            "volumeMounts" => Keyed("mountPath"),
            "volumeDevices" => Keyed("devicePath"),
            "ports" => Keyed("containerPort"),
            "hostAliases" | "podIPs" => Keyed("ip"),
            "topologySpreadConstraints" => Keyed("topologyKey"),
            _ => Atomic,
        },
        _ => Atomic,
    }
}
