//! The rules of all clusters, for the page: what is stored and what is wrong with it, changes before and after they are made, and the way back.
//!
//! ```text
//! page ─change─► job ─try out (dry run)─► findings, diff, kubectl lines
//!                 └───apply─► API servers ─watch─► history ◄─ kubectl, smov, scenarios
//! ```
//!
//! Every answer is read from the API servers when it is asked for. Findings over several objects use the worlds that the console reads anyway
//! ([`super::feed`]), so the page, `smov validate` and the control plane cannot read a rule differently.

pub(crate) mod affects;
pub(crate) mod book;
mod commands;
mod execute;
pub(crate) mod findings;
mod job;
pub(crate) mod keeper;
mod lines;
pub(crate) mod object;
mod read;
mod summary;
mod told;
pub(crate) mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use smov_console::Live;
use smov_console::ports::Configuration;
use smov_console::problem::Problem;
use smov_console::view::configuration::{AppliedView, ChangeSet, CheckView, HistoryView, ResourcesView};
use tokio::sync::OnceCell;

use self::book::next_undo;
use self::execute::How;
use self::job::Job;
use self::keeper::Keeper;
use super::feed::Worlds;
use crate::kube_api::Cluster;
use crate::mesh::baseline::Baseline;

/// The name under which the page writes.
pub(crate) const PAGE: &str = "smov-page";
/// Scenarios write under this and their own name.
pub(crate) const SCENARIO: &str = "smov-scenario-";

/// The port's implementation; clones share it.
#[derive(Clone)]
pub(crate) struct MeshConfiguration(Arc<Inner>);

struct Inner {
    clusters: Vec<Cluster>,
    worlds: Worlds,
    /// The state folder that remembers the baseline; `None` = this place has none.
    folder: Option<PathBuf>,
    baseline: OnceCell<Option<Baseline>>,
    keeper: Keeper,
    live: Live,
    /// Held while this console writes, so that its own watch does not tell the change first. Held over awaits, hence tokio's.
    writing: tokio::sync::Mutex<()>,
}

impl MeshConfiguration {
    pub(crate) fn new(clusters: Vec<Cluster>, worlds: Worlds, folder: Option<PathBuf>, live: Live) -> Self {
        let keeper = Keeper::new(&clusters);
        let writing = tokio::sync::Mutex::new(());
        Self(Arc::new(Inner { clusters, worlds, folder, baseline: OnceCell::new(), keeper, live, writing }))
    }

    fn cluster(&self, name: &str) -> Result<Cluster, Problem> {
        let found = self.0.clusters.iter().find(|cluster| cluster.name == name).cloned();
        found.ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "UnknownCluster", "그런 클러스터가 없습니다", "There is no such cluster")
                .with_detail(name.to_owned())
        })
    }

    /// The baseline, built once; `None` where there is none.
    async fn baseline(&self) -> Option<&Baseline> {
        let folder = self.0.folder.clone()?;
        let build = || async { tokio::task::spawn_blocking(move || Baseline::of_state(&folder).ok()).await.ok().flatten() };
        self.0.baseline.get_or_init(build).await.as_ref()
    }

    /// Applies changes under a manager's name, with an origin for the history: `page`, `scenario:NAME`.
    pub(crate) async fn apply_as(&self, set: ChangeSet, manager: &str, origin: &str) -> Result<AppliedView, Problem> {
        let jobs =
            set.changes.iter().map(|change| Ok(Job::of(self.cluster(&change.cluster)?, change, true))).collect::<Result<_, Problem>>()?;
        let how = How {
            manager: manager.to_owned(),
            origin: origin.to_owned(),
            by: set.by.unwrap_or_default(),
            note: set.note.unwrap_or_default(),
            undoes: None,
        };
        self.execute(jobs, how).await
    }

    async fn roll_back(&self, change: &book::Change, force: bool) -> Result<AppliedView, Problem> {
        let mut jobs = Vec::with_capacity(change.items.len());
        for (cluster, item) in &change.items {
            let job = Job::back(self.cluster(cluster)?, item, force).ok_or_else(|| {
                Problem::new(
                    StatusCode::GONE,
                    "NotKept",
                    "이 변경의 앞뒤 내용이 너무 커서 기록에 없습니다",
                    "What was before this change was too large to be kept",
                )
            })?;
            jobs.push(job);
        }
        let how = How {
            manager: PAGE.to_owned(),
            origin: "page".to_owned(),
            by: String::new(),
            note: String::new(),
            undoes: Some(change.entry.id.clone()),
        };
        self.execute(jobs, how).await
    }
}

impl Configuration for MeshConfiguration {
    fn resources(&self) -> BoxFuture<'static, Result<ResourcesView, Problem>> {
        let this = self.clone();
        async move { Ok(this.read_all().await) }.boxed()
    }

    fn check(&self, set: ChangeSet) -> BoxFuture<'static, Result<CheckView, Problem>> {
        let this = self.clone();
        async move {
            let jobs = set.changes.iter().map(|change| Ok(Job::of(this.cluster(&change.cluster)?, change, false)));
            this.checked(jobs.collect::<Result<_, Problem>>()?).await
        }
        .boxed()
    }

    fn apply(&self, set: ChangeSet) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        let this = self.clone();
        async move { this.apply_as(set, PAGE, "page").await }.boxed()
    }

    fn history(&self, reference: Option<String>, limit: usize) -> BoxFuture<'static, Result<HistoryView, Problem>> {
        let this = self.clone();
        async move { Ok(told::view(this.0.keeper.told().await, reference.as_deref(), limit)) }.boxed()
    }

    fn rollback(&self, id: String, force: bool) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        let this = self.clone();
        async move {
            let told = this.0.keeper.told().await;
            let change = told.changes.iter().find(|change| change.entry.id == id).ok_or_else(|| {
                Problem::new(StatusCode::NOT_FOUND, "NoSuchChange", "기록에 없는 변경입니다", "There is no such change in the history")
            })?;
            this.roll_back(change, force).await
        }
        .boxed()
    }

    fn undo(&self) -> BoxFuture<'static, Result<AppliedView, Problem>> {
        let this = self.clone();
        async move {
            let told = this.0.keeper.told().await;
            let change = next_undo(&told.changes).ok_or_else(|| {
                Problem::new(StatusCode::CONFLICT, "NothingToUndo", "되돌릴 변경이 없습니다", "There is no change to take back")
            })?;
            this.roll_back(change, false).await
        }
        .boxed()
    }
}
