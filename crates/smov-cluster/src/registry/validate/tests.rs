use super::*;
use crate::kinds;

fn deployment() -> Value {
    let mut deployment = json!({
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "restartPolicy": "Always", "containers": [{ "name": "web", "image": "web" }] },
            },
        },
    });
    crate::registry::defaults::apply(&kinds::DEPLOYMENT, &mut deployment);
    deployment
}

fn fields(error: &ApiError) -> Vec<String> {
    let causes = error.details.as_ref().unwrap()["causes"].clone();
    causes.as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_plain_deployment_is_fine() {
    assert_eq!(object(&kinds::DEPLOYMENT, &deployment(), None), Ok(()));
}

#[test]
fn every_wrong_field_is_told_at_once() {
    let mut wrong = deployment();
    wrong["metadata"]["name"] = json!("Web");
    wrong["spec"]["replicas"] = json!(-1);
    wrong["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    wrong["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 70000, "protocol": "TCP" }]);
    let error = object(&kinds::DEPLOYMENT, &wrong, None).unwrap_err();
    assert_eq!(error.code, 422);
    assert_eq!(
        fields(&error),
        ["metadata.name", "spec.replicas", "spec.template.metadata.labels", "spec.template.spec.containers[0].ports[0].containerPort",]
    );
}

#[test]
fn a_selector_never_changes() {
    let mut new = deployment();
    new["spec"]["selector"]["matchLabels"]["app"] = json!("two");
    new["spec"]["template"]["metadata"]["labels"]["app"] = json!("two");
    let error = object(&kinds::DEPLOYMENT, &new, Some(&deployment())).unwrap_err();
    assert!(error.message.contains("spec.selector: Invalid value"), "{error}");
    assert!(error.message.contains("field is immutable"), "{error}");
}

#[test]
fn service_addresses_come_from_the_range_and_are_unique() {
    let network = ServiceNetwork { block: 7, thirds: vec![200] };
    let mut first = json!({ "metadata": { "name": "a" }, "spec": { "type": "ClusterIP" } });
    allocate_cluster_ip(&network, &mut first, [].iter()).unwrap();
    assert_eq!(first["spec"]["clusterIP"], "127.7.200.1");
    let first: Object = std::sync::Arc::new(first);
    let mut second = json!({ "metadata": { "name": "b" }, "spec": { "type": "ClusterIP" } });
    allocate_cluster_ip(&network, &mut second, [&first].into_iter()).unwrap();
    assert_eq!(second["spec"]["clusterIP"], "127.7.200.2");
    let mut outside = json!({ "metadata": { "name": "c" }, "spec": { "clusterIP": "10.0.0.1" } });
    assert!(allocate_cluster_ip(&network, &mut outside, [].iter()).is_err());
}
