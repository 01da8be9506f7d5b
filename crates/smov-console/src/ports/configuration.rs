//! The rules of all clusters: read, checked, applied, and put back.

use futures_util::future::BoxFuture;

use crate::problem::Problem;
use crate::view::configuration::{AppliedView, ChangeSet, CheckView, HistoryView, ResourcesView};

/// Istio's objects in the API servers, and the history of their changes.
pub trait Configuration: Send + Sync {
    /// Everything that is stored, with findings.
    fn resources(&self) -> BoxFuture<'static, Result<ResourcesView, Problem>>;
    /// What a change would do; nothing is stored.
    fn check(&self, set: ChangeSet) -> BoxFuture<'static, Result<CheckView, Problem>>;
    /// Does it, as far as nothing stands against it.
    fn apply(&self, set: ChangeSet) -> BoxFuture<'static, Result<AppliedView, Problem>>;
    /// The newest changes, of one object (`Kind/namespace/name`) or of all.
    fn history(&self, reference: Option<String>, limit: usize) -> BoxFuture<'static, Result<HistoryView, Problem>>;
    /// Puts back what was before a change. What was changed since is a conflict, unless `force`.
    fn rollback(&self, id: String, force: bool) -> BoxFuture<'static, Result<AppliedView, Problem>>;
    /// Takes back the newest change that holds.
    fn undo(&self) -> BoxFuture<'static, Result<AppliedView, Problem>>;
}
