//! `kill -9` under load: what dies comes back, the page tells it, every request gets a status, and nothing confirmed is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use smov_testkit::http as client;
use smov_testkit::mesh::processes_of;

use crate::api::{Api, Pod};
use crate::processes::{kill, process_of};
use crate::theatre::{Theatre, can_run, eventually};
use crate::traffic::Load;

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_come_back_and_nothing_confirmed_is_lost_sqlite() -> anyhow::Result<()> {
    killed_under_load("sqlite").await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_come_back_and_nothing_confirmed_is_lost_redis() -> anyhow::Result<()> {
    if can_run("redis") { killed_under_load("redis").await } else { Ok(()) }
}

async fn killed_under_load(store: &str) -> anyhow::Result<()> {
    let mut theatre = Theatre::start(store, &[])?;
    let (first, second) = (theatre.api("ctx1").await?, theatre.api("ctx2").await?);
    let load = Load::start(&theatre, 100, "user=1,movie=1,booking=1")?;
    let buyer = Buyer::start(&theatre);
    let shown = Shown::follow(&theatre).await?;

    let user = first.pods("user-service").await?.remove(0);
    killed_and_back(&theatre, &shown, &first, &user, "user-service").await?;
    killed_and_back(&theatre, &shown, &first, &user, "istio-proxy").await?;
    for (api, context) in [(&first, "ctx1"), (&second, "ctx2")] {
        let istiod = api.pods("istiod").await?.remove(0);
        let container = istiod.containers[0].0.clone();
        killed_and_back(&theatre, &shown, api, &istiod, &container).await?;
        eventually("proxies are back at their control plane", async || {
            let istiod = &theatre.console_state().await?["mesh"]["istiod"][context];
            let proxies = istiod["proxies"].as_u64().unwrap_or(0);
            Ok((istiod["connected"] == true && proxies > 0 && istiod["in_sync"] == proxies).then_some(()))
        })
        .await?;
    }
    if store == "redis" {
        let redis = second.pods("redis").await?.remove(0);
        killed_and_back(&theatre, &shown, &second, &redis, "redis").await?;
    }
    eventually("a booking goes through again", async || {
        let sold = buyer.sold();
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok((buyer.sold() > sold).then_some(()))
    })
    .await?;

    let bookings = buyer.finish().await?;
    let figures = load.finish()?;
    assert!(figures.requests > 100, "{figures:?}");
    assert_eq!((figures.unanswered, figures.not_sent), (0, 0), "every request has a status: {figures:?}");
    assert!(figures.statuses.keys().all(|status| matches!(status, 200 | 502 | 503 | 504)), "{figures:?}");
    assert!(shown.told.lock().unwrap().met_a_gap, "some requests met the gap");
    all_there(&theatre, &bookings).await?;

    theatre.crash().await?;
    theatre.begin()?;
    all_there(&theatre, &bookings).await?;
    assert!(client::get(&theatre.page("/users/")).await?.header("x-total-count").parse::<u64>()? >= 8);
    theatre.end()
}

/// Kills the process of a container; it comes back as the same pod with one more restart, and the page told that it was away.
async fn killed_and_back(theatre: &Theatre, shown: &Shown, api: &Api, pod: &Pod, container: &str) -> anyhow::Result<()> {
    let app = pod.name.split("-ctx").next().unwrap_or_default();
    let app = if app.starts_with("redis") { "redis" } else { app };
    let restarts = api.pods(app).await?.iter().find(|now| now.uid == pod.uid).map_or(0, |now| now.restarts(container));
    shown.forget();
    kill(process_of(&theatre.state(), pod, container == "istio-proxy")?)?;
    eventually(&format!("{container} of {} is back", pod.name), async || {
        let pods = api.pods(app).await?;
        let now = pods.iter().find(|now| now.uid == pod.uid);
        Ok(now.is_some_and(|now| now.restarts(container) > restarts && now.is_ready()).then_some(()))
    })
    .await?;
    eventually(&format!("the page told that {} was away", pod.name), async || Ok(shown.told_away_and_back(&pod.name).then_some(())))
        .await?;
    shown.explained().await
}

/// What a page was told, in its order.
#[derive(Default)]
struct News {
    /// Name and ready containers.
    pods: Vec<(String, String)>,
    /// Ids of requests that no pod answered.
    unreached: Vec<String>,
    /// Was there any?
    met_a_gap: bool,
    /// Requests told.
    rows: usize,
    /// Response flags by request id.
    flags: BTreeMap<String, String>,
}

impl News {
    fn requests(&mut self, batch: &Value) {
        for row in batch["rows"].as_array().into_iter().flatten() {
            self.rows += 1;
            if row["cluster"].is_null() {
                self.met_a_gap = true;
                self.unreached.push(row["id"].as_str().unwrap_or_default().to_owned());
            }
        }
        self.reasons(batch);
    }

    fn reasons(&mut self, batch: &Value) {
        for row in batch["rows"].as_array().into_iter().flatten() {
            if let (Some(id), Some(flags)) = (row["id"].as_str(), row["flags"].as_str()) {
                self.flags.insert(id.to_owned(), flags.to_owned());
            }
        }
    }

    /// Unreached requests without a flag.
    fn unexplained(&self) -> Vec<String> {
        let explained = |id: &&String| self.flags.get(*id).is_some_and(|flags| flags != "-");
        self.unreached.iter().filter(|id| !explained(id)).cloned().collect()
    }
}

/// A page at the operator door.
struct Shown {
    told: Arc<Mutex<News>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Shown {
    async fn follow(theatre: &Theatre) -> anyhow::Result<Self> {
        let mut stream = client::open(Method::GET, &theatre.operator("/api/v1/events"), &[], Bytes::new()).await?.into_body();
        let told = Arc::new(Mutex::new(News::default()));
        let list = Arc::clone(&told);
        let reader = tokio::spawn(async move {
            let mut text = String::new();
            while let Some(Ok(frame)) = stream.frame().await {
                text.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[], |data| &data[..])));
                while let Some(end) = text.find("\n\n") {
                    let event: String = text.drain(..end + 2).collect();
                    let data = event.lines().filter_map(|line| line.strip_prefix("data:")).collect::<String>();
                    let data: Value = serde_json::from_str(&data).unwrap_or_default();
                    let kind = event.lines().find_map(|line| line.strip_prefix("event:")).unwrap_or_default().trim();
                    let mut news = list.lock().unwrap();
                    match kind {
                        "pods" => news.pods.extend(pods_of(&data)),
                        "req" => news.requests(&data),
                        "why" => news.reasons(&data),
                        _ => {}
                    }
                }
            }
        });
        Ok(Self { told, reader })
    }

    fn forget(&self) {
        self.told.lock().unwrap().pods.clear();
    }

    /// Every request that no pod answered has a flag on the page: the gateway's proxy's, or that of the callee's proxy which refused.
    async fn explained(&self) -> anyhow::Result<()> {
        let rows = self.told.lock().unwrap().rows;
        eventually("requests after the gap are told", async || Ok((self.told.lock().unwrap().rows > rows + 20).then_some(()))).await?;
        eventually("every request that no pod answered has a flag", async || {
            Ok(self.told.lock().unwrap().unexplained().is_empty().then_some(()))
        })
        .await?;
        self.told.lock().unwrap().unreached.clear();
        Ok(())
    }

    /// Was the pod shown with a container that is not ready, and complete after that?
    fn told_away_and_back(&self, pod: &str) -> bool {
        let told = self.told.lock().unwrap();
        let of_pod: Vec<bool> = told.pods.iter().filter(|(name, _)| name == pod).map(|(_, ready)| is_complete(ready)).collect();
        of_pod.iter().position(|complete| !complete).is_some_and(|away| of_pod[away..].contains(&true))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn is_complete(ready: &str) -> bool {
    ready.split_once('/').is_some_and(|(ready, wanted)| ready == wanted)
}

/// Pods anywhere in an event's data.
fn pods_of(event: &Value) -> Vec<(String, String)> {
    match event {
        Value::Object(fields) => match (fields.get("name"), fields.get("ready")) {
            (Some(Value::String(name)), Some(Value::String(ready))) => vec![(name.clone(), ready.clone())],
            _ => fields.values().flat_map(pods_of).collect(),
        },
        Value::Array(items) => items.iter().flat_map(pods_of).collect(),
        _ => Vec::new(),
    }
}

/// Books seats one after the other and keeps what was confirmed.
struct Buyer {
    confirmed: Arc<Mutex<Vec<Value>>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Buyer {
    fn start(theatre: &Theatre) -> Self {
        let url = theatre.page("/bookings/");
        let (confirmed, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, stopped) = (Arc::clone(&confirmed), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut movies = (1..=5).cycle();
            while !stopped.load(Ordering::Relaxed) {
                let body = json!({"user_id": "3", "movie_id": movies.next().unwrap_or(1).to_string(), "seats": 1});
                if let Ok(answer) = client::post(&url, &[], &body).await
                    && answer.status == 201
                {
                    list.lock().unwrap().push(answer.json());
                }
            }
        });
        Self { confirmed, stop, task }
    }

    fn sold(&self) -> usize {
        self.confirmed.lock().unwrap().len()
    }

    async fn finish(self) -> anyhow::Result<Vec<Value>> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?;
        let confirmed = std::mem::take(&mut *self.confirmed.lock().unwrap());
        anyhow::ensure!(!confirmed.is_empty(), "nothing was booked");
        Ok(confirmed)
    }
}

