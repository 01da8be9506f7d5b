//! The types behind the kinds: which fields an object has, what they hold, how lists are merged.
//!
//! One model for everything that needs types: the OpenAPI documents, field validation, strategic
//! merge patches, server-side apply. Kubernetes' types come from k8s-openapi, with their
//! descriptions ([`builtin`]); what that crate leaves out is in [`facts`]; Istio's kinds are given
//! from outside as OpenAPI ([`custom`], through [`crate::admission::Admission::schema`]). A type is
//! made when it is first asked for and kept as long as the program runs.

use std::{collections::BTreeMap, sync::Arc};

use crate::kinds::Kind;

mod builtin;
mod check;
mod custom;
mod facts;

pub(crate) use builtin::{delete_options, list_metadata, of_builtin, review, scale, status};
pub(crate) use check::{Findings, check, go_kind, go_text};
pub(crate) use custom::of_custom;
pub(crate) use facts::key_default;

/// What a field, an element or a value holds.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Anything; not looked into.
    Any,
    /// Text of any form.
    Text,
    /// Base64.
    Bytes,
    /// A time of RFC 3339.
    Time(TimeScale),
    /// A whole number of 32 or 64 bits.
    Integer(Width),
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A port or a percentage: number or text.
    IntOrString,
    /// As `100m`, `64Mi`: text or number.
    Quantity,
    /// A list, and how its elements are told apart.
    List(Box<Self>, Elements),
    /// An object with free keys; an atomic one has one owner.
    Map(Box<Self>, bool),
    /// An object with these fields.
    Object(Arc<ObjectType>),
}

/// Precision of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeScale {
    /// `metav1.Time`.
    Seconds,
    /// `metav1.MicroTime`.
    Micros,
    /// Plain text that is checked as a time (custom kinds).
    Text,
}

/// Bits of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Int32,
    Int64,
}

/// How the elements of a list are told apart (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    /// They are not: the list is one value.
    Atomic,
    /// Values that occur once.
    Set,
    /// Objects, by these fields.
    Keyed(&'static [&'static str]),
}

/// How a strategic merge patch meets a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchStrategy {
    /// Elements of a list are merged, not the list replaced.
    pub(crate) merge: bool,
    /// The field that tells elements apart; none for lists of plain values.
    pub(crate) key: Option<&'static str>,
    /// Fields that the patch does not name in `$retainKeys` go.
    pub(crate) retain_keys: bool,
    /// The whole object is replaced.
    pub(crate) replace: bool,
}

/// One field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) shape: Shape,
    /// For `kubectl explain`; may be empty.
    pub(crate) description: String,
    pub(crate) required: bool,
    /// The values it may have; empty: any.
    pub(crate) values: Vec<String>,
    pub(crate) patch: PatchStrategy,
    /// The field is always there in Kubernetes' own memory, also when nobody wrote it: nobody owns it as such.
    pub(crate) inherent: bool,
}

/// An object with known fields.
#[derive(Debug, Default)]
pub(crate) struct ObjectType {
    /// As `io.k8s.api.core.v1.PodSpec`; empty for types that are written out where they are used.
    pub(crate) name: String,
    /// For `kubectl explain`; may be empty.
    pub(crate) description: String,
    pub(crate) fields: BTreeMap<String, Field>,
    /// The whole object has one owner.
    pub(crate) atomic: bool,
    /// Fields that are not named here are kept.
    pub(crate) open: bool,
}

impl ObjectType {
    /// As `PodSpec`: what error messages call it.
    pub(crate) fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

/// Where the types of custom kinds come from.
pub(crate) trait CustomTypes {
    /// The type of a custom kind.
    fn custom_type(&self, kind: &'static Kind) -> Arc<ObjectType>;
}

/// The type of a kind.
pub(crate) fn of(kind: &'static Kind, custom: &impl CustomTypes) -> Arc<ObjectType> {
    if kind.custom { custom.custom_type(kind) } else { of_builtin(kind) }
}
