//! The real kubectl against an API server of ours.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and says what it skips")]

#[path = "support/kubectl.rs"]
mod kubectl_program;
#[path = "support/server.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use support::Server;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Kubectl {
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments.split_whitespace())
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn with_input(&self, arguments: &str, input: &str) -> Answer {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
        Answer { code: status.code().unwrap(), out: String::from_utf8(stdout).unwrap(), err: String::from_utf8(stderr).unwrap() }
    }

    async fn run(&self, arguments: &str) -> Answer {
        self.with_input(arguments, "").await
    }

    /// Runs a command that must work; returns what it printed.
    async fn ok(&self, arguments: &str) -> String {
        let answer = self.run(arguments).await;
        assert_eq!(answer.code, 0, "kubectl {arguments}\n{}{}", answer.out, answer.err);
        answer.out
    }

    async fn apply(&self, manifest: &str) -> String {
        let answer = self.with_input("apply -f -", manifest).await;
        assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
        answer.out
    }
}

fn prepare(server: &Server, program: PathBuf) -> Kubectl {
    let home = server.folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    Kubectl { program, kubeconfig: server.kubeconfig_file(), home }
}

macro_rules! setup {
    ($server:ident, $kubectl:ident) => {
        let Some(program) = kubectl_program::program() else { return };
        let $server = Server::start().await;
        let $kubectl = prepare(&$server, program);
    };
}

const MANIFEST: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: theater-msa, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: user-service, namespace: theater-msa}
spec:
  selector: {app: user-service}
  ports: [{name: http, port: 8081}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: user-service-ctx1, namespace: theater-msa}
spec:
  selector: {matchLabels: {app: user-service}}
  template:
    metadata: {labels: {app: user-service, version: v1}}
    spec:
      containers:
      - {name: user-service, image: "smov:1", ports: [{containerPort: 8081}], env: [{name: A, value: "1"}], resources: {requests: {cpu: "1"}}}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: user-service-vs, namespace: theater-msa}
