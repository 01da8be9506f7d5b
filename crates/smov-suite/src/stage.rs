//! A case as Kubernetes would show it: Services, pods, endpoints, nodes, one world per cluster; and the snapshots of its proxies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};
use smov_istio::compile::Prepared;
use smov_istio::diagnostic::Diagnostic;
use smov_istio::world::{MeshConfig, ProxyIdentity, Role, World};
use smov_istio::yaml;
use smov_model::names::KubeCluster;
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_theatre::echo::Script;

use crate::case::{Case, CertificateCase, MeshCase, PodCase, Resources, ServiceCase};
use crate::ground::Ground;

/// The cluster of pods that say none.
const HOME: &str = "ctx1";
/// The caller that is always there.
const CLIENT: &str = "client";

/// What a pod of the case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Behind a Service.
    Server,
    /// Calls only.
    Client,
    /// An ingress gateway for this server port.
    Gateway(u16),
    /// Outside the mesh.
    External,
}

/// A pod of the case with its address.
#[derive(Debug, Clone)]
pub(crate) struct StagePod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) cluster: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) part: Part,
    pub(crate) service: String,
    pub(crate) labels: BTreeMap<String, String>,
    region: String,
    zone: String,
    /// Ports on which the pod listens.
    pub(crate) ports: Vec<u16>,
    /// A proxy stands in front of its app.
    pub(crate) sidecar: bool,
    pub(crate) script: Script,
    pub(crate) down: bool,
    /// What its proxy shows.
    pub(crate) certificate: CertificateCase,
}

/// A port of a Service that carries opaque TCP.
#[derive(Debug, Clone)]
pub(crate) struct TcpService {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) port: u16,
}

/// Everything that there is before the first request.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) pods: Vec<StagePod>,
    /// Cluster IPs of the Services.
    services: Vec<(String, String)>,
    /// What sidecars have doors of opaque TCP for: hosts and ports, in the order of the doors.
    pub(crate) tcp: Vec<TcpService>,
    mesh: MeshCase,
    worlds: BTreeMap<String, World>,
    version: u64,
}

impl Stage {
    /// Addresses and Kubernetes objects of a case; its resources come by [`Self::apply`].
    pub(crate) fn build(case: &Case, ground: &Ground) -> Result<Self, String> {
        let callers: BTreeSet<&str> = case.requests.iter().map(|request| request.from.as_str()).collect();
        let mut pods = Vec::new();
        for service in &case.services {
            let ports: Vec<u16> = service.ports.iter().map(|port| port.target.unwrap_or(port.number)).collect();
            for pod in &service.pods {
                let namespace = pod.namespace.as_deref().unwrap_or(&service.namespace);
                pods.push(StagePod {
                    ports: ports.clone(),
                    service: service.name.clone(),
                    ..stage_pod(pod, Part::Server, &service.name, namespace, ground)
                });
            }
        }
        let plain = PodCase::named(CLIENT);
        let client = (!case.clients.iter().any(|pod| pod.name == CLIENT)).then_some(&plain);
        for pod in case.clients.iter().chain(client) {
            pods.push(stage_pod(pod, Part::Client, &pod.name, pod.namespace.as_deref().unwrap_or("default"), ground));
        }
        for gateway in &case.gateways {
            let pod = PodCase { labels: gateway.labels.clone(), ..PodCase::named(&gateway.name) };
            pods.push(stage_pod(&pod, Part::Gateway(gateway.port), &gateway.name, &gateway.namespace, ground));
        }
        for pod in &case.externals {
            pods.push(StagePod { ports: vec![pod.port], ..stage_pod(pod, Part::External, &pod.name, "", ground) });
        }
        for caller in callers.iter().filter(|caller| **caller != OUTSIDE) {
            if !pods.iter().any(|pod| pod.name == **caller && pod.part != Part::External) {
                return Err(format!("`from: {caller}` names no pod of this case"));
            }
        }
        let mesh = case.mesh.clone().unwrap_or_default();
        let services = case.services.iter().enumerate().map(|(index, service)| (service.name.clone(), cluster_ip(index, HOME))).collect();
        let tcp = case.services.iter().flat_map(tcp_ports).collect();
        let mut stage = Self { pods, services, tcp, mesh, worlds: BTreeMap::new(), version: 0 };
        stage.found(case, &callers)?;
        Ok(stage)
    }

