//! Asking as somebody else (`kubectl --as`): allowed to those who may `impersonate` him.

use std::collections::BTreeMap;

use axum::http::HeaderMap;

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
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let groups: Vec<String> = headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    let Some(name) = text(USER) else {
        if groups.is_empty() {
            return Ok(caller);
        }
        return Err(ApiError::internal("requested impersonation of groups without impersonating a user"));
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
        if let (Some(field), Ok(value)) = (header.as_str().strip_prefix(EXTRA), value.to_str()) {
            extra.entry(super::query::decode(field, false)).or_default().push(value.to_owned());
        }
    }
    Ok(User { uid: text("impersonate-uid").unwrap_or_default(), name, groups, extra })
}

fn may(registry: &Registry, caller: &User, resource: &str, namespace: &str, name: &str) -> Result<(), ApiError> {
    let asked = Attributes::Resource {
        verb: "impersonate".to_owned(),
        group: String::new(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    rbac::require(registry, caller, &asked)
}