async fn all_there(theatre: &Theatre, bookings: &[Value]) -> anyhow::Result<()> {
    for booking in bookings {
        let id = booking["id"].as_str().unwrap_or_default();
        let answer = client::get(&theatre.page(&format!("/bookings/{id}"))).await?;
        anyhow::ensure!(answer.status == 200 && answer.json() == *booking, "booking {id} is lost: {} {}", answer.status, answer.text());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_up_leaves_no_process_and_the_next_start_has_the_rules() -> anyhow::Result<()> {
    let mut theatre = Theatre::start("sqlite", &[])?;
    let rule = json!([{"op": "replace", "path": "/spec/http/1/route/0/weight", "value": 20}, {"op": "replace", "path": "/spec/http/1/route/1/weight", "value": 80}]);
    theatre.api("ctx1").await?.patch_virtual_service("user-service-vs", &rule).await?;
    let user = client::post(&theatre.page("/users/"), &[], &json!({"name": "김하나", "email": "hana@example.com"})).await?;
    assert_eq!(user.status, 201, "{}", user.text());
    assert!(processes_of(&theatre.state()).len() > 10, "pods are processes");
    theatre.crash().await?;
    theatre.begin()?;
    let path = format!("/users/{}", user.json()["id"].as_str().unwrap_or_default());
    assert_eq!(client::get(&theatre.page(&path)).await?.json(), user.json());
    assert_eq!(client::get(&theatre.operator("/traffic-weights")).await?.json()["UserServiceCtx1Weight"], 20);
    theatre.end()
}
