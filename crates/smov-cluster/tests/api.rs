//! A kube-rs client against an API server of ours.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it skips")]

#[path = "support/server.rs"]
mod support;

use std::{collections::BTreeMap, pin::pin};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenReview, TokenReviewSpec},
    core::v1::{ConfigMap, Namespace, Pod},
};
use kube::{
    Api, Client, Error, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
    },
};
use serde_json::{Value, json};
use smov_cluster::registry::WriteOptions;
use support::Server;

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        data: Some(BTreeMap::from([("colour".to_owned(), value.to_owned())])),
        ..Default::default()
    }
}

fn status(error: Error) -> (u16, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("no Status: {other}"),
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default" },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }, { "name": "istio-proxy", "image": "p:1" }] },
    })
}

#[tokio::test]
async fn typed_objects_are_created_listed_replaced_and_deleted() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let created = maps.create(&PostParams::default(), &config_map("a", "red")).await.unwrap();
    assert!(created.uid().is_some());
    let taken = maps.create(&PostParams::default(), &config_map("a", "red")).await;
    assert_eq!(status(taken.unwrap_err()), (409, "AlreadyExists".to_owned()));
    let mut changed = created.clone();
    changed.data = config_map("a", "blue").data;
    maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    let stale = maps.replace("a", &PostParams::default(), &created).await;
    assert_eq!(status(stale.unwrap_err()), (409, "Conflict".to_owned()));
    let list = maps.list(&ListParams::default().fields("metadata.name=a")).await.unwrap();
    assert_eq!(list.items[0].data.as_ref().unwrap()["colour"], "blue");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(status(maps.get("a").await.unwrap_err()), (404, "NotFound".to_owned()));
    drop(server.stop().await);
}

#[tokio::test]
async fn a_watch_tells_every_change_in_order_and_an_old_version_is_gone() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let watch = maps.watch(&WatchParams::default(), &version).await.unwrap();
    let mut watch = pin!(watch);
    for place in 0..20 {
        maps.create(&PostParams::default(), &config_map(&format!("map-{place}"), "red")).await.unwrap();
    }
    for place in 0..20 {
        match watch.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => assert_eq!(map.name_any(), format!("map-{place}")),
            other => panic!("{other:?}"),
        }
    }
    let first = watch_error(&maps, "0").await;
    assert_eq!(first, None, "version 0 means any");
    assert_eq!(watch_error(&maps, "999999999").await, Some(410));
    drop(server.stop().await);
}

async fn watch_error(maps: &Api<ConfigMap>, version: &str) -> Option<u16> {
    let watch = match maps.watch(&WatchParams::default(), version).await {
        Ok(watch) => watch,
        Err(error) => return Some(status(error).0),
    };
    match pin!(watch).try_next().await {
        Ok(Some(WatchEvent::Error(status))) => Some(status.code),
        Ok(_) => None,
        Err(error) => Some(status(error).0),
    }
}

#[tokio::test]
async fn initial_events_end_with_an_annotated_bookmark() {
    let server = Server::start().await;
    let client = server.client().await;
    let spaces: Api<Namespace> = Api::all(client);
    let parameters = WatchParams::default().initial_events();
    let watch = spaces.watch(&parameters, "0").await.unwrap();
    let mut watch = pin!(watch);
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        match watch.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(space) => assert_eq!(space.name_any(), name),
            other => panic!("{other:?}"),
        }
    }
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Bookmark(bookmark) => {
            assert_eq!(bookmark.metadata.annotations["k8s.io/initial-events-end"], "true");
        }
        other => panic!("{other:?}"),
    }
    drop(server.stop().await);
}

#[tokio::test]
async fn long_lists_come_in_chunks_that_belong_together() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    for place in 0..5 {
        maps.create(&PostParams::default(), &config_map(&format!("map-{place}"), "red")).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (2, Some(3)));
    let token = first.metadata.continue_.unwrap();
    maps.delete("map-4", &DeleteParams::default()).await.unwrap();
    let rest = maps.list(&ListParams::default().limit(10).continue_token(&token)).await.unwrap();
    assert_eq!(rest.items.len(), 3, "the list is true at the version of its first chunk");
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
    let again = maps.list(&ListParams::default().limit(10).continue_token(&token)).await.unwrap();
    assert_eq!(again.items.len(), 3, "a token can be used again");
    let folder = server.stop().await;
    let server = Server::start_in(folder).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let late = maps.list(&ListParams::default().limit(10).continue_token(&token)).await;
    assert_eq!(status(late.unwrap_err()), (410, "Expired".to_owned()), "history does not outlive the server");
    drop(server.stop().await);
}

