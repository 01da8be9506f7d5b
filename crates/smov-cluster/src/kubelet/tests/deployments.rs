//! From a Deployment to ready pods, and back.

use serde_json::json;

use super::bench::{Bench, STAYS, container, deployment, status};
use crate::controllers::fields::{is_deleting, is_ready, items, name, number, text};
use crate::kinds::{DEPLOYMENT, ENDPOINT_SLICE, POD, REPLICA_SET};
use crate::registry::{DeleteOptions, Propagation, Selector, WriteOptions};

async fn rolled_out(bench: &Bench, replicas: i64) {
    bench
        .until("the rollout is complete", &DEPLOYMENT, |bench| {
            let deployment = bench.registry.find(&DEPLOYMENT, "shop", "web")?;
            let all = ["/status/replicas", "/status/updatedReplicas", "/status/availableReplicas"];
            let observed = number(&deployment, "/status/observedGeneration") == number(&deployment, "/metadata/generation");
            (observed && all.iter().all(|count| number(&deployment, count).unwrap_or(0) == replicas)).then_some(())
        })
        .await;
}

fn scale(bench: &Bench, replicas: u32) {
    let change = |deployment: &mut serde_json::Value| {
        deployment["spec"]["replicas"] = json!(replicas);
        Ok(())
    };
    bench.registry.modify(&DEPLOYMENT, "shop", "web", &WriteOptions::default(), change).unwrap();
}

