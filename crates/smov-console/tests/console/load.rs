//! ▶: exact rates, turns, bounds, bursts, errors, and stopping by itself. The clock is paused, so every time is exact.

use std::sync::Arc;
use std::time::Duration;

use smov_console::load::{LoadLimits, LoadRunner, SeededIds};
use smov_console::ports::{Burst, LoadChange};
use smov_console::view::state::{LoadView, Target};
use smov_console::{Live, ServiceId};
use tokio_util::sync::CancellationToken;

use crate::fakes::{Answer, Browser, FakeIngress, hub};

struct Bench {
    live: Live,
    ingress: FakeIngress,
    runner: LoadRunner,
    shutdown: CancellationToken,
}

fn bench(limits: LoadLimits) -> Bench {
    let (live, ingress, shutdown) = (hub("e"), FakeIngress::new(), CancellationToken::new());
    let runner = LoadRunner::new(live.clone(), Arc::new(ingress.clone()), Arc::new(SeededIds::new(42)), limits);
    tokio::spawn({
        let (runner, shutdown) = (runner.clone(), shutdown.clone());
        async move { runner.run(shutdown).await }
    });
    Bench { live, ingress, runner, shutdown }
}

fn start(rate: u32) -> LoadChange {
    LoadChange { running: Some(true), rate: Some(rate), ..LoadChange::default() }
}

fn stop() -> LoadChange {
    LoadChange { running: Some(false), ..LoadChange::default() }
}

impl Bench {
    fn load(&self) -> LoadView {
        self.live.load()
    }
}

#[tokio::test(start_paused = true)]
async fn requests_fall_due_exactly_at_the_rate() {
    let bench = bench(LoadLimits::default());
    bench.runner.set(&start(50)).unwrap();
    tokio::time::sleep(Duration::from_millis(59_990)).await;
    let sent = bench.ingress.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 3_000);
    for (n, (at, _)) in sent.iter().enumerate() {
        assert_eq!(*at, Duration::from_millis(20) * n as u32);
    }
    assert_eq!(bench.load().sent, 3_000);
}

#[tokio::test(start_paused = true)]
async fn an_uneven_rate_does_not_drift() {
    let bench = bench(LoadLimits::default());
    bench.runner.set(&start(7)).unwrap();
    tokio::time::sleep(Duration::from_millis(599_950)).await;
    assert_eq!(bench.ingress.requests().len(), 7 * 600);
}

