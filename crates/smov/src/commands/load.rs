//! `smov load`: traffic at a fixed rate, whatever the answers do (open loop), with percentiles and the split per cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::{Global, Load, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::http::{TcpClient, tcp_client};
use crate::mesh::state::RunInfo;
use crate::printer;
use crate::text::{self, Language};

/// Requests that may be open at once; beyond, a request is counted as not sent instead of piling up.
const MAX_OPEN: usize = 4096;

/// The services and their paths at the ingress.
const SERVICES: [(&str, &str); 3] = [("user", "/users/"), ("movie", "/movies/"), ("booking", "/bookings/")];

/// What one request gave.
struct Sample {
    service: usize,
    /// From the moment at which the request was due, so that a stalled server cannot hide its stall.
    latency: Duration,
    answer: Result<Answer, String>,
}

struct Answer {
    status: u16,
    cluster: Option<String>,
}

/// Figures of one service.
struct Figures {
    latency: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    clusters: BTreeMap<String, u64>,
    unanswered: BTreeMap<String, u64>,
}

impl Figures {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("constant bounds are valid");
        Self { latency, statuses: BTreeMap::new(), clusters: BTreeMap::new(), unanswered: BTreeMap::new() }
    }

    fn add(&mut self, sample: Sample) {
        self.latency.saturating_record(u64::try_from(sample.latency.as_micros()).unwrap_or(u64::MAX));
        match sample.answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                if let Some(cluster) = answer.cluster {
                    *self.clusters.entry(cluster).or_default() += 1;
                }
            }
            Err(reason) => *self.unanswered.entry(reason).or_default() += 1,
        }
    }

    fn requests(&self) -> u64 {
        self.latency.len()
    }

    /// Requests whose answer named a cluster.
    fn reached(&self) -> u64 {
        self.clusters.values().sum()
    }

    fn milliseconds(&self, quantile: f64) -> f64 {
        (self.latency.value_at_quantile(quantile) as f64 / 10.0).round() / 100.0
    }

    fn to_json(&self) -> Value {
        json!({
            "requests": self.requests(),
            "statuses": self.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect::<BTreeMap<_, _>>(),
            "clusters": self.clusters,
            "unanswered": self.unanswered,
            "latency_ms": {"p50": self.milliseconds(0.5), "p90": self.milliseconds(0.9), "p99": self.milliseconds(0.99), "max": self.milliseconds(1.0)},
        })
    }
}

/// Runs the command.
pub(crate) async fn run(global: &Global, load: &Load, language: Language) -> Outcome {
    let base = match &load.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => RunInfo::of_running(&global.state_dir)?.page,
    };
    let plan = parse_mix(&load.mix)?;
    if !load.rate.is_finite() || load.rate <= 0.0 {
        return Err(Failure::new(Exit::Usage, text::LOAD_BAD_MIX, &[&load.rate]));
    }
    let total = load.requests.unwrap_or((load.duration.as_secs_f64() * load.rate).ceil() as u64);
    let uris: Vec<Uri> = SERVICES
        .iter()
        .map(|(_, path)| format!("{base}{path}").parse())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(Exit::Usage, text::UNREACHABLE, &[&error]))?;
    let (sender, mut samples) = mpsc::channel(MAX_OPEN);
    let started = Instant::now();
    // Ctrl-C ends the traffic, not the report.
    let stop = crate::shutdown::on_signal().map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))?;
    let shooter = tokio::spawn(shoot(load.clone(), plan, uris, total, sender, stop));
    let mut figures: Vec<Figures> = SERVICES.iter().map(|_| Figures::new()).collect();
    while let Some(sample) = samples.recv().await {
        figures[sample.service].add(sample);
    }
    let not_sent = shooter.await.unwrap_or(0);
    report(global.output, language, &figures, started.elapsed(), not_sent);
    Ok(())
}

/// Which service each request goes to: a repeating pattern of the mix.
fn parse_mix(mix: &str) -> Result<Vec<usize>, Failure> {
    let bad = || Failure::new(Exit::Usage, text::LOAD_BAD_MIX, &[&mix]);
    let mut plan = Vec::new();
    for part in mix.split(',') {
        let (name, share) = part.split_once('=').unwrap_or((part, "1"));
        let service = SERVICES.iter().position(|(known, _)| *known == name.trim()).ok_or_else(bad)?;
        let share: usize = share.trim().parse().ok().filter(|share| *share <= 1000).ok_or_else(bad)?;
        plan.extend(std::iter::repeat_n(service, share));
    }
    if plan.is_empty() { Err(bad()) } else { Ok(plan) }
}

