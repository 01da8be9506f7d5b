//! A pod that is switched to fail, over a real socket.

use std::{path::Path, time::Duration};

use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::house::{House, switched_user_service};

/// Writes the folder as the kubelet does: a new folder, then one rename.
fn publish(folder: &Path, generation: &str, key: &str, value: &str) {
    let data = folder.join(generation);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join(key), value).unwrap();
    let fresh = folder.join("..data_tmp");
    std::os::unix::fs::symlink(generation, &fresh).unwrap();
    std::fs::rename(&fresh, folder.join("..data")).unwrap();
    if std::fs::symlink_metadata(folder.join(key)).is_err() {
        std::os::unix::fs::symlink(Path::new("..data").join(key), folder.join(key)).unwrap();
    }
}

async fn bound<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("in time")
}

#[tokio::test]
async fn a_pod_fails_slows_hangs_and_recovers_without_a_restart() {
    let house = House::open(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (server, switches) = switched_user_service(&house, folder.path(), stop.clone()).await;
    let says = async |status: StatusCode, switch: &str| {
        loop {
            let answer = server.get("/users/").await;
            if (answer.status(), answer.header("x-app-switch")) == (status, switch) {
                break answer;
            }
            tokio::task::yield_now().await;
        }
    };
    bound(says(StatusCode::OK, "")).await;

    publish(folder.path(), "..1", "user-service", "fail 100% 503\n");
    let answer = bound(says(StatusCode::SERVICE_UNAVAILABLE, "fail 100% 503")).await;
    assert_eq!(answer.header("x-service-name"), "user-service", "the pod itself answers");
    assert_eq!(answer.json()["type"], "urn:smov:problem:app-switch");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status(), StatusCode::OK, "{path}");
    }
    let metrics = server.get("/metrics").await;
    let metrics = metrics.text();
    assert!(metrics.contains("theatre_app_switch 1\n"), "{metrics}");

    publish(folder.path(), "..2", "user-service", "slow 100% 30ms");
    bound(says(StatusCode::OK, "slow 100% 30ms")).await;
    let started = std::time::Instant::now();
    server.get("/users/").await;
    assert!(started.elapsed() >= Duration::from_millis(30));

    publish(folder.path(), "..3", "user-service", "hang 100%");
    let answers = async || tokio::time::timeout(Duration::from_millis(300), server.get("/users/")).await.is_ok();
    bound(async { while answers().await {} }).await;
    // Whoever hangs is let go when the switch is off.
    let held = tokio::spawn(server.get("/users/"));
    publish(folder.path(), "..4", "user-service", "off");
    assert_eq!(bound(held).await.unwrap().status(), StatusCode::OK);
    bound(says(StatusCode::OK, "")).await;
    stop.cancel();
    switches.await.unwrap();
}
