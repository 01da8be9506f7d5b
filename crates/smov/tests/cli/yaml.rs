//! `smov validate` and `smov explain` on files: what they print, and the exit codes that scripts rely on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::text;

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: user-service, namespace: theater-msa}
spec: {selector: {app: user-service}, ports: [{name: http, port: 8081}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: user-service-ctx1, namespace: theater-msa}
spec:
  selector: {matchLabels: {app: user-service, cluster: ctx1}}
  template: {metadata: {labels: {app: user-service, cluster: ctx1}}, spec: {containers: [{name: user-service, image: x}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: user-service-ctx2, namespace: theater-msa}
spec:
  selector: {matchLabels: {app: user-service, cluster: ctx2}}
  template: {metadata: {labels: {app: user-service, cluster: ctx2}}, spec: {containers: [{name: user-service, image: x}]}}
";

const RULES: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: user-service-dr
  namespace: theater-msa
spec:
  host: user-service
  subsets:
  - {name: ctx1, labels: {cluster: ctx1}}
  - {name: ctx2, labels: {cluster: ctx2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: user-service-vs
  namespace: theater-msa
spec:
  hosts: [user-service]
  http:
  - match:
    - headers: {x-canary: {exact: \"true\"}}
    route:
    - destination: {host: user-service, subset: ctx2}
  - route:
    - destination: {host: user-service, subset: ctx1}
      weight: 70
    - destination: {host: user-service, subset: ctx2}
      weight: 30
";

/// A folder with services and rules.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(rules: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.write("services.yaml", SERVICES);
        files.write("rules.yaml", rules);
        files
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs in the folder, so that no path of this machine is printed.
    fn run(&self, language: &str, arguments: &[&str]) -> Output {
        command(self.folder.path(), language, arguments).output().unwrap()
    }
}

fn command(folder: &Path, language: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smov"));
    command.args(["--lang", language]).args(arguments).current_dir(folder).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn validate_shows_the_place_and_the_next_step() {
    let files = Files::new(&RULES.replace("subset: ctx1}\n      weight", "subset: ctx9}\n      weight"));
    let output = files.run("en", &["validate", "-f", "."]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout), @r#"
    checked as Istio 1.32 would: 2 file(s), 5 object(s)

    error[IST0101]  VirtualService theater-msa/user-service-vs
      --> ./rules.yaml:25:41
          spec.http[1].route[0].destination.subset
          |
       25 |     - destination: {host: user-service, subset: ctx9}
          |                                         ^^^^^^^^^^^^^
      Referenced host+subset in destinationrule not found:
      "user-service.theater-msa.svc.cluster.local+ctx9"
      help: defined: ctx1, ctx2 (ctx1?); requests to an undefined one get 503 (NC)

    1 error(s), 0 warning(s), 0 note(s)
    "#);
    assert!(text(&output.stdout).lines().all(|line| line.chars().count() <= 80));
    let korean = text(&files.run("ko", &["validate", "-f", "."]).stdout);
    assert!(korean.contains("가리키는 대상") && korean.contains("정의된 서브셋: ctx1, ctx2"), "{korean}");
}

#[test]
fn validate_is_content_with_what_is_right() {
    let files = Files::new(RULES);
    let output = files.run("en", &["validate", "-f", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    insta::assert_snapshot!(text(&output.stdout), @r#"
    checked as Istio 1.32 would: 2 file(s), 5 object(s)

    0 error(s), 0 warning(s), 0 note(s)
    nothing wrong was found
    "#);
}

#[test]
fn validate_gives_json_for_scripts() {
    let files = Files::new(&RULES.replace("weight: 70", "wieght: 70"));
    files.write("filter.yaml", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: f}\nspec: {}\n");
    let output = files.run("en", &["validate", "-f", ".", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let document = json(&output);
    assert_eq!(document["notConsidered"][0]["kind"], "EnvoyFilter");
    let finding = &document["findings"][0];
    let told = [
        &finding["severity"],
        &finding["code"],
        &finding["path"],
        &finding["line"],
        &finding["column"],
        &finding["excerpt"],
        &finding["help"],
    ];
    insta::assert_snapshot!(serde_json::to_string(&told).unwrap(), @r#"
    ["error","unknown-field","spec.http[1].route[0].wieght",26,7,"      wieght: 70","did you mean `weight`?"]
    "#);
}

#[test]
fn validate_reads_standard_input_lists_and_kustomizations() {
    let files = Files::new(RULES);
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a", "namespace": "shop"}, "spec": {"hosts": ["a"]}}]}"#;
    let mut child = command(files.folder.path(), "en", &["validate", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), list.as_bytes()).unwrap();
    let document = json(&child.wait_with_output().unwrap());
    assert_eq!((document["errors"].as_u64(), document["findings"][0]["file"].as_str()), (Some(1), Some("<stdin>")));
    files.write("kustomization.yaml", "resources: [services.yaml, rules.yaml]\n");
    let output = files.run("en", &["validate", "-k", ".", "-o", "json"]);
    assert_eq!((output.status.code(), json(&output)["objects"].as_u64()), (Some(0), Some(5)));
}

#[test]
fn input_that_cannot_be_read_is_exit_code_2_with_its_place() {
    let files = Files::new("kind: [\n");
    let output = files.run("en", &["validate", "-f", "rules.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("rules.yaml:1:7: not readable as YAML"), "{}", text(&output.stderr));
    assert_eq!(files.run("en", &["validate", "-f", "nowhere.yaml"]).status.code(), Some(2));
    files.write("empty/values.yaml", "replicas: 3\n");
    let output = files.run("en", &["validate", "-f", "empty"]);
    assert_eq!(output.status.code(), Some(2), "a folder without objects");
    assert!(text(&output.stderr).contains("no Kubernetes object"), "{}", text(&output.stderr));
}

#[test]
fn fields_of_kubernetes_own_kinds_are_checked_too() {
    let files = Files::new(RULES);
    files.write(
        "services.yaml",
        &SERVICES.replace("spec: {selector: {app: user-service}, ports", "spec: {selectr: {app: user-service}, ports"),
    );
    let document = json(&files.run("en", &["validate", "-f", "services.yaml", "-o", "json"]));
    assert_eq!(document["findings"][0]["path"], "spec.selectr");
    files.write("services.yaml", &SERVICES.replace("port: 8081", "port: many"));
    let document = json(&files.run("en", &["validate", "-f", "services.yaml", "-o", "json"]));
    assert_eq!(
        (document["findings"][0]["code"].as_str(), document["findings"][0]["path"].as_str()),
        (Some("IST0106"), Some("spec.ports[0].port"))
    );
}

#[test]
fn explain_tells_the_way_of_a_request_from_files() {
    let files = Files::new(RULES);
    let output = files.run("en", &["explain", "GET", "http://user-service:8081/users/", "--from", "api-gateway", "-f", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @r#"
    GET http://user-service:8081/users/

    from         api-gateway in namespace theater-msa (not in the input: assumed,
                   without labels)
    host         user-service:8081 → user-service.theater-msa.svc.cluster.local:8081
    rule         VirtualService theater-msa/user-service-vs  spec.http[1]
                 no condition: takes every request
    passed over  spec.http[0]: header x-canary is absent, wanted = true
    fault        none
    split           70 %  70/100  user-service ctx1
                    30 %  30/100  user-service ctx2
    endpoints    user-service ctx1: user-service-ctx1  ctx1
                 user-service ctx2: user-service-ctx2  ctx2
    balancing    LEAST_REQUEST
    breaker      none
    timeout      none
    retries      up to 2 after the first try, on connect-failure, refused-stream,
                   unavailable, cancelled
    mTLS         not known: the input has no sidecar injection
    policy       no AuthorizationPolicy stands against it
    ends            70 %  a pod of user-service ctx1 answers
                    30 %  a pod of user-service ctx2 answers
    note         from files alone, as Istio 1.32 would
                 odds computed from the configuration, not a draw
    "#);
    assert!(text(&output.stdout).lines().all(|line| line.chars().count() <= 80));
    let korean = text(&files.run("ko", &["explain", "http://user-service:8081/", "-H", "x-canary: true", "-f", "."]).stdout);
    assert!(korean.contains("match[0]이(가) 맞음") && korean.contains("100 %  user-service ctx2 파드가 답함"), "{korean}");
}

#[test]
fn explain_is_a_check_for_scripts() {
    let files = Files::new(RULES);
    let ask = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["explain", "http://user-service:8081/users/", "-f", "."].into_iter().chain(more.iter().copied()).collect();
        files.run("en", &arguments)
    };
    for (expected, code) in [
        ("cluster=ctx2", 1),
        ("cluster=ctx2:30", 0),
        ("subset=ctx1:70", 0),
        ("rule=spec.http[1]", 0),
        ("rule=user-service-vs", 0),
        ("rule=spec.http[0]", 1),
        ("status=503", 1),
        ("status=503:0", 0),
        ("moon=full", 2),
    ] {
        assert_eq!(ask(&["--expect", expected]).status.code(), Some(code), "{expected}");
    }
    assert_eq!(ask(&["-H", "x-canary: true", "--expect", "cluster=ctx2", "--expect", "rule=spec.http[0]"]).status.code(), Some(0));
    let document = json(&ask(&["--expect", "cluster=ctx2", "-o", "json"]));
    assert_eq!(document["expectations"][0]["met"], false);
    assert_eq!(document["chances"][1]["end"]["kubeClusters"][0], "ctx2");
}

#[test]
fn explain_says_what_a_change_moves() {
    let files = Files::new("");
    files.write("old/rules.yaml", RULES);
    files.write("new/rules.yaml", &RULES.replace("weight: 70", "weight: 0").replace("weight: 30", "weight: 100"));
    std::fs::remove_file(files.path("rules.yaml")).unwrap();
    let output = files.run("en", &["explain", "--diff", "old", "new", "-f", "services.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @r#"
    from  client in namespace theater-msa (not in the input: assumed, without
            labels)
    note  from files alone, as Istio 1.32 would
          odds computed from the configuration, not a draw

    2 request(s) compared, treated otherwise: 1

    GET http://user-service:8081/
      ends · old     70 %  a pod of user-service ctx1 answers
                     30 %  a pod of user-service ctx2 answers
      ends · new    100 %  a pod of user-service ctx2 answers
    "#);
    let same = text(&files.run("en", &["explain", "--diff", "old", "old", "-f", "services.yaml"]).stdout);
    assert!(same.contains("no request is treated otherwise"), "{same}");
}

#[test]
fn explain_without_a_url_or_a_mesh_says_what_is_missing() {
    let files = Files::new(RULES);
    let output = files.run("en", &["explain", "-f", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a URL is missing"), "{}", text(&output.stderr));
    assert_eq!(files.run("en", &["explain", "user-service", "-f", "."]).status.code(), Some(2));
    assert_eq!(files.run("en", &["explain", "http://user-service:8081/"]).status.code(), Some(3), "no mesh runs here");
    assert_eq!(files.run("en", &["explain", "--request", "x"]).status.code(), Some(3));
    assert_eq!(files.run("en", &["explain", "--gateway", "http://a/", "-f", "."]).status.code(), Some(2), "there is no Gateway");
}
