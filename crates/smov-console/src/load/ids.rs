//! Request ids of ▶: random, or from the seed so that a run can be repeated draw by draw.

use std::sync::{Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::{Builder, Uuid};

/// Gives request ids.
pub trait IdSource: Send + Sync {
    /// The next id, a UUID.
    fn next_id(&self) -> String;
}

/// Ids from the system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&self) -> String {
        Uuid::new_v4().to_string()
    }
}

/// Ids that are a function of the seed and their place.
#[derive(Debug)]
pub struct SeededIds(Mutex<SmallRng>);

impl SeededIds {
    /// The ids of a seed, from the first.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }
}

impl IdSource for SeededIds {
    fn next_id(&self) -> String {
        let bytes: [u8; 16] = self.0.lock().unwrap_or_else(PoisonError::into_inner).random();
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_ids_and_other_seeds_others() {
        let ids = |seed| {
            let source = SeededIds::new(seed);
            [source.next_id(), source.next_id(), source.next_id()]
        };
        assert_eq!(ids(42), ids(42));
        assert_ne!(ids(42), ids(43));
        assert_eq!(Uuid::parse_str(&ids(42)[0]).unwrap().get_version_num(), 4);
    }
}
