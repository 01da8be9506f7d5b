//! Services of the mesh: a Service of the same namespace and name in several clusters is one host with the endpoints of all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smov_model::cluster::{Discovery, NamedEndpoint};
use smov_model::names::{Hostname, KubeCluster, Namespace, Port, ResourceRef, ServiceAccount};
use smov_model::workload::Workload;

use super::service_entries;
use super::workloads::unknown_pod;
use crate::core::{EndpointSlice, PortProtocol, Service, ServicePort, SliceEndpoint};
use crate::hosts::{exported_to, service_host};
use crate::world::{ObjectKey, World};

/// All Services, by host: Kubernetes' own first, then those of ServiceEntries, oldest first.
#[derive(Debug)]
pub(crate) struct Services(BTreeMap<Hostname, Vec<MeshService>>);

/// One Service as the mesh sees it.
#[derive(Debug)]
pub(crate) struct MeshService {
    pub(crate) host: Hostname,
    pub(crate) name: String,
    pub(crate) namespace: Namespace,
    /// The Service that its ports are taken from, the own cluster's where it has one; or the ServiceEntry.
    pub(crate) reference: ResourceRef,
    pub(crate) ports: Vec<MeshPort>,
    pub(crate) export_to: Vec<String>,
    /// Is it outside the mesh (`MESH_EXTERNAL`)?
    pub(crate) external: bool,
    /// Names that a ServiceEntry gives its servers.
    pub(crate) subject_alt_names: Vec<String>,
    /// Service accounts (of the own namespace) of those behind a ServiceEntry, as far as it says; `None` = of a Service, where every endpoint has one.
    pub(crate) accounts: Option<BTreeSet<ServiceAccount>>,
    /// Its addresses by cluster; those of a ServiceEntry under the own one.
    pub(crate) cluster_ips: BTreeMap<KubeCluster, Vec<IpAddr>>,
}

/// One port of it, with the endpoints of all clusters.
#[derive(Debug)]
pub(crate) struct MeshPort {
    pub(crate) port: Port,
    pub(crate) protocol: PortProtocol,
    /// Sorted by address. Empty where they are not listed.
    pub(crate) endpoints: Vec<(SocketAddr, Arc<Workload>)>,
    /// Shares of endpoints that have another than 1.
    pub(crate) weights: BTreeMap<SocketAddr, u32>,
    /// How they come to be known.
    pub(crate) found: Found,
}

/// How the endpoints of a port come to be known.
#[derive(Debug)]
pub(crate) enum Found {
    /// They are listed.
    Listed,
    /// By DNS: names, ports, shares, and who is said to be there.
    Dns(Vec<(Hostname, Port, u32, Arc<Workload>)>),
    /// They are what the client dials.
    Dialled,
}

impl MeshPort {
    /// As the snapshot has it, for the endpoints that a subset selects; `takes` says which take mutual TLS.
    pub(super) fn discovery(&self, selects: impl Fn(&Workload) -> bool, takes: impl Fn(&Workload, Port) -> bool) -> Discovery {
        match &self.found {
            Found::Listed => Discovery::Listed,
            Found::Dialled => Discovery::OriginalDestination,
            Found::Dns(names) => {
                let selected = names.iter().filter(|(_, _, _, workload)| selects(workload));
                let endpoint = |(host, port, weight, workload): &(Hostname, Port, u32, Arc<Workload>)| NamedEndpoint {
                    host: host.clone(),
                    port: *port,
                    weight: *weight,
                    mutual_tls: takes(workload, *port),
                };
                Discovery::Dns(selected.map(endpoint).collect())
            }
        }
    }
}

impl Services {
    pub(crate) fn new(world: &World, pods: &BTreeMap<&ObjectKey, Arc<Workload>>, peers: &BTreeMap<IpAddr, Arc<Workload>>) -> Self {
        let mut copies: BTreeMap<(&str, &str), BTreeMap<&KubeCluster, &Service>> = BTreeMap::new();
        for (key, service) in &world.services {
            copies.entry((&key.namespace, &key.name)).or_default().insert(&key.cluster, service);
        }
        let mut slices: BTreeMap<(&str, &str), Vec<(&KubeCluster, &EndpointSlice)>> = BTreeMap::new();
        for (key, slice) in &world.slices {
            slices.entry((&key.namespace, &slice.service)).or_default().push((&key.cluster, slice));
        }
        let people = People { pods, peers };
        let mut all: BTreeMap<Hostname, Vec<MeshService>> = BTreeMap::new();
        for (id, copies) in copies {
            let slices = slices.get(&id).map(Vec::as_slice).unwrap_or_default();
            if let Some(service) = MeshService::merge(&world.own, id, &copies, slices, &people) {
                all.entry(service.host.clone()).or_default().push(service);
            }
        }
        for service in service_entries::services(world, pods) {
            let known = all.entry(service.host.clone()).or_default();
            match known.iter_mut().find(|known| known.namespace == service.namespace) {
                // Entries of one namespace for one host add ports to each other.
                Some(known) => {
                    for port in service.ports {
                        if known.ports.iter().all(|old| old.port != port.port) {
                            known.ports.push(port);
                        }
                    }
                }
                None => known.push(service),
            }
        }
        Self(all)
    }

