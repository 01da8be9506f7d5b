//! Ports of 127.0.0.1 for programs that are not ours, so that two of them never meet: one per container port, told as `$PORT` (the first) and `$PORT_<number>`.
//!
//! They come from below the range that the system takes for outgoing connections, and are held for the life of the pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From where ports are taken: `FIRST` and the following `COUNT`.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// What the kubelets of this process have given away. Guards set operations only.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// The ports of one pod, by container and container port. Given back when this is dropped.
#[derive(Debug, Default)]
pub(super) struct OwnPorts(BTreeMap<(String, u16), u16>);

impl OwnPorts {
    /// A free port for each container port; `seed` (the pod's uid) says where the search begins, so that neighbours rarely try the same ones.
    pub(super) fn take(seed: &str, wanted: impl IntoIterator<Item = (String, u16)>) -> std::io::Result<Self> {
        let start = seed.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let mut candidates = (0..COUNT).map(|step| {
            let offset = (start % u32::from(COUNT) + u32::from(step)) % u32::from(COUNT);
            FIRST + u16::try_from(offset).unwrap_or(0)
        });
        let mut own = Self::default();
        for place in wanted {
            let free = candidates.find(|port| is_free(*port) && taken().insert(*port));
            let port = free.ok_or_else(|| std::io::Error::other(format!("no free port from {FIRST} to {}", FIRST + COUNT - 1)))?;
            own.0.insert(place, port);
        }
        Ok(own)
    }

    /// Where the container must listen for what comes to its container port.
    pub(super) fn of(&self, container: &str, port: u16) -> Option<SocketAddr> {
        let port = self.0.get(&(container.to_owned(), port))?;
        Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port)))
    }
}

impl Drop for OwnPorts {
    fn drop(&mut self) {
        let mut taken = taken();
        for port in self.0.values() {
            taken.remove(port);
        }
    }
}

fn taken() -> MutexGuard<'static, BTreeSet<u16>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another `smov up`, or anybody, may listen there.
fn is_free(port: u16) -> bool {
    !taken().contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pods_get_the_same_port_and_a_busy_one_is_passed_over() {
        let one = OwnPorts::take("a", [("app".to_owned(), 8080), ("app".to_owned(), 9090)]).unwrap();
        let first = one.of("app", 8080).unwrap();
        assert_ne!(one.of("app", 9090).unwrap(), first);
        let _busy = TcpListener::bind(first).unwrap();
        let other = OwnPorts::take("a", [("app".to_owned(), 8080)]).unwrap();
        assert!(![one.of("app", 8080), one.of("app", 9090)].contains(&other.of("app", 8080)));
        drop(one);
        assert_ne!(OwnPorts::take("a", [("app".to_owned(), 1)]).unwrap().of("app", 1), Some(first), "somebody listens there");
        assert_eq!(other.of("app", 1), None);
    }
}
