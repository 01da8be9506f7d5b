//! Addresses to stand on: every pod gets a loopback address of its own, and no two runs share one.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Second numbers of 127.0.0.0/8 that runs of the suite claim; `smov up` claims lower ones.
const BLOCKS: std::ops::RangeInclusive<u8> = 240..=254;

/// A claimed block, 127.BLOCK.0.0/16, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Ground {
    block: u8,
    next: AtomicU32,
    /// The lock ends with the file.
    _lock: File,
}

impl Ground {
    /// Claims a block that no other run has.
    pub(crate) fn claim() -> io::Result<Self> {
        for block in BLOCKS {
            let file = File::options().create(true).truncate(false).write(true).open(lock_path(block))?;
            match file.try_lock() {
                Ok(()) => return Ok(Self { block, next: AtomicU32::new(0), _lock: file }),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("every block of loopback addresses is claimed by another run: wait for one to end"))
    }

    /// An address that this run has not used yet; after 64,000 the first ones again, whose cases are long over.
    pub(crate) fn address(&self) -> Ipv4Addr {
        let number = self.next.fetch_add(1, Relaxed) % (254 * 254);
        let part = |number: u32| u8::try_from(number % 254 + 1).expect("1 to 254");
        Ipv4Addr::new(127, self.block, part(number / 254), part(number))
    }
}

fn lock_path(block: u8) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("smov-suite-{}-{block}.lock", user()))
}

/// Tells users of a machine apart, whose files the others may not open.
fn user() -> String {
    let name: String = std::env::var("USER").unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_claims_share_an_address() {
        let (first, second) = (Ground::claim().unwrap(), Ground::claim().unwrap());
        assert_ne!(first.block, second.block);
        assert_ne!(first.address(), first.address());
    }
}
