//! `deploy-all.sh` and `cleanup.sh` with the real kubectl, onto two empty local clusters: what they bring, what a second run changes (nothing), what is
//! left, and that each planted fault is named with its fix.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smov_testkit::mesh::{Mesh, processes_of};
use smov_testkit::tools;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// One pair of clusters at a time: a start takes all cores of a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Two clusters with the mesh and nothing else.
struct Clusters {
    mesh: Option<Mesh>,
    folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Clusters {
    /// `None`: this machine lacks a program that is needed.
    fn start() -> Option<Self> {
        if !["kubectl", "curl", "redis"].into_iter().all(tools::found) {
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().canonicalize().unwrap().join("state");
        let mesh = Mesh::start(Path::new(env!("CARGO_BIN_EXE_smov")), &state, &["--empty", "--store", "redis"]).unwrap();
        Some(Self { mesh: Some(mesh), folder, _turn: turn })
    }

    fn mesh(&self) -> &Mesh {
        self.mesh.as_ref().unwrap()
    }

    /// Runs a script of the project's root against these clusters.
    fn run(&self, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let home = self.folder.path();
        let mut command = Command::new("bash");
        command.arg(root().join(script)).args(arguments).current_dir(home);
        for name in ["DOMAIN", "REGISTRY", "TAG", "GATEWAY", "GATEWAY_URL", "CTX1", "CTX2", "ONLY", "http_proxy", "https_proxy"] {
            command.env_remove(name);
        }
        command.env("KUBECONFIG", self.mesh().kubeconfig()).env("HOME", home).env("LC_ALL", "C.UTF-8").env("SMOV_LANG", "en");
        command.envs(environment.iter().copied()).stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// kubectl, which must succeed.
    fn kubectl(&self, context: &str, arguments: &[&str]) -> String {
        let output = self.mesh().kubectl(context, arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn end(mut self) {
        let state = self.mesh().state.clone();
        assert!(self.mesh.take().unwrap().stop().unwrap().success());
        assert_eq!(processes_of(&state), []);
    }
}

/// A Gateway of the platform's own.
const THEIRS: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: theirs, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.other.example']}]
";

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_theatre_comes_up_a_second_run_changes_nothing_and_cleanup_leaves_nothing() {
    let Some(clusters) = Clusters::start() else { return };
    let preview = clusters.run("deploy-all.sh", &["--dry-run"], &[]);
    assert!(preview.status.success(), "{}", told(&preview));
    assert!(!clusters.kubectl("ctx1", &["get", "namespaces", "-o", "name"]).contains("theater-msa"), "a preview changes nothing");

    let unasked = clusters.run("deploy-all.sh", &[], &[]);
    assert_eq!(unasked.status.code(), Some(2), "without a terminal it needs --yes: {}", told(&unasked));

    let started = Instant::now();
    let first = clusters.run("deploy-all.sh", &["--yes"], &[]);
    let took = started.elapsed();
    let text = told(&first);
    assert!(first.status.success(), "{text}");
    // The bound that is promised is measured on a release build and an idle machine; this one is for a debug build beside other tests.
    assert!(took < Duration::from_secs(60), "{took:?}");
    for context in ["ctx1", "ctx2"] {
        assert!(
            text.contains(&clusters.kubectl(context, &["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"])),
            "{text}"
        );
        let ready = clusters.kubectl(
            context,
            &["-n", "theater-msa", "get", "deployments", "-o", "jsonpath={range .items[*]}{.metadata.name}={.status.readyReplicas} {end}"],
        );
        assert_eq!(ready.matches("=1 ").count(), 4, "{ready}");
    }
    for path in ["/users/", "/movies/", "/bookings/"] {
        assert!(text.contains(&format!("✓ GET {path} × 40: ctx1 ")), "{text}");
    }

    let versions = |context: &str| {
        clusters.kubectl(
            context,
            &[
                "get",
                "namespaces,clusterroles,deployments,replicasets,pods,services,configmaps,secrets,serviceaccounts,vs,dr,gw",
                "-A",
                "-o",
                "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} {.metadata.generation} {.spec}{.data}{\"\\n\"}{end}",
            ],
        )
    };
    let before = (versions("ctx1"), versions("ctx2"));
    let second = clusters.run("deploy-all.sh", &["--yes"], &[]);
    assert!(second.status.success(), "{}", told(&second));
    assert_eq!(told(&second).matches("nothing changed: ").count(), 2, "{}", told(&second));
    assert_eq!((versions("ctx1"), versions("ctx2")), before);

    // A setting that changes is seen as such, and reaches the pods and the rules.
    let moved = clusters.run(
        "deploy-all.sh",
        &["--yes", "--only", "ctx1"],
        &[("DOMAIN", "theater.example.com"), ("REGISTRY", "registry.example.com:5000/team"), ("TAG", "v9")],
    );
    assert!(moved.status.success(), "{}", told(&moved));
    let image = clusters.kubectl(
        "ctx1",
        &["-n", "theater-msa", "get", "deployment", "api-gateway", "-o", "jsonpath={.spec.template.spec.containers[0].image}"],
    );
    assert_eq!(image, "registry.example.com:5000/team/api-gateway:v9");
    let host = clusters.kubectl("ctx1", &["-n", "istio-system", "get", "virtualservice", "theater-msa", "-o", "jsonpath={.spec.hosts}"]);
    assert_eq!(host, r#"["theater.example.com"]"#);

    // One side alone, by its own script: ctx2 has nothing of what changed.
    let other = clusters.run("deploy-ctx2.sh", &["--yes"], &[]);
    assert!(other.status.success() && told(&other).contains("ctx2 nothing changed: "), "{}", told(&other));

    let platform = |context: &str| {
        clusters.kubectl(context, &["get", "deployments,services,secrets,clusterroles", "-n", "istio-system", "-o", "name"])
    };
    let cleaned = clusters.run("cleanup.sh", &["--yes"], &[]);
    let text = told(&cleaned);
    assert!(cleaned.status.success() && text.matches("nothing is left").count() == 2, "{text}");
    for context in ["ctx1", "ctx2"] {
        let left = clusters.kubectl(context, &["get", "namespaces,clusterroles,clusterrolebindings,vs,dr,gw", "-A", "-o", "name"]);
        assert!(!left.contains("theater-msa") && !left.contains("cp-gateway"), "{left}");
        assert!(platform(context).contains("istiod"), "the platform stays");
    }
    let again = clusters.run("cleanup.sh", &["--yes"], &[]);
    assert!(again.status.success(), "{}", told(&again));

    // Both subsets in one cluster, as on kind: the same traffic, and the same way back.
    // The platform has a Gateway of its own here, which is used and left as it is.
    let file = clusters.folder.path().join("gateway.yaml");
    std::fs::write(&file, THEIRS.replace("*.other.example", "*")).unwrap();
    clusters.kubectl("ctx1", &["apply", "-f", file.to_str().unwrap()]);
    let theirs = || {
        clusters.kubectl(
            "ctx1",
            &[
                "-n",
                "istio-system",
                "get",
                "gateways",
                "-o",
                "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.generation} {end}",
            ],
        )
    };
    let before = theirs();
    let one = clusters.run("deploy-all.sh", &["--yes", "--one-cluster", "--gateway", "theirs"], &[]);
    assert!(one.status.success() && told(&one).contains("✓ GET /users/ × 40: ctx1 "), "{}", told(&one));
    assert_eq!(theirs(), before, "no Gateway was made, changed or taken");
    assert!(!clusters.kubectl("ctx2", &["get", "namespaces", "-o", "name"]).contains("theater-msa"));
    let cleaned = clusters.run("cleanup.sh", &["--yes", "--one-cluster"], &[]);
    assert!(cleaned.status.success(), "{}", told(&cleaned));
    assert_eq!(theirs(), before);
    clusters.end();
}

/// Lines of the check that name a fault.
fn faults(clusters: &Clusters, arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let output = clusters.run("deploy-all.sh", &[&["--check"], arguments].concat(), environment);
    let text = told(&output);
    let found: Vec<String> = text.lines().filter(|line| line.contains('✗')).map(|line| line.trim().to_owned()).collect();
    let fixes = text.lines().filter(|line| line.trim().starts_with("fix: ")).count();
    assert_eq!(fixes, found.len(), "every fault has a fix: {text}");
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{text}");
    found
}

#[test]
fn each_planted_fault_is_named_alone_and_with_its_fix() {
    let Some(clusters) = Clusters::start() else { return };
    assert_eq!(faults(&clusters, &[], &[]), Vec::<String>::new());
    let one = |found: Vec<String>, words: &str| {
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    };

    one(faults(&clusters, &["--ctx2", "nowhere"], &[]), "there is no context `nowhere`");

    let dead = clusters.folder.path().join("dead");
    let config = std::fs::read_to_string(clusters.mesh().kubeconfig()).unwrap();
    let server = clusters.kubectl("ctx2", &["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    std::fs::write(&dead, config.replace(&server, "https://127.0.0.1:1")).unwrap();
    one(faults(&clusters, &[], &[("KUBECONFIG", dead.to_str().unwrap())]), "the API server does not answer");

    one(faults(&clusters, &["--ctx2", "ctx1"], &[]), "both contexts lead to one cluster");

    clusters.kubectl("ctx1", &["create", "namespace", "theater-msa"]);
    one(faults(&clusters, &[], &[]), "namespace theater-msa has no label for sidecar injection");
    clusters.kubectl("ctx1", &["label", "namespace", "theater-msa", "istio-injection=enabled"]);

    clusters.kubectl("ctx1", &["-n", "theater-msa", "create", "deployment", "redis-proxy", "--image=alpine/socat", "--replicas=0"]);
    one(faults(&clusters, &[], &[]), "left over from another deployment: deployment.apps/redis-proxy");
    clusters.kubectl("ctx1", &["delete", "namespace", "theater-msa"]);

    clusters.kubectl("ctx2", &["label", "nodes", "--all", "cluster-name-"]);
    one(faults(&clusters, &[], &[]), "no ready node has the label cluster-name=ctx2");
    clusters.kubectl("ctx2", &["label", "nodes", "--all", "cluster-name=ctx2"]);

    let secret = clusters.kubectl("ctx1", &["-n", "istio-system", "get", "secret", "istio-remote-secret-ctx2", "-o", "json"]);
    clusters.kubectl("ctx1", &["-n", "istio-system", "delete", "secret", "istio-remote-secret-ctx2"]);
    one(faults(&clusters, &[], &[]), "no remote secret for ctx2");
    let file = clusters.folder.path().join("secret.json");
    std::fs::write(&file, secret).unwrap();
    clusters.kubectl("ctx1", &["replace", "--force", "-f", file.to_str().unwrap()]);

    clusters.kubectl("ctx1", &["-n", "istio-system", "scale", "deployment", "cp-gateway", "--replicas=0"]);
    clusters.kubectl("ctx1", &["-n", "istio-system", "wait", "--for=delete", "pod", "-l", "app=cp-gateway", "--timeout=60s"]);
    one(faults(&clusters, &[], &[]), "ingress gateway istio-system/cp-gateway: no pod of it is ready");
    clusters.kubectl("ctx1", &["-n", "istio-system", "scale", "deployment", "cp-gateway", "--replicas=1"]);
    clusters.kubectl("ctx1", &["-n", "istio-system", "rollout", "status", "deployment", "cp-gateway", "--timeout=60s"]);

    // Somebody else's Gateway, for other names than ours.
    let file = clusters.folder.path().join("gateway.yaml");
    std::fs::write(&file, THEIRS).unwrap();
    clusters.kubectl("ctx1", &["apply", "-f", file.to_str().unwrap()]);
    one(faults(&clusters, &["--gateway", "theirs", "--domain", "theater.example.com"], &[]), "does not take theater.example.com");
    assert_eq!(faults(&clusters, &["--gateway", "theirs", "--domain", "a.other.example"], &[]), Vec::<String>::new());
    one(faults(&clusters, &[], &[("GATEWAY_SELECTOR", "istio=egressgateway")]), "there is no ingress gateway Service");

    clusters.kubectl("ctx2", &["-n", "istio-system", "scale", "deployment", "istiod-ctx2", "--replicas=0"]);
    clusters.kubectl("ctx2", &["-n", "istio-system", "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s"]);
    one(faults(&clusters, &[], &[]), "istiod: no pod of it is ready");

    // Nothing of all this brought anything.
    assert!(!clusters.kubectl("ctx2", &["get", "namespaces", "-o", "name"]).contains("theater-msa"));
    clusters.end();
}

#[test]
fn what_cannot_be_right_is_refused_before_anything_is_asked() {
    for (script, arguments) in [
        ("deploy-all.sh", &["--frob"][..]),
        ("deploy-all.sh", &["--tag", "a b"]),
        ("deploy-all.sh", &["--domain"]),
        ("cleanup.sh", &["x"]),
        ("build-images.sh", &["--push"]),
    ] {
        let output = Command::new("bash").arg(root().join(script)).args(arguments).env("SMOV_LANG", "en").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{script} {arguments:?}: {}", told(&output));
        assert!(told(&output).contains("error: "), "{}", told(&output));
    }
    let korean = Command::new("bash").arg(root().join("build-images.sh")).arg("--push").env("SMOV_LANG", "ko").output().unwrap();
    assert!(told(&korean).contains("필요합니다"), "{}", told(&korean));
}

#[test]
fn images_are_built_for_every_service_or_the_commands_are_shown() {
    let show = |arguments: &[&str]| {
        let output = Command::new("bash").arg(root().join("build-images.sh")).arg("--dry-run").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        told(&output)
    };
    let pushed = show(&["--builder", "docker", "--registry", "r.example.com/team/", "--tag", "v2", "--push"]);
    let single = show(&["--builder", "podman"]);
    for service in ["user-service", "movie-service", "booking-service", "api-gateway"] {
        assert!(pushed.contains(&format!("--target {service} --tag r.example.com/team/{service}:v2 --push")), "{pushed}");
        assert!(single.contains(&format!("--target {service} --tag theater-msa/{service}:v1")), "{single}");
        let stage = format!("AS {service}\n");
        assert!(std::fs::read_to_string(root().join("Dockerfile")).unwrap().contains(&stage), "{stage}");
    }
    assert!(pushed.contains("linux/amd64") && pushed.contains("linux/arm64"), "{pushed}");
}

#[test]
fn shellcheck_and_hadolint_find_nothing() {
    if tools::found("shellcheck") {
        let mut scripts: Vec<PathBuf> = [root(), root().join("scripts"), root().join("dist")]
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "sh"))
            .collect();
        scripts.sort();
        assert!(scripts.len() >= 9, "{scripts:?}");
        let output = Command::new("shellcheck").args(&scripts).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
    }
    if tools::found("hadolint") {
        let output = Command::new("hadolint").arg("Dockerfile").current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
    }
}
