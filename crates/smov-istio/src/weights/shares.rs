//! Whole percents that add up to 100.

/// Weights in whole percent by the largest remainder; 0 stays 0, and what is over 0 never becomes 0. All zeros give all zeros.
pub fn normalise(weights: &[u32]) -> Vec<u32> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let mut percents: Vec<u32> = Vec::new();
    let mut remainders: Vec<(u64, usize)> = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let scaled = u64::from(*weight) * 100;
        let floor = (scaled / total) as u32;
        // An arm that gets something must not be shown as one that gets nothing.
        percents.push(if *weight > 0 { floor.max(1) } else { 0 });
        remainders.push((scaled % total, index));
    }
    remainders.sort_by_key(|(remainder, index)| (std::cmp::Reverse(*remainder), *index));
    let mut missing = 100 - i64::from(percents.iter().sum::<u32>());
    for (_, index) in remainders.iter().filter(|(remainder, index)| *remainder > 0 && weights[*index] > 0) {
        if missing > 0 {
            percents[*index] += 1;
            missing -= 1;
        }
    }
    while missing < 0 {
        let largest = (0..percents.len()).max_by_key(|index| (percents[*index], std::cmp::Reverse(*index))).expect("some weight is over 0");
        if percents[largest] <= 1 {
            break;
        }
        percents[largest] -= 1;
        missing += 1;
    }
    percents
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_become_whole_percents() {
        assert_eq!(normalise(&[70, 30]), [70, 30]);
        assert_eq!(normalise(&[1, 3]), [25, 75]);
        assert_eq!(normalise(&[1, 0]), [100, 0]);
        assert_eq!(normalise(&[1, 1, 1]), [34, 33, 33]);
        assert_eq!(normalise(&[1, 999]), [1, 99]);
        assert_eq!(normalise(&[0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn percents_add_up_and_zero_stays_zero(weights in prop::collection::vec(0_u32..10_000, 1..6)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let percents = normalise(&weights);
            prop_assert_eq!(percents.iter().sum::<u32>(), 100);
            for (weight, percent) in weights.iter().zip(&percents) {
                prop_assert_eq!(*weight == 0, *percent == 0);
            }
        }
    }
}
