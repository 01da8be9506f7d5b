use std::time::Instant;

use super::*;
use crate::{
    admission::AdmitAll,
    kinds::{CONFIG_MAP, DEPLOYMENT, EVENT, NAMESPACE, POD, SERVICE, SERVICE_ACCOUNT},
};

struct Fixture {
    registry: Registry,
    folder: tempfile::TempDir,
}

fn open(folder: &tempfile::TempDir) -> Result<Registry, OpenError> {
    Registry::open(&folder.path().join("objects.db"), "ctx1", Arc::new(AdmitAll))
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder).unwrap();
    Fixture { registry, folder }
}

fn options() -> WriteOptions {
    WriteOptions::default()
}

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "colour": value } },
        "data": { "colour": value },
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "nodeName": "node", "containers": [{ "name": "app", "image": "app:1" }] },
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
            },
        },
    })
}

impl Fixture {
    fn create(&self, object: Value) -> Object {
        self.registry.create(object, &options()).unwrap().object
    }

    fn reopen(self) -> Self {
        drop(self.registry);
        Self { registry: open(&self.folder).unwrap(), folder: self.folder }
    }
}

#[test]
fn a_new_cluster_has_its_namespaces_and_accounts() {
    let fixture = fixture();
    for namespace in ["default", "kube-system"] {
        assert!(fixture.registry.get(&NAMESPACE, "", namespace).is_ok());
        assert!(fixture.registry.get(&SERVICE_ACCOUNT, namespace, "default").is_ok());
    }
}

