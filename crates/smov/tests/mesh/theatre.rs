//! A started mesh for one test: its doors, both clusters' APIs, and the check that nothing of it stays behind.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use smov_testkit::mesh::{Mesh, processes_of};
use smov_testkit::{http, tools};

use crate::api::{Api, Pod};

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One mesh at a time: a start takes all cores of a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The binary under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_smov"))
}

/// A mesh with a store.
pub(crate) struct Theatre {
    mesh: Option<Mesh>,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

/// Is the store's server on this machine? Says what is skipped.
pub(crate) fn can_run(store: &str) -> bool {
    store != "redis" || tools::found("redis")
}

impl Theatre {
    /// Starts a mesh on a new state folder.
    pub(crate) fn start(store: &str, more: &[&str]) -> anyhow::Result<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let arguments = [&["--store", store], more].concat().into_iter().map(str::to_owned).collect();
        let mut theatre = Self { mesh: None, folder: tempfile::tempdir()?, arguments, _turn: turn };
        theatre.begin()?;
        Ok(theatre)
    }

    /// Starts it (again) on its state folder.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.mesh = Some(Mesh::start(program(), &self.state(), &arguments)?);
        Ok(())
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("state")
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        self.mesh.as_ref().expect("the mesh runs until the test ends it")
    }

    /// The API server of a cluster.
    pub(crate) async fn api(&self, context: &str) -> anyhow::Result<Api> {
        Api::new(&self.mesh().kubeconfig(), context).await
    }

    /// A URL through the ingress gateway.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.mesh().page)
    }

    /// A URL through the operator door.
    pub(crate) fn operator(&self, path: &str) -> String {
        format!("{}{path}", self.mesh().operator)
    }

    /// What the operator door knows.
    pub(crate) async fn console_state(&self) -> anyhow::Result<Value> {
        Ok(http::get(&self.operator("/api/v1/state")).await?.json())
    }

    /// Ends the mesh in order.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        let status = self.mesh.take().expect("the mesh runs until the test ends it").stop()?;
        assert!(status.success(), "{status}");
        assert_eq!(processes_of(&self.state()), [], "an orderly end waits for every process");
        Ok(())
    }

    /// Ends `smov up` as a crash would, and waits until no process of it is left.
    pub(crate) async fn crash(&mut self) -> anyhow::Result<()> {
        self.mesh.take().expect("the mesh runs until the test ends it").crash()?;
        let state = self.state();
        eventually("no process is left", async || Ok(processes_of(&state).is_empty().then_some(()))).await
    }
}

/// Asks until there is an answer; an error, or no answer in time, is the test's failure.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    within(PATIENCE, what, ask).await
}

/// The same with a bound that is a promise.
pub(crate) async fn within<T>(bound: Duration, what: &str, ask: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + bound;
    loop {
        let answer = tokio::time::timeout(PATIENCE, ask()).await??;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        anyhow::ensure!(Instant::now() < deadline, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The app's pods once exactly so many are there, all ready and none ending.
pub(crate) async fn ready_pods(api: &Api, app: &str, count: usize) -> anyhow::Result<Vec<Pod>> {
    eventually(&format!("{count} ready pods of {app}"), async || {
        let pods = api.pods(app).await?;
        Ok((pods.len() == count && pods.iter().all(Pod::is_ready)).then_some(pods))
    })
    .await
}

/// Runs futures at the same time and gives their answers in order.
pub(crate) async fn all_at_once<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = anyhow::Result<T>> + Send + 'static>,
) -> anyhow::Result<Vec<T>> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await??);
    }
    Ok(answers)
}
