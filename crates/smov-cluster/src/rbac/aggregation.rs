//! Roles made of other roles: a ClusterRole with an `aggregationRule` has the rules of all that
//! its selectors match.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    error::ApiError,
    kinds::CLUSTER_ROLE,
    registry::{LabelSelector, Registry, Selector, WriteOptions},
};

/// Keeps the aggregated roles true until shutdown.
pub(crate) async fn run(registry: Registry, shutdown: CancellationToken) {
    loop {
        let Ok(mut watch) = registry.watch(&CLUSTER_ROLE, None, Selector::default(), None) else { return };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = watch.next() => if event.is_none() { break },
            }
            while watch.try_next().is_some() {}
            if let Err(error) = aggregate(&registry) {
                tracing::warn!(%error, "roles not aggregated");
            }
        }
    }
}

/// Writes the rules of every aggregated role anew, where they differ; in rounds, because one may
/// be made of another.
///
/// # Errors
/// A role cannot be written.
pub(crate) fn aggregate(registry: &Registry) -> Result<(), ApiError> {
    // A chain is never longer than there are roles.
    let rounds = registry.list(&CLUSTER_ROLE, None, &Selector::default()).0.len();
    for _ in 0..=rounds {
        if !round(registry)? {
            break;
        }
    }
    Ok(())
}

fn round(registry: &Registry) -> Result<bool, ApiError> {
    let (roles, _) = registry.list(&CLUSTER_ROLE, None, &Selector::default());
    let mut changed = false;
    for role in roles.iter().filter(|role| role["aggregationRule"].is_object()) {
        let selectors: Vec<LabelSelector> =
            role["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten().map(LabelSelector::from_object).collect();
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let mut rules: Vec<Value> = Vec::new();
        for part in &roles {
            let matches = selectors.iter().any(|selector| selector.matches(&part["metadata"]["labels"]));
            if !matches || part["metadata"]["name"] == name {
                continue;
            }
            for rule in part["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        if role["rules"].as_array() == Some(&rules) {
            continue;
        }
        changed = true;
        let options = WriteOptions { field_manager: "clusterrole-aggregation-controller".to_owned(), ..WriteOptions::default() };
        registry.modify(&CLUSTER_ROLE, "", name, &options, |object| {
            object["rules"] = json!(rules);
            Ok(())
        })?;
    }
    Ok(changed)
}
