//! What others may see of the publisher, without asking it.

use std::collections::BTreeMap;
use std::sync::Arc;

use smov_istio::diagnostic::Diagnostic;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::source::SourceId;
use crate::status::SourceStatus;

/// What others may see of the publisher.
pub(crate) struct View {
    /// Has everything been read once?
    pub(crate) synced: watch::Receiver<bool>,
    /// What is wrong with the configuration.
    pub(crate) diagnostics: watch::Receiver<Arc<Vec<Diagnostic>>>,
    /// The sources.
    pub(crate) sources: watch::Receiver<BTreeMap<SourceId, SourceState>>,
}

impl View {
    /// The sources as `/debug/syncz` shows them.
    pub(crate) fn source_statuses(&self) -> Vec<SourceStatus> {
        let status = |(source, state): (&SourceId, &SourceState)| SourceStatus {
            cluster: source.cluster.clone(),
            kind: source.kind.as_str().to_owned(),
            synced: state.synced,
            last_event_age: state.last_event.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
            error: state.error.clone(),
        };
        self.sources.borrow().iter().map(status).collect()
    }
}

/// How one source is doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceState {
    pub(crate) synced: bool,
    pub(crate) last_event: Option<Instant>,
    /// The highest `resourceVersion` in what was published, as far as the API server counts.
    pub(crate) version: u64,
    pub(crate) error: Option<String>,
}
