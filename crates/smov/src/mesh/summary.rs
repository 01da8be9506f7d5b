//! The end of the start: wait until all pods are ready, then say where to look and what to try. Everything printed works when pasted.

use std::time::Duration;

use serde_json::Value;
use smov_cluster::kinds::{DEPLOYMENT, POD};
use smov_cluster::registry::{EventKind, Registry, Selector};

use super::baseline::LocalCluster;
use super::state::{RunInfo, State};
use super::store::Store;
use super::up::Plan;
use crate::commands::running::quoted;
use crate::printer::{self, BOLD, CTX1, CTX2, DIM, GOOD, paint};
use crate::text::{self, Language, Text};

/// Waits until every Deployment has all its replicas ready; gives the names of those that have not when the patience ends.
pub(crate) async fn wait_until_ready(registries: &[(LocalCluster, Registry)], patience: Duration) -> Vec<String> {
    let waits = registries.iter().map(|(local, registry)| async move {
        tokio::time::timeout(patience, all_ready(registry)).await.is_err().then(|| not_ready(local, registry))
    });
    futures_util::future::join_all(waits).await.into_iter().flatten().flatten().collect()
}

async fn all_ready(registry: &Registry) {
    let Ok(mut watch) = registry.watch(&DEPLOYMENT, None, Selector::default(), None) else { return };
    let mut known = std::collections::BTreeMap::new();
    let expected = registry.list(&DEPLOYMENT, None, &Selector::default()).0.len();
    while let Some(event) = watch.next().await {
        let name = format!("{}/{}", event.object["metadata"]["namespace"], event.object["metadata"]["name"]);
        match event.kind {
            EventKind::Deleted => {
                known.remove(&name);
            }
            EventKind::Bookmark => {}
            EventKind::Added | EventKind::Modified => {
                known.insert(name, is_ready(&event.object));
            }
        }
        if known.len() >= expected && known.values().all(|ready| *ready) {
            return;
        }
    }
}

fn is_ready(deployment: &Value) -> bool {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    seen && number("/status/readyReplicas") >= number("/spec/replicas") && number("/status/updatedReplicas") >= number("/spec/replicas")
}

fn not_ready(local: &LocalCluster, registry: &Registry) -> Vec<String> {
    let deployments = registry.list(&DEPLOYMENT, None, &Selector::default()).0;
    deployments
        .iter()
        .filter(|object| !is_ready(object))
        .map(|object| format!("{}/{}", local.name, object["metadata"]["name"].as_str().unwrap_or("?")))
        .collect()
}

/// Prints the summary.
pub(crate) fn print(
    state: &State,
    plan: &Plan,
    info: &RunInfo,
    registries: &[(LocalCluster, Registry)],
    waiting: &[String],
    elapsed: Duration,
    language: Language,
) {
    let seconds = format!("{:.2}", elapsed.as_secs_f64());
    printer::line("");
    if waiting.is_empty() {
        printer::line(&format!("  {} {}", paint(BOLD, "smov"), paint(GOOD, &language.line(text::READY, &[&seconds]))));
    } else {
        language.lines(text::READY_PARTLY, &[&seconds, &waiting.join(", ")]).iter().for_each(|line| printer::warning(line));
    }
    printer::line("");
    let store = match &plan.store {
        Store::Redis(server) => language.line(text::STORE_REDIS, &[&server.display().to_string()]),
        Store::External(url) => language.line(text::STORE_EXTERNAL, &[url]),
        Store::Sqlite => {
            language.line(text::STORE_SQLITE, &[&state.folder().join("host/var/lib/theater/theater.db").display().to_string()])
        }
    };
    let contexts = registries
        .iter()
        .map(|(local, _)| format!("{} ({})", paint(colour(local), local.name), local.cloud))
        .collect::<Vec<_>>()
        .join("   ");
    row(language, text::LABEL_PAGE, &paint(BOLD, &info.page));
    row(language, text::LABEL_OPERATOR, &format!("{}   {}", info.operator, paint(DIM, &language.line(text::OPERATOR_NOTE, &[]))));
    row(language, text::LABEL_KUBECTL, &contexts);
    row(language, text::LABEL_STORE, &store);
    if let Some(seed) = plan.seed {
        row(language, text::LABEL_SEED, &seed.to_string());
    }
    row(language, text::LABEL_STATE, &state.folder().display().to_string());
    printer::line("");
    pods(language, registries);
    printer::line("");
    commands(state, plan, info, language);
}

fn row(language: Language, label: Text, value: &str) {
    printer::line(&format!("  {}  {value}", paint(DIM, &printer::pad(&language.line(label, &[]), LABEL_WIDTH))));
}

/// Wide enough for the longest label in both languages.
const LABEL_WIDTH: usize = 26;

fn colour(local: &LocalCluster) -> anstyle::Style {
    if local.name == "ctx1" { CTX1 } else { CTX2 }
}

/// One line per cluster: its pods, each with its ready containers.
fn pods(language: Language, registries: &[(LocalCluster, Registry)]) {
    for (index, (local, registry)) in registries.iter().enumerate() {
        let mut names: Vec<String> = registry
            .list(&POD, None, &Selector::default())
            .0
            .iter()
            .map(|pod| {
                let statuses = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
                let ready = statuses.iter().filter(|status| status["ready"] == true).count();
                let app = pod["metadata"]["labels"]["app"].as_str().or_else(|| pod["metadata"]["name"].as_str()).unwrap_or("?");
                format!("{app} {ready}/{}", statuses.len())
            })
            .collect();
        names.sort();
        let label = if index == 0 { language.line(text::LABEL_PODS, &[]) } else { String::new() };
        printer::line(&format!(
            "  {}  {}  {}",
            paint(DIM, &printer::pad(&label, LABEL_WIDTH)),
            paint(colour(local), local.name),
            names.join(" · ")
        ));
    }
}

fn commands(state: &State, plan: &Plan, info: &RunInfo, language: Language) {
    let program = quoted(&plan.program.display().to_string());
    let folder = quoted(&state.folder().display().to_string());
    let kubeconfig = quoted(&state.kubeconfig().display().to_string());
    let shift = r#"[{"op":"replace","path":"/spec/http/1/route/0/weight","value":0},{"op":"replace","path":"/spec/http/1/route/1/weight","value":100}]"#;
    printer::line(&format!("  {}", paint(BOLD, &language.line(text::LABEL_TRY, &[]))));
    let lines = [
        (text::TRY_PAGE, info.page.clone()),
        (text::TRY_CURL, format!("curl --noproxy '*' -si {}/users/ | grep -i ^x-", info.page)),
        (
            text::TRY_SHIFT,
            format!(
                "kubectl --kubeconfig {kubeconfig} --context ctx1 -n theater-msa patch virtualservice user-service-vs --type=json -p '{shift}'"
            ),
        ),
        (text::TRY_RESET, format!("{program} --state-dir {folder} reset")),
    ];
    for (what, command) in lines {
        printer::line(&format!("  {}", paint(DIM, &format!("# {}", language.line(what, &[])))));
        printer::line(&format!("  {command}"));
    }
    printer::line("");
}
