//! Unknown fields, wrong types, fields that are not executed.

use serde_json::{Value, json};
use smov_istio::diagnostic::Severity;
use smov_istio::schema::{NOT_EXECUTED, prune, unknown_fields};
use smov_istio::validate::{validate, validate_strictly};

fn virtual_service(spec: &Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v", "namespace": "n"}, "spec": spec})
}

#[test]
fn a_misspelt_field_is_named_with_its_path_and_its_neighbour() {
    let mut object = virtual_service(&json!({"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}, "weigth": 70}]}]}));
    let findings = validate_strictly(&object);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].message, "unknown field \"spec.http[0].route[0].weigth\"");
    assert_eq!(findings[0].help, "did you mean `weight`?");
    assert_eq!(findings[0].help_ko, "혹시 `weight`인가요?");
    assert_eq!(unknown_fields("VirtualService", &object), ["spec.http[0].route[0].weigth"]);
    assert!(validate(&object).is_empty());
    prune(&mut object);
    assert!(unknown_fields("VirtualService", &object).is_empty());
}

#[test]
fn all_wrong_types_are_found_at_once() {
    let object = virtual_service(&json!({"hosts": "a", "http": [{"timeout": 3, "route": [{"destination": {"host": 1}, "weight": "70"}]}]}));
    let paths: Vec<String> = validate(&object).into_iter().map(|finding| finding.path).collect();
    assert_eq!(paths, ["spec.hosts", "spec.http[0].timeout", "spec.http[0].route[0].destination.host", "spec.http[0].route[0].weight"]);
}

#[test]
fn what_is_not_executed_says_so_once_per_field() {
    let object = virtual_service(&json!({"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}],
        "retries": {"attempts": 1, "retryRemoteLocalities": true}}],
        "tls": [{"match": [{"sniHosts": ["a"]}], "route": [{"destination": {"host": "a"}}]}]}));
    let findings = validate(&object);
    assert!(findings.iter().all(|finding| finding.code == NOT_EXECUTED && finding.severity == Severity::Warning), "{findings:?}");
    let paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["spec.http[0].retries.retryRemoteLocalities", "spec.tls"]);
}

#[test]
fn all_versions_are_ours_and_other_groups_are_not() {
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let mut object = virtual_service(&json!({}));
        object["apiVersion"] = json!(format!("networking.istio.io/{version}"));
        assert!(!validate(&object).is_empty());
    }
    for version in ["security.istio.io/v1", "security.istio.io/v1beta1"] {
        let policy = json!({"apiVersion": version, "kind": "RequestAuthentication", "metadata": {"name": "deny-all"}});
        let findings = validate_strictly(&policy);
        assert_eq!(
            findings.iter().map(|finding| (finding.code.as_ref(), finding.path.as_str())).collect::<Vec<_>>(),
            [(NOT_EXECUTED, "spec")]
        );
    }
    let misspelt = json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "p"},
        "spec": {"mtls": {"mode": "STRICK"}, "selektor": {}}});
    let paths: Vec<String> = validate_strictly(&misspelt).into_iter().map(|finding| finding.path).collect();
    assert_eq!(paths, ["spec.mtls.mode", "spec.selektor"]);
    let other = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g"}, "spec": {"x": 1}});
    assert!(validate_strictly(&other).is_empty());
}
