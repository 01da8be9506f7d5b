//! Weighted splits: which arm does a roll of the dice pick?

use serde::{Deserialize, Serialize};

/// A relative weight, as Istio's: shares need not sum to 100
/// (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRouteDestination>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(pub u32);

/// A split that cannot be drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No arm was given.
    #[error("a split needs at least one destination")]
    Empty,
    /// Several arms, all of weight 0.
    #[error("the total weight of the destinations is 0")]
    AllZero,
    /// The weights do not fit 32 bits.
    #[error("the total weight of the destinations is over 4294967295")]
    Overflow,
}

/// Weighted arms, at least one, with a total over 0, so that [`Split::pick`] cannot fail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<(Weight, T)>",
    into = "Vec<(Weight, T)>",
    bound(serialize = "T: Serialize + Clone", deserialize = "T: Deserialize<'de>")
)]
pub struct Split<T> {
    arms: Vec<(Weight, T)>,
    total: u32,
}

impl<T> Split<T> {
    /// A split of these arms. One arm alone takes all, whatever its weight (as Envoy does); among several, weight 0 is dropped.
    pub fn new(mut arms: Vec<(Weight, T)>) -> Result<Self, SplitError> {
        if arms.is_empty() {
            return Err(SplitError::Empty);
        }
        if arms.len() == 1 {
            arms[0].0 = Weight(arms[0].0.0.max(1));
        }
        arms.retain(|(weight, _)| weight.0 > 0);
        let total = arms.iter().try_fold(0_u32, |sum, (weight, _)| sum.checked_add(weight.0)).ok_or(SplitError::Overflow)?;
        if total == 0 { Err(SplitError::AllZero) } else { Ok(Self { arms, total }) }
    }

    /// The arm that `roll` falls on. The roll is taken modulo [`Split::total`]; the caller owns the randomness.
    pub fn pick(&self, roll: u64) -> Picked<'_, T> {
        let position = (roll % u64::from(self.total)) as u32;
        let mut start = 0;
        for (arm, (weight, value)) in self.arms.iter().enumerate() {
            let end = start + weight.0;
            if position < end || arm + 1 == self.arms.len() {
                return Picked { arm, value, position, range: (start, end), total: self.total };
            }
            start = end;
        }
        unreachable!("a split has at least one arm")
    }

    /// The arms in order, with their weights.
    pub fn arms(&self) -> impl Iterator<Item = (Weight, &T)> {
        self.arms.iter().map(|(weight, value)| (*weight, value))
    }

    /// The sum of the weights.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Is there only one arm, so that nothing is drawn?
    pub fn is_single(&self) -> bool {
        self.arms.len() == 1
    }
}

impl<T> TryFrom<Vec<(Weight, T)>> for Split<T> {
    type Error = SplitError;
    fn try_from(arms: Vec<(Weight, T)>) -> Result<Self, SplitError> {
        Self::new(arms)
    }
}

impl<T> From<Split<T>> for Vec<(Weight, T)> {
    fn from(split: Split<T>) -> Self {
        split.arms
    }
}

/// What a draw gave: the arm, and where the roll fell, so that it can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked<'a, T> {
    /// Index of the arm.
    pub arm: usize,
    /// The arm's value.
    pub value: &'a T,
    /// The roll, 0 to `total - 1`.
    pub position: u32,
    /// The arm's range: from (inclusive) to (exclusive).
    pub range: (u32, u32),
    /// The sum of the weights.
    pub total: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_arm_takes_all_even_with_weight_zero() {
        let split = Split::new(vec![(Weight(0), "ctx1")]).unwrap();
        assert_eq!(*split.pick(17).value, "ctx1");
    }

    #[test]
    fn several_arms_of_weight_zero_are_refused() {
        assert_eq!(Split::new(vec![(Weight(0), 1), (Weight(0), 2)]), Err(SplitError::AllZero));
        assert_eq!(Split::<u8>::new(vec![]), Err(SplitError::Empty));
        assert_eq!(Split::new(vec![(Weight(u32::MAX), 1), (Weight(1), 2)]), Err(SplitError::Overflow));
    }

    #[test]
    fn an_arm_of_weight_zero_beside_others_is_never_picked() {
        let split = Split::new(vec![(Weight(0), "ctx1"), (Weight(100), "ctx2")]).unwrap();
        assert!((0..100).all(|roll| *split.pick(roll).value == "ctx2"));
    }

    proptest! {
        #[test]
        fn the_share_over_all_rolls_equals_the_weights(weights in prop::collection::vec(0_u32..50, 1..5)) {
            prop_assume!(weights.len() > 1 && weights.iter().any(|weight| *weight > 0));
            let split = Split::new(weights.iter().enumerate().map(|(arm, weight)| (Weight(*weight), arm)).collect()).unwrap();
            let mut counts = vec![0_u32; weights.len()];
            for roll in 0..u64::from(split.total()) {
                let picked = split.pick(roll);
                prop_assert!(picked.range.0 <= picked.position && picked.position < picked.range.1);
                counts[*picked.value] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
