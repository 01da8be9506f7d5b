//! Files as one world: what `smov validate` says about a folder, and where.
//!
//! What a folder does not hold may be elsewhere: a reference is judged only when the input has objects of that kind at all. What was not
//! judged, and what was not looked at because the mesh does not execute it, is part of the [`Report`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use smov_model::names::{KubeCluster, ResourceRef};

use super::objects::{Injection, injections, is_injected};
use super::templates::{Template, templates, texts, word};
use super::{Known, objects, ports, selectors};
use crate::compile::Prepared;
use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{IstioKind, reference_of};
use crate::validate::validate_strictly;
use crate::world::{MeshConfig, WatchedKind, World};
use crate::yaml::{Document, InvalidYaml, parse};

use super::left_out::{is_gateway, not_considered, unjudged};
use super::report::found;
pub use super::report::{Found, NotConsidered, Report, Unjudged};
pub use super::templates::is_documentation;

/// The namespace of objects that name none, unless said otherwise.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Objects from files.
#[derive(Debug, Clone, Default)]
pub struct Input {
    sources: Vec<Source>,
    namespace: Option<String>,
}

/// One object and where it was written.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, as it was named.
    pub file: String,
    /// The object with its places.
    pub document: Document,
}

impl Input {
    /// An empty input; objects that name no namespace are in `default`, or in the one given.
    pub fn new(namespace: Option<String>) -> Self {
        Self { sources: Vec::new(), namespace }
    }

