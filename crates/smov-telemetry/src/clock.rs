//! Calendar time for spans: read once, then counted by the clock that never jumps, so that steps of one process never overlap by mistake, and
//! those of several processes of one machine agree to some microseconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Readings of which the least disturbed counts: between the two clocks of one reading this thread may have had to wait.
const READINGS: u32 = 16;

/// Where the two clocks met.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    micros: u64,
    at: Instant,
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

impl WallClock {
    /// Reads both clocks.
    pub fn new() -> Self {
        let reading = || {
            let before = Instant::now();
            let wall = SystemTime::now();
            let gap = before.elapsed();
            (gap, Self { micros: wall.duration_since(UNIX_EPOCH).map_or(0, micros), at: before + gap / 2 })
        };
        let mut best = reading();
        for _ in 1..READINGS {
            let other = reading();
            if other.0 < best.0 {
                best = other;
            }
        }
        best.1
    }

    /// Microseconds since 1970 at a moment.
    pub fn micros_at(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.at) {
            Some(since) => self.micros + micros(since),
            None => self.micros.saturating_sub(micros(self.at.duration_since(moment))),
        }
    }
}

/// Whole microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_the_reading_are_in_order() {
        let before = Instant::now();
        let clock = WallClock::new();
        let second = Duration::from_secs(1);
        let now = clock.micros_at(clock.at);
        assert_eq!((clock.micros_at(clock.at + second), clock.micros_at(clock.at - second)), (now + 1_000_000, now - 1_000_000));
        assert!(clock.micros_at(before) <= now);
    }
}
