//! `smov logs`: the logs of many containers of both clusters as one, by time. What `kubectl logs` gives pod by pod, this puts together.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use smov_control::debug_client::DebugClient;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cli::{Global, Logs, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::kube_api::{Cluster, LogOptions, kind_named};
use crate::mesh::state::RunInfo;
use crate::printer::{self, CTX1, CTX2, DIM, paint};
use crate::text;

/// While following, lines wait so long for earlier ones of other containers.
const SETTLE: Duration = Duration::from_millis(300);
/// While following, how often new pods are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Lines that wait to be printed; a container that writes faster than the terminal reads waits here.
const QUEUE: usize = 1024;

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Source {
    cluster: String,
    namespace: String,
    pod: String,
    container: String,
}

/// One line with its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    /// When it happened, as the line itself says, else when it was written: sidecars write their access log in pieces.
    at: Timestamp,
    source: Source,
    text: String,
    /// When the kubelet got it.
    written: Timestamp,
}

pub(crate) async fn run(global: &Global, logs: &Logs) -> Outcome {
    let clusters = super::connect(global, logs.context.as_deref()).await?;
    let words = match &logs.trace {
        Some(id) => Some(words_of_trace(&RunInfo::of_running(&global.state_dir)?, id).await),
        None => None,
    };
    let wanted = |line: &str| words.as_ref().is_none_or(|words| words.iter().any(|word| line.contains(word.as_str())));
    let sources = sources(&clusters, logs).await?;
    if let (Some(service), true) = (&logs.service, sources.is_empty()) {
        return Err(Failure::new(Exit::Check, text::NO_SUCH_SERVICE, &[service]).hint(text::NO_SUCH_SERVICE_HINT, &[]));
    }
    // A trace may lie further back than what people want to see of everything.
    let tail = if words.is_some() { None } else { Some(logs.tail) };
    let reads = sources.iter().map(|source| read(&clusters, source, tail));
    let mut lines: Vec<Line> = futures_util::future::join_all(reads).await.into_iter().flatten().collect();
    lines.retain(|line| wanted(&line.text));
    lines.sort();
    for line in &lines {
        print(global, line);
    }
    if logs.follow {
        return follow(global, logs, &clusters, lines.iter().map(|line| line.written).max(), &wanted).await;
    }
    match &logs.trace {
        Some(id) if lines.is_empty() => Err(Failure::new(Exit::Check, text::NO_SUCH_TRACE, &[id]).hint(text::NO_SUCH_TRACE_HINT, &[])),
        _ => Ok(()),
    }
}

/// What a line of the trace may hold: the id itself, and the request ids of its spans, which access logs know.
async fn words_of_trace(info: &RunInfo, id: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::from([id.to_owned()]);
    for (_, socket) in &info.debug_sockets {
        let client = DebugClient::new(socket);
        let mut ids = vec![id.to_owned()];
        // A request id leads to its trace as well.
        if let Ok(traces) = client.traces().await {
            ids.extend(traces.iter().filter(|trace| trace.request_id.as_deref() == Some(id)).map(|trace| trace.trace_id.to_string()));
        }
        for trace in ids {
            let Ok(Some(parts)) = client.trace(&trace).await else { continue };
            words.insert(trace);
            words.extend(parts.spans.iter().filter_map(|span| span.tagged("guid:x-request-id")).map(str::to_owned));
        }
    }
    words
}

/// The containers to read.
async fn sources(clusters: &[Cluster], logs: &Logs) -> Result<BTreeSet<Source>, Failure> {
    let pods = kind_named("pods").expect("Pod is a known kind");
    let mut found = BTreeSet::new();
    for cluster in clusters {
        for pod in cluster.list(pods, logs.namespace.as_deref()).await.map_err(|error| super::unreachable(&error))? {
            found.extend(of_pod(&cluster.name, &pod, logs));
        }
    }
    Ok(found)
}

/// Containers of a pod that have started at least once.
fn of_pod(cluster: &str, pod: &Value, logs: &Logs) -> Vec<Source> {
    let app = pod["metadata"]["labels"]["app"].as_str().unwrap_or_default();
    let is_of = |service: &String| app == service || app.strip_suffix("-service") == Some(service);
    if !logs.service.as_ref().is_none_or(is_of) {
        return Vec::new();
    }
    let text = |name: &str| pod["metadata"][name].as_str().unwrap_or_default().to_owned();
    let statuses = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    let started = statuses.iter().filter(|status| status["containerID"].is_string() || status["state"]["running"].is_object());
    let names = started.filter_map(|status| status["name"].as_str());
    names
        .filter(|name| logs.container.as_ref().is_none_or(|wanted| wanted == name))
        .map(|name| Source { cluster: cluster.to_owned(), namespace: text("namespace"), pod: text("name"), container: name.to_owned() })
        .collect()
}

fn cluster_of<'a>(clusters: &'a [Cluster], source: &Source) -> Option<&'a Cluster> {
    clusters.iter().find(|cluster| cluster.name == source.cluster)
}

/// All lines so far; those of a container that has gone meanwhile are none.
async fn read(clusters: &[Cluster], source: &Source, tail: Option<u32>) -> Vec<Line> {
    let Some(cluster) = cluster_of(clusters, source) else { return Vec::new() };
    let options = LogOptions { container: &source.container, tail, since: None, follow: false };
    let (sender, mut lines) = mpsc::channel(QUEUE);
    let read = cluster.log(&source.namespace, &source.pod, options, sender);
    let gather = async {
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.extend(parse(source, &line));
        }
        all
    };
    let (outcome, all) = tokio::join!(read, gather);
    if let Err(error) = outcome {
        tracing::debug!(%error, pod = source.pod, container = source.container, "no log");
    }
    all
}

