//! Endpoints that clients dialled by themselves, for clusters that list none.
//!
//! They belong to one setting of TLS: a view with another setting has its own. So a request that is still on the old view opens and finds
//! connections of the old setting only, whenever it comes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use smov_model::workload::Workload;

use super::EndpointState;
use crate::names::PeerId;

/// Addresses that are remembered per cluster at most; then they are forgotten together, and their idle connections close.
const MAX_DIALLED: usize = 1024;

/// What clients of a cluster dialled.
#[derive(Debug, Default)]
pub(crate) struct Dialled {
    /// Guards the endpoints; taken by requests to clusters without endpoints of their own, and by housekeeping.
    endpoints: Mutex<HashMap<SocketAddr, Arc<EndpointState>>>,
}

impl Dialled {
    /// The endpoint at an address that a client dialled.
    pub(crate) fn endpoint(&self, address: SocketAddr, workload: impl FnOnce() -> Arc<Workload>) -> Arc<EndpointState> {
        let mut endpoints = self.endpoints();
        if endpoints.len() >= MAX_DIALLED && !endpoints.contains_key(&address) {
            endpoints.clear();
        }
        endpoints.entry(address).or_insert_with(|| Arc::new(EndpointState::new(address, workload(), PeerId::UNKNOWN))).clone()
    }

    /// Ways to the endpoints.
    pub(crate) fn ways(&self) -> Vec<u64> {
        self.endpoints().values().map(|endpoint| endpoint.way).collect()
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<EndpointState>>> {
        self.endpoints.lock().expect("no panic while the addresses are held")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, LoadBalancer, Protocol};
    use smov_model::names::{ClusterName, Port};
    use smov_model::tls::{ClusterTls, MutualTls};

    use super::*;
    use crate::cluster::ClusterView;
    use crate::names::Names;

    fn cluster(tls: ClusterTls, connect_timeout: Duration) -> Cluster {
        Cluster {
            name: ClusterName { port: Port::try_from(8081).unwrap(), subset: None, host: "a.example".parse().unwrap() },
            protocol: Protocol::Http,
            endpoints: Vec::new(),
            load_balancer: LoadBalancer::RoundRobin,
            limits: ConnectionLimits { connect_timeout, ..ConnectionLimits::default() },
            outlier: None,
            discovery: Discovery::OriginalDestination,
            locality_weights: Vec::new(),
            tls,
        }
    }

    fn stranger() -> Arc<Workload> {
        Arc::new(Workload {
            pod: "a".to_owned(),
            name: "a".to_owned(),
            namespace: "t".parse().unwrap(),
            cluster: "ctx1".parse().unwrap(),
            service_account: "default".parse().unwrap(),
            labels: BTreeMap::new(),
            region: String::new(),
            zone: String::new(),
            has_sidecar: false,
        })
    }

    #[test]
    fn a_request_on_the_old_view_leaves_nothing_for_the_new_one_when_tls_changed() {
        let mut names = Names::default();
        let mut compile = |tls: &ClusterTls, seconds, before: Option<&Arc<ClusterView>>| {
            ClusterView::compile(&cluster(tls.clone(), Duration::from_secs(seconds)), 0, before, &mut names, Duration::ZERO)
        };
        let address = "127.0.0.1:8081".parse().unwrap();
        let mutual = ClusterTls::IstioMutual(MutualTls { sni: String::new(), subject_alt_names: Vec::new() });
        for (first, second) in [(&ClusterTls::Disable, &mutual), (&mutual, &ClusterTls::Disable)] {
            let old = compile(first, 1, None);
            let early = old.dialled.endpoint(address, stranger).way;
            let new = compile(second, 1, Some(&old));
            // The change is there, and a request that began before it dials only now.
            let late = old.dialled.endpoint("127.0.0.2:8081".parse().unwrap(), stranger).way;
            assert_eq!(old.dialled.endpoint(address, stranger).way, early);
            assert!(new.dialled.ways().is_empty(), "connections of the old setting are not kept");
            assert_ne!(new.dialled.endpoint(address, stranger).way, early);
            assert_ne!(new.dialled.endpoint("127.0.0.2:8081".parse().unwrap(), stranger).way, late);
            // Another change leaves them alone.
            let newer = compile(second, 2, Some(&new));
            assert!(!Arc::ptr_eq(&newer, &new));
            assert_eq!(newer.dialled.endpoint(address, stranger).way, new.dialled.endpoint(address, stranger).way);
        }
    }
}
