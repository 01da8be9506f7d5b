//! What is watched: the mesh's kinds, and the Secrets that name the other clusters.

use smov_istio::resource::IstioKind;
use smov_istio::world::WatchedKind;

/// What one source reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// Objects of the mesh.
    Mesh(WatchedKind),
    /// Kubeconfigs of the other clusters, as `istioctl create-remote-secret` writes them
    /// (<https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-create-remote-secret>).
    RemoteSecret,
    /// The Secrets of the root namespace, for the authority that signs workloads.
    AuthoritySecret,
    /// Namespaces, each of which is told whom to trust.
    Namespace,
    /// What they were told: Istio's ConfigMaps.
    RootConfigMap,
    /// Deployments: for the console, which shows how many pods are wanted. A control plane does not need them.
    Deployment,
    /// Istio's objects that steer no proxy: for the console, which shows and keeps the history of all rules.
    Stored(StoredKind),
    /// What happened, as Kubernetes tells it: for the console's timeline.
    Event,
    /// The ConfigMap that says what the link between local clusters is like: for the console.
    Link,
}

/// A kind of Istio's that is stored and checked, and not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoredKind(IstioKind);

impl StoredKind {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let watched = |kind: &IstioKind| WatchedKind::by_name(kind.as_str()).is_some();
        IstioKind::ALL.into_iter().filter(move |kind| !watched(kind)).map(Self)
    }

    /// As paths have it: lower case and in English's plural.
    fn plural(self) -> String {
        let lower = self.0.as_str().to_ascii_lowercase();
        match lower.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{lower}s"),
        }
    }
}

impl SourceKind {
    /// What is read of the own cluster.
    pub fn own() -> impl Iterator<Item = Self> {
        WatchedKind::ALL.into_iter().map(Self::Mesh)
    }

    /// What is read of another cluster: who is where. Its rules steer its own callers only.
    pub fn remote() -> impl Iterator<Item = Self> {
        WatchedKind::ALL.into_iter().filter(|kind| !kind.is_rule()).map(Self::Mesh)
    }

    /// As `kind:` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mesh(kind) => kind.as_str(),
            Self::Stored(StoredKind(kind)) => kind.as_str(),
            Self::RemoteSecret | Self::AuthoritySecret => "Secret",
            Self::Namespace => "Namespace",
            Self::RootConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::Event => "Event",
            Self::Link => "ConfigMap",
        }
    }

    /// The URL path of the collection.
    pub fn path(self, root_namespace: &str) -> String {
        match self {
            Self::Mesh(kind) => {
                let door = if kind.api_version().contains('/') { "apis" } else { "api" };
                let namespace = if kind.is_of_root_namespace() { format!("namespaces/{root_namespace}/") } else { String::new() };
                format!("/{door}/{}/{namespace}{}", kind.api_version(), kind.plural())
            }
            Self::Stored(kind) => {
                let (group, versions) = kind.0.group();
                format!("/apis/{group}/{}/{}", versions[0], kind.plural())
            }
            Self::RemoteSecret | Self::AuthoritySecret => format!("/api/v1/namespaces/{root_namespace}/secrets"),
            Self::Namespace => "/api/v1/namespaces".to_owned(),
            Self::Link => format!("/api/v1/namespaces/{root_namespace}/configmaps"),
            Self::RootConfigMap => "/api/v1/configmaps".to_owned(),
            Self::Event => "/api/v1/events".to_owned(),
            Self::Deployment => "/apis/apps/v1/deployments".to_owned(),
        }
    }

    /// Only objects with these labels.
    pub fn labels(self) -> Option<&'static str> {
        match self {
            Self::Mesh(_) | Self::Stored(_) | Self::Deployment | Self::Event | Self::AuthoritySecret | Self::Namespace => None,
            Self::RootConfigMap => Some("istio.io/config=true"),
            Self::RemoteSecret => Some("istio/multiCluster=true"),
            Self::Link => Some("smov.dev/link"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_have_the_paths_of_the_kubernetes_api() {
        assert_eq!(SourceKind::Mesh(WatchedKind::Service).path("istio-system"), "/api/v1/services");
        assert_eq!(SourceKind::Mesh(WatchedKind::EndpointSlice).path("istio-system"), "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(SourceKind::Mesh(WatchedKind::ServiceEntry).path("mesh"), "/apis/networking.istio.io/v1/serviceentries");
        assert_eq!(SourceKind::Mesh(WatchedKind::ConfigMap).path("mesh"), "/api/v1/namespaces/mesh/configmaps");
        assert_eq!(SourceKind::RemoteSecret.path("mesh"), "/api/v1/namespaces/mesh/secrets");
    }

    #[test]
    fn every_kind_of_istio_is_either_watched_or_stored() {
        let stored: Vec<&str> = StoredKind::all().map(|kind| SourceKind::Stored(kind).as_str()).collect();
        for kind in IstioKind::ALL {
            assert_ne!(stored.contains(&kind.as_str()), WatchedKind::by_name(kind.as_str()).is_some(), "{}", kind.as_str());
        }
        let path = |kind| SourceKind::Stored(StoredKind(kind)).path("istio-system");
        assert_eq!(path(IstioKind::Sidecar), "/apis/networking.istio.io/v1/sidecars");
        assert_eq!(path(IstioKind::RequestAuthentication), "/apis/security.istio.io/v1/requestauthentications");
        assert_eq!(path(IstioKind::Telemetry), "/apis/telemetry.istio.io/v1/telemetries");
    }

    #[test]
    fn no_rule_is_read_of_another_cluster() {
        assert!(SourceKind::remote().all(|kind| !matches!(kind, SourceKind::Mesh(kind) if kind.is_rule())));
    }
}
