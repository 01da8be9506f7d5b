//! ServiceEntries as Services of the mesh: one per host, with their endpoints listed, found by DNS, or dialled by the client
//! (<https://istio.io/latest/docs/reference/config/networking/service-entry/>).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smov_model::names::{Hostname, KubeCluster, Namespace, Port, ServiceAccount};
use smov_model::workload::Workload;

use super::services::{Found, MeshPort, MeshService};
use super::workloads::unknown_pod;
use crate::core::PortProtocol;
use crate::resource::{Resource, ServiceEntryPort, ServiceEntrySpec, WorkloadEntrySpec};
use crate::world::{ObjectKey, World};

/// Those of the own cluster, oldest first.
pub(super) fn services(world: &World, pods: &BTreeMap<&ObjectKey, Arc<Workload>>) -> Vec<MeshService> {
    let mut entries: Vec<&Resource<ServiceEntrySpec>> = world.service_entries.values().map(|entry| &**entry).collect();
    entries.sort_by_key(|entry| entry.seniority());
    entries.into_iter().flat_map(|entry| of_entry(world, pods, entry)).collect()
}

/// One place where a ServiceEntry is served.
struct Place {
    /// An IP or a host name.
    address: String,
    /// Numbers by port name that replace those of the ServiceEntry.
    ports: BTreeMap<String, u32>,
    weight: u32,
    workload: Arc<Workload>,
    /// Its service account, where one is named.
    account: Option<ServiceAccount>,
}

fn of_entry(world: &World, pods: &BTreeMap<&ObjectKey, Arc<Workload>>, entry: &Resource<ServiceEntrySpec>) -> Vec<MeshService> {
    let Ok(namespace) = entry.metadata.namespace.parse::<Namespace>() else { return Vec::new() };
    let places = places(world, pods, entry, &namespace);
    // A network (`10.0.0.0/8`) cannot be the name of a host; one of a single address can.
    let single = |text: &String| text.strip_suffix("/32").or_else(|| text.strip_suffix("/128")).unwrap_or(text).parse::<IpAddr>().ok();
    let addresses: Vec<IpAddr> = entry.spec.addresses.iter().filter_map(single).collect();
    let service = |host: Hostname| MeshService {
        ports: entry.spec.ports.iter().filter_map(|port| mesh_port(&world.own, entry, port, &host, &places)).collect(),
        name: host.to_string(),
        host,
        namespace: namespace.clone(),
        reference: entry.reference(),
        export_to: entry.spec.export_to.clone(),
        external: entry.spec.location.as_deref() != Some("MESH_INTERNAL"),
        subject_alt_names: entry.spec.subject_alt_names.clone(),
        accounts: Some(places.iter().filter_map(|place| place.account.clone()).collect()),
        cluster_ips: BTreeMap::from([(world.own.clone(), addresses.clone())]),
    };
    entry.spec.hosts.iter().filter_map(|host| host.parse().ok()).map(service).collect()
}

fn mesh_port(
    own: &KubeCluster,
    entry: &Resource<ServiceEntrySpec>,
    spec: &ServiceEntryPort,
    host: &Hostname,
    places: &[Place],
) -> Option<MeshPort> {
    let port: Port = spec.number.try_into().ok()?;
    let target = spec.target_port.filter(|target| *target > 0).unwrap_or(spec.number);
    let number = |place: &Place| place.ports.get(&spec.name).copied().filter(|number| *number > 0).unwrap_or(target);
    let mut endpoints: BTreeMap<SocketAddr, (Arc<Workload>, u32)> = BTreeMap::new();
    let found = match entry.spec.resolution.as_deref() {
        Some("STATIC") => {
            for place in places {
                let address = place.address.parse::<IpAddr>().ok().zip(u16::try_from(number(place)).ok());
                if let Some(address) = address {
                    endpoints.entry(SocketAddr::from(address)).or_insert_with(|| (place.workload.clone(), place.weight));
                }
            }
            Found::Listed
        }
        Some("DNS" | "DNS_ROUND_ROBIN") => {
            let name =
                |place: &Place| Some((place.address.parse().ok()?, number(place).try_into().ok()?, place.weight, place.workload.clone()));
            let itself = || Some((host.clone(), target.try_into().ok()?, 1, Arc::new(stranger(own, entry)?)));
            let asked = entry.spec.endpoints.is_empty() && entry.spec.workload_selector.is_none();
            Found::Dns(if asked { itself().into_iter().collect() } else { places.iter().filter_map(name).collect() })
        }
        _ => Found::Dialled,
    };
    let weighted = endpoints.iter().filter(|(_, (_, weight))| *weight != 1).map(|(address, (_, weight))| (*address, *weight));
    Some(MeshPort {
        port,
        protocol: PortProtocol::of(Some(spec.protocol.as_deref().unwrap_or_default()), &spec.name, u16::try_from(spec.number).ok()?),
        weights: weighted.collect(),
        endpoints: endpoints.into_iter().map(|(address, (workload, _))| (address, workload)).collect(),
        found,
    })
}

