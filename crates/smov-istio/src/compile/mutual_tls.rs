//! PeerAuthentications: what each port of a workload takes, and who says so
//! (<https://istio.io/latest/docs/concepts/security/#peer-authentication>).

use std::collections::{BTreeMap, BTreeSet};

use smov_model::cluster::Endpoint;
use smov_model::names::{Namespace, Port, ServiceAccount};
use smov_model::route::Origin;
use smov_model::tls::{MutualTlsMode, SpiffeId};
use smov_model::workload::Workload;

use super::Prepared;
use super::services::MeshService;
use crate::resource::{MutualTlsSetting, PeerAuthenticationSpec, Resource};
use crate::world::World;

/// A pod's own word on whether it takes mutual TLS; an injector writes it.
const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// All PeerAuthentications of the own cluster, by what they are for.
#[derive(Debug)]
pub(crate) struct PeerAuthentications<'w> {
    mesh: Option<&'w Resource<PeerAuthenticationSpec>>,
    namespaces: BTreeMap<&'w str, &'w Resource<PeerAuthenticationSpec>>,
    /// Those with a selector, oldest first. One in the root namespace is for nobody, as in Istio.
    workloads: BTreeMap<&'w str, Vec<&'w Resource<PeerAuthenticationSpec>>>,
}

/// What a port takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) mode: MutualTlsMode,
    /// Who says so; `None` = nobody, it is Istio's default.
    pub(crate) origin: Option<Origin>,
}

impl<'w> PeerAuthentications<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut policies: Vec<&Resource<PeerAuthenticationSpec>> = world.peer_authentications.values().map(|policy| &**policy).collect();
        policies.sort_by_key(|policy| policy.seniority());
        let root = world.mesh.root_namespace.as_str();
        let mut all = Self { mesh: None, namespaces: BTreeMap::new(), workloads: BTreeMap::new() };
        for policy in policies {
            let namespace = policy.metadata.namespace.as_str();
            match (policy.spec.labels().is_empty(), namespace == root) {
                (true, true) => all.mesh = all.mesh.or(Some(policy)),
                (true, false) => drop(all.namespaces.entry(namespace).or_insert(policy)),
                (false, false) => all.workloads.entry(namespace).or_default().push(policy),
                (false, true) => {}
            }
        }
        all
    }

    /// What a port of a workload takes: the port's own setting, the workload's, the namespace's, the mesh's, PERMISSIVE; `UNSET` inherits.
    pub(crate) fn of(&self, workload: &Workload, port: Port) -> Mode {
        let own = self.own(workload);
        let of_port = own.and_then(|policy| {
            let setting = policy.spec.port_level_mtls.as_ref()?.get(&port.to_string())?;
            said(policy, Some(setting), &format!("spec.portLevelMtls.{port}.mode"))
        });
        of_port.or_else(|| said_by(own?)).unwrap_or_else(|| self.of_namespace(&workload.namespace))
    }

    /// What the ports of a workload take of which no policy speaks by number.
    pub(crate) fn of_workload(&self, workload: &Workload) -> Mode {
        self.own(workload).and_then(said_by).unwrap_or_else(|| self.of_namespace(&workload.namespace))
    }

    /// The ports of a workload of which a policy speaks by number.
    pub(crate) fn ports_of(&self, workload: &Workload) -> impl Iterator<Item = Port> {
        let ports = self.own(workload).and_then(|policy| policy.spec.port_level_mtls.as_ref());
        ports.into_iter().flat_map(|ports| ports.keys()).filter_map(|port| port.parse::<u32>().ok()?.try_into().ok())
    }

    /// The policy that selects a workload.
    fn own(&self, workload: &Workload) -> Option<&'w Resource<PeerAuthenticationSpec>> {
        let policies = self.workloads.get(workload.namespace.as_str()).into_iter().flatten();
        let selects = |policy: &&Resource<PeerAuthenticationSpec>| {
            policy.spec.labels().iter().all(|(key, value)| workload.labels.get(key) == Some(value))
        };
        policies.copied().find(selects)
    }

    /// What workloads of a namespace take that no PeerAuthentication selects.
    pub(crate) fn of_namespace(&self, namespace: &Namespace) -> Mode {
        let own = self.namespaces.get(namespace.as_str()).and_then(|policy| said_by(policy));
        let default = Mode { mode: MutualTlsMode::default(), origin: None };
        own.or_else(|| said_by(self.mesh?)).unwrap_or(default)
    }
}

fn said_by(policy: &Resource<PeerAuthenticationSpec>) -> Option<Mode> {
    said(policy, policy.spec.mtls.as_ref(), "spec.mtls.mode")
}

fn said(policy: &Resource<PeerAuthenticationSpec>, setting: Option<&MutualTlsSetting>, path: &str) -> Option<Mode> {
    let origin = Origin { resource: policy.reference(), path: path.to_owned(), name: String::new() };
    Some(Mode { mode: setting?.mode()?, origin: Some(origin) })
}

/// Could a workload take mutual TLS at all? Its own label says so, else whether it has a sidecar.
pub(crate) fn is_able(workload: &Workload) -> bool {
    workload.labels.get(TLS_MODE_LABEL).map_or(workload.has_sidecar, |mode| mode == "istio")
}

impl Prepared<'_> {
    /// Does an endpoint take mutual TLS, as Istio's `tlsMode` of endpoints says?
    pub(crate) fn takes_mutual_tls(&self, workload: &Workload, port: Port) -> bool {
        is_able(workload) && self.peer_authentications.of(workload, port).mode != MutualTlsMode::Disable
    }

    /// What an endpoint's port takes.
    pub(crate) fn mode_of(&self, endpoint: &Endpoint) -> Option<Mode> {
        let port = u32::from(endpoint.address.port()).try_into().ok()?;
        Some(self.peer_authentications.of(&endpoint.workload, port))
    }

    /// The identities behind a Service: of all its endpoints, whatever port or subset, listed or to be found by name, with those that a ServiceEntry names;
    /// none where nobody says which.
    /// Also of endpoints that take no mutual TLS by their labels: a rule may demand it of them, and nobody else's certificate will do then.
    pub(crate) fn identities(&self, service: &MeshService) -> Vec<String> {
        let trust_domain = self.world.mesh.trust_domain.as_str();
        let mut ids: BTreeSet<String> = match &service.accounts {
            Some(accounts) => {
                let id = |account: &ServiceAccount| SpiffeId {
                    trust_domain: trust_domain.into(),
                    namespace: service.namespace.clone(),
                    service_account: account.clone(),
                };
                accounts.iter().map(|account| id(account).to_string()).collect()
            }
            None => {
                let workloads = service.ports.iter().flat_map(|port| &port.endpoints).map(|(_, workload)| workload);
                workloads.map(|workload| SpiffeId::of(trust_domain, workload).to_string()).collect()
            }
        };
        ids.extend(service.subject_alt_names.iter().cloned());
        ids.into_iter().collect()
    }
}
