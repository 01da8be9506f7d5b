//! Readers that come back: from the ring where it still has their place, else from a whole state that says what they missed.

use std::time::Duration;

use smov_console::ServiceId;
use smov_console::view::cluster::{StoreKind, StoreView};

use crate::fakes::{Browser, relay, relayed, running};

#[tokio::test(start_paused = true)]
async fn a_reader_resumes_without_loss_or_repetition() {
    let hub = running("e");
    let mut all = Browser::open(&hub.live, None);
    let mut whole = Vec::new();
    for tick in 0..20 {
        relay(&hub.live, tick * 3..(tick + 1) * 3, 7);
        whole.push(all.next_of("req").await);
    }
    for (index, event) in whole.iter().enumerate() {
        let mut again = Browser::open(&hub.live, Some(&event.id));
        for expected in &whole[index + 1..] {
            assert_eq!(&again.next_of("req").await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_and_the_events_after_it_tell_every_row_once() {
    let hub = running("e");
    relay(&hub.live, 0..5, 7);
    tokio::time::sleep(Duration::from_millis(150)).await;
    relay(&hub.live, 5..8, 7);
    let mut browser = Browser::open(&hub.live, None);
    let hello = browser.next().await.unwrap();
    assert_eq!((hello.kind.as_str(), hello.data["missed"].as_u64()), ("hello", Some(0)));
    let shown = hello.data["recent"].as_array().unwrap().len();
    assert_eq!(shown + browser.next_of("req").await.data["rows"].as_array().unwrap().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_comes_too_late_is_told_how_many_requests_it_missed() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    relay(&hub.live, 0..3, 7);
    let last = browser.next_of("req").await.id;
    drop(browser);
    relay(&hub.live, 3..40, 7);
    tokio::time::sleep(Duration::from_millis(150)).await;
    for n in 0..9_000 {
        hub.live.set_store(StoreView { kind: StoreKind::Redis, ready: Some(n % 2 == 0), ..StoreView::unknown() });
    }
    let hello = Browser::open(&hub.live, Some(&last)).next().await.unwrap();
    assert_eq!((hello.kind.as_str(), hello.data["missed"].as_u64(), hello.data["totals"]["sent"].as_u64()), ("hello", Some(37), Some(40)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_another_epoch_gets_the_whole_state() {
    let hub = running("second");
    relay(&hub.live, 0..4, 7);
    tokio::time::sleep(Duration::from_millis(150)).await;
    for last in ["first:3", "second:999999", "nonsense"] {
        let hello = Browser::open(&hub.live, Some(last)).next().await.unwrap();
        assert_eq!((hello.kind.as_str(), hello.data["missed"].as_u64()), ("hello", Some(4)), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_does_not_push_the_others_lamps_out_of_the_state() {
    let hub = running("e");
    (0..20).for_each(|n| hub.live.relayed(relayed(&hub.live, &format!("m{n}"), ServiceId::Movie, Some("ctx2"))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for tick in 0..5 {
        relay(&hub.live, tick * 50..(tick + 1) * 50, 7);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let recent = hub.live.state().recent;
    let of = |service| recent.iter().filter(|row| row.svc == service).count();
    assert_eq!((of(ServiceId::User), of(ServiceId::Movie)), (100, 16));
    assert_eq!((recent[0].id.as_str(), recent.last().unwrap().id.as_str()), ("m4", "r249"));
}