    fn found(&mut self, case: &Case, callers: &BTreeSet<&str>) -> Result<(), String> {
        let clusters: BTreeSet<String> = self.pods.iter().map(|pod| pod.cluster.clone()).collect();
        let objects: Vec<(KubeCluster, Value)> = clusters
            .iter()
            .flat_map(|cluster| self.objects(case, cluster, callers))
            .map(|(cluster, object)| Ok((name(&cluster)?, object)))
            .collect::<Result<_, String>>()?;
        for cluster in &clusters {
            let default = MeshConfig::default();
            let config = MeshConfig {
                unknown_hosts: self.mesh.outbound_traffic_policy,
                trust_domain: self.mesh.trust_domain.clone().unwrap_or(default.trust_domain),
                auto_mutual_tls: self.mesh.enable_auto_mtls.unwrap_or(default.auto_mutual_tls),
                ..MeshConfig::default()
            };
            let mut world = World::builder(name(cluster)?).mesh(config).build();
            for (owner, object) in &objects {
                let applied = world.apply(owner, object);
                if let Some(error) = applied.diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
                    return Err(error.to_string());
                }
            }
            self.worlds.insert(cluster.clone(), world);
        }
        Ok(())
    }

    /// What one cluster's API server has.
    fn objects(&self, case: &Case, cluster: &str, callers: &BTreeSet<&str>) -> Vec<(String, Value)> {
        let mut objects = Vec::new();
        let mut add = |object: Value| objects.push((cluster.to_owned(), object));
        for pod in self.pods.iter().filter(|pod| pod.cluster == cluster && pod.part != Part::External) {
            add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node(pod),
                "labels": {"topology.kubernetes.io/region": pod.region, "topology.kubernetes.io/zone": pod.zone}}}));
            let has_sidecar = pod.sidecar || !matches!(pod.part, Part::Server) || callers.contains(pod.name.as_str());
            let mut containers =
                vec![json!({"name": "app", "ports": pod.ports.iter().map(|port| json!({"containerPort": port})).collect::<Vec<_>>()})];
            if has_sidecar {
                containers.push(json!({"name": "istio-proxy"}));
            }
            let mut labels = pod.labels.clone();
            if has_sidecar && !pod.sidecar && pod.part == Part::Server {
                // It calls through a proxy; what comes in goes to its app.
                labels.insert("security.istio.io/tlsMode".to_owned(), "disabled".to_owned());
            }
            add(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": labels},
                "spec": {"nodeName": node(pod), "serviceAccountName": pod.service, "containers": containers},
                "status": {"phase": "Running", "podIP": pod.address}}));
        }
        for (index, service) in case.services.iter().enumerate() {
            add(service_object(service, &cluster_ip(index, cluster)));
            add(self.slice(service, cluster));
        }
        objects
    }

    fn slice(&self, service: &ServiceCase, cluster: &str) -> Value {
        let here = |pod: &&StagePod| {
            pod.part == Part::Server
                && pod.service == service.name
                && pod.cluster == cluster
                && service.pods.iter().any(|own| own.name == pod.name)
        };
        let endpoint = |pod: &StagePod| {
            json!({"addresses": [pod.address], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace}})
        };
        let ports: Vec<Value> =
            service.ports.iter().map(|port| json!({"name": port.name, "port": port.target.unwrap_or(port.number)})).collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": service.name, "namespace": service.namespace, "labels": {"kubernetes.io/service-name": service.name}},
            "ports": ports,
            "endpoints": self.pods.iter().filter(here).map(endpoint).collect::<Vec<_>>()})
    }

    /// Applies resources in every cluster, as one `kubectl apply` per cluster would; the findings of the first say it all.
    pub(crate) fn apply(&mut self, objects: &[Value]) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for (index, (cluster, world)) in self.worlds.iter_mut().enumerate() {
            let Ok(owner) = cluster.parse::<KubeCluster>() else { continue };
            for object in objects {
                let applied = world.apply(&owner, object);
                if index == 0 {
                    findings.extend(applied.diagnostics);
                }
            }
        }
        findings
    }

    /// Deletes `Kind/name` or `Kind/namespace/name`; says whether it was there.
    pub(crate) fn delete(&mut self, what: &str) -> bool {
        let parts: Vec<&str> = what.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] => (kind, "default", name),
            [kind, namespace, name] => (kind, namespace, name),
            _ => return false,
        };
        let mut gone = false;
        for (cluster, world) in &mut self.worlds {
            gone |= cluster.parse().is_ok_and(|cluster: KubeCluster| world.remove(&cluster, kind, namespace, name));
        }
        gone
    }

    /// What analysis finds in the home cluster's world.
    pub(crate) fn analyze(&self) -> Vec<Diagnostic> {
        self.worlds.values().next().map(smov_istio::analyze::analyze).unwrap_or_default()
    }

    /// Snapshots of these pods' proxies, one version newer than the last.
    pub(crate) fn snapshots(&mut self, names: &[String]) -> Result<BTreeMap<String, Snapshot>, String> {
        self.version += 1;
        let version = SnapshotVersion { epoch: 1, number: self.version };
        let mut snapshots = BTreeMap::new();
        for (cluster, world) in &self.worlds {
            let prepared = Prepared::new(world);
            for pod in self.pods.iter().filter(|pod| pod.cluster == *cluster && names.contains(&pod.name)) {
                let identity = ProxyIdentity {
                    cluster: name(cluster)?,
                    namespace: pod.namespace.parse().map_err(|error| format!("namespace `{}`: {error}", pod.namespace))?,
                    pod: pod.name.clone(),
                    role: if matches!(pod.part, Part::Gateway(_)) { Role::Gateway } else { Role::Sidecar },
                };
                let mut snapshot = prepared.snapshot_for(&identity, version).snapshot;
                snapshot.path_normalization = self.mesh.path_normalization;
                snapshots.insert(pod.name.clone(), snapshot);
            }
        }
        Ok(snapshots)
    }

    /// The first part of identities, where the case names one.
    pub(crate) fn trust_domain(&self) -> Option<&str> {
        self.mesh.trust_domain.as_deref()
    }

    pub(crate) fn pod(&self, name: &str) -> Option<&StagePod> {
        self.pods.iter().find(|pod| pod.name == name)
    }

    /// Puts addresses in the place of `$(POD)`.
    pub(crate) fn fill(&self, text: &str) -> String {
        if !text.contains("$(") {
            return text.to_owned();
        }
        let text = self.pods.iter().fold(text.to_owned(), |text, pod| text.replace(&format!("$({})", pod.name), &pod.address.to_string()));
        self.services.iter().fold(text, |text, (name, address)| text.replace(&format!("$(service:{name})"), address))
    }

    fn fill_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.fill(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.fill_value(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Objects of a YAML text, with addresses filled in.
    pub(crate) fn parse(&self, text: &str) -> Result<Vec<Value>, String> {
        let documents = yaml::parse(&self.fill(text)).map_err(|error| error.to_string())?;
        Ok(documents.into_iter().map(|document| document.value).collect())
    }

    fn objects_of(&self, resources: &Resources) -> Result<Vec<Value>, String> {
        match resources {
            Resources::Text(text) => self.parse(text),
            Resources::Objects(objects) => {
                let mut objects = objects.clone();
                objects.iter_mut().for_each(|object| self.fill_value(object));
                Ok(objects)
            }
        }
    }

    /// The objects of a case: its world's, its own and those of its files.
    pub(crate) fn resources(&self, case: &Case, folder: &Path) -> Result<Vec<Value>, String> {
        let mut objects = self.objects_of(&case.given)?;
        objects.extend(self.objects_of(&case.resources)?);
        for file in &case.files.0 {
            let text = std::fs::read_to_string(folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
            objects.extend(self.parse(&text).map_err(|error| format!("{file}: {error}"))?);
        }
        Ok(objects)
    }
}

/// `from:` of a plaintext request that comes through no sidecar.
pub(crate) const OUTSIDE: &str = "outside";

fn stage_pod(pod: &PodCase, part: Part, app: &str, namespace: &str, ground: &Ground) -> StagePod {
    let mut labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    labels.extend(pod.labels.clone());
    StagePod {
        name: pod.name.clone(),
        namespace: namespace.to_owned(),
        cluster: pod.cluster.clone(),
        address: ground.address(),
        part,
        service: app.to_owned(),
        labels,
        region: pod.region.clone(),
        zone: pod.zone.clone(),
        ports: Vec::new(),
        sidecar: pod.sidecar,
        script: pod.script.clone(),
        down: pod.down,
        certificate: pod.certificate.clone(),
    }
}

fn tcp_ports(service: &ServiceCase) -> impl Iterator<Item = TcpService> + '_ {
    let opaque = service.ports.iter().filter(|port| port.name == "tcp" || port.name.starts_with("tcp-"));
    opaque.map(|port| TcpService { name: service.name.clone(), namespace: service.namespace.clone(), port: port.number })
}

/// Nothing listens on a cluster IP: it only has to be an address of its own.
fn cluster_ip(index: usize, cluster: &str) -> String {
    format!("127.255.{}.{}", index + 1, if cluster == HOME { 1 } else { 2 })
}

/// Pods of one place share a node.
fn node(pod: &StagePod) -> String {
    let words = [pod.cluster.as_str(), &pod.region, &pod.zone, "node"];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

fn service_object(service: &ServiceCase, address: &str) -> Value {
    let port = |port: &crate::case::PortCase| json!({"name": port.name, "port": port.number, "targetPort": port.target.unwrap_or(port.number), "protocol": "TCP"});
    let annotations = if service.export_to.is_empty() { json!({}) } else { json!({"networking.istio.io/exportTo": service.export_to}) };
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": service.name, "namespace": service.namespace, "annotations": annotations},
        "spec": {"clusterIP": address, "clusterIPs": [address], "selector": {"app": service.name},
            "ports": service.ports.iter().map(port).collect::<Vec<_>>()}})
}

fn name(cluster: &str) -> Result<KubeCluster, String> {
    cluster.parse().map_err(|error| format!("cluster `{cluster}`: {error}"))
}
