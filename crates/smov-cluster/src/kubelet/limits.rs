//! The kubelet's numbers, each once. [`Limits`] carries them so that tests can shorten time; the defaults are the documented ones.

use std::time::Duration;

/// Wait before the first restart of a container that ended; doubles with each further one.
pub const RESTART_BASE: Duration = Duration::from_millis(100);
/// The longest wait before a restart.
pub const RESTART_CAP: Duration = Duration::from_secs(10);
/// A container that ran this long starts again without memory of earlier failures.
pub const RESTART_RESET: Duration = Duration::from_secs(60);
/// The longest wait for the proxies to stop sending to a pod that goes away. They take milliseconds; a machine with far too much to do takes longer.
pub const DRAIN_CAP: Duration = Duration::from_secs(15);
/// The longest wait, once they have stopped, for the connections that still carry a request to the pod …
pub const QUIET_CAP: Duration = Duration::from_secs(12);
/// … and how long none of them may end before they are taken for streams that never will.
pub const QUIET_STILL: Duration = Duration::from_secs(5);
/// How often one looks whether they have.
pub const QUIET_LOOK: Duration = Duration::from_millis(25);
/// Grace of a pod that names none, as in Kubernetes.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// When `smov up` itself ends: from SIGTERM to SIGKILL.
pub const SHUTDOWN_CAP: Duration = Duration::from_secs(2);
/// How often readiness and startup are asked until the first yes.
pub const FIRST_PROBES: Duration = Duration::from_millis(10);
/// How often a node says that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// Size at which a log file is put aside; one older file is kept.
pub const LOG_CAP: u64 = 10 * 1024 * 1024;
/// The longest line that is kept whole; longer ones are split.
pub const LOG_LINE: usize = 16 * 1024;
/// How long the end of somebody's own program waits for the last of its output.
pub const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// The longest message of a container's end, in bytes, as in Kubernetes.
pub const TERMINATION_MESSAGE: usize = 4096;
/// How much of a log explains an end where the container left no message, in bytes, as in Kubernetes.
pub const TERMINATION_LOG_TAIL: usize = 2048;
/// When one first looks where a program listens; then after twice as long, and so on …
pub const FIRST_LOOK: Duration = Duration::from_millis(250);
/// … until this long after its start.
pub const LAST_LOOK: Duration = Duration::from_secs(60);
/// Wait before volumes that could not be prepared are tried again without a change of what they need.
pub const MOUNT_RETRY: Duration = Duration::from_secs(2);
/// Pods that a node takes.
pub const PODS_PER_NODE: u32 = 110;

/// The times that tests may shorten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`RESTART_BASE`].
    pub restart_base: Duration,
    /// See [`RESTART_CAP`].
    pub restart_cap: Duration,
    /// See [`RESTART_RESET`].
    pub restart_reset: Duration,
    /// See [`DRAIN_CAP`].
    pub drain_cap: Duration,
    /// See [`SHUTDOWN_CAP`].
    pub shutdown_cap: Duration,
    /// See [`LOG_CAP`].
    pub log_cap: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            restart_base: RESTART_BASE,
            restart_cap: RESTART_CAP,
            restart_reset: RESTART_RESET,
            drain_cap: DRAIN_CAP,
            shutdown_cap: SHUTDOWN_CAP,
            log_cap: LOG_CAP,
        }
    }
}
