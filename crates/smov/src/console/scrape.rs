//! Feeds the Metrics view: reads the counters of the gateway's sidecars every five seconds, as Prometheus would.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::Full;
use smov_console::Live;
use smov_console::series::{STEP_MS, Scrape, Series};
use smov_console::view::cluster::Sight;
use tokio_util::sync::CancellationToken;

use crate::http::{TcpClient, read_all, tcp_client};

/// The workload whose calls the page counts (decision 14).
const GATEWAY: &str = "api-gateway";
/// Where proxies, Envoy's included, show their counters.
const METRICS_PORT: u16 = 15090;
/// A scrape that takes longer is one that failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Larger answers are not read to their end.
const LARGEST: usize = 32 << 20;

/// Scrapes until shutdown, each time a step has ended.
pub(crate) async fn run(live: Live, series: Series, shutdown: CancellationToken) {
    let client = tcp_client();
    loop {
        let into = (live.now() / 1000) % STEP_MS;
        let wait = Duration::from_millis(STEP_MS - into);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        let now = live.now() / 1000;
        let scrapes = join_all(targets(&live).into_iter().map(|target| scrape(&client, target))).await;
        series.take(now, scrapes.into_iter().flatten().collect());
    }
}

/// A pod of the gateway.
struct Target {
    pod: String,
    address: IpAddr,
    /// It is about to end: what it still counts is taken, but nobody misses it.
    leaving: bool,
}

/// The gateway's pods that have an address.
fn targets(live: &Live) -> Vec<Target> {
    let clusters = live.state().pods;
    let pods = clusters.into_values().filter(|view| view.state == Sight::Ok).flat_map(|view| view.pods);
    pods.filter(|pod| pod.app == GATEWAY && pod.phase == "Running")
        .filter_map(|pod| Some(Target { leaving: pod.status == "Terminating", address: pod.ip?.parse().ok()?, pod: pod.name }))
        .collect()
}

/// `None` = there is nothing to say about this pod any more.
async fn scrape(client: &TcpClient, Target { pod, address, leaving }: Target) -> Option<Scrape> {
    let read = async {
        let uri = format!("http://{}/stats/prometheus", std::net::SocketAddr::new(address, METRICS_PORT));
        let request = http::Request::get(uri).body(Full::default()).map_err(|error| error.to_string())?;
        let answer = client.request(request).await.map_err(|error| crate::mesh::up::chain(&error))?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        let body = read_all(answer.into_body(), LARGEST).await.map_err(|error| error.to_string())?;
        String::from_utf8(body.into()).map_err(|error| error.to_string())
    };
    let text = match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(text)) => Some(text),
        Ok(Err(error)) => {
            tracing::debug!(pod, error, "the sidecar's counters cannot be read; the charts have a gap");
            None
        }
        Err(_) => None,
    };
    (text.is_some() || !leaving).then_some(Scrape { pod, text })
}
