//! The link between two local clusters: under which address a pod of the other cluster is reached *through* it.
//!
//! A rule instead of a list, so that who listens and who dials need not tell each other: every address of a cluster has a second one.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How addresses through the link are made of the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkAddresses {
    /// Added to the third number: with 100, `127.9.2.14` is reached through `127.9.102.14`.
    pub offset: u8,
}

impl LinkAddresses {
    /// The address through the link; `None` for one that has none: not of 127.0.0.0/8, or its third number is too high.
    pub fn through(self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(v4) => match v4.octets() {
                [127, block, third, last] => Some(IpAddr::from([127, block, third.checked_add(self.offset)?, last])),
                [_, _, _, _] => None,
            },
            IpAddr::V6(_) => None,
        }
    }

    /// The address behind one through the link; `None` for one that is none.
    pub fn behind(self, address: SocketAddr) -> Option<SocketAddr> {
        match address {
            SocketAddr::V4(v4) => match v4.ip().octets() {
                [127, block, third, last] => {
                    Some(SocketAddr::new(IpAddr::from([127, block, third.checked_sub(self.offset)?, last]), v4.port()))
                }
                [_, _, _, _] => None,
            },
            SocketAddr::V6(_) => None,
        }
    }

    /// The same as [`Self::through`] for an address with its port.
    pub fn through_socket(self, address: SocketAddr) -> Option<SocketAddr> {
        self.through(address.ip()).map(|through| SocketAddr::new(through, address.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_local_cluster_has_a_second_one() {
        let link = LinkAddresses { offset: 100 };
        let through = |address: &str| link.through_socket(address.parse().unwrap()).map(|through| through.to_string());
        assert_eq!(through("127.9.2.14:8081").as_deref(), Some("127.9.102.14:8081"));
        assert_eq!(through("127.9.0.1:6443").as_deref(), Some("127.9.100.1:6443"));
        assert_eq!(through("127.9.200.1:80"), None);
        assert_eq!(through("10.0.0.1:80"), None);
        assert_eq!(through("[::1]:80"), None);
        let behind = |address: &str| link.behind(address.parse().unwrap()).map(|behind| behind.to_string());
        assert_eq!(behind("127.9.102.14:8081").as_deref(), Some("127.9.2.14:8081"));
        assert_eq!(behind("127.9.2.14:8081"), None);
    }
}
