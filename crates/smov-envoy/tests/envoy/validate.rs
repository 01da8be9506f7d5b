//! Does Envoy understand all that we say?

use std::process::Command;

use smov_envoy::config::{static_bootstrap, translate};
use smov_model::snapshot::{PathNormalization, Snapshot, UnknownHosts};
use smov_proxy::ProxyConfig;

use crate::everything::{everything, gateway, sidecar};
use crate::mesh::{App, callee, envoy, get, start};

/// `envoy --mode validate` over the whole configuration of a proxy.
fn validate(binary: &std::path::Path, settings: &ProxyConfig, snapshot: &Snapshot) {
    check(binary, &static_bootstrap(settings, &translate(settings, snapshot), "127.0.0.1:0".parse().unwrap()));
}

/// The same over a bootstrap.
pub fn check(binary: &std::path::Path, bootstrap: &serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, serde_json::to_vec_pretty(bootstrap).unwrap()).unwrap();
    let output = Command::new(binary).args(["--mode", "validate", "-l", "warning", "-c"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.to_lowercase().contains("deprecated"), "{said}");
}

#[test]
fn envoy_validates_a_snapshot_that_uses_everything() {
    let Some(binary) = envoy() else { return };
    let endpoints = [("127.0.0.5:8081".parse().unwrap(), "user-1"), ("127.0.0.6:8081".parse().unwrap(), "user-2")];
    for (normalization, unknown) in [
        (PathNormalization::Base, UnknownHosts::AllowAny),
        (PathNormalization::None, UnknownHosts::RegistryOnly),
        (PathNormalization::MergeSlashes, UnknownHosts::AllowAny),
        (PathNormalization::DecodeAndMergeSlashes, UnknownHosts::AllowAny),
    ] {
        let snapshot = everything(&endpoints, normalization, unknown);
        validate(&binary, &sidecar("/tmp/app.sock".as_ref()), &snapshot);
        validate(&binary, &gateway(), &snapshot);
    }
}

#[tokio::test]
async fn a_live_envoy_takes_everything_and_serves_it() {
    let Some(binary) = envoy() else { return };
    let app = App::saying("app");
    let (_callee, address) = callee(binary.clone(), "user-1", &app).await;
    let snapshot = everything(&[(address, "user-1")], PathNormalization::Base, UnknownHosts::RegistryOnly);
    let caller = start(binary.clone(), sidecar(&app.socket), snapshot.clone()).await;
    let door = caller.envoy.outbound_address().unwrap();
    assert_eq!(get(door, "http://user-service:8081/text", &[]).await.body, "좌석 \"A\" 100%");
    assert_eq!(get(door, "http://user-service:8081/abort", &[]).await.status, 418);
    // `*` of port 80 is a name without port, and not the same name with another port.
    assert_eq!(get(door, "http://nobody/empty", &[]).await.status, 201);
    assert_eq!(get(door, "http://nobody:80/empty", &[]).await.status, 201);
    assert_eq!(get(door, "http://nobody:9000/empty", &[]).await.status, 201);
    assert_eq!(get(door, "http://nobody:9001/empty", &[]).await.status, 502);
    let moved = get(door, "http://user-service:8081/redirect/302/x?a=1", &[]).await;
    assert_eq!((moved.status, moved.headers["location"].to_str().unwrap()), (302, "https://new.t:8443/v3/x?a=1"));
    let rewritten = get(door, "http://user-service:8081/one/u7/u8", &[]).await;
    assert_eq!(rewritten.status, 200);
    assert_eq!(app.seen.lock().unwrap().last().unwrap().0, "/one/user/7/user/8");

    let gateway = start(binary, gateway(), snapshot).await;
    let entrance = gateway.envoy.ingress_address().unwrap();
    let answer = get(entrance, "/text", &[("host", "web.t:1234")]).await;
    assert_eq!((answer.body.as_str(), &answer.headers["server"]), ("좌석 \"A\" 100%", &"istio-envoy".parse().unwrap()));
}
