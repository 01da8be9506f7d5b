//! The timers of a request. As Envoy's, they begin when the whole request is there: a client that sends slowly is nobody's timeout.
//!
//! Envoy reads a body ahead, we read it when the upstream takes it. So time also counts while nobody reads: for a connection, for an
//! upstream that takes nothing more.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Upload;

/// Ends some time after the request was read to its end. Boxed, because most routes have no timeout.
pub(crate) struct Expiry(Pin<Box<dyn Future<Output = ()>>>);

impl Expiry {
    pub(crate) fn new(upload: Option<&Rc<Upload>>, limit: Duration) -> Self {
        let upload = upload.filter(|upload| !upload.has_ended()).cloned();
        Self(Box::pin(async move {
            if let Some(upload) = upload {
                loop {
                    let read = upload.bytes();
                    tokio::select! {
                        biased;
                        () = upload.end() => break,
                        () = tokio::time::sleep(limit) => {}
                    }
                    if !upload.starving.get() && upload.bytes() == read {
                        return;
                    }
                }
            }
            tokio::time::sleep(limit).await;
        }))
    }
}

impl Future for Expiry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Expiry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expiry")
    }
}
