//! API servers speak TLS: one HTTP/2 connection carries everything, and one that speaks HTTP/1.1 only is good enough.

#![expect(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, these are their helpers")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use smov_control::ControlConfig;
use smov_control::debug_client::DebugClient;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// Everything is empty; watches never say anything.
async fn answer(request: Request<hyper::body::Incoming>) -> io::Result<Answer> {
    assert_eq!(request.headers()["authorization"], "Bearer istiod");
    if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
        let silent = futures_util::stream::pending::<io::Result<Frame<Bytes>>>();
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(silent))));
    }
    let list = json!({ "kind": "List", "metadata": { "resourceVersion": "1" }, "items": [] }).to_string();
    Ok(Response::new(Full::from(list).map_err(|never| match never {}).boxed()))
}

/// Runs a control plane against a TLS server with these ALPN protocols, until it is ready; says how many connections that took.
async fn connections_until_ready(protocols: &[&[u8]]) -> usize {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut tls =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key.into()).unwrap();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // Ends when the client goes.
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });

    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("https://{address}"),
            "certificate-authority-data": base64::engine::general_purpose::STANDARD.encode(certified.cert.pem()) } }],
        "users": [{ "name": "u", "user": { "token": "istiod" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let config = ControlConfig {
        cluster: "ctx1".parse().unwrap(),
        kubeconfig: Some(folder.path().join("kubeconfig")),
        xds_socket: folder.path().join("x.sock"),
        debug_socket: folder.path().join("d.sock"),
        root_namespace: "istio-system".parse().unwrap(),
        pod_address: None,
        certificate_lifetime: Duration::from_secs(3600),
        remote_patience: Duration::from_secs(30),
        link: None,
        otlp_socket: None,
        collectors: Vec::new(),
    };
    let client = DebugClient::new(&config.debug_socket);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(smov_control::run(config, shutdown.clone()));
    let ready = async {
        while !client.ready().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("ready within 20 s");
    shutdown.cancel();
    running.await.unwrap().unwrap();
    connections.load(Ordering::SeqCst)
}

#[tokio::test]
async fn one_connection_is_enough_where_the_server_speaks_http_2() {
    assert_eq!(connections_until_ready(&[b"h2", b"http/1.1"]).await, 1);
}

#[tokio::test]
async fn a_server_that_speaks_http_1_only_is_good_enough() {
    assert!(connections_until_ready(&[b"http/1.1"]).await > 1);
}
