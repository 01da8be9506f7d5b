//! Who owns which field of an object: `metadata.managedFields`, and server-side apply.
//!
//! Every write of a client is recorded under its manager: what it wrote is its own, and nobody
//! else's any more. An applier owns exactly the fields of its last manifest; fields of others at
//! another value are a conflict. The cluster's own writers (controllers, kubelet) are not
//! recorded: they write often, and nobody applies against them.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{defaults::now, object::remove as remove_field};
use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    schema::Shape,
};

pub(super) mod declared;
mod merge;
mod set;
#[cfg(test)]
mod tests;
mod walk;

use set::Set;

/// Fields that belong to the server.
const SERVERS: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Whose annotation says what `kubectl apply` wrote last.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

/// Who owns: one entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Manager {
    operation: Operation,
    name: String,
    /// Only for updates: an applier is the same in every version.
    api_version: String,
    subresource: String,
}

impl Manager {
    /// As conflicts name it.
    fn describe(&self) -> String {
        let mut told = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            told.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            told.push_str(&format!(" using {}", self.api_version));
        }
        told
    }
}

#[derive(Clone, Debug)]
struct Entry {
    api_version: String,
    time: Option<String>,
    fields: Set,
}

type Managers = BTreeMap<Manager, Entry>;

/// One write, as ownership sees it.
pub(super) struct Write<'a> {
    pub(super) kind: &'static Kind,
    pub(super) shape: &'a Shape,
    pub(super) manager: &'a str,
    /// `status`, `scale`, or empty.
    pub(super) subresource: &'static str,
}

/// Records a create, replace or patch. `sent` is the `managedFields` that came with it; `filled` are
/// fields that the server filled in by itself.
pub(super) fn update(write: &Write<'_>, old: Option<&Value>, new: &mut Value, sent: &Value, filled: &[&[&str]]) {
    let present = old.map_or(&Value::Null, |old| &old["metadata"]["managedFields"]);
    let from_request = sent.as_array().filter(|_| write.subresource.is_empty());
    let reset = from_request.is_some_and(|sent| matches!(sent.as_slice(), [entry] if entry == &json!({})));
    let mut managers = match from_request.map(|_| read(sent)) {
        _ if reset => Managers::new(),
        Some(managers) if !managers.is_empty() => managers,
        _ => read(present),
    };
    // Objects that nobody has recorded yet are recorded from the first apply on.
    let tracked = old.is_none() || !managers.is_empty();
    if tracked {
        let nothing = json!({});
        let mut difference = walk::compare(write.shape, without_managers(old.unwrap_or(&nothing)).as_ref(), without_managers(new).as_ref());
        for set in [&mut difference.written, &mut difference.removed] {
            strip(set, write);
        }
        for path in filled {
            difference.written.remove(path, true);
        }
        managers.retain(|_, entry| {
            entry.fields.subtract(&difference.written);
            entry.fields.subtract(&difference.removed);
            !entry.fields.is_empty()
        });
        if !difference.written.is_empty() {
            let manager = updater(write);
            let mut entry = Entry { api_version: manager.api_version.clone(), time: Some(now()), fields: difference.written };
            if let Some(known) = managers.get(&manager) {
                entry.fields.unite(&known.fields);
            }
            managers.insert(manager, entry);
        }
    }
    put(new, &managers);
}

fn updater(write: &Write<'_>) -> Manager {
    Manager {
        operation: Operation::Update,
        name: write.manager.to_owned(),
        api_version: write.kind.api_version(),
        subresource: write.subresource.to_owned(),
    }
}

