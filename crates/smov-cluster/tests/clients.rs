//! kube-rs clients as controllers use them: versions, watches that are left behind, preconditions, metadata only, and
//! a service account's own rights.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::{collections::BTreeMap, pin::pin};

use futures_util::TryStreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{ConfigMap, Pod, Secret},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Error, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, VersionMatch, WatchEvent, WatchParams},
};
use serde_json::json;
use smov_cluster::{kinds, registry::WriteOptions};
use support::Server;

fn map(name: &str, colour: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "colour": colour } })).unwrap()
}

fn refusal(error: Error) -> (u16, String, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("no Status: {other}"),
    }
}

/// A client's own copy of all ConfigMaps of a namespace: list, watch from there, list again when left behind.
#[derive(Default)]
struct Copy {
    objects: BTreeMap<String, ConfigMap>,
    version: String,
    lists: usize,
}

impl Copy {
    async fn list(&mut self, api: &Api<ConfigMap>) {
        let list = api.list(&ListParams::default()).await.unwrap();
        self.version = list.metadata.resource_version.unwrap();
        self.objects = list.items.into_iter().map(|object| (object.name_any(), object)).collect();
        self.lists += 1;
    }

    /// Follows until `done`.
    async fn follow(&mut self, api: &Api<ConfigMap>, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let watch = api.watch(&WatchParams::default(), &self.version).await.unwrap();
            let mut watch = pin!(watch);
            while !done(self) {
                match watch.try_next().await.unwrap() {
                    Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                        self.version = object.resource_version().unwrap();
                        self.objects.insert(object.name_any(), object);
                    }
                    Some(WatchEvent::Deleted(object)) => {
                        self.version = object.resource_version().unwrap();
                        self.objects.remove(&object.name_any());
                    }
                    Some(WatchEvent::Bookmark(bookmark)) => self.version = bookmark.metadata.resource_version,
                    Some(WatchEvent::Error(status)) => {
                        assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
                        self.list(api).await;
                        break;
                    }
                    None => break,
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_left_behind_is_told_so_and_catches_up() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let mut copy = Copy::default();
    copy.list(&api).await;
    api.create(&PostParams::default(), &map("a", "red")).await.unwrap();
    copy.follow(&api, |copy| copy.objects.contains_key("a")).await;
    // More changes than are remembered, while nobody watches.
    let registry = server.cluster.registry().clone();
    tokio::task::spawn_blocking(move || {
        for round in 0..4_200 {
            let change = |object: &mut serde_json::Value| {
                object["data"]["colour"] = json!(round.to_string());
                Ok(())
            };
            registry.modify(&kinds::CONFIG_MAP, "default", "a", &WriteOptions::default(), change).unwrap();
        }
    })
    .await
    .unwrap();
    api.create(&PostParams::default(), &map("b", "blue")).await.unwrap();
    copy.follow(&api, |copy| copy.objects.contains_key("b")).await;
    assert_eq!(copy.lists, 2);
    assert_eq!(copy.objects["a"].data.as_ref().unwrap()["colour"], "4199");
    drop(server.stop().await);
}

#[tokio::test]
async fn a_list_is_read_at_any_version_that_is_remembered() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let first = api.create(&PostParams::default(), &map("a", "red")).await.unwrap().resource_version().unwrap();
    api.create(&PostParams::default(), &map("b", "blue")).await.unwrap();
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({ "data": { "colour": "pink" } }))).await.unwrap();
    api.delete("b", &DeleteParams::default()).await.unwrap();
    let exact = api.list(&ListParams::default().at(&first).matching(VersionMatch::Exact)).await.unwrap();
    assert_eq!(exact.metadata.resource_version.as_deref(), Some(first.as_str()));
    let seen: Vec<_> = exact.items.iter().map(|object| (object.name_any(), object.data.as_ref().unwrap()["colour"].clone())).collect();
    assert_eq!(seen, [("a".to_owned(), "red".to_owned())]);
    let newer = api.list(&ListParams::default().at(&first).matching(VersionMatch::NotOlderThan)).await.unwrap();
    assert_eq!(newer.items[0].data.as_ref().unwrap()["colour"], "pink");
    let old = api.list(&ListParams::default().at("1").matching(VersionMatch::Exact)).await;
    assert_eq!(old.map(|list| list.items.len()).unwrap(), 0, "version 1 is before everything");
    drop(server.stop().await);
}

#[tokio::test]
async fn a_watch_that_ends_says_up_to_where_it_saw() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let since = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(server.client().await);
    let other = secrets.create(&PostParams::default(), &serde_json::from_value(json!({ "metadata": { "name": "s" } })).unwrap()).await;
    let newest: u64 = other.unwrap().resource_version().unwrap().parse().unwrap();
    let watch = api.watch(&WatchParams::default().timeout(1), &since).await.unwrap();
    let events: Vec<_> = watch.try_collect().await.unwrap();
    match events.as_slice() {
        [WatchEvent::Bookmark(bookmark)] => assert!(bookmark.metadata.resource_version.parse::<u64>().unwrap() >= newest),
        other => panic!("{other:?}"),
    }
    drop(server.stop().await);
}

