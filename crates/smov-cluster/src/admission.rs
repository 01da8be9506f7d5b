//! What is asked from outside before an object is stored: change it (sidecar injection), judge it
//! (Istio's validation), say which fields its kind has.

use serde_json::Value;

use crate::{error::ApiError, kinds::Kind, registry::Registry};

/// Which write is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// Another content of an existing one.
    Update,
    /// An object goes; `object` is its last content.
    Delete,
}

/// The write that is judged.
pub struct AdmissionRequest<'a> {
    /// Create, update or delete.
    pub operation: Operation,
    /// Name of the cluster (its context), as `ctx1`.
    pub cluster: &'a str,
    /// The object's kind.
    pub kind: &'static Kind,
    /// Empty for kinds without a namespace.
    pub namespace: &'a str,
    /// Empty while `generateName` has not been used yet.
    pub name: &'a str,
    /// Who writes.
    pub user: &'a str,
    /// What is stored now (update and delete).
    pub old: Option<&'a Value>,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// For look-ups, as the labels of the namespace; no lock is held while admission runs.
    pub registry: &'a Registry,
}

/// A cluster's admission plugins, given from outside: this crate knows no mesh semantics.
pub trait Admission: Send + Sync {
    /// Changes an object before it is checked and stored, as sidecar injection does.
    ///
    /// # Errors
    /// The write is refused with this answer.
    fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), ApiError>;

    /// Judges an object; the texts returned are warnings for the client.
    ///
    /// # Errors
    /// The write is refused with this answer.
    fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<Vec<String>, ApiError>;

    /// The OpenAPI v3 schema of a custom kind's `spec`, as a CustomResourceDefinition has it; `x-kind-description` says what
    /// the kind is, `x-kind-status` is the schema of its `status`. `None`: every field is known.
    fn schema(&self, kind: &Kind) -> Option<Value>;
}

/// Admission that lets everything pass: a cluster without a mesh.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn mutate(&self, _: &AdmissionRequest<'_>, _: &mut Value) -> Result<(), ApiError> {
        Ok(())
    }

    fn validate(&self, _: &AdmissionRequest<'_>, _: &Value) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }

    fn schema(&self, _: &Kind) -> Option<Value> {
        None
    }
}
