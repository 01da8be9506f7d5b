//! The operator door's hub beside the gateway's: the same lamps while the stream is there, an honest word while it is not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::unfold;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use smov_console::follow::{ByteStream, EventSource, Follower};
use smov_console::live::Reader;
use smov_console::view::cluster::{StoreKind, StoreView};
use smov_console::{Live, ServiceId, Why};
use tokio_util::sync::CancellationToken;

use crate::fakes::{Browser, Running, relay, relayed, running, split};

/// The way to a gateway that can be taken away and replaced; ends streams when it is.
#[derive(Clone, Default)]
struct Gateway {
    present: Arc<Mutex<Option<(Live, CancellationToken)>>>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

impl Gateway {
    fn put(&self, live: &Live) {
        *self.present.lock().unwrap() = Some((live.clone(), CancellationToken::new()));
    }

    fn take_away(&self) {
        if let Some((_, cut)) = self.present.lock().unwrap().take() {
            cut.cancel();
        }
    }
}

impl EventSource for Gateway {
    fn connect(&self, last: Option<String>) -> BoxFuture<'static, Result<ByteStream, String>> {
        self.asked.lock().unwrap().push(last.clone());
        let Some((live, cut)) = self.present.lock().unwrap().clone() else {
            return std::future::ready(Err("refused".to_owned())).boxed();
        };
        let subscription = live.subscribe(last.as_deref(), Reader::Follower);
        let stream = unfold(subscription, |mut subscription| async move { Some((Ok(subscription.next().await?), subscription)) });
        std::future::ready(Ok(stream.take_until(cut.cancelled_owned()).boxed())).boxed()
    }
}

fn follow(gateway: &Gateway) -> Running {
    let operator = running("operator");
    tokio::spawn(Follower::new(operator.live.clone()).run(gateway.clone(), operator.shutdown.clone()));
    operator
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn both_doors_show_the_same_lamps_and_figures() {
    let (remote, gateway) = (running("gateway"), Gateway::default());
    remote.live.set_configured(ServiceId::User, split([70, 30], "1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay(&remote.live, 0..30, 7);
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.put(&remote.live);
    let operator = follow(&gateway);
    a_moment().await;
    relay(&remote.live, 30..50, 7);
    remote.live.set_store(StoreView { kind: StoreKind::Redis, ..StoreView::unknown() });
    a_moment().await;
    remote.live.why(vec![Why {
        request_id: "r49".into(),
        flags: "-".into(),
        delay: Duration::ZERO,
        rule: "user-service-vs spec.http[1]".into(),
        subset: "ctx2".into(),
        attempts: 1,
    }]);
    a_moment().await;
    let (here, there) = (operator.live.state(), remote.live.state());
    assert_eq!(here.recent, there.recent);
    assert_eq!(
        (here.services.user.stat, here.totals, here.store, here.load),
        (there.services.user.stat, there.totals, there.store, there.load)
    );
    assert!(here.mesh.gateway.unwrap().connected);
    assert_eq!(operator.live.find("r49").unwrap().flags.as_deref(), Some("-"));
    assert_eq!(here.services.user.config.configured.reason().unwrap().code, "NotReadYet", "configuration is read first-hand");
}

#[tokio::test(start_paused = true)]
async fn browsers_of_the_operator_door_get_the_rows_with_true_counts() {
    let (remote, gateway) = (running("gateway"), Gateway::default());
    gateway.put(&remote.live);
    let operator = follow(&gateway);
    a_moment().await;
    let mut browser = Browser::open(&operator.live, None);
    for _ in 0..30 {
        relay(&remote.live, 0..100, 7);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut seen = 0;
    while seen < 3_000 {
        seen += browser.next_of("req").await.data["n"].as_u64().unwrap();
    }
    assert_eq!(seen, 3_000);
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_is_told_and_resumed_where_it_broke() {
    let (remote, gateway) = (running("gateway"), Gateway::default());
    gateway.put(&remote.live);
    let operator = follow(&gateway);
    a_moment().await;
    let mut browser = Browser::open(&operator.live, None);
    relay(&remote.live, 0..5, 7);
    a_moment().await;
    gateway.take_away();
    a_moment().await;
    let lost = operator.live.state().mesh.gateway.unwrap();
    assert!(!lost.connected);
    relay(&remote.live, 5..9, 7);
    a_moment().await;
    assert_eq!(operator.live.state().mesh.gateway, Some(lost), "`since` stays while it is away");
    gateway.put(&remote.live);
    a_moment().await;
    assert!(operator.live.state().mesh.gateway.unwrap().connected);
    let counts = [browser.next_of("req").await.data["n"].clone(), browser.next_of("req").await.data["n"].clone()];
    assert_eq!(counts, [json!(5), json!(4)]);
    assert!(gateway.asked.lock().unwrap().last().unwrap().as_deref().unwrap().starts_with("gateway:"));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_started_anew_goes_on_under_the_old_lamps() {
    let (first, gateway) = (running("first"), Gateway::default());
    gateway.put(&first.live);
    let operator = follow(&gateway);
    relay(&first.live, 0..5, 7);
    a_moment().await;
    gateway.take_away();
    let second = running("second");
    (0..2).for_each(|n| second.live.relayed(relayed(&second.live, &format!("new{n}"), ServiceId::User, Some("ctx2"))));
    tokio::time::sleep(Duration::from_millis(700)).await;
    gateway.put(&second.live);
    a_moment().await;
    let state = operator.live.state();
    let ids: Vec<&str> = state.recent.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["r0", "r1", "r2", "r3", "r4", "new0", "new1"]);
    assert_eq!(state.totals.sent, 2);
}

#[tokio::test(start_paused = true)]
async fn a_drained_gateway_is_gone_at_once() {
    let (remote, gateway) = (running("gateway"), Gateway::default());
    gateway.put(&remote.live);
    let operator = follow(&gateway);
    a_moment().await;
    *gateway.present.lock().unwrap() = None;
    remote.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!operator.live.state().mesh.gateway.unwrap().connected);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_stopped_but_not_gone_is_noticed_by_its_silence() {
    let operator = running("operator");
    let bytes = "id: g:1\nevent: load\ndata: {}\n\n";
    let stream = futures_util::stream::iter([Ok(bytes.into())]).chain(futures_util::stream::pending()).boxed();
    let before = operator.live.now();
    Follower::new(operator.live.clone()).follow(stream).await;
    assert_eq!(operator.live.now() - before, 20_000_000);
    assert!(!operator.live.state().mesh.gateway.unwrap().connected);
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_longer_than_the_ring_no_row_is_told_twice_and_the_count_is_true() {
    let (remote, gateway) = (running("gateway"), Gateway::default());
    gateway.put(&remote.live);
    let operator = follow(&gateway);
    a_moment().await;
    let mut browser = Browser::open(&operator.live, None);
    relay(&remote.live, 0..5, 7);
    a_moment().await;
    gateway.take_away();
    relay(&remote.live, 5..12, 7);
    tokio::time::sleep(Duration::from_millis(150)).await;
    for n in 0..9_000 {
        remote.live.set_store(StoreView { kind: StoreKind::Redis, ready: Some(n % 2 == 0), ..StoreView::unknown() });
    }
    gateway.put(&remote.live);
    a_moment().await;
    let counts = [browser.next_of("req").await.data["n"].clone(), browser.next_of("req").await.data["n"].clone()];
    assert_eq!(counts, [json!(5), json!(7)]);
    assert_eq!(operator.live.state().recent, remote.live.state().recent);
}
