//! Ejections, as the callers' proxies tell them: each proxy that has traffic is asked once a second which endpoints it leaves out.
//!
//! On real Kubernetes the admin page of a sidecar is for its own pod only; then nothing is known and nothing is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use http_body_util::Full;
use serde_json::Value;
use smov_console::Live;
use smov_console::view::timeline::{Moment, MomentKind};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::http::{TcpClient, read_all, tcp_client};

const PERIOD: Duration = Duration::from_secs(1);
/// The sidecar's admin port.
const ADMIN: u16 = 15_000;
/// The largest page that is read.
const LARGEST: usize = 4 << 20;

/// An endpoint that a proxy leaves out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Ejected {
    /// The pod whose proxy it is.
    caller: String,
    /// The proxy's cluster: `outbound|8080|v1|user-service…`.
    upstream: String,
    address: String,
    /// The endpoint's pod and Kubernetes cluster, where the page names them.
    pod: Option<String>,
    cluster: Option<String>,
}

/// Asks until shutdown.
pub(super) async fn run(live: Live, shutdown: CancellationToken) {
    let client = tcp_client();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ejected: BTreeMap<Ejected, u64> = BTreeMap::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let callers = live.callers();
        let pages = futures_util::future::join_all(callers.iter().map(|(pod, address)| ask(&client, pod, *address))).await;
        let answered: BTreeSet<&str> =
            callers.iter().zip(&pages).filter(|(_, page)| page.is_some()).map(|((pod, _), _)| pod.as_str()).collect();
        let now_out: BTreeSet<Ejected> = pages.iter().flatten().flatten().cloned().collect();
        let now = live.now();
        for moment in difference(&mut ejected, &now_out, &answered, now) {
            live.happened(moment);
        }
    }
}

async fn ask(client: &TcpClient, pod: &str, address: IpAddr) -> Option<Vec<Ejected>> {
    let uri = format!("http://{}/clusters?format=json", std::net::SocketAddr::new(address, ADMIN));
    let request = http::Request::get(uri).body(Full::default()).ok()?;
    let page = tokio::time::timeout(PERIOD, async {
        let answer = client.request(request).await.ok()?;
        read_all(answer.into_body(), LARGEST).await.ok()
    });
    Some(read(pod, &serde_json::from_slice(&page.await.ok()??).ok()?))
}

/// The page of our proxy, or of Envoy (`GET /clusters?format=json`).
fn read(caller: &str, page: &Value) -> Vec<Ejected> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of = |upstream: &Value, address: Option<String>, pod, cluster| {
        Some(Ejected { caller: caller.to_owned(), upstream: text(upstream)?, address: address?, pod, cluster })
    };
    let ours = page.as_array().into_iter().flatten().flat_map(|cluster| {
        let out = cluster["endpoints"].as_array().into_iter().flatten().filter(|endpoint| endpoint["ejected"] == true);
        out.filter_map(|endpoint| of(&cluster["name"], text(&endpoint["address"]), text(&endpoint["pod"]), text(&endpoint["cluster"])))
    });
    let envoys = page["cluster_statuses"].as_array().into_iter().flatten().flat_map(|cluster| {
        let hosts = cluster["host_statuses"].as_array().into_iter().flatten();
        hosts.filter(|host| host["health_status"]["failed_outlier_check"] == true).filter_map(|host| {
            let address = &host["address"]["socket_address"];
            of(&cluster["name"], Some(format!("{}:{}", address["address"].as_str()?, address["port_value"])), None, None)
        })
    });
    ours.chain(envoys).collect()
}

/// What changed. A proxy that did not answer has said nothing.
fn difference(known: &mut BTreeMap<Ejected, u64>, out: &BTreeSet<Ejected>, answered: &BTreeSet<&str>, now: u64) -> Vec<Moment> {
    let mut moments = Vec::new();
    for endpoint in out {
        if !known.contains_key(endpoint) {
            known.insert(endpoint.clone(), now);
            moments.push(moment(endpoint, MomentKind::Ejection, now, None));
        }
    }
    known.retain(|endpoint, since| {
        if out.contains(endpoint) || !answered.contains(endpoint.caller.as_str()) {
            return true;
        }
        moments.push(moment(endpoint, MomentKind::Uneject, now, Some(now.saturating_sub(*since) / 1000)));
        false
    });
    moments
}

fn moment(endpoint: &Ejected, kind: MomentKind, now: u64, lasted: Option<u64>) -> Moment {
    let Ejected { caller, upstream, address, pod, cluster } = endpoint;
    let who = pod.as_ref().unwrap_or(address);
    let texts = match lasted {
        None => {
            [format!("{caller}의 프록시가 {who}({address})를 격리했습니다"), format!("The proxy of {caller} ejected {who} ({address})")]
        }
        Some(lasted) => {
            let seconds = format!("{:.1}", lasted as f64 / 1000.0);
            [
                format!("{caller}의 프록시가 {who}({address})로 다시 보냅니다. 격리 {seconds}초"),
                format!("The proxy of {caller} sends to {who} ({address}) again after {seconds} s"),
            ]
        }
    };
    let id = format!("ejection:{caller}:{upstream}:{address}:{kind:?}:{now}");
    let about = pod.as_ref().map(|pod| format!("Pod/theater-msa/{pod}"));
    let mut moment = Moment::new(id, now, kind, cluster.as_deref(), about, texts);
    moment.duration_ms = lasted;
    moment
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_proxies_pages_name_who_is_left_out() {
        let ours = json!([{"name": "outbound|8080|v2|user-service", "endpoints": [
            {"address": "127.9.2.4:8080", "pod": "user-1", "cluster": "ctx2", "ejected": true}, {"address": "127.9.2.5:8080", "ejected": false}]}]);
        let envoys = json!({"cluster_statuses": [{"name": "outbound|8080|v2|user-service", "host_statuses": [
            {"address": {"socket_address": {"address": "127.9.2.4", "port_value": 8080}}, "health_status": {"failed_outlier_check": true}},
            {"address": {"socket_address": {"address": "127.9.2.5", "port_value": 8080}}, "health_status": {"eds_health_status": "HEALTHY"}}]}]});
        let addresses = |page: &Value| read("gateway", page).into_iter().map(|found| found.address).collect::<Vec<_>>();
        assert_eq!(addresses(&ours), ["127.9.2.4:8080"]);
        assert_eq!(addresses(&envoys), ["127.9.2.4:8080"]);
    }

    #[test]
    fn an_ejection_is_told_once_and_its_end_with_how_long_it_was() {
        let out = BTreeSet::from([Ejected {
            caller: "gateway".into(),
            upstream: "u".into(),
            address: "a:1".into(),
            pod: Some("user-1".into()),
            cluster: Some("ctx2".into()),
        }]);
        let (mut known, answered, none) = (BTreeMap::new(), BTreeSet::from(["gateway"]), BTreeSet::new());
        assert_eq!(difference(&mut known, &out, &answered, 1_000_000)[0].kind, MomentKind::Ejection);
        assert!(difference(&mut known, &out, &answered, 2_000_000).is_empty());
        assert!(
            difference(&mut known, &none, &none.iter().map(|_: &Ejected| "").collect(), 3_000_000).is_empty(),
            "who is silent says nothing"
        );
        let back = difference(&mut known, &none, &answered, 31_000_000);
        assert_eq!((back[0].kind, back[0].duration_ms), (MomentKind::Uneject, Some(30_000)));
    }
}
