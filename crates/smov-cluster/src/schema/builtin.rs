//! Kubernetes' own types, from k8s-openapi.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
};

use k8s_openapi::{
    api::{apps::v1 as apps, authentication, authorization, autoscaling, coordination, core::v1 as core, discovery, policy, rbac},
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions,
    apimachinery::pkg::apis::meta::v1 as meta,
    schemars::{SchemaGenerator, generate::SchemaSettings},
};
use serde_json::{Map, Value};

use super::{Elements, Field, ObjectType, PatchStrategy, Shape, TimeScale, Width, facts};
use crate::kinds::{self, Kind};

const PREFIX: &str = "#/$defs/";

/// What is known so far: definitions as k8s-openapi wrote them, types as we use them.
struct Known {
    generator: SchemaGenerator,
    types: HashMap<String, Arc<ObjectType>>,
}

/// Guarded for one look-up, or for the making of one kind's types.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12().into_generator();
    Mutex::new(Known { generator, types: HashMap::new() })
});

/// The type of a kind that is not custom; one that k8s-openapi does not have is open.
pub(crate) fn of_builtin(kind: &'static Kind) -> Arc<ObjectType> {
    static KINDS: LazyLock<Vec<OnceLock<Arc<ObjectType>>>> = LazyLock::new(|| kinds::kinds().iter().map(|_| OnceLock::new()).collect());
    Arc::clone(KINDS[kind.index()].get_or_init(|| match register(kind) {
        Some(register) => make(register),
        None => Arc::new(ObjectType { name: kind.kind.to_owned(), open: true, ..ObjectType::default() }),
    }))
}

type Register = fn(&mut SchemaGenerator) -> k8s_openapi::schemars::Schema;

fn register(kind: &Kind) -> Option<Register> {
    let register: Register = match (kind.group, kind.kind) {
        ("", "Namespace") => SchemaGenerator::subschema_for::<core::Namespace>,
        ("", "Node") => SchemaGenerator::subschema_for::<core::Node>,
        ("", "Pod") => SchemaGenerator::subschema_for::<core::Pod>,
        ("", "Service") => SchemaGenerator::subschema_for::<core::Service>,
        ("", "Endpoints") => SchemaGenerator::subschema_for::<core::Endpoints>,
        ("", "ConfigMap") => SchemaGenerator::subschema_for::<core::ConfigMap>,
        ("", "Secret") => SchemaGenerator::subschema_for::<core::Secret>,
        ("", "ServiceAccount") => SchemaGenerator::subschema_for::<core::ServiceAccount>,
        ("", "Event") => SchemaGenerator::subschema_for::<core::Event>,
        ("", "PersistentVolumeClaim") => SchemaGenerator::subschema_for::<core::PersistentVolumeClaim>,
        ("apps", "Deployment") => SchemaGenerator::subschema_for::<apps::Deployment>,
        ("apps", "ReplicaSet") => SchemaGenerator::subschema_for::<apps::ReplicaSet>,
        ("discovery.k8s.io", "EndpointSlice") => SchemaGenerator::subschema_for::<discovery::v1::EndpointSlice>,
        ("rbac.authorization.k8s.io", "Role") => SchemaGenerator::subschema_for::<rbac::v1::Role>,
        ("rbac.authorization.k8s.io", "RoleBinding") => SchemaGenerator::subschema_for::<rbac::v1::RoleBinding>,
        ("rbac.authorization.k8s.io", "ClusterRole") => SchemaGenerator::subschema_for::<rbac::v1::ClusterRole>,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => SchemaGenerator::subschema_for::<rbac::v1::ClusterRoleBinding>,
        ("coordination.k8s.io", "Lease") => SchemaGenerator::subschema_for::<coordination::v1::Lease>,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => SchemaGenerator::subschema_for::<extensions::CustomResourceDefinition>,
        ("policy", "PodDisruptionBudget") => SchemaGenerator::subschema_for::<policy::v1::PodDisruptionBudget>,
        _ => return None,
    };
    Some(register)
}

/// The metadata that every object has.
pub(super) fn metadata() -> Arc<ObjectType> {
    make(SchemaGenerator::subschema_for::<meta::ObjectMeta>)
}

/// The metadata of lists.
pub(crate) fn list_metadata() -> Arc<ObjectType> {
    make(SchemaGenerator::subschema_for::<meta::ListMeta>)
}

/// What a failure or a deletion answers.
pub(crate) fn status() -> Arc<ObjectType> {
    make(SchemaGenerator::subschema_for::<meta::Status>)
}

/// What a deletion may say.
pub(crate) fn delete_options() -> Arc<ObjectType> {
    make(SchemaGenerator::subschema_for::<meta::DeleteOptions>)
}

/// What `…/scale` shows.
pub(crate) fn scale() -> Arc<ObjectType> {
    make(SchemaGenerator::subschema_for::<autoscaling::v1::Scale>)
}

/// A question that is answered and not stored, as `TokenReview`.
pub(crate) fn review(kind: &str) -> Option<Arc<ObjectType>> {
    let register: Register = match kind {
        "SelfSubjectReview" => SchemaGenerator::subschema_for::<authentication::v1::SelfSubjectReview>,
        "TokenReview" => SchemaGenerator::subschema_for::<authentication::v1::TokenReview>,
        "SelfSubjectAccessReview" => SchemaGenerator::subschema_for::<authorization::v1::SelfSubjectAccessReview>,
        "SelfSubjectRulesReview" => SchemaGenerator::subschema_for::<authorization::v1::SelfSubjectRulesReview>,
        "SubjectAccessReview" => SchemaGenerator::subschema_for::<authorization::v1::SubjectAccessReview>,
        "LocalSubjectAccessReview" => SchemaGenerator::subschema_for::<authorization::v1::LocalSubjectAccessReview>,
        _ => return None,
    };
    Some(make(register))
}

