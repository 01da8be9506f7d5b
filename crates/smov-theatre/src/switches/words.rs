//! What a switch says: `fail 30% 503; slow 50% 2s; hang 5%; drop-headers`, or `off`.

use std::{fmt, str::FromStr, time::Duration};

use http::StatusCode;

/// Longest wait that a switch may ask for.
const LONGEST: Duration = Duration::from_secs(600);

/// Everything that is switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acts {
    pub(crate) list: Vec<Act>,
    pub(crate) drop_headers: bool,
}

/// What is done to a share of the requests, in hundredths of a percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answers this status, and does nothing else.
    Fail { share: u16, status: StatusCode },
    /// Waits, then answers as ever.
    Slow { share: u16, time: Duration },
    /// Does not answer until the switch is changed.
    Hang { share: u16 },
}

impl Act {
    pub(crate) fn share(&self) -> u16 {
        match self {
            Self::Fail { share, .. } | Self::Slow { share, .. } | Self::Hang { share } => *share,
        }
    }
}

/// Why a switch means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}`: {reason}")]
pub(crate) struct Unreadable {
    word: String,
    reason: &'static str,
}

impl FromStr for Acts {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut acts = Self::default();
        for part in text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty() && !part.starts_with('#')) {
            let words: Vec<&str> = part.split_whitespace().collect();
            let wrong = |reason| Unreadable { word: part.to_owned(), reason };
            match words.as_slice() {
                ["off"] => {}
                ["drop-headers"] => acts.drop_headers = true,
                ["fail", share] => acts.list.push(Act::Fail { share: percent(share)?, status: StatusCode::INTERNAL_SERVER_ERROR }),
                ["fail", share, status] => {
                    let status = status.parse().ok().filter(StatusCode::is_server_error);
                    let status = status.ok_or_else(|| wrong("a pod fails with a status from 500 to 599"))?;
                    acts.list.push(Act::Fail { share: percent(share)?, status });
                }
                ["slow", share, time] => acts.list.push(Act::Slow { share: percent(share)?, time: duration(time)? }),
                ["hang", share] => acts.list.push(Act::Hang { share: percent(share)? }),
                _ => return Err(wrong("write `fail 30% 503`, `slow 30% 2s`, `hang 30%`, `drop-headers` or `off`")),
            }
        }
        Ok(acts)
    }
}

fn percent(word: &str) -> Result<u16, Unreadable> {
    let number = word.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()).filter(|number| (0.0..=100.0).contains(number));
    let number = number.ok_or_else(|| Unreadable { word: word.to_owned(), reason: "a share is written as 0% to 100%" })?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10,000")]
    Ok((number * 100.0).round() as u16)
}

fn duration(word: &str) -> Result<Duration, Unreadable> {
    let wrong = || Unreadable { word: word.to_owned(), reason: "a time is written as 250ms or 2s, 10 minutes at most" };
    let (number, unit) =
        word.strip_suffix("ms").map(|number| (number, 0.001)).or_else(|| word.strip_suffix('s').map(|n| (n, 1.0))).ok_or_else(wrong)?;
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST).ok_or_else(wrong)
}

impl fmt::Display for Acts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<String> = self.list.iter().map(ToString::to_string).collect();
        said.extend(self.drop_headers.then(|| "drop-headers".to_owned()));
        if said.is_empty() { out.write_str("off") } else { out.write_str(&said.join("; ")) }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = f64::from(self.share()) / 100.0;
        match self {
            Self::Fail { status, .. } => write!(out, "fail {share}% {}", status.as_u16()),
            Self::Slow { time, .. } if time.subsec_millis() == 0 => write!(out, "slow {share}% {}s", time.as_secs()),
            Self::Slow { time, .. } => write!(out, "slow {share}% {}ms", time.as_millis()),
            Self::Hang { .. } => write!(out, "hang {share}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_read_and_said_again() {
        for text in
            ["off", "fail 30% 503", "slow 50% 2s", "slow 12.5% 250ms", "hang 5%", "drop-headers", "fail 1% 500; slow 100% 1s; drop-headers"]
        {
            assert_eq!(text.parse::<Acts>().unwrap().to_string(), text);
        }
        assert_eq!("fail 100%".parse::<Acts>().unwrap().to_string(), "fail 100% 500");
        assert_eq!("# a note\n hang 5% \n\noff\n".parse::<Acts>().unwrap().to_string(), "hang 5%");
        assert_eq!("".parse::<Acts>().unwrap(), Acts::default());
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, word) in [
            ("fail 130% 500", "130%"),
            ("fail 30", "30"),
            ("fail 30% 404", "fail 30% 404"),
            ("slow 30% long", "long"),
            ("slow 30% 11000s", "11000s"),
            ("slow 30% -1s", "-1s"),
            ("explode", "explode"),
            ("hang 5%; fail", "fail"),
        ] {
            let error = text.parse::<Acts>().unwrap_err();
            assert_eq!(error.word, word, "{text}");
        }
    }
}
