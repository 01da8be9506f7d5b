//! `kill -9` in the middle of writes: what was answered is there afterwards, and nothing by half.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it measures")]

#[path = "support/server.rs"]
mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use futures_util::future::join_all;
use kube::{
    Api, Client,
    api::{DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::ApiResource,
};
use serde_json::json;
use smov_cluster::{
    admission::AdmitAll,
    kinds::VIRTUAL_SERVICE,
    registry::{Registry, Selector},
};
use support::Server;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
};

/// Names the folder in the process that is killed.
const FOLDER: &str = "SMOV_TEST_KILL_FOLDER";
const WRITERS: usize = 8;
/// Answers to wait for before the kill.
const ENOUGH: usize = 400;

/// Not a test of its own: the server of the one below, which starts it in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let server = Server::start_at(Path::new(&folder)).await;
    println!("{}", server.admin_kubeconfig());
    std::future::pending::<()>().await;
}

/// By name: the newest answered value and version.
type Answered = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig: Kubeconfig = serde_json::from_str(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn rules(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
    Api::default_namespaced_with(client, &ApiResource::from_gvk_with_plural(&kind, "virtualservices"))
}

/// Creates objects and changes them, until the server is gone. Each value is in two places.
async fn write(api: Api<DynamicObject>, writer: usize, answered: Answered, count: mpsc::UnboundedSender<()>) {
    for round in 0_u64.. {
        let name = format!("rule-{writer}-{}", round / 4);
        let spec = json!({ "hosts": [round.to_string()], "gateways": [round.to_string()] });
        let written = if round % 4 == 0 {
            let object =
                json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": name }, "spec": spec });
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await
        } else {
            api.patch(&name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await
        };
        let Ok(written) = written else { return };
        let version = written.metadata.resource_version.unwrap().parse().unwrap();
        answered.lock().unwrap().insert(name, (round, version));
        // Nobody counts any more once there are enough.
        count.send(()).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_write_survives_kill_minus_9_and_none_by_half() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["a_server_serves_until_it_is_killed", "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let kubeconfig = loop {
        // The test harness talks before, and on the same line.
        let line = lines.next_line().await.unwrap().expect("the server says where it is");
        if let Some(start) = line.find('{') {
            break line[start..].to_owned();
        }
    };
    let answered = Answered::default();
    let api = rules(client(&kubeconfig).await);
    let (count, mut answers) = mpsc::unbounded_channel();
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(api.clone(), writer, Arc::clone(&answered), count.clone())));
    let writers: Vec<_> = writers.collect();
    for _ in 0..ENOUGH {
        answers.recv().await.unwrap();
    }
    server.kill().await.unwrap();
    join_all(writers).await;

    let database = folder.path().join("ctx1/objects.db");
    let registry = Registry::open(&database, "ctx1", Arc::new(AdmitAll)).unwrap();
    let (objects, version) = registry.list(&VIRTUAL_SERVICE, None, &Selector::default());
    let answered = answered.lock().unwrap().clone();
    println!("{} answered objects, {} stored", answered.len(), objects.len());
    let mut stored = BTreeMap::new();
    for object in &objects {
        let value = object["spec"]["hosts"][0].as_str().unwrap();
        assert_eq!(object["spec"]["gateways"][0], value, "half of a write: {object}");
        assert!(object["metadata"]["uid"].is_string(), "half of an object: {object}");
        let at: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        stored.insert(object["metadata"]["name"].as_str().unwrap().to_owned(), (value.parse::<u64>().unwrap(), at));
    }
    for (name, (value, at)) in &answered {
        let found = stored.get(name).unwrap_or_else(|| panic!("{name} was answered and is gone"));
        // One more write per writer may have been stored without its answer getting out.
        assert!(found.0 == *value || found.0 == value + 1, "{name}: answered {value}, stored {}", found.0);
        assert!(found.1 >= *at && *at < version, "{name}: versions go on");
    }
    assert!(stored.len() <= answered.len() + WRITERS);
}
