//! Seats of a hall, and which ones to give to somebody who only says how many.

use std::{collections::HashSet, fmt, str::FromStr};

use serde::Serialize;

/// Rows A to H, screen side first.
pub const ROWS: u8 = 8;
/// Seats in a row, numbered from 1.
pub const COLUMNS: u8 = 12;
/// All seats of a hall.
pub const SEATS: usize = ROWS as usize * COLUMNS as usize;
/// Most seats in one booking.
pub const MAX_PER_BOOKING: usize = 10;

/// One seat, written `F7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    row: u8,
    number: u8,
}

/// Text that names no seat of the hall.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no seat: rows A to H, numbers 1 to 12, as in `F7`")]
pub struct InvalidSeat(pub String);

impl FromStr for Seat {
    type Err = InvalidSeat;

    fn from_str(text: &str) -> Result<Self, InvalidSeat> {
        let invalid = || InvalidSeat(text.chars().take(16).collect());
        let (row, digits) = text.as_bytes().split_first().ok_or_else(invalid)?;
        let row = row.to_ascii_uppercase();
        if !(b'A'..b'A' + ROWS).contains(&row) || digits.is_empty() || digits.len() > 2 || digits[0] == b'0' {
            return Err(invalid());
        }
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(invalid());
            }
            number = number * 10 + (digit - b'0');
        }
        if number > COLUMNS {
            return Err(invalid());
        }
        Ok(Self { row: row - b'A', number })
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", char::from(b'A' + self.row), self.number)
    }
}

impl Serialize for Seat {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a buyer asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Wish {
    /// Exactly these, all or none.
    Named(Vec<Seat>),
    /// So many, the best that are free.
    Best(usize),
}

impl Wish {
    /// How many seats.
    pub fn count(&self) -> usize {
        match self {
            Self::Named(seats) => seats.len(),
            Self::Best(count) => *count,
        }
    }
}

/// A wish written out, so that a store can settle it in one atomic step without knowing halls:
/// the first group that is free as a whole wins, else the first `count` free singles, else nobody gets anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeatPlan {
    groups: Vec<Vec<Seat>>,
    singles: Vec<Seat>,
    count: usize,
}

impl SeatPlan {
    /// Neighbouring seats nearest to the best place (row F, middle) first.
    pub fn new(wish: &Wish) -> Self {
        match wish {
            Wish::Named(seats) => Self { groups: vec![seats.clone()], singles: Vec::new(), count: seats.len() },
            Wish::Best(count) => Self { groups: neighbours(*count), singles: neighbours(1).concat(), count: *count },
        }
    }

    /// Settles the plan against what is taken.
    pub fn pick(&self, taken: &HashSet<String>) -> Option<Vec<Seat>> {
        let free = |seat: &Seat| !taken.contains(&seat.to_string());
        if let Some(group) = self.groups.iter().find(|group| group.iter().all(free)) {
            return Some(group.clone());
        }
        let singles: Vec<Seat> = self.singles.iter().copied().filter(free).take(self.count).collect();
        (!singles.is_empty() && singles.len() == self.count).then_some(singles)
    }
}

/// Every run of `count` seats in a row, best first.
fn neighbours(count: usize) -> Vec<Vec<Seat>> {
    let width = u8::try_from(count).unwrap_or(u8::MAX).max(1);
    let mut runs: Vec<(u8, Vec<Seat>)> = Vec::new();
    for row in 0..ROWS {
        for first in 1..=COLUMNS.saturating_sub(width - 1) {
            let from_best_row = row.abs_diff(5) * 3;
            let from_middle = (2 * first + width - 1).abs_diff(COLUMNS + 1);
            runs.push((from_best_row + from_middle, (first..first + width).map(|number| Seat { row, number }).collect()));
        }
    }
    runs.sort_by_key(|(distance, _)| *distance);
    runs.into_iter().map(|(_, seats)| seats).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(seats: &[Seat]) -> Vec<String> {
        seats.iter().map(Seat::to_string).collect()
    }

    #[test]
    fn a_seat_is_read_back_as_written() {
        for text in ["A1", "F7", "H12"] {
            assert_eq!(text.parse::<Seat>().unwrap().to_string(), text);
        }
        assert_eq!("f7".parse::<Seat>().unwrap().to_string(), "F7");
        for text in ["", "F", "I1", "A0", "A13", "A07", "A1x", "가1", "A999"] {
            assert!(text.parse::<Seat>().is_err(), "{text}");
        }
    }

    #[test]
    fn two_best_seats_are_neighbours_in_the_middle_of_row_f() {
        let plan = SeatPlan::new(&Wish::Best(2));
        assert_eq!(names(&plan.pick(&HashSet::new()).unwrap()), ["F6", "F7"]);
        let taken = HashSet::from(["F7".to_owned()]);
        assert_eq!(names(&plan.pick(&taken).unwrap()), ["F5", "F6"]);
    }

    #[test]
    fn scattered_seats_are_given_when_no_neighbours_are_left() {
        let free = ["A1", "C5", "H12"];
        let taken: HashSet<String> =
            neighbours(1).concat().iter().map(Seat::to_string).filter(|seat| !free.contains(&seat.as_str())).collect();
        let mut given = names(&SeatPlan::new(&Wish::Best(3)).pick(&taken).unwrap());
        given.sort();
        assert_eq!(given, free);
        assert_eq!(SeatPlan::new(&Wish::Best(4)).pick(&taken), None);
    }

    #[test]
    fn named_seats_are_all_or_none() {
        let wish = Wish::Named(vec!["F7".parse().unwrap(), "F8".parse().unwrap()]);
        assert_eq!(SeatPlan::new(&wish).pick(&HashSet::from(["F8".to_owned()])), None);
    }

    #[test]
    fn every_seat_of_the_hall_can_be_had() {
        assert_eq!(neighbours(1).len(), SEATS);
    }
}