#[test]
fn created_objects_have_identity_and_defaults() {
    let fixture = fixture();
    let object = fixture.create(deployment("web"));
    let metadata = &object["metadata"];
    assert_eq!(metadata["generation"], 1);
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    let again = fixture.registry.create(deployment("web"), &options()).unwrap_err();
    assert!(again.is_already_exists());
    assert_eq!(again.message, r#"deployments.apps "web" already exists"#);
}

#[test]
fn generated_names_start_with_their_prefix() {
    let fixture = fixture();
    let mut object = config_map("x", "red");
    object["metadata"] = json!({ "generateName": "web-" });
    let name = fixture.create(object)["metadata"]["name"].clone();
    let name = name.as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[test]
fn a_stale_version_is_a_conflict_and_changes_nothing() {
    let fixture = fixture();
    let first = fixture.create(config_map("a", "red"));
    let mut second = Value::clone(&first);
    second["data"]["colour"] = json!("blue");
    fixture.registry.update(second.clone(), &options()).unwrap();
    second["data"]["colour"] = json!("green");
    let error = fixture.registry.update(second, &options()).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(fixture.registry.get(&CONFIG_MAP, "default", "a").unwrap()["data"]["colour"], "blue");
}

#[test]
fn writing_the_same_again_makes_no_new_version() {
    let fixture = fixture();
    let object = fixture.create(config_map("a", "red"));
    let written = fixture.registry.update(Value::clone(&object), &options()).unwrap();
    assert_eq!(written.object["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
}

#[test]
fn generation_counts_changes_of_the_spec_only() {
    let fixture = fixture();
    fixture.create(deployment("web"));
    let change = |path: &str, value: Value| {
        let change = |object: &mut Value| {
            *object.pointer_mut(path).unwrap() = value.clone();
            Ok(())
        };
        let written = fixture.registry.modify(&DEPLOYMENT, "default", "web", &options(), change);
        written.unwrap().object["metadata"]["generation"].clone()
    };
    assert_eq!(change("/metadata", json!({ "name": "web", "labels": { "a": "b" } })), 1);
    assert_eq!(change("/status", json!({ "replicas": 1 })), 1);
    assert_eq!(change("/spec/replicas", json!(3)), 2);
}

#[test]
fn status_and_spec_are_written_apart() {
    let fixture = fixture();
    let mut object = Value::clone(&fixture.create(deployment("web")));
    object["status"] = json!({ "replicas": 7 });
    object["spec"]["replicas"] = json!(9);
    let status = fixture.registry.update_status(object.clone(), &options()).unwrap();
    assert_eq!((&status.object["status"]["replicas"], &status.object["spec"]["replicas"]), (&json!(7), &json!(1)));
    object["status"] = json!({ "replicas": 100 });
    object["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
    let content = fixture.registry.update(object, &options()).unwrap();
    assert_eq!((&content.object["status"]["replicas"], &content.object["spec"]["replicas"]), (&json!(7), &json!(9)));
}

#[test]
fn a_watch_sees_each_change_once_and_in_order() {
    let fixture = fixture();
    fixture.create(config_map("before", "red"));
    let (_, version) = fixture.registry.list(&CONFIG_MAP, None, &Selector::default());
    let mut watch = fixture.registry.watch(&CONFIG_MAP, Some("default"), Selector::default(), Some(version)).unwrap();
    assert!(watch.try_next().is_none());
    for place in 0..500 {
        fixture.create(config_map(&format!("map-{place}"), "red"));
    }
    fixture.registry.delete(&CONFIG_MAP, "default", "before", &DeleteOptions::default()).unwrap();
    let mut last = version;
    for place in 0..500 {
        let event = watch.try_next().unwrap();
        assert_eq!(event.kind, EventKind::Added);
        assert_eq!(event.object["metadata"]["name"], format!("map-{place}"));
        assert!(event.resource_version > last);
        last = event.resource_version;
    }
    let event = watch.try_next().unwrap();
    assert_eq!((event.kind, &event.object["metadata"]["name"]), (EventKind::Deleted, &json!("before")));
    assert!(watch.try_next().is_none());
}

#[tokio::test]
async fn a_waiting_watch_wakes_up() {
    let fixture = fixture();
    let mut watch = fixture.registry.watch(&CONFIG_MAP, None, Selector::default(), Some(fixture.registry.version())).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    tokio::task::yield_now().await;
    fixture.create(config_map("a", "red"));
    assert_eq!(waiting.await.unwrap().unwrap().object["metadata"]["name"], "a");
}

#[test]
fn selectors_turn_changes_into_comings_and_goings() {
    let fixture = fixture();
    let mut watch = fixture.registry.watch(&CONFIG_MAP, None, Selector::labelled("colour=red").unwrap(), None).unwrap();
    fixture.create(config_map("a", "blue"));
    fixture.registry.update(config_map("a", "red"), &options()).unwrap();
    fixture.registry.update(config_map("a", "blue"), &options()).unwrap();
    assert_eq!(watch.try_next().unwrap().kind, EventKind::Added);
    assert_eq!(watch.try_next().unwrap().kind, EventKind::Deleted);
    assert!(watch.try_next().is_none());
}

#[test]
fn a_watch_that_falls_behind_is_told_and_writers_do_not_wait() {
    let fixture = fixture();
    fixture.create(config_map("a", "red"));
    let start = fixture.registry.version();
    let mut watch = fixture.registry.watch(&CONFIG_MAP, None, Selector::default(), Some(start)).unwrap();
    for place in 0..=HISTORY {
        let change = |object: &mut Value| {
            object["data"]["place"] = json!(place.to_string());
            Ok(())
        };
        fixture.registry.modify(&CONFIG_MAP, "default", "a", &options(), change).unwrap();
    }
    assert!(watch.try_next().is_none());
    assert_eq!(watch.failure().unwrap().code, 410);
    let late = fixture.registry.watch(&CONFIG_MAP, None, Selector::default(), Some(start));
    assert_eq!(late.err().unwrap().code, 410);
}

#[test]
fn finalizers_keep_an_object_until_they_are_gone() {
    let fixture = fixture();
    let mut object = config_map("a", "red");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    fixture.create(object);
    let deleted = fixture.registry.delete(&CONFIG_MAP, "default", "a", &DeleteOptions::default()).unwrap();
    assert!(!deleted.gone && deleted.object["metadata"]["deletionTimestamp"].is_string());
    let release = |object: &mut Value| {
        object["metadata"]["finalizers"] = json!([]);
        Ok(())
    };
    fixture.registry.modify(&CONFIG_MAP, "default", "a", &options(), release).unwrap();
    assert!(fixture.registry.get(&CONFIG_MAP, "default", "a").unwrap_err().is_not_found());
}

#[test]
fn a_running_pod_goes_when_its_kubelet_says_so() {
    let fixture = fixture();
    fixture.create(pod("a"));
    let marked = fixture.registry.delete(&POD, "default", "a", &DeleteOptions::default()).unwrap();
    assert!(!marked.gone);
    assert_eq!(marked.object["metadata"]["deletionGracePeriodSeconds"], 30);
    let gone = fixture.registry.delete(&POD, "default", "a", &DeleteOptions::now()).unwrap();
    assert!(gone.gone);
    assert!(fixture.registry.find(&POD, "default", "a").is_none());
}

#[test]
fn unknown_fields_are_taken_out_by_name_and_all_of_them() {
    let fixture = fixture();
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "ports": [{ "port": 80 }], "selector": { "app": "web", "version": "v1" }, "selector.version": "v2" },
    });
    for number in 0..150 {
        service["spec"][format!("more{number}")] = json!(number);
    }
    let created = fixture.create(service);
    assert_eq!(created["spec"]["selector"], json!({ "app": "web", "version": "v1" }));
    let bogus = |name: &&String| name.starts_with("more") || name.contains('.');
    assert_eq!(created["spec"].as_object().unwrap().keys().find(bogus), None);
}

#[test]
fn an_owner_whose_dependents_stay_waits_until_they_are_released() {
    let fixture = fixture();
    let owner = fixture.create(config_map("owner", "red"));
    let mut child = config_map("child", "red");
    child["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
    }]);
    fixture.create(child);
    let orphan = DeleteOptions { propagation: Propagation::Orphan, ..DeleteOptions::default() };
    let stale = DeleteOptions { uid: Some("another".to_owned()), ..orphan.clone() };
    fixture.registry.delete(&CONFIG_MAP, "default", "owner", &stale).unwrap_err();
    let untouched = fixture.registry.get(&CONFIG_MAP, "default", "owner").unwrap();
    assert!(untouched["metadata"]["deletionTimestamp"].is_null());
    for _ in 0..2 {
        let marked = fixture.registry.delete(&CONFIG_MAP, "default", "owner", &orphan).unwrap();
        assert!(!marked.gone);
        assert_eq!(marked.object["metadata"]["finalizers"], json!(["orphan"]));
    }
    let child = fixture.registry.get(&CONFIG_MAP, "default", "child").unwrap();
    assert_eq!(child["metadata"]["ownerReferences"][0]["name"], "owner");
    // One that owns nothing has nothing to wait for.
    assert!(fixture.registry.delete(&CONFIG_MAP, "default", "child", &orphan).unwrap().gone);
}

