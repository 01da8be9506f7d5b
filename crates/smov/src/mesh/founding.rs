//! Founding: what must be there before the first pod starts — the store with its first data, the objects of the platform and of `k8s/`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use smov_cluster::cluster::Cluster;
use smov_cluster::error::ApiError;
use smov_cluster::kinds;
use smov_cluster::registry::{Registry, WriteOptions};
use smov_theatre::domain::first_data::FirstData;
use smov_theatre::domain::theatre_day;
use smov_theatre::store::sqlite;

use super::authority::Root;
use super::baseline::{Baseline, CLUSTERS, fingerprint};
use super::link;
use super::state::State;
use super::store::Store;
use super::up::{Plan, Running, chain};
use crate::failure::{Exit, Failure, Outcome};
use crate::kustomize;
use crate::text;

/// Where `hostPath` /var/lib/theater of the embedded overlay lies on this machine.
fn database(state: &State) -> PathBuf {
    state.folder().join("host/var/lib/theater/theater.db")
}

/// The embedded store's schema and first data, written once, before many processes open it.
pub(crate) fn prepare_store(state: &State, plan: &Plan) -> Result<(), Failure> {
    if plan.store != Store::Sqlite {
        return Ok(());
    }
    let path = database(state);
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, text::STATE_UNWRITABLE, &[&path.display(), error]).hint(text::STATE_UNWRITABLE_HINT, &[])
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    let first = FirstData::starting(theatre_day(jiff::Timestamp::now()));
    tokio::task::block_in_place(|| sqlite::prepare(&path, &first)).map(|_created| ()).map_err(|error| failed(&chain(&error)))
}

/// What theatre containers are told beyond their manifests: where the mesh's own doors are, for the page.
pub(crate) fn app_environment(state: &State, plan: &Plan, cluster: &str) -> Vec<(String, String)> {
    let sockets: Vec<_> =
        CLUSTERS.iter().map(|local| format!("{}={}", local.name, Plan::istiod_socket(state, local.name, "debug").display())).collect();
    let mut variables = vec![
        ("SMOV_INGRESS".to_owned(), format!("http://{}", plan.ingress)),
        ("SMOV_DEBUG_SOCKETS".to_owned(), sockets.join(",")),
        ("SMOV_BASELINE".to_owned(), state.folder().display().to_string()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("unix:{}", Plan::istiod_socket(state, cluster, "otlp").display())),
    ];
    if !plan.language.is_empty() {
        variables.push(("SMOV_PAGE_LANGUAGE".to_owned(), plan.language.to_owned()));
    }
    variables.extend(plan.ui_dir.as_ref().map(|folder| ("SMOV_UI_DIR".to_owned(), folder.display().to_string())));
    variables
}

/// Brings both clusters to their baseline: everything on the first start, later only what a newer `k8s/` changed.
pub(crate) fn found(state: &State, plan: &Plan, baseline: &Baseline, running: &[Running]) -> Result<(), Failure> {
    let root = Root::open(state)?;
    for Running { local, cluster, .. } in running {
        let note = format!("{}.baseline", local.name);
        let mut platform = platform(local.name);
        if !plan.empty {
            platform.extend(console_rights());
        }
        let found = format!("{} {}", fingerprint(platform.iter().chain(baseline.of(local.name))), env!("CARGO_PKG_VERSION"));
        if state.note(&note).as_deref() != Some(&found) {
            for object in platform.iter().chain(baseline.of(local.name)) {
                apply(cluster.registry(), object).map_err(|error| refused(local.name, object, &error))?;
            }
            state.write_note(&note, &found)?;
        }
        give_authority(cluster, &root)?;
    }
    // Tokens and addresses are of this run.
    for Running { local, cluster, .. } in running {
        for other in running.iter().filter(|other| other.local.name != local.name) {
            connect(cluster, &other.cluster, plan.empty)?;
        }
        announce(cluster, &format!("http://{}", plan.ingress))?;
    }
    Ok(())
}

