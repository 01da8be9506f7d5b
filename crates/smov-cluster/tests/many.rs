//! Many objects: two thousand rules are listed, watched and deleted without anybody noticing how many they are.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it measures")]

#[path = "support/kubectl.rs"]
mod kubectl;
#[path = "support/server.rs"]
mod support;

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
    },
};
use serde_json::json;
use support::Server;

const MANY: usize = 2_000;
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Far more than any of this needs, also unoptimised and on a busy machine; what is quadratic needs longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn rules(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
    Api::default_namespaced_with(client, &ApiResource::from_gvk_with_plural(&kind, "virtualservices"))
}

fn rule(place: usize) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": format!("rule-{place:04}"), "labels": { "half": (place % 2).to_string() } },
        "spec": { "hosts": [format!("host-{place}")], "http": [{ "route": [
            { "destination": { "host": format!("host-{place}"), "subset": "a" }, "weight": 70 },
            { "destination": { "host": format!("host-{place}"), "subset": "b" }, "weight": 30 },
        ] }] },
    }))
    .unwrap()
}

/// What a watcher saw, checked while it comes.
#[derive(Default)]
struct Seen {
    version: u64,
    added: usize,
    modified: usize,
    deleted: usize,
    present: BTreeMap<String, String>,
}

impl Seen {
    fn take(&mut self, event: &WatchEvent<DynamicObject>) {
        let object = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object.clone(),
            other => panic!("{other:?}"),
        };
        let version: u64 = object.metadata.resource_version.clone().unwrap().parse().unwrap();
        assert!(version > self.version, "{version} after {}", self.version);
        self.version = version;
        let name = object.metadata.name.unwrap();
        let known = self.present.contains_key(&name);
        match event {
            WatchEvent::Added(_) => {
                assert!(!known, "{name} came twice");
                self.added += 1;
            }
            WatchEvent::Modified(_) => {
                assert!(known, "{name} changed before it came");
                self.modified += 1;
            }
            _ => {
                assert!(known, "{name} went twice");
                self.deleted += 1;
                self.present.remove(&name);
                return;
            }
        }
        self.present.insert(name, version.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_rules_are_listed_at_once_and_a_watch_sees_each_change_once_and_in_order() {
    let server = Server::start().await;
    let api = rules(server.client().await);
    let version = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let watcher = tokio::spawn({
        let api = rules(server.client().await);
        async move {
            let watch = api.watch(&WatchParams::default(), &version).await.unwrap();
            let (mut watch, mut seen) = (pin!(watch), Seen::default());
            while seen.deleted < MANY {
                seen.take(&watch.try_next().await.unwrap().unwrap());
            }
            seen
        }
    });
    let start = Instant::now();
    let creations = (0..MANY).map(|place| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &rule(place)).await.unwrap() }
    });
    stream::iter(creations).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    println!("{MANY} rules created in {:?}", start.elapsed());

    let start = Instant::now();
    let list = api.list(&ListParams::default()).await.unwrap();
    println!("listed in {:?}", start.elapsed());
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(list.items.len(), MANY);
    let half = api.list(&ListParams::default().labels("half=1").limit(300)).await.unwrap();
    assert_eq!((half.items.len(), half.metadata.remaining_item_count), (300, None), "how many match is not known beforehand");
    if let Some(program) = kubectl::program() {
        let start = Instant::now();
        let mut command = tokio::process::Command::new(program);
        command.args(["get", "virtualservices", "-A"]).env("KUBECONFIG", server.kubeconfig_file()).env("HOME", server.folder.path());
        let output = command.output().await.unwrap();
        println!("kubectl get virtualservices -A in {:?}", start.elapsed());
        assert!(start.elapsed() < PATIENCE);
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), MANY + 1);
    }

    let patch = Patch::Merge(json!({ "metadata": { "labels": { "changed": "yes" } } }));
    let changes = (0..MANY).step_by(4).map(|place| {
        let (api, patch) = (api.clone(), patch.clone());
        async move { api.patch(&format!("rule-{place:04}"), &PatchParams::default(), &patch).await.unwrap() }
    });
    let changed = stream::iter(changes).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.len();
    let start = Instant::now();
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    println!("deleted in {:?}", start.elapsed());
    assert!(start.elapsed() < PATIENCE);
    let seen = tokio::time::timeout(PATIENCE, watcher).await.unwrap().unwrap();
    assert_eq!((seen.added, seen.modified, seen.deleted, seen.present.len()), (MANY, changed, MANY, 0));
    drop(server.stop().await);
}
