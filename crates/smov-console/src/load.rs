//! ▶: traffic made by the server, through cp-gateway, shared by all browsers.
//!
//! The loop is open: requests fall due at the set rate whether or not earlier ones were answered, so a slow mesh does not hide itself by
//! slowing its own measurement. What falls due while too many are in flight is not sent, and said so.

mod ids;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ids::{IdSource, RandomIds, SeededIds};

use crate::live::Live;
use crate::ports::{Again, Burst, Ingress, LoadChange, Traffic, TrafficRequest};
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::view::state::LoadView;

/// Bounds of the runner.
#[derive(Debug, Clone, Copy)]
pub struct LoadLimits {
    /// The highest rate, requests a second.
    pub rate: u32,
    /// The most requests without an answer.
    pub in_flight: u32,
    /// The most requests of one burst, and of all bursts that wait.
    pub burst: u32,
    /// ▶ stops by itself this long after the last browser left.
    pub unwatched: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { rate: 100, in_flight: 64, burst: 1_000, unwatched: Duration::from_secs(600) }
    }
}

/// The rate that ▶ has at first.
const FIRST_RATE: u32 = 12;

struct Runner {
    live: Live,
    ingress: Arc<dyn Ingress>,
    ids: Arc<dyn IdSource>,
    limits: LoadLimits,
    /// Guards what ▶ is set to and what it has counted.
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    view: LoadView,
    bursts: VecDeque<Burst>,
    /// Requests that are to be sent again, each with its id.
    again: VecDeque<TrafficRequest>,
    /// The moment from which requests of the present rate are counted, and how many fell due since.
    anchor: Instant,
    due: u64,
    /// Requests made for ▶ since the start: whose turn it is among the services.
    turn: u64,
    /// When someone was last known to watch.
    watched: Instant,
}

/// The load runner; clones share it.
#[derive(Clone)]
pub struct LoadRunner(Arc<Runner>);

