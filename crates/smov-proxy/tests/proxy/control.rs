//! The stream to a control plane that comes and goes.

use std::path::Path;

use smov_model::snapshot::SnapshotVersion;
use smov_model::wire::{FromProxy, ProxyRole, ToProxy};
use smov_proxy::config::ControlAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::support::*;

pub(crate) async fn read_message(stream: &mut UnixStream) -> FromProxy {
    let length = stream.read_u32().await.unwrap();
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.unwrap();
    serde_json::from_slice(&frame).unwrap()
}

/// The next message that is neither a report nor about certificates.
pub(crate) async fn answer(stream: &mut UnixStream) -> FromProxy {
    loop {
        match read_message(stream).await {
            FromProxy::Report { .. } | FromProxy::CertificateRequest { .. } => {}
            other => return other,
        }
    }
}

async fn write_bytes(stream: &mut UnixStream, frame: &[u8]) {
    stream.write_u32(frame.len() as u32).await.unwrap();
    stream.write_all(frame).await.unwrap();
}

pub(crate) async fn write_message(stream: &mut UnixStream, message: &ToProxy) {
    write_bytes(stream, &serde_json::to_vec(message).unwrap()).await;
}

fn listen(path: &Path) -> UnixListener {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).unwrap()
}

#[test]
fn the_last_snapshot_serves_while_the_control_plane_is_away() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (socket, token_file) = (folder.path().join("xds.sock"), folder.path().join("token"));
        std::fs::write(&token_file, "secret\n").unwrap();
        let control = listen(&socket);
        let mut config = config(ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
        config.control = Some(ControlAddress { socket: socket.clone(), token_file });
        let proxy = start(config, dice());
        let pod = user_pod("127.70.8.1", "ctx1", App::saying("ok"));
        let endpoints = [(pod.address, pod.workload.clone())];
        let snapshot = caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &endpoints)]);

        let (mut stream, _) = control.accept().await.unwrap();
        let FromProxy::Hello { token, pod: name, have, .. } = answer(&mut stream).await else { panic!("no hello") };
        assert_eq!((token.as_str(), name.as_str(), have), ("secret", "api-gateway-1", None));
        write_message(&mut stream, &ToProxy::Snapshot { snapshot: Box::new(snapshot.clone()) }).await;
        assert_eq!(answer(&mut stream).await, FromProxy::Ack { version: snapshot.version });
        let door = proxy.outbound.unwrap();
        assert_eq!(get(door, "http://user-service:8081/", &[("x-request-id", "one")]).await.status, 200);
        let report = loop {
            if let FromProxy::Report { rows, seen, .. } = read_message(&mut stream).await
                && seen > 0
            {
                break rows;
            }
        };
        assert_eq!((report.len(), report[0].request_id.as_str()), (1, "one"));
        write_message(&mut stream, &ToProxy::RecordRequest { question: 7, request_id: "one".into() }).await;
        let FromProxy::RecordReply { question, records } = answer(&mut stream).await else { panic!("no records") };
        assert_eq!((question, records.len()), (7, 1));

        // A snapshot that cannot be read is refused and the one before it stays.
        let version = SnapshotVersion { epoch: 1, number: 2 };
        let broken = serde_json::json!({"type": "snapshot", "snapshot": {"version": version, "outbound": 5}});
        write_bytes(&mut stream, broken.to_string().as_bytes()).await;
        let FromProxy::Nack { version: refused, .. } = answer(&mut stream).await else { panic!("no nack") };
        assert_eq!(refused, version);

        drop((stream, control));
        assert_eq!(get(door, "http://user-service:8081/", &[]).await.status, 200);
        let control = listen(&socket);
        let (mut stream, _) = control.accept().await.unwrap();
        let FromProxy::Hello { have, .. } = answer(&mut stream).await else { panic!("no hello") };
        assert_eq!(have, Some(snapshot.version));
    });
}
