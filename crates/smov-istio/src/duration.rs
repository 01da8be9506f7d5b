//! Durations as Istio's YAML writes them: `1h`, `2m30s`, `1.5s`, `250ms`.

use std::time::Duration;

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration: `{input}`")]
pub struct InvalidDuration {
    /// What was given.
    pub input: String,
}

const UNITS: [(&str, u128); 7] =
    [("ns", 1), ("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// Parses a duration; negative ones are refused.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration { input: text.to_owned() };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0).ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        total = total.checked_add(scaled(number, *unit).ok_or_else(invalid)?).ok_or_else(invalid)?;
        rest = tail;
    }
    // Go's int64 of nanoseconds: about 292 years.
    if text.is_empty() || total > i64::MAX as u128 {
        return Err(invalid());
    }
    Ok(Duration::from_nanos(total as u64))
}

/// `number` (digits with at most one point) times `unit`, exact to the nanosecond.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(18)];
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? * unit / 10_u128.pow(fraction.len() as u32) };
    whole.checked_mul(unit)?.checked_add(part)
}

/// Prints a duration in the shortest form that [`parse_duration`] reads back: `2m30s`, `1.5s`, `250ms`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    let seconds = duration.as_secs();
    if seconds >= 3600 {
        text += &format!("{}h", seconds / 3600);
    }
    if seconds % 3600 >= 60 {
        text += &format!("{}m", seconds % 3600 / 60);
    }
    let rest = nanos % 60_000_000_000;
    let (unit, size) = match rest {
        0 => return text,
        _ if rest >= 1_000_000_000 => ("s", 1_000_000_000),
        _ if rest >= 1_000_000 => ("ms", 1_000_000),
        _ if rest >= 1_000 => ("us", 1_000),
        _ => ("ns", 1),
    };
    text += &(rest / size).to_string();
    let fraction = rest % size;
    if fraction > 0 {
        let width = (size as f64).log10() as usize;
        text += format!(".{fraction:0width$}").trim_end_matches('0');
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, milliseconds) in [("3s", 3000), ("1h2m", 3_720_000), ("1.5s", 1500), ("250ms", 250), (".5s", 500), ("0s", 0), ("0", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "3", "s", "-1s", "1.2.3s", "3 s", "3S", "1d", ".s", "99999999999h", "1s2"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_gives_the_same(nanos in 0_u64..1 << 60) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.hmsnuµ x-]{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
