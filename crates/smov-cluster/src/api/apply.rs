//! Server-side apply: the fields of a manifest are set, those that the same manager's last
//! manifest had and this one has not are removed, fields of another applier are a conflict.
//!
//! Different from Kubernetes: only appliers own fields (not those who update or patch), and
//! ownership is kept beside the object (what each manager applied last), not in
//! `metadata.managedFields`.

use std::collections::BTreeMap;

use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json};

use super::{
    Api, Call, body, negotiate, objects,
    patch::keys::{ListKind, list_kind},
    route::Target,
};
use crate::{
    error::{ApiError, Cause},
    kinds::Kind,
    registry::WriteOptions,
};

/// One step from the object's root to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Field(String),
    /// The element of a list whose field has this value (as JSON text).
    Element(&'static str, String),
}

/// Fields with their values, in the order of the manifest.
#[derive(Clone, Debug, Default)]
struct Leaves {
    fields: Vec<(Vec<Step>, Value)>,
    places: BTreeMap<Vec<Step>, usize>,
}

impl Leaves {
    fn insert(&mut self, path: Vec<Step>, value: Value) {
        self.places.insert(path.clone(), self.fields.len());
        self.fields.push((path, value));
    }

    fn get(&self, path: &[Step]) -> Option<&Value> {
        self.places.get(path).map(|place| &self.fields[*place].1)
    }

    fn has(&self, path: &[Step]) -> bool {
        self.places.contains_key(path)
    }
}

pub(super) fn handle(api: &Api, call: &Call, target: &Target, bytes: &[u8], options: &WriteOptions) -> Result<Response, ApiError> {
    let Some(manager) = call.query.text("fieldManager") else {
        return Err(ApiError::bad_request("fieldManager is required for apply patch"));
    };
    let mut config = body::yaml(bytes)?;
    objects::fit(target, &mut config)?;
    let (namespace, name) = target.key();
    let registry = api.registry();
    if registry.find(target.kind, namespace, name).is_none() {
        match registry.create(config.clone(), options) {
            Ok(written) => {
                if !options.dry_run {
                    remember(api, &written.object, manager, &config)?;
                }
                let response = objects::one(StatusCode::CREATED, call, target, &written.object)?;
                return Ok(negotiate::warn(response, &written.warnings));
            }
            // Somebody was faster: apply onto theirs.
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
    }
    let force = call.query.flag("force");
    let status = target.subresource.as_deref() == Some("status");
    let wanted = leaves(target.kind, &config);
    let mut taken: Vec<(String, Leaves)> = Vec::new();
    let written = registry.patch(target.kind, (namespace, name), options, status, |old| {
        let applied = applied(api, target.kind, old)?;
        taken.clone_from(&applied);
        let conflicts = conflicts(&wanted, old, manager, &applied);
        if !force && !conflicts.is_empty() {
            return Err(refuse(&conflicts));
        }
        let mut new = Value::clone(old);
        let others = || applied.iter().filter(|(one, _)| one != manager);
        let last = applied.iter().find(|(one, _)| one == manager);
        for (path, _) in last.into_iter().flat_map(|(_, leaves)| &leaves.fields) {
            let kept = wanted.has(path) || others().any(|(_, theirs)| theirs.has(path));
            if !kept {
                remove(&mut new, path);
            }
        }
        for (path, value) in &wanted.fields {
            set(&mut new, path, value.clone());
        }
        Ok(new)
    })?;
    if !options.dry_run {
        remember(api, &written.object, manager, &config)?;
        if force {
            give_up(api, &written.object, manager, &wanted, &taken)?;
        }
    }
    objects::answer_written(call, target, &written.object, &written.warnings)
}

/// The fields of a manifest, by path. Lists without keys and empty objects are one field.
fn leaves(kind: &Kind, config: &Value) -> Leaves {
    fn walk(kind: &Kind, value: &Value, path: &mut Vec<Step>, fields: &mut Vec<String>, found: &mut Leaves) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, inner) in map {
                    path.push(Step::Field(name.clone()));
                    match (inner, list_kind(Some(kind), fields, name)) {
                        (Value::Array(list), ListKind::Keyed(key)) if list.iter().all(|one| !one[key].is_null()) => {
                            fields.push(name.clone());
                            for element in list {
                                path.push(Step::Element(key, element[key].to_string()));
                                walk(kind, element, path, fields, found);
                                path.pop();
                            }
                            fields.pop();
                        }
                        _ => {
                            fields.push(name.clone());
                            walk(kind, inner, path, fields, found);
                            fields.pop();
                        }
                    }
                    path.pop();
                }
            }
            leaf => {
                found.insert(path.clone(), leaf.clone());
            }
        }
    }
    let mut config = config.clone();
    if let Some(map) = config.as_object_mut() {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
    }
    if let Some(metadata) = config["metadata"].as_object_mut() {
        for field in ["name", "namespace", "managedFields", "creationTimestamp"] {
            metadata.shift_remove(field);
        }
    }
    let mut found = Leaves::default();
    walk(kind, &config, &mut Vec::new(), &mut Vec::new(), &mut found);
    found
}

