use super::*;
use crate::view::cluster::{DeploymentView, PodView};

const SECOND: u64 = 1_000_000;

/// `name, ready, restarts`.
fn view(wanted: u32, pods: &[(&str, bool, u32)]) -> PodsView {
    let pod = |(name, ready, restarts): &(&str, bool, u32)| PodView {
        namespace: "theater-msa".into(),
        name: (*name).into(),
        app: "movie-service".into(),
        version: None,
        node: None,
        phase: "Running".into(),
        ready: if *ready { "2/2".into() } else { "1/2".into() },
        status: "Running".into(),
        restarts: *restarts,
        started: None,
        ip: None,
        containers: Vec::new(),
    };
    let deployment = DeploymentView {
        namespace: "theater-msa".into(),
        name: "movie-service-ctx2".into(),
        app: "movie-service".into(),
        ready: 0,
        wanted,
        restore: None,
    };
    PodsView { state: Sight::Ok, as_of: 1, deployments: vec![deployment], pods: pods.iter().map(pod).collect(), ..PodsView::never_seen() }
}

fn row(at: u64, pod: Option<&str>) -> RequestRow {
    RequestRow {
        id: format!("r{at}"),
        svc: ServiceId::Movie,
        m: "GET".into(),
        path: "/movies/".into(),
        cluster: pod.map(|_| "ctx2".to_owned()),
        pod: pod.map(str::to_owned),
        version: None,
        status: if pod.is_some() { 200 } else { 503 },
        ms: 10.0,
        canary: false,
        mine: None,
        ts: at,
        flags: None,
        delay_ms: None,
        rule: None,
        subset: None,
        attempts: None,
    }
}

fn place() -> Place {
    Place { cluster: "ctx2".into(), namespace: "theater-msa".into(), app: "movie-service".into() }
}

fn by_kind(moments: &[Moment], kind: MomentKind) -> &Moment {
    moments.iter().find(|moment| moment.kind == kind).unwrap()
}

#[test]
fn a_killed_process_is_measured_from_the_kill_to_the_first_answer() {
    let mut outages = Outages::default();
    assert!(outages.see("ctx2", &view(1, &[("m-1", true, 0)]), SECOND).is_empty());
    let (id, began) = outages.acted(&place(), Cause::Killed { pod: "m-1".into(), container: "movie-service".into() }, 2 * SECOND);
    assert!(began[0].effect.as_ref().unwrap().open);
    assert!(outages.see("ctx2", &view(1, &[("m-1", true, 0)]), 2 * SECOND + 1).is_empty(), "an old picture ends nothing");
    outages.request(&row(2 * SECOND - 1, None));
    outages.request(&row(3 * SECOND, None));
    outages.see("ctx2", &view(1, &[("m-1", false, 0)]), 3 * SECOND);
    let over = outages.see("ctx2", &view(1, &[("m-1", true, 1)]), 5 * SECOND);
    let ready = by_kind(&over, MomentKind::Ready);
    assert_eq!((ready.duration_ms, ready.effect.as_ref().unwrap().failed), (Some(3_000), 1), "{ready:?}");
    assert_eq!(by_kind(&over, MomentKind::Restart).about.as_deref(), Some("Pod/theater-msa/m-1"));
    outages.request(&row(5 * SECOND + 90_000, Some("m-1")));
    outages.request(&row(6 * SECOND, Some("m-1")));
    let told = outages.news(6 * SECOND);
    let effect = by_kind(&told, MomentKind::Kill).effect.clone().unwrap();
    assert_eq!((effect.served_ms, effect.request.as_deref(), effect.open), (Some(3_100), Some("r3000000"), true));
    let end = outages.news(10 * SECOND);
    assert!(!by_kind(&end, MomentKind::Kill).effect.clone().unwrap().open && end[0].id == id);
    assert!(outages.news(11 * SECOND).is_empty());
}

#[test]
fn a_pod_that_kubectl_deletes_is_noticed_and_its_successor_ends_it() {
    let mut outages = Outages::default();
    outages.see("ctx2", &view(1, &[("m-1", true, 0)]), SECOND);
    let lost = outages.see("ctx2", &view(1, &[]), 2 * SECOND);
    assert_eq!(lost[0].kind, MomentKind::Fault);
    // Whoever asked through this page learns of it a moment later: one entry, not two.
    let (id, told) = outages.acted(&place(), Cause::Deleted("m-1".into()), 2 * SECOND - 50_000);
    assert_eq!(id, lost[0].id);
    assert_eq!(told[0].kind, MomentKind::Kill);
    let over = outages.see("ctx2", &view(1, &[("m-2", true, 0)]), 4 * SECOND);
    assert_eq!(by_kind(&over, MomentKind::Ready).duration_ms, Some(2_050));
}

#[test]
fn fewer_pods_that_are_wanted_are_no_outage_and_none_are() {
    let mut outages = Outages::default();
    outages.see("ctx2", &view(2, &[("m-1", true, 0), ("m-2", true, 0)]), SECOND);
    assert!(outages.see("ctx2", &view(1, &[("m-1", true, 0)]), 2 * SECOND).is_empty());
    let gone = outages.see("ctx2", &view(0, &[]), 3 * SECOND);
    assert_eq!((gone[0].kind, gone[0].text_en.as_str()), (MomentKind::Scale, "movie-service · ctx2: 1 → 0 pods"));
    assert!(outages.see("ctx2", &view(1, &[]), 8 * SECOND).is_empty());
    let (id, _) = outages.acted(&place(), Cause::Scaled(1), 8 * SECOND);
    assert_eq!(id, gone[0].id, "the way back belongs to what it ends");
    let back = outages.see("ctx2", &view(1, &[("m-3", true, 0)]), 9 * SECOND);
    assert_eq!(by_kind(&back, MomentKind::Ready).duration_ms, Some(6_000));
}

#[test]
fn a_rollout_is_over_when_no_pod_of_before_is_left() {
    let mut outages = Outages::default();
    outages.see("ctx2", &view(1, &[("m-1", true, 0)]), SECOND);
    outages.acted(&place(), Cause::Restarted, 2 * SECOND);
    assert!(outages.see("ctx2", &view(1, &[("m-1", true, 0), ("m-2", true, 0)]), 3 * SECOND).is_empty());
    let over = outages.see("ctx2", &view(1, &[("m-2", true, 0)]), 4 * SECOND);
    let ready = by_kind(&over, MomentKind::Ready);
    assert_eq!((ready.duration_ms, ready.effect.as_ref().unwrap().failed), (Some(2_000), 0));
}

#[test]
fn nothing_is_concluded_of_a_cluster_out_of_sight() {
    let mut outages = Outages::default();
    outages.see("ctx2", &view(1, &[("m-1", true, 0)]), SECOND);
    let away = PodsView { state: Sight::Unknown, ..view(1, &[]) };
    assert!(outages.see("ctx2", &away, 2 * SECOND).is_empty());
}

#[test]
fn what_begins_anew_ends_what_was_followed_before() {
    let mut outages = Outages::default();
    outages.see("ctx2", &view(1, &[("m-1", true, 0)]), SECOND);
    outages.see("ctx2", &view(1, &[("m-1", false, 0)]), 2 * SECOND);
    outages.see("ctx2", &view(1, &[("m-1", true, 1)]), 3 * SECOND);
    let again = outages.see("ctx2", &view(1, &[("m-1", false, 1)]), 4 * SECOND);
    let open: Vec<bool> = again.iter().filter_map(|moment| moment.effect.as_ref()).map(|effect| effect.open).collect();
    assert_eq!(open, [false, false, true], "{again:#?}");
}