/// `2026-11-22T12:34:56.789012345Z text`.
fn parse(source: &Source, line: &str) -> Option<Line> {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    let written: Timestamp = at.parse().ok()?;
    Some(Line { at: own_time(text).unwrap_or(written), source: source.clone(), text: text.to_owned(), written })
}

/// The time with which a line begins: `[2026-11-22T12:34:56.789Z] …`, or without brackets.
fn own_time(text: &str) -> Option<Timestamp> {
    let first = text.split(' ').next()?;
    first.strip_prefix('[').and_then(|first| first.strip_suffix(']')).unwrap_or(first).parse().ok()
}

/// Goes on with what is written from now on, in pods that come later, too.
async fn follow(global: &Global, logs: &Logs, clusters: &[Cluster], last: Option<Timestamp>, wanted: &dyn Fn(&str) -> bool) -> Outcome {
    let (sender, mut received) = mpsc::channel::<Line>(QUEUE);
    let (mut followed, mut tasks) = (HashSet::new(), tokio::task::JoinSet::new());
    let mut waiting: Vec<(Instant, Line)> = Vec::new();
    let mut look = tokio::time::interval(LOOK);
    let mut tick = tokio::time::interval(SETTLE / 3);
    loop {
        tokio::select! {
            _ = look.tick() => {
                for source in sources(clusters, logs).await? {
                    let Some(cluster) = cluster_of(clusters, &source).filter(|_| followed.insert(source.clone())) else { continue };
                    tasks.spawn(follow_one(cluster.clone(), source, last, sender.clone()));
                }
            }
            Some(ended) = tasks.join_next() => if let Ok(source) = ended {
                // A container that was restarted is followed again.
                followed.remove(&source);
            },
            Some(line) = received.recv() => if last.is_none_or(|last| line.written > last) && wanted(&line.text) {
                waiting.push((Instant::now(), line));
            },
            _ = tick.tick() => {
                let settled = Instant::now();
                let (mut due, rest): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|(came, _)| settled.duration_since(*came) >= SETTLE);
                waiting = rest;
                due.sort_by(|(_, one), (_, other)| one.cmp(other));
                due.iter().for_each(|(_, line)| print(global, line));
            }
        }
    }
}

async fn follow_one(cluster: Cluster, source: Source, since: Option<Timestamp>, lines: mpsc::Sender<Line>) -> Source {
    let (sender, mut raw) = mpsc::channel::<String>(QUEUE);
    let options = LogOptions { container: &source.container, tail: None, since, follow: true };
    let read = cluster.log(&source.namespace, &source.pod, options, sender);
    let hand_on = async {
        while let Some(line) = raw.recv().await {
            if let Some(line) = parse(&source, &line)
                && lines.send(line).await.is_err()
            {
                return;
            }
        }
    };
    let _ = tokio::join!(read, hand_on);
    // So that a container that is gone does not make a busy loop.
    tokio::time::sleep(LOOK).await;
    source
}

fn print(global: &Global, line: &Line) {
    let Line { at, source, text, written: _ } = line;
    if global.output == Output::Json {
        let document = json!({"time": format!("{at:.6}"), "cluster": source.cluster, "namespace": source.namespace, "pod": source.pod,
            "container": source.container, "text": text});
        printer::line(&document.to_string());
        return;
    }
    let style = if source.cluster == "ctx1" { CTX1 } else { CTX2 };
    let time = format!("{at:.3}");
    printer::line(&format!(
        "{} {} {}",
        paint(DIM, &time),
        paint(style, &format!("{} {}/{}", source.cluster, source.pod, source.container)),
        text
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(service: Option<&str>, container: Option<&str>) -> Logs {
        Logs {
            follow: false,
            service: service.map(str::to_owned),
            trace: None,
            container: container.map(str::to_owned),
            tail: 10,
            context: None,
            namespace: None,
        }
    }

    #[test]
    fn pods_are_chosen_by_service_and_container() {
        let running = |name: &str| json!({"name": name, "state": {"running": {}}});
        let pod = json!({
            "metadata": {"name": "booking-1", "namespace": "theater-msa", "labels": {"app": "booking-service"}},
            "status": {"containerStatuses": [running("booking-service"), running("istio-proxy"), {"name": "late", "state": {"waiting": {}}}]},
        });
        let names = |logs: &Logs| of_pod("ctx1", &pod, logs).into_iter().map(|source| source.container).collect::<Vec<_>>();
        assert_eq!(names(&asked(None, None)), ["booking-service", "istio-proxy"]);
        assert_eq!(names(&asked(Some("booking"), Some("istio-proxy"))), ["istio-proxy"]);
        assert!(names(&asked(Some("user"), None)).is_empty());
    }

    #[test]
    fn lines_are_ordered_by_time_whatever_their_precision() {
        let source = Source { cluster: "ctx1".into(), namespace: "n".into(), pod: "p".into(), container: "c".into() };
        let mut lines: Vec<Line> = ["2026-01-01T00:00:00.2Z b", "2026-01-01T00:00:00.123456789Z a", "2026-01-01T00:00:01Z c d", "no time"]
            .iter()
            .filter_map(|line| parse(&source, line))
            .collect();
        lines.extend(parse(&source, "2026-01-01T00:00:09Z [2025-12-31T23:59:59.000Z] \"GET /\""));
        lines.sort();
        assert_eq!(lines.remove(0).written, "2026-01-01T00:00:09Z".parse().unwrap());
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["a", "b", "c d"]);
    }
}
