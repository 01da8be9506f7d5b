//! Ports over SPDY's streams (`portforward.k8s.io`): for each connection of its own, a client opens a stream for errors and one for data, which say that they
//! belong together. What went wrong is written to the former; both are closed when the pod closes.

use std::{collections::HashMap, future::Future, sync::Arc};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{
    api::{
        channels::CHUNK,
        kubelet::{Dialled, PodAccess},
        spdy::{self, Input, Output, Stream},
        websocket,
    },
    controllers::fields::{name, uid},
    registry::Object,
};

/// Passes connections on until the client goes or the pod is gone.
pub(super) async fn forward(
    stream: websocket::Stream,
    tunnelled: bool,
    kubelet: Arc<dyn PodAccess>,
    pod: Object,
    gone: impl Future<Output = ()> + Send,
) {
    let serve = async |streams| {
        tokio::select! {
            () = serve(streams, kubelet, pod) => {}
            () = gone => {}
        }
    };
    spdy::converse(stream, tunnelled, serve).await;
}

async fn serve(mut streams: mpsc::Receiver<Stream>, kubelet: Arc<dyn PodAccess>, pod: Object) {
    let mut pairs = Pairs::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = streams.recv() => match stream {
                Some(stream) => match pairs.add(stream) {
                    Ok(Some(pair)) => drop(connections.spawn(connect(pair, Arc::clone(&kubelet), Arc::clone(&pod)))),
                    Ok(None) => {}
                    Err(stream) => stream.output.refuse().await,
                },
                None => return,
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::debug!(%error, "a forwarded connection has failed");
            },
        }
    }
}

/// A connection of the client.
struct Pair {
    data: Stream,
    error: Stream,
    port: u16,
}

/// Streams that wait for their other half, by request.
#[derive(Default)]
struct Pairs(HashMap<String, Stream>);

impl Pairs {
    /// A whole pair, once both are there; the stream itself when it makes no sense.
    fn add(&mut self, stream: Stream) -> Result<Option<Pair>, Box<Stream>> {
        let kind = |stream: &Stream| stream.headers.text("streamType").unwrap_or_default().to_owned();
        let port = stream.headers.text("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
        let request = stream.headers.text("requestID").map(str::to_owned);
        let (Some(port), Some(request), "data" | "error") = (port, request, kind(&stream).as_str()) else { return Err(Box::new(stream)) };
        match self.0.remove(&request) {
            None => {
                self.0.insert(request, stream);
                Ok(None)
            }
            Some(other) if kind(&other) == kind(&stream) => {
                self.0.insert(request, other);
                Err(Box::new(stream))
            }
            Some(error) if kind(&stream) == "data" => Ok(Some(Pair { data: stream, error, port })),
            Some(data) => Ok(Some(Pair { data, error: stream, port })),
        }
    }
}

async fn connect(pair: Pair, kubelet: Arc<dyn PodAccess>, pod: Object) {
    let Pair { data, error, port } = pair;
    let Stream { mut input, output, reset, .. } = data;
    match kubelet.dial(&pod, port).await {
        Ok(Dialled { source, sink }) => tokio::select! {
            () = pull(source, &output) => {}
            () = async { push(&mut input, sink).await; std::future::pending().await } => {}
            () = reset.cancelled() => {}
        },
        Err(failure) => {
            let told = format!("error forwarding port {port} to pod {}, uid {}: {}", name(&pod), uid(&pod), failure.message);
            error.output.data(told.as_bytes()).await;
        }
    }
    output.finish().await;
    error.output.finish().await;
}

/// From the pod to the client.
async fn pull(mut source: crate::api::Source, output: &Output) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        if !output.data(&buffer[..read]).await {
            return;
        }
    }
}

/// From the client to the pod, which hears of the end; what it does not want any more is read all the same, so that other connections go on.
async fn push(input: &mut Input, sink: crate::api::Sink) {
    let mut sink = Some(sink);
    while let Some(piece) = input.next().await {
        if let Some(open) = &mut sink
            && (open.write_all(&piece).await.is_err() || open.flush().await.is_err())
        {
            sink = None;
        }
    }
    if let Some(mut sink) = sink {
        let _pod_has_closed = sink.shutdown().await;
    }
}