/// Applies a manifest: the object as it becomes, with its `managedFields`.
pub(super) fn apply(write: &Write<'_>, old: Option<&Value>, config: &Value, force: bool) -> Result<Value, ApiError> {
    let nothing = json!({});
    let live = old.unwrap_or(&nothing);
    let mut managers = read(&live["metadata"]["managedFields"]);
    if let (Some(old), true) = (old, managers.is_empty()) {
        let mut fields = walk::compare(write.shape, &nothing, without_managers(old).as_ref()).written;
        strip(&mut fields, &Write { subresource: "", ..*write });
        let first = Write { manager: "before-first-apply", ..*write };
        let manager = updater(&Write { subresource: "", ..first });
        managers.insert(manager.clone(), Entry { api_version: manager.api_version, time: Some(now()), fields });
    }
    let applier = Manager {
        operation: Operation::Apply,
        name: write.manager.to_owned(),
        api_version: String::new(),
        subresource: write.subresource.to_owned(),
    };
    let last = managers.get(&applier).map(|entry| entry.fields.clone()).unwrap_or_default();
    let mut own = walk::fields(write.shape, config);
    strip(&mut own, write);
    let mut merged = merge::merge(write.shape, live, config);
    let time = managers.get(&applier).and_then(|entry| entry.time.clone());
    managers.insert(applier.clone(), Entry { api_version: write.kind.api_version(), time, fields: own });
    if !last.is_empty() {
        // What it gave up goes, where nobody else owns it.
        let mut owned = Set::default();
        for entry in managers.values() {
            owned.unite(&entry.fields);
        }
        let mut gone = walk::with_named(write.shape, &last);
        gone.subtract(&walk::with_named(write.shape, &owned));
        merge::remove(write.shape, &mut merged, &gone);
    }
    let mut difference = walk::compare(write.shape, without_managers(live).as_ref(), without_managers(&merged).as_ref());
    strip(&mut difference.written, write);
    strip(&mut difference.removed, write);
    let conflicts: Vec<(Manager, Set)> = managers
        .iter()
        .filter(|(manager, _)| **manager != applier)
        .map(|(manager, entry)| (manager.clone(), entry.fields.common(&difference.written)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        let refused = allowed_by_last_applied(write, live, conflicts);
        if !refused.is_empty() {
            return Err(conflict(&refused));
        }
    }
    managers.retain(|manager, entry| {
        if *manager != applier {
            entry.fields.subtract(&difference.written);
            entry.fields.subtract(&difference.removed);
        }
        !entry.fields.is_empty()
    });
    if without_managers(&merged) != without_managers(live)
        && let Some(entry) = managers.get_mut(&applier)
    {
        entry.time = Some(now());
    }
    if write.manager == KUBECTL && live["metadata"]["annotations"][LAST_APPLIED].is_string() {
        // `kubectl apply` without `--server-side` must find what was applied last.
        merged["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{}\n", bare(config)));
    }
    put(&mut merged, &managers);
    Ok(merged)
}

/// Conflicts that remain: what `kubectl apply` wrote by itself it may take over as an applier.
fn allowed_by_last_applied(write: &Write<'_>, live: &Value, conflicts: Vec<(Manager, Set)>) -> Vec<(Manager, Set)> {
    let annotation = live["metadata"]["annotations"][LAST_APPLIED].as_str().filter(|_| write.manager == KUBECTL);
    let Some(Ok(last)) = annotation.map(serde_json::from_str::<Value>) else {
        return conflicts;
    };
    let mut allowed = walk::fields(write.shape, &last);
    // Only where what it applied is still there.
    let changed = walk::compare(write.shape, &last, without_managers(live).as_ref());
    allowed.subtract(&changed.written);
    allowed.subtract(&changed.removed);
    conflicts
        .into_iter()
        .map(|(manager, mut fields)| {
            fields.subtract(&allowed);
            (manager, fields)
        })
        .filter(|(_, fields)| !fields.is_empty())
        .collect()
}

fn conflict(conflicts: &[(Manager, Set)]) -> ApiError {
    let fields: Vec<(&Manager, Vec<String>)> = conflicts.iter().map(|(manager, fields)| (manager, fields.paths())).collect();
    let cause = |manager: &Manager, field: &String| Cause {
        reason: "FieldManagerConflict",
        field: field.clone(),
        message: format!("conflict with {}", manager.describe()),
    };
    let causes: Vec<Cause> = fields.iter().flat_map(|(manager, fields)| fields.iter().map(move |field| cause(manager, field))).collect();
    let message = if let [one] = causes.as_slice() {
        format!("Apply failed with 1 conflict: {}: {}", one.message, one.field)
    } else {
        let told: Vec<String> =
            fields.iter().map(|(manager, fields)| format!("conflicts with {}:\n- {}", manager.describe(), fields.join("\n- "))).collect();
        format!("Apply failed with {} conflicts: {}", causes.len(), told.join("\n"))
    };
    ApiError::apply_conflict(message, &causes)
}

