//! One Envoy with its agent's half: started on a bootstrap, told snapshots, asked what it did.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use smov_model::record::{EdgeCount, Record, RefusedConnection, Row};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_proxy::{IssuedPem, ProxyConfig};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::books::Books;
use crate::config::{Resources, Sockets, bootstrap, own_secrets, translate};
use crate::process::{Process, Refusals};
use crate::xds::{self, Board, Kind};

mod change;

/// Envoy writes its log line a moment after the answer.
const RECORD_PATIENCE: Duration = Duration::from_secs(1);
/// After its last line, a killed Envoy is gone within this.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What an Envoy is started with.
#[derive(Debug, Clone)]
pub struct EnvoyConfig {
    /// The pod, its ports and doors: the same settings that the built-in proxy takes. Port 0 = any free one.
    pub proxy: ProxyConfig,
    /// The program; see [`crate::find_binary`].
    pub binary: PathBuf,
    /// A folder of this Envoy alone: its bootstrap and its socket to the agent. The path must be short (a socket's has at most 107 bytes).
    pub folder: PathBuf,
    /// A command put in front of Envoy's, such as one that lets it die with its parent; empty starts Envoy directly.
    pub shim: Vec<OsString>,
}

/// An Envoy that did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Files, sockets or the process itself.
    #[error("cannot start Envoy ({what})")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Envoy ended at once.
    #[error("Envoy ended at its start: {0}")]
    Ended(String),
    /// Its first snapshot was refused.
    #[error("Envoy refuses its first configuration")]
    Rejected(#[from] Rejected),
}

/// A snapshot that Envoy does not run on; the one before it stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// In Envoy's words.
    pub reason: String,
}

/// An Envoy that is not started yet.
#[derive(Debug)]
pub struct Envoy;

impl Envoy {
    /// Starts an Envoy on this snapshot; it serves when this returns.
    pub async fn start(config: EnvoyConfig, snapshot: Snapshot) -> Result<Running, StartError> {
        let running = Self::spawn(config)?;
        running.publish(snapshot).await?;
        Ok(running)
    }

    /// Starts an Envoy that waits for its first snapshot.
    pub fn spawn(mut config: EnvoyConfig) -> Result<Running, StartError> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| StartError::Io { what, source }
        };
        fix_ports(&mut config.proxy).map_err(io("choosing ports"))?;
        let settings = &config.proxy;
        let sockets = Sockets { xds: config.folder.join("xds.sock"), admin: SocketAddr::new(settings.pod.address, settings.ports.admin) };
        let _ = std::fs::remove_file(&sockets.xds);
        let file = config.folder.join("envoy.json");
        let text = serde_json::to_vec_pretty(&bootstrap(settings, &sockets)).expect("JSON values are JSON");
        std::fs::write(&file, text).map_err(io("writing its bootstrap"))?;
        let board = Arc::new(Board::new());
        let server = xds::serve(board.clone(), &sockets.xds).map_err(io("listening for its questions"))?;
        let (process, output) = Process::start(&config.binary, &config.shim, &file, settings.concurrency)
            .map_err(io(&format!("running {}", config.binary.display())))?;
        let books = Arc::new(Books::new(&config.proxy));
        let log = tokio::spawn(books.clone().read(output));
        let (id, refusals) = (process.id(), process.refusals.clone());
        let ended = watch::Sender::new(None);
        let stop = CancellationToken::new();
        let watcher = tokio::spawn(watch_over(process, ended.clone(), stop.clone()));
        Ok(Running {
            config,
            admin: sockets.admin,
            board,
            books,
            refusals,
            id,
            ended,
            stop,
            current: AsyncMutex::default(),
            version: Mutex::default(),
            tasks: vec![server, log, watcher],
        })
    }
}

/// Waits for the process's end, or ends it.
async fn watch_over(mut process: Process, ended: watch::Sender<Option<End>>, stop: CancellationToken) {
    let status = tokio::select! {
        status = process.ended() => status,
        () = stop.cancelled() => {
            process.kill();
            process.ended().await
        }
    };
    ended.send_replace(Some(End { status: status.ok() }));
}

/// How Envoy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its status, where the system told.
    pub status: Option<ExitStatus>,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => status.fmt(f),
            None => f.write_str("unknown status"),
        }
    }
}

