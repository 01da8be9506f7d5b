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
/// Bytes that wait for all mirrors of one worker, at most.
const WORKER_LIMIT: usize = 16 << 20;

/// Bytes that wait for all mirrors of one worker.
pub(crate) type Waiting = Rc<Cell<usize>>;

/// The queue between an upload and one mirror.
#[derive(Debug)]
pub(crate) struct Copy {
    queue: RefCell<VecDeque<Bytes>>,
    queued: Cell<usize>,
    waiting: Waiting,
    ended: Cell<bool>,
    broken: Cell<bool>,
    /// Told when it breaks.
    gone: Notify,
    reader: RefCell<Option<Waker>>,
}

impl Copy {
    pub(super) fn new(waiting: &Waiting) -> Rc<Self> {
        Rc::new(Self {
            queue: RefCell::default(),
            queued: Cell::new(0),
            waiting: waiting.clone(),
            ended: Cell::new(false),
            broken: Cell::new(false),
            gone: Notify::new(),
            reader: RefCell::default(),
        })
    }

    pub(super) fn push(&self, data: &Bytes) {
        if self.broken.get() {
            return;
        }
        let (queued, waiting) = (self.queued.get() + data.len(), self.waiting.get() + data.len());
        if queued > COPY_LIMIT || waiting > WORKER_LIMIT {
            return self.give_up();
        }
        self.queued.set(queued);
        self.waiting.set(waiting);
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
        self.clear();
        self.gone.notify_one();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    fn clear(&self) {
        self.queue.take();
        self.waiting.set(self.waiting.get() - self.queued.replace(0));
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(data) = self.queue.borrow_mut().pop_front() {
            self.queued.set(self.queued.get() - data.len());
            self.waiting.set(self.waiting.get() - data.len());
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

impl Drop for Copy {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(copy: &Copy) -> Poll<Option<Bytes>> {
        copy.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_waits_is_counted_until_it_is_read_or_given_up() {
        let waiting = Waiting::default();
        let (read, slow) = (Copy::new(&waiting), Copy::new(&waiting));
        let piece = Bytes::from(vec![0; 600 << 10]);
        read.push(&piece);
        slow.push(&piece);
        assert_eq!(waiting.get(), 1200 << 10);
        assert!(matches!(next(&read), Poll::Ready(Some(_))));
        // Over one mebibyte: given up, and what it held is free.
        slow.push(&piece);
        assert!(next(&slow).is_pending() && waiting.get() == 0);
        read.push(&piece);
        read.end();
        assert!(matches!(next(&read), Poll::Ready(Some(_))) && matches!(next(&read), Poll::Ready(None)));
        read.push(&piece);
        drop(read);
        assert_eq!(waiting.get(), 0);
    }

    #[test]
    fn all_mirrors_of_a_worker_share_one_bound() {
        let waiting = Waiting::default();
        let piece = Bytes::from(vec![0; 1 << 20]);
        let copies: Vec<_> = (0..20).map(|_| Copy::new(&waiting)).collect();
        copies.iter().for_each(|copy| copy.push(&piece));
        assert_eq!((waiting.get(), copies.iter().filter(|copy| copy.broken.get()).count()), (WORKER_LIMIT, 4));
    }
}
