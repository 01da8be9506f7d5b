//! Envoy's `update_merge_window`: changes of endpoints' health reach the balancer at once when it has been quiet for a second, else
//! together one second after the first of them
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto>, `update_merge_window`).

use std::time::Duration;

/// Envoy's default, which Istio leaves as it is.
pub const MERGE_WINDOW: Duration = Duration::from_secs(1);

/// When changes of one priority of one cluster are handed on. Times are since any fixed moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MergeWindow {
    handed_on: Option<Duration>,
    due: Option<Duration>,
}

impl MergeWindow {
    /// An endpoint's health changed; true when the balancer hears of it now.
    pub fn changed(&mut self, now: Duration) -> bool {
        if self.handed_on.is_none_or(|last| now.saturating_sub(last) > MERGE_WINDOW) {
            self.hand_on(now);
            return true;
        }
        self.due.get_or_insert(now + MERGE_WINDOW);
        false
    }

    /// Endpoints came or went: that is never held back, and takes what waits along.
    pub fn hand_on(&mut self, now: Duration) {
        *self = Self { handed_on: Some(now), due: None };
    }

    /// When the changes that wait are handed on; `None` when none waits.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_change_passes_and_the_next_waits_a_second() {
        let mut window = MergeWindow::default();
        assert!(window.changed(at(5_000)));
        assert!(!window.changed(at(5_400)));
        assert!(!window.changed(at(5_900)));
        assert_eq!(window.due(), Some(at(6_400)));
        window.hand_on(at(6_400));
        assert_eq!(window.due(), None);
        // A second after that one it is quiet again.
        assert!(!window.changed(at(7_400)));
        window.hand_on(at(8_400));
        assert!(window.changed(at(9_401)));
    }

    #[test]
    fn a_change_of_membership_takes_what_waits_along() {
        let mut window = MergeWindow::default();
        assert!(window.changed(at(0)));
        assert!(!window.changed(at(100)));
        window.hand_on(at(200));
        assert_eq!(window.due(), None);
        assert!(!window.changed(at(1_200)));
    }
}
