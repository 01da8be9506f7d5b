//! Explanations: the way of a request from files alone, with its odds, and what a change of rules changes.

use smov_istio::analyze::assume::Assumed;
use smov_istio::analyze::input::Input;
use smov_istio::compile::Prepared;
use smov_istio::explain::{Chance, End, Explanation, Question, caller, differences, explain_snapshot, gateway};
use smov_istio::world::{MeshConfig, Role};
use smov_model::snapshot::Snapshot;

use crate::theatre::{VERSION, case, cluster};

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {selector: {app: a}, ports: [{name: http, port: 8081, targetPort: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a-east, namespace: shop}
spec: {replicas: 2, template: {metadata: {labels: {app: a, cluster: east}}, spec: {containers: [{name: a, ports: [{name: web, containerPort: 9000}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a-west, namespace: shop}
spec: {template: {metadata: {labels: {app: a, version: v2}}, spec: {nodeSelector: {cluster-name: west}, containers: [{name: a, ports: [{name: web, containerPort: 9000}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: shop}
spec: {template: {metadata: {labels: {app: front}}, spec: {containers: [{name: front}]}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec: {host: a, subsets: [{name: east, labels: {cluster: east}}, {name: west, labels: {version: v2}}, {name: nobody, labels: {version: v9}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec:
  hosts: [a]
  http:
  - match: [{sourceLabels: {app: batch}}]
    route: [{destination: {host: a, subset: nobody}}]
  - match: [{uri: {prefix: /admin}}]
    directResponse: {status: 403}
  - match: [{headers: {x-lost: {exact: \"1\"}}}]
    route: [{destination: {host: a, subset: missing}, weight: 1}, {destination: {host: a, subset: nobody}, weight: 3}]
  - fault: {abort: {httpStatus: 500, percentage: {value: 20}}, delay: {fixedDelay: 3s, percentage: {value: 100}}}
    route: [{destination: {host: a, subset: east}, weight: 3}, {destination: {host: a, subset: west}, weight: 1}]
";

fn input(text: &str) -> Input {
    let mut input = Input::default();
    input.add("x.yaml", text).unwrap();
    input
}

fn snapshot(input: &Input, from: Option<&str>) -> (Snapshot, bool) {
    let mut world = input.world(&cluster("local"), MeshConfig::default());
    let caller = caller(&mut world, from, &"shop".parse().unwrap());
    (Prepared::new(&world).snapshot_for(&caller.proxy, VERSION).snapshot, caller.known)
}

fn ask(snapshot: &Snapshot, url: &str, headers: &[&str]) -> Explanation {
    let headers: Vec<String> = headers.iter().map(|line| (*line).to_owned()).collect();
    let question = Question::new("GET", url, &headers).unwrap();
    explain_snapshot(snapshot, Role::Sidecar, question.port, &question.head())
}

fn told(chances: &[Chance]) -> Vec<String> {
    let end = |end: &End| match end {
        End::Cluster { cluster, kube_clusters } => format!("{} in {}", cluster.subset.as_ref().unwrap(), kube_clusters.join("+")),
        End::Status { status, flag } => format!("{status} {}", flag.map_or("-", |flag| flag.as_str())),
        End::Passthrough => "passthrough".to_owned(),
    };
    chances.iter().map(|chance| format!("{} {}", chance.percent, end(&chance.end))).collect()
}

#[test]
fn faults_and_splits_are_multiplied_out() {
    let (snapshot, known) = snapshot(&input(SHOP), Some("front"));
    assert!(known, "the caller is a workload of the files");
    let found = ask(&snapshot, "http://a:8081/", &[]);
    assert_eq!(told(&found.chances()), ["20 500 FI", "60 east in east", "20 west in west"]);
    let rule = found.rule.unwrap();
    assert_eq!(rule.origin.path, "spec.http[3]");
    assert!(!found.conditional);
}

#[test]
fn rules_that_this_caller_does_not_have_are_named_and_those_passed_over_say_why() {
    let front = ask(&snapshot(&input(SHOP), Some("front")).0, "http://a:8081/", &[]);
    assert_eq!(front.absent.iter().map(|origin| origin.path.as_str()).collect::<Vec<_>>(), ["spec.http[0]"]);
    assert_eq!(front.skipped.iter().map(|rule| rule.origin.path.as_str()).collect::<Vec<_>>(), ["spec.http[1]", "spec.http[2]"]);
    let batch = input(&SHOP.replace("app: front", "app: batch"));
    let batch = ask(&snapshot(&batch, Some("front")).0, "http://a:8081/", &[]);
    assert_eq!(batch.rule.as_ref().unwrap().origin.path, "spec.http[0]");
    assert_eq!(told(&batch.chances()), ["100 503 UH"]);
}

#[test]
fn answers_of_the_proxy_itself_have_their_status_and_flag() {
    let (snapshot, _) = snapshot(&input(SHOP), None);
    let told_of = |url: &str, headers: &[&str]| told(&ask(&snapshot, url, headers).chances());
    assert_eq!(told_of("http://a:8081/admin/x", &[]), ["100 403 -"]);
    assert_eq!(told_of("http://a:8081/", &["X-Lost: 1"]), ["25 503 NC", "75 503 UH"]);
    assert_eq!(told_of("http://nobody:8081/", &[]), ["100 passthrough"]);
    assert_eq!(told_of("http://a.shop.svc.cluster.local:8081/admin", &[]), ["100 403 -"]);
}

#[test]
fn pods_of_files_have_the_port_and_cluster_that_their_template_says() {
    let (snapshot, _) = snapshot(&input(SHOP), None);
    let cluster = snapshot.clusters.values().find(|cluster| cluster.name.subset.is_none()).unwrap();
    let mut pods: Vec<String> =
        cluster.endpoints.iter().map(|one| format!("{} {} {}", one.workload.pod, one.workload.cluster, one.address.port())).collect();
    pods.sort();
    assert_eq!(pods, ["a-east-1 east 9000", "a-east-2 east 9000", "a-west west 9000"]);
}

#[test]
fn a_caller_that_is_nowhere_is_assumed() {
    let (_, known) = snapshot(&input(SHOP), Some("somebody"));
    assert!(!known);
}

#[test]
fn traffic_from_outside_meets_the_gateway_with_or_without_its_pod() {
    let rules = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {istio: ingress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: out, namespace: shop}\nspec: {hosts: [shop.example.com], gateways: [g], http: [{route: [{destination: {host: a, subset: east}}]}]}\n";
    for (label, known) in [("app: front", false), ("app: front, istio: ingress", true)] {
        let input = input(&format!("{}{rules}", SHOP.replace("app: front", label)));
        let mut world = input.world(&cluster("local"), MeshConfig::default());
        assert_eq!(gateway(&mut world, Some("other")), None);
        let found = gateway(&mut world, None).unwrap();
        assert_eq!(found.known, known);
        let snapshot = Prepared::new(&world).snapshot_for(&found.proxy, VERSION).snapshot;
        let question = Question::new("GET", "http://shop.example.com/", &[]).unwrap();
        let explanation = explain_snapshot(&snapshot, Role::Gateway, question.port, &question.head());
        assert_eq!(told(&explanation.chances()), ["100 east in east"]);
        let other = Question::new("GET", "http://other.example.com/", &[]).unwrap();
        assert_eq!(told(&explain_snapshot(&snapshot, Role::Gateway, other.port, &other.head()).chances()), ["100 404 NR"]);
    }
}

#[test]
fn rules_alone_imply_services_and_a_pod_per_subset() {
    let mut input = input(&case("01-baseline"));
    let assumed = input.assume(&[8081.try_into().unwrap()], Some("user-service:8081"), &[]);
    assert_eq!(assumed, Assumed { services: true, pods: true });
    let mut world = input.world(&cluster("local"), MeshConfig::default());
    let caller = caller(&mut world, None, &"theater-msa".parse().unwrap());
    let snapshot = Prepared::new(&world).snapshot_for(&caller.proxy, VERSION).snapshot;
    assert_eq!(told(&ask(&snapshot, "http://user-service:8081/", &[]).chances()), ["70 ctx1 in ctx1", "30 ctx2 in ctx2"]);
}

#[test]
fn nothing_is_assumed_where_it_is_written() {
    let mut shop = input(SHOP);
    let before = shop.sources().len();
    assert_eq!(shop.assume(&[80.try_into().unwrap()], None, &[]), Assumed::default());
    assert_eq!(shop.sources().len(), before);
}

#[test]
fn a_change_of_rules_names_the_requests_that_it_moves_and_no_others() {
    let changed = SHOP
        .replace("{host: a, subset: east}, weight: 3}", "{host: a, subset: east}, weight: 6}")
        .replace("{host: a, subset: west}, weight: 1}", "{host: a, subset: west}, weight: 2}");
    let (old, _) = snapshot(&input(SHOP), None);
    let moved = |text: &str| {
        let (new, _) = snapshot(&input(text), None);
        let (changes, compared, unclear) = differences(&old, &new, Role::Sidecar, &[]);
        assert!(compared >= 3 && unclear.is_empty(), "{compared} {unclear:?}");
        changes.into_iter().map(|change| format!("{} {:?}", change.question.url(), change.question.header_lines())).collect::<Vec<_>>()
    };
    assert_eq!(moved(&changed), [""; 0], "3:1 and 6:2 are the same");
    assert_eq!(moved(&changed.replace("weight: 6", "weight: 2")), ["http://a:8081/ []"]);
    assert_eq!(moved(&SHOP.replace("status: 403", "status: 404")), ["http://a:8081/admin []"]);
    assert_eq!(moved(&SHOP.replace("subset: missing", "subset: west")), ["http://a:8081/ [\"x-lost: 1\"]"]);
    assert_eq!(moved(&SHOP.replace("fixedDelay: 3s", "fixedDelay: 4s")), ["http://a:8081/ []"]);
    assert_eq!(moved(&SHOP.replace("prefix: /admin", "regex: \"/[a-z]+/x\"")), ["http://a:8081/admin []", "http://a:8081/a/x []"]);
}

#[test]
fn a_preflight_that_the_proxy_answers_goes_nowhere() {
    let text = SHOP.replace("  - match: [{uri: {prefix: /admin}}]\n", "  - match: [{uri: {prefix: /open}}]\n    corsPolicy: {allowOrigins: [{exact: http://page}]}\n    route: [{destination: {host: a, subset: east}}]\n  - match: [{uri: {prefix: /admin}}]\n");
    let (snapshot, _) = snapshot(&input(&text), None);
    let question = |method: &str, origin: &str| {
        let headers = [format!("Origin: {origin}"), "Access-Control-Request-Method: PUT".to_owned()];
        Question::new(method, "http://a:8081/open", &headers).unwrap()
    };
    let told_of = |question: Question| told(&explain_snapshot(&snapshot, Role::Sidecar, question.port, &question.head()).chances());
    assert_eq!(told_of(question("OPTIONS", "http://page")), ["100 200 -"]);
    assert_eq!(told_of(question("OPTIONS", "http://other")), ["100 east in east"]);
    assert_eq!(told_of(question("GET", "http://page")), ["100 east in east"]);
}

#[test]
fn what_dns_answers_is_not_taken_for_no_endpoint() {
    let entry = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: shop}\nspec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}\n";
    let (snapshot, _) = snapshot(&input(&format!("{SHOP}{entry}")), None);
    let found = ask(&snapshot, "http://api.example.com/", &[]);
    let chances = found.chances();
    assert!(matches!(&chances[..], [Chance { end: End::Cluster { kube_clusters, .. }, .. }] if kube_clusters.is_empty()), "{chances:?}");
}
