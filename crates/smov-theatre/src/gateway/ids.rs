//! Request ids, for requests that come without one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Gives ids.
pub trait IdSource: Send + Sync {
    /// The next id.
    fn next_id(&self) -> Uuid;
}

/// Ids that nobody can guess.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// The same ids in the same order for the same seed, so that a run can be repeated.
#[derive(Debug)]
pub struct SeededIds {
    seed: u64,
    given: AtomicU64,
}

impl SeededIds {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, given: AtomicU64::new(0) }
    }
}

impl IdSource for SeededIds {
    fn next_id(&self) -> Uuid {
        let number = self.given.fetch_add(1, Relaxed);
        let digest =
            Sha256::new().chain_update("x-request-id").chain_update(self.seed.to_be_bytes()).chain_update(number.to_be_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_ids_and_no_other() {
        let ids = |seed| {
            let source = SeededIds::new(seed);
            [source.next_id(), source.next_id(), source.next_id()]
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
        assert_ne!(ids(7)[0], ids(7)[1]);
    }
}
