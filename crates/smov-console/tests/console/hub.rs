//! What the hub counts, samples and tells.

use std::time::Duration;

use serde_json::{Value, json};
use smov_console::live::Reader;
use smov_console::verdict::Verdict;
use smov_console::view::cluster::{MeshView, PodsView, Sight, StoreKind, StoreView};
use smov_console::view::split::{Configured, Excluded, Reason, ServiceConfig};
use smov_console::{ServiceId, Why};

use crate::fakes::{Browser, hub, relay, relayed, running, split};

#[tokio::test(start_paused = true)]
async fn rows_go_out_within_100_ms_in_order_and_with_true_counts() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    assert_eq!(browser.next().await.unwrap().kind, "hello");
    relay(&hub.live, 0..10, 7);
    let before = hub.live.now();
    let event = browser.next_of("req").await;
    assert!(hub.live.now() - before <= 100_000);
    assert_eq!((&event.data["n"], &event.data["dropped"]), (&json!(10), &json!(0)));
    let ids: Vec<&str> = event.data["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"]);
}

#[tokio::test(start_paused = true)]
async fn sixty_four_rows_do_not_wait_for_the_tick() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    browser.next_of("mesh").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = hub.live.now();
    relay(&hub.live, 0..64, 7);
    assert_eq!(browser.next_of("req").await.data["rows"].as_array().unwrap().len(), 64);
    assert_eq!(hub.live.now(), before);
}

