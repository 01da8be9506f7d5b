//! The list of what happened: bounded in number and age, each entry once.

use std::collections::{BTreeSet, VecDeque};

use crate::view::timeline::Moment;

/// Entries kept.
const KEPT: usize = 1_000;
/// How old an entry may be, in microseconds: an hour.
const OLDEST: u64 = 3_600_000_000;

/// The list, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    moments: VecDeque<Moment>,
    /// Ids of which the page was not told yet.
    untold: BTreeSet<String>,
}

impl Timeline {
    /// Adds an entry, or replaces the one of that name. What is too old, or says nothing new, is left out.
    pub(crate) fn put(&mut self, moment: Moment, now: u64) {
        if moment.at.saturating_add(OLDEST) < now {
            return;
        }
        if let Some(place) = self.moments.iter().rposition(|known| known.id == moment.id) {
            if self.moments[place] == moment {
                return;
            }
            self.moments.remove(place);
        }
        self.untold.insert(moment.id.clone());
        let place = self.moments.iter().rposition(|known| known.at <= moment.at).map_or(0, |place| place + 1);
        self.moments.insert(place, moment);
        while self.moments.len() > KEPT || self.moments.front().is_some_and(|oldest| oldest.at.saturating_add(OLDEST) < now) {
            if let Some(gone) = self.moments.pop_front() {
                self.untold.remove(&gone.id);
            }
        }
    }

    /// Takes an entry out: what it told of did not happen.
    pub(crate) fn remove(&mut self, id: &str) {
        self.moments.retain(|moment| moment.id != id);
        self.untold.remove(id);
    }

    /// Entries at or after `since`, oldest first.
    pub(crate) fn since(&self, since: u64) -> Vec<Moment> {
        self.moments.iter().filter(|moment| moment.at >= since).cloned().collect()
    }

    /// What the page was not told yet; it counts as told from now on.
    pub(crate) fn untold(&mut self) -> Vec<Moment> {
        if self.untold.is_empty() {
            return Vec::new();
        }
        let untold = std::mem::take(&mut self.untold);
        self.moments.iter().filter(|moment| untold.contains(&moment.id)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::timeline::MomentKind;

    fn moment(id: &str, at: u64) -> Moment {
        Moment::new(id.to_owned(), at, MomentKind::Change, None, None, ["가".to_owned(), "a".to_owned()])
    }

    #[test]
    fn entries_stand_in_the_order_in_which_they_happened_and_each_once() {
        let mut timeline = Timeline::default();
        for (id, at) in [("b", 20), ("a", 10), ("b", 20), ("c", 15)] {
            timeline.put(moment(id, at), 30);
        }
        let ids = |moments: Vec<Moment>| moments.into_iter().map(|moment| moment.id).collect::<Vec<_>>();
        assert_eq!(ids(timeline.since(0)), ["a", "c", "b"]);
        assert_eq!(ids(timeline.since(15)), ["c", "b"]);
        assert_eq!(ids(timeline.untold()), ["a", "c", "b"]);
        timeline.put(moment("c", 15), 30);
        assert_eq!(ids(timeline.untold()), [""; 0], "the same again is no news");
        timeline.put(moment("c", 25), 30);
        assert_eq!(ids(timeline.since(0)), ["a", "b", "c"]);
        assert_eq!(ids(timeline.untold()), ["c"]);
    }

    #[test]
    fn the_list_is_bounded_in_number_and_age() {
        let mut timeline = Timeline::default();
        (0..KEPT as u64 + 5).for_each(|at| timeline.put(moment(&at.to_string(), at), at));
        assert_eq!(timeline.since(0).len(), KEPT);
        assert_eq!(timeline.since(0)[0].id, "5");
        timeline.put(moment("late", OLDEST + 1_000), OLDEST + 1_000);
        assert_eq!(timeline.since(0)[0].at, 1_000);
        timeline.put(moment("too old", 10), OLDEST + 1_000);
        assert_eq!(timeline.since(0)[0].at, 1_000);
    }
}
