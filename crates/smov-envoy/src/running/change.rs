//! One change of configuration: its steps, what Envoy says to each, and the way back.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{End, Rejected, Running};
use crate::admin;
use crate::config::Resources;
use crate::xds::{Kind, Subject};

/// Envoy must have taken, or refused, a step of a change within this.
const STEP_PATIENCE: Duration = Duration::from_secs(10);
/// The same for its first configuration, which it asks for when it has started: on a busy machine that takes its time.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// After Envoy took listeners and clusters, they must be in use within this; names that are looked up may take longer.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);
const SETTLE_STEP: Duration = Duration::from_millis(2);

impl Running {
    /// The change's steps, in the order that lets no request fail: what routes lead to comes before them and goes after them.
    pub(super) async fn change(&self, before: &Resources, new: &Resources) -> Result<(), Rejected> {
        let clusters = (Kind::Clusters, String::new());
        let listeners = (Kind::Listeners, String::new());
        for (name, secret) in &new.secrets {
            self.board.set((Kind::Secrets, name.clone()), std::slice::from_ref(secret));
        }
        let patience = if before.listeners.is_empty() { START_PATIENCE } else { STEP_PATIENCE };
        let mut first = vec![clusters.clone()];
        // What stays as it is needs no step.
        for (name, list) in new.endpoints.iter().filter(|(name, list)| before.endpoints.get(*name) != Some(list)) {
            self.board.set((Kind::Endpoints, name.clone()), std::slice::from_ref(list));
            first.push((Kind::Endpoints, name.clone()));
        }
        if before.clusters != new.clusters {
            self.board.set(clusters.clone(), &with_leaving(&before.clusters, &new.clusters));
        }
        self.step(&first, patience).await?;
        if before.clusters != new.clusters && !before.listeners.is_empty() {
            self.settle().await?;
        }

        let mut second = vec![listeners.clone()];
        for (name, routes) in new.routes.iter().filter(|(name, routes)| before.routes.get(*name) != Some(routes)) {
            self.board.set((Kind::Routes, name.clone()), std::slice::from_ref(routes));
            second.push((Kind::Routes, name.clone()));
        }
        if before.listeners != new.listeners {
            self.board.set(listeners, &new.listeners);
        }
        self.step(&second, patience).await?;
        if before.listeners != new.listeners {
            self.settle().await?;
        }

        if before.clusters != new.clusters {
            self.board.set(clusters.clone(), &new.clusters);
            self.step(&[clusters], patience).await?;
        }
        self.forget_endpoints(before, new);
        Ok(())
    }

    /// Lists of clusters and secrets of rules that are no more.
    fn forget_endpoints(&self, before: &Resources, now: &Resources) {
        for gone in before.endpoints.keys().filter(|name| !now.endpoints.contains_key(*name)) {
            self.board.remove(&(Kind::Endpoints, gone.clone()));
        }
        for gone in before.secrets.keys().filter(|name| !now.secrets.contains_key(*name)) {
            self.board.remove(&(Kind::Secrets, gone.clone()));
        }
    }

    /// Waits until Envoy has taken these.
    async fn step(&self, subjects: &[Subject], patience: Duration) -> Result<(), Rejected> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            settled = self.board.settled(subjects) => settled.map_err(|(kind, name)| self.rejection(kind, &name)),
            end = ended.wait_for(Option::is_some) => Err(Rejected { reason: ended_text(end.ok().and_then(|end| *end)) }),
            () = tokio::time::sleep(patience) => {
                let open = self.board.open(subjects).into_iter().map(|(kind, name)| format!("{} {name}", kind.path()));
                let open = open.collect::<Vec<_>>().join(", ");
                Err(Rejected { reason: format!("Envoy did not say within {patience:?} whether it takes {open}") })
            }
        }
    }

    fn rejection(&self, kind: Kind, name: &str) -> Rejected {
        let refusals = self.refusals.lock().expect("no panic while refusals are held");
        let reason = refusals.iter().rev().find(|(path, _)| path == kind.path()).map(|(_, reason)| reason.clone());
        let what = if name.is_empty() { kind.path().to_owned() } else { format!("{} {name}", kind.path()) };
        Rejected { reason: reason.unwrap_or_else(|| format!("Envoy refuses {what} without a reason")) }
    }

    /// Envoy applies what it can of a list that it refuses; the last good one is put back whole.
    pub(super) async fn go_back(&self, before: &Resources, refused: &Resources) {
        if before.clusters.is_empty() {
            return;
        }
        for (name, list) in &before.endpoints {
            self.board.set((Kind::Endpoints, name.clone()), std::slice::from_ref(list));
        }
        for (name, secret) in &before.secrets {
            self.board.set((Kind::Secrets, name.clone()), std::slice::from_ref(secret));
        }
        self.board.set((Kind::Clusters, String::new()), &before.clusters);
        for (name, routes) in &before.routes {
            self.board.set((Kind::Routes, name.clone()), std::slice::from_ref(routes));
        }
        self.board.set((Kind::Listeners, String::new()), &before.listeners);
        let mut subjects = vec![(Kind::Clusters, String::new()), (Kind::Listeners, String::new())];
        subjects.extend(before.routes.keys().map(|name| (Kind::Routes, name.clone())));
        if let Err(error) = self.step(&subjects, STEP_PATIENCE).await {
            tracing::error!(%error, "Envoy does not take its last good configuration back");
        }
        self.forget_endpoints(refused, before);
    }

    /// Waits until new listeners listen and new clusters have their endpoints.
    async fn settle(&self) -> Result<(), Rejected> {
        let deadline = Instant::now() + SETTLE_PATIENCE;
        loop {
            match admin::settled(self.admin).await {
                Ok(true) => return Ok(()),
                Ok(false) if Instant::now() < deadline => {}
                Ok(false) => {
                    tracing::warn!("Envoy still sets up listeners or clusters; it goes on with what it has");
                    return Ok(());
                }
                Err(_) if Instant::now() < deadline && self.ended.borrow().is_none() => {}
                Err(error) => return Err(Rejected { reason: error.to_string() }),
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
    }
}

fn ended_text(end: Option<End>) -> String {
    format!("Envoy ended ({})", end.map_or_else(|| "unknown status".to_owned(), |end| end.to_string()))
}

/// The new clusters, and those old ones that routes may still lead to.
fn with_leaving(before: &[Value], new: &[Value]) -> Vec<Value> {
    let leaving = before.iter().filter(|old| new.iter().all(|new| new["name"] != old["name"]));
    new.iter().chain(leaving).cloned().collect()
}
