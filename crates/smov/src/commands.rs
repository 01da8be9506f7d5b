//! The commands that people type. Each is an ordinary client of the running mesh.

pub(crate) mod apply;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod get;
pub(crate) mod glossary;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod request;
pub(crate) mod reset;
pub(crate) mod running;
pub(crate) mod scenario;
pub(crate) mod test;
pub(crate) mod validate;

use std::path::PathBuf;

use crate::cli::Global;
use crate::failure::{Exit, Failure};
use crate::kube_api::{CallError, Cluster, clusters};
use crate::mesh::state::RunInfo;
use crate::text;

/// The kubeconfig of the state folder of a running mesh.
pub(crate) fn kubeconfig(global: &Global) -> Result<PathBuf, Failure> {
    RunInfo::of_running(&global.state_dir)?;
    let path = global.state_dir.join("kubeconfig");
    Ok(path.canonicalize().unwrap_or(path))
}

/// The clusters of the running mesh: the one asked for, or all.
pub(crate) async fn connect(global: &Global, context: Option<&str>) -> Result<Vec<Cluster>, Failure> {
    let all = clusters(&kubeconfig(global)?).await.map_err(|error| unreachable(&error))?;
    let Some(wanted) = context else { return Ok(all) };
    let chosen: Vec<_> = all.into_iter().filter(|cluster| cluster.name == wanted).collect();
    if chosen.is_empty() {
        return Err(Failure::new(Exit::Usage, text::UNKNOWN_CONTEXT, &[&wanted]).hint(text::UNKNOWN_CONTEXT_HINT, &[]));
    }
    Ok(chosen)
}

/// A call that failed, as a command's failure: refused = configuration, no answer = unreachable.
pub(crate) fn unreachable(error: &CallError) -> Failure {
    match error {
        CallError::Refused { message, .. } => Failure::new(Exit::Usage, text::PLAIN, &[message]),
        CallError::Unreachable { .. } => Failure::new(Exit::Unreachable, text::UNREACHABLE, &[error]).hint(text::NOT_RUNNING_HINT, &[]),
    }
}
