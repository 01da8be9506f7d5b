//! The way back that was promised: a Deployment that was scaled, a link that was cut, for a while only.
//!
//! What is promised stands at the object itself, as an annotation, so that it survives this console: whichever console runs when the time has come keeps
//! it, and does so once, because it names the version that it read. As long as none runs, nothing goes back.

use std::time::Duration;

use serde_json::{Value, json};
use smov_cluster::kinds::{CONFIG_MAP, DEPLOYMENT};
use smov_console::Live;
use smov_console::view::cluster::RestoreView;
use tokio_util::sync::CancellationToken;

use crate::kube_api::{CallError, Cluster};
use crate::mesh::link;

/// What goes back and when: `{"replicas":1,"at":…}` or `{"link":"up latency=0ms jitter=0ms","at":…}`.
pub(super) use crate::mesh::link::RESTORE;
/// How often is looked.
const PERIOD: Duration = Duration::from_millis(500);

fn promised(object: &Value) -> Option<Value> {
    serde_json::from_str(object["metadata"]["annotations"][RESTORE].as_str()?).ok()
}

/// What a Deployment goes back to.
pub(super) fn of_deployment(object: &Value) -> Option<RestoreView> {
    serde_json::from_value(promised(object)?).ok()
}

/// What the link goes back to.
pub(super) struct LinkRestore {
    line: String,
    pub(super) at: u64,
}

/// The same of the link's object.
pub(super) fn of_link(object: &Value) -> Option<LinkRestore> {
    let promised = promised(object)?;
    Some(LinkRestore { line: promised["link"].as_str()?.to_owned(), at: promised["at"].as_u64()? })
}

/// Now, in Unix microseconds.
fn now() -> u64 {
    smov_console::system_clock()()
}

/// When a change that is made now goes back.
pub(super) fn moment(after_s: u32) -> u64 {
    now() + u64::from(after_s) * 1_000_000
}

/// What the link would go back to if it were changed for a while now: cut, and then stalled, it goes back to what it was before both.
pub(super) async fn link_before(cluster: &Cluster) -> Result<String, CallError> {
    let object = cluster.get(&CONFIG_MAP, link::NAMESPACE, link::NAME).await?.unwrap_or_default();
    Ok(of_link(&object).map_or_else(|| link::told(&object), |earlier| earlier.line))
}

/// Promises that the link goes back to `before`. Gives when.
pub(super) async fn plan_link(cluster: &Cluster, before: &str, after_s: u32) -> Result<u64, CallError> {
    let at = moment(after_s);
    let note = json!({ "link": before, "at": at }).to_string();
    cluster.patch(&CONFIG_MAP, link::NAMESPACE, link::NAME, &json!({ "metadata": { "annotations": { RESTORE: note } } })).await?;
    Ok(at)
}

/// Keeps promises until shutdown.
pub(super) async fn run(live: Live, clusters: Vec<Cluster>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = now();
        for cluster in &clusters {
            for (namespace, name) in live.to_restore(&cluster.name, now) {
                report(&cluster.name, &name, deployment(cluster, &namespace, &name, now).await);
            }
            if cluster.name == link::CLUSTER && live.link_to_restore(now) {
                report(&cluster.name, link::NAME, the_link(cluster, now).await);
            }
        }
    }
}

/// Another console may have been first, and this one may not be allowed to: neither is an error.
fn report(cluster: &str, name: &str, outcome: Result<(), CallError>) {
    if let Err(error) = outcome {
        tracing::debug!(cluster, name, %error, "not put back by this console");
    }
}

async fn deployment(cluster: &Cluster, namespace: &str, name: &str, now: u64) -> Result<(), CallError> {
    let Some(object) = cluster.get(&DEPLOYMENT, namespace, name).await? else { return Ok(()) };
    let Some(restore) = of_deployment(&object).filter(|restore| restore.at <= now) else { return Ok(()) };
    let version = &object["metadata"]["resourceVersion"];
    let patch =
        json!({ "metadata": { "resourceVersion": version, "annotations": { RESTORE: null } }, "spec": { "replicas": restore.replicas } });
    cluster.patch(&DEPLOYMENT, namespace, name, &patch).await.map(drop)
}

async fn the_link(cluster: &Cluster, now: u64) -> Result<(), CallError> {
    let Some(object) = cluster.get(&CONFIG_MAP, link::NAMESPACE, link::NAME).await? else { return Ok(()) };
    let Some(restore) = of_link(&object).filter(|restore| restore.at <= now) else { return Ok(()) };
    let settings = link::described(&restore.line).unwrap_or_default();
    let data = link::data(&settings);
    let version = &object["metadata"]["resourceVersion"];
    let patch = json!({ "metadata": { "resourceVersion": version, "annotations": { RESTORE: null } }, "data": data });
    cluster.patch(&CONFIG_MAP, link::NAMESPACE, link::NAME, &patch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_read_from_the_object_and_nonsense_is_none() {
        let with = |note: &str| json!({ "metadata": { "annotations": { RESTORE: note } } });
        assert_eq!(of_deployment(&with(r#"{"replicas":2,"at":5}"#)), Some(RestoreView { replicas: 2, at: 5 }));
        for nonsense in ["", "{}", r#"{"replicas":-1,"at":5}"#] {
            assert_eq!(of_deployment(&with(nonsense)), None, "{nonsense}");
        }
        let link = of_link(&with(r#"{"link":"up latency=8ms jitter=2ms","at":7}"#)).unwrap();
        assert_eq!((link.line.as_str(), link.at), ("up latency=8ms jitter=2ms", 7));
        assert!(of_link(&json!({})).is_none());
    }
}
