//! What the API server asks the worker of a pod: how a command would run in a container, how to join one, where a port is;
//! and to end one.

use std::sync::Arc;

use serde_json::json;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

use super::PodWorker;
use super::own_program::loopback;
use crate::controllers::fields::name;
use crate::error::ApiError;
use crate::kubelet::ImageError;
use crate::kubelet::container::Container;
use crate::kubelet::network::mapped_port;
use crate::kubelet::probe::Target;
use crate::kubelet::process::{Launch, kill};

/// A question and where its answer goes.
#[derive(Debug)]
pub(in crate::kubelet) enum Question {
    Command { container: String, command: Vec<String>, reply: oneshot::Sender<Result<Runnable, ApiError>> },
    Join { container: String, reply: oneshot::Sender<Result<Joined, ApiError>> },
    Kill { container: String, reply: oneshot::Sender<Result<(), ApiError>> },
    Place { port: u16, reply: oneshot::Sender<Result<Target, ApiError>> },
}

/// A command that may run in a container until that ends.
#[derive(Debug)]
pub(in crate::kubelet) struct Runnable {
    pub(in crate::kubelet) launch: Launch,
    pub(in crate::kubelet) ended: CancellationToken,
}

/// A running container.
#[derive(Debug)]
pub(in crate::kubelet) struct Joined {
    /// Its input, where the manifest says that it takes one.
    pub(in crate::kubelet) stdin: Option<Arc<Mutex<Option<ChildStdin>>>>,
    /// The first client that leaves closes it.
    pub(in crate::kubelet) stdin_once: bool,
    pub(in crate::kubelet) ended: CancellationToken,
}

impl PodWorker {
    pub(super) fn answer(&self, question: Question) {
        match question {
            Question::Command { container, command, reply } => drop(reply.send(self.runnable(&container, &command))),
            Question::Join { container, reply } => drop(reply.send(self.joined(&container))),
            Question::Kill { container, reply } => drop(reply.send(self.crash(&container))),
            Question::Place { port, reply } => drop(reply.send(self.place(port))),
        }
    }

    fn index_of(&self, container: &str) -> Result<usize, ApiError> {
        let found = self.containers.iter().position(|known| known.name == container && known.process().is_some());
        found.ok_or_else(|| ApiError::internal(format!("unable to upgrade connection: container not found (\"{container}\")")))
    }

    /// As the kernel would for want of memory. What follows (status, back-off, the next run) is the same as after any other end.
    fn crash(&self, container: &str) -> Result<(), ApiError> {
        let found = self.containers.iter().find(|known| known.name == container).and_then(Container::process);
        let process =
            found.ok_or_else(|| ApiError::bad_request(format!("container {container} of pod {} is not running", name(&self.object))))?;
        kill(process.process);
        Ok(())
    }

    fn runnable(&self, container: &str, command: &[String]) -> Result<Runnable, ApiError> {
        let index = self.index_of(container)?;
        let launch = self.execute(index, command).map_err(|error| match error {
            ImageError::Refused(why) => {
                let details = json!({"name": name(&self.object), "kind": "pods"});
                ApiError { code: 403, reason: "Forbidden", message: why, details: Some(details) }
            }
            ImageError::NotFound(why) => ApiError::internal(why),
        })?;
        let ended = self.containers[index].process().map(|process| process.ended.clone()).unwrap_or_default();
        Ok(Runnable { launch, ended })
    }

    fn joined(&self, container: &str) -> Result<Joined, ApiError> {
        let container = &self.containers[self.index_of(container)?];
        let Some(process) = container.process() else { return Err(ApiError::internal("the container has ended")) };
        let stdin = (container.spec["stdin"] == true).then(|| Arc::clone(&process.stdin));
        Ok(Joined { stdin, stdin_once: container.spec["stdinOnce"] == true, ended: process.ended.clone() })
    }

    /// Where a program inside the pod would reach `localhost:port`: an app behind its sidecar, or what listens on the pod's address.
    fn place(&self, port: u16) -> Result<Target, ApiError> {
        let has = |container: &Container| !container.is_sidecar() && !container.init && container.ports().any(|own| own == port);
        let app = self.containers.iter().position(has);
        if let (Some(index), true) = (app, self.has_sidecar()) {
            return Ok(match self.own_port(index, port) {
                Some(address) => Target::Tcp(address),
                None if self.containers[index].own_program => Target::Tcp(loopback(port)),
                None => Target::Unix(self.app_socket(index)),
            });
        }
        let address = self.address.ok_or_else(|| ApiError::bad_request(format!("pod {} has no address yet", name(&self.object))))?;
        Ok(Target::Tcp(std::net::SocketAddr::new(address, mapped_port(&self.object, port))))
    }
}