    /// Adds the objects of a text.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), InvalidYaml> {
        parse(text)?.into_iter().for_each(|document| self.add_document(file, document));
        Ok(())
    }

    /// As [`Self::add`], passing over documents that do not even claim to be objects, as folders hold them (charts' values and the like);
    /// gives how many those were.
    pub fn add_objects(&mut self, file: &str, text: &str) -> Result<usize, InvalidYaml> {
        let claims = |document: &Document| ["/apiVersion", "/kind"].iter().any(|field| !word(&document.value, field).is_empty());
        let (objects, others): (Vec<_>, Vec<_>) = parse(text)?.into_iter().partition(claims);
        objects.into_iter().for_each(|document| self.add_document(file, document));
        Ok(others.len())
    }

    /// Adds an object that was made from files, as Kustomize makes them: without places.
    pub fn add_object(&mut self, file: &str, value: Value) {
        self.add_document(file, Document { value, spans: BTreeMap::new() });
    }

    fn add_document(&mut self, file: &str, mut document: Document) {
        if word(&document.value, "/apiVersion").starts_with("kustomize.config.k8s.io/") {
            return;
        }
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let unsaid = document.value.pointer("/metadata/namespace").is_none_or(|found| found.is_null() || found == "");
        let bare = unsaid && !is_cluster_scoped(word(&document.value, "/kind"));
        if let Some(metadata) = document.value.get_mut("metadata").and_then(Value::as_object_mut).filter(|_| bare) {
            metadata.insert("namespace".to_owned(), Value::from(namespace));
        }
        self.sources.push(Source { file: file.to_owned(), document });
    }

    /// The objects in order.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// All objects; of those written several times, the last.
    fn objects(&self) -> Vec<&Value> {
        let mut last: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
        for (index, source) in self.sources.iter().enumerate() {
            last.insert(identity(&source.document.value), index);
        }
        let kept: BTreeSet<usize> = last.into_values().collect();
        kept.into_iter().map(|index| &self.sources[index].document.value).collect()
    }

    /// The input as a world whose rules are those of `own`: with pods and endpoints as its Deployments would make them, where it has none.
    pub fn world(&self, own: &KubeCluster, mesh: MeshConfig) -> World {
        let objects = self.objects();
        let templates = templates(&objects);
        let mut world = World::builder(own.clone()).mesh(mesh).build();
        let of_kind = |kind: &str| objects.iter().copied().filter(|object| word(object, "/kind") == kind).collect::<Vec<_>>();
        let namespaces = of_kind("Namespace");
        let injections = injections(&namespaces);
        let mut pods: Vec<(&Template<'_>, KubeCluster, Value)> = Vec::new();
        let mut next = 0;
        let real = !of_kind("Pod").is_empty();
        for template in &templates {
            let injection = injections.get(template.namespace).copied().unwrap_or(Injection::Unknown);
            let cluster = template.cluster(own);
            let mut made = template.pods(is_injected(template, injection), &mut next);
            if let Some(pod) = objects.iter().find(|object| real && identity(object) == ("", "Pod", template.namespace, template.name)) {
                made = vec![with_address(pod, &made.swap_remove(0))];
            }
            pods.extend(made.into_iter().map(|pod| (template, cluster.clone(), pod)));
        }
        for object in &objects {
            if WatchedKind::of(object).is_some_and(|kind| kind != WatchedKind::Pod) {
                world.apply(own, object);
            }
        }
        for (_, cluster, pod) in &pods {
            world.apply(cluster, pod);
        }
        if of_kind("EndpointSlice").is_empty() {
            for service in of_kind("Service") {
                for slice in slices(service, &pods) {
                    world.apply(own, &slice);
                }
            }
        }
        world
    }

    /// What is wrong with the input. With `whole`, what is not in it does not exist.
    pub fn report(&self, whole: bool) -> Report {
        let objects = self.objects();
        let templates = templates(&objects);
        let own: KubeCluster = "local".parse().expect("a DNS label");
        let mesh = MeshConfig::default();
        let root = mesh.root_namespace.to_string();
        let world = self.world(&own, mesh);
        let mut report = Report { not_considered: not_considered(&objects), ..Report::default() };
        for (index, source) in self.sources.iter().enumerate() {
            for finding in self.alone(source).into_iter().chain(self.written_again(index)) {
                report.findings.push(found(Some(source.file.clone()), finding));
            }
        }
        let known = self.known(&objects, &templates, whole);
        report.unjudged = unjudged(&objects, known);
        let mut findings = Prepared::new(&world).analyze_knowing(known);
        // What the world could not read of other kinds; Istio's own were validated one by one.
        let unread = |finding: &&Diagnostic| IstioKind::by_name(&finding.resource.kind).is_none();
        findings.extend(world.diagnostics().filter(unread).cloned());
        explain_subsets(&templates, &objects, whole, &mut findings);
        let of_kind = |kind: &str| objects.iter().copied().filter(|object| word(object, "/kind") == kind).collect::<Vec<_>>();
        let namespaces = of_kind("Namespace");
        objects::check(&namespaces, &templates, &mut findings);
        ports::check(&of_kind("Service"), &templates, &mut findings);
        if known.pods {
            selectors::check_selectors(&objects, &root, &templates, &mut findings);
        }
        if whole || !namespaces.is_empty() {
            let names = namespaces.iter().map(|namespace| word(namespace, "/metadata/name"));
            let used = objects.iter().map(|object| word(object, "/metadata/namespace"));
            selectors::check_namespaces(&objects, &names.chain(used).collect(), &mut findings);
        }
        let secrets: BTreeSet<_> =
            of_kind("Secret").into_iter().map(|secret| (word(secret, "/metadata/namespace"), word(secret, "/metadata/name"))).collect();
        if whole || !secrets.is_empty() {
            selectors::check_credentials(&objects, &secrets, &templates, &mut findings);
        }
        selectors::check_service_entries(&objects, &mut findings);
        for mut finding in findings {
            let source = self.source_of(&finding.resource);
            finding.position = source.and_then(|source| source.document.locate(&finding.path));
            report.findings.push(found(source.map(|source| source.file.clone()), finding));
        }
        report.sort();
        report
    }

    /// Where a resource was written last.
    pub fn source_of(&self, resource: &ResourceRef) -> Option<&Source> {
        let is_it = |source: &&Source| {
            let value = &source.document.value;
            word(value, "/kind") == resource.kind
                && word(value, "/metadata/name") == resource.name
                && word(value, "/metadata/namespace") == resource.namespace
        };
        self.sources.iter().rev().find(is_it)
    }

    /// What is wrong with one object, whatever else there is.
    fn alone(&self, source: &Source) -> Vec<Diagnostic> {
        let value = &source.document.value;
        let reference = reference_of(value);
        let error = |code: &'static str, path: &str, message: String, korean: String| {
            source.document.place(vec![Diagnostic::new(code, Severity::Error, &reference, path, message, korean)])
        };
        let group = word(value, "/apiVersion").split('/').next().unwrap_or_default();
        for field in ["apiVersion", "kind"] {
            if word(value, &format!("/{field}")).is_empty() {
                return error(
                    "no-object",
                    field,
                    format!("{field} is missing: this is no Kubernetes object"),
                    format!("{field}이(가) 없습니다. Kubernetes 객체가 아닙니다"),
                );
            }
        }
        for field in ["name", "namespace"] {
            let found = value.pointer(&format!("/metadata/{field}")).unwrap_or(&Value::Null);
            if !found.is_string() && !found.is_null() {
                let path = format!("metadata.{field}");
                let message = format!("{path} is {found}, not a text: put it in quotes");
                return error("no-object", &path, message, format!("{path}이(가) 문자열이 아니라 {found}입니다. 따옴표로 감싸세요"));
            }
        }
        if word(value, "/metadata/name").is_empty() && word(value, "/metadata/generateName").is_empty() {
            return error("no-object", "metadata.name", "metadata.name is missing".to_owned(), "metadata.name이 없습니다".to_owned());
        }
        let (kind, version) = (word(value, "/kind"), word(value, "/apiVersion"));
        if IstioKind::of(value).is_none() && group == "networking.istio.io" && IstioKind::by_name(kind).is_some() {
            return error(
                "no-such-version",
                "apiVersion",
                format!("no kind \"{kind}\" in version \"{version}\""),
                format!("{version}에는 {kind}이(가) 없습니다. v1, v1beta1, v1alpha3 가운데 하나를 쓰세요"),
            );
        }
        if group.ends_with(".istio.io") && !ISTIO_KINDS.contains(&kind) {
            let near = super::nearest_name(kind, ISTIO_KINDS.into_iter());
            let mut findings = error(
                "no-such-kind",
                "kind",
                format!("no kind \"{kind}\" in group \"{group}\""),
                format!("{group}에는 {kind}이라는 종류가 없습니다"),
            );
            if let Some(near) = near {
                findings = findings
                    .into_iter()
                    .map(|finding| finding.with_help(format!("did you mean `{near}`?"), format!("혹시 `{near}`인가요?")))
                    .collect();
            }
            return findings;
        }
        source.document.place(validate_strictly(value))
    }

    /// The same object again, otherwise: an apply to one cluster would keep only the last.
    fn written_again(&self, index: usize) -> Option<Diagnostic> {
        let value = &self.sources[index].document.value;
        if word(value, "/metadata/name").is_empty() {
            return None;
        }
        let later = self.sources[index + 1..].iter().rev().find(|later| identity(&later.document.value) == identity(value))?;
        if later.document.value == *value {
            return None;
        }
        let place =
            later.document.locate("").map(|position| format!("{}:{}", later.file, position.line)).unwrap_or_else(|| later.file.clone());
        let message =
            format!("written again and differently at {place}: an apply to one cluster keeps only the last, and so does this check");
        let korean = format!(
            "{place}에 같은 이름으로 다르게 다시 쓰여 있습니다. 한 클러스터에 적용하면 마지막 것만 남고, 이 검사도 마지막 것만 봅니다"
        );
        let finding = Diagnostic::new("written-again", Severity::Warning, &reference_of(value), "metadata.name", message, korean);
        self.sources[index].document.place(vec![finding]).pop()
    }

    fn known(&self, objects: &[&Value], templates: &[Template<'_>], whole: bool) -> Known {
        if whole {
            return Known::ALL;
        }
        let has = |kinds: &[&str]| objects.iter().any(|object| kinds.contains(&word(object, "/kind")));
        let gateways: Vec<&&Value> = objects.iter().filter(|object| is_gateway(object)).collect();
        let runs = |gateway: &&Value| {
            let selector = texts(gateway.pointer("/spec/selector"));
            templates.iter().any(|template| template.is_selected_by(&selector))
        };
        Known {
            services: has(&["Service", "ServiceEntry"]),
            pods: !templates.is_empty(),
            gateways: !gateways.is_empty(),
            gateway_pods: has(&["Pod"]) || gateways.iter().any(|gateway| runs(gateway)),
            subsets: has(&["DestinationRule"]),
        }
    }
}

