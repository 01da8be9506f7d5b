//! Request ids: random, or a function of a seed so that a run can be repeated (decision 21).

use sha2::{Digest, Sha256};

/// The id of request `number` of a `stream` (`load`, `gateway`): a version-4 shaped UUID.
pub(crate) fn seeded(seed: u64, stream: &str, number: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(number.to_be_bytes());
    hash.update(stream.as_bytes());
    let digest = hash.finalize();
    let bytes: [u8; 16] = digest[..16].try_into().expect("a digest has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_by_seed_and_differ_by_stream_and_number() {
        assert_eq!(seeded(7, "load", 1), seeded(7, "load", 1));
        assert_ne!(seeded(7, "load", 1), seeded(7, "load", 2));
        assert_ne!(seeded(7, "load", 1), seeded(7, "gateway", 1));
        assert_ne!(seeded(7, "load", 1), seeded(8, "load", 1));
    }
}
