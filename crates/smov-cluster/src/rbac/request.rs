//! What a request is about, in the words of access control: read from method, path and query
//! alone, so that also what does not exist can be refused.

use super::Rule;
use crate::api::decode;
use crate::{error::ApiError, identity::User};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// A verb on objects.
    Resource { verb: String, group: String, resource: String, subresource: String, namespace: String, name: String },
    /// A verb on any other path.
    Path { verb: String, path: String },
}

impl Attributes {
    /// Of an HTTP request; `watch` says whether its query asks for a watch, `name` is what a field
    /// selector names.
    pub(crate) fn of(method: &str, path: &str, watch: bool, selected: Option<&str>) -> Self {
        Self::resource(method, path, watch, selected)
            .unwrap_or_else(|| Self::Path { verb: method.to_lowercase(), path: decode(path, false) })
    }

    fn resource(method: &str, path: &str, watch: bool, selected: Option<&str>) -> Option<Self> {
        // As the router reads it: another spelling of a path is the same path.
        let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decode(segment, false)).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, resource, rest) = match rest {
            [] => return None,
            // A namespace itself, or its status.
            ["namespaces", namespace] => (*namespace, "namespaces", &rest[1..]),
            ["namespaces", namespace, "status" | "finalize"] => (*namespace, "namespaces", &rest[1..]),
            ["namespaces", namespace, resource, rest @ ..] => (*namespace, *resource, rest),
            [resource, rest @ ..] => ("", *resource, rest),
        };
        let reads = matches!(method, "GET" | "HEAD");
        let name = rest.first().copied().or(selected.filter(|_| reads)).unwrap_or_default();
        let verb = match method {
            "GET" | "HEAD" if watch => "watch",
            "GET" | "HEAD" if rest.is_empty() => "list",
            "GET" | "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if rest.is_empty() => "deletecollection",
            "DELETE" => "delete",
            other => other,
        };
        Some(Self::Resource {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: rest.get(1..).unwrap_or_default().join("/"),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Where it is asked; empty for what belongs to no namespace.
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Resource { namespace, .. } => namespace,
            Self::Path { .. } => "",
        }
    }

    pub(super) fn allowed_by(&self, rule: &Rule) -> bool {
        match self {
            Self::Resource { verb, group, resource, subresource, name, .. } => {
                rule.allows_verb(verb) && rule.allows_group(group) && rule.allows_resource(resource, subresource) && rule.allows_name(name)
            }
            Self::Path { verb, path } => rule.allows_verb(verb) && rule.allows_path(path),
        }
    }

    /// Kubernetes' 403 for it.
    pub(super) fn forbidden(&self, user: &User, reason: &str) -> ApiError {
        let user = &user.name;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        match self {
            Self::Path { verb, path } => ApiError::refused("", "", "", &format!("User {user:?} cannot {verb} path {path:?}{reason}")),
            Self::Resource { verb, group, resource, subresource, namespace, name } => {
                let whole = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
                let place =
                    if namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace {namespace:?}") };
                let why = format!("User {user:?} cannot {verb} resource {whole:?} in API group {group:?} {place}{reason}");
                ApiError::refused(group, resource, name, &why)
            }
        }
    }
}