/// Kinds of Istio's groups, for names that are near one of them.
const ISTIO_KINDS: [&str; 15] = [
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Sidecar",
    "WorkloadEntry",
    "WorkloadGroup",
    "EnvoyFilter",
    "ProxyConfig",
    "WasmPlugin",
    "TrafficExtension",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "Telemetry",
];

fn is_cluster_scoped(kind: &str) -> bool {
    matches!(
        kind,
        "Namespace"
            | "Node"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "PersistentVolume"
            | "StorageClass"
            | "CustomResourceDefinition"
            | "PriorityClass"
            | "IngressClass"
            | "GatewayClass"
            | "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
    )
}

/// Group, kind, namespace, name.
fn identity(value: &Value) -> (&str, &str, &str, &str) {
    let group = word(value, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group, word(value, "/kind"), word(value, "/metadata/namespace"), word(value, "/metadata/name"))
}

/// A real pod, with an address where it has none yet.
fn with_address(pod: &Value, made: &Value) -> Value {
    let mut pod = pod.clone();
    if word(&pod, "/status/podIP").is_empty() {
        let address = word(made, "/status/podIP");
        pod["status"] = json!({"phase": "Running", "podIP": address});
    }
    pod
}

/// The endpoints of a Service as its selector chooses them, one slice per pod since named ports may differ.
fn slices(service: &Value, pods: &[(&Template<'_>, KubeCluster, Value)]) -> Vec<Value> {
    let (name, namespace) = (word(service, "/metadata/name"), word(service, "/metadata/namespace"));
    let selector = texts(service.pointer("/spec/selector"));
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let selected = pods.iter().filter(|(template, _, _)| template.namespace == namespace && template.is_selected_by(&selector));
    let slice = |(index, (template, _, pod)): (usize, &(&Template<'_>, KubeCluster, Value))| {
        let number = |port: &Value| match port.get("targetPort") {
            Some(Value::String(named)) => template.named_port(named).map(u64::from),
            Some(Value::Number(number)) => number.as_u64(),
            _ => port.get("port").and_then(Value::as_u64),
        };
        let ports: Vec<Value> =
            ports.iter().filter_map(|port| Some(json!({"name": word(port, "/name"), "port": number(port)?, "protocol": "TCP"}))).collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6",
            "metadata": {"name": format!("{name}-{index}"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": ports,
            "endpoints": [{"addresses": [word(pod, "/status/podIP")], "conditions": {"ready": true}}]})
    };
    selected.enumerate().map(slice).collect()
}

/// Why a subset selects no pod, where a usual reason shows: a label that only nodes have, or the name of a cluster whose YAML is not here.
/// The latter is only a warning, unless the input is everything there is.
fn explain_subsets(templates: &[Template<'_>], objects: &[&Value], whole: bool, findings: &mut [Diagnostic]) {
    let of_nodes: BTreeSet<&str> = templates.iter().flat_map(Template::node_labels).collect();
    let of_pods: BTreeSet<&str> = templates.iter().flat_map(|template| template.labels.keys().map(String::as_str)).collect();
    for finding in findings.iter_mut().filter(|finding| finding.code == "IST0173") {
        let is_it = |object: &&&Value| {
            word(object, "/kind") == "DestinationRule"
                && word(object, "/metadata/name") == finding.resource.name
                && word(object, "/metadata/namespace") == finding.resource.namespace
        };
        let index = finding.path.strip_prefix("spec.subsets[").and_then(|rest| rest.strip_suffix(']'));
        let Some(rule) = objects.iter().find(is_it) else { continue };
        let labels = texts(rule.pointer(&format!("/spec/subsets/{}/labels", index.unwrap_or_default())));
        let elsewhere = |key: &&str| {
            let name = labels.get(*key);
            name.is_some() && !templates.is_empty() && templates.iter().all(|template| template.labels.get(*key) != name)
        };
        if let Some(name) =
            ["topology.istio.io/cluster", "cluster"].iter().find(|key| !whole && elsewhere(key)).and_then(|key| labels.get(*key))
        {
            finding.severity = Severity::Warning;
            finding.help = format!("if {name} is another cluster, give its YAML as well: endpoints come from all. {}", finding.help);
            finding.help_ko = format!(
                "{name}이(가) 다른 클러스터라면 그쪽 YAML도 함께 주세요. 엔드포인트는 모든 클러스터에서 옵니다. {}",
                finding.help_ko
            );
            continue;
        }
        let Some(label) = labels.keys().find(|key| of_nodes.contains(key.as_str()) && !of_pods.contains(key.as_str())) else { continue };
        finding.help = format!("`{label}` is a label of nodes here; subsets select by labels of pods. {}", finding.help);
        finding.help_ko = format!("`{label}`은(는) 여기서 노드의 레이블입니다. 서브셋은 파드의 레이블로 고릅니다. {}", finding.help_ko);
    }
}
