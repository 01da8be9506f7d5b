//! Idle connections to one address, and the body that brings its connection back when it has been read.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{CallError, Origin};

/// Connections kept for the next request; more are closed.
const MAX_IDLE: usize = 32;
/// After so long without use a connection is not used again.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pool {
    to: Origin,
    connect_timeout: Duration,
    idle: Arc<Idle>,
}

/// Guards the list only while an entry goes in or out. Last in, first out: the rest may age.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<(SendRequest<Body>, Instant)>>);

impl Idle {
    fn take(&self) -> Option<SendRequest<Body>> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = list.pop() {
            if !sender.is_closed() && since.elapsed() < MAX_IDLE_TIME {
                return Some(sender);
            }
        }
        None
    }

    fn put(&self, sender: SendRequest<Body>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < MAX_IDLE && !sender.is_closed() {
            list.push((sender, Instant::now()));
        }
    }
}

impl Pool {
    pub(super) fn new(to: Origin, connect_timeout: Duration) -> Self {
        Self { to, connect_timeout, idle: Arc::default() }
    }

    pub(super) fn peer(&self) -> String {
        self.to.authority.to_string()
    }

    /// Sends on an idle connection, else on a new one. A request that an idle connection handed back unsent is sent again;
    /// one that may have arrived is not.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, CallError> {
        while let Some(mut sender) = self.idle.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(self.answer(answer, sender)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(CallError::Broken { to: self.peer(), source: refused.into_error() }),
                },
            }
        }
        let mut sender = self.connect().await?;
        match sender.send_request(request).await {
            Ok(answer) => Ok(self.answer(answer, sender)),
            Err(source) => Err(CallError::Broken { to: self.peer(), source }),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, CallError> {
        let failed = |source| CallError::Connect { to: self.peer(), source };
        let connecting = tokio::time::timeout(self.connect_timeout, TcpStream::connect(self.to.address()));
        let stream = connecting.await.map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|source| CallError::Broken { to: self.peer(), source })?;
        // Ends when its sender is dropped, which the pool or the answer's body owns.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }

    fn answer(&self, answer: Response<Incoming>, sender: SendRequest<Body>) -> Response<Body> {
        answer.map(|body| {
            let mut body = PooledBody { body, home: Some((sender, self.idle.clone())) };
            if body.body.is_end_stream() {
                body.bring_home();
            }
            Body::new(body)
        })
    }
}

/// An answer's body. Read to its end, the connection goes back; dropped before, it is closed, which tells the server.
struct PooledBody {
    body: Incoming,
    home: Option<(SendRequest<Body>, Arc<Idle>)>,
}

impl PooledBody {
    fn bring_home(&mut self) {
        if let Some((sender, idle)) = self.home.take() {
            idle.put(sender);
        }
    }
}

impl http_body::Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.bring_home(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.bring_home(),
            Poll::Ready(Some(Err(_))) => self.home = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