/// Sends request number n at start + n / rate, until all are sent or `stop`; gives how many were not sent because too many were open.
async fn shoot(load: Load, plan: Vec<usize>, uris: Vec<Uri>, total: u64, samples: mpsc::Sender<Sample>, stop: CancellationToken) -> u64 {
    let client = tcp_client();
    let open = Arc::new(tokio::sync::Semaphore::new(MAX_OPEN));
    let start = Instant::now();
    let mut not_sent = 0;
    for number in 0..total {
        let due = start + Duration::from_secs_f64(number as f64 / load.rate);
        if stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none() {
            break;
        }
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            not_sent += 1;
            continue;
        };
        let service = plan[usize::try_from(number).unwrap_or(0) % plan.len()];
        let request = request(&load, uris[service].clone(), number);
        let (client, samples, limit) = (client.clone(), samples.clone(), load.timeout);
        // Ends by its own time limit; the channel closes when the last one has.
        tokio::spawn(async move {
            let answer = tokio::time::timeout(limit, send(client, request)).await.unwrap_or_else(|_| Err("timeout".to_owned()));
            let _ = samples.send(Sample { service, latency: due.elapsed(), answer }).await;
            drop(permit);
        });
    }
    not_sent
}

fn request(load: &Load, uri: Uri, number: u64) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri;
    if load.canary {
        request.headers_mut().insert("x-canary", http::HeaderValue::from_static("true"));
    }
    if let Some(seed) = load.seed {
        let id = crate::ids::seeded(seed, "load", number);
        request.headers_mut().insert("x-request-id", http::HeaderValue::try_from(id).expect("an id is ASCII"));
    }
    request
}

async fn send(client: TcpClient, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let response =
        client.request(request).await.map_err(|error| if error.is_connect() { "connect".to_owned() } else { "closed".to_owned() })?;
    let status = response.status().as_u16();
    let cluster = response.headers().get("x-service-cluster").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| "cut off".to_owned())?;
    }
    Ok(Answer { status, cluster })
}

fn report(output: Output, language: Language, figures: &[Figures], elapsed: Duration, not_sent: u64) {
    let requests: u64 = figures.iter().map(Figures::requests).sum();
    let named = || SERVICES.iter().map(|(name, _)| *name).zip(figures).filter(|(_, figures)| figures.requests() > 0);
    if output == Output::Json {
        let services: BTreeMap<&str, Value> = named().map(|(name, figures)| (name, figures.to_json())).collect();
        let document = json!({"requests": requests, "seconds": elapsed.as_secs_f64(), "not_sent": not_sent, "services": services});
        printer::line(&serde_json::to_string_pretty(&document).expect("plain data serialises"));
        return;
    }
    let rate = format!("{:.1}", requests as f64 / elapsed.as_secs_f64().max(0.001));
    printer::note(&language.line(text::LOAD_SUMMARY, &[&requests.to_string(), &format!("{:.1}", elapsed.as_secs_f64()), &rate]));
    let mut rows = vec![
        ["", "N", "2xx", "4xx", "5xx", &language.line(text::LOAD_NO_ANSWER, &[]), "p50 ms", "p90", "p99", "max", "ctx1 : ctx2"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, figures) in named() {
        let class = |class: u16| {
            figures.statuses.iter().filter(|(status, _)| **status / 100 == class).map(|(_, count)| count).sum::<u64>().to_string()
        };
        let share = |cluster: &str| figures.clusters.get(cluster).copied().unwrap_or(0);
        let percent = |count: u64| count as f64 * 100.0 / figures.reached().max(1) as f64;
        let split = if figures.reached() == 0 {
            "–".to_owned()
        } else {
            format!("{} : {}  ({:.1} : {:.1} %)", share("ctx1"), share("ctx2"), percent(share("ctx1")), percent(share("ctx2")))
        };
        let mut row = vec![
            name.to_owned(),
            figures.requests().to_string(),
            class(2),
            class(4),
            class(5),
            figures.unanswered.values().sum::<u64>().to_string(),
        ];
        row.extend([0.5, 0.9, 0.99, 1.0].map(|quantile| figures.milliseconds(quantile).to_string()));
        row.push(split);
        rows.push(row);
    }
    printer::table(&rows);
    if not_sent > 0 {
        printer::warning(&language.line(text::LOAD_NOT_SENT, &[&not_sent.to_string()]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_repeats_its_shares() {
        assert_eq!(parse_mix("user=2,booking=1").unwrap(), [0, 0, 2]);
        assert_eq!(parse_mix("movie").unwrap(), [1]);
        assert!(parse_mix("cinema=1").is_err());
        assert!(parse_mix("user=0").is_err());
        assert!(parse_mix("user=x").is_err());
    }
}
