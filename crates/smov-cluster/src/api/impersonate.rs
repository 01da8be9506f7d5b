//! Asking as somebody else (`kubectl --as`): allowed to those who may `impersonate` him.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue};

use crate::{
    error::ApiError,
    identity::User,
    rbac::{self, Attributes},
    registry::Registry,
};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// Who the request is by: the caller, or whom its headers name.
pub(super) fn user(registry: &Registry, caller: User, headers: &HeaderMap) -> Result<User, ApiError> {
    // A name that cannot be read must not make it a request of the caller's own.
    let readable = |value: &HeaderValue| {
        let text = std::str::from_utf8(value.as_bytes()).map(str::to_owned);
        text.map_err(|_| ApiError::bad_request("an Impersonate- header is not UTF-8"))
    };
    let text = |name: &str| headers.get(name).map(readable).transpose();
    let groups: Vec<String> = headers.get_all(GROUP).iter().map(readable).collect::<Result<_, _>>()?;
    let Some(name) = text(USER)? else {
        let named = headers.keys().find(|header| header.as_str().starts_with("impersonate-"));
        return match named {
            None => Ok(caller),
            Some(header) => Err(ApiError::internal(format!("requested impersonation of {header} without impersonating a user"))),
        };
    };
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => may(registry, &caller, "serviceaccounts", namespace, account)?,
        None => may(registry, &caller, "users", "", &name)?,
    }
    for group in &groups {
        may(registry, &caller, "groups", "", group)?;
    }
    let mut groups = groups;
    if let Some((namespace, _)) = account
        && groups.is_empty()
    {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let usual = if name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !groups.iter().any(|group| group == usual) {
        groups.push(usual.to_owned());
    }
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(field) = header.as_str().strip_prefix(EXTRA) {
            let (field, value) = (super::query::decode(field, false), readable(value)?);
            may(registry, &caller, &format!("userextras/{field}"), "", &value)?;
            extra.entry(field).or_default().push(value);
        }
    }
    let uid = text("impersonate-uid")?.unwrap_or_default();
    if !uid.is_empty() {
        may(registry, &caller, "uids", "", &uid)?;
    }
    Ok(User { uid, name, groups, extra })
}

fn may(registry: &Registry, caller: &User, resource: &str, namespace: &str, name: &str) -> Result<(), ApiError> {
    let asked = Attributes::Resource {
        verb: "impersonate".to_owned(),
        // Users and groups are of the core group, what else there is to be of authentication.k8s.io.
        group: if resource == "uids" || resource.starts_with("userextras") { "authentication.k8s.io" } else { "" }.to_owned(),
        resource: resource.split('/').next().unwrap_or_default().to_owned(),
        subresource: resource.split_once('/').map_or("", |(_, field)| field).to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    rbac::require(registry, caller, &asked)
}
