//! `smov get`: objects of both clusters in the server's own columns.

use serde_json::{Value, json};

use crate::cli::{Get, Global, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::kube_api::kind_named;
use crate::printer::{self, CTX1, CTX2, paint};
use crate::text;

/// Runs the command.
pub(crate) async fn run(global: &Global, get: &Get) -> Outcome {
    let kind = kind_named(&get.resource)
        .ok_or_else(|| Failure::new(Exit::Usage, text::UNKNOWN_RESOURCE, &[&get.resource]).hint(text::UNKNOWN_RESOURCE_HINT, &[]))?;
    let namespace = (!get.all_namespaces).then_some(get.namespace.as_str());
    let clusters = super::connect(global, get.context.as_deref()).await?;
    let mut documents = serde_json::Map::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for cluster in &clusters {
        if global.output == Output::Json {
            let found = match &get.name {
                Some(name) => cluster.get(kind, namespace.unwrap_or_default(), name).await.map(|object| object.into_iter().collect()),
                None => cluster.list(kind, namespace).await,
            };
            documents.insert(cluster.name.clone(), json!(found.map_err(|error| super::unreachable(&error))?));
            continue;
        }
        let table = match cluster.table(kind, namespace, get.name.as_deref()).await {
            Ok(table) => table,
            // A name may exist in one cluster only.
            Err(crate::kube_api::CallError::Refused { code: 404, .. }) if clusters.len() > 1 => continue,
            Err(error) => return Err(super::unreachable(&error)),
        };
        add_rows(&mut rows, &cluster.name, &table, get.all_namespaces && kind.namespaced);
    }
    if global.output == Output::Json {
        printer::line(&serde_json::to_string_pretty(&documents).expect("JSON values serialise"));
    } else if rows.len() > 1 {
        printer::table(&rows);
    } else {
        return Err(Failure::new(Exit::Check, text::NOTHING_FOUND, &[&get.resource]));
    }
    Ok(())
}

/// Adds a server's table, with the cluster (and, where asked, the namespace) in front.
fn add_rows(rows: &mut Vec<Vec<String>>, cluster: &str, table: &Value, with_namespace: bool) {
    let none = Vec::new();
    let columns = table["columnDefinitions"].as_array().unwrap_or(&none);
    let wanted: Vec<usize> =
        columns.iter().enumerate().filter(|(_, column)| column["priority"].as_i64().unwrap_or(0) == 0).map(|(index, _)| index).collect();
    if rows.is_empty() {
        let mut header = vec!["CLUSTER".to_owned()];
        header.extend(with_namespace.then(|| "NAMESPACE".to_owned()));
        header.extend(wanted.iter().map(|index| columns[*index]["name"].as_str().unwrap_or_default().to_uppercase()));
        rows.push(header);
    }
    let style = if cluster == "ctx1" { CTX1 } else { CTX2 };
    for row in table["rows"].as_array().unwrap_or(&none) {
        let mut cells = vec![paint(style, cluster)];
        cells.extend(with_namespace.then(|| row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned()));
        cells.extend(wanted.iter().map(|index| match &row["cells"][*index] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }));
        rows.push(cells);
    }
}
