//! What happens to running containers: kills, crashes, probes, restarts of smov itself.

use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::bench::{Bench, STAYS, announcing, container, noting, pod, quick, status};
use crate::api::{LogOptions, LogSource as _};
use crate::controllers::fields::{is_ready, text};
use crate::kinds::{NODE, POD};
use crate::registry::WriteOptions;

fn kill(process: u32) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_killed_container_comes_back_with_count_and_last_state_while_the_other_stays() {
    let bench = Bench::start();
    bench.create(pod("p", &[announcing("app", &format!("echo $$$$ > $SMOV_ROOT/notes/app; {STAYS}")), container("istio-proxy", STAYS)]));
    let before = bench.pod_until("p", "it is ready", is_ready).await;
    let process: u32 = std::fs::read_to_string(bench.host_file("app")).unwrap().trim().parse().unwrap();
    kill(process);
    let after = bench.pod_until("p", "it is ready again", |pod| is_ready(pod) && status(pod, "app")["restartCount"] == 1).await;
    let last = &status(&after, "app")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["signal"], &last["reason"]), (&json!(137), &json!(9), &json!("Error")));
    assert_eq!(status(&after, "istio-proxy"), status(&before, "istio-proxy"));
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_container_that_keeps_failing_is_in_a_crash_loop() {
    let bench = Bench::start();
    bench.create(pod("p", &[container("app", "echo bad luck; exit 3")]));
    let looping = bench
        .pod_until("p", "it loops", |pod| {
            status(pod, "app")["state"]["waiting"]["reason"] == "CrashLoopBackOff" && status(pod, "app")["restartCount"].as_i64() >= Some(3)
        })
        .await;
    assert_eq!(status(&looping, "app")["lastState"]["terminated"]["exitCode"], 3);
    assert!(!is_ready(&looping));
    bench.event("BackOff Back-off restarting failed container app in pod p_shop(").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_not_restarted_ends_as_its_containers_ended() {
    let bench = Bench::start();
    for (name, script, phase) in [("good", "true", "Succeeded"), ("bad", "exit 4", "Failed")] {
        let mut manifest = pod(name, &[container("app", script)]);
        manifest["spec"]["restartPolicy"] = json!("Never");
        bench.create(manifest);
        let ended = bench.pod_until(name, "it has ended", |pod| text(pod, "/status/phase") == phase).await;
        assert!(!is_ready(&ended));
    }
    let (folder, registry) = bench.stop().await;
    let bench = Bench::again(folder, registry, quick());
    // A third pod shows that the second kubelet is at work; the first two stay as they ended.
    bench.create(pod("p", &[container("app", STAYS)]));
    bench.pod_until("p", "it is ready", is_ready).await;
    assert_eq!(text(&bench.pod("good").unwrap(), "/status/phase"), "Succeeded");
    assert_eq!(text(&bench.pod("bad").unwrap(), "/status/phase"), "Failed");
    bench.stop().await;
}

#[tokio::test]
async fn readiness_follows_its_probe_and_a_failing_liveness_restarts() {
    let bench = Bench::start();
    let mut app = noting("app", STAYS);
    app["readinessProbe"] = json!({"exec": {"command": ["test -f $SMOV_ROOT/notes/ready"]}, "periodSeconds": 1});
    app["livenessProbe"] = json!({"exec": {"command": ["test ! -f $SMOV_ROOT/notes/ill"]}, "periodSeconds": 1, "failureThreshold": 1});
    bench.create(pod("p", &[app]));
    let running = bench.pod_until("p", "it runs", |pod| status(pod, "app")["state"]["running"].is_object()).await;
    assert!(!is_ready(&running));
    std::fs::write(bench.host_file("ready"), "").unwrap();
    bench.pod_until("p", "it is ready", is_ready).await;
    std::fs::write(bench.host_file("ill"), "").unwrap();
    bench.pod_until("p", "it was restarted", |pod| status(pod, "app")["restartCount"].as_i64() >= Some(1)).await;
    std::fs::remove_file(bench.host_file("ill")).unwrap();
    bench.event("Killing Container app failed liveness probe, will be restarted").await;
    bench.event("Unhealthy Liveness probe failed").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_startup_probe_comes_before_the_others() {
    let bench = Bench::start();
    let mut app = noting("app", STAYS);
    app["startupProbe"] = json!({"exec": {"command": ["test -f $SMOV_ROOT/notes/started"]}});
    bench.create(pod("p", &[app]));
    let running = bench.pod_until("p", "it runs", |pod| status(pod, "app")["state"]["running"].is_object()).await;
    assert_eq!((&status(&running, "app")["started"], is_ready(&running)), (&json!(false), false));
    std::fs::write(bench.host_file("started"), "").unwrap();
    let ready = bench.pod_until("p", "it is ready", is_ready).await;
    assert_eq!(status(&ready, "app")["started"], true);
    bench.stop().await;
}

#[tokio::test]
async fn after_a_restart_of_smov_the_pod_is_the_same_and_its_containers_were_restarted() {
    let bench = Bench::start();
    bench.create(pod("p", &[container("app", STAYS)]));
    let before = bench.pod_until("p", "it is ready", is_ready).await;
    let (folder, registry) = bench.stop().await;
    assert_eq!(Bench::processes(folder.path()), Vec::<u32>::new(), "no process stays behind");
    let stopped = registry.find(&POD, "shop", "p").expect("shutting down keeps the object");
    assert!(!is_ready(&stopped));
    let bench = Bench::again(folder, registry, quick());
    let after = bench.pod_until("p", "it is ready again", is_ready).await;
    assert_eq!((&after["metadata"]["uid"], &after["status"]["podIP"]), (&before["metadata"]["uid"], &before["status"]["podIP"]));
    assert_eq!(status(&after, "app")["restartCount"], 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_pod_waits_for_a_node_that_fits_and_says_why() {
    let bench = Bench::start();
    let mut manifest = pod("p", &[container("app", STAYS)]);
    manifest["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    bench.create(manifest);
    let refused = |pod: &serde_json::Value| {
        crate::controllers::fields::condition(pod, "PodScheduled").is_some_and(|condition| condition["reason"] == "Unschedulable")
    };
    bench.pod_until("p", "it is refused", refused).await;
    bench.event("FailedScheduling 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.").await;
    let label = |node: &mut serde_json::Value| {
        node["metadata"]["labels"]["disk"] = json!("ssd");
        Ok(())
    };
    bench.registry.modify(&NODE, "", "node-1", &WriteOptions::default(), label).unwrap();
    bench.pod_until("p", "it is ready", is_ready).await;
    bench.stop().await;
}

#[tokio::test]
async fn logs_of_the_present_and_the_previous_run_can_be_read() {
    let bench = Bench::start();
    let script = "if [ -f $SMOV_ROOT/notes/again ]; then echo second; read line; fi; touch $SMOV_ROOT/notes/again; echo first; exit 1";
    bench.create(pod("p", &[noting("app", script)]));
    bench
        .pod_until("p", "the second run", |pod| {
            status(pod, "app")["restartCount"] == 1 && status(pod, "app")["state"]["running"].is_object()
        })
        .await;
    let follow =
        bench.logs.open("shop", "p", "app", LogOptions { follow: true, ..LogOptions::default() }).unwrap().next().await.unwrap().unwrap();
    assert_eq!(follow, "second\n");
    let previous = bench.logs.open("shop", "p", "app", LogOptions { previous: true, ..LogOptions::default() }).unwrap();
    let previous: Vec<_> = previous.map(Result::unwrap).collect().await;
    assert_eq!(previous.concat(), b"first\n");
    bench.stop().await;
}
