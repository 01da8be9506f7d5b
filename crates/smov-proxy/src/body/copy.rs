//! The copy of an upload for a mirror: what the request itself reads is queued, up to a bound, so that a slow mirror never slows the
//! request; one that falls too far behind is given up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes that wait for one mirror, at most.
const COPY_LIMIT: usize = 1 << 20;

/// The queue between an upload and one mirror.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    queue: RefCell<VecDeque<Bytes>>,
    queued: Cell<usize>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    /// Told when it breaks.
    gone: Notify,
    reader: RefCell<Option<Waker>>,
}

impl Copy {
    pub(super) fn push(&self, data: &Bytes) {
        if self.broken.get() {
            return;
        }
        self.queued.set(self.queued.get() + data.len());
        if self.queued.get() > COPY_LIMIT {
            return self.give_up();
        }
        self.queue.borrow_mut().push_back(data.clone());
        self.wake();
    }

    pub(super) fn end(&self) {
        self.ended.set(true);
        self.wake();
    }

    /// Nothing more will come, and what came is not all.
    pub(super) fn give_up(&self) {
        self.broken.set(true);
        self.queue.take();
        self.gone.notify_one();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(data) = self.queue.borrow_mut().pop_front() {
            self.queued.set(self.queued.get() - data.len());
            return Poll::Ready(Some(data));
        }
        if self.ended.get() && !self.broken.get() {
            return Poll::Ready(None);
        }
        self.reader.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    pub(super) fn is_read(&self) -> bool {
        self.ended.get() && self.queue.borrow().is_empty()
    }

    /// Waits until it is broken.
    pub(crate) async fn broken(self: Rc<Self>) {
        while !self.broken.get() {
            self.gone.notified().await;
        }
    }
}