/// What each manager applied last to this object.
fn applied(api: &Api, kind: &Kind, object: &Value) -> Result<Vec<(String, Leaves)>, ApiError> {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let rows = api.registry().storage().with(|database| {
        let mut statement = database.prepare_cached("SELECT manager, body FROM applied WHERE uid = ?1")?;
        let rows = statement.query_map([uid], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    rows.into_iter()
        .map(|(manager, body)| {
            let config: Value = serde_json::from_str(&body).map_err(ApiError::internal)?;
            Ok((manager, leaves(kind, &config)))
        })
        .collect()
}

fn remember(api: &Api, object: &Value, manager: &str, config: &Value) -> Result<(), ApiError> {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    api.registry().storage().with(|database| {
        database.execute(
            "INSERT INTO applied (uid, manager, body) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET body = excluded.body",
            [uid, manager, &config.to_string()],
        )
    })?;
    Ok(())
}

/// After a forced apply the others no longer own what was taken from them.
fn give_up(api: &Api, object: &Value, manager: &str, wanted: &Leaves, applied: &[(String, Leaves)]) -> Result<(), ApiError> {
    for (other, theirs) in applied.iter().filter(|(one, _)| one != manager) {
        let lost = |path: &[Step], value: &Value| wanted.get(path).is_some_and(|wanted| wanted != value);
        if !theirs.fields.iter().any(|(path, value)| lost(path, value)) {
            continue;
        }
        let mut rest = json!({});
        for (path, value) in theirs.fields.iter().filter(|(path, value)| !lost(path, value)) {
            set(&mut rest, path, value.clone());
        }
        remember(api, object, other, &rest)?;
    }
    Ok(())
}

/// Fields that another applier holds at another value.
fn conflicts(wanted: &Leaves, present: &Value, manager: &str, applied: &[(String, Leaves)]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, value) in &wanted.fields {
        if find(present, path) == Some(value) {
            continue;
        }
        for (other, theirs) in applied.iter().filter(|(one, _)| one != manager) {
            if theirs.has(path) {
                found.push((other.clone(), describe(path)));
            }
        }
    }
    found
}

fn refuse(conflicts: &[(String, String)]) -> ApiError {
    let told: Vec<String> = conflicts.iter().map(|(manager, field)| format!("conflict with {manager:?}: {field}")).collect();
    let causes: Vec<Cause> = conflicts
        .iter()
        .map(|(manager, field)| Cause {
            reason: "FieldManagerConflict",
            field: field.clone(),
            message: format!("conflict with {manager:?}"),
        })
        .collect();
    let plural = if told.len() == 1 { "" } else { "s" };
    ApiError::apply_conflict(format!("Apply failed with {} conflict{plural}: {}", told.len(), told.join(", ")), &causes)
}

fn describe(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Field(name) => format!(".{name}"),
            Step::Element(key, value) => format!("[{key}={value}]"),
        })
        .collect()
}

fn find<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Element(key, wanted) => value.as_array()?.iter().find(|one| &one[*key].to_string() == wanted),
    })
}

/// Sets a field, making what is missing on the way.
fn set(value: &mut Value, path: &[Step], leaf: Value) {
    let Some((step, rest)) = path.split_first() else {
        // An empty object asks for the object to be there, not to be emptied.
        if leaf != json!({}) || !value.is_object() {
            *value = leaf;
        }
        return;
    };
    match step {
        Step::Field(name) => {
            if !value.is_object() {
                *value = json!({});
            }
            set(&mut value[name.as_str()], rest, leaf);
        }
        Step::Element(key, wanted) => {
            if !value.is_array() {
                *value = json!([]);
            }
            let Some(list) = value.as_array_mut() else {
                return;
            };
            let place = list.iter().position(|one| &one[*key].to_string() == wanted);
            let place = place.unwrap_or_else(|| {
                let key_value: Value = serde_json::from_str(wanted).unwrap_or_default();
                list.push(json!({ *key: key_value }));
                list.len() - 1
            });
            set(&mut list[place], rest, leaf);
        }
    }
}

/// Removes a field; without its key, the whole element of a list.
fn remove(value: &mut Value, path: &[Step]) {
    match path {
        [] => {}
        [Step::Field(name)] => {
            if let Some(map) = value.as_object_mut() {
                map.shift_remove(name);
            }
        }
        [Step::Element(key, wanted), rest @ ..] => {
            let Some(list) = value.as_array_mut() else {
                return;
            };
            if matches!(rest, [Step::Field(name)] if name == key) {
                list.retain(|one| &one[*key].to_string() != wanted);
            } else if let Some(one) = list.iter_mut().find(|one| &one[*key].to_string() == wanted) {
                remove(one, rest);
            }
        }
        [Step::Field(name), rest @ ..] => {
            if let Some(inner) = value.get_mut(name) {
                remove(inner, rest);
                let empty = inner.as_array().is_some_and(Vec::is_empty) || inner.as_object().is_some_and(serde_json::Map::is_empty);
                if let (true, Some(map)) = (empty, value.as_object_mut()) {
                    map.shift_remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn leaves_are_set_and_removed_by_key() {
        let config = json!({ "metadata": { "name": "a", "labels": { "x": "1" } }, "spec": { "template": { "spec": {
            "containers": [{ "name": "app", "image": "a:1", "env": [{ "name": "A", "value": "1" }] }],
        } } } });
        let found = leaves(&kinds::DEPLOYMENT, &config);
        let mut object = json!({});
        for (path, value) in &found.fields {
            set(&mut object, path, value.clone());
        }
        assert_eq!(object["spec"], config["spec"]);
        let variable = found.places.keys().find(|path| describe(path).ends_with(r#"env[name="A"].name"#));
        remove(&mut object, variable.unwrap());
        assert_eq!(object["spec"]["template"]["spec"]["containers"], json!([{ "name": "app", "image": "a:1" }]));
    }
}
