//! When a container that ended may start again. Time is an argument.

use std::time::Duration;

use super::limits::Limits;

/// Failures in a row of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

/// What follows from an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// How long to wait before the restart.
    pub(super) delay: Duration,
    /// It failed before: Kubernetes calls that `CrashLoopBackOff`.
    pub(super) looping: bool,
}

impl Backoff {
    /// The container ended after it ran that long.
    pub(super) fn ended(&mut self, ran: Duration, limits: &Limits) -> Wait {
        if ran >= limits.restart_reset {
            self.failures = 0;
        }
        let delay = limits.restart_base.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(limits.restart_cap);
        let looping = self.failures > 0;
        self.failures = self.failures.saturating_add(1);
        Wait { delay, looping }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_cap_and_is_called_a_loop_from_the_second_time() {
        let (limits, mut backoff) = (Limits::default(), Backoff::default());
        let waits: Vec<Wait> = (0..9).map(|_| backoff.ended(Duration::from_millis(1), &limits)).collect();
        let millis: Vec<u128> = waits.iter().map(|wait| wait.delay.as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert!(!waits[0].looping && waits[1..].iter().all(|wait| wait.looping));
    }

    #[test]
    fn a_minute_of_running_forgets_the_failures() {
        let (limits, mut backoff) = (Limits::default(), Backoff::default());
        for _ in 0..40 {
            backoff.ended(Duration::ZERO, &limits);
        }
        assert_eq!(backoff.ended(Duration::from_secs(60), &limits), Wait { delay: Duration::from_millis(100), looping: false });
    }
}
