//! How pods end: in order, in time, or at once.

use serde_json::json;

use super::bench::{Bench, STAYS, announcing, container, pod, quick};
use crate::controllers::fields::{is_deleting, is_ready};
use crate::kinds::POD;
use crate::registry::DeleteOptions;

fn notes_when_asked(name: &str) -> String {
    format!(
        "trap 'echo {name} >> $SMOV_ROOT/notes/order; exit 0' TERM; echo up > $SMOV_ROOT/notes/{name}; while :; do read line || exit 0; done"
    )
}

#[tokio::test]
async fn a_deleted_pod_is_drained_then_its_app_ends_then_its_sidecar_then_the_object() {
    let bench = Bench::start();
    bench.create(pod("p", &[announcing("istio-proxy", &notes_when_asked("istio-proxy")), announcing("app", &notes_when_asked("app"))]));
    bench.pod_until("p", "it is ready", is_ready).await;
    bench.registry.delete(&POD, "shop", "p", &DeleteOptions::default()).unwrap();
    assert!(bench.pod("p").is_none_or(|pod| is_deleting(&pod)));
    bench.gone(&POD, "p").await;
    assert_eq!(std::fs::read_to_string(bench.host_file("order")).unwrap(), "app\nistio-proxy\n");
    assert_eq!(*bench.drained.0.lock().unwrap(), ["p"]);
    bench.event("Killing Stopping container app").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_pod_that_does_not_listen_is_killed_when_its_grace_is_over() {
    let bench = Bench::start();
    let mut manifest = pod("p", &[announcing("app", "trap '' TERM; echo up > $SMOV_ROOT/notes/app; while :; do read line; done")]);
    manifest["spec"]["terminationGracePeriodSeconds"] = json!(1);
    bench.create(manifest);
    bench.pod_until("p", "it is ready", is_ready).await;
    bench.registry.delete(&POD, "shop", "p", &DeleteOptions::default()).unwrap();
    bench.gone(&POD, "p").await;
    assert_eq!(Bench::processes(bench.folder.path()), Vec::<u32>::new());
    bench.stop().await;
}

#[tokio::test]
async fn force_removes_the_object_at_once_and_the_process_and_folders_follow() {
    let bench = Bench::start();
    bench.create(pod("p", &[container("app", "trap '' TERM; while :; do read line; done")]));
    let running = bench.pod_until("p", "it is ready", is_ready).await;
    bench.registry.delete(&POD, "shop", "p", &DeleteOptions::now()).unwrap();
    assert!(bench.pod("p").is_none());
    let (folder, registry) = bench.stop().await;
    assert_eq!(Bench::processes(folder.path()), Vec::<u32>::new());
    // Whether the first kubelet still had the time or the next one found it:
    let bench = Bench::again(folder, registry, quick());
    let (folder, _registry) = bench.stop().await;
    assert!(!folder.path().join("ctx1/pods").join(running["metadata"]["uid"].as_str().unwrap()).exists());
}

#[tokio::test]
async fn a_pre_stop_hook_runs_before_the_app_is_asked_to_end() {
    let bench = Bench::start();
    let mut app = announcing("app", &notes_when_asked("app"));
    app["lifecycle"] = json!({"preStop": {"exec": {"command": ["echo hook >> $SMOV_ROOT/notes/order"]}}});
    bench.create(pod("p", &[app]));
    bench.pod_until("p", "it is ready", is_ready).await;
    bench.registry.delete(&POD, "shop", "p", &DeleteOptions::default()).unwrap();
    bench.gone(&POD, "p").await;
    assert_eq!(std::fs::read_to_string(bench.host_file("order")).unwrap(), "hook\napp\n");
    bench.stop().await;
}

#[tokio::test]
async fn shutting_down_stops_every_process_and_keeps_the_objects() {
    let bench = Bench::start();
    for number in 0..3 {
        bench.create(pod(&format!("p{number}"), &[container("app", STAYS), container("istio-proxy", STAYS)]));
    }
    bench.until("all are ready", &POD, |bench| (bench.pods().iter().filter(|pod| is_ready(pod)).count() == 3).then_some(())).await;
    assert_eq!(Bench::processes(bench.folder.path()).len(), 6);
    let (folder, registry) = bench.stop().await;
    assert_eq!(Bench::processes(folder.path()), Vec::<u32>::new());
    assert_eq!(registry.list(&POD, Some("shop"), &crate::registry::Selector::default()).0.len(), 3);
}
