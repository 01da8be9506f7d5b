//! The gallery of scenarios, for the page: the same functions as `smov scenario`.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;
use smov_console::ports::scenarios::{ScenarioDone, ScenarioFileView, ScenarioView, Scenarios};
use smov_console::problem::Problem;
use tokio::sync::Mutex;

use crate::kube_api::{CallError, Cluster};
use crate::mesh::baseline::Baseline;
use crate::mesh::link::ChangeError;
use crate::scenario::change::{self, Done, ScenarioError};
use crate::scenario::observe::observe;
use crate::scenario::status::{State, Status, statuses};
use crate::scenario::{Both, named};

/// Scenarios through the API servers.
pub(crate) struct MeshScenarios {
    /// The state folder that remembers the baseline; `None` = clusters that are not local.
    folder: Option<PathBuf>,
    clusters: Vec<Cluster>,
    /// One change at a time: two people press at once, and the second finds the first one's scenario.
    turn: Arc<Mutex<()>>,
}

impl MeshScenarios {
    /// Of these clusters.
    pub(crate) fn new(folder: Option<PathBuf>, clusters: Vec<Cluster>) -> Self {
        Self { folder, clusters, turn: Arc::default() }
    }

    async fn baseline(folder: Option<PathBuf>) -> Result<Baseline, Problem> {
        let read = move || match folder {
            Some(folder) => Baseline::of_state(&folder).ok(),
            None => Baseline::of_clouds().ok(),
        };
        let unknown = || {
            Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "NoBaseline",
                "이 클러스터의 처음 설정을 알 수 없어 시나리오를 쓸 수 없습니다",
                "The baseline of these clusters is not known here, so scenarios cannot be used",
            )
        };
        tokio::task::spawn_blocking(read).await.ok().flatten().ok_or_else(unknown)
    }
}

impl Scenarios for MeshScenarios {
    fn list(&self) -> BoxFuture<'static, Result<Vec<ScenarioView>, Problem>> {
        let (folder, clusters) = (self.folder.clone(), self.clusters.clone());
        async move {
            let baseline = Self::baseline(folder).await?;
            let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
            let found = statuses(&observe(&clusters).await, &baseline, &names);
            Ok(found.iter().map(|status| view(status, &names)).collect())
        }
        .boxed()
    }

    fn apply(&self, name: String) -> BoxFuture<'static, Result<ScenarioDone, Problem>> {
        let (folder, clusters, turn) = (self.folder.clone(), self.clusters.clone(), self.turn.clone());
        async move {
            let unknown = || {
                Problem::new(StatusCode::NOT_FOUND, "NoSuchScenario", "그런 시나리오가 없습니다", "There is no such scenario")
                    .with_detail(name.clone())
            };
            let scenario = named(&name).ok_or_else(unknown)?;
            let baseline = Self::baseline(folder).await?;
            let _turn = turn.lock().await;
            change::apply(scenario, &baseline, &clusters).await.map(done).map_err(|error| problem(&error))
        }
        .boxed()
    }

    fn reset(&self) -> BoxFuture<'static, Result<ScenarioDone, Problem>> {
        let (folder, clusters, turn) = (self.folder.clone(), self.clusters.clone(), self.turn.clone());
        async move {
            let baseline = Self::baseline(folder).await?;
            let _turn = turn.lock().await;
            change::reset(&baseline, &clusters).await.map(done).map_err(|error| problem(&error))
        }
        .boxed()
    }
}

fn view(status: &Status, clusters: &[String]) -> ScenarioView {
    let scenario = status.scenario;
    let (watch_ko, watch_en) = scenario.watch.iter().map(|Both { ko, en }| (ko.clone(), en.clone())).unzip();
    let file = |file: &crate::scenario::ScenarioFile| ScenarioFileView {
        cluster: file.cluster.clone().unwrap_or_else(|| "both".to_owned()),
        path: file.path.clone(),
        yaml: file.yaml.clone(),
    };
    ScenarioView {
        name: scenario.name.clone(),
        icon: scenario.icon.clone(),
        title_ko: scenario.title.ko.clone(),
        title_en: scenario.title.en.clone(),
        text_ko: scenario.text.ko.clone(),
        text_en: scenario.text.en.clone(),
        watch_ko,
        watch_en,
        kind: scenario.acts_on.name(),
        active: match status.state {
            State::Active => Some(true),
            State::Partly | State::Inactive => Some(false),
            State::Unknown => None,
        },
        state: match status.state {
            State::Active => "active",
            State::Partly => "partly",
            State::Inactive => "inactive",
            State::Unknown => "unknown",
        },
        differs: status.differs.iter().map(|item| format!("{} {}", item.cluster, item.reference())).collect(),
        files: scenario.files.iter().map(file).collect(),
        commands: scenario.commands(clusters),
    }
}

fn done(done: Done) -> ScenarioDone {
    ScenarioDone {
        was: done.was.into_iter().map(str::to_owned).collect(),
        changed: done.changed.into_iter().map(|change| format!("{} {} {}", change.cluster, change.item, change.what)).collect(),
        left: done.left.into_iter().map(|left| format!("{} {}", left.cluster, left.item)).collect(),
    }
}

fn problem(error: &ScenarioError) -> Problem {
    let (status, code, ko, en) = match error {
        ScenarioError::NoLink | ScenarioError::Link(ChangeError::None) => (
            StatusCode::NOT_IMPLEMENTED,
            "NoLink",
            "이 클러스터 사이에는 smov의 링크가 없어 이 시나리오를 적용할 수 없습니다",
            "There is no link of smov's between these clusters, which this scenario needs",
        ),
        ScenarioError::NotReady { .. } => (
            StatusCode::GATEWAY_TIMEOUT,
            "PodsNotReady",
            "필요한 파드가 제때 준비되지 않았습니다",
            "The pods that it needs are not ready in time",
        ),
        ScenarioError::Unreachable { .. } | ScenarioError::Call(CallError::Unreachable { .. }) => (
            StatusCode::BAD_GATEWAY,
            "ClusterUnreachable",
            "클러스터 하나를 읽을 수 없어 바꾸지 못했습니다. 운영자 문에서 다시 해 보세요",
            "A cluster cannot be read, so nothing more was changed; try again through the operator door",
        ),
        ScenarioError::Call(CallError::Refused { code: 403, .. }) => (
            StatusCode::FORBIDDEN,
            "ReadOnly",
            "이 콘솔은 읽기만 할 수 있습니다 (k8s/overlays/console-write)",
            "This console may only read (k8s/overlays/console-write)",
        ),
        ScenarioError::Call(_) | ScenarioError::Link(_) => (
            StatusCode::BAD_GATEWAY,
            "ApiServer",
            "API 서버가 시나리오를 처리하지 못했습니다",
            "An API server did not carry out the scenario",
        ),
    };
    let problem = Problem::new(status, code, ko, en).with_detail(error.to_string());
    match error {
        ScenarioError::Unreachable { cluster, .. } | ScenarioError::NotReady { cluster, .. } => {
            problem.with("cluster", Value::from(cluster.as_str()))
        }
        _ => problem,
    }
}
