//! Conversations on an upgraded connection, and Kubernetes' channel protocol in which most of them are held.
//!
//! Each message is one byte that names a channel and what belongs to it. <https://kubernetes.io/docs/reference/kubernetes-api/> leaves the rest to the code of
//! `k8s.io/apimachinery`.

use std::future::Future;

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;

use super::{
    Api,
    websocket::{Reply, Stream},
};

/// Versions of the protocol, best first.
pub(super) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// How much goes into one message.
pub(super) const CHUNK: usize = 32 * 1024;
/// Messages that may wait for a slow client; then whoever sends them waits.
pub(super) const WAITING: usize = 16;

/// Holds a conversation once the connection is upgraded, until it is over or the server ends.
pub(super) fn hold<F: Future<Output = ()> + Send>(api: &Api, upgrade: OnUpgrade, conversation: impl FnOnce(Stream) -> F + Send + 'static) {
    let ending = api.inner.shutdown.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => tokio::select! {
                () = conversation(TokioIo::new(upgraded)) => {}
                () = ending.cancelled() => {}
            },
            Err(error) => tracing::debug!(%error, "connection not upgraded"),
        }
    });
}

/// Copies what is read to its channel; what nobody wants is read all the same, so that who writes it does not wait.
pub(super) async fn copy(channel: u8, mut source: impl AsyncRead + Unpin, wanted: bool, replies: &mpsc::Sender<Reply>) {
    let mut buffer = vec![0; CHUNK];
    // A terminal whose process is gone reads as an error: that is its end.
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        if wanted && replies.send(Reply::Data(framed(channel, &buffer[..read]))).await.is_err() {
            return;
        }
    }
}

/// A message on a channel.
pub(super) fn framed(channel: u8, data: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(data.len() + 1);
    message.put_u8(channel);
    message.put_slice(data);
    message.freeze()
}
