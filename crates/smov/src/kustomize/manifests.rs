//! Every overlay of `k8s/` against the types of Kubernetes and Istio, and against what a production cluster asks of a workload.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::Deployment, core::v1 as core, policy::v1::PodDisruptionBudget, rbac::v1 as rbac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

/// All overlays, from the sources: one of them uses the page's files, which lie beside `k8s/`.
fn overlays() -> Vec<(String, Vec<Value>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/overlays");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        folders.extend(std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
        if folder.join("kustomization.yaml").is_file() {
            let name = folder.strip_prefix(&root).unwrap().display().to_string();
            found.push((name, build(&Disk, &folder).unwrap()));
        }
    }
    assert!(found.len() >= 10, "{}", found.len());
    found
}

/// Through the type and back. What the type does not know is lost on the way; what it needs and was not there comes back as an empty value.
fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

fn checked(object: &Value) -> Result<(), String> {
    let kind = object["kind"].as_str().unwrap();
    let typed = match kind {
        "Namespace" => through::<core::Namespace>(object),
        "ServiceAccount" => through::<core::ServiceAccount>(object),
        "Service" => through::<core::Service>(object),
        "ConfigMap" => through::<core::ConfigMap>(object),
        "PersistentVolumeClaim" => through::<core::PersistentVolumeClaim>(object),
        "Deployment" => through::<Deployment>(object),
        "PodDisruptionBudget" => through::<PodDisruptionBudget>(object),
        "ClusterRole" => through::<rbac::ClusterRole>(object),
        "ClusterRoleBinding" => through::<rbac::ClusterRoleBinding>(object),
        "Role" => through::<rbac::Role>(object),
        "RoleBinding" => through::<rbac::RoleBinding>(object),
        "VirtualService" | "DestinationRule" | "Gateway" => {
            let findings = smov_istio::validate::validate_strictly(object);
            return if findings.is_empty() { Ok(()) } else { Err(format!("{findings:?}")) };
        }
        other => return Err(format!("no type for {other}")),
    };
    if typed == *object { Ok(()) } else { Err(format!("not as its type has it:\n{object:#}\n{typed:#}")) }
}

#[test]
fn every_object_of_every_overlay_is_what_its_type_says() {
    for (overlay, objects) in overlays() {
        for object in objects {
            checked(&object).unwrap_or_else(|why| panic!("{overlay}: {}/{}: {why}", object["kind"], object["metadata"]["name"]));
        }
    }
}

#[test]
fn a_wrong_field_and_a_missing_one_would_be_found() {
    let (_, objects) = overlays().into_iter().find(|(name, _)| name == "two-clusters/ctx1").unwrap();
    let good = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let mut misspelt = good.clone();
    misspelt["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = serde_json::json!({});
    let mut nameless = good.clone();
    nameless["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("name");
    assert!(checked(good).is_ok() && checked(&misspelt).is_err() && checked(&nameless).is_err());
}

/// What the `restricted` Pod Security Standard asks, and what keeps a pod alive and replaceable.
#[test]
fn every_workload_is_fit_for_a_real_cluster() {
    for (overlay, objects) in overlays() {
        let budgets: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "PodDisruptionBudget")
            .map(|object| &object["spec"]["selector"]["matchLabels"])
            .collect();
        for deployment in objects.iter().filter(|object| object["kind"] == "Deployment") {
            let name = deployment["metadata"]["name"].as_str().unwrap();
            let pod = &deployment["spec"]["template"]["spec"];
            let place = format!("{overlay}: {name}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{place}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{place}");
            assert!(pod["securityContext"]["runAsUser"].as_u64().is_some_and(|user| user > 0), "{place}");
            for container in pod["containers"].as_array().unwrap() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{place}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{place}");
                assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{place}");
                for field in ["readinessProbe", "livenessProbe"] {
                    assert!(container[field].is_object(), "{place}: {field}");
                }
                for amount in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"] {
                    assert!(container.pointer(amount).is_some(), "{place}: {amount}");
                }
            }
            if name != "redis" {
                assert!(budgets.contains(&&deployment["spec"]["selector"]["matchLabels"]), "{place}: a budget of its own");
            }
            let asks_the_api = name == "api-gateway";
            assert_eq!(pod["automountServiceAccountToken"] != false, asks_the_api, "{place}");
            assert_eq!(container_ends_gracefully(pod), !overlay.starts_with("local-") && name != "redis", "{place}");
        }
    }
}

fn container_ends_gracefully(pod: &Value) -> bool {
    let pause = pod.pointer("/containers/0/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64);
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    pause.is_some_and(|pause| grace.is_some_and(|grace| pause + 30 <= grace))
}

#[test]
fn only_console_write_may_change_anything_and_nobody_reads_secrets() {
    let reading: BTreeSet<&str> = ["get", "list", "watch"].into();
    for (overlay, objects) in overlays() {
        for role in objects.iter().filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole"))) {
            for rule in role["rules"].as_array().unwrap() {
                let texts =
                    |field: &str| rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect::<BTreeSet<_>>();
                assert!(texts("resources").is_disjoint(&["*", "secrets"].into()), "{overlay}: {rule}");
                if role["metadata"]["name"] == "theater-msa-history" {
                    // The one ConfigMap that is read and written, in the one overlay that writes.
                    assert!(overlay.starts_with("console-write") && role["kind"] == "Role", "{overlay}");
                    assert_eq!(texts("resources"), ["configmaps"].into(), "{overlay}");
                    let named = rule["resourceNames"] == serde_json::json!(["smov-history"]);
                    assert!(named || texts("verbs") == ["create"].into(), "{overlay}: {rule}");
                    continue;
                }
                if texts("resources").contains("configmaps") {
                    // Those that the page writes itself, by name; a new one cannot be named.
                    let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
                    assert!(overlay.starts_with("console-write") && (named || texts("verbs") == ["create"].into()), "{overlay}: {rule}");
                }
                if role["metadata"]["name"] == "theater-msa-writer" {
                    assert!(overlay.starts_with("console-write") && role["kind"] == "Role", "{overlay}");
                } else {
                    assert!(texts("verbs").is_subset(&reading), "{overlay}: {rule}");
                }
            }
        }
    }
}

#[test]
fn the_reader_may_read_all_that_the_page_shows() {
    for (overlay, objects) in overlays() {
        let reader =
            objects.iter().find(|object| object["metadata"]["name"] == "theater-msa-reader" && object["kind"] == "ClusterRole").unwrap();
        let rules = reader["rules"].as_array().unwrap();
        for kind in crate::console::feed::kinds() {
            // /api/v1/pods, /apis/networking.istio.io/v1/gateways
            let path = kind.path("istio-system");
            let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            let (group, plural) = if parts[0] == "api" { ("", parts[2]) } else { (parts[1], parts[3]) };
            let holds = |list: &Value, wanted: &str| list.as_array().unwrap().iter().any(|text| text == wanted);
            let allowed = rules.iter().any(|rule| {
                holds(&rule["apiGroups"], group)
                    && holds(&rule["resources"], plural)
                    && ["list", "watch"].iter().all(|verb| holds(&rule["verbs"], verb))
            });
            assert!(allowed, "{overlay}: the reader lacks {group}/{plural}");
        }
    }
}
