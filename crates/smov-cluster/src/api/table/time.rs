//! Ages, as Kubernetes writes them: `42s`, `5m3s`, `3h`, `2d4h`, `400d`.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Time since the timestamp in `value`.
pub(super) fn since(value: &Value, now: Timestamp) -> String {
    match value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(time) => human(now.as_second() - time.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// The age of an object.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(&object["metadata"]["creationTimestamp"], now))
}

/// A number of seconds for people: two units while they matter.
fn human(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, 'y', days % 365, 'd'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubernetes() {
        for (seconds, text) in [
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (185, "3m5s"),
            (7_200, "120m"),
            (10_860, "3h1m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
