//! What a path names.

use super::{metrics, query::decode};
use crate::kinds::{self, Kind};

/// A parsed path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`
    Root,
    /// `/healthz`, `/livez`, `/readyz`; the first segment.
    Health(String),
    Version,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/apps`
    Group(String),
    /// `/api/v1`, `/apis/apps/v1`
    Resources {
        group: String,
        version: String,
    },
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v2`
    OpenApiWhole,
    /// `/openapi/v3/apis/apps/v1`
    OpenApi {
        group: String,
        version: String,
    },
    Review(Review),
    /// `/apis/metrics.k8s.io/v1beta1/…`
    Metrics(metrics::Asked),
    Resource(Target),
}

/// Things that are asked by POST and stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Review {
    Token,
    SelfSubject,
    SelfSubjectAccess,
    SubjectAccess,
    /// The same within the namespace of the path.
    LocalSubjectAccess(String),
    SelfSubjectRules,
}

/// A collection, an object, or something below an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: &'static Kind,
    /// The version in the path: what the client wants to see.
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Route {
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decode(segment, false)).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Some(match segments.as_slice() {
            [] => Self::Root,
            [check @ ("healthz" | "livez" | "readyz"), ..] => Self::Health((*check).to_owned()),
            ["version"] => Self::Version,
            ["api"] => Self::Core,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v2"] => Self::OpenApiWhole,
            ["openapi", "v3", "api", version] => Self::OpenApi { group: String::new(), version: (*version).to_owned() },
            ["openapi", "v3", "apis", group, version] => Self::OpenApi { group: (*group).to_owned(), version: (*version).to_owned() },
            ["api", version] => Self::Resources { group: String::new(), version: (*version).to_owned() },
            ["apis", group, version] => Self::Resources { group: (*group).to_owned(), version: (*version).to_owned() },
            ["apis", group, "v1", resource] if review(group, resource).is_some() => Self::Review(review(group, resource)?),
            ["apis", "authorization.k8s.io", "v1", "namespaces", namespace, "localsubjectaccessreviews"] => {
                Self::Review(Review::LocalSubjectAccess((*namespace).to_owned()))
            }
            ["apis", metrics::GROUP, metrics::VERSION, rest @ ..] => Self::Metrics(metrics::Asked::parse(rest)?),
            ["api", version, rest @ ..] => Self::Resource(target("", version, rest)?),
            ["apis", group, version, rest @ ..] => Self::Resource(target(group, version, rest)?),
            _ => return None,
        })
    }

    /// Read with GET only.
    pub(super) fn is_document(&self) -> bool {
        !matches!(self, Self::Review(_) | Self::Metrics(_) | Self::Resource(_))
    }
}

fn review(group: &str, resource: &str) -> Option<Review> {
    Some(match (group, resource) {
        ("authentication.k8s.io", "tokenreviews") => Review::Token,
        ("authentication.k8s.io", "selfsubjectreviews") => Review::SelfSubject,
        ("authorization.k8s.io", "selfsubjectaccessreviews") => Review::SelfSubjectAccess,
        ("authorization.k8s.io", "subjectaccessreviews") => Review::SubjectAccess,
        ("authorization.k8s.io", "selfsubjectrulesreviews") => Review::SelfSubjectRules,
        _ => return None,
    })
}

fn target(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let (namespace, plural, rest) = match rest {
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] if group.is_empty() => {
            (None, "namespaces", &rest[1..])
        }
        ["namespaces", namespace, plural, rest @ ..] => (Some(*namespace), *plural, rest),
        [plural, rest @ ..] => (None, *plural, rest),
        [] => return None,
    };
    let kind = kinds::by_plural(group, plural)?;
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some(*name), None),
        [name, subresource] => (Some(*name), Some(*subresource)),
        _ => return None,
    };
    let known = kind.versions.contains(&version)
        && (namespace.is_none() || kind.namespaced)
        // One namespaced object needs its namespace.
        && (name.is_none() || namespace.is_some() || !kind.namespaced)
        && subresource.is_none_or(|subresource| kind.has(subresource) || (kind == &kinds::POD && subresource == "kill"));
    known.then(|| Target {
        kind,
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> (&'static str, Option<String>, Option<String>, Option<String>) {
        match Route::parse(path) {
            Some(Route::Resource(target)) => (target.kind.kind, target.namespace, target.name, target.subresource),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn paths_name_collections_objects_and_subresources() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(resource("/api/v1/pods"), ("Pod", None, None, None));
        assert_eq!(resource("/api/v1/namespaces/a"), ("Namespace", None, some("a"), None));
        assert_eq!(resource("/api/v1/namespaces/a/status"), ("Namespace", None, some("a"), some("status")));
        assert_eq!(resource("/api/v1/namespaces/a/pods/b/log"), ("Pod", some("a"), some("b"), some("log")));
        assert_eq!(
            resource("/apis/networking.istio.io/v1alpha3/namespaces/a/virtualservices/b"),
            ("VirtualService", some("a"), some("b"), None)
        );
    }

    #[test]
    fn paths_that_name_nothing_are_refused() {
        for path in [
            "/api/v2/pods",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/pods/b",
            "/api/v1/namespaces/a/configmaps/b/status",
            "/apis/apps/v1/namespaces/a/pods",
            "/nothing",
        ] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }
}