#[tokio::test]
async fn preconditions_and_dry_runs_hold_for_deletions() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let made = api.create(&PostParams::default(), &map("a", "red")).await.unwrap();
    let with = |uid: Option<String>, resource_version: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version }),
        ..DeleteParams::default()
    };
    let (code, reason, _) = refusal(api.delete("a", &with(Some("another".to_owned()), None)).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(refusal(api.delete("a", &with(None, Some("1".to_owned()))).await.unwrap_err()).0, 409);
    api.delete("a", &DeleteParams::default().dry_run()).await.unwrap();
    api.delete_collection(&DeleteParams::default().dry_run(), &ListParams::default()).await.unwrap();
    assert_eq!(api.get("a").await.unwrap().uid(), made.uid());
    api.delete("a", &with(made.uid(), made.resource_version())).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
    drop(server.stop().await);
}

#[tokio::test]
async fn metadata_alone_is_enough_for_those_who_ask_for_it() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    api.create(&PostParams::default(), &map("a", "red")).await.unwrap();
    let list = api.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].name_any(), "a");
    let changed = api.patch_metadata("a", &PatchParams::default(), &Patch::Merge(json!({ "metadata": { "labels": { "b": "c" } } }))).await;
    assert_eq!(changed.unwrap().labels()["b"], "c");
    let watch = api.watch_metadata(&WatchParams::default(), "0").await.unwrap();
    match pin!(watch).try_next().await.unwrap() {
        Some(WatchEvent::Added(object)) => assert_eq!(object.labels()["b"], "c"),
        other => panic!("{other:?}"),
    }
    drop(server.stop().await);
}

async fn as_account(server: &Server, account: &str) -> Client {
    let token = server.cluster.authority().issue("default", account, None).unwrap();
    let kubeconfig = serde_json::from_value(server.cluster.kubeconfig(account, &token)).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

async fn may(client: &Client, verb: &str, resource: &str) -> bool {
    let attributes = ResourceAttributes {
        namespace: Some("default".to_owned()),
        verb: Some(verb.to_owned()),
        resource: Some(resource.to_owned()),
        ..ResourceAttributes::default()
    };
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &question).await;
    answer.unwrap().status.unwrap().allowed
}

#[tokio::test]
async fn a_service_account_does_what_its_roles_say_from_the_next_request_on() {
    let server = Server::start().await;
    let (admin, client) = (server.client().await, as_account(&server, "default").await);
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let (code, reason, message) = refusal(pods.list(&ListParams::default()).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    assert!(!may(&client, "list", "pods").await);
    assert!(client.apiserver_version().await.is_ok(), "discovery is for everybody known");
    let role =
        json!({ "metadata": { "name": "reader" }, "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"] }] });
    let binding = json!({
        "metadata": { "name": "readers" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts:default" }],
    });
    let roles: Api<Role> = Api::default_namespaced(admin.clone());
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<RoleBinding> = Api::default_namespaced(admin.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    assert!(may(&client, "list", "pods").await && !may(&client, "delete", "pods").await);
    pods.list(&ListParams::default()).await.unwrap();
    assert_eq!(refusal(pods.get("a").await.unwrap_err()).0, 403, "a list is no get, and what is absent is not told");
    bindings.delete("readers", &DeleteParams::default()).await.unwrap();
    assert_eq!(refusal(pods.list(&ListParams::default()).await.unwrap_err()).0, 403);
    drop(server.stop().await);
}

#[tokio::test]
async fn server_side_apply_of_what_is_absent_needs_the_right_to_create() {
    let server = Server::start().await;
    let (admin, client) = (server.client().await, as_account(&server, "default").await);
    let role = json!({ "metadata": { "name": "patcher" }, "rules": [{ "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"] }] });
    let binding = json!({
        "metadata": { "name": "patchers" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "default" }],
    });
    Api::<Role>::default_namespaced(admin.clone()).create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    Api::<RoleBinding>::default_namespaced(admin.clone())
        .create(&PostParams::default(), &serde_json::from_value(binding).unwrap())
        .await
        .unwrap();
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": {
            "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
        } },
    });
    let (own, all): (Api<Deployment>, Api<Deployment>) = (Api::default_namespaced(client), Api::default_namespaced(admin));
    let refused = own.patch("web", &PatchParams::apply("own"), &Patch::Apply(&web)).await.unwrap_err();
    assert!(refusal(refused).2.contains("cannot create resource \"deployments\""));
    all.patch("web", &PatchParams::apply("admin"), &Patch::Apply(&web)).await.unwrap();
    own.patch("web", &PatchParams::apply("own"), &Patch::Apply(&web)).await.unwrap();
    drop(server.stop().await);
}
