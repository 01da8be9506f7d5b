//! What a rule steers, in words: which hosts, which pods, whose requests.

use serde_json::Value;
use smov_console::view::configuration::AffectedView;
use smov_istio::resource::IstioKind;
use smov_istio::world::World;

/// The namespace whose policies are for all.
const ROOT: &str = "istio-system";

/// What the object steers; `world` = its own cluster's, for counting pods.
pub(crate) fn affects(object: &Value, world: Option<&World>) -> Vec<AffectedView> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let spec = &object["spec"];
    let kind = object["kind"].as_str().and_then(IstioKind::by_name);
    let mut found = match kind {
        Some(IstioKind::VirtualService) => virtual_service(spec, namespace),
        Some(IstioKind::DestinationRule) => destination_rule(spec, namespace),
        Some(IstioKind::ServiceEntry) => hosts(spec, "메시 밖 호스트를 메시가 알게 합니다", "makes a host outside known to the mesh"),
        Some(IstioKind::WorkloadEntry) => vec![one(
            "Host",
            spec["address"].as_str().unwrap_or_default(),
            "이 주소를 워크로드로 등록합니다",
            "registers this address as a workload",
        )],
        Some(IstioKind::Gateway) => gateway(spec, world),
        Some(IstioKind::PeerAuthentication) => {
            pods(spec, namespace, world, "들어오는 연결에 mTLS를 요구할지 정합니다", "decides whether connections to them need mTLS")
        }
        Some(IstioKind::AuthorizationPolicy) => {
            pods(spec, namespace, world, "들어오는 요청을 허용하거나 거절합니다", "allows or denies requests to them")
        }
        Some(IstioKind::RequestAuthentication) => {
            pods(spec, namespace, world, "요청의 토큰(JWT)을 확인합니다", "checks the tokens (JWT) of requests to them")
        }
        Some(IstioKind::Telemetry) => {
            pods(spec, namespace, world, "메트릭, 로그, 추적을 어떻게 남길지 정합니다", "decides on their metrics, logs and traces")
        }
        Some(IstioKind::Sidecar) => pods(
            spec,
            namespace,
            world,
            "사이드카가 아는 호스트와 여는 포트를 정합니다",
            "decides which hosts their sidecars know and which ports they open",
        ),
        None => Vec::new(),
    };
    if kind.is_some_and(|kind| !kind.is_executed()) {
        for one in &mut found {
            one.text_ko.push_str(" (smov는 이 종류를 저장하고 검사하지만 아직 실행하지 않습니다)");
            one.text_en.push_str(" (smov stores and checks this kind, but does not execute it yet)");
        }
    }
    found
}

fn one(kind: &str, name: &str, ko: &str, en: &str) -> AffectedView {
    AffectedView { kind: kind.to_owned(), name: name.to_owned(), text_ko: ko.to_owned(), text_en: en.to_owned() }
}

