//! `smov reset`: traffic rules back to the baseline, through the API servers, so that it works when the gateway is cut off.

use crate::cli::{Global, Output};
use crate::failure::Outcome;
use crate::mesh::baseline::{self, Baseline};
use crate::mesh::state::RunInfo;
use crate::printer;
use crate::text::{self, Language};

/// Runs the command.
pub(crate) async fn run(global: &Global, language: Language) -> Outcome {
    RunInfo::of_running(&global.state_dir)?;
    let baseline = Baseline::of_state(&global.state_dir)?;
    let clusters = super::connect(global, None).await?;
    let changed = baseline::reset(&baseline, &clusters).await.map_err(|error| super::unreachable(&error))?;
    if global.output == Output::Json {
        printer::line(&serde_json::to_string_pretty(&changed).expect("plain data serialises"));
    } else {
        for change in &changed {
            printer::line(&format!("{}  {}/{} {}", change.cluster, change.kind.to_lowercase(), change.name, change.what));
        }
        printer::note(&language.line(text::RESET_DONE, &[&changed.len().to_string()]));
    }
    Ok(())
}