fn refused(cluster: &str, object: &Value, error: &ApiError) -> Failure {
    let name = format!("{cluster} {}/{}", object["kind"].as_str().unwrap_or("?"), object["metadata"]["name"].as_str().unwrap_or("?"));
    Failure::new(Exit::Usage, text::MANIFEST_BROKEN, &[&format!("{name}: {}", error.message)]).hint(text::MANIFEST_BROKEN_HINT, &[])
}

/// What a real cluster with Istio already has.
fn platform(cluster: &str) -> Vec<Value> {
    let text = match cluster {
        "ctx1" => include_str!("../../platform/ctx1.yaml"),
        _ => include_str!("../../platform/ctx2.yaml"),
    };
    let mut objects = kustomize::documents(Path::new("platform"), text).expect("a test reads the built-in platform");
    objects.sort_by_key(|object| u8::from(object["kind"] != "Namespace"));
    objects
}

/// The console may write where one person owns the machine (on real clusters: an overlay of its own).
fn console_rights() -> Vec<Value> {
    let text = include_str!("../../platform/console.yaml");
    kustomize::documents(Path::new("console.yaml"), text).expect("a test reads the built-in rights")
}

/// Where people reach the ingress gateway from this machine. A cloud's load balancer writes its address into the Service's status; here the port is
/// part of it, which a status cannot say, so an annotation does.
const URL: &str = "smov.dev/url";

fn announce(cluster: &Cluster, url: &str) -> Outcome {
    let registry = cluster.registry();
    let Some(live) = registry.find(&kinds::SERVICE, "istio-system", "cp-gateway") else { return Ok(()) };
    if live["metadata"]["annotations"][URL] == url {
        return Ok(());
    }
    let options = WriteOptions { field_manager: "smov".to_owned(), ..WriteOptions::default() };
    let written = registry.modify(&kinds::SERVICE, "istio-system", "cp-gateway", &options, |object| {
        object["metadata"]["annotations"][URL] = Value::from(url);
        Ok(())
    });
    written.map(|_| ()).map_err(|error| refused(cluster.name(), &live, &error))
}

/// `kubectl apply` of one object, in process.
fn apply(registry: &Registry, object: &Value) -> Result<(), ApiError> {
    let word = object["kind"].as_str().unwrap_or_default();
    let Some(kind) = kinds::by_kind(word) else {
        return Err(ApiError::bad_request(format!("no matches for kind \"{word}\"")));
    };
    // Who wrote a rule last is told by its fields' managers, from the first on.
    let options = WriteOptions { field_manager: "smov".to_owned(), tracked: kind.custom, ..WriteOptions::default() };
    let metadata = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let namespace = if kind.namespaced { if metadata("namespace").is_empty() { "default" } else { metadata("namespace") } } else { "" };
    if kind.namespaced {
        ensure_namespace(registry, namespace, &options)?;
    }
    let Some(live) = registry.find(kind, namespace, metadata("name")) else {
        return registry.create(crate::three_way::remembering(object), &options).map(|_| ());
    };
    let mut wanted = object.clone();
    wanted["apiVersion"] = live["apiVersion"].clone();
    if let Some(patch) = crate::three_way::patch(&wanted, &live) {
        registry.modify(kind, namespace, metadata("name"), &options, |object| {
            json_patch::merge(object, &patch);
            Ok(())
        })?;
    }
    Ok(())
}

fn ensure_namespace(registry: &Registry, namespace: &str, options: &WriteOptions) -> Result<(), ApiError> {
    if registry.find(&kinds::NAMESPACE, "", namespace).is_some() {
        return Ok(());
    }
    registry.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}), options).map(|_| ())
}

/// Gives a cluster's istiod what it signs with. What is there already stays, for whoever has put another authority in its place.
fn give_authority(cluster: &Cluster, root: &Root) -> Outcome {
    if !root.is_new && cluster.registry().find(&kinds::SECRET, "istio-system", smov_pki::PluggedIn::SECRET).is_some() {
        return Ok(());
    }
    let secret = root.secret(cluster.name()).map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&chain(&error)]))?;
    apply(cluster.registry(), &secret).map_err(|error| refused(cluster.name(), &secret, &error))
}

