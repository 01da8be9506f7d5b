//! What pods run: each role is a process that the kubelet starts, configured by its environment alone.

pub(crate) mod app;
pub(crate) mod control;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod shim;

use crate::failure::{Exit, Failure};
use crate::text;

/// A runtime with one thread (a pod is small), or with one per core.
pub(crate) fn runtime(several_threads: bool) -> tokio::runtime::Runtime {
    let mut builder =
        if several_threads { tokio::runtime::Builder::new_multi_thread() } else { tokio::runtime::Builder::new_current_thread() };
    // SQLite and name look-ups block; a handful of threads is plenty for a pod.
    builder.enable_all().max_blocking_threads(8).build().expect("the system gives a runtime its few descriptors")
}

/// Logs to standard error, which is what `kubectl logs` shows; pods tell what they do.
pub(crate) fn log_of_pod() {
    log_to(Some(std::env::var("RUST_LOG").unwrap_or_else(|_| "info,hyper_util=warn".to_owned())));
}

/// Logs to standard error at these levels (`RUST_LOG`); warnings only when nothing is said.
pub(crate) fn log_to(levels: Option<String>) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let quiet = || tracing_subscriber::filter::Targets::new().with_default(tracing::Level::WARN);
    let targets: tracing_subscriber::filter::Targets = levels.and_then(|text| text.parse().ok()).unwrap_or_else(quiet);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = tracing_subscriber::registry().with(targets);
    // One object per line, for programs that gather logs.
    let _ = if std::env::var("LOG_FORMAT").is_ok_and(|form| form == "json") {
        lines.with(format.json().flatten_event(true)).try_init()
    } else {
        lines.with(format).try_init()
    };
}

/// The environment of this process.
pub(crate) fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// A role that cannot start, as a failure of the process.
pub(crate) fn cannot_start(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, text::PLAIN, &[error])
}
