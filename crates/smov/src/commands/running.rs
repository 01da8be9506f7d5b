//! Commands about the running mesh itself: `down`, `status`, `kubeconfig`, `env`.

use serde_json::{Value, json};

use crate::cli::{Global, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::kube_api::kind_named;
use crate::mesh::state::RunInfo;
use crate::printer::{self, BAD, GOOD, paint};
use crate::text::{self, Language};

/// `smov down`: asks the owner of the state folder to stop, and waits until it has.
pub(crate) async fn down(global: &Global, language: Language) -> Outcome {
    let info = RunInfo::of_running(&global.state_dir)?;
    let raw = i32::try_from(info.pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = raw.ok_or_else(|| Failure::new(Exit::Unreachable, text::NOT_RUNNING, &[&global.state_dir.display()]))?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        .map_err(|error| Failure::new(Exit::Unreachable, text::UNREACHABLE, &[&error]))?;
    printer::note(&language.line(text::STOP_REQUESTED, &[&info.pid.to_string()]));
    let lock =
        std::fs::File::open(global.state_dir.join("lock")).map_err(|error| Failure::new(Exit::Usage, text::STATE_BROKEN, &[&error]))?;
    // The lock is free at the moment at which the owner is gone.
    let waited = tokio::task::spawn_blocking(move || lock.lock_shared()).await;
    if matches!(waited, Ok(Ok(()))) { Ok(()) } else { Err(Failure::quiet(Exit::Unreachable)) }
}

/// `smov status`: what runs, per cluster; exit code 1 when something wanted is not ready.
pub(crate) async fn status(global: &Global, language: Language) -> Outcome {
    let info = RunInfo::of_running(&global.state_dir)?;
    let deployments = kind_named("deployments").expect("Deployment is a known kind");
    let mut rows = vec![["CLUSTER", "NAMESPACE", "DEPLOYMENT", "READY"].map(str::to_owned).to_vec()];
    let mut found = Vec::new();
    let mut all_ready = true;
    for cluster in super::connect(global, None).await? {
        for object in cluster.list(deployments, None).await.map_err(|error| super::unreachable(&error))? {
            let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            let (ready, wanted) = (number("/status/readyReplicas"), number("/spec/replicas"));
            all_ready &= ready >= wanted;
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            found.push(json!({"cluster": cluster.name, "namespace": namespace, "deployment": name, "ready": ready, "wanted": wanted}));
            let style = if ready >= wanted { GOOD } else { BAD };
            rows.push(vec![cluster.name.clone(), namespace, name, paint(style, &format!("{ready}/{wanted}"))]);
        }
    }
    if global.output == Output::Json {
        let document = json!({"pid": info.pid, "page": info.page, "operator": info.operator, "store": info.store, "seed": info.seed, "dataPlane": info.data_plane, "prometheus": info.prometheus, "ready": all_ready, "deployments": found});
        printer::line(&serde_json::to_string_pretty(&document).expect("JSON values serialise"));
    } else {
        printer::line(&language.line(text::STATUS_UP, &[&info.pid.to_string(), &info.page]));
        printer::table(&rows);
    }
    if all_ready { Ok(()) } else { Err(Failure::quiet(Exit::Check)) }
}

/// `smov kubeconfig`.
pub(crate) fn kubeconfig(global: &Global, raw: bool) -> Outcome {
    let path = super::kubeconfig(global)?;
    if raw {
        let content =
            std::fs::read_to_string(&path).map_err(|error| Failure::new(Exit::Usage, text::BAD_FILE, &[&path.display(), &error]))?;
        printer::raw(&content);
    } else {
        printer::line(&path.display().to_string());
    }
    Ok(())
}

/// `smov env`: lines for `eval`.
pub(crate) fn env(global: &Global) -> Outcome {
    let path = super::kubeconfig(global)?;
    let folder = path.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    if let Some(program) = std::env::current_exe().ok().as_deref().and_then(std::path::Path::parent) {
        printer::line(&format!("export PATH={}:\"$PATH\"", quoted(&program.display().to_string())));
    }
    printer::line(&format!("export KUBECONFIG={}", quoted(&path.display().to_string())));
    printer::line(&format!("export SMOV_STATE_DIR={}", quoted(&folder.display().to_string())));
    Ok(())
}

/// A word that a POSIX shell takes as it is.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/a/b-c"), "/a/b-c");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
