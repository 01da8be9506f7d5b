//! The arithmetic of a rollout, as Kubernetes' deployment controller does it: pure functions over numbers.

use serde_json::Value;

use super::fields::number;

/// `maxSurge` and `maxUnavailable` of a Deployment in pods; never both zero.
pub(super) fn bounds(deployment: &Value, replicas: i64) -> (i64, i64) {
    let rolling = deployment.pointer("/spec/strategy/rollingUpdate").unwrap_or(&Value::Null);
    let surge = int_or_percent(&rolling["maxSurge"], replicas, true);
    let unavailable = int_or_percent(&rolling["maxUnavailable"], replicas, false);
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        both => both,
    }
}

/// `IntOrString`: a number of pods, or a percentage of `total`; the default is 25 %.
fn int_or_percent(value: &Value, total: i64, round_up: bool) -> i64 {
    if let Some(count) = value.as_i64() {
        return count.max(0);
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<i64>().ok()).unwrap_or(25).max(0);
    let product = percent.saturating_mul(total);
    if round_up { (product + 99) / 100 } else { product / 100 }
}

/// True where the Deployment replaces all pods at once instead of rolling.
pub(super) fn is_recreate(deployment: &Value) -> bool {
    deployment.pointer("/spec/strategy/type").is_some_and(|strategy| strategy == "Recreate")
}

/// `spec.replicas`, 1 where absent.
pub(super) fn replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

/// How many pods the new ReplicaSet may have now: up to the wish, while all pods together stay within wish + surge.
pub(super) fn new_replicas(wish: i64, surge: i64, new: i64, all: i64) -> i64 {
    let room = wish + surge - all;
    if room <= 0 { new } else { new + room.min(wish - new) }
}

/// One old ReplicaSet, as the rollout sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Old {
    pub(super) replicas: i64,
    pub(super) available: i64,
}

/// What a rolling update knows before it takes old pods away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolling {
    pub(super) wish: i64,
    pub(super) unavailable: i64,
    pub(super) new_replicas: i64,
    pub(super) new_available: i64,
}

/// New sizes of the old ReplicaSets (oldest first): pods that serve nobody go first, then as many as availability allows.
pub(super) fn shrink_old(rolling: Rolling, old: &[Old]) -> Vec<i64> {
    let all: i64 = rolling.new_replicas + old.iter().map(|set| set.replicas).sum::<i64>();
    let minimum = rolling.wish - rolling.unavailable;
    let new_unavailable = rolling.new_replicas - rolling.new_available;
    let mut sizes: Vec<i64> = old.iter().map(|set| set.replicas).collect();
    let mut budget = all - minimum - new_unavailable;
    if budget <= 0 {
        return sizes;
    }
    for (size, set) in sizes.iter_mut().zip(old) {
        let gone = (set.replicas - set.available).max(0).min(budget);
        *size -= gone;
        budget -= gone;
    }
    let available: i64 = rolling.new_available + old.iter().zip(&sizes).map(|(set, size)| set.available.min(*size)).sum::<i64>();
    let mut budget = available - minimum;
    for size in &mut sizes {
        let gone = (*size).min(budget.max(0));
        *size -= gone;
        budget -= gone;
    }
    sizes
}

/// Sizes after `spec.replicas` changed in the middle of a rollout: the difference is spread in proportion, the rest to the largest.
pub(super) fn proportional(sizes: &[i64], allowed: i64) -> Vec<i64> {
    let total: i64 = sizes.iter().sum();
    let difference = allowed - total;
    if total == 0 || difference == 0 {
        return sizes.to_vec();
    }
    let mut result: Vec<i64> = sizes.iter().map(|size| (size + (size * difference) / total).max(0)).collect();
    let mut rest = allowed - result.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sizes[*index]));
    for index in order {
        let change = rest.max(-result[index]);
        result[index] += change;
        rest -= change;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_round_surge_up_and_unavailable_down() {
        let deployment = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
        assert_eq!(bounds(&deployment, 3), (1, 0));
        assert_eq!(bounds(&json!({}), 10), (3, 2));
        let none = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}});
        assert_eq!(bounds(&none, 5), (0, 1));
    }

    #[test]
    fn with_no_unavailable_an_old_pod_goes_only_when_a_new_one_serves() {
        let rolling = Rolling { wish: 2, unavailable: 0, new_replicas: 1, new_available: 0 };
        let old = [Old { replicas: 2, available: 2 }];
        assert_eq!(shrink_old(rolling, &old), [2]);
        assert_eq!(shrink_old(Rolling { new_available: 1, ..rolling }, &old), [1]);
    }

    #[test]
    fn old_pods_that_serve_nobody_go_first() {
        let rolling = Rolling { wish: 3, unavailable: 1, new_replicas: 1, new_available: 0 };
        assert_eq!(shrink_old(rolling, &[Old { replicas: 2, available: 0 }, Old { replicas: 2, available: 2 }]), [0, 2]);
    }

    #[test]
    fn the_new_set_grows_only_into_the_surge() {
        assert_eq!(new_replicas(4, 1, 0, 4), 1);
        assert_eq!(new_replicas(4, 1, 1, 5), 1);
        assert_eq!(new_replicas(4, 2, 3, 3), 4);
    }

    #[test]
    fn scaling_in_a_rollout_is_spread_in_proportion_and_adds_up() {
        assert_eq!(proportional(&[6, 3], 12), [8, 4]);
        assert_eq!(proportional(&[5, 5], 3).iter().sum::<i64>(), 3);
        assert_eq!(proportional(&[0, 0], 4), [0, 0]);
    }
}
