//! What server-side apply does to an object: a manifest is merged into it, fields are removed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    set::{Set, Step},
    walk::step_of,
};
use crate::schema::{Elements, Shape};

/// The object with the manifest's fields in it.
pub(super) fn merge(shape: &Shape, old: &Value, config: &Value) -> Value {
    match (shape, old, config) {
        (Shape::Object(known), Value::Object(old), Value::Object(config)) if !known.atomic => {
            merge_maps(old, config, |name| known.fields.get(name).map_or(&Shape::Any, |field| &field.shape))
        }
        (Shape::Map(item, false), Value::Object(old), Value::Object(config)) => merge_maps(old, config, |_| item),
        (Shape::Any, Value::Object(old), Value::Object(config)) => merge_maps(old, config, |_| &Shape::Any),
        (Shape::List(item, elements @ (Elements::Set | Elements::Keyed(_))), Value::Array(old), Value::Array(config)) => {
            Value::Array(merge_lists(item, *elements, old, config))
        }
        // The manifest asks for the object to be there, not to be emptied.
        (Shape::Object(_) | Shape::Map(..) | Shape::List(..), old, Value::Null) => old.clone(),
        (_, _, config) => config.clone(),
    }
}

fn merge_maps<'a>(old: &Map<String, Value>, config: &Map<String, Value>, shape: impl Fn(&str) -> &'a Shape) -> Value {
    let mut merged = old.clone();
    for (name, value) in config {
        let value = match old.get(name) {
            Some(old) => merge(shape(name), old, value),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

/// Elements come in the manifest's order; those of the old list alone stay where they were among them.
fn merge_lists(item: &Shape, elements: Elements, old: &[Value], config: &[Value]) -> Vec<Value> {
    let steps =
        |list: &[Value]| -> Vec<Step> { list.iter().enumerate().map(|(place, element)| step_of(elements, element, place)).collect() };
    let (old_steps, new_steps) = (steps(old), steps(config));
    let old_by: BTreeMap<&Step, &Value> = old_steps.iter().zip(old).collect();
    let new_by: BTreeMap<&Step, &Value> = new_steps.iter().zip(config).collect();
    // The elements of both, in the manifest's order.
    let mut shared = new_steps.iter().filter(|step| old_by.contains_key(step)).peekable();
    let mut merged: Vec<&Step> = Vec::new();
    let mut out = Vec::new();
    let put = |step: &Step, value: &Value| match old_by.get(step) {
        Some(before) => merge(item, before, value),
        None => value.clone(),
    };
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < config.len() {
        if left < old.len() {
            let step = &old_steps[left];
            if right < config.len() && *step == new_steps[right] {
                merged.push(step);
                out.push(put(step, &config[right]));
                left += 1;
                right += 1;
                if shared.peek() == Some(&step) {
                    shared.next();
                }
                continue;
            }
            if right < config.len() && new_by.contains_key(step) && shared.peek().is_some_and(|next| *next != step) {
                // Of both, but not its turn.
                left += 1;
                continue;
            }
            if !new_by.contains_key(step) {
                out.push(old[left].clone());
                left += 1;
                continue;
            }
            if merged.contains(&step) {
                left += 1;
                continue;
            }
        }
        if right < config.len() {
            let step = &new_steps[right];
            if !merged.contains(&step) {
                merged.push(step);
                out.push(put(step, &config[right]));
            }
            right += 1;
            if shared.peek() == Some(&step) {
                shared.next();
            }
        } else {
            left += 1;
        }
    }
    out
}

/// Takes fields out; what becomes empty by it goes too.
pub(super) fn remove(shape: &Shape, value: &mut Value, gone: &Set) {
    let (item, map) = match (shape, value) {
        (Shape::List(item, elements @ (Elements::Set | Elements::Keyed(_))), Value::Array(list)) => {
            let mut kept = Vec::with_capacity(list.len());
            for (place, mut element) in std::mem::take(list).into_iter().enumerate() {
                match gone.below.get(&step_of(*elements, &element, place)) {
                    Some(inner) if inner.member => continue,
                    Some(inner) => remove(item, &mut element, inner),
                    None => {}
                }
                kept.push(element);
            }
            *list = kept;
            return;
        }
        (Shape::Object(known), Value::Object(map)) if !known.atomic => {
            remove_from(map, gone, |name| known.fields.get(name).map_or(&Shape::Any, |field| &field.shape));
            return;
        }
        (Shape::Map(item, false), Value::Object(map)) => (item.as_ref(), map),
        (Shape::Any, Value::Object(map)) => (&Shape::Any, map),
        _ => return,
    };
    remove_from(map, gone, |_| item);
}

fn remove_from<'a>(map: &mut Map<String, Value>, gone: &Set, shape: impl Fn(&str) -> &'a Shape) {
    for (step, inner) in &gone.below {
        let Step::Field(name) = step else { continue };
        if inner.member {
            map.shift_remove(name);
        } else if let Some(value) = map.get_mut(name) {
            remove(shape(name), value, inner);
            if value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty) {
                map.shift_remove(name);
            }
        }
    }
}
