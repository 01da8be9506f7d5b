//! Bodies in flight: uploads that can be sent again, and downloads that close the books at their end.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use smov_model::flag::ResponseFlag;
use tokio::sync::Notify;

use crate::exchange::Exchange;
use crate::outbound::grpc;
use crate::pool::Lease;

mod copy;
mod expiry;
use copy::Copy;
pub(crate) use copy::Waiting;
pub(crate) use expiry::Expiry;

/// Kept of an upload for retries, at most; a larger one is not retried, as in Envoy.
const REPLAY_LIMIT: usize = 1 << 20;

/// The downstream's request body, shared by the attempts that send it.
#[derive(Debug)]
pub(crate) struct Upload {
    source: RefCell<Incoming>,
    hint: SizeHint,
    /// What was read so far, while `keep` holds.
    kept: RefCell<Vec<Bytes>>,
    trailers: RefCell<Option<HeaderMap>>,
    keep: Cell<bool>,
    /// Was all of it read?
    ended: Cell<bool>,
    /// Told when it was.
    end: Notify,
    /// Is somebody waiting for the downstream to send more of it?
    starving: Cell<bool>,
    bytes: Cell<u64>,
    /// Mirrors read along.
    copies: RefCell<Vec<Rc<Copy>>>,
    /// The attempt that may read; an abandoned one may linger for a moment.
    reader: Cell<u32>,
}

impl Upload {
    /// An upload of this body; `None` when there is none.
    pub(crate) fn new(source: Incoming, keep: bool) -> Option<Rc<Self>> {
        if source.is_end_stream() {
            return None;
        }
        Some(Rc::new(Self {
            hint: source.size_hint(),
            source: RefCell::new(source),
            kept: RefCell::default(),
            trailers: RefCell::default(),
            keep: Cell::new(keep),
            ended: Cell::new(false),
            end: Notify::new(),
            starving: Cell::new(false),
            bytes: Cell::new(0),
            copies: RefCell::default(),
            reader: Cell::new(0),
        }))
    }

    /// Can it be sent once more from the start?
    pub(crate) fn replayable(&self) -> bool {
        self.keep.get() || self.bytes.get() == 0 && !self.ended.get()
    }

    /// A copy for a mirror; to be made before anything was read.
    pub(crate) fn copy(&self, waiting: &Waiting) -> RequestBody {
        let copy = Copy::new(waiting);
        self.copies.borrow_mut().push(copy.clone());
        RequestBody::Copy { copy, hint: self.hint }
    }

    /// Bytes read from the downstream.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut *self.source.borrow_mut()).poll_frame(cx);
        self.starving.set(polled.is_pending());
        let frame = std::task::ready!(polled);
        match &frame {
            None => self.finish(),
            Some(Err(_)) => self.copies.borrow().iter().for_each(|copy| copy.give_up()),
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => {
                    self.bytes.set(self.bytes.get() + data.len() as u64);
                    if self.keep.get() && self.bytes.get() > REPLAY_LIMIT as u64 {
                        self.keep.set(false);
                        self.kept.take();
                    }
                    self.copies.borrow().iter().for_each(|copy| copy.push(data));
                    if self.keep.get() {
                        self.kept.borrow_mut().push(data.clone());
                    }
                }
                (None, Some(trailers)) if self.keep.get() => drop(self.trailers.replace(Some(trailers.clone()))),
                (None, _) => {}
            },
        }
        // With a length given, nobody may ask for what comes after the last byte.
        if matches!(frame, Some(Ok(_))) && self.source.borrow().is_end_stream() {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn finish(&self) {
        self.ended.set(true);
        self.copies.borrow().iter().for_each(|copy| copy.end());
        self.end.notify_waiters();
    }

    fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Waits until all of it was read.
    async fn end(&self) {
        while !self.ended.get() {
            self.end.notified().await;
        }
    }
}

/// One attempt's request body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    /// Reads `kept` from `position`, then the source.
    Upload {
        upload: Rc<Upload>,
        position: usize,
        reader: u32,
        trailers_sent: bool,
    },
    /// What an upload read, for a mirror.
    Copy {
        copy: Rc<Copy>,
        hint: SizeHint,
    },
}

/// The request is over: copies of what was not read to its end are not whole.
impl Drop for Upload {
    fn drop(&mut self) {
        let whole = self.ended.get() || self.source.get_mut().is_end_stream();
        for copy in self.copies.get_mut().iter().filter(|copy| !copy.has_ended()) {
            if whole { copy.end() } else { copy.give_up() }
        }
    }
}