/// A running Envoy. Dropping it ends the process.
#[derive(Debug)]
pub struct Running {
    config: EnvoyConfig,
    admin: SocketAddr,
    board: Arc<Board>,
    books: Arc<Books>,
    refusals: Refusals,
    id: Option<u32>,
    ended: watch::Sender<Option<End>>,
    stop: CancellationToken,
    /// What it runs on; held while a change is made, so that changes are made one after the other.
    current: AsyncMutex<Resources>,
    version: Mutex<Option<SnapshotVersion>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Aborting the watcher drops the process, which kills it.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Running {
    /// Brings Envoy onto this snapshot; new requests run on it when this returns. A snapshot that Envoy refuses changes nothing.
    pub async fn publish(&self, snapshot: Snapshot) -> Result<(), Rejected> {
        let mut current = self.current.lock().await;
        let new = translate(&self.config.proxy, &snapshot);
        // Requests may meet the new configuration from the first step on; their lines are read with both.
        self.books.publish(Arc::new(snapshot));
        match self.change(&current, &new).await {
            Ok(()) => {
                *current = new;
                *self.version.lock().expect("no panic while the version is held") = self.books.newest();
                self.books.settle();
                Ok(())
            }
            Err(rejected) => {
                self.go_back(&current, &new).await;
                self.books.take_back();
                Err(rejected)
            }
        }
    }

    /// Gives Envoy the workload's certificate; the next connection is made with it.
    pub fn certify(&self, issued: &IssuedPem) {
        for (name, secret) in own_secrets(issued) {
            self.board.set((Kind::Secrets, name), &[secret]);
        }
    }

    /// The version that it runs on.
    pub fn version(&self) -> Option<SnapshotVersion> {
        *self.version.lock().expect("no panic while the version is held")
    }

    /// The remembered records of a request id, oldest first. Waits a moment for a request that just ended.
    pub async fn records(&self, request_id: &str) -> Vec<Record> {
        let deadline = Instant::now() + RECORD_PATIENCE;
        let mut lines = self.books.lines();
        loop {
            let records = self.books.records(request_id);
            if !records.is_empty() || tokio::time::timeout_at(deadline, lines.changed()).await.is_err() {
                return records;
            }
        }
    }

    /// Remembered records of a request id, at once.
    pub fn records_now(&self, request_id: &str) -> Vec<Record> {
        self.books.records(request_id)
    }

    /// The last connections that were not served, each with the reason, oldest first.
    pub fn refused(&self) -> Vec<RefusedConnection> {
        self.books.refused()
    }

    /// What the next report to the control plane holds: edges, rows, and how many requests the rows stand for.
    pub fn report(&self) -> (Vec<EdgeCount>, Vec<Row>, u64) {
        self.books.report()
    }

    /// Istio's metrics in Prometheus' text format, counted from the access log.
    pub fn metrics(&self) -> String {
        self.books.scrape()
    }

    /// The process's id.
    pub fn id(&self) -> Option<u32> {
        self.id
    }

    /// Waits for the process's end.
    pub async fn ended(&self) -> Option<End> {
        self.ended.subscribe().wait_for(Option::is_some).await.ok().and_then(|end| *end)
    }

    /// Ends the process.
    pub async fn stop(self) {
        self.end().await;
    }

    /// Ends the process and waits for its end.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(END_PATIENCE, self.ended()).await;
    }

    /// Lets no new connection in, tells callers to go, waits until requests have ended or `patience` is over.
    pub async fn drain(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let _ = admin::page(self.admin, Method::POST, "/drain_listeners?graceful&skip_exit").await;
        while Instant::now() < deadline && !matches!(self.active_requests().await, Some(0) | None) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn active_requests(&self) -> Option<u64> {
        let (_, text) =
            admin::page(self.admin, Method::GET, "/stats?filter=^http\\.(outbound|inbound|ingress).*downstream_rq_active$").await.ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Some(text.lines().filter_map(|line| line.rsplit_once(": ")?.1.trim().parse::<u64>().ok()).sum())
    }

    /// A page of Envoy's admin pages: status and text.
    pub async fn admin(&self, path: &str) -> io::Result<(u16, Vec<u8>)> {
        let answer = admin::page(self.admin, Method::GET, path).await.map_err(io::Error::other)?;
        Ok((answer.0, answer.1.to_vec()))
    }

    /// Where the app sends its requests; `None` for a gateway.
    pub fn outbound_address(&self) -> Option<SocketAddr> {
        self.config.proxy.ingress.is_none().then(|| self.on_pod(self.config.proxy.ports.outbound))
    }

    /// Where a gateway listens.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.config.proxy.ingress.as_ref().map(|ingress| ingress.address)
    }

    /// The inbound ports' addresses, in the order of the configuration.
    pub fn inbound_addresses(&self) -> Vec<SocketAddr> {
        self.config.proxy.inbound.iter().map(|inbound| self.on_pod(inbound.port)).collect()
    }

    /// The TCP doors' addresses, in the order of the configuration.
    pub fn door_addresses(&self) -> Vec<SocketAddr> {
        self.config.proxy.tcp_doors.iter().map(|door| self.on_pod(door.door)).collect()
    }

    fn on_pod(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.config.proxy.pod.address, port)
    }
}

/// Envoy is told port numbers before it binds; free ones are chosen here.
fn fix_ports(settings: &mut ProxyConfig) -> io::Result<()> {
    let address = settings.pod.address;
    let fix = |port: &mut u16, address: std::net::IpAddr| -> io::Result<()> {
        if *port == 0 {
            *port = std::net::TcpListener::bind((address, 0))?.local_addr()?.port();
        }
        Ok(())
    };
    if settings.ingress.is_none() {
        fix(&mut settings.ports.outbound, address)?;
    }
    fix(&mut settings.ports.admin, address)?;
    for door in &mut settings.tcp_doors {
        fix(&mut door.door, address)?;
    }
    for inbound in &mut settings.inbound {
        fix(&mut inbound.port, address)?;
    }
    if let Some(ingress) = &mut settings.ingress {
        let mut port = ingress.address.port();
        fix(&mut port, ingress.address.ip())?;
        ingress.address.set_port(port);
    }
    Ok(())
}