    /// The Service of a host, whoever asks.
    pub(crate) fn get(&self, host: &Hostname) -> Option<&MeshService> {
        self.0.get(host)?.first()
    }

    /// The Service of a host as a client's namespace sees it: that of the namespace itself, else the first that is exported to it.
    pub(crate) fn seen_by(&self, client: &Namespace, host: &Hostname) -> Option<&MeshService> {
        Self::choose(client, self.0.get(host)?)
    }

    /// All Services that a client's namespace sees, one per host.
    pub(crate) fn visible_to(&self, client: &Namespace) -> impl Iterator<Item = &MeshService> {
        self.0.values().filter_map(move |all| Self::choose(client, all))
    }

    /// All of them, for the analyzers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &MeshService> {
        self.0.values().flatten()
    }

    fn choose<'s>(client: &Namespace, all: &'s [MeshService]) -> Option<&'s MeshService> {
        let mut visible = all.iter().filter(|service| service.visible_to(client));
        visible.clone().find(|service| service.namespace == *client).or_else(|| visible.next())
    }
}

struct People<'a> {
    pods: &'a BTreeMap<&'a ObjectKey, Arc<Workload>>,
    peers: &'a BTreeMap<IpAddr, Arc<Workload>>,
}

impl People<'_> {
    /// Who is behind an endpoint: its pod by name, else by address, else someone with the Service's name.
    fn behind(&self, service: (&str, &Namespace), cluster: &KubeCluster, endpoint: &SliceEndpoint, address: IpAddr) -> Arc<Workload> {
        let (service, namespace) = service;
        let name = endpoint.pod.clone().unwrap_or_else(|| service.to_owned());
        let key = ObjectKey { namespace: namespace.to_string(), name, cluster: cluster.clone() };
        let named = endpoint.pod.as_ref().and_then(|_| self.pods.get(&key));
        named.or_else(|| self.peers.get(&address)).cloned().unwrap_or_else(|| Arc::new(unknown_pod(&key, namespace)))
    }
}

impl MeshService {
    /// Is the Service exported to this namespace?
    pub(crate) fn visible_to(&self, client: &Namespace) -> bool {
        exported_to(&self.export_to, self.namespace.as_str(), client.as_str())
    }

    fn merge(
        own: &KubeCluster,
        (namespace, name): (&str, &str),
        copies: &BTreeMap<&KubeCluster, &Service>,
        slices: &[(&KubeCluster, &EndpointSlice)],
        people: &People<'_>,
    ) -> Option<Self> {
        let first = copies.get(own).or_else(|| copies.values().next())?;
        let namespace: Namespace = namespace.parse().ok()?;
        let port = |port: &ServicePort| {
            Some(MeshPort {
                port: u32::from(port.number).try_into().ok()?,
                protocol: port.protocol,
                endpoints: endpoints((name, &namespace), port, copies, slices, people),
                weights: BTreeMap::new(),
                found: Found::Listed,
            })
        };
        Some(Self {
            host: service_host(name, namespace.as_str()).parse().ok()?,
            name: name.to_owned(),
            reference: ResourceRef {
                kind: "Service".to_owned(),
                namespace: namespace.to_string(),
                name: name.to_owned(),
                resource_version: first.resource_version.clone(),
            },
            ports: first.ports.iter().filter_map(port).collect(),
            export_to: first.export_to.clone(),
            external: false,
            subject_alt_names: Vec::new(),
            accounts: None,
            cluster_ips: copies.iter().map(|(cluster, copy)| ((*cluster).clone(), copy.cluster_ips.clone())).collect(),
            namespace,
        })
    }
}

/// Endpoints of one port. Each cluster's slices name ports as that cluster's own Service does.
fn endpoints(
    service: (&str, &Namespace),
    port: &ServicePort,
    copies: &BTreeMap<&KubeCluster, &Service>,
    slices: &[(&KubeCluster, &EndpointSlice)],
    people: &People<'_>,
) -> Vec<(SocketAddr, Arc<Workload>)> {
    let mut found = BTreeMap::new();
    for (cluster, slice) in slices {
        let local = copies.get(cluster).and_then(|copy| copy.ports.iter().find(|local| local.number == port.number));
        let Some(number) = slice.ports.get(local.map_or(&port.name, |local| &local.name)) else { continue };
        for endpoint in &slice.endpoints {
            for address in &endpoint.addresses {
                let workload = || people.behind(service, cluster, endpoint, *address);
                found.entry(SocketAddr::new(*address, *number)).or_insert_with(workload);
            }
        }
    }
    found.into_iter().collect()
}
