//! Who else wants what the feed reads: questions over a whole mesh, and the history of rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use smov_istio::world::World;
use tokio::sync::mpsc;

/// What was read last, for questions over a whole mesh: a world per cluster whose rules count.
#[derive(Clone, Default)]
pub(crate) struct Worlds(Arc<Mutex<BTreeMap<String, Known>>>);

/// One cluster's world.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) world: World,
    /// Was everything of all clusters read at least once?
    pub(crate) complete: bool,
}

impl Worlds {
    /// The world of a cluster; `None` = nothing was read yet.
    pub(crate) fn of(&self, cluster: &str) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned()
    }

    pub(super) fn set(&self, cluster: &str, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster.to_owned(), known);
    }
}

/// What was read of one cluster's rules.
#[derive(Debug)]
pub(crate) struct RuleNews {
    pub(crate) cluster: String,
    /// `VirtualService`.
    pub(crate) kind: &'static str,
    pub(crate) news: RuleEvent,
}

/// What happened to rules of one kind.
#[derive(Debug)]
pub(crate) enum RuleEvent {
    /// These are all.
    Listed(Vec<serde_json::Value>),
    Applied(serde_json::Value),
    Deleted(serde_json::Value),
}

/// Who else wants what is read.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) worlds: Worlds,
    /// Changes of rules are few, so nothing waits for room.
    pub(crate) rules: mpsc::UnboundedSender<RuleNews>,
}

impl Readers {
    /// Readers, and where the news of rules comes out.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<RuleNews>) {
        let (rules, news) = mpsc::unbounded_channel();
        (Self { worlds: Worlds::default(), rules }, news)
    }
}
