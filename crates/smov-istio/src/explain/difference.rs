//! What a change of rules changes: the same requests before and after.

use smov_model::route::RoutePolicy;
use smov_model::snapshot::Snapshot;

use super::{Chance, Example, Explanation, Outcome, Question, examples, explain_snapshot};
use crate::world::Role;

/// A request that is treated otherwise than before.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The request.
    pub question: Question,
    /// Before.
    pub old: Explanation,
    /// After.
    pub new: Explanation,
}

impl Change {
    /// Where the request may end, before and after.
    pub fn chances(&self) -> (Vec<Chance>, Vec<Chance>) {
        (self.old.chances(), self.new.chances())
    }
}

/// Compares representative requests of both sides and the given ones. Gives what changes, how many were compared, and the requests of
/// patterns for which no text was found.
pub fn differences(old: &Snapshot, new: &Snapshot, role: Role, given: &[Question]) -> (Vec<Change>, usize, Vec<Question>) {
    let mut asked: Vec<Question> = given.to_vec();
    let mut unclear = Vec::new();
    for Example { question, fits } in examples(old, role).into_iter().chain(examples(new, role)) {
        if !fits && !unclear.contains(&question) {
            unclear.push(question.clone());
        }
        if !asked.contains(&question) {
            asked.push(question);
        }
    }
    let explain = |snapshot, question: &Question| explain_snapshot(snapshot, role, question.port, &question.head());
    let count = asked.len();
    let changes = asked.into_iter().filter_map(|question| {
        let change = Change { old: explain(old, &question), new: explain(new, &question), question };
        (what_counts(&change.old) != what_counts(&change.new)).then_some(change)
    });
    (changes.collect(), count, unclear)
}

/// What of an explanation a caller would notice: not where a rule is written, nor addresses.
fn what_counts(explanation: &Explanation) -> (Outcome, Option<RoutePolicy>) {
    let mut outcome = explanation.outcome.clone();
    if let Outcome::Forward { odds } = &mut outcome {
        // 70:30 and 7:3 are the same.
        for one in odds.iter_mut() {
            let factor = greatest_divisor(one.weight, one.total).max(1);
            one.weight /= factor;
            one.total /= factor;
            for candidate in one.endpoints.iter_mut().flatten() {
                candidate.address.set_ip(std::net::Ipv4Addr::UNSPECIFIED.into());
            }
        }
        odds.sort_by(|left, right| left.cluster.cmp(&right.cluster));
    }
    (outcome, explanation.policy.clone())
}

fn greatest_divisor(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { greatest_divisor(right, left % right) }
}