impl LoadRunner {
    /// A runner that is off. Someone must [`run`](Self::run) it.
    pub fn new(live: Live, ingress: Arc<dyn Ingress>, ids: Arc<dyn IdSource>, limits: LoadLimits) -> Self {
        let view = LoadView { rate: FIRST_RATE.min(limits.rate), ..LoadView::default() };
        live.set_load(view.clone());
        let now = Instant::now();
        let state = State { view, bursts: VecDeque::new(), again: VecDeque::new(), anchor: now, due: 0, turn: 0, watched: now };
        Self(Arc::new(Runner { live, ingress, ids, limits, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Sends what is due, until `shutdown`; requests in flight are then dropped.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut viewers = self.0.live.viewers();
        let mut in_flight: JoinSet<Sent> = JoinSet::new();
        loop {
            let next = self.send_due(&mut in_flight, *viewers.borrow_and_update());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(sent) = in_flight.join_next() => self.settle(sent),
                () = self.0.changed.notified() => {}
                _ = watch_viewers(&mut viewers) => self.state().watched = Instant::now(),
                () = sleep_until(next) => {}
            }
        }
    }

    /// Sends everything that is due now and tells when to look again.
    fn send_due(&self, in_flight: &mut JoinSet<Sent>, viewers: usize) -> Option<Instant> {
        let runner = &*self.0;
        let now = Instant::now();
        let mut state = self.state();
        if viewers > 0 {
            state.watched = now;
        }
        let unwatched = state.watched + runner.limits.unwatched;
        if state.view.running && viewers == 0 && now >= unwatched {
            state.view.running = false;
            state.view.stopped = Some("NobodyWatching".to_owned());
        }
        // Without viewers ▶ must be looked at when its time is over, even at rate 0.
        let mut next = (state.view.running && viewers == 0).then_some(unwatched);
        while let Some(rate) = NonZeroU64::new(state.view.rate.into()).filter(|_| state.view.running) {
            let due = state.anchor + every(state.due, rate);
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                break;
            }
            state.due += 1;
            let (service, canary) = (state.view.target.service(state.turn), state.view.canary);
            state.turn += 1;
            if in_flight.len() >= runner.limits.in_flight as usize {
                state.view.skipped += 1;
                state.view.error = Some("TooManyInFlight".to_owned());
                continue;
            }
            state.view.sent += 1;
            self.send(in_flight, service, canary, None);
        }
        while in_flight.len() < runner.limits.in_flight as usize {
            let Some(burst) = state.bursts.front_mut() else { break };
            burst.count -= 1;
            let (service, canary, client) = (burst.target.service(u64::from(burst.count)), burst.canary, burst.client.clone());
            if burst.count == 0 {
                state.bursts.pop_front();
            }
            state.view.burst -= 1;
            state.view.sent += 1;
            self.send(in_flight, service, canary, client);
        }
        while in_flight.len() < runner.limits.in_flight as usize
            && let Some(request) = state.again.pop_front()
        {
            state.view.sent += 1;
            self.spawn(in_flight, request);
        }
        state.view.in_flight = u32::try_from(in_flight.len()).unwrap_or(u32::MAX);
        runner.live.set_load(state.view.clone());
        next
    }

    fn send(&self, in_flight: &mut JoinSet<Sent>, service: ServiceId, canary: bool, client: Option<String>) {
        let (id, path) = (self.0.ids.next_id(), service.path().into());
        self.spawn(in_flight, TrafficRequest { id, service, path, canary, headers: Vec::new(), client });
    }

    fn spawn(&self, in_flight: &mut JoinSet<Sent>, request: TrafficRequest) {
        let sending = self.0.ingress.send(request);
        in_flight.spawn(async move { sending.await.err() });
    }

    /// Takes the end of one request.
    fn settle(&self, sent: Result<Sent, tokio::task::JoinError>) {
        let error = sent.unwrap_or_else(|error| Some(error.to_string()));
        let view = &mut self.state().view;
        view.error = error.is_some().then(|| "IngressUnreachable".to_owned());
        view.error_text = error;
    }

    /// Sets ▶; what is absent stays.
    pub fn set(&self, change: &LoadChange) -> Result<LoadView, Problem> {
        let limit = self.0.limits.rate;
        if change.rate.is_some_and(|rate| rate > limit) {
            return Err(too_much(
                &format!("초당 {limit}건까지 보낼 수 있습니다"),
                &format!("At most {limit} requests a second can be sent"),
            ));
        }
        let mut state = self.state();
        let now = Instant::now();
        let before = state.view.clone();
        let view = &mut state.view;
        view.running = change.running.unwrap_or(view.running);
        view.rate = change.rate.unwrap_or(view.rate);
        view.target = change.target.unwrap_or(view.target);
        view.canary = change.canary.unwrap_or(view.canary);
        if change.running == Some(true) {
            (view.stopped, view.error, view.error_text) = (None, None, None);
        }
        if (before.running, before.rate) != (state.view.running, state.view.rate) {
            (state.anchor, state.due) = (now, 0);
        }
        state.watched = now;
        Ok(self.announce(state))
    }

    /// Queues a burst.
    pub fn queue(&self, burst: Burst) -> Result<LoadView, Problem> {
        let limit = self.0.limits.burst;
        if burst.count == 0 || burst.count > limit {
            return Err(too_much(&format!("한 번에 1건에서 {limit}건까지 보낼 수 있습니다"), &format!("A burst is 1 to {limit} requests")));
        }
        let mut state = self.state();
        if state.view.burst + burst.count > limit {
            return Err(bursts_waiting());
        }
        state.view.burst += burst.count;
        state.bursts.push_back(burst);
        state.watched = Instant::now();
        Ok(self.announce(state))
    }

    /// Queues the same request several times.
    pub fn queue_again(&self, again: &Again) -> Result<Vec<String>, Problem> {
        let limit = Again::MOST;
        if again.count == 0 || again.count > limit {
            return Err(too_much(
                &format!("한 번에 1건에서 {limit}건까지 다시 보낼 수 있습니다"),
                &format!("A request can be sent again 1 to {limit} times"),
            ));
        }
        let mut state = self.state();
        if state.again.len() as u32 + again.count > self.0.limits.burst {
            return Err(bursts_waiting());
        }
        let ids: Vec<String> = (0..again.count).map(|_| self.0.ids.next_id()).collect();
        state.again.extend(ids.iter().map(|id| TrafficRequest {
            id: id.clone(),
            service: again.service,
            path: again.path.clone().into(),
            canary: false,
            headers: again.headers.clone(),
            client: again.client.clone(),
        }));
        state.watched = Instant::now();
        self.announce(state);
        Ok(ids)
    }

    fn announce(&self, state: MutexGuard<'_, State>) -> LoadView {
        let view = state.view.clone();
        self.0.live.set_load(view.clone());
        drop(state);
        self.0.live.tell_load();
        self.0.changed.notify_one();
        view
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a valid setting: keep serving.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic for LoadRunner {
    fn change(&self, change: LoadChange) -> BoxFuture<'static, Result<LoadView, Problem>> {
        std::future::ready(self.set(&change)).boxed()
    }

    fn burst(&self, burst: Burst) -> BoxFuture<'static, Result<LoadView, Problem>> {
        std::future::ready(self.queue(burst)).boxed()
    }

    fn again(&self, again: Again) -> BoxFuture<'static, Result<Vec<String>, Problem>> {
        std::future::ready(self.queue_again(&again)).boxed()
    }
}

/// Why a request got no answer, if it got none.
type Sent = Option<String>;

fn bursts_waiting() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "BurstsWaiting",
        "앞서 보낸 묶음이 아직 남아 있습니다. 잠시 뒤에 다시 누르세요",
        "Earlier bursts are still being sent; try again in a moment",
    )
}

fn too_much(text_ko: &str, text_en: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "OutOfRange", text_ko, text_en)
}

/// When the `count`-th request of this rate falls due; exact over any time, because nothing is added up.
fn every(count: u64, rate: NonZeroU64) -> Duration {
    Duration::from_secs(count / rate) + Duration::from_nanos((count % rate) * 1_000_000_000 / rate)
}

async fn sleep_until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

/// Ends when the number of viewers changes; never, once the hub is gone.
async fn watch_viewers(viewers: &mut watch::Receiver<usize>) {
    if viewers.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
