//! ServiceEntry (<https://istio.io/latest/docs/reference/config/networking/service-entry/>) and WorkloadEntry
//! (<https://istio.io/latest/docs/reference/config/networking/workload-entry/>).

use std::collections::BTreeMap;

use serde::Deserialize;

/// `spec` of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// Host names, each a Service of its own; a leading `*.` means all of a domain.
    pub hosts: Vec<String>,
    /// Addresses under which clients dial it: IPs, or networks (`10.0.0.0/8`).
    pub addresses: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServiceEntryPort>,
    /// `MESH_EXTERNAL` (default) or `MESH_INTERNAL`: only those inside are called with the mesh's mutual TLS.
    pub location: Option<String>,
    /// `NONE` (default), `STATIC`, `DNS`, `DNS_ROUND_ROBIN`, `DYNAMIC_DNS`.
    pub resolution: Option<String>,
    /// Endpoints.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// In place of `endpoints`: pods and WorkloadEntries of its namespace.
    pub workload_selector: Option<LabelSelector>,
    /// Namespaces that see it; empty means all, `~` none.
    pub export_to: Vec<String>,
    /// Names that the servers may have in their certificates.
    pub subject_alt_names: Vec<String>,
}

/// One entry of `ports:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryPort {
    /// The number that clients dial.
    pub number: u32,
    /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `MONGO`, `TCP`, `TLS`.
    pub protocol: Option<String>,
    /// Its name.
    pub name: String,
    /// Where it leads; absent = `number`.
    pub target_port: Option<u32>,
}

/// `workloadSelector:` of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LabelSelector {
    /// Labels that its workloads have; empty = all of the namespace.
    pub labels: BTreeMap<String, String>,
}

/// `spec` of a WorkloadEntry, and one entry of a ServiceEntry's `endpoints:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// An IP, or a host name where the resolution is by DNS.
    pub address: Option<String>,
    /// Port numbers by the names of the ServiceEntry's ports.
    pub ports: BTreeMap<String, u32>,
    /// Its labels, for subsets.
    pub labels: BTreeMap<String, String>,
    /// Its network; kept as written.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// Its share; absent and 0 = 1.
    pub weight: Option<u32>,
    /// Its identity.
    pub service_account: Option<String>,
}
