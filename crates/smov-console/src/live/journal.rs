//! The journal: every event as it goes over the wire, numbered, in a bounded ring that any reader can start from.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::service::ServiceId;
use crate::view::request::{RequestRow, WhyRow};

/// Events kept for replay.
const EVENTS: usize = 8_192;
/// Bytes kept for replay: under more than 200 requests a second this limit is met first.
const BYTES: usize = 12 << 20;
/// Events whose request counts are remembered, so that a reader who comes back later than the ring still learns what it missed.
const COUNTS: usize = 131_072;
/// Rows in the state, and how many of each service at least (a lamp row).
const RECENT: usize = 100;
const LAMPS: usize = 16;

/// The ring.
pub(crate) struct Journal {
    epoch: String,
    sequence: u64,
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Requests announced by each of the last [`COUNTS`] events, the newest last.
    counts: VecDeque<u32>,
    requests: u64,
    recent: [VecDeque<(u64, RequestRow)>; 3],
    rows: u64,
}

impl Journal {
    pub(crate) fn new(epoch: String) -> Self {
        Self {
            epoch,
            sequence: 0,
            frames: VecDeque::new(),
            bytes: 0,
            counts: VecDeque::new(),
            requests: 0,
            recent: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            rows: 0,
        }
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The number of the last event.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Appends an event that announces `requests` requests; returns its number.
    pub(crate) fn append(&mut self, kind: &str, data: &str, requests: u64) -> u64 {
        self.sequence += 1;
        let frame = frame(&self.epoch, self.sequence, kind, data);
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.frames.len() > EVENTS || (self.bytes > BYTES && self.frames.len() > 1) {
            self.bytes -= self.frames.pop_front().map_or(0, |gone| gone.len());
        }
        if self.counts.len() == COUNTS {
            self.counts.pop_front();
        }
        self.counts.push_back(u32::try_from(requests).unwrap_or(u32::MAX));
        self.requests += requests;
        self.sequence
    }

    /// The event after `sequence`: the frame, or `Err` with the requests announced since when the ring no longer has it.
    pub(crate) fn after(&self, sequence: u64) -> Result<Option<Bytes>, u64> {
        let first = self.sequence + 1 - self.frames.len() as u64;
        if sequence >= self.sequence {
            return Ok(None);
        }
        let index = (sequence + 1).checked_sub(first).and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.frames.get(index)) {
            Some(frame) => Ok(Some(frame.clone())),
            None => Err(self.requests_after(sequence)),
        }
    }

    /// Requests announced by the events after `sequence`; for an event older than the memory, all that the memory knows.
    pub(crate) fn requests_after(&self, sequence: u64) -> u64 {
        let events = usize::try_from(self.sequence.saturating_sub(sequence)).unwrap_or(usize::MAX);
        if sequence == 0 {
            return self.requests;
        }
        self.counts.iter().rev().take(events).map(|count| u64::from(*count)).sum()
    }

    /// Where a reader stands that names this event (`epoch:sequence`): `Ok` with the number when it is of this epoch.
    pub(crate) fn place(&self, last: &str) -> Option<u64> {
        let (epoch, sequence) = last.rsplit_once(':')?;
        let sequence = sequence.parse().ok()?;
        (epoch == self.epoch && sequence <= self.sequence).then_some(sequence)
    }

    /// Requests of this epoch.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Remembers rows that the page was shown.
    pub(crate) fn remember(&mut self, rows: &[RequestRow]) {
        for row in rows {
            let recent = &mut self.recent[row.svc.index()];
            if recent.len() == RECENT {
                recent.pop_front();
            }
            self.rows += 1;
            recent.push_back((self.rows, row.clone()));
        }
    }

    /// Adds whys to the remembered rows.
    pub(crate) fn explain(&mut self, whys: &[WhyRow]) {
        for why in whys {
            if let Some((_, row)) = self.recent.iter_mut().flat_map(|recent| recent.iter_mut().rev()).find(|(_, row)| row.id == why.id) {
                row.explain(why);
            }
        }
    }

    /// The last rows, oldest first.
    pub(crate) fn recent(&self) -> Vec<RequestRow> {
        let mut rows: Vec<&(u64, RequestRow)> = self.recent.iter().flatten().collect();
        rows.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let mut of_service = [0_usize; ServiceId::ALL.len()];
        let kept = rows.into_iter().enumerate().filter(|(rank, (_, row))| {
            let seen = &mut of_service[row.svc.index()];
            *seen += 1;
            *rank < RECENT || *seen <= LAMPS
        });
        let mut rows: Vec<RequestRow> = kept.map(|(_, (_, row))| row.clone()).collect();
        rows.reverse();
        rows
    }

    /// The last `limit` rows of a service, oldest first.
    pub(crate) fn recent_of(&self, service: ServiceId, limit: usize) -> Vec<RequestRow> {
        let recent = &self.recent[service.index()];
        recent.iter().skip(recent.len().saturating_sub(limit)).map(|(_, row)| row.clone()).collect()
    }
}

/// An event on the wire. `data` is one line (JSON never has a raw line break).
pub(crate) fn frame(epoch: &str, sequence: u64, kind: &str, data: &str) -> Bytes {
    Bytes::from(format!("id: {epoch}:{sequence}\nevent: {kind}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_follows_event_by_event_and_then_waits() {
        let mut journal = Journal::new("e".into());
        journal.append("cfg", "{}", 0);
        journal.append("req", "{}", 3);
        assert_eq!(journal.after(0), Ok(Some(Bytes::from("id: e:1\nevent: cfg\ndata: {}\n\n"))));
        assert_eq!(journal.after(1), Ok(Some(Bytes::from("id: e:2\nevent: req\ndata: {}\n\n"))));
        assert_eq!(journal.after(2), Ok(None));
    }

    #[test]
    fn a_reader_who_is_too_late_learns_how_many_requests_it_missed() {
        let mut journal = Journal::new("e".into());
        (0..EVENTS as u64 + 10).for_each(|_| {
            journal.append("req", "{}", 2);
        });
        assert!(matches!(journal.after(10), Ok(Some(_))));
        assert_eq!(journal.after(9), Err(2 * (EVENTS as u64 + 1)));
        assert_eq!(journal.after(0), Err(2 * (EVENTS as u64 + 10)));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_too() {
        let mut journal = Journal::new("e".into());
        let data = "x".repeat(1 << 20);
        (0..50).for_each(|_| {
            journal.append("req", &data, 1);
        });
        assert!(journal.bytes <= BYTES && journal.frames.len() >= 10, "{} {}", journal.bytes, journal.frames.len());
        assert!(journal.after(0).is_err());
    }

    #[test]
    fn only_events_of_this_epoch_are_a_place_to_start_from() {
        let mut journal = Journal::new("e".into());
        journal.append("req", "{}", 1);
        assert_eq!(journal.place("e:1"), Some(1));
        assert_eq!(journal.place("e:2"), None);
        assert_eq!(journal.place("other:1"), None);
        assert_eq!(journal.place("nonsense"), None);
    }
}
