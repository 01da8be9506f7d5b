//! Telemetry to what one proxy tells: scopes, sides, providers, filters.

use serde_json::{Value, json};
use smov_istio::compile::compile;
use smov_istio::validate::validate;
use smov_istio::world::{ProxyIdentity, Role, World};
use smov_model::snapshot::SnapshotVersion;
use smov_model::telemetry::{Encoding, Telemetry};

fn telemetry(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn told(objects: &[Value]) -> Telemetry {
    let cluster = "ctx1".parse().unwrap();
    let mut world = World::builder("ctx1".parse().unwrap()).build();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user-1", "namespace": "theater-msa", "labels": {"app": "user-service"}},
        "spec": {"containers": [{"name": "a"}, {"name": "istio-proxy"}]}, "status": {"podIP": "127.0.0.5"}});
    for object in objects.iter().chain([&pod]) {
        let applied = world.apply(&cluster, object);
        assert!(applied.diagnostics.iter().all(|finding| !finding.is_error()), "{:?}", applied.diagnostics);
    }
    let proxy = ProxyIdentity { cluster, namespace: "theater-msa".parse().unwrap(), pod: "user-1".into(), role: Role::Sidecar };
    compile(&world, &proxy, SnapshotVersion { epoch: 1, number: 1 }).snapshot.telemetry
}

fn mesh(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text}})
}

#[test]
fn without_any_one_percent_is_traced_and_everything_is_logged() {
    let told = told(&[]);
    assert_eq!(told, Telemetry::default());
    assert_eq!((told.client.sampling.millionths(), told.client.report_spans), (10_000, true));
}

#[test]
fn the_workload_overrules_the_namespace_and_that_the_mesh() {
    let share = |percent: f64| json!({"tracing": [{"randomSamplingPercentage": percent}]});
    let selecting = json!({"selector": {"matchLabels": {"app": "user-service"}}, "tracing": [{"randomSamplingPercentage": 5.0}]});
    let other = json!({"selector": {"matchLabels": {"app": "other"}}, "tracing": [{"randomSamplingPercentage": 7.0}]});
    let objects = [
        telemetry("istio-system", "mesh", &share(100.0)),
        telemetry("theater-msa", "here", &share(50.0)),
        telemetry("theater-msa", "other", &other),
        telemetry("theater-msa", "own", &selecting),
        telemetry("elsewhere", "there", &share(1.0)),
    ];
    let sampled = |count: usize| told(&objects[..count]).client.sampling.millionths();
    assert_eq!([sampled(1), sampled(2), sampled(3), sampled(5)], [1_000_000, 500_000, 500_000, 50_000]);
}

#[test]
fn sides_are_told_apart() {
    let spec = json!({
        "tracing": [{"match": {"mode": "SERVER"}, "disableSpanReporting": true}],
        "accessLogging": [{"match": {"mode": "CLIENT"}, "disabled": true}],
    });
    let told = told(&[telemetry("theater-msa", "sides", &spec)]);
    assert_eq!((told.client.report_spans, told.server.report_spans), (true, false));
    assert_eq!((told.client.access_log.is_some(), told.server.access_log.is_some()), (false, true));
}

#[test]
fn logs_are_filtered_and_their_form_is_the_providers() {
    let config =
        "accessLogFile: ''\nextensionProviders: [{name: as-json, envoyFileAccessLog: {path: /dev/stdout, logFormat: {labels: {}}}}]";
    assert_eq!(told(&[mesh(config)]).client.access_log, None);
    let spec = json!({"accessLogging": [{"providers": [{"name": "as-json"}], "filter": {"expression": "response.code >= 500"}}]});
    let log = told(&[mesh(config), telemetry("theater-msa", "log", &spec)]).client.access_log.unwrap();
    assert_eq!((log.encoding, log.filter.unwrap().to_string().as_str()), (Encoding::Json, "response.code >= 500"));
    let json = told(&[mesh("accessLogEncoding: JSON\ndefaultConfig: {tracing: {sampling: 100}}")]);
    assert_eq!((json.server.access_log.unwrap().encoding, json.server.sampling.millionths()), (Encoding::Json, 1_000_000));
}

#[test]
fn the_webhook_refuses_what_cannot_be() {
    let codes = |spec: &Value| {
        let findings = validate(&telemetry("n", "t", spec));
        findings.into_iter().filter(|finding| finding.is_error()).map(|finding| finding.path).collect::<Vec<_>>()
    };
    assert_eq!(codes(&json!({"tracing": [{"randomSamplingPercentage": 101}]})), ["spec.tracing[0].randomSamplingPercentage"]);
    assert_eq!(codes(&json!({"accessLogging": [{"providers": [{"name": ""}]}]})), ["spec.accessLogging[0].providers[0].name"]);
    assert_eq!(
        codes(&json!({"accessLogging": [{"filter": {"expression": "response.code >="}}]})),
        ["spec.accessLogging[0].filter.expression"]
    );
    assert!(codes(&json!({"accessLogging": [{"filter": {"expression": "response.code >= 400"}}]})).is_empty());
}