/// Istio's name of the account by which another cluster's control plane reads.
const READER: &str = "istio-reader-service-account";

/// Lets `cluster` see `other`: a remote secret for its istiod, as `istioctl create-remote-secret` makes it, and one for the console. The latter belongs
/// to the theatre: whoever deploys that later brings it.
fn connect(cluster: &Cluster, other: &Cluster, empty: bool) -> Outcome {
    let secrets = [
        ("istio-system", format!("istio-remote-secret-{}", other.name()), "istio-system", READER),
        ("theater-msa", "console-remote-clusters".to_owned(), "theater-msa", "api-gateway"),
    ];
    for (namespace, name, account_namespace, account) in secrets {
        if empty && namespace != "istio-system" {
            continue;
        }
        let mut secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": "Opaque"});
        let token = match other.authority().issue(account_namespace, account, None) {
            Ok(token) => token,
            // Own manifests need not have the theatre's accounts; then the page has nothing to read there.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(refused(cluster.name(), &secret, &error)),
        };
        let mut kubeconfig = other.kubeconfig(&format!("system:serviceaccount:{account_namespace}:{account}"), &token);
        if let Some(through) = link::addresses().through_socket(other.config().listen) {
            kubeconfig["clusters"][0]["cluster"]["server"] = format!("https://{through}").into();
        }
        if namespace == "istio-system" {
            secret["metadata"]["labels"] = json!({"istio/multiCluster": "true"});
            secret["metadata"]["annotations"] = json!({"networking.istio.io/cluster": other.name()});
        }
        secret["data"] = json!({other.name(): STANDARD.encode(kubeconfig.to_string())});
        apply(cluster.registry(), &secret).map_err(|error| refused(cluster.name(), &secret, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_platform_is_readable() {
        for local in CLUSTERS {
            let objects = platform(local.name);
            assert!(objects.iter().any(|object| object["metadata"]["name"] == format!("istiod-{}", local.name)));
            assert_eq!(objects[0]["kind"], "Namespace");
            assert_eq!(objects.iter().any(|object| object["metadata"]["name"] == "cp-gateway"), local.name == "ctx1");
            assert!(objects.iter().all(|object| object["metadata"]["namespace"] != "theater-msa"));
        }
        assert_eq!(console_rights().len(), 4);
    }

    #[test]
    fn another_clusters_control_plane_may_read_who_is_where_and_nothing_else() {
        for local in CLUSTERS {
            let objects = platform(local.name);
            let named = |kind: &str, name: &str| {
                objects
                    .iter()
                    .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
                    .unwrap_or_else(|| panic!("{name}"))
            };
            named("ServiceAccount", READER);
            let role = named("ClusterRole", "istio-reader-clusterrole-istio-system");
            let mut may = std::collections::BTreeSet::new();
            for rule in role["rules"].as_array().unwrap() {
                assert_eq!(rule["verbs"], json!(["get", "list", "watch"]));
                let resources = rule["resources"].as_array().unwrap().iter();
                may.extend(resources.map(|resource| (rule["apiGroups"][0].as_str().unwrap(), resource.as_str().unwrap())));
            }
            let reads = smov_control::source::SourceKind::remote().map(|kind| match kind {
                smov_control::source::SourceKind::Mesh(kind) => {
                    (kind.api_version().split_once('/').map_or("", |(group, _)| group), kind.plural())
                }
                other => panic!("{other:?} is no kind of the mesh"),
            });
            assert_eq!(may, reads.collect(), "{}", local.name);
            let granted = objects.iter().filter(|object| object["subjects"][0]["name"] == READER);
            assert_eq!(granted.map(|object| &object["roleRef"]["name"]).collect::<Vec<_>>(), ["istio-reader-clusterrole-istio-system"]);
        }
    }
}