#[test]
fn everything_is_there_after_reopening_and_old_versions_are_not() {
    let fixture = fixture();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "ports": [{ "port": 80 }] },
    });
    let created = fixture.create(service);
    let mut object = Value::clone(&created);
    object["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }] } });
    fixture.registry.update_status(object, &options()).unwrap();
    let version = fixture.registry.version();
    let fixture = fixture.reopen();
    let found = fixture.registry.get(&SERVICE, "default", "web").unwrap();
    assert_eq!(found["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(found["status"]["loadBalancer"]["ingress"][0]["ip"], "127.0.0.1");
    assert!(fixture.registry.version() > version);
    let watch = fixture.registry.watch(&SERVICE, None, Selector::default(), Some(version));
    assert_eq!(watch.err().unwrap().code, 410);
}

#[test]
fn a_state_is_opened_once_and_only_in_its_own_version() {
    let fixture = fixture();
    assert!(matches!(open(&fixture.folder), Err(OpenError::InUse { .. })));
    fixture.registry.storage().with(|database| database.execute("UPDATE meta SET value = '99' WHERE key = 'schema'", [])).unwrap();
    drop(fixture.registry);
    let error = open(&fixture.folder).unwrap_err();
    assert!(matches!(&error, OpenError::Version { found, .. } if found == "99"), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn equal_events_are_counted_across_a_restart() {
    let fixture = fixture();
    let object = fixture.create(pod("a"));
    for _ in 0..3 {
        fixture.registry.event(&object, "Warning", "BackOff", "back-off restarting", "kubelet");
    }
    let fixture = fixture.reopen();
    fixture.registry.event(&object, "Warning", "BackOff", "back-off restarting", "kubelet");
    let (events, _) = fixture.registry.list(&EVENT, Some("default"), &Selector::fields("involvedObject.name=a").unwrap());
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["count"], 4);
}

#[test]
fn unknown_fields_are_refused_warned_about_or_dropped() {
    let fixture = fixture();
    let mut object = deployment("web");
    object["spec"]["replica"] = json!(3);
    let with = |field_validation| WriteOptions { field_validation, dry_run: true, ..options() };
    let error = fixture.registry.create(object.clone(), &with(FieldValidation::Strict)).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (400, r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica""#)
    );
    let warned = fixture.registry.create(object.clone(), &with(FieldValidation::Warn)).unwrap();
    assert_eq!(warned.warnings, [r#"unknown field "spec.replica""#]);
    assert!(warned.object["spec"]["replica"].is_null());
    assert!(fixture.registry.create(object, &with(FieldValidation::Ignore)).unwrap().warnings.is_empty());
    assert!(fixture.registry.find(&DEPLOYMENT, "default", "web").is_none());
}

#[test]
fn a_terminating_namespace_takes_nothing_new_and_goes_without_finalizers() {
    let fixture = fixture();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab" } });
    fixture.create(namespace);
    assert!(!fixture.registry.delete(&NAMESPACE, "", "lab", &DeleteOptions::default()).unwrap().gone);
    let mut object = config_map("a", "red");
    object["metadata"]["namespace"] = json!("lab");
    assert_eq!(fixture.registry.create(object, &options()).unwrap_err().code, 403);
    let empty = |object: &mut Value| {
        object["spec"]["finalizers"] = json!([]);
        Ok(())
    };
    fixture.registry.modify(&NAMESPACE, "", "lab", &options(), empty).unwrap();
    assert!(fixture.registry.find(&NAMESPACE, "", "lab").is_none());
}

#[test]
fn sixty_objects_are_created_and_found_again_quickly() {
    let fixture = fixture();
    let start = Instant::now();
    for place in 0..60 {
        fixture.create(deployment(&format!("web-{place}")));
    }
    let created = start.elapsed();
    let start = Instant::now();
    let fixture = fixture.reopen();
    let opened = start.elapsed();
    let (found, _) = fixture.registry.list(&DEPLOYMENT, None, &Selector::default());
    assert_eq!(found.len(), 60);
    println!("60 objects created in {created:?}, opened in {opened:?}");
}
