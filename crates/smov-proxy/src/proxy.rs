//! The proxy as a whole: bind, run, drain.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use smov_model::cluster::Protocol;
use smov_model::dice::{Dice, Draw, SeededDice};
use smov_model::record::{Direction, Record, RefusedConnection};
use smov_model::snapshot::Snapshot;
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{AppAddress, ProxyConfig, TcpDoor};
use crate::listener::{self, Lifetime};
use crate::tls::stream::Stream;
use crate::tls::{Certificates, accept};
use crate::worker::{Shared, Worker};
use crate::{admin, control_client, discovery, inbound, outbound, tcp};

/// How often idle connections are looked at and the access log is written.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// What for.
    pub purpose: &'static str,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// A proxy that is not started yet.
#[derive(Debug)]
pub struct Proxy;

/// Dice without a seed: the system's randomness.
#[derive(Debug, Clone, Copy)]
pub struct RandomDice;

impl Dice for RandomDice {
    fn roll(&self, _: Draw<'_>) -> u64 {
        rand::random()
    }
}

/// The dice that a configuration asks for. `workload` is the name that pods of one Deployment share, so that a seeded run can be
/// repeated across restarts.
pub fn dice_for(config: &ProxyConfig, workload: &str) -> Arc<dyn Dice> {
    match config.seed {
        Some(seed) => Arc::new(SeededDice::new(seed, workload)),
        None => Arc::new(RandomDice),
    }
}

/// A proxy whose sockets listen; connections wait in the kernel until [`Bound::run`].
#[derive(Debug)]
pub struct Bound {
    shared: Arc<Shared>,
    sockets: Sockets,
}

/// Listening sockets, by purpose.
#[derive(Debug)]
struct Sockets {
    outbound: Option<std::net::TcpListener>,
    inbound: Vec<(std::net::TcpListener, AppAddress)>,
    doors: Vec<(std::net::TcpListener, TcpDoor)>,
    ingress: Option<std::net::TcpListener>,
    admin: std::net::TcpListener,
    metrics: std::net::TcpListener,
    merged: std::net::TcpListener,
    ready: std::net::TcpListener,
}

/// A hand on a running proxy, for tests and embedding.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Swaps a snapshot in, as the control plane would.
    pub fn publish(&self, snapshot: Snapshot) {
        self.shared.publish(snapshot);
    }

    /// The remembered records of a request id, oldest first.
    pub fn records(&self, request_id: &str) -> Vec<Record> {
        self.shared.records(request_id)
    }

    /// The spans of the sampled requests since the last call; what is asked here does not go up to the control plane.
    pub fn spans(&self) -> Vec<smov_telemetry::Span> {
        self.shared.spans()
    }

    /// The Prometheus page.
    pub fn metrics(&self) -> String {
        self.shared.scrape()
    }

    /// The proxy's certificate: as the control plane would, [`Certificates::request`] and [`Certificates::take`].
    pub fn certificates(&self) -> &Certificates {
        &self.shared.certificates
    }

    /// The last connections that were not served, oldest first.
    pub fn refused(&self) -> Vec<RefusedConnection> {
        self.shared.listener_tls.refusals()
    }

    /// What the next report to the control plane holds: edges, rows, and how many requests the rows stand for.
    pub fn report(&self) -> (Vec<smov_model::record::EdgeCount>, Vec<smov_model::record::Row>, u64) {
        self.shared.report()
    }
}

impl Proxy {
    /// Binds every socket of the configuration.
    pub fn start(config: ProxyConfig, dice: Arc<dyn Dice>) -> Result<Bound, BindError> {
        let pod = |port: u16| SocketAddr::new(config.pod.address, port);
        let bind =
            |address: SocketAddr, purpose: &'static str| listener::bind(address).map_err(|source| BindError { address, purpose, source });
        let is_sidecar = config.ingress.is_none();
        let sockets = Sockets {
            outbound: if is_sidecar { Some(bind(pod(config.ports.outbound), "outbound requests")?) } else { None },
            inbound: config
                .inbound
                .iter()
                .map(|inbound| Ok((bind(pod(inbound.port), "inbound requests")?, inbound.app.clone())))
                .collect::<Result<_, BindError>>()?,
            doors: config
                .tcp_doors
                .iter()
                .map(|door| Ok((bind(pod(door.door), "a TCP door")?, door.clone())))
                .collect::<Result<_, BindError>>()?,
            ingress: config.ingress.as_ref().map(|ingress| bind(ingress.address, "ingress")).transpose()?,
            admin: bind(pod(config.ports.admin), "admin pages")?,
            metrics: bind(pod(config.ports.metrics), "metrics")?,
            merged: bind(pod(config.ports.merged), "metrics of proxy and app")?,
            ready: bind(pod(config.ports.ready), "readiness")?,
        };
        Ok(Bound { shared: Arc::new(Shared::new(config, dice)), sockets })
    }
}

