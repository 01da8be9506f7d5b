//! Connections kept open to upstreams, one pool per worker thread, so that a request needs no lock to find one.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::body::RequestBody;
use crate::limits::Permit;
use crate::tls::Peer;

/// Longest wait for a connection to become ready again after its answer ended.
const SETTLE: Duration = Duration::from_secs(5);

/// Idle connections of one worker, by the way to an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    entries: RefCell<HashMap<u64, Rc<Entry>>>,
}

/// The connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    idle: RefCell<Vec<Idle>>,
    /// Open connections, idle or busy.
    open: Arc<AtomicU32>,
    /// Requests that wait for one to come back; they go before those that come later.
    waiting: Arc<AtomicU32>,
    /// Told when a connection comes back or closes.
    freed: Notify,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// One upstream connection; its I/O runs in a task of its own that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Requests sent over it before this one.
    pub(crate) uses: u32,
    /// Who is at its other end, where it has proved that.
    pub(crate) peer: Option<Arc<Peer>>,
    /// Why TLS ended it, if it did.
    pub(crate) ended: Rc<OnceCell<String>>,
    /// Counted while it is open: in the cluster, and in its entry.
    pub(crate) _counted: [Option<Permit>; 2],
}

/// A connection in use for one request. Give it back when the answer was read to its end; dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    /// Requests that one connection may carry.
    max_uses: u32,
    /// Held while the request is in flight: the cluster's permit and the endpoint's active count.
    held: Option<[Permit; 2]>,
    wake: Wake,
}

/// Tells one that waits, when dropped, that it may look again. Last in [`Lease`], so that what was held is free by then.
#[derive(Debug)]
pub(crate) struct Wake(Rc<Entry>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.freed.notify_one();
    }
}

impl Pool {
    /// The connections to one endpoint.
    pub(crate) fn entry(&self, endpoint: u64) -> Rc<Entry> {
        self.entries.borrow_mut().entry(endpoint).or_default().clone()
    }

    /// Drops idle connections to endpoints that are gone, and those unused for longer than `idle` says for their endpoint
    /// (`None` = the endpoint is gone).
    pub(crate) fn prune(&self, now: Instant, idle: impl Fn(u64) -> Option<Duration>) {
        self.entries.borrow_mut().retain(|endpoint, entry| match idle(*endpoint) {
            None => {
                entry.idle.borrow_mut().clear();
                false
            }
            Some(limit) => {
                entry.idle.borrow_mut().retain(|idle| !idle.connection.sender.is_closed() && now - idle.since < limit);
                true
            }
        });
    }
}

impl Entry {
    /// The connection used last that is ready, if any.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.connection.sender.is_closed());
        let ready = idle.iter().rposition(|idle| idle.connection.sender.is_ready())?;
        Some(idle.remove(ready).connection)
    }

    /// Is somebody waiting for a connection?
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Waits until a connection may be free.
    pub(crate) async fn freed(&self) {
        let _waiting = Permit::take(&self.waiting);
        self.freed.notified().await;
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    pub(crate) fn count_open(&self) -> Permit {
        Permit::take(&self.open)
    }

    /// Somebody uses or opens a connection, and those who wait will hear of its end.
    pub(crate) fn wake(self: &Rc<Self>) -> Wake {
        Wake(Rc::clone(self))
    }

    fn put(self: &Rc<Self>, connection: Connection) {
        if connection.sender.is_closed() {
            drop(connection);
        } else if connection.sender.is_ready() {
            self.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
        } else {
            // The answer ended before the upload did, or its last bytes are still being settled.
            let wake = self.wake();
            tokio::task::spawn_local(async move {
                let mut connection = connection;
                if let Ok(Ok(())) = tokio::time::timeout(SETTLE, connection.sender.ready()).await {
                    wake.0.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
                }
            });
        }
    }
}

impl Lease {
    pub(crate) fn new(connection: Connection, wake: Wake, max_uses: u32) -> Self {
        Self { connection, max_uses, held: None, wake }
    }

    /// Was the connection used before this request?
    pub(crate) fn is_reused(&self) -> bool {
        self.connection.uses > 0
    }

    /// Keeps these until the request is over.
    pub(crate) fn hold(&mut self, permits: [Permit; 2]) {
        self.held = Some(permits);
    }

    /// The answer was read to its end: the connection may carry the next request.
    pub(crate) fn give_back(self) {
        let Self { mut connection, max_uses, held, wake } = self;
        drop(held);
        connection.uses += 1;
        if connection.uses < max_uses {
            wake.0.put(connection);
        }
    }
}