/// Fields that the server fills in by itself where a client says nothing; ask before defaults are filled in.
pub(super) fn filled_by_server(kind: &Kind, object: &Value) -> Vec<&'static [&'static str]> {
    let known: &[&'static [&'static str]] = match kind.kind {
        "Service" => &[&["spec", "clusterIP"], &["spec", "clusterIPs"], &["spec", "ipFamilies"], &["spec", "ipFamilyPolicy"]],
        "Pod" => &[&["spec", "serviceAccountName"], &["spec", "serviceAccount"], &["spec", "nodeName"]],
        "Namespace" => &[&["spec", "finalizers"]],
        _ => &[],
    };
    let absent = |path: &&&'static [&'static str]| path.iter().fold(object, |value, name| &value[*name]).is_null();
    known.iter().filter(absent).copied().collect()
}

/// Takes out what no client can own: the server's fields, and those of the other subresource.
fn strip(set: &mut Set, write: &Write<'_>) {
    set.member = false;
    for path in SERVERS {
        set.remove(path, false);
    }
    set.remove(&["metadata", "managedFields"], true);
    if write.kind.has("status") {
        if write.subresource == "status" {
            set.remove(&["spec"], true);
            set.remove(&["metadata"], true);
        } else {
            set.remove(&["status"], true);
        }
    }
}

fn without_managers(object: &Value) -> std::borrow::Cow<'_, Value> {
    if object["metadata"]["managedFields"].is_null() {
        return std::borrow::Cow::Borrowed(object);
    }
    let mut object = object.clone();
    remove_field(&mut object["metadata"], "managedFields");
    std::borrow::Cow::Owned(object)
}

/// A manifest as the annotation of `kubectl apply` has it.
fn bare(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
    }
    config
}

/// Entries that cannot be read count as absent.
fn read(entries: &Value) -> Managers {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = entries.as_array().map(Vec::as_slice).unwrap_or_default();
    let read = entries.iter().filter_map(|entry| {
        let operation = match entry["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let api_version = text(entry, "apiVersion");
        let manager = Manager {
            operation,
            name: text(entry, "manager"),
            api_version: if operation == Operation::Update { api_version.clone() } else { String::new() },
            subresource: text(entry, "subresource"),
        };
        let time = entry["time"].as_str().map(str::to_owned);
        Some((manager, Entry { api_version, time, fields: Set::read(&entry["fieldsV1"])? }))
    });
    read.collect()
}

fn put(object: &mut Value, managers: &Managers) {
    let mut sorted: Vec<(&Manager, &Entry)> = managers.iter().collect();
    sorted.sort_by(|(one, first), (two, second)| {
        (one.operation, &first.time, &one.name, &first.api_version, &one.subresource).cmp(&(
            two.operation,
            &second.time,
            &two.name,
            &second.api_version,
            &two.subresource,
        ))
    });
    let entries: Vec<Value> = sorted
        .into_iter()
        .map(|(manager, entry)| {
            let mut written = Map::new();
            written.insert("manager".to_owned(), json!(manager.name));
            written.insert("operation".to_owned(), json!(if manager.operation == Operation::Apply { "Apply" } else { "Update" }));
            written.insert("apiVersion".to_owned(), json!(entry.api_version));
            if let Some(time) = &entry.time {
                written.insert("time".to_owned(), json!(time));
            }
            written.insert("fieldsType".to_owned(), json!("FieldsV1"));
            written.insert("fieldsV1".to_owned(), entry.fields.write());
            if !manager.subresource.is_empty() {
                written.insert("subresource".to_owned(), json!(manager.subresource));
            }
            Value::Object(written)
        })
        .collect();
    if entries.is_empty() {
        remove_field(&mut object["metadata"], "managedFields");
    } else {
        object["metadata"]["managedFields"] = Value::Array(entries);
    }
}
