//! The embedded store: one SQLite file in WAL mode that the pods of both clusters open.
//!
//! Calls block, so they run on two threads of their own: one that writes and one that reads, so that a list need not wait
//! for somebody's `fsync`. `synchronous=FULL`: what was confirmed survives a power cut. Writes take the lock at once
//! (`BEGIN IMMEDIATE`), so none has to start over because another process was faster.

mod transaction;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{Cancellation, IdempotencyKey, Listing, Page, Reply, Store, StoreError, Table, Write, Written};
use crate::domain::first_data::FirstData;

/// How long a writer waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);
/// Jobs that may wait for a thread; senders beyond wait in line.
const QUEUE: usize = 1024;
const MARKER: &str = "first-data";
/// Version of the tables, in `user_version`.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE users (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT, body TEXT NOT NULL);
CREATE TABLE movies (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT, body TEXT NOT NULL);
CREATE TABLE screenings (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT, body TEXT NOT NULL);
CREATE TABLE bookings (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT, body TEXT NOT NULL);
CREATE INDEX screenings_by_owner ON screenings (owner, sequence);
CREATE INDEX bookings_by_owner ON bookings (owner, sequence);
CREATE TABLE seats (screening TEXT NOT NULL, seat TEXT NOT NULL, booking TEXT NOT NULL, PRIMARY KEY (screening, seat)) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE idempotency (key TEXT PRIMARY KEY, hash TEXT NOT NULL, answer TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX idempotency_by_expiry ON idempotency (expires);
CREATE TABLE markers (name TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// The file belongs to a newer or foreign program.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` holds tables of version {found}, this program knows version {SCHEMA_VERSION}")]
pub struct UnknownSchema {
    /// The file.
    pub path: PathBuf,
    /// Its version.
    pub found: i64,
}

/// Creates the folder, the file, its tables and the first data, each once, whoever comes first.
/// Returns whether the first data was created by this call. Blocks.
pub fn prepare(path: &Path, first: &FirstData) -> Result<bool, StoreError> {
    let mut connection = connect(path)?;
    transaction::put_first_data(&mut connection, first).map_err(refused)
}

/// Opens a connection; creates the tables when they are missing.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(unreachable)?;
    // Processes that turn a new file into WAL mode at the same moment fail each other with SQLITE_BUSY in spite of any timeout.
    let gate = File::create(path.with_extension("lock")).map_err(unreachable)?;
    gate.lock().map_err(unreachable)?;
    let mut connection = Connection::open(path).map_err(unreachable)?;
    connection.busy_timeout(BUSY).map_err(unreachable)?;
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY;")
        .map_err(unreachable)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unreachable)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(unreachable)?;
    match version {
        0 => {
            transaction.execute_batch(SCHEMA).map_err(refused)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(refused)?;
            transaction.commit().map_err(refused)?;
        }
        SCHEMA_VERSION => transaction.rollback().map_err(refused)?,
        found => return Err(refused(UnknownSchema { path: path.to_owned(), found })),
    }
    Ok(connection)
}

/// The two threads of one process.
#[derive(Debug)]
pub struct SqliteStore {
    reader: Worker,
    writer: Worker,
}

impl SqliteStore {
    /// Opens the file, creating it when missing; does not put in the first data.
    pub async fn open(path: PathBuf) -> Result<Self, StoreError> {
        let connections = tokio::task::spawn_blocking(move || Ok((connect(&path)?, connect(&path)?)));
        let (reader, writer) = connections.await.map_err(unreachable)??;
        Ok(Self { reader: Worker::start("sqlite-read", reader)?, writer: Worker::start("sqlite-write", writer)? })
    }
}

impl Store for SqliteStore {
    fn system(&self) -> &'static str {
        "sqlite"
    }

    fn prepared(&self) -> Reply<'_, bool> {
        self.reader.call(|connection| connection.prepare_cached("SELECT 1 FROM markers WHERE name = ?1")?.exists([MARKER]))
    }

    fn prepare(&self, first: FirstData) -> Reply<'_, bool> {
        self.writer.call(move |connection| transaction::put_first_data(connection, &first))
    }

    fn find<'a>(&'a self, table: Table, id: &'a str) -> Reply<'a, Option<String>> {
        let id = id.to_owned();
        self.reader.call(move |connection| {
            let sql = format!("SELECT body FROM {} WHERE id = ?1", table.name());
            connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()
        })
    }

    fn list(&self, listing: Listing) -> Reply<'_, Page> {
        self.reader.call(move |connection| {
            let name = listing.table.name();
            let order = if listing.newest_first { "DESC" } else { "ASC" };
            let filter = if listing.owner.is_some() { "owner = ?1" } else { "?1 IS NULL" };
            let (limit, offset) = (saturated(listing.limit), saturated(listing.offset));
            let mut rows = connection
                .prepare_cached(&format!("SELECT body FROM {name} WHERE {filter} ORDER BY sequence {order} LIMIT ?2 OFFSET ?3"))?;
            let documents = rows.query_map(params![listing.owner, limit, offset], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let total: i64 = connection
                .prepare_cached(&format!("SELECT count(*) FROM {name} WHERE {filter}"))?
                .query_row([&listing.owner], |row| row.get(0))?;
            Ok(Page { documents, total: usize::try_from(total).unwrap_or(0) })
        })
    }

    fn taken<'a>(&'a self, screening: &'a str) -> Reply<'a, Vec<String>> {
        let screening = screening.to_owned();
        self.reader.call(move |connection| transaction::taken_seats(connection, &screening).map(|seats| seats.into_iter().collect()))
    }

    fn settled<'a>(&'a self, key: &'a IdempotencyKey) -> Reply<'a, Option<Written>> {
        let key = key.clone();
        self.reader.call(move |connection| transaction::settled(connection, &key))
    }

    fn write(&self, write: Write) -> Reply<'_, Written> {
        self.writer.call(move |connection| transaction::write(connection, &write))
    }

    fn cancel(&self, cancellation: Cancellation) -> Reply<'_, bool> {
        self.writer.call(move |connection| transaction::cancel(connection, &cancellation))
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread that owns a connection and ends when its store is dropped.
#[derive(Debug)]
struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    fn start(name: &str, mut connection: Connection) -> Result<Self, StoreError> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(QUEUE);
        let run = move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut connection);
            }
        };
        std::thread::Builder::new().name(name.to_owned()).stack_size(512 * 1024).spawn(run).map_err(unreachable)?;
        Ok(Self { jobs })
    }

    /// Runs `job` on the thread. A caller that goes away does not stop a job that has begun.
    fn call<T, F>(&self, job: F) -> Reply<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let job: Job = Box::new(move |connection| {
                // Nobody waits when the caller went away.
                let _ = answer.send(job(connection));
            });
            self.jobs.send(job).await.map_err(|_| unreachable("the store's thread has ended"))?;
            answered.await.map_err(unreachable)?.map_err(driver_error)
        })
    }
}

fn saturated(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unreachable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unreachable { store: "sqlite", source: source.into() }
}

fn refused(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Refused { store: "sqlite", source: source.into() }
}

/// A lock that nobody released in time is a store that cannot be reached; the rest is refusal.
fn driver_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked | rusqlite::ErrorCode::CannotOpen) => {
            unreachable(error)
        }
        Some(_) | None => refused(error),
    }
}