fn virtual_services(client: Client, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("networking.istio.io", version, "VirtualService");
    let resource = ApiResource::from_gvk_with_plural(&kind, "virtualservices");
    Api::namespaced_with(client, "default", &resource)
}

#[tokio::test]
async fn istio_kinds_are_one_object_in_every_version() {
    let server = Server::start().await;
    let client = server.client().await;
    let old = virtual_services(client.clone(), "v1alpha3");
    let rule: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": { "name": "a" }, "spec": { "hosts": ["a"], "http": [{ "route": [{ "weight": 70 }] }] },
    }))
    .unwrap();
    old.create(&PostParams::default(), &rule).await.unwrap();
    let new = virtual_services(client, "v1");
    let found = new.get("a").await.unwrap();
    assert_eq!(found.types.unwrap().api_version, "networking.istio.io/v1");
    let patch = Patch::Merge(json!({ "spec": { "http": [{ "route": [{ "weight": 1 }] }] } }));
    new.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let seen = old.get("a").await.unwrap();
    assert_eq!(seen.types.unwrap().api_version, "networking.istio.io/v1alpha3");
    assert_eq!(seen.data["spec"]["http"][0]["route"][0]["weight"], 1);
    assert_eq!(seen.metadata.generation, Some(2));
    let strategic = new.patch("a", &PatchParams::default(), &Patch::Strategic(json!({}))).await;
    assert_eq!(status(strategic.unwrap_err()).0, 415);
    drop(server.stop().await);
}

#[tokio::test]
async fn server_side_apply_creates_changes_and_removes() {
    let server = Server::start().await;
    let deployments: Api<Deployment> = Api::default_namespaced(server.client().await);
    let config = |image: &str, variables: Value| {
        Patch::Apply(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "web", "image": image, "env": variables }] },
                },
            },
        }))
    };
    let parameters = PatchParams::apply("one");
    let two = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]);
    deployments.patch("web", &parameters, &config("web:1", two)).await.unwrap();
    let one = json!([{ "name": "B", "value": "3" }]);
    let changed = deployments.patch("web", &parameters, &config("web:2", one)).await.unwrap();
    let containers = changed.spec.template.spec.unwrap().containers;
    assert_eq!(containers[0].image.as_deref(), Some("web:2"));
    let variables = containers[0].env.as_ref().unwrap();
    assert_eq!((variables.len(), variables[0].name.as_str()), (1, "B"));
    drop(server.stop().await);
}

#[tokio::test]
async fn scale_and_status_are_written_apart() {
    let server = Server::start().await;
    let deployments: Api<Deployment> = Api::default_namespaced(server.client().await);
    let web: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": {
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
        } },
    }))
    .unwrap();
    deployments.create(&PostParams::default(), &web).await.unwrap();
    let patch = Patch::Merge(json!({ "spec": { "replicas": 4 } }));
    let scale = deployments.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(4));
    let patch = Patch::Merge(json!({ "status": { "readyReplicas": 2 }, "spec": { "replicas": 9 } }));
    let written = deployments.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(written.status.unwrap().ready_replicas, Some(2));
    assert_eq!(written.spec.replicas, Some(4));
    drop(server.stop().await);
}

#[tokio::test]
async fn a_pods_token_tells_who_it_is_and_dies_with_the_pod() {
    let server = Server::start().await;
    server.cluster.registry().create(pod("a"), &WriteOptions::default()).unwrap();
    let token = server.cluster.authority().issue("default", "default", Some("a")).unwrap();
    let reviews: Api<TokenReview> = Api::all(server.client().await);
    let review = TokenReview { spec: TokenReviewSpec { token: token.clone(), ..Default::default() }, ..Default::default() };
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    let user = answer.user.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:default"));
    assert_eq!(user.extra.unwrap()["authentication.kubernetes.io/pod-name"], ["a"]);
    let pods: Api<Pod> = Api::default_namespaced(server.client().await);
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    assert_ne!(answer.authenticated, Some(true));
    drop(server.stop().await);
}

