//! A case as it is written: one YAML document.
//!
//! What is left out has a plain default: namespace `default`, port 8080, cluster `ctx1`, a pod that answers 200, a caller named
//! `client`. A file `world.yaml` in the case's folder or above gives services and callers to all cases below it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use smov_theatre::echo::Script;

pub mod expect;
pub mod matcher;

pub use expect::{Expect, Finding, Seen};
pub use matcher::{Many, Matcher, Span, Time};

use crate::Both;
use crate::plane::PlaneName;

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// The fact that the case teaches, as a sentence.
    pub name: String,
    /// More about it, in both languages.
    #[serde(default)]
    pub about: Option<Both>,
    /// Kubernetes Services with their pods.
    #[serde(default)]
    pub services: Vec<ServiceCase>,
    /// Pods that call and serve nothing. `client` is always there.
    #[serde(default)]
    pub clients: Vec<PodCase>,
    /// Ingress gateways.
    #[serde(default)]
    pub gateways: Vec<GatewayCase>,
    /// Programs outside the mesh: an address, no Kubernetes object.
    #[serde(default)]
    pub externals: Vec<PodCase>,
    /// Mesh-wide settings.
    #[serde(default)]
    pub mesh: Option<MeshCase>,
    /// Istio YAML: a text of one or more documents, or a list of objects. `$(POD)` stands for a pod's address, `$(service:NAME)` for a
    /// Service's cluster IP.
    #[serde(default)]
    pub resources: Resources,
    /// What `world.yaml` brings; comes first.
    #[serde(skip)]
    pub given: Resources,
    /// Files with more YAML, relative to the case's file.
    #[serde(default)]
    pub files: Many<String>,
    /// The requests, one after the other.
    #[serde(default)]
    pub requests: Vec<RequestCase>,
    /// What the API server refuses: exactly these findings and no others.
    #[serde(default)]
    pub rejected: Option<Vec<Finding>>,
    /// What it warns of: these findings are among the warnings.
    #[serde(default)]
    pub warned: Vec<Finding>,
    /// What analysis says of all resources together: these are among its findings.
    #[serde(default)]
    pub analyzed: Vec<Finding>,
    /// Where a plane differs, and why.
    #[serde(default)]
    pub planes: BTreeMap<PlaneName, PlaneNote>,
    /// Seed of the dice of the built-in plane.
    #[serde(default = "seed")]
    pub seed: u64,
}

fn seed() -> u64 {
    42
}

/// What is there before any rule. `world.yaml` has the same fields.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorldCase {
    /// Kubernetes Services with their pods.
    pub services: Vec<ServiceCase>,
    /// Pods that call and serve nothing. `client` is always there.
    pub clients: Vec<PodCase>,
    /// Ingress gateways.
    pub gateways: Vec<GatewayCase>,
    /// Programs outside the mesh: an address, no Kubernetes object.
    pub externals: Vec<PodCase>,
    /// Mesh-wide settings.
    pub mesh: Option<MeshCase>,
    /// Istio YAML that is there in every case; a case replaces it object by object.
    pub resources: Resources,
}

impl Case {
    /// Takes what `world.yaml` has and the case does not: by name, and the mesh settings as a whole.
    pub fn stand_on(&mut self, world: &WorldCase) {
        fn add<T: Clone>(own: &mut Vec<T>, more: &[T], name: impl Fn(&T) -> String) {
            let known: Vec<String> = own.iter().map(&name).collect();
            own.extend(more.iter().filter(|one| !known.contains(&name(one))).cloned());
        }
        add(&mut self.services, &world.services, |service| format!("{}/{}", service.namespace, service.name));
        add(&mut self.clients, &world.clients, |pod| pod.name.clone());
        add(&mut self.gateways, &world.gateways, |gateway| gateway.name.clone());
        add(&mut self.externals, &world.externals, |pod| pod.name.clone());
        self.given = world.resources.clone();
        if self.mesh.is_none() {
            self.mesh.clone_from(&world.mesh);
        }
    }
}

/// A Kubernetes Service and the pods behind it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceCase {
    /// Its name.
    pub name: String,
    /// Its namespace.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// Its ports; one `http` at 8080 unless said otherwise.
    #[serde(default = "ports")]
    pub ports: Vec<PortCase>,
    /// The annotation `networking.istio.io/exportTo`.
    #[serde(default)]
    pub export_to: String,
    /// Its pods.
    #[serde(default)]
    pub pods: Vec<PodCase>,
}

/// A port of a Service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortCase {
    /// Its name, whose prefix says what it speaks.
    #[serde(default = "http")]
    pub name: String,
    /// What clients dial.
    pub number: u16,
    /// Where pods listen; the same number unless said otherwise.
    #[serde(default)]
    pub target: Option<u16>,
}

fn namespace() -> String {
    "default".to_owned()
}

fn http() -> String {
    "http".to_owned()
}

fn ports() -> Vec<PortCase> {
    vec![PortCase { name: http(), number: 8080, target: None }]
}

