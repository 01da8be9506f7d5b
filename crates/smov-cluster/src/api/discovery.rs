//! What the server serves: `/version`, `/api`, `/apis`, and the aggregated form of both.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use super::{metrics, negotiate};
use crate::{
    error::ApiError,
    kinds::{self, Kind},
};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Namespaces go one by one.
fn verbs(kind: &Kind) -> Vec<&'static str> {
    VERBS.into_iter().filter(|verb| *verb != "deletecollection" || kind != &kinds::NAMESPACE).collect()
}

/// Groups of questions that are answered and not stored: group, plural, kind.
const REVIEWS: [(&str, &str, &str); 6] = [
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
];

/// Kubernetes' own groups in the order of their priority; `kubectl get all` prints in it.
const GROUPS: [&str; 8] = [
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
];

pub(super) fn version() -> Result<Response, ApiError> {
    // The Kubernetes version whose API this follows; kubectl compares it with its own.
    negotiate::json(
        StatusCode::OK,
        &json!({
            "major": "1",
            "minor": "32",
            "gitVersion": concat!("v1.32.0+smov.", env!("CARGO_PKG_VERSION")),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
    )
}

/// `/`: where there is something to read.
pub(super) fn paths() -> Result<Response, ApiError> {
    let mut paths: Vec<String> =
        ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned).to_vec();
    for (group, versions) in named_groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.sort_unstable();
    negotiate::json(StatusCode::OK, &json!({ "paths": paths }))
}

/// `/api`; `address` is where the client reached us.
pub(super) fn core(headers: &HeaderMap, address: &str) -> Result<Response, ApiError> {
    if let Some(version) = negotiate::aggregated_discovery(headers) {
        return aggregated(version, &[("", vec!["v1"])]);
    }
    negotiate::json(
        StatusCode::OK,
        &json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
        }),
    )
}

/// `measured`: there is a kubelet that can tell what pods use.
pub(super) fn groups(headers: &HeaderMap, measured: bool) -> Result<Response, ApiError> {
    let groups = all_groups(measured);
    if let Some(version) = negotiate::aggregated_discovery(headers) {
        return aggregated(version, &groups);
    }
    let groups: Vec<Value> = groups.iter().map(|(name, versions)| group_object(name, versions)).collect();
    negotiate::json(StatusCode::OK, &json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
}

pub(super) fn group(name: &str, measured: bool) -> Result<Response, ApiError> {
    let groups = all_groups(measured);
    let found = groups.iter().find(|(group, _)| *group == name);
    let (name, versions) = found.ok_or_else(ApiError::no_such_path)?;
    let mut group = group_object(name, versions);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    negotiate::json(StatusCode::OK, &group)
}

/// The named groups, and what a metrics server adds to a real cluster.
fn all_groups(measured: bool) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups = named_groups();
    if measured {
        groups.push((metrics::GROUP, vec![metrics::VERSION]));
    }
    groups
}

/// Every group but the core one, with its versions, preferred first.
pub(super) fn named_groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let known = kinds::kinds().iter().map(|kind| (kind.group, kind.versions));
    let reviews = REVIEWS.iter().map(|(group, _, _)| (*group, &["v1"][..]));
    for (group, versions) in known.chain(reviews).filter(|(group, _)| !group.is_empty()) {
        let place = groups.iter().position(|(name, _)| *name == group);
        let place = place.unwrap_or_else(|| {
            groups.push((group, Vec::new()));
            groups.len() - 1
        });
        for version in versions {
            if !groups[place].1.contains(version) {
                groups[place].1.push(version);
            }
        }
    }
    // Groups that are not named come last, in the order of the kinds.
    groups.sort_by_key(|(name, _)| GROUPS.iter().position(|known| known == name).unwrap_or(GROUPS.len()));
    groups
}