#[tokio::test(start_paused = true)]
async fn above_200_a_second_rows_are_sampled_and_counts_stay_exact() {
    let hub = running("e");
    hub.live.set_configured(ServiceId::User, split([70, 30], "1"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut browser = Browser::open(&hub.live, None);
    for tick in 0..50 {
        relay(&hub.live, tick * 500..(tick + 1) * 500, 7);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (mut rows, mut seen, mut dropped) = (0, 0, 0);
    while seen < 25_000 {
        let event = browser.next_of("req").await;
        let data = &event.data;
        let here = data["rows"].as_array().unwrap().len() as u64;
        assert!(here <= 64);
        assert_eq!(here + data["dropped"].as_u64().unwrap(), data["n"].as_u64().unwrap());
        (rows, seen, dropped) = (rows + here, seen + data["n"].as_u64().unwrap(), dropped + data["dropped"].as_u64().unwrap());
    }
    assert_eq!((seen, rows + dropped), (25_000, 25_000));
    assert!((1_000..=1_220).contains(&rows), "{rows} rows in 5 s");
    let state = hub.live.state();
    assert_eq!((state.totals.sent, state.services.user.stat.total), (25_000, 25_000));
    assert_eq!((state.services.user.stat.ctx1, state.services.user.stat.n), (70, 100));
    assert_eq!(state.services.user.stat.block.done, 250);
}

#[tokio::test(start_paused = true)]
async fn without_its_task_the_hub_stays_bounded_and_counts_on() {
    let live = hub("e");
    relay(&live, 0..50_000, 7);
    let state = live.state();
    assert_eq!(state.totals.sent, 50_000);
    assert!(live.find("r49999").is_some() && live.find("r0").is_none());
}

#[tokio::test(start_paused = true)]
async fn only_draws_of_the_split_are_in_the_window() {
    let live = hub("e");
    live.set_configured(ServiceId::User, split([70, 30], "1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay(&live, 0..50, 7);
    live.relayed(relayed(&live, "cut", ServiceId::User, None));
    live.relayed(smov_console::Relayed { canary: true, ..relayed(&live, "canary", ServiceId::User, Some("ctx2")) });
    live.relayed(relayed(&live, "odd", ServiceId::User, Some("unknown")));
    live.relayed(smov_console::Relayed { status: 500, ..relayed(&live, "sick", ServiceId::User, Some("ctx1")) });
    let stat = live.state().services.user.stat;
    assert_eq!((stat.n, stat.ctx1, stat.ctx2, stat.total), (51, 36, 15, 54));
    assert_eq!(stat.excluded, Excluded { canary: 1, unreached: 1, unknown: 1, settling: 0 });
    assert_eq!((stat.lo, stat.hi), (Some(29), Some(42)));
    assert_eq!((stat.errors, live.state().totals.errors), (Some(3.7), 2));
    assert_eq!(stat.verdict, Verdict::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_changed_rule_starts_a_fresh_window_and_a_new_version_alone_does_not() {
    let live = hub("e");
    live.set_configured(ServiceId::User, split([70, 30], "1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay(&live, 0..100, 7);
    live.set_configured(ServiceId::User, split([70, 30], "2"));
    assert_eq!(live.state().services.user.stat.n, 100);
    live.set_configured(ServiceId::User, split([30, 70], "3"));
    let stat = live.state().services.user.stat;
    assert_eq!((stat.n, stat.p, stat.window_since), (0, Some(0.3), live.now()));
    assert_eq!(stat.total, 100);
}

#[tokio::test(start_paused = true)]
async fn requests_that_began_before_the_change_was_everywhere_are_left_out() {
    let live = hub("e");
    live.set_configured(ServiceId::User, split([70, 30], "1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let early = relayed(&live, "early", ServiceId::User, Some("ctx1"));
    live.set_configured(ServiceId::User, split([0, 100], "2"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    live.relayed(early);
    (0..20).for_each(|n| live.relayed(relayed(&live, &n.to_string(), ServiceId::User, Some("ctx2"))));
    let stat = live.state().services.user.stat;
    assert_eq!((stat.n, stat.ctx1, stat.excluded.settling, stat.verdict), (20, 0, 1, Verdict::Ok));
    live.relayed(relayed(&live, "astray", ServiceId::User, Some("ctx1")));
    assert_eq!(live.state().services.user.stat.verdict, Verdict::Bad);
}

#[tokio::test(start_paused = true)]
async fn a_moment_of_blindness_holds_the_verdict_and_keeps_the_window() {
    let live = hub("e");
    let blind = || ServiceConfig {
        configured: Configured::Unknown(Reason::new("Unreadable", "읽을 수 없음", "Unreadable")),
        ..split([70, 30], "1")
    };
    live.set_configured(ServiceId::User, split([70, 30], "1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay(&live, 0..30, 7);
    live.set_configured(ServiceId::User, blind());
    let stat = live.state().services.user.stat;
    assert_eq!((stat.verdict, stat.p, stat.lo, stat.n), (Verdict::Held, None, None, 30));
    live.set_configured(ServiceId::User, split([70, 30], "2"));
    let stat = live.state().services.user.stat;
    assert_eq!((stat.verdict, stat.n), (Verdict::Ok, 30));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_told_once_and_only_when_it_differs() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    hub.live.set_configured(ServiceId::User, split([0, 100], "1"));
    hub.live.set_configured(ServiceId::User, split([0, 100], "1"));
    hub.live.set_configured(ServiceId::Movie, split([100, 0], "1"));
    let first = browser.next_of("cfg").await.data;
    assert_eq!((&first["service"], &first["value"]["configured"]["ctx1"]), (&json!("user"), &json!(0)));
    assert_eq!(browser.next_of("cfg").await.data["service"], json!("movie"));
}

fn why(id: &str, attempts: u32) -> Why {
    let delay = Duration::from_secs(3);
    Why { request_id: id.into(), flags: "DI".into(), delay, rule: "user-service-vs spec.http[1]".into(), subset: "ctx1".into(), attempts }
}

#[tokio::test(start_paused = true)]
async fn a_why_joins_its_row_whichever_comes_first() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    hub.live.why(vec![why("r0", 1)]);
    relay(&hub.live, 0..2, 10);
    let rows = browser.next_of("req").await.data["rows"].clone();
    assert_eq!((&rows[0]["flags"], &rows[0]["delay_ms"], &rows[1]["flags"]), (&json!("DI"), &json!(3_000), &Value::Null));
    hub.live.why(vec![why("r1", 2), why("never-seen", 1)]);
    let whys = browser.next_of("why").await.data;
    assert_eq!(whys["rows"].as_array().unwrap().len(), 1);
    assert_eq!(
        whys["rows"][0],
        json!({ "id": "r1", "flags": "DI", "delay_ms": 3_000, "rule": "user-service-vs spec.http[1]", "attempts": 2, "subset": "ctx1" })
    );
    let state = hub.live.state();
    assert_eq!(state.recent[1].flags.as_deref(), Some("DI"));
    assert_eq!(state.services.user.stat.retried, 1);
    assert_eq!(hub.live.find("r1").unwrap().attempts, Some(2));
}

#[tokio::test(start_paused = true)]
async fn pods_that_nobody_confirms_turn_unknown_after_ten_seconds() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    browser.next_of("pods").await;
    let seen = PodsView { state: Sight::Ok, as_of: hub.live.now(), ..PodsView::never_seen() };
    hub.live.set_pods("ctx2", seen.clone());
    hub.live.set_pods("ctx2", seen);
    let told = browser.next_of("pods").await.data;
    assert_eq!((told["ctx2"]["state"].as_str(), told.get("ctx1")), (Some("ok"), None));
    let before = hub.live.now();
    let told = browser.next_of("pods").await.data;
    assert_eq!(told["ctx2"]["state"], "unknown");
    assert!((10_000_000..=11_100_000).contains(&(hub.live.now() - before)));
    assert_eq!(hub.live.state().pods["ctx2"].state, Sight::Unknown);
}

#[tokio::test(start_paused = true)]
async fn mesh_and_store_are_told_when_they_change() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    browser.next_of("mesh").await;
    hub.live.set_gateway(false);
    hub.live.set_mesh(MeshView { as_of: Some(1), ..MeshView::default() });
    let mesh = browser.next_of("mesh").await.data;
    assert_eq!((&mesh["as_of"], &mesh["gateway"]["connected"], &mesh["edges"]), (&json!(1), &json!(false), &Value::Null));
    hub.live.set_store(StoreView { kind: StoreKind::Sqlite, ready: Some(true), ..StoreView::unknown() });
    assert_eq!(browser.next_of("store").await.data["kind"], "sqlite");
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_goodbye_after_the_last_rows_and_ends_the_streams() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    browser.next_of("mesh").await;
    relay(&hub.live, 0..1, 10);
    hub.shutdown.cancel();
    hub.task.await.unwrap();
    assert_eq!(browser.next_of("req").await.data["n"], 1);
    assert_eq!(browser.next_of("bye").await.data, json!({ "reason": "drain" }));
    assert_eq!(browser.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn browsers_are_counted_and_followers_are_not() {
    let live = hub("e");
    let viewers = live.viewers();
    let (first, second) = (Browser::open(&live, None), Browser::open(&live, None));
    let follower = live.subscribe(None, Reader::Follower);
    assert_eq!(*viewers.borrow(), 2);
    drop((first, follower));
    assert_eq!(*viewers.borrow(), 1);
    drop(second);
    assert_eq!(*viewers.borrow(), 0);
}
