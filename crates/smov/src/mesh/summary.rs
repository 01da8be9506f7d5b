//! The end of the start: wait until all pods are ready, then say where to look and what to try. Everything printed works when pasted.

use std::time::Duration;

use serde_json::Value;
use smov_cluster::kinds::{DEPLOYMENT, POD};
use smov_cluster::registry::{Object, Registry, Selector};

use super::baseline::LocalCluster;
use super::state::{RunInfo, State};
use super::store::Store;
use super::up::Plan;
use crate::cli::DataPlane;
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
    let watch = |kind| registry.watch(kind, None, Selector::default(), None);
    let (Ok(mut deployments), Ok(mut pods)) = (watch(&DEPLOYMENT), watch(&POD)) else { return };
    while !waiting(registry).is_empty() {
        let (news, of) = tokio::select! {
            event = deployments.next() => (event, &DEPLOYMENT),
            event = pods.next() => (event, &POD),
        };
        if news.is_none() {
            // Fell behind: look again.
            let Ok(again) = watch(of) else { return };
            if of.kind == DEPLOYMENT.kind { deployments = again } else { pods = again }
        }
    }
}

/// Names of the Deployments that lack ready pods.
fn waiting(registry: &Registry) -> Vec<String> {
    let list = |kind| registry.list(kind, None, &Selector::default()).0;
    let pods = list(&POD);
    let deployments = list(&DEPLOYMENT);
    let names = deployments.iter().filter(|deployment| !is_ready(deployment, &pods)).map(|deployment| &deployment["metadata"]["name"]);
    names.map(|name| name.as_str().unwrap_or("?").to_owned()).collect()
}

/// Its status alone would not do: after a crash it is of the past until the controllers have seen that no pod runs any more.
fn is_ready(deployment: &Value, pods: &[Object]) -> bool {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let wanted = number("/spec/replicas");
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
    let is_of = |pod: &Value| {
        pod["metadata"]["namespace"] == deployment["metadata"]["namespace"]
            && labels.is_some_and(|labels| labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
    };
    let ready = pods.iter().filter(|pod| is_of(pod) && pod_is_ready(pod)).count();
    seen && number("/status/readyReplicas") >= wanted && number("/status/updatedReplicas") >= wanted && ready as u64 >= wanted
}

/// Its `Ready` condition.
pub(super) fn pod_is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn not_ready(local: &LocalCluster, registry: &Registry) -> Vec<String> {
    waiting(registry).into_iter().map(|name| format!("{}/{name}", local.name)).collect()
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
    if let Some(address) = &info.prometheus {
        row(language, text::LABEL_PROMETHEUS, address);
    }
    let collectors: Vec<String> = plan.collectors.iter().map(|(_, collector)| collector.to_string()).collect();
    if !collectors.is_empty() {
        row(language, text::LABEL_SPANS, &collectors.join("   "));
    }
    row(language, text::LABEL_KUBECTL, &contexts);
    row(language, text::LABEL_STORE, &store);
    if plan.data_plane == DataPlane::Envoy {
        let binary = smov_envoy::find_binary().map_or_else(|| "?".to_owned(), |path| path.display().to_string());
        row(language, text::LABEL_DATA_PLANE, &language.line(text::DATA_PLANE_ENVOY, &[&binary]));
    }
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
    printer::line(&format!("  {}  {value}", paint(DIM, &printer::pad(&language.line(label, &[]), label_width(language)))));
}

/// As wide as the longest label.
fn label_width(language: Language) -> usize {
    let labels = [
        text::LABEL_PAGE,
        text::LABEL_OPERATOR,
        text::LABEL_KUBECTL,
        text::LABEL_PROMETHEUS,
        text::LABEL_SPANS,
        text::LABEL_STORE,
        text::LABEL_DATA_PLANE,
        text::LABEL_SEED,
        text::LABEL_STATE,
        text::LABEL_PODS,
    ];
    labels.into_iter().map(|label| printer::columns(&language.line(label, &[]))).max().unwrap_or(0)
}

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
            paint(DIM, &printer::pad(&label, label_width(language))),
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
    if plan.empty {
        printer::line(&format!("  {}", paint(DIM, &format!("# {}", language.line(text::TRY_DEPLOY, &[])))));
        printer::line(&format!("  KUBECONFIG={kubeconfig} ./deploy-all.sh"));
        printer::line("");
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn a_deployment_is_ready_when_its_pods_are_whatever_its_status_remembers() {
        let labels = json!({"app": "user-service"});
        let deployment = json!({
            "metadata": {"namespace": "theater-msa", "name": "user-service", "generation": 1},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}},
            "status": {"observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 1},
        });
        let pod = |namespace: &str, ready: &str| -> Object {
            Arc::new(
                json!({"metadata": {"namespace": namespace, "labels": labels}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}),
            )
        };
        assert!(!is_ready(&deployment, &[]));
        assert!(!is_ready(&deployment, &[pod("theater-msa", "False"), pod("elsewhere", "True")]));
        assert!(is_ready(&deployment, &[pod("theater-msa", "True")]));
    }
}
