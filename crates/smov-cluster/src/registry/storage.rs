//! The file behind the registry: SQLite in WAL mode, one connection, group commit.
//!
//! Whoever wants durability takes the database lock and writes everything that is waiting, also
//! what others put there: many writes that come together share one transaction. Status changes
//! only wait; a thread writes them at most 50 ms later.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::Object;
use crate::error::{ApiError, OpenError};

/// Version of the tables below; another one is not opened.
const SCHEMA: u32 = 1;
/// How long a status change may wait for the disk.
const LAZY: Duration = Duration::from_millis(50);
/// Versions skipped when a state is opened: more than the lazy writes that a crash can lose, so
/// that no version is ever given out twice.
const LEAP: u64 = 100_000;

/// One object put or removed.
pub(crate) struct Change {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) object: Option<Object>,
}

/// What the file held when it was opened.
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) objects: Vec<(String, String, String, Value)>,
}

struct Waiting {
    changes: Vec<Change>,
    /// The thread shall write what is there.
    lazy: bool,
    ended: bool,
}

struct Shared {
    path: PathBuf,
    /// Guards the file; taken before `waiting`, held for one transaction.
    database: Mutex<Connection>,
    /// Changes not written yet, in order of their versions.
    waiting: Mutex<Waiting>,
    awake: Condvar,
}

/// The open file. Dropping it writes what waits and frees the lock.
pub(crate) struct Storage {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

impl Storage {
    pub(crate) fn open(path: &Path) -> Result<(Self, Stored), OpenError> {
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::File { path, source }
        };
        if let Some(folder) = path.parent() {
            private_folder(folder).map_err(file_error(folder))?;
        }
        let lock_path = path.with_extension("lock");
        let lock = private_file(&lock_path).map_err(file_error(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path: lock_path }),
            Err(fs::TryLockError::Error(source)) => {
                return Err(OpenError::File { path: lock_path, source });
            }
        }
        private_file(path).map_err(file_error(path))?;
        let database_error = |source| OpenError::Database { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(database_error)?;
        check_schema(&mut connection, path)?;
        let stored = load(&connection).map_err(database_error)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: Mutex::new(connection),
            waiting: Mutex::new(Waiting { changes: Vec::new(), lazy: false, ended: false }),
            awake: Condvar::new(),
        });
        let writer = std::thread::Builder::new()
            .name("registry-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write_lazily()
            })
            .map_err(file_error(path))?;
        let storage = Self { shared, writer: Some(writer), _lock: lock };
        Ok((storage, stored))
    }

    /// Queues a change. Call it under the lock that gave the version, so that order is kept.
    pub(crate) fn queue(&self, change: Change) {
        lock(&self.shared.waiting).changes.push(change);
    }

    /// Writes everything queued; what the caller queued is on disk afterwards.
    pub(crate) fn commit(&self) -> Result<(), ApiError> {
        self.shared
            .commit()
            .map_err(|error| ApiError::internal(format!("the object store `{}` cannot be written: {error}", self.shared.path.display())))
    }

    /// The same where nobody waits for the answer.
    pub(crate) fn commit_or_log(&self) {
        self.shared.commit_or_log();
    }

    /// Lets the thread write what is queued, soon.
    pub(crate) fn commit_soon(&self) {
        let mut waiting = lock(&self.shared.waiting);
        if !waiting.lazy {
            waiting.lazy = true;
            self.shared.awake.notify_one();
        }
    }

    /// A short piece of work on the database itself (tokens).
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ApiError> {
        work(&lock(&self.shared.database))
            .map_err(|error| ApiError::internal(format!("the object store `{}` cannot be used: {error}", self.shared.path.display())))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        lock(&self.shared.waiting).ended = true;
        self.shared.awake.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the registry's writer thread panicked");
        }
        self.shared.commit_or_log();
    }
}