#[tokio::test]
async fn a_deployment_becomes_ready_pods_with_kubernetes_names() {
    let bench = Bench::start();
    bench.create(deployment("web", 2, STAYS));
    rolled_out(&bench, 2).await;
    let set = bench.all(&REPLICA_SET).pop().unwrap();
    let hash = name(&set).strip_prefix("web-").unwrap().to_owned();
    for pod in bench.pods() {
        let suffix = name(&pod).strip_prefix(&format!("web-{hash}-")).unwrap();
        assert!(suffix.len() == 5 && suffix.bytes().all(|letter| b"bcdfghjklmnpqrstvwxz2456789".contains(&letter)), "{suffix}");
        assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], hash.as_str());
        assert_eq!((text(&pod, "/status/phase"), is_ready(&pod)), ("Running", true));
        assert!(text(&pod, "/status/podIP").starts_with("127.77.1."));
        assert_eq!((status(&pod, "app")["restartCount"].as_i64(), &status(&pod, "app")["started"]), (Some(0), &json!(true)));
    }
    for reason in [
        "ScalingReplicaSet Scaled up",
        "SuccessfulCreate Created pod",
        "Scheduled Successfully assigned shop/web-",
        "Started Started container app",
    ] {
        bench.event(reason).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn scaling_up_and_down_changes_the_number_of_pods() {
    let bench = Bench::start();
    bench.create(deployment("web", 1, STAYS));
    rolled_out(&bench, 1).await;
    scale(&bench, 4);
    rolled_out(&bench, 4).await;
    scale(&bench, 0);
    bench.until("all pods are gone", &POD, |bench| bench.pods().is_empty().then_some(())).await;
    assert_eq!(Bench::processes(bench.folder.path()), Vec::<u32>::new());
    bench.stop().await;
}

#[tokio::test]
async fn a_rolling_update_never_has_fewer_ready_pods_than_wished_for() {
    let bench = Bench::start();
    bench.create(deployment("web", 3, STAYS));
    rolled_out(&bench, 3).await;
    let mut watch = bench.registry.watch(&POD, Some("shop"), Selector::default(), None).unwrap();
    let first = bench.all(&REPLICA_SET).pop().unwrap();
    let restart = |deployment: &mut serde_json::Value| {
        deployment["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!("now");
        Ok(())
    };
    bench.registry.modify(&DEPLOYMENT, "shop", "web", &WriteOptions::default(), restart).unwrap();
    let mut present = std::collections::BTreeMap::new();
    for _ in 0..3 {
        let event = watch.next().await.unwrap();
        present.insert(name(&event.object).to_owned(), event.object);
    }
    // Every moment of the update as the watch saw it, until only new pods are left.
    loop {
        let event = watch.next().await.unwrap();
        if event.kind == crate::registry::EventKind::Deleted {
            present.remove(name(&event.object));
        } else {
            present.insert(name(&event.object).to_owned(), event.object);
        }
        let serving = present.values().filter(|pod| is_ready(pod) && !is_deleting(pod)).count();
        assert!(serving >= 3, "only {serving} pods serve");
        if present.len() == 3 && present.keys().all(|pod| !pod.starts_with(name(&first))) {
            break;
        }
    }
    rolled_out(&bench, 3).await;
    let deployment = bench.registry.find(&DEPLOYMENT, "shop", "web").unwrap();
    assert_eq!(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    let progressing = items(&deployment, "/status/conditions").iter().find(|condition| condition["type"] == "Progressing").unwrap();
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    bench.stop().await;
}

#[tokio::test]
async fn recreate_ends_all_old_pods_before_a_new_one_starts() {
    let bench = Bench::start();
    let mut manifest = deployment("web", 2, STAYS);
    manifest["spec"]["strategy"] = json!({"type": "Recreate"});
    bench.create(manifest);
    rolled_out(&bench, 2).await;
    let old = bench.all(&REPLICA_SET).pop().unwrap();
    let mut watch = bench.registry.watch(&POD, Some("shop"), Selector::default(), Some(bench.registry.version())).unwrap();
    let change = |deployment: &mut serde_json::Value| {
        deployment["spec"]["template"]["spec"]["containers"][0] = container("app", &format!("true; {STAYS}"));
        Ok(())
    };
    bench.registry.modify(&DEPLOYMENT, "shop", "web", &WriteOptions::default(), change).unwrap();
    let mut gone = 0;
    loop {
        let event = watch.next().await.unwrap();
        gone += usize::from(event.kind == crate::registry::EventKind::Deleted);
        if !name(&event.object).starts_with(name(&old)) {
            assert_eq!(gone, 2, "a new pod came while an old one was still there");
            break;
        }
    }
    rolled_out(&bench, 2).await;
    bench.stop().await;
}

#[tokio::test]
async fn deleting_a_deployment_takes_its_sets_and_pods_and_orphaning_leaves_them() {
    let bench = Bench::start();
    bench.create(deployment("web", 1, STAYS));
    rolled_out(&bench, 1).await;
    let set = bench.all(&REPLICA_SET).pop().unwrap();
    let orphan = DeleteOptions { propagation: Propagation::Orphan, ..DeleteOptions::default() };
    bench.registry.delete(&DEPLOYMENT, "shop", "web", &orphan).unwrap();
    bench.gone(&DEPLOYMENT, "web").await;
    let left = bench.registry.find(&REPLICA_SET, "shop", name(&set)).unwrap();
    assert!(items(&left, "/metadata/ownerReferences").is_empty());
    // The same Deployment again adopts what it left.
    bench.create(deployment("web", 1, STAYS));
    rolled_out(&bench, 1).await;
    assert_eq!(bench.all(&REPLICA_SET).len(), 1);
    bench.registry.delete(&DEPLOYMENT, "shop", "web", &DeleteOptions::default()).unwrap();
    bench.gone(&REPLICA_SET, name(&set)).await;
    bench.until("the pods are gone", &POD, |bench| bench.pods().is_empty().then_some(())).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_sets_pods_outlive_it_when_they_are_orphaned() {
    let bench = Bench::start();
    let mut set = deployment("web", 2, STAYS);
    set["kind"] = json!("ReplicaSet");
    set["spec"].as_object_mut().unwrap().shift_remove("strategy");
    bench.create(set);
    let ready = |bench: &Bench| bench.pods().iter().filter(|pod| is_ready(pod)).count() == 2;
    bench.until("two pods are ready", &POD, |bench| ready(bench).then_some(())).await;
    let orphan = DeleteOptions { propagation: Propagation::Orphan, ..DeleteOptions::default() };
    bench.registry.delete(&REPLICA_SET, "shop", "web", &orphan).unwrap();
    bench.gone(&REPLICA_SET, "web").await;
    // Whoever has no owner is never collected, and there is no set any more that could adopt them.
    let left = bench.pods();
    assert_eq!(left.len(), 2);
    for pod in left {
        assert!(pod["metadata"]["deletionTimestamp"].is_null() && items(&pod, "/metadata/ownerReferences").is_empty(), "{pod:#}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_namespace_takes_everything_in_it() {
    let bench = Bench::start();
    bench.create(deployment("web", 2, STAYS));
    rolled_out(&bench, 2).await;
    bench.registry.delete(&crate::kinds::NAMESPACE, "", "shop", &DeleteOptions::default()).unwrap();
    bench.namespace_gone().await;
    assert!(bench.pods().is_empty() && bench.all(&REPLICA_SET).is_empty());
    assert_eq!(Bench::processes(bench.folder.path()), Vec::<u32>::new());
    bench.stop().await;
}

#[tokio::test]
async fn a_slice_lists_pods_by_readiness_and_drops_them_when_they_go() {
    let bench = Bench::start();
    bench.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8081}]}}));
    bench.create(deployment("web", 2, STAYS));
    let ready = |bench: &Bench| -> usize {
        let slices = bench.all(&ENDPOINT_SLICE);
        assert!(slices.len() <= 1);
        slices.iter().flat_map(|slice| items(slice, "/endpoints")).filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
    };
    bench.until("both are listed", &ENDPOINT_SLICE, |bench| (ready(bench) == 2).then_some(())).await;
    let slice = bench.all(&ENDPOINT_SLICE).pop().unwrap();
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8081, "protocol": "TCP"}]));
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    assert_eq!(slice["endpoints"][0]["nodeName"], "node-1");
    scale(&bench, 0);
    bench.until("none is ready", &ENDPOINT_SLICE, |bench| (ready(bench) == 0).then_some(())).await;
    bench
        .until("none is listed", &ENDPOINT_SLICE, |bench| {
            bench.all(&ENDPOINT_SLICE).iter().all(|slice| items(slice, "/endpoints").is_empty()).then_some(())
        })
        .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_change_cause_that_comes_later_reaches_the_history_and_a_pause_is_told() {
    let bench = Bench::start();
    bench.create(deployment("web", 1, STAYS));
    rolled_out(&bench, 1).await;
    let progress = |bench: &Bench, reason: &str| {
        let deployment = bench.registry.find(&DEPLOYMENT, "shop", "web")?;
        let found = crate::controllers::fields::condition(&deployment, "Progressing")?;
        (found["reason"] == reason).then(|| found.clone())
    };
    bench.until("it is complete", &DEPLOYMENT, |bench| progress(bench, "NewReplicaSetAvailable")).await;
    let paused = |paused: bool| {
        let change = move |deployment: &mut serde_json::Value| {
            deployment["metadata"]["annotations"]["kubernetes.io/change-cause"] = json!("first try");
            deployment["spec"]["paused"] = json!(paused);
            Ok(())
        };
        bench.registry.modify(&DEPLOYMENT, "shop", "web", &WriteOptions::default(), change).unwrap();
    };
    paused(true);
    let told = bench.until("the pause is told", &DEPLOYMENT, |bench| progress(bench, "DeploymentPaused")).await;
    assert_eq!((&told["status"], &told["message"]), (&json!("Unknown"), &json!("Deployment is paused")));
    paused(false);
    bench.until("it is complete again", &DEPLOYMENT, |bench| progress(bench, "NewReplicaSetAvailable")).await;
    let cause = |bench: &Bench| {
        let set = bench.all(&REPLICA_SET).pop()?;
        (set["metadata"]["annotations"]["kubernetes.io/change-cause"] == "first try").then_some(())
    };
    bench.until("the set knows the cause", &REPLICA_SET, cause).await;
    bench.stop().await;
}
