//! Services of the mesh: a Service of the same namespace and name in several clusters is one host with the endpoints of all.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smov_model::names::{Hostname, KubeCluster, Namespace, Port, ResourceRef};
use smov_model::workload::Workload;

use super::workloads::unknown_pod;
use crate::core::{EndpointSlice, PortProtocol, Service, ServicePort, SliceEndpoint};
use crate::hosts::service_host;
use crate::world::{ObjectKey, World};

/// All Services, by host.
#[derive(Debug)]
pub(crate) struct Services(BTreeMap<Hostname, MeshService>);

/// One Service as the mesh sees it.
#[derive(Debug)]
pub(crate) struct MeshService {
    pub(crate) host: Hostname,
    pub(crate) name: String,
    pub(crate) namespace: Namespace,
    /// The Service that its ports are taken from: the own cluster's where it has one.
    pub(crate) reference: ResourceRef,
    pub(crate) ports: Vec<MeshPort>,
    pub(crate) export_to: Vec<String>,
    pub(crate) cluster_ips: BTreeMap<KubeCluster, Vec<IpAddr>>,
}

/// One port of it, with the endpoints of all clusters, sorted by address.
#[derive(Debug)]
pub(crate) struct MeshPort {
    pub(crate) port: Port,
    pub(crate) protocol: PortProtocol,
    pub(crate) endpoints: Vec<(SocketAddr, Arc<Workload>)>,
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
        let merged = copies.into_iter().filter_map(|(id, copies)| {
            let slices = slices.get(&id).map(Vec::as_slice).unwrap_or_default();
            MeshService::merge(&world.own, id, &copies, slices, &people)
        });
        Self(merged.map(|service| (service.host.clone(), service)).collect())
    }

    pub(crate) fn get(&self, host: &Hostname) -> Option<&MeshService> {
        self.0.get(host)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &MeshService> {
        self.0.values()
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
