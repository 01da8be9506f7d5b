//! Istio's resources as they are written: loose, every field as in YAML. Strictness is in validate and compile.
//!
//! All served versions (`v1`, `v1beta1`, `v1alpha3`) have the same shape
//! (<https://istio.io/latest/docs/reference/config/networking/>).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smov_model::names::ResourceRef;

use crate::diagnostic::{Diagnostic, Severity};

mod authorization_policy;
mod destination_rule;
mod gateway;
mod peer_authentication;
mod service_entry;
mod telemetry;
mod virtual_service;

pub use authorization_policy::*;
pub use destination_rule::*;
pub use gateway::*;
pub use peer_authentication::*;
pub use service_entry::*;
pub use telemetry::*;
pub use virtual_service::*;

/// `metadata` as far as the mesh reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// Its namespace; `default` when the text has none.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339, UTC; decides which of two rules for one host is the older. Empty when it came from a file.
    pub creation_timestamp: String,
    /// Which version of the object this is.
    pub resource_version: String,
    /// Tells objects apart that had the same name one after the other.
    pub uid: String,
}

/// A typed object with its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource<S> {
    /// `VirtualService`, …
    pub kind: &'static str,
    /// Who it is.
    pub metadata: Metadata,
    /// What it says.
    pub spec: S,
}

impl<S> Resource<S> {
    /// Points at this object.
    pub fn reference(&self) -> ResourceRef {
        ResourceRef {
            kind: self.kind.to_owned(),
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
            resource_version: self.metadata.resource_version.clone(),
        }
    }

    /// Istio's order of precedence: older first, then by name, then by namespace.
    pub fn seniority(&self) -> (&str, &str, &str) {
        (&self.metadata.creation_timestamp, &self.metadata.name, &self.metadata.namespace)
    }
}

/// The kinds of Istio that the mesh understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IstioKind {
    /// `networking.istio.io` VirtualService.
    VirtualService,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `networking.istio.io` Gateway.
    Gateway,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` WorkloadEntry.
    WorkloadEntry,
    /// `networking.istio.io` Sidecar.
    Sidecar,
    /// `security.istio.io` PeerAuthentication.
    PeerAuthentication,
    /// `security.istio.io` AuthorizationPolicy.
    AuthorizationPolicy,
    /// `security.istio.io` RequestAuthentication.
    RequestAuthentication,
    /// `telemetry.istio.io` Telemetry.
    Telemetry,
}

impl IstioKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::Sidecar,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
        Self::RequestAuthentication,
        Self::Telemetry,
    ];

    /// As `kind:` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::Gateway => "Gateway",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Sidecar => "Sidecar",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::Telemetry => "Telemetry",
        }
    }

    /// Its API group and the versions in which it is served; all have the same shape.
    pub fn group(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::VirtualService | Self::DestinationRule | Self::Gateway | Self::ServiceEntry | Self::WorkloadEntry | Self::Sidecar => {
                ("networking.istio.io", &["v1", "v1beta1", "v1alpha3"])
            }
            Self::PeerAuthentication | Self::AuthorizationPolicy | Self::RequestAuthentication => ("security.istio.io", &["v1", "v1beta1"]),
            Self::Telemetry => ("telemetry.istio.io", &["v1", "v1alpha1"]),
        }
    }

    /// Does it steer the mesh? The others are stored and checked by their schema.
    pub fn is_executed(self) -> bool {
        matches!(
            self,
            Self::VirtualService
                | Self::DestinationRule
                | Self::Gateway
                | Self::ServiceEntry
                | Self::WorkloadEntry
                | Self::PeerAuthentication
                | Self::AuthorizationPolicy
                | Self::Telemetry
        )
    }

    /// May an object of it have no `spec`? A policy that says nothing is a policy.
    pub fn may_lack_spec(self) -> bool {
        !self.is_executed() || matches!(self, Self::PeerAuthentication | Self::AuthorizationPolicy | Self::Telemetry)
    }

    /// By the word of `kind:`.
    pub fn by_name(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The kind of an object by `apiVersion` and `kind`; `None` for all other objects (the Gateway API's `Gateway` among them).
    pub fn of(object: &Value) -> Option<Self> {
        let (group, version) = object.get("apiVersion")?.as_str()?.split_once('/')?;
        let kind = Self::by_name(object.get("kind")?.as_str()?)?;
        let (own_group, versions) = kind.group();
        (group == own_group && versions.contains(&version)).then_some(kind)
    }
}

/// Points at an object that may be anything, for messages about it.
pub fn reference_of(object: &Value) -> ResourceRef {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    ResourceRef {
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        resource_version: text("/metadata/resourceVersion"),
    }
}

/// Reads an object into a type; `null` means the same as an absent field, as in Kubernetes.
pub(crate) fn read<T: DeserializeOwned>(object: &Value) -> Result<T, Box<Diagnostic>> {
    serde_path_to_error::deserialize(without_nulls(object)).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        let reason = error.into_inner().to_string();
        let korean = format!("형식이 맞지 않습니다: {reason}");
        Box::new(Diagnostic::new("schema", Severity::Error, &reference_of(object), path, reason, korean))
    })
}

/// Reads an Istio object into its typed form.
pub fn parse_resource<S: DeserializeOwned>(kind: IstioKind, object: &Value) -> Result<Resource<S>, Box<Diagnostic>> {
    #[derive(Deserialize)]
    struct Object<S> {
        #[serde(default)]
        metadata: Metadata,
        spec: S,
    }
    let with_spec = || {
        let mut object = object.clone();
        object.as_object_mut().map(|fields| fields.insert("spec".to_owned(), Value::Object(serde_json::Map::new())));
        object
    };
    let Object { mut metadata, spec } = match object.get("spec") {
        None | Some(Value::Null) if kind.may_lack_spec() => read::<Object<S>>(&with_spec())?,
        _ => read::<Object<S>>(object)?,
    };
    if metadata.namespace.is_empty() {
        "default".clone_into(&mut metadata.namespace);
    }
    Ok(Resource { kind: kind.as_str(), metadata, spec })
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.iter().filter(|(_, field)| !field.is_null()).map(|(name, field)| (name.clone(), without_nulls(field))).collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