#[tokio::test(start_paused = true)]
async fn services_take_turns_and_ids_come_from_the_seed() {
    let first = bench(LoadLimits::default());
    first.runner.set(&start(100)).unwrap();
    tokio::time::sleep(Duration::from_millis(299)).await;
    let requests = first.ingress.requests();
    assert_eq!(requests.iter().map(|request| request.service).collect::<Vec<_>>(), ServiceId::ALL.repeat(10));
    let again = bench(LoadLimits::default());
    again.runner.set(&start(100)).unwrap();
    tokio::time::sleep(Duration::from_millis(299)).await;
    assert_eq!(again.ingress.requests(), requests);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_rate_target_or_header_acts_at_once_and_stop_stops() {
    let bench = bench(LoadLimits::default());
    bench.runner.set(&start(10)).unwrap();
    tokio::time::sleep(Duration::from_millis(950)).await;
    let movie = LoadChange { rate: Some(100), target: Some(Target::Movie), canary: Some(true), ..LoadChange::default() };
    bench.runner.set(&movie).unwrap();
    tokio::time::sleep(Duration::from_millis(995)).await;
    let requests = bench.ingress.requests();
    assert_eq!(requests.len(), 110);
    assert!(requests[10..].iter().all(|request| request.service == ServiceId::Movie && request.canary && request.path == "/movies/"));
    assert!(!bench.runner.set(&stop()).unwrap().running);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.ingress.requests().len(), 110);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_do_not_slow_the_rate_down() {
    let bench = bench(LoadLimits::default());
    *bench.ingress.answer.lock().unwrap() = Answer::After(Duration::from_millis(500));
    bench.runner.set(&start(100)).unwrap();
    tokio::time::sleep(Duration::from_millis(9_995)).await;
    assert_eq!(bench.ingress.requests().len(), 1_000);
    let load = bench.load();
    assert_eq!((load.skipped, load.in_flight), (0, 50));
}

#[tokio::test(start_paused = true)]
async fn what_falls_due_with_too_many_in_flight_is_skipped_and_said() {
    let bench = bench(LoadLimits { in_flight: 8, ..LoadLimits::default() });
    *bench.ingress.answer.lock().unwrap() = Answer::Never;
    bench.runner.set(&start(10)).unwrap();
    tokio::time::sleep(Duration::from_millis(1_950)).await;
    let load = bench.load();
    assert_eq!((bench.ingress.requests().len(), load.sent, load.skipped, load.in_flight), (8, 8, 12, 8));
    assert_eq!(load.error.as_deref(), Some("TooManyInFlight"));
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_ingress_is_shown_until_it_answers_again() {
    let bench = bench(LoadLimits::default());
    *bench.ingress.answer.lock().unwrap() = Answer::Failure("connection refused".into());
    bench.runner.set(&start(10)).unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    let load = bench.load();
    assert_eq!((load.error.as_deref(), load.error_text.as_deref()), (Some("IngressUnreachable"), Some("connection refused")));
    *bench.ingress.answer.lock().unwrap() = Answer::AtOnce;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((bench.load().error, bench.load().running), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_sent_whole_bounded_in_flight_with_the_browsers_name() {
    let bench = bench(LoadLimits { in_flight: 16, ..LoadLimits::default() });
    *bench.ingress.answer.lock().unwrap() = Answer::After(Duration::from_millis(10));
    let burst = |count| Burst { count, target: Target::User, canary: false, client: Some("tab-1".into()) };
    assert_eq!(bench.runner.queue(burst(100)).unwrap().burst, 100);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!((bench.load().in_flight, bench.load().burst), (16, 84));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let requests = bench.ingress.requests();
    assert_eq!(requests.len(), 100);
    assert!(requests.iter().all(|request| request.service == ServiceId::User && request.client.as_deref() == Some("tab-1")));
    assert_eq!((bench.load().in_flight, bench.load().burst, bench.load().sent), (0, 0, 100));
}

#[tokio::test(start_paused = true)]
async fn rates_and_bursts_have_limits() {
    let bench = bench(LoadLimits::default());
    *bench.ingress.answer.lock().unwrap() = Answer::Never;
    let code = |result: Result<LoadView, smov_console::problem::Problem>| result.unwrap_err().reason.code;
    assert_eq!(code(bench.runner.set(&start(101))), "OutOfRange");
    let burst = |count| Burst { count, target: Target::All, canary: false, client: None };
    assert_eq!(code(bench.runner.queue(burst(0))), "OutOfRange");
    assert_eq!(code(bench.runner.queue(burst(1_001))), "OutOfRange");
    bench.runner.queue(burst(1_000)).unwrap();
    assert_eq!(code(bench.runner.queue(burst(1))), "BurstsWaiting");
}

#[tokio::test(start_paused = true)]
async fn it_stops_ten_minutes_after_the_last_browser_left_and_not_before() {
    let bench = bench(LoadLimits::default());
    let browser = Browser::open(&bench.live, None);
    bench.runner.set(&start(1)).unwrap();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(bench.load().running);
    drop(browser);
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert!(bench.load().running);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let load = bench.load();
    assert_eq!((load.running, load.stopped.as_deref()), (false, Some("NobodyWatching")));
    let sent = load.sent;
    assert_eq!(bench.runner.set(&start(1)).unwrap().stopped, None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.load().sent, sent + 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_change_says_that_someone_watches_elsewhere() {
    let bench = bench(LoadLimits::default());
    bench.runner.set(&start(1)).unwrap();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        bench.runner.set(&LoadChange::default()).unwrap();
    }
    assert!(bench.load().running);
    bench.shutdown.cancel();
}
