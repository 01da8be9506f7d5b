//! What types are for, with the real kubectl: explain, validation, diff, client- and server-side apply; and the documents behind them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it skips")]

#[path = "support/kubectl.rs"]
mod kubectl_program;
#[path = "support/server.rs"]
mod support;

use std::{path::PathBuf, process::Stdio};

use http_body_util::BodyExt as _;
use serde_json::Value;
use support::Server;
use tokio::{io::AsyncWriteExt as _, process::Command};

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

struct Answer {
    code: i32,
    /// What was printed, errors last.
    text: String,
}

impl Kubectl {
    fn new(server: &Server, program: PathBuf) -> Self {
        let home = server.folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        Self { program, kubeconfig: server.kubeconfig_file(), home }
    }

    async fn with_input(&self, arguments: &str, input: &str) -> Answer {
        let mut child = Command::new(&self.program)
            .args(arguments.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Answer { code: output.status.code().unwrap(), text }
    }

    /// Runs a command that must work; returns what it printed.
    async fn ok(&self, arguments: &str) -> String {
        self.ok_with(arguments, "").await
    }

    async fn ok_with(&self, arguments: &str, input: &str) -> String {
        let answer = self.with_input(arguments, input).await;
        assert_eq!(answer.code, 0, "kubectl {arguments}\n{}", answer.text);
        answer.text
    }
}

macro_rules! setup {
    ($server:ident, $kubectl:ident) => {
        let Some(program) = kubectl_program::program() else { return };
        let $server = Server::start().await;
        let $kubectl = Kubectl::new(&$server, program);
    };
}

fn deployment(variables: &str, rest: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n      - {{name: app, image: shop/app:1, env: [{variables}]}}\n{rest}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_fields_with_their_types_words_and_values() {
    setup!(server, kubectl);
    let container = kubectl.ok("explain pod.spec.containers").await;
    assert!(container.contains("FIELD: containers <[]Container>"), "{container}");
    assert!(container.contains("name\t<string> -required-"), "{container}");
    assert!(container.contains("enum: Always, IfNotPresent, Never"), "{container}");
    assert!(container.contains("Entrypoint array. Not executed within a shell."), "{container}");
    let all = kubectl.ok("explain deployment --recursive").await;
    assert!(all.contains("maxSurge\t<IntOrString>") && all.contains("limits\t<map[string]Quantity>"), "{all}");
    let old = kubectl.ok("explain pods.spec.containers.ports --output=plaintext-openapiv2").await;
    assert!(old.contains("containerPort\t<integer> -required-"), "{old}");
    let route = kubectl.ok("explain vs.spec.http.route").await;
    assert!(route.contains("GROUP:      networking.istio.io") && route.contains("weight\t<integer>"), "{route}");
    let older = kubectl.ok("explain vs.spec --api-version=networking.istio.io/v1beta1").await;
    assert!(older.contains("VERSION:    v1beta1") && older.contains("The hosts that the rules are for."), "{older}");
    let nothing = kubectl.with_input("explain pod.spec.nothing", "").await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.text.ends_with("error: field \"nothing\" does not exist\n"), "{}", nothing.text);
    for kind in smov_cluster::kinds::kinds() {
        let name = if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) };
        let told = kubectl.ok(&format!("explain {} --api-version={}", kind.plural, kind.api_version())).await;
        assert!(told.contains(&format!("KIND:       {}", kind.kind)), "{name}: {told}");
        assert!(told.contains("metadata\t<ObjectMeta>"), "{name}: {told}");
    }
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_again_changes_elements_by_their_names_and_removes_what_is_gone() {
    setup!(server, kubectl);
    let first = deployment("{name: A, value: '1'}, {name: B, value: '2'}", "      volumes: [{name: data, emptyDir: {}}]\n");
    kubectl.ok_with("apply -f -", &first).await;
    kubectl.ok("set env deploy/web C=3").await;
    let same = kubectl.with_input("diff -f -", &first).await;
    assert_eq!(same.code, 0, "{}", same.text);
    let second = deployment("{name: B, value: '7'}", "");
    let differs = kubectl.with_input("diff -f -", &second).await;
    assert_eq!(differs.code, 1, "{}", differs.text);
    assert!(
        differs.text.contains("-          value: \"2\"\n+          value: \"7\"") || differs.text.contains("+          value: \"7\""),
        "{}",
        differs.text
    );
    kubectl.ok_with("apply -f -", &second).await;
    let variables = kubectl.ok("get deploy web -o jsonpath={.spec.template.spec.containers[0].env[*].name}").await;
    assert_eq!(variables, "B C");
    assert_eq!(kubectl.ok("get deploy web -o jsonpath={.spec.template.spec.volumes}").await, "");
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_tells_whose_fields_they_are() {
    setup!(server, kubectl);
    let manifest = deployment("{name: A, value: '1'}", "  replicas: 2\n");
    let manifest = manifest.replace(
        "      - {name: app, image: shop/app:1, env: [{name: A, value: '1'}]}\n  replicas: 2\n",
        "      - {name: app, image: shop/app:1}\n  replicas: 2\n",
    );
    kubectl.ok_with("apply -f -", &manifest).await;
    // kubectl hands what it applied by itself over to the applier.
    kubectl.ok_with("apply --server-side -f -", &manifest).await;
    let managers = kubectl.ok("get deploy web --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}").await;
    let managers: std::collections::BTreeSet<&str> = managers.split_whitespace().collect();
    assert_eq!(managers, ["kubectl", "kubectl-last-applied"].into());
    assert!(!kubectl.ok("get deploy web -o yaml").await.contains("managedFields"));
    kubectl.ok("scale deploy web --replicas=3").await;
    let conflict = kubectl.with_input("apply --server-side -f -", &manifest).await;
    assert_eq!(conflict.code, 1);
    assert!(
        conflict
            .text
            .contains(r#"Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas"#),
        "{}",
        conflict.text
    );
    kubectl.ok_with("apply --server-side --force-conflicts -f -", &manifest).await;
    assert_eq!(kubectl.ok("get deploy web -o jsonpath={.spec.replicas}").await, "2");
    let without = manifest.replace("  replicas: 2\n", "");
    kubectl.ok_with("apply --server-side -f -", &without).await;
    // Given up, and nobody else's: the default is back.
    assert_eq!(kubectl.ok("get deploy web -o jsonpath={.spec.replicas}").await, "1");
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_errors_are_refused_or_warned_about() {
    setup!(server, kubectl);
    let wrong = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec: {hosts: [web], htp: []}\n";
    let strict = kubectl.with_input("apply -f -", wrong).await;
    assert!(strict.text.contains(r#"strict decoding error: unknown field "spec.htp""#), "{}", strict.text);
    let warned = kubectl.ok_with("apply --validate=warn -f -", wrong).await;
    assert!(warned.contains(r#"Warning: unknown field "spec.htp""#), "{warned}");
    assert!(!kubectl.ok("get vs web -o jsonpath={.spec}").await.contains("htp"), "it was not stored");
    let bad = kubectl.with_input("create -f -", &deployment("", "  replicas: many\n")).await;
    assert!(bad.text.contains("cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"), "{}", bad.text);
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_kept_under_the_hash_of_their_content() {
    let server = Server::start().await;
    let client = server.client().await;
    let get = async |path: &str, header: (&str, &str)| {
        let request = http::Request::get(path).header(header.0, header.1).body(kube::client::Body::empty()).unwrap();
        let response = client.send(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    let accept = ("accept", "application/json");
    let (_, index) = get("/openapi/v3", accept).await;
    let index: Value = serde_json::from_slice(&index).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let (parts, text) = get(url, accept).await;
    assert_eq!(parts.headers["cache-control"], "public, immutable");
    let document: Value = serde_json::from_slice(&text).unwrap();
    let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"];
    assert_eq!(spec["properties"]["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(spec["required"], serde_json::json!(["containers"]));
    let tag = parts.headers["etag"].to_str().unwrap();
    let (known, nothing) = get("/openapi/v3/apis/apps/v1", ("if-none-match", tag)).await;
    assert_eq!((known.status.as_u16(), nothing.len()), (304, 0));
    let (moved, _) = get("/openapi/v3/apis/apps/v1?hash=OLD", accept).await;
    assert_eq!((moved.status.as_u16(), moved.headers["location"].to_str().unwrap()), (301, url));
    // Every reference in every document leads somewhere.
    for path in index["paths"].as_object().unwrap().keys() {
        let (_, text) = get(&format!("/openapi/v3/{path}"), accept).await;
        let document: Value = serde_json::from_slice(&text).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for part in String::from_utf8(text.to_vec()).unwrap().split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{path}: {name}");
        }
    }
    drop(server.stop().await);
}