fn make(register: Register) -> Arc<ObjectType> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Known { generator, types } = &mut *known;
    let schema = register(generator);
    let mut making = Making { definitions: generator.definitions(), types, around: Vec::new() };
    match making.shape(schema.as_value(), Elements::Atomic, false) {
        Shape::Object(object) => object,
        _ => Arc::default(),
    }
}

struct Making<'a> {
    definitions: &'a Map<String, Value>,
    types: &'a mut HashMap<String, Arc<ObjectType>>,
    /// What is being made: a type inside itself (schemas hold schemas) is not looked into again.
    around: Vec<String>,
}

impl Making<'_> {
    fn shape(&mut self, schema: &Value, elements: Elements, atomic: bool) -> Shape {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(PREFIX)) {
            return self.named(name);
        }
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("string"), Some("byte")) => Shape::Bytes,
            (Some("string"), _) => Shape::Text,
            (Some("integer"), Some("int32")) => Shape::Integer(Width::Int32),
            (Some("integer"), _) => Shape::Integer(Width::Int64),
            (Some("number"), _) => Shape::Number,
            (Some("boolean"), _) => Shape::Boolean,
            (Some("array"), _) => Shape::List(Box::new(self.shape(&schema["items"], Elements::Atomic, false)), elements),
            (Some("object"), _) if schema["additionalProperties"].is_object() => {
                Shape::Map(Box::new(self.shape(&schema["additionalProperties"], Elements::Atomic, false)), atomic)
            }
            _ => Shape::Any,
        }
    }

    fn named(&mut self, name: &str) -> Shape {
        match name {
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => return Shape::Time(TimeScale::Seconds),
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => return Shape::Time(TimeScale::Micros),
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => return Shape::IntOrString,
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => return Shape::Quantity,
            _ => {}
        }
        if let Some(known) = self.types.get(name) {
            return Shape::Object(Arc::clone(known));
        }
        let Some(definition) = self.definitions.get(name) else {
            return Shape::Any;
        };
        if self.around.iter().any(|outer| outer == name) {
            return Shape::Any;
        }
        self.around.push(name.to_owned());
        let short = facts::short(name);
        let required = definition["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut fields = BTreeMap::new();
        for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
            let required = required.iter().any(|one| one == field) && !facts::optional(short, field);
            let elements = facts::elements(short, field);
            let shape = self.shape(schema, elements, facts::atomic_map(short, field));
            fields.insert(
                field.clone(),
                Field {
                    inherent: inherent(short, field, &shape, required),
                    patch: facts::patch(short, field, &shape, elements),
                    values: facts::values(short, field).iter().map(|value| (*value).to_owned()).collect(),
                    description: schema["description"].as_str().unwrap_or_default().to_owned(),
                    shape,
                    required,
                },
            );
        }
        let made = Arc::new(ObjectType {
            name: name.to_owned(),
            description: definition["description"].as_str().unwrap_or_default().to_owned(),
            // `RawExtension` and the like: objects whose fields nobody knows.
            open: fields.is_empty() && definition["properties"].is_null(),
            atomic: facts::atomic_type(short),
            fields,
        });
        self.around.pop();
        self.types.insert(name.to_owned(), Arc::clone(&made));
        Shape::Object(made)
    }
}

/// Structs held by value, and lists and maps that must be there.
fn inherent(short: &str, field: &str, shape: &Shape, required: bool) -> bool {
    match shape {
        Shape::Object(_) => facts::by_value(short, field),
        Shape::List(..) | Shape::Map(..) => required,
        _ => false,
    }
}

impl PatchStrategy {
    pub(super) const MERGE_VALUES: Self = Self { merge: true, key: None, retain_keys: false, replace: false };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_containers_are_told_apart_by_name_and_their_ports_by_two_fields() {
        let pod = of_builtin(&kinds::POD);
        let Shape::Object(spec) = &pod.fields["spec"].shape else { panic!("a pod has a spec") };
        assert_eq!(spec.name, "io.k8s.api.core.v1.PodSpec");
        assert!(spec.fields["containers"].required && spec.fields["containers"].inherent);
        let Shape::List(container, Elements::Keyed(["name"])) = &spec.fields["containers"].shape else { panic!("containers have names") };
        let Shape::Object(container) = container.as_ref() else { panic!("a container is an object") };
        assert!(matches!(container.fields["ports"].shape, Shape::List(_, Elements::Keyed(["containerPort", "protocol"]))));
        assert_eq!(container.fields["ports"].patch.key, Some("containerPort"));
        assert_eq!(container.fields["imagePullPolicy"].values, ["Always", "IfNotPresent", "Never"]);
        assert!(!container.fields["image"].description.is_empty());
    }

    #[test]
    fn every_kind_of_kubernetes_has_its_fields() {
        for kind in kinds::kinds().iter().filter(|kind| !kind.custom) {
            let known = of_builtin(kind);
            assert!(!known.open && known.fields.contains_key("metadata"), "{}", kind.kind);
            assert_eq!(known.short_name(), kind.kind);
        }
    }

    #[test]
    fn every_fact_is_about_a_field_that_exists() {
        for kind in kinds::kinds().iter().filter(|kind| !kind.custom) {
            of_builtin(kind);
        }
        scale();
        let known = KNOWN.lock().unwrap();
        let types: HashMap<&str, &Arc<ObjectType>> = known.types.iter().map(|(name, known)| (facts::short(name), known)).collect();
        for (name, field) in facts::mentioned() {
            let known = types.get(name).unwrap_or_else(|| panic!("no type {name}"));
            assert!(field.is_none_or(|field| known.fields.contains_key(field)), "{name} {field:?}");
        }
    }
}
