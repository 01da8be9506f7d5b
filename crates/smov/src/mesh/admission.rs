//! What a cluster with Istio does to objects on their way in: sidecars are injected, Istio's kinds are validated.

use serde_json::{Value, json};
use smov_cluster::admission::{Admission, AdmissionRequest, Operation};
use smov_cluster::error::ApiError;
use smov_cluster::kinds::{self, Kind};
use smov_istio::diagnostic::Severity;
use smov_istio::resource::IstioKind;

/// The admission plugins of both local clusters.
pub(crate) struct MeshAdmission;

/// The image of an injected sidecar, as Istio names it.
pub(crate) const PROXY_IMAGE: &str = "docker.io/istio/proxyv2:smov";

impl Admission for MeshAdmission {
    fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), ApiError> {
        if request.kind.kind == "Pod" && request.operation == Operation::Create && wants_sidecar(request, object) {
            inject(object);
        }
        Ok(())
    }

    fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<Vec<String>, ApiError> {
        if !is_istio(request.kind) || request.operation == Operation::Delete {
            return Ok(Vec::new());
        }
        let findings = smov_istio::validate::validate(object);
        let errors: Vec<String> = findings.iter().filter(|finding| finding.severity == Severity::Error).map(sentence).collect();
        if !errors.is_empty() {
            // As kubectl shows a refusal by Istio's webhook.
            return Err(ApiError::bad_request(format!(
                "admission webhook \"validation.istio.io\" denied the request: configuration is invalid: {}",
                errors.join("; ")
            )));
        }
        // Istio's webhook warns of ineffective matches too, which its analyzer calls information.
        Ok(findings.iter().filter(|finding| finding.severity != Severity::Error).map(sentence).collect())
    }

    fn schema(&self, kind: &Kind) -> Option<Value> {
        IstioKind::by_name(kind.kind).filter(|_| is_istio(kind)).map(smov_istio::schema::open_api)
    }
}

fn is_istio(kind: &Kind) -> bool {
    kind.group.ends_with(".istio.io")
}

/// Istio's English and one Korean sentence, with the field in front.
fn sentence(finding: &smov_istio::diagnostic::Diagnostic) -> String {
    let place = if finding.path.is_empty() { String::new() } else { format!("{}: ", finding.path) };
    format!("{place}{} ({})", finding.message, finding.message_ko)
}

/// Istio's rule: the namespace's label, overruled by the pod's (<https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/>).
fn wants_sidecar(request: &AdmissionRequest<'_>, pod: &Value) -> bool {
    let own = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    let asked = own("/metadata/labels/sidecar.istio.io~1inject").or_else(|| own("/metadata/annotations/sidecar.istio.io~1inject"));
    if asked == Some("false") || pod["spec"]["hostNetwork"] == true || has_proxy(pod) {
        return false;
    }
    let namespace = kinds::by_kind("Namespace").and_then(|kind| request.registry.find(kind, "", request.namespace));
    let label = namespace.as_ref().and_then(|namespace| namespace.pointer("/metadata/labels/istio-injection")).and_then(Value::as_str);
    match label {
        Some("enabled") => true,
        Some("disabled") => false,
        _ => asked == Some("true"),
    }
}

fn has_proxy(pod: &Value) -> bool {
    pod["spec"]["containers"].as_array().is_some_and(|containers| containers.iter().any(|container| container["name"] == "istio-proxy"))
}

/// As Istio's injector: the pod's own `prometheus.io/...` annotations are told to the sidecar, which has the app's metrics and its own on
/// one page, and the pod's annotations lead there (<https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging>).
fn merge_metrics(pod: &mut Value, sidecar: &mut Value) {
    let annotations = &mut pod["metadata"]["annotations"];
    let own = |name: &str| annotations[format!("prometheus.io/{name}")].as_str().map(str::to_owned);
    if own("scrape").as_deref() == Some("false") || annotations["prometheus.istio.io/merge-metrics"] == "false" {
        return;
    }
    if own("scrape").is_some() {
        let told: serde_json::Map<String, Value> =
            ["scrape", "path", "port"].into_iter().filter_map(|name| Some((name.to_owned(), own(name)?.into()))).collect();
        sidecar["env"] = json!([{"name": "ISTIO_PROMETHEUS_ANNOTATIONS", "value": Value::from(told).to_string()}]);
    }
    for (name, value) in [("scrape", "true"), ("port", "15020"), ("path", "/stats/prometheus")] {
        annotations[format!("prometheus.io/{name}")] = value.into();
    }
}

fn inject(pod: &mut Value) {
    let mut sidecar = json!({
        "name": "istio-proxy",
        "image": PROXY_IMAGE,
        "args": ["proxy", "sidecar"],
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}, "periodSeconds": 15, "timeoutSeconds": 3, "failureThreshold": 4, "successThreshold": 1}
    });
    merge_metrics(pod, &mut sidecar);
    if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
        containers.push(sidecar);
    }
    pod["metadata"]["annotations"]["sidecar.istio.io/status"] = Value::from(r#"{"containers":["istio-proxy"],"revision":"default"}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_metrics_are_merged_with_its_sidecars() {
        let mut pod = json!({"metadata": {"annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8081"}}, "spec": {"containers": []}});
        inject(&mut pod);
        let annotations = &pod["metadata"]["annotations"];
        assert_eq!(
            (&annotations["prometheus.io/port"], &annotations["prometheus.io/path"]),
            (&json!("15020"), &json!("/stats/prometheus"))
        );
        let told = pod.pointer("/spec/containers/0/env/0/value").and_then(Value::as_str).unwrap();
        assert_eq!(serde_json::from_str::<Value>(told).unwrap(), json!({"scrape": "true", "port": "8081"}));
        let mut quiet = json!({"metadata": {"annotations": {"prometheus.io/scrape": "false"}}, "spec": {"containers": []}});
        inject(&mut quiet);
        assert!(quiet["metadata"]["annotations"].get("prometheus.io/port").is_none());
        let mut plain = json!({"metadata": {}, "spec": {"containers": []}});
        inject(&mut plain);
        assert_eq!(plain["metadata"]["annotations"]["prometheus.io/scrape"], "true");
        assert!(plain.pointer("/spec/containers/0/env").is_none());
    }
}