impl Shared {
    fn commit(&self) -> rusqlite::Result<()> {
        let mut database = lock(&self.database);
        let changes = std::mem::take(&mut lock(&self.waiting).changes);
        if changes.is_empty() {
            return Ok(());
        }
        let result = write(&mut database, &changes);
        if result.is_err() {
            // Kept for the next try, before whatever has come in the meantime.
            lock(&self.waiting).changes.splice(0..0, changes);
        }
        result
    }

    fn commit_or_log(&self) {
        if let Err(error) = self.commit() {
            tracing::error!(path = %self.path.display(), %error, "object store not written");
        }
    }

    fn write_lazily(&self) {
        let mut waiting = lock(&self.waiting);
        loop {
            while !waiting.lazy && !waiting.ended {
                waiting = self.awake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.ended {
                // More may join; the end of the registry cuts it short.
                waiting = self.awake.wait_timeout_while(waiting, LAZY, |waiting| !waiting.ended).unwrap_or_else(PoisonError::into_inner).0;
            }
            waiting.lazy = false;
            let ended = waiting.ended;
            drop(waiting);
            self.commit_or_log();
            if ended {
                return;
            }
            waiting = lock(&self.waiting);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_schema(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let database_error = |source| OpenError::Database { path: path.to_owned(), source };
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;")
        .map_err(database_error)?;
    let transaction = connection.transaction().map_err(database_error)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS objects (
                 kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
                 PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS account_tokens (
                 hash TEXT PRIMARY KEY, namespace TEXT NOT NULL, account TEXT NOT NULL, account_uid TEXT NOT NULL,
                 bound_kind TEXT, bound_name TEXT, bound_uid TEXT, expires INTEGER) WITHOUT ROWID;
             -- They named accounts without their uids; every start issues new ones.
             DROP TABLE IF EXISTS tokens;
             -- Who applied what is in the objects themselves.
             DROP TABLE IF EXISTS applied;",
        )
        .map_err(database_error)?;
    let found: Option<String> =
        transaction.query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| row.get(0)).optional().map_err(database_error)?;
    match found {
        Some(found) if found == SCHEMA.to_string() => {}
        Some(found) => {
            return Err(OpenError::Version { path: path.to_owned(), found, known: SCHEMA });
        }
        None => {
            transaction
                .execute("INSERT INTO meta (key, value) VALUES ('schema', ?1), ('version', '0')", [SCHEMA.to_string()])
                .map_err(database_error)?;
        }
    }
    transaction.commit().map_err(database_error)
}

fn load(connection: &Connection) -> rusqlite::Result<Stored> {
    let version: String = connection.query_row("SELECT value FROM meta WHERE key = 'version'", [], |row| row.get(0))?;
    let version = version.parse::<u64>().unwrap_or_default();
    // An empty state starts at 1; an old one leaps.
    let version = if version == 0 { 1 } else { version + LEAP };
    connection.execute("UPDATE meta SET value = ?1 WHERE key = 'version'", [version.to_string()])?;
    let mut statement = connection.prepare("SELECT kind, namespace, name, body FROM objects")?;
    let rows = statement.query_map([], |row| {
        let body = row.get_ref(3)?;
        let body = serde_json::from_str(body.as_str()?)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error)))?;
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, body))
    })?;
    let objects = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Stored { version, objects })
}

fn write(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut put = transaction.prepare_cached(
            "INSERT INTO objects (kind, namespace, name, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET body = excluded.body",
        )?;
        let mut remove = transaction.prepare_cached("DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
        for change in changes {
            match &change.object {
                Some(object) => put.execute(params![change.kind, change.namespace, change.name, object.to_string()])?,
                None => remove.execute(params![change.kind, change.namespace, change.name])?,
            };
        }
        if let Some(last) = changes.last() {
            transaction.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'version'")?.execute([last.version.to_string()])?;
        }
    }
    transaction.commit()
}

/// Makes a folder that only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file for writing that only its owner may read, making it where it is absent.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
