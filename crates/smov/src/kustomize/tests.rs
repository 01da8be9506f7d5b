use std::collections::BTreeMap;

use super::*;

struct Texts(BTreeMap<&'static str, &'static str>);

impl Files for Texts {
    fn read(&self, path: &Path) -> Option<String> {
        self.0.get(path.to_str()?).map(|text| (*text).to_owned())
    }
    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        self.0.keys().map(PathBuf::from).filter(|path| path.parent() == Some(folder)).collect()
    }
}

fn names(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())).collect()
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: x}}\nspec: {containers: [{name: c, image: i}]}\n";

#[test]
fn a_folder_without_kustomization_gives_all_its_yaml() {
    let files = Texts([("d/a.yaml", POD), ("d/readme.md", "no")].into());
    assert_eq!(names(&build(&files, Path::new("d")).unwrap()), ["Pod/a"]);
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let files = Texts([("kustomization.yaml", "helmCharts: []\n")].into());
    let error = build(&files, Path::new("")).unwrap_err().to_string();
    assert!(error.contains("helmCharts"), "{error}");
}

#[test]
fn a_patch_without_object_is_refused() {
    let files = Texts(
        [("a.yaml", POD), ("kustomization.yaml", "resources: [a.yaml]\npatches:\n- target: {kind: Pod, name: b}\n  patch: '[]'\n")].into(),
    );
    assert!(build(&files, Path::new("")).unwrap_err().to_string().contains("finds no object"));
}

#[test]
fn strategic_patches_merge_lists_by_their_key() {
    let kustomization = "resources: [a.yaml]\npatches:\n- patch: |-\n    {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: other}]}}\n";
    let files = Texts([("a.yaml", POD), ("kustomization.yaml", kustomization)].into());
    assert_eq!(build(&files, Path::new("")).unwrap()[0]["spec"]["containers"], serde_json::json!([{"name": "c", "image": "other"}]));
}

#[test]
fn each_cluster_keeps_its_own_and_redis_lives_in_ctx2() {
    let of = |overlay: &str| names(&build(&BuiltIn, Path::new(overlay)).unwrap());
    let ctx1 = of("overlays/two-clusters/ctx1");
    let ctx2 = of("overlays/two-clusters/ctx2");
    for here in ["Deployment/user-service-ctx1", "Deployment/api-gateway", "Service/redis", "VirtualService/theater-msa"] {
        assert!(ctx1.iter().any(|name| name == here), "{here}");
    }
    for there in ["Deployment/user-service-ctx2", "Deployment/redis", "VirtualService/user-service-vs"] {
        assert!(ctx2.iter().any(|name| name == there), "{there}");
    }
    assert!(!ctx1.iter().any(|name| name.ends_with("-ctx2") || name == "Deployment/redis"));
    assert!(!ctx2.iter().any(|name| name.ends_with("-ctx1") || name == "Deployment/api-gateway"));
    // The platform's Gateway is its own; where there is no platform, ours stands in.
    let has_gateway = |overlay: &str| of(overlay).iter().any(|name| name == "Gateway/cp-gateway");
    for (overlay, expected) in [
        ("overlays/two-clusters/ctx1", false),
        ("overlays/two-clusters/ctx2", false),
        ("overlays/local-redis/ctx1", true),
        ("overlays/local-redis/ctx2", false),
        ("overlays/local-embedded/ctx1", true),
        ("overlays/one-cluster", true),
    ] {
        assert_eq!(has_gateway(overlay), expected, "{overlay}");
    }
}

#[test]
fn the_canary_points_to_ctx2_everywhere() {
    for overlay in ["overlays/two-clusters/ctx1", "overlays/two-clusters/ctx2", "overlays/one-cluster"] {
        let objects = build(&BuiltIn, Path::new(overlay)).unwrap();
        let rules: Vec<_> = objects
            .iter()
            .filter(|object| object["kind"] == "VirtualService" && object["metadata"]["namespace"] == "theater-msa")
            .collect();
        assert_eq!(rules.len(), 3);
        for rule in rules {
            assert_eq!(rule["spec"]["http"][0]["match"][0]["headers"]["x-canary"]["exact"], "true");
            assert_eq!(rule["spec"]["http"][0]["route"][0]["destination"]["subset"], "ctx2");
        }
    }
}

/// The same objects as the real tool gives, for every overlay.
#[test]
fn the_result_equals_kubectl_kustomize() {
    if !smov_testkit::tools::found("kubectl") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s").canonicalize().unwrap();
    for overlay in [
        "two-clusters/ctx1",
        "two-clusters/ctx2",
        "two-clusters-ui-files/ctx1",
        "console-write/ctx1",
        "console-write/ctx2",
        "local-redis/ctx1",
        "local-redis/ctx2",
        "local-embedded/ctx1",
        "local-embedded/ctx2",
        "one-cluster",
    ] {
        let output = std::process::Command::new("kubectl").arg("kustomize").arg(root.join("overlays").join(overlay)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let keyed = |objects: Vec<Value>| -> BTreeMap<String, Value> {
            objects
                .into_iter()
                .map(|object| (format!("{}/{}/{}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]), object))
                .collect()
        };
        let theirs = keyed(documents(Path::new("kubectl"), &String::from_utf8(output.stdout).unwrap()).unwrap());
        let ours = keyed(build(&Disk, &root.join("overlays").join(overlay)).unwrap());
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{overlay}");
        for (key, object) in ours {
            assert_eq!(object, theirs[&key], "{overlay} {key}");
        }
    }
}

/// The page's frame and the Live view are in the ConfigMap and are mounted where the page looks for them; it is small enough for `kubectl apply`, which
/// writes the whole object into an annotation.
#[test]
fn the_config_map_of_the_page_is_whole_and_can_be_applied() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let objects = build(&Disk, &root.join("k8s/overlays/two-clusters-ui-files/ctx1")).unwrap();
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == "ui-files").unwrap();
    let gateway = objects.iter().find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == "api-gateway").unwrap();
    let volumes = gateway.pointer("/spec/template/spec/volumes").unwrap().as_array().unwrap();
    let items = volumes.iter().find(|volume| volume["name"] == "ui-files").unwrap()["configMap"]["items"].as_array().unwrap();
    let ui = root.join("crates/smov-console/ui");
    let shell =
        ["index.html", "boot.js", "ui.css", "app.js", "core.js", "dom.js", "live.js", "views.js", "theatre.js", "i18n/ko.js", "i18n/en.js"];
    for path in shell {
        assert!(items.iter().any(|item| item["path"] == path), "{path} is not mounted");
    }
    for item in items {
        let (path, key) = (item["path"].as_str().unwrap(), item["key"].as_str().unwrap());
        assert_eq!(map["data"][key].as_str(), Disk.read(&ui.join(path)).as_deref(), "{path}");
    }
    assert_eq!(items.len(), map["data"].as_object().unwrap().len());
    assert!(serde_json::to_string(map).unwrap().len() < 262_144, "kubectl apply refuses it");
}
