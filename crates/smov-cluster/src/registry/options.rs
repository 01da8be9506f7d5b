//! How a write is meant, and what came of it.

use std::sync::Arc;

use serde_json::Value;

use super::Object;
use crate::identity::User;

/// What to do with fields that a kind does not have (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them in silence.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the write.
    Strict,
}

/// Who writes, and how.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Name of the user, for admission and logs.
    pub user: String,
    /// The same with groups, so that nobody gives away rights that he does not have; none is the
    /// cluster itself.
    pub identity: Option<Arc<User>>,
    /// Go through everything but store nothing.
    pub dry_run: bool,
    /// What to do with unknown fields.
    pub field_validation: FieldValidation,
    /// Who owns the written fields (server-side apply).
    pub field_manager: String,
    /// Record in `metadata.managedFields` who wrote which fields. The cluster's own writers are not recorded.
    pub tracked: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            user: "system:smov".to_owned(),
            identity: None,
            dry_run: false,
            field_validation: FieldValidation::Warn,
            field_manager: "smov".to_owned(),
            tracked: false,
        }
    }
}

/// What happens to the objects that name the deleted one as owner (`propagationPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go afterwards.
    #[default]
    Background,
    /// They go first; the owner waits with the finalizer `foregroundDeletion`.
    Foreground,
    /// They stay; the owner waits with the finalizer `orphan` until they have let go of it.
    Orphan,
}

/// How a deletion is meant.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Name of the user; empty is the cluster itself.
    pub user: String,
    /// Seconds a pod may take to end; none is the pod's own, 0 removes the object at once.
    pub grace_period_seconds: Option<i64>,
    /// What happens to dependents.
    pub propagation: Propagation,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only this version.
    pub resource_version: Option<String>,
    /// Check everything but delete nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Removes the object at once: what the kubelet does when a pod's processes have ended.
    pub fn now() -> Self {
        Self { grace_period_seconds: Some(0), ..Self::default() }
    }
}

/// A write that was accepted.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object as stored (or as it would have been, in a dry run).
    pub object: Object,
    /// For the client, in `Warning` headers.
    pub warnings: Vec<String>,
}

impl Written {
    /// The object's content.
    pub fn value(&self) -> &Value {
        &self.object
    }
}

/// A deletion that was accepted.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The last content of the object, with its `deletionTimestamp` where it still exists.
    pub object: Object,
    /// False while finalizers or a pod's grace period keep it.
    pub gone: bool,
}
