//! The built-in plane: our sidecar in this process, on a thread of its own.

use std::thread::JoinHandle;
use std::time::Duration;

use smov_model::record::{Record, RefusedConnection};
use smov_model::snapshot::Snapshot;
use smov_proxy::{Certificates, Handle, Proxy, ProxyConfig, dice_for};
use tokio_util::sync::CancellationToken;

/// What is still in flight when a case ends gets so long.
const DRAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct BuiltIn {
    handle: Handle,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl BuiltIn {
    pub(crate) fn start(
        mut config: ProxyConfig,
        snapshot: Snapshot,
        certify: impl FnOnce(&Certificates) -> Result<(), String>,
    ) -> Result<Self, String> {
        config.limits.drain = DRAIN;
        let dice = dice_for(&config, &snapshot.proxy.name);
        let bound = Proxy::start(config, dice).map_err(|error| chain(&error))?;
        let handle = bound.handle();
        certify(handle.certificates())?;
        handle.publish(snapshot);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        let thread = thread.spawn(move || {
            // A proxy that cannot serve shows as requests without an answer.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = runtime.and_then(|runtime| bound.run_on(&runtime, stop));
        });
        Ok(Self { handle, shutdown, thread: Some(thread.map_err(|error| error.to_string())?) })
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.handle.publish(snapshot);
    }

    pub(crate) fn records(&self, request_id: &str) -> Vec<Record> {
        self.handle.records(request_id)
    }

    pub(crate) fn refused(&self) -> Vec<RefusedConnection> {
        self.handle.refused()
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for BuiltIn {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
