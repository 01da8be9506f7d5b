//! What a container finds when it starts, and what keeps it from starting.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::bench::{Bench, STAYS, announcing, container, noting, pod, status};
use crate::controllers::fields::{annotation, is_ready, text};
use crate::kinds::POD;

/// Writes its environment down, and stays.
fn telling(name: &str) -> Value {
    announcing(name, &format!("env > $SMOV_ROOT/notes/{name}.tmp; mv $SMOV_ROOT/notes/{name}.tmp $SMOV_ROOT/notes/{name}; {STAYS}"))
}

async fn told(bench: &Bench, container: &str) -> BTreeMap<String, String> {
    bench.pod_until("p", "the pod is ready", is_ready).await;
    let file = bench.host_file(container);
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn a_program_of_ours_gets_no_variable_that_loads_other_code() {
    let bench = Bench::start();
    bench.create(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more", "namespace": "shop"}, "data": {"AUDIT": "x"}}),
    );
    let mut app = telling("app");
    app["env"] = json!([
        {"name": "LD_LIBRARY_PATH", "value": "/nowhere"},
        {"name": "DYLD_INSERT_LIBRARIES", "value": "x"},
        {"name": "GLIBC_TUNABLES", "value": "glibc.malloc.check=0"},
        {"name": "LDAP", "value": "kept"},
    ]);
    app["envFrom"] = json!([{"configMapRef": {"name": "more"}, "prefix": "LD_"}]);
    bench.create(pod("p", &[app]));
    let environment = told(&bench, "app").await;
    assert_eq!(environment["LDAP"], "kept");
    let names = ["DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES", "LD_AUDIT", "LD_LIBRARY_PATH"];
    assert!(names.iter().all(|name| !environment.contains_key(*name)), "{environment:?}");
    bench.event(&format!("ImageAdjusted container app runs without the variables {}", names.join(", "))).await;
    bench.stop().await;
}

#[tokio::test]
async fn app_and_sidecar_are_told_of_each_other() {
    let bench = Bench::start();
    let service = |name: &str, port: &str, number: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": name}, "ports": [{"name": port, "port": number}]}})
    };
    bench.create(service("redis", "tcp-redis", 6379));
    bench.create(service("user-service", "http", 8081));
    let mut app = telling("app");
    app["ports"] = json!([{"containerPort": 8081}]);
    app["env"] = json!([{"name": "STORE", "value": "redis://$(REDIS_SERVICE_HOST):$(REDIS_SERVICE_PORT)"}]);
    bench.create(pod("p", &[app, telling("istio-proxy")]));
    let app = told(&bench, "app").await;
    let pod = bench.pod("p").unwrap();
    let address = text(&pod, "/status/podIP");
    assert_eq!(app["HOSTNAME"], "p");
    assert_eq!(app["POD_IP"], address);
    assert_eq!(app["http_proxy"], format!("http://{address}:15001"));
    assert_eq!(app["STORE"], format!("redis://{address}:16000"));
    assert_eq!(app["SMOV_SEED"], "7");
    assert!(app["USER_SERVICE_SERVICE_HOST"].starts_with("127."));
    assert!(!app.contains_key("HOME") && !app.contains_key("SMOV_TCP_DOORS"), "nothing is inherited");
    assert_eq!(annotation(&pod, "smov.dev/tcp-doors"), Some("16000=redis.shop.svc.cluster.local:6379"));
    let sidecar = told(&bench, "istio-proxy").await;
    assert_eq!(sidecar["SMOV_TCP_DOORS"], "16000=redis.shop.svc.cluster.local:6379");
    assert_eq!(sidecar["SMOV_INBOUND"], format!("8081=unix:{}", app["SMOV_APP_SOCKET"]));
    assert_eq!(sidecar["SMOV_CLUSTER_ID"], "ctx1");
    assert_eq!(sidecar["SMOV_WORKLOAD_LABELS"], r#"{"app":"p"}"#);
    assert_eq!(std::fs::read_to_string(&sidecar["SMOV_TOKEN_FILE"]).unwrap(), "token-of-shop-default-p");
    assert!(std::fs::read_to_string(&app["KUBECONFIG"]).unwrap().contains("token-of-shop-default-p"));
    assert!(!sidecar.contains_key("http_proxy"));
    bench.stop().await;
}

#[tokio::test]
async fn a_config_map_is_waited_for_and_mounted_and_its_changes_arrive() {
    let bench = Bench::start();
    let mut app = telling("app");
    app["env"] = json!([{"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}}]);
    bench.create(pod("p", &[app]));
    bench
        .pod_until("p", "it waits for its settings", |pod| status(pod, "app")["state"]["waiting"]["reason"] == "CreateContainerConfigError")
        .await;
    let waiting = bench.pod("p").unwrap();
    assert_eq!(status(&waiting, "app")["state"]["waiting"]["message"], "configmap \"settings\" not found");
    bench.create(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": {"colour": "blue"}}),
    );
    assert_eq!(told(&bench, "app").await["COLOUR"], "blue");

    let mut reader = container("app", "until [ \"$(cat $SMOV_ROOT/etc/colour)\" = red ]; do :; done; exit 0");
    reader["volumeMounts"] = json!([{"name": "settings", "mountPath": "/etc"}]);
    let mut manifest = pod("reader", &[reader]);
    manifest["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    manifest["spec"]["restartPolicy"] = json!("Never");
    bench.create(manifest);
    bench.pod_until("reader", "it runs", |pod| text(pod, "/status/phase") == "Running").await;
    let change = |map: &mut Value| {
        map["data"]["colour"] = json!("red");
        Ok(())
    };
    bench.registry.modify(&crate::kinds::CONFIG_MAP, "shop", "settings", &crate::registry::WriteOptions::default(), change).unwrap();
    bench.pod_until("reader", "it saw the change", |pod| text(pod, "/status/phase") == "Succeeded").await;
    bench.stop().await;
}

#[tokio::test]
async fn an_unknown_image_is_told_in_status_and_events() {
    let bench = Bench::start();
    for (name, policy, reason) in [("p", "IfNotPresent", "ImagePullBackOff"), ("q", "Never", "ErrImageNeverPull")] {
        let mut app = container("app", STAYS);
        (app["image"], app["imagePullPolicy"]) = (json!("nobody/knows:1"), json!(policy));
        bench.create(pod(name, &[app]));
        let waiting = bench.pod_until(name, "it waits", |pod| status(pod, "app")["state"]["waiting"]["reason"] == reason).await;
        assert_eq!(text(&waiting, "/status/phase"), "Pending");
    }
    bench.event("Failed Error: Back-off pulling image \"nobody/knows:1\"").await;
    bench.stop().await;
}

#[tokio::test]
async fn init_containers_run_one_after_the_other_before_the_rest() {
    let bench = Bench::start();
    let note = |name: &str| noting(name, &format!("echo {name} >> $SMOV_ROOT/notes/order"));
    let mut manifest =
        pod("p", &[announcing("app", &format!("echo app >> $SMOV_ROOT/notes/order; echo up > $SMOV_ROOT/notes/app; {STAYS}"))]);
    manifest["spec"]["initContainers"] = json!([note("one"), note("two")]);
    bench.create(manifest);
    let ready = bench.pod_until("p", "it is ready", is_ready).await;
    assert_eq!(status(&ready, "two")["state"]["terminated"]["reason"], "Completed");
    assert_eq!(std::fs::read_to_string(bench.host_file("order")).unwrap(), "one\ntwo\napp\n");
    bench.stop().await;
}

#[tokio::test]
async fn sixteen_pods_start_together_without_fixed_waits() {
    let bench = Bench::start();
    let begun = std::time::Instant::now();
    for number in 0..16 {
        bench.create(pod(&format!("p{number}"), &[container("app", STAYS)]));
    }
    bench.until("all are ready", &POD, |bench| (bench.pods().iter().filter(|pod| is_ready(pod)).count() == 16).then_some(())).await;
    // Far above what an idle machine needs (some 100 ms); a fixed sleep per pod would show.
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    bench.stop().await;
}