fn group_object(name: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({
        "name": name,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

/// The kinds of a group in a version, by name.
pub(super) fn kinds_of(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> + use<> {
    let mut found: Vec<&'static Kind> =
        kinds::kinds().iter().copied().filter(|kind| kind.group == group && kind.versions.contains(&version)).collect();
    found.sort_unstable_by_key(|kind| kind.plural);
    found.into_iter()
}

/// The questions of a group: plural and kind.
pub(super) fn reviews_of(group: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    REVIEWS.iter().filter(move |(one, _, _)| *one == group).map(|(_, plural, kind)| (*plural, *kind))
}

pub(super) fn resources(group: &str, version: &str) -> Result<Response, ApiError> {
    let mut resources = Vec::new();
    for kind in kinds_of(group, version) {
        resources.push(json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs(kind),
            "shortNames": kind.short_names,
            "categories": kind.categories,
        }));
        for subresource in kind.subresources {
            let (group, version, name) = subresource_kind(kind, version, subresource);
            let mut resource = json!({
                "name": format!("{}/{subresource}", kind.plural),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": name,
                "verbs": subresource_verbs(subresource),
            });
            if group != kind.group {
                resource["group"] = json!(group);
                resource["version"] = json!(version);
            }
            resources.push(resource);
        }
    }
    for (review_group, plural, kind) in REVIEWS {
        if review_group == group && version == "v1" {
            resources.push(json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": plural.starts_with("local"), "kind": kind, "verbs": ["create"],
            }));
        }
    }
    for (plural, kind, namespaced) in metrics::KINDS.into_iter().filter(|_| (group, version) == (metrics::GROUP, metrics::VERSION)) {
        resources.push(json!({ "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"] }));
    }
    if resources.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    negotiate::json(
        StatusCode::OK,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": group_version, "resources": resources,
        }),
    )
}

fn subresource_kind<'a>(kind: &'a Kind, version: &'a str, subresource: &str) -> (&'a str, &'a str, &'a str) {
    match subresource {
        "scale" => ("autoscaling", "v1", "Scale"),
        "token" => ("authentication.k8s.io", "v1", "TokenRequest"),
        "eviction" => ("policy", "v1", "Eviction"),
        "exec" => ("", "v1", "PodExecOptions"),
        "attach" => ("", "v1", "PodAttachOptions"),
        "portforward" => ("", "v1", "PodPortForwardOptions"),
        _ => (kind.group, version, kind.kind),
    }
}

fn subresource_verbs(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "log" => &["get"],
        "token" | "eviction" => &["create"],
        "exec" | "attach" | "portforward" => &["create", "get"],
        "finalize" => &["update"],
        _ => &["get", "patch", "update"],
    }
}

fn aggregated(version: &str, groups: &[(&'static str, Vec<&'static str>)]) -> Result<Response, ApiError> {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    json!({
                        "version": version,
                        "freshness": "Current",
                        "resources": aggregated_resources(group, version),
                    })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let mut response = negotiate::json(
        StatusCode::OK,
        &json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{version}"),
            "metadata": {},
            "items": items,
        }),
    )?;
    let media = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

fn aggregated_resources(group: &str, version: &str) -> Vec<Value> {
    let mut resources: Vec<Value> = kinds_of(group, version)
        .map(|kind| {
            let subresources: Vec<Value> = kind
                .subresources
                .iter()
                .map(|subresource| {
                    let (group, version, name) = subresource_kind(kind, version, subresource);
                    json!({
                        "subresource": subresource,
                        "responseKind": { "group": group, "version": version, "kind": name },
                        "verbs": subresource_verbs(subresource),
                    })
                })
                .collect();
            json!({
                "resource": kind.plural,
                "responseKind": { "group": kind.group, "version": version, "kind": kind.kind },
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": kind.singular,
                "verbs": verbs(kind),
                "shortNames": kind.short_names,
                "categories": kind.categories,
                "subresources": subresources,
            })
        })
        .collect();
    resources.extend(REVIEWS.iter().filter(|(one, _, _)| *one == group).map(|(group, plural, kind)| {
        json!({
            "resource": plural,
            "responseKind": { "group": group, "version": "v1", "kind": kind },
            "scope": if plural.starts_with("local") { "Namespaced" } else { "Cluster" },
            "singularResource": kind.to_lowercase(),
            "verbs": ["create"],
        })
    }));
    resources.extend(metrics::KINDS.iter().filter(|_| (group, version) == (metrics::GROUP, metrics::VERSION)).map(
        |(plural, kind, namespaced)| {
            json!({
                "resource": plural,
                "responseKind": { "group": group, "version": version, "kind": kind },
                "scope": if *namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": "",
                "verbs": ["get", "list"],
            })
        },
    ));
    resources
}
