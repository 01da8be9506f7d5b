//! Which scenario is there, told by the live objects alone: true also when somebody used kubectl.

use std::collections::BTreeSet;

use serde::Serialize;

use super::items::{Item, Thing, Want, at_first, governed, wants};
use super::observe::Seen;
use super::{RESET, Scenario, all};
use crate::mesh::baseline::Baseline;

/// How much of a scenario is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// All of it.
    Active,
    /// Some of it: somebody changed or undid the rest.
    Partly,
    /// Nothing of it.
    Inactive,
    /// A cluster cannot be read.
    Unknown,
}

/// One scenario's state.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) scenario: &'static Scenario,
    pub(crate) state: State,
    /// Where it is partly there: what is not as the scenario has it.
    pub(crate) differs: Vec<Item>,
}

/// The state of all scenarios, in their order.
pub(crate) fn statuses(seen: &Seen, baseline: &Baseline, clusters: &[String]) -> Vec<Status> {
    let judged: Vec<Judged> =
        all().iter().filter(|scenario| scenario.name != RESET).map(|scenario| judge(scenario, seen, clusters)).collect();
    let mut found: Vec<Status> = judged.iter().map(|own| own.status(&judged)).collect();
    found.insert(0, at_rest(&found, seen, baseline, clusters));
    found
}

/// Names of those that are there, wholly or partly.
pub(crate) fn present(statuses: &[Status]) -> Vec<&'static str> {
    let there = |status: &&Status| matches!(status.state, State::Active | State::Partly) && status.scenario.name != RESET;
    statuses.iter().filter(there).map(|status| status.scenario.name.as_str()).collect()
}

struct Judged {
    scenario: &'static Scenario,
    unknown: bool,
    differs: Vec<Item>,
    /// What is as only a scenario has it. Numbers of pods tell nothing: people scale.
    met: BTreeSet<Item>,
}

fn judge(scenario: &'static Scenario, seen: &Seen, clusters: &[String]) -> Judged {
    let mut judged = Judged { scenario, unknown: false, differs: Vec::new(), met: BTreeSet::new() };
    for (item, want) in wants(scenario, clusters) {
        match seen.meets(&item, &want) {
            None => judged.unknown = true,
            Some(false) => judged.differs.push(item),
            Some(true) if matches!(item.thing, Thing::Replicas(_)) => {}
            Some(true) => drop(judged.met.insert(item)),
        }
    }
    judged
}

impl Judged {
    fn full(&self) -> bool {
        self.differs.is_empty() && !self.unknown && !self.met.is_empty()
    }

    /// Another one that says more about the same objects: `chaos` has the whole of `delay` in it.
    fn outdone_by(&self, other: &Self) -> bool {
        self.met.is_subset(&other.met) && (self.met != other.met || (other.full() && !self.full()))
    }

    fn status(&self, all: &[Self]) -> Status {
        let state = if self.met.is_empty() || all.iter().any(|other| self.outdone_by(other)) {
            if self.unknown { State::Unknown } else { State::Inactive }
        } else if self.full() {
            State::Active
        } else if self.unknown {
            State::Unknown
        } else {
            State::Partly
        };
        let differs = if state == State::Partly { self.differs.clone() } else { Vec::new() };
        Status { scenario: self.scenario, state, differs }
    }
}

/// `reset`: is everything that scenarios can change as at first?
fn at_rest(others: &[Status], seen: &Seen, baseline: &Baseline, clusters: &[String]) -> Status {
    let scenario = super::named(RESET).expect("a test reads the built-in scenarios");
    let judged: Vec<(Item, Option<bool>)> = governed(clusters)
        .into_iter()
        .map(|item| {
            let met = seen.meets(&item, &at_first(&item, baseline));
            (item, met)
        })
        .collect();
    let differs: Vec<Item> = judged.iter().filter(|(_, met)| *met == Some(false)).map(|(item, _)| item.clone()).collect();
    let there = !present(others).is_empty();
    let state = if there {
        State::Inactive
    } else if judged.iter().any(|(_, met)| met.is_none()) {
        State::Unknown
    } else if differs.is_empty() {
        State::Active
    } else {
        State::Partly
    };
    Status { scenario, state, differs: if state == State::Partly { differs } else { Vec::new() } }
}

/// What a reset has to put back: everything of the scenarios that are there, and items that are as one has them, or that one wrote. What else
/// people changed themselves stays.
pub(crate) fn to_put_back(seen: &Seen, baseline: &Baseline, clusters: &[String]) -> (Vec<(Item, Want)>, Vec<Item>) {
    let (mut back, mut left) = (Vec::new(), Vec::new());
    let present = present(&statuses(seen, baseline, clusters));
    let of_present: BTreeSet<Item> = all()
        .iter()
        .filter(|scenario| present.contains(&scenario.name.as_str()))
        .flat_map(|scenario| wants(scenario, clusters).into_keys())
        .collect();
    for item in governed(clusters) {
        let first = at_first(&item, baseline);
        if seen.meets(&item, &first) != Some(false) {
            continue;
        }
        let like = |scenario: &Scenario| wants(scenario, clusters).get(&item).is_some_and(|want| seen.meets(&item, want) == Some(true));
        let scenarios = match item.thing {
            Thing::Replicas(_) => seen.written_by_a_scenario(&item),
            // Pods come and go; a switch for one of them is a scenario's.
            Thing::PodSwitch(_) => true,
            Thing::Link | Thing::Switch(_) | Thing::Rule(..) => seen.written_by_a_scenario(&item) || all().iter().any(like),
        };
        if scenarios || of_present.contains(&item) { back.push((item, first)) } else { left.push(item) }
    }
    (back, left)
}

#[cfg(test)]
mod tests;
