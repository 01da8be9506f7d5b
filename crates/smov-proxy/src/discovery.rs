//! Clusters whose endpoints the proxy finds for itself: `resolution: DNS` of a ServiceEntry.
//!
//! Names are asked for in the background every few seconds. What they lead to takes the place of the cluster's endpoints, as if the
//! snapshot had listed it; while DNS does not answer, the last answer stays.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smov_model::cluster::{Discovery, Endpoint};
use smov_model::names::{Hostname, Port};
use smov_model::snapshot::Snapshot;
use smov_model::workload::Workload;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::config::ProxyConfig;
use crate::worker::Shared;

/// How often names are asked for; Envoy's default.
const REFRESH: Duration = Duration::from_secs(5);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

type Name = (Hostname, Port);

/// The latest snapshot as it came, and what DNS said so far.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// Kept only where it has names to ask for.
    raw: Option<Snapshot>,
    addresses: BTreeMap<Name, Vec<SocketAddr>>,
}

impl Discovered {
    /// Takes a new snapshot; gives it with the endpoints that are known.
    pub(crate) fn take(&mut self, snapshot: Snapshot, config: &ProxyConfig) -> Snapshot {
        let names = names(&snapshot);
        self.addresses.retain(|name, _| names.contains(name));
        if names.is_empty() {
            self.raw = None;
            return snapshot;
        }
        let filled = self.filled(snapshot.clone(), config);
        self.raw = Some(snapshot);
        filled
    }

    /// Takes an answer of DNS; gives the snapshot anew when that changes it.
    pub(crate) fn learn(&mut self, name: Name, mut addresses: Vec<SocketAddr>, config: &ProxyConfig) -> Option<Snapshot> {
        addresses.sort_unstable();
        addresses.dedup();
        let raw = self.raw.as_ref()?;
        if self.addresses.get(&name) == Some(&addresses) || !names(raw).contains(&name) {
            return None;
        }
        let raw = raw.clone();
        self.addresses.insert(name, addresses);
        Some(self.filled(raw, config))
    }

    /// Names to ask for: all of them, or only those that nobody answered yet.
    pub(crate) fn questions(&self, all: bool) -> Vec<Name> {
        let names = self.raw.as_ref().map(names).unwrap_or_default();
        names.into_iter().filter(|name| all || !self.addresses.contains_key(name)).collect()
    }

    fn filled(&self, mut snapshot: Snapshot, config: &ProxyConfig) -> Snapshot {
        let (own, protected, peers) = (snapshot.proxy.clone(), &snapshot.protected, &snapshot.peers);
        for cluster in snapshot.clusters.values_mut() {
            let Discovery::Dns(names) = &cluster.discovery else { continue };
            let mut endpoints: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
            for name in names {
                let workload = stranger(&name.host, &own);
                for address in self.addresses.get(&(name.host.clone(), name.port)).into_iter().flatten() {
                    let in_mesh = address.ip() == config.pod.address || peers.contains_key(&address.ip());
                    if protected.contains(address) || (in_mesh && config.ports.are_of_proxies(address.port())) {
                        debug!(host = %name.host, %address, "this address belongs to the mesh itself: left out");
                        continue;
                    }
                    let endpoint = Endpoint {
                        address: *address,
                        workload: workload.clone(),
                        weight: name.weight,
                        priority: 0,
                        mutual_tls: name.mutual_tls,
                        via: None,
                    };
                    endpoints.entry(*address).or_insert(endpoint);
                }
            }
            cluster.endpoints = endpoints.into_values().collect();
        }
        snapshot
    }
}

fn names(snapshot: &Snapshot) -> BTreeSet<Name> {
    let names = snapshot.clusters.values().filter_map(|cluster| match &cluster.discovery {
        Discovery::Dns(names) => Some(names.iter().map(|name| (name.host.clone(), name.port))),
        Discovery::Listed | Discovery::OriginalDestination => None,
    });
    names.flatten().collect()
}

/// Somebody outside the mesh, known by name only.
pub(crate) fn stranger(host: &Hostname, own: &Workload) -> Arc<Workload> {
    Arc::new(Workload {
        pod: host.to_string(),
        name: "unknown".to_owned(),
        namespace: own.namespace.clone(),
        cluster: own.cluster.clone(),
        service_account: own.service_account.clone(),
        labels: BTreeMap::new(),
        region: String::new(),
        zone: String::new(),
        has_sidecar: false,
    })
}

/// Asks until `over`.
pub(crate) async fn run(shared: Arc<Shared>, over: CancellationToken) {
    let mut changes = shared.changes();
    let mut tick = tokio::time::interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            () = over.cancelled() => return,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                false
            }
            _ = tick.tick() => true,
        };
        let mut asked = JoinSet::new();
        for (host, port) in shared.questions(all) {
            asked.spawn(async move {
                let answer = timeout(PATIENCE, tokio::net::lookup_host((host.to_string(), port.number()))).await;
                let addresses: Option<Vec<SocketAddr>> = answer.ok().and_then(Result::ok).map(Iterator::collect);
                ((host, port), addresses)
            });
        }
        while let Some(Ok((name, addresses))) = asked.join_next().await {
            match addresses {
                Some(addresses) => shared.learn(name, addresses),
                None => debug!(host = %name.0, "DNS has no answer; the last one stays"),
            }
        }
    }
}
