//! Scenarios: lessons as data. A folder below `scenarios/` has a `scenario.yaml` (words, what to watch, steps) and plain YAML for one cluster
//! (`ctx1/`, `ctx2/`) or for both (`both/`), which kubectl applies just as well.
//!
//! ```text
//! scenarios/ ─► all() ─► wants (items) ─┬─► status: which one is there, by the live objects alone
//! baseline   ─► Ground ─────────────────┴─► change: apply, reset
//! ```
//!
//! Read first: [`items`], then [`status`], then [`change`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kustomize;

pub(crate) mod change;
pub(crate) mod items;
pub(crate) mod observe;
pub(crate) mod status;

/// A text in both languages.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Both {
    pub(crate) ko: String,
    pub(crate) en: String,
}

/// What a scenario acts on: rules of the mesh, apps that really fail, or what lies below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActsOn {
    Mesh,
    App,
    Infra,
}

impl ActsOn {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::App => "app",
            Self::Infra => "infra",
        }
    }
}

/// What YAML alone cannot say.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Step {
    /// A Deployment gets so many pods.
    Scale { cluster: String, deployment: String, replicas: u64 },
    /// The newest pod of a Deployment is switched (see `docs/guide/scenarios.md`).
    Switch { cluster: String, deployment: String, says: String },
    /// The link between the clusters.
    Link(LinkStep),
}

/// `link: cut`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LinkStep {
    Cut,
    Stalled,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    order: u32,
    icon: String,
    acts_on: ActsOn,
    title: Both,
    text: Both,
    watch: Vec<Both>,
    #[serde(default)]
    steps: Vec<Step>,
}

/// One YAML file of a scenario.
#[derive(Debug)]
pub(crate) struct ScenarioFile {
    /// `None` = for each cluster.
    pub(crate) cluster: Option<String>,
    /// `delay/both/movie-service-vs.yaml`.
    pub(crate) path: String,
    pub(crate) yaml: String,
    pub(crate) objects: Vec<Value>,
}

impl ScenarioFile {
    /// Whether it is for this cluster.
    pub(crate) fn is_for(&self, cluster: &str) -> bool {
        self.cluster.as_deref().is_none_or(|own| own == cluster)
    }
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) order: u32,
    pub(crate) icon: String,
    pub(crate) acts_on: ActsOn,
    pub(crate) title: Both,
    pub(crate) text: Both,
    pub(crate) watch: Vec<Both>,
    pub(crate) steps: Vec<Step>,
    pub(crate) files: Vec<ScenarioFile>,
}

/// The one without changes: what all others are put back to.
pub(crate) const RESET: &str = "reset";

impl Scenario {
    /// Who writes for it, as managed fields and the history say.
    pub(crate) fn manager(&self) -> String {
        manager_of(&self.name)
    }

    /// Whether it needs a link of smov's, which only local clusters have.
    pub(crate) fn needs_link(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Link(_)))
    }

    /// The lines that do the same by hand.
    pub(crate) fn commands(&self, clusters: &[String]) -> Vec<String> {
        let mut lines = Vec::new();
        let folders: std::collections::BTreeSet<(String, Option<&String>)> = self
            .files
            .iter()
            .filter_map(|file| Some((Path::new(&file.path).parent()?.display().to_string(), file.cluster.as_ref())))
            .collect();
        for (folder, only) in folders {
            for cluster in clusters.iter().filter(|cluster| only.is_none_or(|only| only == *cluster)) {
                lines.push(format!("kubectl --context {cluster} apply -f scenarios/{folder}/"));
            }
        }
        for step in &self.steps {
            match step {
                Step::Scale { cluster, deployment, replicas } => {
                    lines.push(format!("kubectl --context {cluster} -n theater-msa scale deployment {deployment} --replicas={replicas}"))
                }
                Step::Switch { cluster, deployment, says } => {
                    let kubectl = format!("kubectl --context {cluster} -n theater-msa");
                    lines.push(format!(
                        "POD=$({kubectl} get pods -o name --sort-by=.metadata.creationTimestamp | grep /{deployment}- | tail -1)"
                    ));
                    lines.push(format!("{kubectl} create configmap app-switches --from-literal=\"${{POD#pod/}}={says}\""));
                }
                Step::Link(LinkStep::Cut) => lines.push("smov link --cut".to_owned()),
                Step::Link(LinkStep::Stalled) => lines.push("smov link --stall".to_owned()),
            }
        }
        lines
    }
}

/// The field manager of a scenario's writes.
pub(crate) fn manager_of(name: &str) -> String {
    format!("smov-scenario-{name}")
}

/// All of them, in the order of the gallery.
pub(crate) fn all() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(|| load().expect("a test reads the built-in scenarios"));
    &ALL
}

/// The scenario of this name.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    all().iter().find(|scenario| scenario.name == name)
}

/// The `scenarios/` folder of the sources, compiled in.
#[derive(rust_embed::RustEmbed)]
#[folder = "../../scenarios"]
struct BuiltIn;

fn load() -> Result<Vec<Scenario>, String> {
    let mut sheets: BTreeMap<String, Sheet> = BTreeMap::new();
    let mut files: BTreeMap<String, Vec<ScenarioFile>> = BTreeMap::new();
    for path in BuiltIn::iter() {
        let bytes = BuiltIn::get(&path).ok_or_else(|| format!("{path}: not there"))?.data;
        let text = String::from_utf8(bytes.into_owned()).map_err(|error| format!("{path}: {error}"))?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [name, "scenario.yaml"] => {
                let sheet = serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
                sheets.insert((*name).to_owned(), sheet);
            }
            [name, cluster @ ("both" | "ctx1" | "ctx2"), _] => {
                let objects = kustomize::documents(Path::new(path.as_ref()), &text).map_err(|error| error.to_string())?;
                let cluster = (*cluster != "both").then(|| (*cluster).to_owned());
                let file = ScenarioFile { cluster, path: path.to_string(), yaml: text, objects };
                files.entry((*name).to_owned()).or_default().push(file);
            }
            _ => return Err(format!("{path}: a scenario has scenario.yaml and YAML in both/, ctx1/ and ctx2/")),
        }
    }
    let mut all: Vec<Scenario> = Vec::new();
    for (name, sheet) in sheets {
        let Sheet { order, icon, acts_on, title, text, watch, steps } = sheet;
        let mut files = files.remove(&name).unwrap_or_default();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        all.push(Scenario { name, order, icon, acts_on, title, text, watch, steps, files });
    }
    if let Some(name) = files.keys().next() {
        return Err(format!("{name}: there is no scenario.yaml"));
    }
    all.sort_by_key(|scenario| scenario.order);
    Ok(all)
}

#[cfg(test)]
mod tests;
