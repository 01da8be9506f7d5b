//! Programs that are not ours: what they are told, how they end, and what is said when they do not do as they must.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::bench::{Bench, announcing, noting, pod, status};
use crate::controllers::fields::{is_ready, text};
use crate::kinds::POD;

/// Image `own` runs the command as it stands.
fn own(name: &str, command: &[&str]) -> Value {
    let mut container = noting(name, "");
    (container["image"], container["command"]) = (json!("own"), json!(command));
    container
}

/// Until it is told to end. Unlike our own programs these have no standard input to wait for.
const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.01; done";

fn shell(name: &str, script: &str) -> Value {
    own(name, &["/bin/sh", "-c", script])
}

fn never(name: &str, containers: &[Value]) -> Value {
    let mut pod = pod(name, containers);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

fn environment(bench: &Bench, file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(bench.host_file(file)).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn behind_a_sidecar_it_gets_a_port_of_its_own_on_the_loopback() {
    let bench = Bench::start();
    let tells = |name: &str| format!("env > $SMOV_ROOT/notes/{name}.tmp; mv $SMOV_ROOT/notes/{name}.tmp $SMOV_ROOT/notes/{name}; {STAYS}");
    let mut app = shell("app", &tells("app"));
    app["ports"] = json!([{"containerPort": 8080}, {"containerPort": 9090}]);
    app["env"] = json!([{"name": "PORT", "value": "9090"}, {"name": "URL", "value": "http://$(HOST)/"}]);
    app["stdin"] = json!(true);
    let mut proxy = announcing("istio-proxy", &tells("istio-proxy"));
    proxy["readinessProbe"] =
        json!({"exec": {"command": ["test -s $SMOV_ROOT/notes/istio-proxy -a -s $SMOV_ROOT/notes/app"]}, "timeoutSeconds": 10});
    bench.create(pod("p", &[app, proxy]));
    bench.pod_until("p", "it is ready", is_ready).await;
    let (app, sidecar) = (environment(&bench, "app"), environment(&bench, "istio-proxy"));
    let (first, second) = (&app["PORT_8080"], &app["PORT_9090"]);
    assert_ne!(first, second);
    assert_eq!((&app["PORT"], app["HOST"].as_str()), (second, "127.0.0.1"), "what the manifest means by 9090 is elsewhere here");
    assert_eq!(app["URL"], "http://127.0.0.1/");
    assert_eq!(sidecar["SMOV_INBOUND"], format!("8080=127.0.0.1:{first},9090=127.0.0.1:{second}"));
    assert!(app["HOME"].ends_with("/work/app") && !app.contains_key("SMOV_APP_SOCKET"));
    assert_eq!(app["SMOV_OUTBOUND"], app["http_proxy"]);
    assert!(!sidecar.contains_key("PORT"));
    bench.stop().await;
}

#[tokio::test]
async fn without_a_sidecar_it_listens_on_the_address_of_its_pod() {
    let bench = Bench::start();
    let mut app = shell("app", "echo $HOST:$PORT > $SMOV_ROOT/notes/place");
    app["ports"] = json!([{"containerPort": 8080}]);
    bench.create(never("p", &[app]));
    let ended = bench.pod_until("p", "it ends", |pod| text(pod, "/status/phase") == "Succeeded").await;
    let place = std::fs::read_to_string(bench.host_file("place")).unwrap();
    assert_eq!(place.trim(), format!("{}:8080", text(&ended, "/status/podIP")));
    bench.stop().await;
}

#[tokio::test]
async fn paths_of_mounts_and_the_working_dir_are_found_where_they_are() {
    let bench = Bench::start();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code", "namespace": "shop"}, "data": {"run.sh": "cat beside; pwd"}});
    bench.create(map);
    let mut app = own("app", &["/bin/sh", "/app/run.sh"]);
    app["workingDir"] = json!("/data");
    app["volumeMounts"] = json!([{"name": "code", "mountPath": "/app"}, {"name": "notes", "mountPath": "/data"}]);
    std::fs::create_dir_all(bench.host_file("")).unwrap();
    std::fs::write(bench.host_file("beside"), "found\n").unwrap();
    let mut manifest = never("p", &[app]);
    manifest["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "code", "configMap": {"name": "code"}}));
    manifest["spec"]["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    bench.create(manifest);
    bench.pod_until("p", "it ends", |pod| text(pod, "/status/phase") == "Succeeded").await;
    let said = bench.log("p", "app").await;
    assert!(said.starts_with("found\n") && said.trim_end().ends_with("/notes"), "{said}");
    bench.stop().await;
}

#[tokio::test]
async fn an_end_is_told_with_its_code_its_signal_and_its_message() {
    let bench = Bench::start();
    let mut fails = shell("app", "echo it broke; exit 3");
    fails["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    bench.create(never("fails", &[fails]));
    bench.create(never("says", &[shell("app", "printf why > $SMOV_ROOT/dev/termination-log; exit 4")]));
    bench.create(never("killed", &[shell("app", "kill -9 $$$$")]));
    bench.create(never("well", &[shell("app", "echo fine")]));
    for (name, code, reason, message) in [
        ("fails", 3, "Error", Some("it broke\n")),
        ("says", 4, "Error", Some("why")),
        ("killed", 137, "Error", None),
        ("well", 0, "Completed", None),
    ] {
        let ended = bench.pod_until(name, "it ends", |pod| matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")).await;
        let told = &status(&ended, "app")["state"]["terminated"];
        assert_eq!(
            (told["exitCode"].as_i64(), told["reason"].as_str(), told["message"].as_str()),
            (Some(code), Some(reason), message),
            "{name}"
        );
        assert_eq!(told["signal"].as_i64(), (name == "killed").then_some(9));
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_before_anything_runs() {
    let bench = Bench::start();
    bench.create(pod("p", &[own("app", &["no-such-program"])]));
    let waiting = bench.pod_until("p", "it waits", |pod| status(pod, "app")["state"]["waiting"]["reason"] == "RunContainerError").await;
    let message = status(&waiting, "app")["state"]["waiting"]["message"].as_str().unwrap();
    assert_eq!(message, "failed to start container process: exec: \"no-such-program\": executable file not found in $PATH");
    bench.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_explained() {
    let bench = Bench::start();
    let mut app = shell("app", "echo 'OSError: [Errno 98] Address already in use' >&2; exit 1");
    app["ports"] = json!([{"containerPort": 8080}]);
    bench.create(never("p", &[app, noting("istio-proxy", STAYS)]));
    bench.event("AddressTaken container app wanted an address that is taken").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_post_start_hook_comes_before_ready_and_its_failure_starts_the_container_again() {
    let bench = Bench::start();
    let mut app = shell("app", STAYS);
    app["lifecycle"] =
        json!({"postStart": {"exec": {"command": ["/bin/sh", "-c", "test -f $SMOV_ROOT/notes/allowed || { echo not yet; exit 1; }"]}}});
    bench.create(pod("p", &[app]));
    bench.event("FailedPostStartHook PostStartHook failed: not yet").await;
    bench.pod_until("p", "it was started again", |pod| status(pod, "app")["restartCount"].as_i64() >= Some(1)).await;
    assert!(!is_ready(&bench.pod("p").unwrap()));
    std::fs::write(bench.host_file("allowed"), "").unwrap();
    bench.pod_until("p", "it is ready", is_ready).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_liveness_restart_runs_the_pre_stop_hook_first() {
    let bench = Bench::start();
    let mut app = shell("app", "trap 'echo end >> $SMOV_ROOT/notes/order; exit 0' TERM; while :; do sleep 0.01; done");
    app["livenessProbe"] = json!({"exec": {"command": ["/bin/sh", "-c", "test -f $SMOV_ROOT/notes/order"]}, "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 1});
    app["lifecycle"] = json!({"preStop": {"exec": {"command": ["/bin/sh", "-c", "echo hook >> $SMOV_ROOT/notes/order"]}}});
    bench.create(pod("p", &[app]));
    bench.until("it was started again", &POD, |bench| bench.pod("p").filter(|pod| status(pod, "app")["restartCount"] == 1)).await;
    assert_eq!(std::fs::read_to_string(bench.host_file("order")).unwrap(), "hook\nend\n");
    bench.stop().await;
}

/// Starts something in a session of its own, which notes its number, and goes on itself.
fn with_stray(then: &str) -> String {
    format!(
        "setsid sh -c 'echo $$$$ >> $SMOV_ROOT/notes/strays; exec sleep 1000' & while ! test -s $SMOV_ROOT/notes/strays; do sleep 0.01; done; {then}"
    )
}

fn is_alive(process: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", process.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn what_left_its_group_ends_with_its_container_and_its_pod() {
    let bench = Bench::start();
    let mut app = shell("app", &with_stray(STAYS));
    app["readinessProbe"] = json!({"exec": {"command": ["/bin/sh", "-c", "test -s $SMOV_ROOT/notes/strays"]}, "timeoutSeconds": 10});
    bench.create(pod("stays", &[app]));
    let strays = || std::fs::read_to_string(bench.host_file("strays")).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    bench.pod_until("stays", "it is ready", is_ready).await;
    let first = strays();
    assert!(first.len() == 1 && is_alive(&first[0]), "{first:?}");
    bench.registry.delete(&POD, "shop", "stays", &crate::registry::DeleteOptions::default()).unwrap();
    bench.gone(&POD, "stays").await;
    assert!(!is_alive(&first[0]), "its pod is gone");

    std::fs::remove_file(bench.host_file("strays")).unwrap();
    bench.create(never("ends", &[shell("app", &with_stray("exit 0"))]));
    bench.pod_until("ends", "it has ended", |pod| text(pod, "/status/phase") == "Succeeded").await;
    assert!(!is_alive(&strays()[0]), "its container has ended");
    bench.stop().await;
}
