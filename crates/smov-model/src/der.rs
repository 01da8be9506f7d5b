//! As much of DER as it takes to read dates and names out of certificates. Whether one is to be believed is decided by rustls.

/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;
/// `OBJECT IDENTIFIER`.
pub const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One value after the other.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The same, to be read further.
    pub fn enter(&mut self, tag: u8) -> Option<Self> {
        self.expect(tag).map(Self)
    }

    /// The next value as a time: seconds since 1970. RFC 5280 allows UTC with seconds only.
    pub fn time(&mut self) -> Option<u64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let year: u64 = text.get(..2)?.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
            }
            GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
            _ => return None,
        };
        let part = |place: usize| rest.get(place * 2..place * 2 + 2)?.parse::<u64>().ok();
        let days = days_since_1970(year, part(0)?, part(1)?)?;
        Some(((days * 24 + part(2)?) * 60 + part(3)?) * 60 + part(4)?)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u8, &'a [u8]);

    /// Tag and content of the next value; `None` at the end, and where this is no DER.
    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

/// Days from 1970 to a date of the Gregorian calendar; `None` before.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let month_of_year = (1..=12).contains(&month).then_some((month + 9) % 12)?;
    // Years begin in March, so that a leap day is a year's last.
    let year = year.checked_sub(u64::from(month <= 2))?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month_of_year * 153 + 2) / 5 + day.checked_sub(1)?;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let time = |tag: u8, text: &str| {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            Reader(&der).time()
        };
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, "000229123456Z"), Some(951_827_696));
        assert_eq!(time(GENERALIZED_TIME, "20261122123456Z"), Some(1_795_350_896));
        assert_eq!(time(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for bad in ["", "Z", "2611221234Z", "261122123456", "26112212345+Z", "261322123456Z"] {
            assert_eq!(time(UTC_TIME, bad), None, "{bad}");
        }
        assert_eq!(time(GENERALIZED_TIME, "00000101000000Z"), None, "before 1970, however far");
    }

    #[test]
    fn what_is_cut_off_has_no_next() {
        let der = [SEQUENCE, 3, 2, 1, 5];
        assert_eq!(Reader(&der).enter(SEQUENCE).and_then(|mut inner| inner.next()), Some((2, &[5][..])));
        for length in 0..der.len() {
            assert_eq!(Reader(&der[..length]).next(), None, "{length}");
        }
        assert_eq!(Reader(&[SEQUENCE, 0x84, 0, 0, 0, 0]).next(), None);
    }
}
