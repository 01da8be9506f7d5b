//! What the mesh tells, read back by other programs: spans by an OTLP and a Zipkin receiver, metrics by a real Prometheus.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::{Value, json};
use smov_control::debug_client::DebugClient;
use smov_telemetry::{Span, SpanId, SpanKind};
use smov_testkit::{http as client, tools};

use crate::booking::screening;
use crate::theatre::{Theatre, can_run, eventually};
use crate::traffic::{clusters, gets};

/// A collector that keeps what it is sent.
struct Receiver {
    url: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    async fn start(path: &'static str) -> anyhow::Result<Self> {
        let bodies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let kept = bodies.clone();
        let take = move |body: Bytes| async move { kept.lock().unwrap().push(body) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route(path, post(take));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, bodies, task })
    }

    fn spans(&self) -> Vec<Span> {
        self.bodies.lock().unwrap().iter().flat_map(|body| smov_telemetry::otlp::decode(body).unwrap()).collect()
    }

    fn zipkins(&self) -> Vec<Value> {
        let lists = self.bodies.lock().unwrap();
        lists.iter().flat_map(|body| serde_json::from_slice::<Vec<Value>>(body).unwrap()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The spans of the trace in which a request id was seen.
fn trace_of(spans: &[Span], request_id: &str) -> Vec<Span> {
    let of_request = |span: &&Span| span.tagged("guid:x-request-id") == Some(request_id);
    let Some(trace) = spans.iter().find(of_request).map(|span| span.trace_id) else { return Vec::new() };
    spans.iter().filter(|span| span.trace_id == trace).cloned().collect()
}

/// Who made a span: `proxy`, `app` or `store`, and of which service.
fn maker(span: &Span) -> (String, String, SpanKind) {
    let service = span.emitter.service.split('.').next().unwrap_or_default().to_owned();
    (span.tagged("component").unwrap_or_default().to_owned(), service, span.kind)
}

/// All that one booking is made of, if it is all there.
fn is_whole(spans: &[Span]) -> bool {
    use SpanKind::{Client, Server};
    let made: BTreeSet<(String, String, &str)> = spans
        .iter()
        .map(|span| {
            let (component, service, kind) = maker(span);
            (component, service, if kind == Client { "client" } else { "server" })
        })
        .collect();
    let has = |component: &str, service: &str, kind: SpanKind| {
        made.contains(&(component.to_owned(), service.to_owned(), if kind == Client { "client" } else { "server" }))
    };
    let ids: BTreeSet<SpanId> = spans.iter().map(|span| span.id).collect();
    has("proxy", "cp-gateway", Client)
        && has("proxy", "api-gateway", Client)
        && ["api-gateway", "booking-service", "user-service", "movie-service"]
            .into_iter()
            .all(|service| has("proxy", service, Server) && has("app", service, Server))
        && ["booking-service", "user-service", "movie-service"].into_iter().all(|service| has("store", service, Client))
        && has("proxy", "booking-service", Client)
        && spans.iter().all(|span| span.parent_id.is_none_or(|parent| ids.contains(&parent)))
}

/// One root, no orphan, each step inside the one that it is part of, and the right ones under each other.
fn check_tree(spans: &[Span]) {
    let by_id: HashMap<SpanId, &Span> = spans.iter().map(|span| (span.id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "no span is there twice");
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_id.is_none()).collect();
    assert_eq!(roots.iter().map(|span| maker(span).1).collect::<Vec<_>>(), ["cp-gateway"]);
    for span in spans {
        let Some(parent) = span.parent_id.map(|parent| by_id[&parent]) else { continue };
        let (start, end) = (span.start, span.start + span.duration);
        // Two processes read the clock, each for itself.
        let (from, to) = (parent.start.saturating_sub(50), parent.start + parent.duration + 50);
        assert!(from <= start && end <= to, "{} {start}..{end} is not inside {} {from}..{to}", span.name, parent.name);
        let (child, above) = (maker(span), maker(parent));
        match (child.0.as_str(), child.2) {
            ("proxy", SpanKind::Server) => {
                assert_eq!((above.0.as_str(), above.2), ("proxy", SpanKind::Client), "{child:?} below {above:?}")
            }
            ("proxy", SpanKind::Client) | ("store", _) => {
                assert_eq!((above.0.as_str(), &above.1), ("app", &child.1), "{child:?} below {above:?}")
            }
            ("app", _) => {
                assert_eq!((above.0.as_str(), &above.1, above.2), ("proxy", &child.1, SpanKind::Server), "{child:?} below {above:?}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_booking_is_one_trace_and_a_dead_collector_costs_nothing() -> anyhow::Result<()> {
    let store = if can_run("redis") { "redis" } else { "sqlite" };
    let (otlp, zipkin) = (Receiver::start("/v1/traces").await?, Receiver::start("/api/v2/spans").await?);
    let theatre = Theatre::start(store, &["--otlp", &otlp.url, "--zipkin", &zipkin.url])?;
    let screening = eventually("the programme is there", async || Ok(screening(&theatre, "1").await.ok())).await?;
    let mut requests = Vec::new();
    for row in ["A", "B", "C", "D", "E", "F"] {
        let body = json!({"user_id": "1", "screening_id": screening, "seats": [format!("{row}3")]});
        let answer = client::post(&theatre.page("/bookings/"), &[], &body).await?;
        assert_eq!(answer.status, 201, "{}", answer.text());
        requests.push(answer.header("x-request-id").to_owned());
    }
    let mut seen_in = BTreeSet::new();
    for request in &requests {
        let spans = eventually("the whole trace has come", async || {
            let spans = trace_of(&otlp.spans(), request);
            Ok(is_whole(&spans).then_some(spans))
        })
        .await?;
        check_tree(&spans);
        seen_in.extend(spans.iter().map(|span| span.emitter.cluster.clone()));
        let root = spans.iter().find(|span| span.parent_id.is_none()).unwrap();
        let tags =
            ["http.method", "http.status_code", "response_flags", "istio.canonical_service", "node_id"].map(|name| root.tagged(name));
        assert_eq!(tags[..4], [Some("POST"), Some("201"), Some("-"), Some("cp-gateway")], "{root:?}");
        assert!(root.name.ends_with(":8080/*") && tags[4].unwrap().starts_with("sidecar~127."), "{root:?}");

        // Zipkin was told the same, and the control planes remember it.
        let trace = spans[0].trace_id.to_string();
        let ids: BTreeSet<String> = spans.iter().map(|span| span.id.to_string()).collect();
        eventually("Zipkin has the same spans", async || {
            let all = zipkin.zipkins();
            let of_trace = all.iter().filter(|span| span["traceId"] == *trace).filter_map(|span| span["id"].as_str());
            Ok((of_trace.map(str::to_owned).collect::<BTreeSet<_>>() == ids).then_some(()))
        })
        .await?;
        let mut remembered = BTreeSet::new();
        for socket in debug_sockets(&theatre)? {
            let parts = DebugClient::new(socket).trace(&trace).await?;
            remembered.extend(parts.into_iter().flat_map(|parts| parts.spans).map(|span| span.id.to_string()));
        }
        assert_eq!(remembered, ids);
    }
    assert_eq!(seen_in, ["ctx1", "ctx2"].map(str::to_owned).into());

    // `smov logs` finds the lines of a trace in both clusters' containers.
    let trace = trace_of(&otlp.spans(), &requests[0])[0].trace_id.to_string();
    let logs = theatre.mesh().smov(&["logs", "--trace", &trace, "--output", "json"])?;
    let lines: Vec<Value> = String::from_utf8(logs.stdout)?.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let containers: BTreeSet<&str> = lines.iter().filter_map(|line| line["container"].as_str()).collect();
    assert!(containers.is_superset(&["istio-proxy", "booking-service", "user-service", "movie-service"].into()), "{containers:?}");
    let times: Vec<&str> = lines.iter().filter_map(|line| line["time"].as_str()).collect();
    assert!(times.is_sorted() && times.len() == lines.len());

    // The collectors go away: requests go on, and each control plane says so once per collector.
    drop((otlp, zipkin));
    for _ in 0..3 {
        let answers = gets(&theatre, "/users/", &[], 10).await?;
        assert!(answers.iter().all(|answer| answer.status == 200));
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let logs = theatre.mesh().smov(&["logs", "--service", "istiod", "--tail", "10000", "--output", "json"])?;
    let logs = String::from_utf8(logs.stdout)?;
    let mut said = BTreeMap::new();
    for line in logs.lines().filter(|line| line.contains("nobody takes spans")) {
        let line: Value = serde_json::from_str(line)?;
        *said.entry(line["cluster"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    assert!(said.get("ctx1") == Some(&2) && said.values().all(|count| *count <= 2), "{said:?}");
    theatre.end()
}

fn debug_sockets(theatre: &Theatre) -> anyhow::Result<Vec<PathBuf>> {
    let info: Value = serde_json::from_slice(&std::fs::read(theatre.state().join("run.json"))?)?;
    let pairs = info["debug_sockets"].as_array().cloned().unwrap_or_default();
    Ok(pairs.iter().filter_map(|pair| pair[1].as_str()).map(PathBuf::from).collect())
}

/// A question to Prometheus: its series, each with its value.
async fn query(prometheus: &str, expression: &str) -> anyhow::Result<Vec<(BTreeMap<String, String>, f64)>> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = client::get(&format!("{prometheus}/api/v1/query?query={encoded}")).await?.json();
    anyhow::ensure!(answer["status"] == "success", "{expression}: {answer}");
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    series
        .into_iter()
        .map(|one| Ok((serde_json::from_value(one["metric"].clone())?, one["value"][1].as_str().unwrap_or_default().parse()?)))
        .collect()
}

/// One number per value of a label.
async fn counted(prometheus: &str, expression: &str, label: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let series = query(prometheus, expression).await?;
    Ok(series.into_iter().map(|(labels, value)| (labels.get(label).cloned().unwrap_or_default(), value as u64)).collect())
}

/// Kiali's graph: who calls whom, by this many labels. A series that lacks one is dropped there.
const GRAPH: &str = "source_cluster, source_workload_namespace, source_workload, source_canonical_service, source_canonical_revision, \
                     destination_cluster, destination_service_namespace, destination_service, destination_service_name, \
                     destination_workload_namespace, destination_workload, destination_canonical_service, destination_canonical_revision";

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_counts_what_was_sent() -> anyhow::Result<()> {
    if !tools::found("prometheus") {
        return Ok(());
    }
    let store = if can_run("redis") { "redis" } else { "sqlite" };
    let theatre = Theatre::start(store, &["--with", "prometheus", "--seed", "7"])?;
    let prometheus = theatre.mesh().json(&["status"])?["prometheus"].as_str().unwrap_or_default().to_owned();

    let users = gets(&theatre, "/users/", &[], 40).await?;
    let screening = eventually("the programme is there", async || Ok(screening(&theatre, "1").await.ok())).await?;
    for seat in 1..=5 {
        let body = json!({"user_id": "1", "screening_id": screening, "seats": [format!("A{seat}")]});
        assert_eq!(client::post(&theatre.page("/bookings/"), &[], &body).await?.status, 201);
    }
    // A rule that breaks what is marked, and leaves the rest.
    let rules = json!([
        {"match": [{"headers": {"x-broken": {"exact": "yes"}}}], "fault": {"abort": {"percentage": {"value": 100}, "httpStatus": 503}},
         "route": [{"destination": {"host": "movie-service", "subset": "ctx1"}}]},
        {"route": [{"destination": {"host": "movie-service", "subset": "ctx1"}}]},
    ]);
    let broken = json!([{"op": "replace", "path": "/spec/http", "value": rules}]);
    theatre.api("ctx1").await?.patch_virtual_service("movie-service-vs", &broken).await?;
    eventually("the rule is in force", async || {
        let answer = client::send(http::Method::GET, &theatre.page("/movies/1"), &[("x-broken", "yes")], Bytes::new()).await?;
        Ok((answer.status == 503).then_some(()))
    })
    .await?;
    let from_gateway = r#"reporter="source", source_app="api-gateway""#;
    let aborted = gets(&theatre, "/movies/1", &[("x-broken", "yes")], 9).await?;
    assert!(aborted.iter().all(|answer| answer.status == 503));

    // All of it has been scraped once every user request has.
    let by_cluster =
        format!(r#"sum by (destination_cluster) (istio_requests_total{{{from_gateway}, destination_service_name="user-service"}})"#);
    let expected: BTreeMap<String, u64> = clusters(&users).into_iter().map(|(cluster, count)| (cluster.to_owned(), count)).collect();
    eventually("Prometheus has all requests of users", async || {
        Ok((counted(&prometheus, &by_cluster, "destination_cluster").await? == expected).then_some(()))
    })
    .await?;
    let flags = format!(
        r#"sum by (response_flags) (istio_requests_total{{{from_gateway}, destination_service_name="movie-service", response_code="503"}})"#
    );
    // The one that found the rule in force, and nine more.
    eventually("and the aborted ones", async || {
        let found = counted(&prometheus, &flags, "response_flags").await?;
        anyhow::ensure!(found.get("FI").is_none_or(|count| *count <= 10), "{found:?}");
        Ok((found.get("FI") == Some(&10)).then_some(()))
    })
    .await?;
    let bookings = "sum(theatre_bookings_created_total)";
    eventually("and the bookings", async || Ok((query(&prometheus, bookings).await?.first().map(|one| one.1) == Some(5.0)).then_some(())))
        .await?;

    // What the callees saw is what the callers sent.
    let received = r#"sum by (destination_cluster) (istio_requests_total{reporter="destination", source_app="api-gateway", destination_service_name="user-service"})"#;
    eventually("both sides agree", async || Ok((counted(&prometheus, received, "destination_cluster").await? == expected).then_some(())))
        .await?;
    scrapes_are_clean(&theatre, &prometheus).await?;
    kialis_queries_are_answered(&theatre, &prometheus, &expected).await?;
    panels_are_answered(&prometheus).await?;
    theatre.end()
}

/// Every target answers, without an error and without a duplicate, and promtool has nothing to say but of names that are not ours to choose.
async fn scrapes_are_clean(theatre: &Theatre, prometheus: &str) -> anyhow::Result<()> {
    // A pod that is new has its first scrape within the interval; until then its health is unknown.
    let targets = eventually("every target was scraped once", async || {
        let answer = client::get(&format!("{prometheus}/api/v1/targets?state=active")).await?.json();
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        Ok(targets.iter().all(|target| target["health"] != "unknown").then_some(targets))
    })
    .await?;
    let mut apps = BTreeSet::new();
    for target in &targets {
        assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
        apps.insert(target["labels"]["app"].as_str().unwrap_or("smov").to_owned());
        let page = client::get(target["scrapeUrl"].as_str().unwrap_or_default()).await?;
        check_metrics(&page.body)?;
    }
    let expected = ["api-gateway", "booking-service", "cp-gateway", "istiod", "movie-service", "smov", "user-service"];
    assert!(apps.is_superset(&expected.map(str::to_owned).into()), "{apps:?}");
    let log = std::fs::read_to_string(theatre.state().join("prometheus/prometheus.log"))?;
    assert!(!log.contains("level=error") && !log.contains("Error on ingesting"), "{log}");
    Ok(())
}

/// Names that Istio and Envoy chose; promtool would have chosen others.
const NOT_OURS: [&str; 3] = ["istio_", "envoy_", "pilot_"];

fn check_metrics(page: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let mut promtool = std::process::Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(std::process::Stdio::piped());
    let mut child = promtool.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?;
    child.stdin.take().unwrap().write_all(page)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| !NOT_OURS.iter().any(|prefix| line.starts_with(prefix))).collect();
    assert!(ours.is_empty(), "{ours:?}");
    Ok(())
}

async fn kialis_queries_are_answered(theatre: &Theatre, prometheus: &str, users: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let http = "request_protocol, response_code, grpc_response_status, response_flags";
    for (metric, more) in [
        ("istio_requests_total", http),
        ("istio_tcp_sent_bytes_total", "response_flags"),
        ("istio_tcp_received_bytes_total", "response_flags"),
    ] {
        for reporter in ["source", "destination"] {
            let shape = |inner: &str| format!("sum({inner}) by ({GRAPH}, {more}) > 0");
            let selected = format!(r#"{metric}{{reporter="{reporter}", destination_service_namespace="theater-msa"}}"#);
            let series = query(prometheus, &shape(&selected)).await?;
            // With SQLite there is no TCP in the mesh.
            assert!(!series.is_empty() || metric != "istio_requests_total", "{selected}");
            for (labels, _) in &series {
                for label in GRAPH.split(',').chain(more.split(',')).map(str::trim) {
                    let known = labels.contains_key(label) || label == "grpc_response_status";
                    assert!(known, "Kiali drops a series without `{label}`: {labels:?}");
                }
            }
            if metric == "istio_requests_total" && reporter == "source" {
                let of_users = series.iter().filter(|(labels, _)| {
                    labels["source_workload"] == "api-gateway" && labels["destination_service_name"] == "user-service"
                });
                let found: BTreeMap<String, u64> =
                    of_users.map(|(labels, value)| (labels["destination_cluster"].clone(), *value as u64)).collect();
                assert_eq!(found, *users);
            }
            query(prometheus, &shape(&format!("rate({selected}[60s])"))).await?;
        }
    }
    for quantile in ["0.5", "0.95", "0.99"] {
        let inner =
            r#"sum(rate(istio_request_duration_milliseconds_bucket{reporter="source", destination_service_namespace="theater-msa"}[10m]))"#;
        let asked = format!("histogram_quantile({quantile}, {inner} by (le, {GRAPH}, request_protocol)) > 0");
        // A rate is the difference of two scrapes: requests that were all before a series' first one have none.
        eventually("response times", async || {
            gets(theatre, "/movies/1", &[], 1).await?;
            Ok((!query(prometheus, &asked).await?.is_empty()).then_some(()))
        })
        .await?;
    }
    Ok(())
}

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/observability/grafana/dashboards")
}

/// Each panel's query is understood, and those that show traffic or state show some.
async fn panels_are_answered(prometheus: &str) -> anyhow::Result<()> {
    // Of what did not happen here.
    let may_be_empty = ["> 0", "istio_tcp_", "theatre_store_errors_total"];
    let mut count = 0;
    for entry in std::fs::read_dir(dashboards())? {
        let path = entry?.path();
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        for panel in dashboard["panels"].as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap_or_default();
                let filled = expression
                    .replace("$__rate_interval", "10m")
                    .replace("$service", "user-service.theater-msa.svc.cluster.local")
                    .replace("$workload", "api-gateway");
                let excused = may_be_empty.iter().any(|word| filled.contains(word)) || filled.contains("response_flags!=\"-\"");
                // A rate has two scrapes to stand on, and the second may still be to come.
                eventually(&format!("{}: {filled}", path.display()), async || {
                    let series = query(prometheus, &filled).await?;
                    Ok((excused || !series.is_empty()).then_some(()))
                })
                .await?;
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} queries");
    // What a panel shows, to the unit: the configured shares of the first rule set, and the observed ones beside them.
    let configured = query(
        prometheus,
        r#"max by (destination_subset) (smov_route_weight_ratio{app="api-gateway", virtual_service="user-service-vs", route=~".*1.*"})"#,
    )
    .await?;
    let shares: BTreeMap<String, String> =
        configured.into_iter().map(|(labels, share)| (labels["destination_subset"].clone(), format!("{share:.2}"))).collect();
    assert_eq!(shares, [("ctx1", "0.70"), ("ctx2", "0.30")].map(|(subset, share)| (subset.to_owned(), share.to_owned())).into());
    Ok(())
}

#[test]
fn alert_rules_do_what_their_tests_say() -> anyhow::Result<()> {
    if !tools::found("prometheus") {
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/observability/prometheus");
    let output = std::process::Command::new("promtool").args(["test", "rules", "alerts-test.yaml"]).current_dir(folder).output()?;
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