/// A pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodCase {
    /// Its name.
    pub name: String,
    /// Its namespace; a Service's pods are in the Service's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its labels, beside `app` with the Service's (or the pod's) name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its Kubernetes cluster.
    #[serde(default = "cluster")]
    pub cluster: String,
    /// Region of its node.
    #[serde(default)]
    pub region: String,
    /// Zone of its node.
    #[serde(default)]
    pub zone: String,
    /// Does it have a sidecar in front of its app? (Callers always have one.)
    #[serde(default)]
    pub sidecar: bool,
    /// What it answers.
    #[serde(default)]
    pub script: Script,
    /// Nothing listens: connecting is refused.
    #[serde(default)]
    pub down: bool,
    /// Port of an external program.
    #[serde(default = "port")]
    pub port: u16,
    /// The certificate that its proxy shows, where that is another than its own.
    #[serde(default)]
    pub certificate: CertificateCase,
}

/// A proxy's certificate; its own, by the mesh's authority, unless said otherwise.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertificateCase {
    /// It has none.
    pub none: bool,
    /// By an authority that the mesh does not know.
    pub stranger: bool,
    /// Another identity: `spiffe://…`.
    pub identity: Option<String>,
    /// It ends so soon (whole seconds).
    pub lifetime: Option<Time>,
}

fn cluster() -> String {
    "ctx1".to_owned()
}

fn port() -> u16 {
    8080
}

impl PodCase {
    /// A pod with nothing but a name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: None,
            labels: BTreeMap::new(),
            cluster: cluster(),
            region: String::new(),
            zone: String::new(),
            sidecar: false,
            script: Script::default(),
            down: false,
            port: port(),
            certificate: CertificateCase::default(),
        }
    }
}

/// An ingress gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayCase {
    /// Its pod's name.
    pub name: String,
    /// Its namespace.
    #[serde(default = "gateway_namespace")]
    pub namespace: String,
    /// Labels that a Gateway's selector asks for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Which `servers[].port.number` its listener is.
    #[serde(default = "server_port")]
    pub port: u16,
}

fn gateway_namespace() -> String {
    "istio-system".to_owned()
}

fn server_port() -> u16 {
    80
}

/// Mesh-wide settings, in the words of Istio's MeshConfig.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshCase {
    /// `ALLOW_ANY` (default) or `REGISTRY_ONLY`.
    pub outbound_traffic_policy: smov_model::snapshot::UnknownHosts,
    /// `NONE`, `BASE` (default), `MERGE_SLASHES`, `DECODE_AND_MERGE_SLASHES`.
    pub path_normalization: smov_model::snapshot::PathNormalization,
    /// Of all identities; `cluster.local` unless said otherwise.
    pub trust_domain: Option<String>,
    /// Off = no mutual TLS without a rule that says so.
    pub enable_auto_mtls: Option<bool>,
}

/// YAML of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Resources {
    /// A stream of documents.
    Text(String),
    /// Objects written into the case itself.
    Objects(Vec<Value>),
}

impl Default for Resources {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// One request, or several alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestCase {
    /// Whose sidecar sends it: a pod's name; a gateway's name = from outside through it; `outside` = plaintext straight to the URL's pod.
    #[serde(default = "client")]
    pub from: String,
    /// A GET to this URL.
    #[serde(default)]
    pub get: Option<String>,
    /// The URL, where the method is another. `tcp://SERVICE:PORT/` goes through the sidecar's door for opaque TCP.
    #[serde(default)]
    pub url: Option<String>,
    /// The method.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers; a list repeats the header. `$(n)` in a value counts the `times` from 0, `$(x*N)` is N times `x`.
    #[serde(default)]
    pub headers: BTreeMap<String, Many<String>>,
    /// The body.
    #[serde(default)]
    pub body: Option<Body>,
    /// The request as bytes, instead of all the above.
    #[serde(default)]
    pub raw: Option<String>,
    /// How often it is sent.
    #[serde(default = "once")]
    pub times: u32,
    /// Are they sent all at once?
    #[serde(default)]
    pub parallel: bool,
    /// It is sent and nobody waits for its answer: the next request goes out when a pod has got this one.
    #[serde(default)]
    pub background: bool,
    /// The client goes away after so long.
    #[serde(default)]
    pub leaves: Option<Time>,
    /// Pause before it, where the semantics is about time.
    #[serde(default)]
    pub after: Option<Time>,
    /// New scripts of pods, before it.
    #[serde(default)]
    pub scripts: BTreeMap<String, Script>,
    /// YAML that is applied before it.
    #[serde(default)]
    pub apply: Option<String>,
    /// `Kind/name` or `Kind/namespace/name` of resources that are deleted before it.
    #[serde(default)]
    pub delete: Many<String>,
    /// Does the client bring an `x-request-id`? It does unless told otherwise, so that the proxy's record is found.
    #[serde(default = "yes")]
    pub request_id: bool,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
    /// What must come of it on a plane that differs: these fields replace those of `expect`.
    #[serde(default)]
    pub differs: BTreeMap<PlaneName, Difference>,
}

fn client() -> String {
    "client".to_owned()
}

fn once() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// A request's body.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Body {
    /// As it is.
    Text(String),
    /// So many bytes of `x`.
    Bytes {
        /// How many.
        bytes: usize,
    },
}

/// A plane that differs in one request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Why.
    pub reason: String,
    /// What it does instead.
    pub expect: Value,
}

/// A plane on which a case is not played.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaneNote {
    /// Why not.
    pub skip: String,
}
