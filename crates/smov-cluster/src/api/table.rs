//! Objects as rows, as `kubectl get` prints them.

use serde_json::{Value, json};

use super::{Call, objects, route::Target};
use crate::registry::Object;

mod columns;
mod pod;
mod time;

/// The age of an object, as a cell.
pub(super) fn age(object: &Value) -> Value {
    time::age(object, jiff::Timestamp::now())
}

/// A `Table` of these objects.
pub(super) fn of(target: &Target, objects: &[Object], metadata: &Value, call: &Call) -> Value {
    let columns = columns::of(target.kind);
    let include = call.query.text("includeObject").unwrap_or("Metadata");
    let now = jiff::Timestamp::now();
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.r#type,
                "format": if column.name == "Name" { "name" } else { "" },
                "description": "",
                "priority": column.priority,
            })
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object, now)).collect();
            let mut row = json!({ "cells": cells });
            match include {
                "None" => {}
                "Object" => {
                    row["object"] = Value::clone(&objects::in_version(target.kind, &target.version, object));
                }
                _ => row["object"] = objects::metadata_only(object),
            }
            row
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}
