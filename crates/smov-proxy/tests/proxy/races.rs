//! Things that happen at the same time: a connection that closes while it is taken, a snapshot that changes while a request is on its way.

use std::cell::Cell;
use std::rc::Rc;

use smov_model::cluster::{Cluster, OutlierDetection};
use tokio::sync::Notify;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

/// A request that began under outlier detection fails when there is none any more: nobody is ejected, and nobody for ever.
#[test]
fn a_failure_from_before_ejects_nobody_where_detection_is_off_by_now() {
    run(async {
        let (fails, go) = (Rc::new(Cell::new(true)), Rc::new(Notify::new()));
        let (failing, may_go) = (fails.clone(), go.clone());
        let app = App::start(move |_| {
            let (failing, may_go) = (failing.clone(), may_go.clone());
            async move {
                if failing.replace(false) {
                    may_go.notified().await;
                    return text(500, "late");
                }
                text(200, "ok")
            }
        });
        let pod = user_pod("127.70.16.2", "ctx1", app);
        let other = user_pod("127.70.16.3", "ctx1", App::saying("ok"));
        let open = cluster(None, &[(pod.address, pod.workload.clone()), (other.address, other.workload.clone())]);
        let detection = OutlierDetection { consecutive_5xx: 1, max_ejection_percent: 100, ..OutlierDetection::default() };
        let guarded = Cluster { outlier: Some(detection), ..open.clone() };
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded]));
        let door = caller.outbound.unwrap();
        let late = tokio::task::spawn_local(get(door, URI, &[]));
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![open]));
        go.notify_one();
        assert_eq!(late.await.unwrap().status, 500);
        for _ in 0..4 {
            assert_eq!(get(door, URI, &[]).await.status, 200);
        }
        assert_eq!((pod.app.log.borrow().len(), other.app.log.borrow().len()), (3, 2), "both go on being asked");
    });
}
