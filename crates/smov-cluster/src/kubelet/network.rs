//! Addresses of pods. Each pod has one of its own where the system gives away all of 127.0.0.0/8 (Linux); elsewhere pods share 127.0.0.1 and get other ports.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::controllers::fields::annotation;
use crate::network::PodNetwork;

/// Annotation with the real ports of a pod without an address of its own: `8081=40123,15001=40124`.
pub const PORT_MAP: &str = "smov.dev/port-map";

/// Where pods get their addresses from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodAddresses {
    /// Each pod an address of this network.
    Own(PodNetwork),
    /// All pods 127.0.0.1, each its own ports.
    Shared,
}

/// The port on which the pod really listens for `port`.
pub(crate) fn mapped_port(pod: &Value, port: u16) -> u16 {
    annotation(pod, PORT_MAP).and_then(|text| parse_ports(text).get(&port).copied()).unwrap_or(port)
}

/// Reads `8081=40123,15001=40124`.
pub(super) fn parse_ports(text: &str) -> BTreeMap<u16, u16> {
    text.split(',').filter_map(|pair| pair.split_once('=')).filter_map(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?))).collect()
}

/// Free ports of 127.0.0.1 for these; all are held until the last is found, so that none comes twice.
pub(super) fn map_ports(ports: &[u16]) -> std::io::Result<String> {
    let mut held = Vec::new();
    let mut pairs = Vec::new();
    for port in ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        pairs.push(format!("{port}={}", listener.local_addr()?.port()));
        held.push(listener);
    }
    Ok(pairs.join(","))
}

/// Who has which address. One per kubelet.
pub(super) struct Allocator {
    addresses: PodAddresses,
    /// Guards short sections of plain map work.
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    by_address: HashMap<Ipv4Addr, String>,
    /// Where the search goes on, so that a freed address is not given away at once.
    next: usize,
}

impl Allocator {
    pub(super) fn new(addresses: PodAddresses) -> Self {
        Self { addresses, taken: Mutex::default() }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.addresses == PodAddresses::Shared
    }

    /// Gives the pod `wish` (the address it had) if it is free and ours, else the next free one; none when all are taken.
    pub(super) fn take(&self, uid: &str, wish: Option<Ipv4Addr>) -> Option<IpAddr> {
        let PodAddresses::Own(network) = &self.addresses else { return Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let wish = wish.filter(|wish| network.contains(*wish) && taken.by_address.get(wish).is_none_or(|owner| owner == uid));
        let address = match wish {
            Some(wish) => wish,
            None => {
                let all: Vec<Ipv4Addr> = network.addresses().collect();
                let start = taken.next;
                let found =
                    (0..all.len()).map(|step| (start + step) % all.len()).find(|index| !taken.by_address.contains_key(&all[*index]))?;
                taken.next = found + 1;
                all[found]
            }
        };
        taken.by_address.insert(address, uid.to_owned());
        Some(IpAddr::V4(address))
    }

    pub(super) fn release(&self, uid: &str) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).by_address.retain(|_, owner| owner != uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Allocator {
        Allocator::new(PodAddresses::Own(PodNetwork { block: 7, thirds: vec![1, 3] }))
    }

    #[test]
    fn a_pod_gets_its_old_address_back_if_it_is_free() {
        let allocator = allocator();
        let old = Ipv4Addr::new(127, 7, 3, 9);
        assert_eq!(allocator.take("a", Some(old)), Some(IpAddr::V4(old)));
        assert_eq!(allocator.take("b", Some(old)), Some("127.7.1.1".parse().unwrap()));
        assert_eq!(allocator.take("c", Some(Ipv4Addr::new(127, 9, 1, 1))), Some("127.7.1.2".parse().unwrap()));
    }

    #[test]
    fn a_freed_address_is_not_given_away_at_once_and_the_network_can_be_full() {
        let allocator = allocator();
        allocator.take("a", None);
        allocator.release("a");
        assert_eq!(allocator.take("b", None), Some("127.7.1.2".parse().unwrap()));
        for pod in 0..507 {
            assert!(allocator.take(&pod.to_string(), None).is_some());
        }
        assert_eq!(allocator.take("one too many", None), None);
    }

    #[test]
    fn shared_pods_get_other_ports() {
        let map = parse_ports(&map_ports(&[8081, 15001]).unwrap());
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [8081, 15001]);
        assert_ne!(map[&8081], map[&15001]);
    }
}