fn words<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    value[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A short name stands for a Service of the rule's own namespace.
fn service_name(host: &str, namespace: &str) -> (&'static str, String) {
    if let Some(service) = host.strip_suffix(".svc.cluster.local") {
        return ("Service", service.to_owned());
    }
    if host.contains('.') || host.contains('*') { ("Host", host.to_owned()) } else { ("Service", format!("{host}.{namespace}")) }
}

fn virtual_service(spec: &Value, namespace: &str) -> Vec<AffectedView> {
    let gateways = words(spec, "gateways");
    let mesh = gateways.is_empty() || gateways.contains(&"mesh");
    let others = gateways.iter().copied().filter(|name| *name != "mesh").collect::<Vec<_>>().join(", ");
    let (ko, en) = match (mesh, others.is_empty()) {
        (true, true) => {
            ("메시 안에서 이곳으로 보내는 모든 요청의 경로".to_owned(), "the way of every request to it from inside the mesh".to_owned())
        }
        (true, false) => (
            format!("메시 안에서, 그리고 게이트웨이 {others}에서 이곳으로 가는 요청의 경로"),
            format!("the way of requests to it from inside the mesh and from gateway {others}"),
        ),
        (false, _) => {
            (format!("게이트웨이 {others}로 들어오는 요청의 경로"), format!("the way of requests that come in through gateway {others}"))
        }
    };
    let host = |host: &str| {
        let (kind, name) = service_name(host, namespace);
        one(kind, &name, &ko, &en)
    };
    words(spec, "hosts").into_iter().map(host).collect()
}

fn destination_rule(spec: &Value, namespace: &str) -> Vec<AffectedView> {
    let (kind, name) = service_name(spec["host"].as_str().unwrap_or_default(), namespace);
    let subsets: Vec<&str> = spec["subsets"].as_array().into_iter().flatten().filter_map(|subset| subset["name"].as_str()).collect();
    let (mut ko, mut en) = (
        "이곳으로 가는 연결: 부하 분산, 연결 한도, 격리, TLS".to_owned(),
        "connections to it: load balancing, limits, ejection, TLS".to_owned(),
    );
    if !subsets.is_empty() {
        let list = subsets.join(", ");
        ko.push_str(&format!("; 서브셋 {list}"));
        en.push_str(&format!("; subsets {list}"));
    }
    vec![one(kind, &name, &ko, &en)]
}

fn hosts(spec: &Value, ko: &str, en: &str) -> Vec<AffectedView> {
    words(spec, "hosts").into_iter().map(|host| one("Host", host, ko, en)).collect()
}

fn labels_of(selector: &Value) -> Vec<(String, String)> {
    selector.as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn told(labels: &[(String, String)]) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// How many pods of the own cluster have the labels; `None` = that is not known.
fn count(world: Option<&World>, namespace: &str, labels: &[(String, String)]) -> Option<usize> {
    let world = world?;
    let fits = |pod: &smov_istio::core::Pod| labels.iter().all(|(key, value)| pod.labels.get(key).is_some_and(|found| found == value));
    Some(world.pods_of(world.own_cluster(), namespace).filter(|(_, pod)| fits(pod)).count())
}

fn gateway(spec: &Value, world: Option<&World>) -> Vec<AffectedView> {
    let labels = labels_of(&spec["selector"]);
    let servers: Vec<String> = spec["servers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|server| {
            format!(
                "{} {} ({})",
                server["port"]["protocol"].as_str().unwrap_or("?"),
                server["port"]["number"],
                words(server, "hosts").join(", ")
            )
        })
        .collect();
    let pods = count(world, ROOT, &labels);
    let number = |unknown: &str| pods.map_or_else(|| unknown.to_owned(), |pods| pods.to_string());
    let list = servers.join("; ");
    let ko = format!("이 레이블의 게이트웨이 파드({ROOT}에 {}개)가 여는 문: {list}", number("알 수 없음"));
    let en = format!("what gateway pods with these labels open ({} in {ROOT}): {list}", number("unknown"));
    vec![one("Gateway", &told(&labels), &ko, &en)]
}

fn pods(spec: &Value, namespace: &str, world: Option<&World>, ko: &str, en: &str) -> Vec<AffectedView> {
    let selector = ["selector", "workloadSelector"].into_iter().find(|field| spec[*field].is_object());
    let labels = selector.map(|field| {
        let inner = if spec[field]["matchLabels"].is_object() { "matchLabels" } else { "labels" };
        labels_of(&spec[field][inner])
    });
    match labels.filter(|labels| !labels.is_empty()) {
        Some(labels) => {
            let pods = count(world, namespace, &labels);
            let (count_ko, count_en) = match pods {
                Some(pods) => (format!("파드 {pods}개: "), format!("{pods} pods: ")),
                None => (String::new(), String::new()),
            };
            vec![one("Pods", &format!("{namespace} {}", told(&labels)), &format!("{count_ko}{ko}"), &format!("{count_en}{en}"))]
        }
        None if namespace == ROOT => vec![one("Mesh", "*", &format!("메시의 모든 파드: {ko}"), &format!("every pod of the mesh: {en}"))],
        None => {
            vec![one("Namespace", namespace, &format!("이 네임스페이스의 모든 파드: {ko}"), &format!("every pod of this namespace: {en}"))]
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(object: &Value) -> Vec<(String, String)> {
        affects(object, None).into_iter().map(|one| (one.kind, one.name)).collect()
    }

    #[test]
    fn every_kind_names_what_it_steers() {
        let object = |kind: &str, spec: Value| json!({ "kind": kind, "metadata": { "namespace": "n" }, "spec": spec });
        let pair = |kind: &str, name: &str| vec![(kind.to_owned(), name.to_owned())];
        assert_eq!(of(&object("VirtualService", json!({ "hosts": ["a"] }))), pair("Service", "a.n"));
        assert_eq!(of(&object("VirtualService", json!({ "hosts": ["a.m.svc.cluster.local"] }))), pair("Service", "a.m"));
        assert_eq!(of(&object("VirtualService", json!({ "hosts": ["*"] }))), pair("Host", "*"));
        assert_eq!(of(&object("DestinationRule", json!({ "host": "a" }))), pair("Service", "a.n"));
        assert_eq!(of(&object("ServiceEntry", json!({ "hosts": ["x.example"] }))), pair("Host", "x.example"));
        assert_eq!(of(&object("Gateway", json!({ "selector": { "istio": "gw" } }))), pair("Gateway", "istio=gw"));
        assert_eq!(of(&object("PeerAuthentication", json!({}))), pair("Namespace", "n"));
        let selected = json!({ "selector": { "matchLabels": { "app": "a" } } });
        assert_eq!(of(&object("AuthorizationPolicy", selected)), pair("Pods", "n app=a"));
        assert_eq!(of(&object("Sidecar", json!({ "workloadSelector": { "labels": { "app": "a" } } }))), pair("Pods", "n app=a"));
        let root = json!({ "kind": "Telemetry", "metadata": { "namespace": ROOT }, "spec": {} });
        assert_eq!(of(&root), pair("Mesh", "*"));
    }
}
