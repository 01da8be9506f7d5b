//! What a link is like.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Above this a round trip is no line between two clouds any more, and buffers would grow.
const MAX_LATENCY: Duration = Duration::from_secs(10);

/// What a link is like just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Does it carry anything?
    pub state: State,
    /// What a round trip takes longer than without the link, half of it on each way.
    pub latency: Duration,
    /// How far a round trip may be off, evenly spread to both sides.
    pub jitter: Duration,
}

/// Does a link carry anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It does.
    #[default]
    Up,
    /// Connections stay open and nothing moves, as when packets are lost on the way.
    Stalled,
    /// Connections are reset and new ones refused.
    Cut,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stalled => "stalled",
            Self::Cut => "cut",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Settings that a link cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidSettings {
    /// No such state.
    State(String),
    /// A time that is too long.
    TooLong(Duration),
    /// The jitter is more than the latency: bytes would come before they were sent.
    Jitter,
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(word) => write!(f, "`{word}` is no state of a link: up, stalled or cut"),
            Self::TooLong(time) => write!(f, "{time:?} is too long for a link: at most {MAX_LATENCY:?}"),
            Self::Jitter => f.write_str("the jitter must not be more than the latency"),
        }
    }
}

impl std::error::Error for InvalidSettings {}

impl FromStr for State {
    type Err = InvalidSettings;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "up" => Ok(Self::Up),
            "stalled" => Ok(Self::Stalled),
            "cut" => Ok(Self::Cut),
            other => Err(InvalidSettings::State(other.to_owned())),
        }
    }
}

impl Settings {
    /// Checks that a link can be so.
    ///
    /// # Errors
    /// A time is too long, or the jitter is more than the latency.
    pub fn checked(self) -> Result<Self, InvalidSettings> {
        match self {
            Self { latency, .. } if latency > MAX_LATENCY => Err(InvalidSettings::TooLong(latency)),
            Self { latency, jitter, .. } if jitter > latency => Err(InvalidSettings::Jitter),
            fine => Ok(fine),
        }
    }

    /// How long one way takes, with `roll` in 0..1 for the jitter.
    pub(crate) fn one_way(&self, roll: f64) -> Duration {
        let off = self.jitter.mul_f64(2.0 * roll);
        (self.latency + off).saturating_sub(self.jitter) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_is_half_a_round_trip_and_jitter_is_even() {
        let ms = Duration::from_millis;
        let link = Settings { latency: ms(8), jitter: ms(2), ..Settings::default() };
        assert_eq!([link.one_way(0.0), link.one_way(0.5), link.one_way(1.0)], [ms(3), ms(4), ms(5)]);
        assert_eq!(Settings::default().one_way(0.7), Duration::ZERO);
    }

    #[test]
    fn impossible_settings_are_refused() {
        let ms = Duration::from_millis;
        let too_long = Settings { latency: ms(10_001), ..Settings::default() };
        assert_eq!(too_long.checked(), Err(InvalidSettings::TooLong(ms(10_001))));
        let before_sent = Settings { latency: ms(1), jitter: ms(2), ..Settings::default() };
        assert_eq!(before_sent.checked(), Err(InvalidSettings::Jitter));
        assert_eq!("off".parse::<State>(), Err(InvalidSettings::State("off".to_owned())));
    }
}