/// Where the entry is served: as it lists them, or the pods and WorkloadEntries that it selects.
fn places(
    world: &World,
    pods: &BTreeMap<&ObjectKey, Arc<Workload>>,
    entry: &Resource<ServiceEntrySpec>,
    namespace: &Namespace,
) -> Vec<Place> {
    let Some(selector) = &entry.spec.workload_selector else {
        let listed = entry.spec.endpoints.iter().enumerate();
        return listed
            .filter_map(|(index, spec)| place(spec, &BTreeMap::new(), &format!("{}-{index}", entry.metadata.name), namespace, &world.own))
            .collect();
    };
    let selects = |labels: &BTreeMap<String, String>| selector.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    let chosen = pods.iter().filter_map(|(key, workload)| {
        let pod = world.pods.get(*key)?;
        let serves = workload.namespace == *namespace && pod.ready && selects(&pod.labels);
        let address = pod.address.filter(|_| serves)?.to_string();
        let account = Some(workload.service_account.clone());
        Some(Place { address, ports: BTreeMap::new(), weight: 1, workload: workload.clone(), account })
    });
    let entries = world.workload_entries.values().filter(|one| one.metadata.namespace == namespace.as_str());
    let written = entries.filter_map(|one| {
        let place = place(&one.spec, &one.metadata.labels, &one.metadata.name, namespace, &world.own)?;
        selects(&place.workload.labels).then_some(place)
    });
    chosen.chain(written).collect()
}

fn place(
    spec: &WorkloadEntrySpec,
    more: &BTreeMap<String, String>,
    name: &str,
    namespace: &Namespace,
    cluster: &KubeCluster,
) -> Option<Place> {
    let key = ObjectKey { namespace: namespace.to_string(), name: name.to_owned(), cluster: cluster.clone() };
    let mut workload = unknown_pod(&key, namespace);
    workload.labels = spec.labels.iter().chain(more).map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut locality = spec.locality.as_deref().unwrap_or_default().splitn(3, '/').map(str::to_owned);
    workload.region = locality.next().unwrap_or_default();
    workload.zone = locality.next().unwrap_or_default();
    if let Some(subzone) = locality.next().filter(|subzone| !subzone.is_empty()) {
        workload.labels.insert("topology.istio.io/subzone".to_owned(), subzone);
    }
    let account: Option<ServiceAccount> = spec.service_account.as_deref().and_then(|account| account.parse().ok());
    if let Some(account) = &account {
        workload.service_account = account.clone();
    }
    Some(Place {
        address: spec.address.clone().filter(|address| !address.is_empty())?,
        ports: spec.ports.clone(),
        weight: spec.weight.filter(|weight| *weight > 0).unwrap_or(1),
        workload: Arc::new(workload),
        account,
    })
}

/// Whoever answers to a name of the entry.
fn stranger(own: &KubeCluster, entry: &Resource<ServiceEntrySpec>) -> Option<Workload> {
    let (namespace, name) = (entry.metadata.namespace.clone(), entry.metadata.name.clone());
    let key = ObjectKey { namespace, name, cluster: own.clone() };
    Some(unknown_pod(&key, &entry.metadata.namespace.parse().ok()?))
}
