//! Which addresses of 127.0.0.0/8 a cluster gives to its pods and Services.

use std::net::Ipv4Addr;

/// The loopback addresses that pods of one cluster may get: `127.<block>.<third>.1..=254`.
///
/// A state folder claims the block; the clusters in it share it by the third number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetwork {
    /// Second number of the address, claimed by the state folder.
    pub block: u8,
    /// Third numbers that belong to this cluster, in order of use.
    pub thirds: Vec<u8>,
}

impl PodNetwork {
    /// All addresses, in order of use.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.thirds.iter().flat_map(|third| (1..=254).map(|last| Ipv4Addr::new(127, self.block, *third, last)))
    }

    /// Is it one of them?
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let [first, block, third, _] = address.octets();
        first == 127 && block == self.block && self.thirds.contains(&third)
    }
}

/// The addresses that Services of one cluster may get as `clusterIP`; nothing listens on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNetwork {
    /// Second number of the address, claimed by the state folder.
    pub block: u8,
    /// Third numbers that belong to this cluster, in order of use.
    pub thirds: Vec<u8>,
}

impl Default for ServiceNetwork {
    fn default() -> Self {
        Self { block: 255, thirds: (200..=250).collect() }
    }
}

impl ServiceNetwork {
    /// All addresses, in order of use.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.thirds.iter().flat_map(|third| (1..=254).map(|last| Ipv4Addr::new(127, self.block, *third, last)))
    }

    /// Is it one of them?
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let [first, block, third, _] = address.octets();
        first == 127 && block == self.block && self.thirds.contains(&third)
    }

    /// As kubectl shows a range, for messages.
    pub fn describe(&self) -> String {
        let first = self.thirds.first().copied().unwrap_or_default();
        let last = self.thirds.last().copied().unwrap_or_default();
        format!("127.{}.{first}.1-127.{}.{last}.254", self.block, self.block)
    }
}