impl RequestBody {
    /// The body of a new attempt; from the start. Attempts before it read no more.
    pub(crate) fn of(upload: Option<&Rc<Upload>>) -> Self {
        upload.map_or(Self::Empty, |upload| {
            upload.reader.set(upload.reader.get() + 1);
            Self::Upload { upload: upload.clone(), position: 0, reader: upload.reader.get(), trailers_sent: false }
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (upload, position, reader, trailers_sent) = match self.get_mut() {
            Self::Empty => return Poll::Ready(None),
            Self::Copy { copy, .. } => return copy.poll(cx).map(|data| data.map(|data| Ok(Frame::data(data)))),
            Self::Upload { upload, position, reader, trailers_sent } => (upload, position, reader, trailers_sent),
        };
        if *reader != upload.reader.get() {
            return Poll::Pending;
        }
        if let Some(data) = upload.kept.borrow().get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if upload.ended.get() {
            let trailers = upload.trailers.borrow().clone().filter(|_| !std::mem::replace(trailers_sent, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = upload.poll_source(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => *position += 1,
            Poll::Ready(Some(Ok(_))) => *trailers_sent = true,
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Copy { copy, .. } => copy.is_read(),
            Self::Upload { upload, position, trailers_sent, .. } => {
                let read = *position >= upload.kept.borrow().len();
                let no_trailers = *trailers_sent || upload.trailers.borrow().is_none();
                read && no_trailers && (upload.ended.get() || upload.source.borrow().is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload { upload, position: 0, .. } => upload.hint,
            Self::Upload { .. } => SizeHint::default(),
            Self::Copy { hint, .. } => *hint,
        }
    }
}

impl RequestBody {
    /// Ends when a copy can not become whole any more; never for other bodies.
    pub(crate) fn broken(&self) -> impl Future<Output = ()> + 'static {
        let copy = if let Self::Copy { copy, .. } = self { Some(copy.clone()) } else { None };
        async move {
            match copy {
                Some(copy) => copy.broken().await,
                None => std::future::pending().await,
            }
        }
    }
}

/// What the downstream gets.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Our own words; `None` once given.
    Text(Option<Bytes>),
    /// An upstream's answer.
    Stream(Box<Download>),
}

impl ResponseBody {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Text((!text.is_empty()).then_some(text))
    }
}

/// An upstream's response body. At its end the connection goes back to the pool and the exchange is observed; dropped before that, the
/// connection is closed and the exchange ends as "client went away".
#[derive(Debug)]
pub(crate) struct Download {
    source: Incoming,
    /// Taken at the end.
    books: Option<(Lease, Exchange)>,
    /// When the route's timeout strikes.
    expiry: Option<Expiry>,
}

/// The body broke off after its head was sent: the connection is closed, which is all that HTTP/1.1 can say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenBody {
    #[error("the upstream's body broke off")]
    Upstream(#[source] hyper::Error),
    #[error("upstream request timeout while the body was on its way")]
    Timeout,
}

impl Download {
    /// The answer's body, or nothing left to stream when it has none.
    pub(crate) fn start(source: Incoming, lease: Lease, exchange: Exchange, expiry: Option<Expiry>) -> ResponseBody {
        let mut download = Self { source, books: Some((lease, exchange)), expiry };
        if download.source.is_end_stream() {
            download.close(None);
            return ResponseBody::Text(None);
        }
        ResponseBody::Stream(Box::new(download))
    }

    fn close(&mut self, flag: Option<ResponseFlag>) {
        if let Some((lease, mut exchange)) = self.books.take() {
            match flag {
                None => lease.give_back(),
                Some(flag) => exchange.add_flag(flag),
            }
            exchange.finish();
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Pending => {
                if let Some(expiry) = &mut self.expiry
                    && Pin::new(expiry).poll(cx).is_ready()
                {
                    self.close(Some(ResponseFlag::Ut));
                    return Poll::Ready(Some(Err(BrokenBody::Timeout)));
                }
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.close(None);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.close(Some(ResponseFlag::Uc));
                Poll::Ready(Some(Err(BrokenBody::Upstream(error))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some((_, exchange))) = (frame.data_ref(), &mut self.books) {
                    exchange.trace.response_body += data.len() as u64;
                }
                if let (Some(trailers), Some((_, exchange))) = (frame.trailers_ref(), &mut self.books)
                    && exchange.trace.is_grpc
                {
                    exchange.trace.grpc_status = grpc::told(trailers);
                }
                if self.source.is_end_stream() {
                    self.close(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Stream(download) => Pin::new(download.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Stream(download) => download.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Stream(download) => download.size_hint(),
        }
    }
}
