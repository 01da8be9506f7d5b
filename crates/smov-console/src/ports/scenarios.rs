//! Scenarios: lessons that change the mesh, the apps or what lies below.

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::problem::Problem;

/// The gallery.
pub trait Scenarios: Send + Sync {
    /// All scenarios, with what holds now.
    fn list(&self) -> BoxFuture<'static, Result<Vec<ScenarioView>, Problem>>;
    /// Puts others back and applies this one.
    fn apply(&self, name: String) -> BoxFuture<'static, Result<ScenarioDone, Problem>>;
    /// Puts back what scenarios changed.
    fn reset(&self) -> BoxFuture<'static, Result<ScenarioDone, Problem>>;
}

/// One scenario, in both languages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioView {
    /// `delay`.
    pub name: String,
    /// Which picture it has.
    pub icon: String,
    /// Its title.
    pub title_ko: String,
    /// The same in English.
    pub title_en: String,
    /// What it does.
    pub text_ko: String,
    /// The same in English.
    pub text_en: String,
    /// What to watch, one sentence each.
    pub watch_ko: Vec<String>,
    /// The same in English.
    pub watch_en: Vec<String>,
    /// `mesh`, `app` or `infra`: what it acts on.
    pub kind: &'static str,
    /// Whether it is there; `None` = a cluster cannot be read.
    pub active: Option<bool>,
    /// `active`, `partly`, `inactive` or `unknown`.
    pub state: &'static str,
    /// Where it is partly there: what is not as the scenario has it, as `ctx1 VirtualService/…`.
    pub differs: Vec<String>,
    /// Its YAML.
    pub files: Vec<ScenarioFileView>,
    /// The lines that do the same in a terminal.
    pub commands: Vec<String>,
}

/// One file of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScenarioFileView {
    /// `ctx1`, `ctx2` or `both`.
    pub cluster: String,
    /// `delay/both/movie-service-vs.yaml`.
    pub path: String,
    /// Its text.
    pub yaml: String,
}

/// What applying or putting back did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ScenarioDone {
    /// The scenarios that were there before.
    pub was: Vec<String>,
    /// What was changed, as `ctx1 VirtualService/… configured`.
    pub changed: Vec<String>,
    /// What is not as at first and was left alone, because no scenario made it so.
    pub left: Vec<String>,
}