#[tokio::test]
async fn a_token_is_of_one_account_pod_or_secret_not_of_the_next_of_that_name() {
    let server = Server::start().await;
    let (registry, authority) = (server.cluster.registry(), server.cluster.authority());
    let create = |object: &serde_json::Value| drop(registry.create(object.clone(), &WriteOptions::default()).unwrap());
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x", "namespace": "default"}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "default"}});
    let mut bound_pod = pod("x");
    bound_pod["spec"].as_object_mut().unwrap().remove("nodeName");
    bound_pod["spec"]["serviceAccountName"] = json!("x");
    for object in [&account, &secret, &bound_pod] {
        create(object);
    }
    let issue = |bound| authority.issue_bound("default", "x", bound, None).unwrap();
    let again = |kind: &'static smov_cluster::kinds::Kind, object: &serde_json::Value| {
        assert!(registry.delete(kind, "default", "x", &smov_cluster::registry::DeleteOptions::default()).unwrap().gone);
        create(object);
    };
    let (own, of_pod, of_secret) = (issue(None), issue(Some(("Pod", "x"))), issue(Some(("Secret", "x"))));
    let valid = || [&own, &of_pod, &of_secret].map(|token| authority.authenticate(token).is_some());
    assert_eq!(valid(), [true; 3]);
    again(&smov_cluster::kinds::SECRET, &secret);
    assert_eq!(valid(), [true, true, false]);
    again(&smov_cluster::kinds::POD, &bound_pod);
    assert_eq!(valid(), [true, false, false]);
    again(&smov_cluster::kinds::SERVICE_ACCOUNT, &account);
    assert_eq!(valid(), [false; 3]);
    assert!(authority.issue_bound("default", "x", Some(("Node", "x")), None).is_err());
    drop(server.stop().await);
}

#[tokio::test]
async fn a_token_is_bound_to_the_very_object_that_was_meant_and_to_no_other_accounts_pod() {
    let server = Server::start().await;
    let registry = server.cluster.registry();
    for name in ["x", "y"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}});
        registry.create(account, &WriteOptions::default()).unwrap();
    }
    let mut bound_pod = pod("p");
    bound_pod["spec"]["serviceAccountName"] = json!("x");
    let uid = registry.create(bound_pod, &WriteOptions::default()).unwrap().object["metadata"]["uid"].as_str().unwrap().to_owned();
    let client = server.client().await;
    let ask = async |account: &str, uid: &str| {
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid});
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [], "boundObjectRef": reference}});
        let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
        let call = http::Request::post(path).header("content-type", "application/json").body(request.to_string().into_bytes()).unwrap();
        client.request::<serde_json::Value>(call).await.map(|answer| answer["status"]["token"].is_string())
    };
    assert!(ask("x", &uid).await.unwrap() && ask("x", "").await.unwrap());
    let refused = async |account: &str, uid: &str| match ask(account, uid).await.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    };
    let (code, message) = refused("x", "another").await;
    assert_eq!(code, 409);
    assert!(message.contains("the UID in the bound object reference (another) does not match the UID in record"), "{message}");
    let (code, message) = refused("y", &uid).await;
    assert_eq!(
        (code, message.as_str()),
        (400, "cannot bind token for serviceaccount \"y\" to pod running with different serviceaccount name.")
    );
    drop(server.stop().await);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let long = config_map("a", &"x".repeat(4 * 1024 * 1024));
    let refused = maps.create(&PostParams::default(), &long).await.unwrap_err();
    assert_eq!(status(refused).0, 413);
    let long = config_map("a", &"x".repeat(2 * 1024 * 1024));
    let refused = maps.create(&PostParams::default(), &long).await.unwrap_err();
    assert_eq!(status(refused).0, 422);
    drop(server.stop().await);
}

#[tokio::test]
async fn stopping_ends_open_watches() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let watch = maps.watch(&WatchParams::default(), "0").await.unwrap();
    drop(server.stop().await);
    let rest: Vec<_> = watch.collect().await;
    assert!(rest.iter().all(|event| !matches!(event, Ok(WatchEvent::Added(_)))));
}

#[cfg(unix)]
#[tokio::test]
async fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start().await;
    let folder = server.folder.path().join("ctx1");
    let mode = |path: &str| std::fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("pki")), (0o700, 0o700));
    for file in ["objects.db", "objects.lock", "pki/ca.key", "pki/admin.token", "pki/ca.crt"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    drop(server.stop().await);
}

#[tokio::test]
async fn a_restarted_server_has_the_same_identity_and_objects() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    maps.create(&PostParams::default(), &config_map("a", "red")).await.unwrap();
    let authority = server.cluster.authority();
    let identity = (authority.ca_pem().to_owned(), authority.admin_token().to_owned());
    let token = authority.issue("default", "default", None).unwrap();
    drop(maps);
    let folder = server.stop().await;
    let start = std::time::Instant::now();
    let server = Server::start_in(folder).await;
    println!("existing state opened and bound in {:?}", start.elapsed());
    let authority = server.cluster.authority();
    assert_eq!((authority.ca_pem(), authority.admin_token()), (identity.0.as_str(), identity.1.as_str()));
    assert!(authority.authenticate(&token).is_some());
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    assert_eq!(maps.get("a").await.unwrap().data.unwrap()["colour"], "red");
    drop(server.stop().await);
}