spec:
  hosts: [user-service]
  gateways: [mesh]
  http:
  - route:
    - {destination: {host: user-service, subset: ctx1}, weight: 70}
    - {destination: {host: user-service, subset: ctx2}, weight: 30}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn apply_get_patch_scale_and_delete_work_as_on_a_cluster() {
    setup!(server, kubectl);
    let out = kubectl.apply(MANIFEST).await;
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        [
            "namespace/theater-msa created",
            "service/user-service created",
            "deployment.apps/user-service-ctx1 created",
            "virtualservice.networking.istio.io/user-service-vs created",
        ]
    );
    let again = kubectl.apply(MANIFEST).await;
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    let changed = kubectl.apply(&MANIFEST.replace("smov:1", "smov:2")).await;
    assert!(changed.contains("deployment.apps/user-service-ctx1 configured"), "{changed}");

    let table = kubectl.ok("get deploy,svc -n theater-msa -o wide").await;
    assert!(table.contains("UP-TO-DATE") && table.contains("smov:2"), "{table}");
    assert!(table.contains("127.250.200.1") && table.contains("8081/TCP"), "{table}");
    let rules = kubectl.ok("get vs -A").await;
    assert!(rules.contains("GATEWAYS") && rules.contains(r#"["user-service"]"#), "{rules}");
    let all = kubectl.ok("get all,istio-io -n theater-msa").await;
    assert!(all.contains("virtualservice.networking.istio.io/user-service-vs"), "{all}");
    let weight = "get vs user-service-vs -n theater-msa -o jsonpath={.apiVersion}:{.spec.http[0].route[0].weight}";
    assert_eq!(kubectl.ok(weight).await, "networking.istio.io/v1:70");

    kubectl.ok("scale deploy user-service-ctx1 -n theater-msa --replicas=3").await;
    kubectl.ok("label vs user-service-vs -n theater-msa level=2").await;
    kubectl.ok("annotate svc user-service -n theater-msa note=hello").await;
    kubectl.ok("set image deploy/user-service-ctx1 -n theater-msa user-service=smov:3").await;
    kubectl.ok("set env deploy/user-service-ctx1 -n theater-msa B=2").await;
    let spec = "get deploy user-service-ctx1 -n theater-msa -o jsonpath={.spec.replicas}|{.spec.template.spec.containers[0].image}|{.spec.template.spec.containers[0].env[*].name}";
    assert_eq!(kubectl.ok(spec).await, "3|smov:3|A B");
    assert!(kubectl.ok("get vs -A -l level=2 -o name").await.contains("user-service-vs"));
    kubectl.ok("rollout restart deploy/user-service-ctx1 -n theater-msa").await;
    let described = kubectl.ok("describe deploy user-service-ctx1 -n theater-msa").await;
    assert!(described.contains("smov:3"), "{described}");

    let deleted = kubectl.ok("delete vs user-service-vs -n theater-msa").await;
    assert!(deleted.contains("deleted"), "{deleted}");
    let gone = kubectl.run("get vs user-service-vs -n theater-msa").await;
    assert_eq!(gone.code, 1);
    assert!(
        gone.err.contains(r#"Error from server (NotFound): virtualservices.networking.istio.io "user-service-vs" not found"#),
        "{}",
        gone.err
    );
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_patches_and_server_side_apply_work() {
    setup!(server, kubectl);
    kubectl.apply(MANIFEST).await;
    let vs = "-n theater-msa patch virtualservice user-service-vs";
    kubectl.ok(&format!(r#"{vs} --type=json -p [{{"op":"replace","path":"/spec/http/0/route/0/weight","value":0}}]"#)).await;
    kubectl.ok(&format!(r#"{vs} --type=merge -p {{"metadata":{{"labels":{{"a":"b"}}}}}}"#)).await;
    let strategic = kubectl.run(&format!(r#"{vs} -p {{"metadata":{{}}}}"#)).await;
    assert!(
        strategic.err.contains("application/strategic-merge-patch+json is not supported") || strategic.err.contains("UnsupportedMediaType"),
        "{}",
        strategic.err
    );
    let refused =
        kubectl.run(&format!(r#"{vs} --type=json -p [{{"op":"replace","path":"/spec/http/0/route/0/weight","value":-1}}]"#)).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("spec.http[0].route[0].weight: Invalid value: -1"), "{}", refused.err);
    let weight = kubectl.ok("get vs user-service-vs -n theater-msa -o jsonpath={.spec.http[0].route[0].weight}").await;
    assert_eq!(weight, "0");

    let deploy = "-n theater-msa patch deploy user-service-ctx1";
    kubectl.ok(&format!(r#"{deploy} -p {{"spec":{{"template":{{"spec":{{"containers":[{{"name":"user-service","env":[{{"name":"B","value":"2"}}]}}]}}}}}}}}"#)).await;
    let names = kubectl.ok("get deploy user-service-ctx1 -n theater-msa -o jsonpath={.spec.template.spec.containers[0].env[*].name}").await;
    assert!(names == "A B" || names == "B A", "{names}");

    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1', b: '2'}";
    let first = kubectl.with_input("apply --server-side --field-manager=one -f -", map).await;
    assert!(first.out.contains("configmap/m serverside-applied"), "{}{}", first.out, first.err);
    let second = kubectl.with_input("apply --server-side --field-manager=one -f -", &map.replace(", b: '2'", "")).await;
    assert_eq!(second.code, 0, "{}", second.err);
    assert_eq!(kubectl.ok("get cm m -o jsonpath={.data}").await, r#"{"a":"1"}"#);
    let conflict = kubectl.with_input("apply --server-side --field-manager=two -f -", &map.replace("'1'", "'9'")).await;
    assert!(conflict.err.contains(r#"conflict with "one": .data.a"#), "{}", conflict.err);
    let forced = kubectl.with_input("apply --server-side --force-conflicts --field-manager=two -f -", &map.replace("'1'", "'9'")).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_their_place() {
    setup!(server, kubectl);
    kubectl.apply(MANIFEST).await;
    let typo = MANIFEST.replace("replicas: 1", "").replace("  selector: {matchLabels", "  replica: 3\n  selector: {matchLabels");
    let strict = kubectl.with_input("apply -f -", &typo).await;
    assert_eq!(strict.code, 1);
    assert!(strict.err.contains(r#"unknown field "spec.replica""#), "{}", strict.err);
    let warned = kubectl.with_input("apply --validate=warn -f -", &typo).await;
    assert_eq!(warned.code, 0, "{}", warned.err);
    assert!(warned.err.contains(r#"Warning: unknown field "spec.replica""#), "{}", warned.err);
    let mesh = MANIFEST.replace("  http:", "  htp: 1\n  http:");
    let mesh = kubectl.with_input("apply -f -", &mesh).await;
    assert!(mesh.err.contains(r#"unknown field "spec.htp""#), "{}", mesh.err);
    let wrong = kubectl.with_input("apply -f -", &MANIFEST.replace("containerPort: 8081", "containerPort: 80810")).await;
    assert!(
        wrong.err.contains(
            "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 80810: must be between 1 and 65535, inclusive"
        ),
        "{}",
        wrong.err
    );
    let text = kubectl
        .with_input(
            "create -f -",
            &MANIFEST
                .replace("name: user-service-ctx1", "name: other")
                .replace("spec:\n  selector: {matchLabels", "spec:\n  replicas: many\n  selector: {matchLabels"),
        )
        .await;
    assert!(text.err.contains("cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"), "{}", text.err);
    let selector = kubectl
        .with_input(
            "apply -f -",
            &MANIFEST.replace("app: user-service}}", "app: x}}").replace("{app: user-service, version", "{app: x, version"),
        )
        .await;
    assert!(selector.err.contains("field is immutable"), "{}", selector.err);
    let nowhere = kubectl.run("create configmap a -n nowhere").await;
    assert!(nowhere.err.contains(r#"namespaces "nowhere" not found"#), "{}", nowhere.err);
    let dry = kubectl.ok("create configmap dry --from-literal=a=b --dry-run=server -o yaml").await;
    assert!(dry.contains("uid:"), "{dry}");
    assert_eq!(kubectl.run("get configmap dry").await.code, 1);
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_and_waiting_see_changes() {
    setup!(server, kubectl);
    kubectl.apply(MANIFEST).await;
    let mut watching = kubectl.command("get deploy -n theater-msa -w --no-headers").spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("0/1"));
    kubectl.ok("scale deploy user-service-ctx1 -n theater-msa --replicas=5").await;
    assert!(lines.next_line().await.unwrap().unwrap().contains("0/5"));
    watching.kill().await.unwrap();

    let mut waiting =
        kubectl.command("wait deploy/user-service-ctx1 -n theater-msa --for=condition=Available --timeout=20s").spawn().unwrap();
    let key = (&smov_cluster::kinds::DEPLOYMENT, "theater-msa", "user-service-ctx1");
    let options = smov_cluster::registry::WriteOptions::default();
    server
        .cluster
        .registry()
        .modify(key.0, key.1, key.2, &options, |object| {
            object["status"]["conditions"] = serde_json::json!([{ "type": "Available", "status": "True" }]);
            Ok(())
        })
        .unwrap();
    assert!(waiting.wait().await.unwrap().success());
    assert!(kubectl.ok("delete ns theater-msa --wait=false").await.contains("deleted"));
    assert!(kubectl.ok("get ns").await.contains("Terminating"));
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_describes_itself() {
    setup!(server, kubectl);
    let resources = kubectl.ok("api-resources").await;
    for name in ["virtualservices", "vs", "deployments", "endpointslices", "tokenreviews"] {
        assert!(resources.contains(name), "{name} is missing in\n{resources}");
    }
    let versions = kubectl.ok("api-versions").await;
    assert!(versions.contains("networking.istio.io/v1alpha3"), "{versions}");
    assert!(kubectl.ok("version").await.contains("Server Version: v1.32"));
    assert_eq!(kubectl.ok("auth can-i delete pods").await.trim(), "yes");
    assert!(kubectl.ok("auth whoami").await.contains("kubernetes-admin"));
    assert_eq!(kubectl.ok("get --raw /readyz").await.trim(), "ok");
    assert_eq!(kubectl.ok("get --raw /readyz?verbose").await, "[+]ping ok\n[+]storage ok\nreadyz check passed\n");
    let paths: serde_json::Value = serde_json::from_str(&kubectl.ok("get --raw /").await).unwrap();
    for path in paths["paths"].as_array().unwrap() {
        kubectl.ok(&format!("get --raw {}", path.as_str().unwrap())).await;
    }
    let token = kubectl.ok("create token default").await;
    assert!(server.cluster.authority().authenticate(token.trim()).is_some());
    assert_eq!(kubectl.ok("get sa -A --chunk-size=1 -o name").await.lines().count(), 4);
    let old = kubectl.run("get virtualservices.v1alpha3.networking.istio.io -A").await;
    assert!(old.err.contains("No resources found"), "{}", old.err);
    drop(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_told() {
    setup!(server, kubectl);
    let mut config = server.cluster.admin_kubeconfig();
    config["users"][0]["user"]["token"] = serde_json::json!("wrong");
    let path: &Path = &kubectl.kubeconfig;
    std::fs::write(path, config.to_string()).unwrap();
    let refused = kubectl.run("get pods").await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("must be logged in") || refused.err.contains("Unauthorized"), "{}", refused.err);
    drop(server.stop().await);
}