/// The port of a listening socket.
fn port(listener: &std::net::TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

impl Bound {
    /// A hand on it, also while it runs.
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Where the app sends its requests; `None` for a gateway.
    pub fn outbound_address(&self) -> Option<SocketAddr> {
        self.sockets.outbound.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where a gateway listens.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.sockets.ingress.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The inbound ports' addresses, in the order of the configuration.
    pub fn inbound_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.inbound.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// The TCP doors' addresses, in the order of the configuration.
    pub fn door_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.doors.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// Where proxy and app have their metrics on one page.
    pub fn merged_address(&self) -> Option<SocketAddr> {
        self.sockets.merged.local_addr().ok()
    }

    /// Admin pages, metrics and readiness.
    pub fn service_addresses(&self) -> [Option<SocketAddr>; 3] {
        [&self.sockets.admin, &self.sockets.metrics, &self.sockets.ready].map(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown`, then drains: no new connections, answers say `Connection: close`, requests in flight are finished, up to
    /// the configured time. Runs on the current thread (its tasks are not `Send`); further workers get threads of their own.
    pub async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        let Self { shared, sockets } = self;
        let mut threads = Vec::new();
        for index in 1..shared.config.concurrency {
            let (shared, sockets, shutdown) = (shared.clone(), sockets.try_clone()?, shutdown.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                LocalSet::new().block_on(&runtime, work(shared, sockets, index, shutdown))
            })?);
        }
        let control = shared.config.control.clone().map(|address| control_client::steer(shared.clone(), address, shutdown.clone()));
        let resolver = tokio::spawn(discovery::run(shared.clone(), shutdown.clone()));
        LocalSet::new().run_until(work(shared.clone(), sockets, 0, shutdown)).await?;
        if let Some(control) = control {
            let _ = control.await;
        }
        let _ = resolver.await;
        for thread in threads {
            if thread.join().is_err() {
                warn!("a worker thread panicked");
            }
        }
        shared.flush_logs();
        Ok(())
    }

    /// [`Bound::run`] to its end on a runtime of the current thread. A process that is a proxy calls this, not [`Bound::run`]: what is
    /// awaited from another crate is compiled there, with that crate's optimisation, and this is the path of every request.
    pub fn run_on(self, runtime: &tokio::runtime::Runtime, shutdown: CancellationToken) -> io::Result<()> {
        runtime.block_on(self.run(shutdown))
    }
}

impl Sockets {
    fn try_clone(&self) -> io::Result<Self> {
        let inbound = self.inbound.iter().map(|(listener, app)| Ok((listener.try_clone()?, app.clone())));
        let doors = self.doors.iter().map(|(listener, door)| Ok((listener.try_clone()?, door.clone())));
        Ok(Self {
            outbound: self.outbound.as_ref().map(std::net::TcpListener::try_clone).transpose()?,
            inbound: inbound.collect::<io::Result<_>>()?,
            doors: doors.collect::<io::Result<_>>()?,
            ingress: self.ingress.as_ref().map(std::net::TcpListener::try_clone).transpose()?,
            admin: self.admin.try_clone()?,
            metrics: self.metrics.try_clone()?,
            merged: self.merged.try_clone()?,
            ready: self.ready.try_clone()?,
        })
    }
}

/// One worker: accepts on every socket, keeps its pool tidy, drains at the end.
async fn work(shared: Arc<Shared>, sockets: Sockets, index: usize, shutdown: CancellationToken) -> io::Result<()> {
    let apps: Vec<(u16, AppAddress)> = sockets.inbound.iter().map(|(listener, app)| (port(listener), app.clone())).collect();
    let worker = Worker::new(shared.clone(), index, &apps);
    let lifetime = Lifetime { draining: shutdown.clone(), tasks: TaskTracker::new() };
    // Admin pages answer while the drain goes on.
    let over = CancellationToken::new();
    let services = Lifetime { draining: over.clone(), tasks: TaskTracker::new() };
    let limits = shared.config.limits;
    let mut listening = tokio::task::JoinSet::new();

    let http = [(sockets.outbound, Direction::Outbound), (sockets.ingress, Direction::Ingress)];
    for (listener, direction) in http.into_iter().filter_map(|(listener, direction)| Some((listener?, direction))) {
        let (listener, worker, lifetime) = (TcpListener::from_std(listener)?, worker.clone(), lifetime.clone());
        listening.spawn_local(async move {
            listener::accept(listener, &lifetime, |stream, downstream| {
                let (worker, draining) = (worker.clone(), lifetime.draining.clone());
                async move {
                    let serve = |request| outbound::serve(&worker, &downstream, direction, request);
                    listener::http(Stream::Plain(stream), limits, draining, pending(), serve).await;
                }
            })
            .await;
        });
    }
    for (listener, _) in sockets.inbound {
        let Some(app) = worker.app(port(&listener)).cloned() else { continue };
        let (listener, worker, lifetime) = (TcpListener::from_std(listener)?, worker.clone(), lifetime.clone());
        listening.spawn_local(async move {
            listener::accept(listener, &lifetime, |stream, mut downstream| {
                let (worker, app, draining) = (worker.clone(), app.clone(), lifetime.draining.clone());
                async move {
                    // What the port speaks is configuration: a caller that comes before it waits.
                    tokio::select! {
                        _ = worker.shared.first_view() => {}
                        () = draining.cancelled() => return,
                    }
                    // Boxed, so that what waits for a handshake is not part of what serves for hours.
                    let accepted = Box::pin(accept::accept(&worker.shared, stream, &mut downstream, limits, &draining)).await;
                    let Some(stream) = accepted else { return };
                    match worker.shared.inbound_port(app.port).protocol {
                        Protocol::Tcp => tcp::inbound(&worker, &app, &downstream, stream).await,
                        Protocol::Http => {
                            let serve = |request| inbound::serve(&worker, &app, &downstream, request);
                            let unwanted = inbound::not_taken_any_more(&worker.shared, &downstream);
                            listener::http(stream, limits, draining, unwanted, serve).await;
                        }
                    }
                }
            })
            .await;
        });
    }
    for (listener, door) in sockets.doors {
        let (listener, worker, lifetime) = (TcpListener::from_std(listener)?, worker.clone(), lifetime.clone());
        listening.spawn_local(async move {
            listener::accept(listener, &lifetime, |stream, _| {
                let (worker, door) = (worker.clone(), door.clone());
                async move { tcp::door(&worker, &door, stream).await }
            })
            .await;
        });
    }
    let pages = [
        (sockets.admin, admin::Door::Admin),
        (sockets.metrics, admin::Door::Metrics),
        (sockets.merged, admin::Door::Merged),
        (sockets.ready, admin::Door::Ready),
    ];
    for (listener, page) in pages {
        let (listener, worker, services) = (TcpListener::from_std(listener)?, worker.clone(), services.clone());
        listening.spawn_local(async move {
            listener::accept(listener, &services, |stream, _| {
                let (worker, draining) = (worker.clone(), services.draining.clone());
                listener::http(Stream::Plain(stream), limits, draining, pending(), move |request| {
                    let worker = worker.clone();
                    async move { admin::answer(&worker, page, &request).await }
                })
            })
            .await;
        });
    }
    listening.spawn_local(housekeeping(worker.clone(), over.clone()));

    info!(worker = index, "proxy serves");
    shutdown.cancelled().await;
    shared.draining.store(true, Relaxed);
    lifetime.tasks.close();
    if tokio::time::timeout(limits.drain, lifetime.tasks.wait()).await.is_err() {
        warn!(left = lifetime.tasks.len(), "connections cut off at the end of the drain");
    }
    over.cancel();
    Ok(())
}

/// Drops idle connections that are too old or lead to endpoints that are gone, at every snapshot and once a second; writes the log.
async fn housekeeping(worker: std::rc::Rc<Worker>, over: CancellationToken) {
    let mut changes = worker.shared.changes();
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            _ = tick.tick() => worker.shared.flush_logs(),
        }
        let view = worker.shared.pin();
        let endpoints: std::collections::HashMap<u64, Duration> = view
            .iter()
            .flat_map(|view| view.clusters())
            .flat_map(|cluster| {
                let listed = cluster.endpoints.iter().map(|endpoint| endpoint.way);
                listed.chain(cluster.dialled.ways()).map(|way| (way, cluster.limits.idle_timeout))
            })
            .collect();
        let idle = |key: u64| if worker.is_app_key(key) { Some(Duration::from_secs(3600)) } else { endpoints.get(&key).copied() };
        worker.pool.prune(Instant::now(), idle);
    }
}
