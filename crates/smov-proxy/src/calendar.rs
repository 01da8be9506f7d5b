//! Dates of microseconds since 1970, in UTC.

/// One moment, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl Civil {
    pub(crate) fn of(micros: u64) -> Self {
        let (days, seconds) = (micros / 86_400_000_000, micros / 1_000_000 % 86_400);
        // Days to civil date, with years that start in March so that the leap day comes last.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

/// A moment in a format of `strftime`, with Envoy's `%3f`, `%6f`, `%9f` for parts of a second; what is not known stays as it is.
pub(crate) fn format(micros: u64, format: &str) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(micros);
    let fraction = micros % 1_000_000;
    let mut text = String::with_capacity(format.len() + 16);
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let mut letters = rest.chars();
        let (piece, length) = match letters.next() {
            Some('Y') => (format!("{year:04}"), 1),
            Some('m') => (format!("{month:02}"), 1),
            Some('d') => (format!("{day:02}"), 1),
            Some('H') => (format!("{hour:02}"), 1),
            Some('M') => (format!("{minute:02}"), 1),
            Some('S') => (format!("{second:02}"), 1),
            Some('F') => (format!("{year:04}-{month:02}-{day:02}"), 1),
            Some('T') => (format!("{hour:02}:{minute:02}:{second:02}"), 1),
            Some('s') => ((micros / 1_000_000).to_string(), 1),
            Some('z') => ("+0000".to_owned(), 1),
            Some('Z') => ("UTC".to_owned(), 1),
            Some('%') => ("%".to_owned(), 1),
            Some('f') => (format!("{fraction:06}000"), 1),
            Some(digits @ '1'..='9') if letters.next() == Some('f') => {
                let digits = digits as usize - '0' as usize;
                (format!("{fraction:06}000").chars().take(digits).collect(), 2)
            }
            _ => ("%".to_owned(), 0),
        };
        text.push_str(&piece);
        rest = &rest[length..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn moments_are_written_in_the_format_that_is_asked_for() {
        // As Envoy 1.40 wrote it.
        assert_eq!(format(1_795_361_189_176_000, "%s.%3f %Y/%m/%dT%H:%M:%S%z"), "1795361189.176 2026/11/22T15:26:29+0000");
        assert_eq!(format(1_795_361_189_176_042, "%6f %9f %q %"), "176042 176042000 %q %");
    }
}
