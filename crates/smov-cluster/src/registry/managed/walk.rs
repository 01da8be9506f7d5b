//! From objects to sets of fields: which fields an object has, and in which two objects differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Plain, Set, Step};
use crate::schema::{Elements, Shape, key_default};

/// In which fields a new object differs from an old one.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Changed or new.
    pub(super) written: Set,
    pub(super) removed: Set,
}

/// The fields that an object has; what an applier owns.
pub(super) fn fields(shape: &Shape, value: &Value) -> Set {
    let mut found = Set::default();
    list_fields(shape, value, &mut found);
    found.member = false;
    found
}

/// Writes into `found` what is at and below a value.
fn list_fields(shape: &Shape, value: &Value, found: &mut Set) {
    match (shape, value) {
        (Shape::Object(known), Value::Object(map)) if !known.atomic => {
            for (name, inner) in map {
                let set = found.below.entry(Step::Field(name.clone())).or_default();
                match known.fields.get(name) {
                    Some(field) => list_fields(&field.shape, inner, set),
                    None => {
                        list_fields(&Shape::Any, inner, set);
                        set.member = true;
                    }
                }
                set.member |= is_empty(inner);
            }
        }
        (Shape::Map(item, false), Value::Object(map)) => each_value(item, map, found),
        (Shape::Any, Value::Object(map)) => each_value(&Shape::Any, map, found),
        (Shape::List(item, elements @ (Elements::Set | Elements::Keyed(_))), Value::Array(list)) => {
            for (place, element) in list.iter().enumerate() {
                let set = found.below.entry(step_of(*elements, element, place)).or_default();
                if *elements != Elements::Set {
                    list_fields(item, element, set);
                }
                set.member = true;
            }
        }
        _ => found.member = true,
    }
    found.below.retain(|_, inner| !inner.is_empty());
}

fn each_value(item: &Shape, map: &Map<String, Value>, found: &mut Set) {
    for (name, inner) in map {
        let set = found.below.entry(Step::Field(name.clone())).or_default();
        list_fields(item, inner, set);
        set.member = true;
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// How an element of a list is told apart; one without its keys has only its place.
pub(super) fn step_of(elements: Elements, element: &Value, place: usize) -> Step {
    match elements {
        Elements::Set => Step::Value(Plain(element.clone())),
        Elements::Atomic => Step::Place(place),
        Elements::Keyed(keys) => {
            let mut found: Vec<(String, Plain)> = Vec::with_capacity(keys.len());
            for key in keys {
                let value = match &element[*key] {
                    Value::Null => key_default(key).map(Value::from),
                    value => Some(value.clone()),
                };
                if let Some(value) = value {
                    found.push(((*key).to_owned(), Plain(value)));
                }
            }
            found.sort_unstable();
            if found.is_empty() { Step::Place(place) } else { Step::Key(found) }
        }
    }
}

/// Compares two objects of one type.
pub(super) fn compare(shape: &Shape, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    compare_at(shape, Some(old), Some(new), &mut Vec::new(), &mut difference);
    difference
}

/// What stands for structs and lists that are always there.
static NOTHING: Value = Value::Null;

fn compare_at(shape: &Shape, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Step>, found: &mut Difference) {
    // Most of an object stays as it is.
    if old == new {
        return;
    }
    let object = |value: Option<&'_ Value>| value.is_none_or(|value| value.is_object() || value.is_null());
    let list = |value: Option<&'_ Value>| value.is_none_or(|value| value.is_array() || value.is_null());
    let (old_map, new_map) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let branch = match shape {
        Shape::Object(known) if !known.atomic && object(old) && object(new) => {
            for (name, field) in &known.fields {
                let inherent = |map: Option<&Map<String, Value>>, present: bool, value: Option<&'_ Value>| {
                    value.is_none() && field.inherent && present && map.is_none_or(|map| !map.contains_key(name))
                };
                let (mut before, mut after) = (old_map.and_then(|map| map.get(name)), new_map.and_then(|map| map.get(name)));
                if before.is_none() && after.is_none() {
                    continue;
                }
                if inherent(old_map, old.is_some(), before) {
                    before = Some(&NOTHING);
                }
                if inherent(new_map, new.is_some(), after) {
                    after = Some(&NOTHING);
                }
                path.push(Step::Field(name.clone()));
                compare_at(&field.shape, before, after, path, found);
                path.pop();
            }
            let unknown = |map: Option<&Map<String, Value>>| -> Vec<String> {
                map.into_iter().flat_map(|map| map.keys()).filter(|name| !known.fields.contains_key(*name)).cloned().collect()
            };
            each(&Shape::Any, unknown(old_map).into_iter().chain(unknown(new_map)), old_map, new_map, path, found);
            true
        }
        Shape::Map(item, false) if object(old) && object(new) => {
            each(item, names(old_map).chain(names(new_map)), old_map, new_map, path, found);
            true
        }
        Shape::Any if (old_map.is_some() || new_map.is_some()) && object(old) && object(new) => {
            each(&Shape::Any, names(old_map).chain(names(new_map)), old_map, new_map, path, found);
            true
        }
        Shape::List(item, elements @ (Elements::Set | Elements::Keyed(_))) if list(old) && list(new) => {
            let (before, after) = (by_step(*elements, old), by_step(*elements, new));
            let shape = if *elements == Elements::Set { &Shape::Text } else { item.as_ref() };
            for step in before.keys().chain(after.keys().filter(|step| !before.contains_key(*step))) {
                path.push(step.clone());
                compare_at(shape, before.get(step).copied(), after.get(step).copied(), path, found);
                path.pop();
            }
            true
        }
        _ => false,
    };
    match (old, new) {
        (None, _) => found.written.insert(path),
        (_, None) => found.removed.insert(path),
        _ if !branch => found.written.insert(path),
        _ => {}
    }
}

fn by_step(elements: Elements, list: Option<&Value>) -> BTreeMap<Step, &Value> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().enumerate().map(|(place, element)| (step_of(elements, element, place), element)).collect()
}

fn names(map: Option<&Map<String, Value>>) -> impl Iterator<Item = String> + '_ {
    map.into_iter().flat_map(|map| map.keys().cloned())
}

fn each(
    item: &Shape,
    names: impl Iterator<Item = String>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    path: &mut Vec<Step>,
    found: &mut Difference,
) {
    for name in names {
        let (before, after) = (old.and_then(|map| map.get(&name)), new.and_then(|map| map.get(&name)));
        path.push(Step::Field(name));
        compare_at(item, before, after, path, found);
        path.pop();
    }
}

/// The set, and every field with a name that leads to something in it.
pub(super) fn with_named(shape: &Shape, set: &Set) -> Set {
    let below = set.below.iter().map(|(step, inner)| {
        let (shape, named) = match (step, shape) {
            (Step::Field(name), Shape::Object(known)) => match known.fields.get(name) {
                Some(field) => (&field.shape, true),
                None => (&Shape::Any, false),
            },
            (Step::Field(_), Shape::Map(item, _)) | (_, Shape::List(item, _)) => (item.as_ref(), false),
            _ => (&Shape::Any, false),
        };
        let mut inner = with_named(shape, inner);
        inner.member |= named;
        (step.clone(), inner)
    });
    Set { member: set.member, below: below.collect() }
}
