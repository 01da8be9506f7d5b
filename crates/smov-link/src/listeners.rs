//! The link as a whole: which addresses lead through it, and what it is like.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::connection::{Counters, relay};
use crate::settings::{Settings, State};

/// Where connections come in, and where each leads.
pub type Routes = BTreeMap<SocketAddr, SocketAddr>;

/// An address that could not be listened on is tried again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// A link that runs, or will. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    settings: watch::Sender<Settings>,
    routes: watch::Sender<Routes>,
    /// The settings that hold now, and the addresses that could not be listened on.
    in_force: watch::Sender<(Settings, BTreeMap<SocketAddr, Trouble>)>,
    counters: Arc<Counters>,
    connections: TaskTracker,
}

/// Why nothing listens at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

/// What went through a link since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Bytes that arrived, both ways together.
    pub bytes: u64,
}

impl Link {
    /// A link without routes.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: watch::Sender::new(settings),
            routes: watch::Sender::default(),
            in_force: watch::Sender::new((settings, BTreeMap::new())),
            counters: Arc::default(),
            connections: TaskTracker::new(),
        }
    }

    /// Makes the link be so from now on; connections that are open feel it too.
    pub fn set(&self, settings: Settings) {
        self.settings.send_if_modified(|now| std::mem::replace(now, settings) != settings);
    }

    /// Changes where connections may come in. Connections that are open stay.
    pub fn route(&self, routes: Routes) {
        self.routes.send_if_modified(|now| {
            let differs = *now != routes;
            *now = routes;
            differs
        });
    }

    /// What holds now; a receiver hears of every change.
    pub fn in_force(&self) -> watch::Receiver<(Settings, BTreeMap<SocketAddr, Trouble>)> {
        self.in_force.subscribe()
    }

    /// What went through so far.
    pub fn figures(&self) -> Figures {
        let (opened, closed) = (self.counters.opened.load(Relaxed), self.counters.closed.load(Relaxed));
        Figures { open: opened.saturating_sub(closed), opened, bytes: self.counters.bytes.load(Relaxed) }
    }

    /// Listens and relays until shutdown; then every connection is reset.
    pub async fn run(self, shutdown: CancellationToken) {
        let (mut settings, mut routes) = (self.settings.subscribe(), self.routes.subscribe());
        let mut listeners = Listeners { open: BTreeMap::new(), tasks: JoinSet::new() };
        loop {
            let now = *settings.borrow_and_update();
            let wanted = if now.state == State::Cut { Routes::new() } else { routes.borrow_and_update().clone() };
            let troubles = listeners.reconcile(&wanted, &self).await;
            let again = !troubles.is_empty();
            self.in_force.send_if_modified(|in_force| {
                let next = (now, troubles);
                let differs = *in_force != next;
                *in_force = next;
                differs
            });
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = settings.changed() => {
                    if changed.is_ok() {
                        let now = *settings.borrow();
                        info!(state = %now.state, latency = ?now.latency, jitter = ?now.jitter, "the link between the clusters");
                    }
                }
                _ = routes.changed() => {}
                () = tokio::time::sleep(AGAIN), if again => {}
            }
        }
        listeners.tasks.shutdown().await;
        self.settings.send_modify(|settings| settings.state = State::Cut);
        self.connections.close();
        self.connections.wait().await;
    }
}

struct Listeners {
    open: BTreeMap<SocketAddr, (SocketAddr, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Listeners {
    /// Opens and closes listeners until they are those wanted; says which could not be opened.
    async fn reconcile(&mut self, wanted: &Routes, link: &Link) -> BTreeMap<SocketAddr, Trouble> {
        self.open.retain(|at, (target, task)| {
            let stays = wanted.get(at) == Some(target) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        // Aborted listeners have let go of their addresses when their tasks have ended.
        while self.tasks.len() > self.open.len() && self.tasks.join_next().await.is_some() {}
        let mut troubles = BTreeMap::new();
        for (at, target) in wanted {
            if self.open.contains_key(at) {
                continue;
            }
            match TcpListener::bind(at).await {
                Ok(listener) => {
                    let task = self.tasks.spawn(accept(listener, *target, link.clone()));
                    self.open.insert(*at, (*target, task));
                }
                Err(error) => {
                    warn!(%at, %error, "the link cannot listen; tried again");
                    troubles.insert(*at, Trouble(error.to_string()));
                }
            }
        }
        troubles
    }
}

/// Accepts until the task is aborted. Connections go on by themselves: a listener that is closed says only that nobody new may come.
async fn accept(listener: TcpListener, target: SocketAddr, link: Link) {
    loop {
        match listener.accept().await {
            Ok((client, remote)) => {
                let (settings, counters) = (link.settings.subscribe(), Arc::clone(&link.counters));
                link.connections.spawn(async move { relay(client, remote, target, settings, SmallRng::from_os_rng(), &counters).await });
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of file descriptors, as a rule: give connections time to close.
async fn pause(error: &io::Error) {
    debug!(%error, "accept failed");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
