//! `smov apply`: YAML into one cluster or both, as kubectl does it. Everything is read before anything is written.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::{Apply, Global, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::kube_api::{Write, kind_named};
use crate::kustomize::{self, Disk};
use crate::printer;
use crate::text;

/// Runs the command; exit code 2 when an object was refused.
pub(crate) async fn run(global: &Global, apply: &Apply) -> Outcome {
    let mut objects = Vec::new();
    for path in &apply.filename {
        objects.extend(read(path)?);
    }
    for object in &mut objects {
        if object["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
            object["metadata"]["namespace"] = Value::from(apply.namespace.as_str());
        }
    }
    let mut results = Vec::new();
    let mut refused = 0;
    for cluster in super::connect(global, apply.context.as_deref()).await? {
        for object in &objects {
            let word = object["kind"].as_str().unwrap_or_default();
            let name = format!("{}/{}", word.to_lowercase(), object["metadata"]["name"].as_str().unwrap_or_default());
            let outcome = match kind_named(word) {
                Some(kind) => cluster
                    .apply(kind, &scoped(object, kind.namespaced), Write { dry_run: apply.dry_run })
                    .await
                    .map_err(|error| error.to_string()),
                None => Err(format!("no kind `{word}`")),
            };
            match &outcome {
                Ok(done) if global.output == Output::Text => printer::line(&format!("{}  {name} {done}", cluster.name)),
                Ok(_) => {}
                Err(reason) => {
                    refused += 1;
                    printer::error(&format!("{}  {name}: {reason}", cluster.name));
                }
            }
            results.push(serde_json::json!({"cluster": cluster.name, "object": name, "result": outcome.as_ref().ok(), "error": outcome.as_ref().err()}));
        }
    }
    if global.output == Output::Json {
        printer::line(&serde_json::to_string_pretty(&results).expect("JSON values serialise"));
    }
    if refused > 0 { Err(Failure::new(Exit::Usage, text::APPLY_FAILED, &[&refused])) } else { Ok(()) }
}

fn scoped(object: &Value, namespaced: bool) -> Value {
    let mut object = object.clone();
    if !namespaced && let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    object
}

fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let failed = |path: &Path, reason: &dyn std::fmt::Display| Failure::new(Exit::Usage, text::BAD_FILE, &[&path.display(), reason]);
    let broken = |error: kustomize::BuildError| Failure::new(Exit::Usage, text::PLAIN, &[&error]);
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| failed(path, &error))?;
        return kustomize::documents(&PathBuf::from("-"), &text).map_err(broken);
    }
    if path.is_dir() {
        return kustomize::build(&Disk, path).map_err(broken);
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(path, &error))?;
    kustomize::documents(path, &text).map_err(broken)
}
