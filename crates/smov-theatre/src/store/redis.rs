//! The store of the sample: Redis, with every change in one Lua script.
//!
//! One multiplexed connection per process, made when it is first needed and again after it broke. A write that is sent
//! again after a broken connection carries the key of its first try, so it happens once even if the first try did arrive.

use std::{sync::LazyLock, time::Duration};

use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, Script, ScriptInvocation, aio::MultiplexedConnection};
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Cancellation, Document, ID_HERE, IdempotencyKey, KEY_LIFETIME, Listing, Page, Reply, SEATS_HERE, SeatClaim, Store, StoreError, Table,
    Write, Written,
};
use crate::domain::first_data::FirstData;

const CONNECT: Duration = Duration::from_secs(1);
const RESPONSE: Duration = Duration::from_secs(3);
/// How long a write without a client's key is remembered, for the second try of a broken connection only.
const RETRY_LIFETIME: Duration = Duration::from_secs(60);

static WRITE: LazyLock<Script> = LazyLock::new(|| script(include_str!("redis/write.lua")));
static FIRST_DATA: LazyLock<Script> = LazyLock::new(|| script(include_str!("redis/first_data.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| script(include_str!("redis/list.lua")));
static CANCEL: LazyLock<Script> = LazyLock::new(|| script(include_str!("redis/cancel.lua")));

fn script(body: &str) -> Script {
    Script::new(&format!("{}{body}", include_str!("redis/common.lua")))
}

/// A Redis server, reached when needed.
pub struct RedisStore {
    client: Client,
    /// Held only while connecting or taking a handle.
    line: Mutex<Line>,
}

/// The connection in use, how many there were before it, and when connecting last failed.
#[derive(Default)]
struct Line {
    connection: Option<MultiplexedConnection>,
    number: u64,
    failed: Option<Instant>,
}

impl RedisStore {
    /// Names a server without connecting to it.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let client = Client::open(url).map_err(|source| StoreError::Refused { store: "redis", source: source.into() })?;
        Ok(Self { client, line: Mutex::default() })
    }

    /// The connection and its number. Whoever waited in line while connecting failed shares that failure, instead of
    /// adding a failure of its own to everybody else's wait.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let asked = Instant::now();
        let mut line = self.line.lock().await;
        if let Some(connection) = &line.connection {
            return Ok((connection.clone(), line.number));
        }
        if line.failed.is_some_and(|failed| failed > asked) {
            return Err(StoreError::Unreachable { store: "redis", source: "connecting just failed".into() });
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(RESPONSE));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                line.connection = Some(connection.clone());
                line.number += 1;
                Ok((connection, line.number))
            }
            Err(error) => {
                line.failed = Some(Instant::now());
                Err(driver_error(error))
            }
        }
    }

    /// Lets go of a connection that broke, unless somebody has made a new one already.
    async fn hang_up(&self, number: u64) {
        let mut line = self.line.lock().await;
        if line.number == number {
            line.connection = None;
        }
    }

    /// Asks once, and once more on a fresh connection when the old one turned out to be dead.
    async fn ask<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, StoreError> {
        let mut fresh = false;
        loop {
            let (mut connection, number) = self.connection().await?;
            let answer = match question {
                Question::Script(invocation) => invocation.invoke_async(&mut connection).await,
                Question::Command(command) => command.query_async(&mut connection).await,
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if is_broken(&error) => {
                    self.hang_up(number).await;
                    if fresh || error.is_timeout() {
                        return Err(driver_error(error));
                    }
                    fresh = true;
                }
                Err(error) => return Err(driver_error(error)),
            }
        }
    }

    async fn invoke<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.ask(Question::Script(invocation)).await
    }

    async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        self.ask(Question::Command(command)).await
    }
}

#[derive(Clone, Copy)]
enum Question<'a> {
    Script(&'a ScriptInvocation<'a>),
    Command(&'a redis::Cmd),
}

impl Store for RedisStore {
    fn system(&self) -> &'static str {
        "redis"
    }

    fn prepared(&self) -> Reply<'_, bool> {
        Box::pin(async { self.command(redis::cmd("EXISTS").arg("theatre:first-data")).await })
    }

    fn prepare(&self, first: FirstData) -> Reply<'_, bool> {
        Box::pin(async move { self.invoke(FIRST_DATA.prepare_invoke().arg(json(&first))).await })
    }

    fn find<'a>(&'a self, table: Table, id: &'a str) -> Reply<'a, Option<String>> {
        Box::pin(async move { self.command(redis::cmd("GET").arg(format!("{}{id}", prefix(table)))).await })
    }

    fn list(&self, listing: Listing) -> Reply<'_, Page> {
        Box::pin(async move {
            let index = match &listing.owner {
                Some(owner) => format!("{}{owner}", owner_index(listing.table)),
                None => listing.table.name().to_owned(),
            };
            let order = if listing.newest_first { "ZREVRANGE" } else { "ZRANGE" };
            let mut call = LIST.key(index);
            call.arg(prefix(listing.table)).arg(order).arg(listing.offset).arg(listing.limit);
            let (total, documents) = self.invoke(&call).await?;
            Ok(Page { documents, total })
        })
    }

    fn taken<'a>(&'a self, screening: &'a str) -> Reply<'a, Vec<String>> {
        Box::pin(async move { self.command(redis::cmd("HKEYS").arg(format!("seats:{screening}"))).await })
    }

    fn settled<'a>(&'a self, key: &'a IdempotencyKey) -> Reply<'a, Option<Written>> {
        Box::pin(async move {
            let (hash, answer): (Option<String>, Option<String>) =
                self.command(redis::cmd("HMGET").arg(format!("idempotency:{}", key.key)).arg("hash").arg("answer")).await?;
            Ok(hash.zip(answer).map(|(hash, answer)| if hash == key.hash { Written::Replayed(answer) } else { Written::KeyReused }))
        })
    }

    fn write(&self, write: Write) -> Reply<'_, Written> {
        Box::pin(async move {
            let (key, hash, lifetime) = match &write.idempotency {
                Some(key) => (format!("idempotency:{}", key.key), key.hash.clone(), KEY_LIFETIME),
                None => (format!("idempotency:retry:{}", uuid::Uuid::new_v4()), String::new(), RETRY_LIFETIME),
            };
            let payload = Payload { seats: write.seats.as_ref(), chosen_id: write.chosen_id.as_deref(), documents: &write.documents };
            let mut call = WRITE.key(key);
            call.arg(hash).arg(lifetime.as_secs()).arg(json(&payload)).arg(ID_HERE.to_string()).arg(SEATS_HERE.to_string());
            let answer: Vec<String> = self.invoke(&call).await?;
            let mut answer = answer.into_iter();
            let kind = answer.next().unwrap_or_default();
            Ok(match kind.as_str() {
                "stored" => Written::Stored(answer.next().unwrap_or_default()),
                // Without a client's key the only earlier write under it is this one, sent twice.
                "replayed" if write.idempotency.is_none() => Written::Stored(answer.next().unwrap_or_default()),
                "replayed" => Written::Replayed(answer.next().unwrap_or_default()),
                "reused" => Written::KeyReused,
                "exists" => Written::Exists,
                "taken" => Written::SeatsTaken(answer.collect()),
                other => return Err(StoreError::Refused { store: "redis", source: format!("unknown answer `{other}`").into() }),
            })
        })
    }

    fn cancel(&self, cancellation: Cancellation) -> Reply<'_, bool> {
        Box::pin(async move { self.invoke(CANCEL.prepare_invoke().arg(json(&cancellation))).await })
    }
}

/// What `write.lua` reads.
#[derive(Serialize)]
struct Payload<'a> {
    seats: Option<&'a SeatClaim>,
    chosen_id: Option<&'a str>,
    documents: &'a [Document],
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs with string keys")
}

/// The sample's keys.
fn prefix(table: Table) -> &'static str {
    match table {
        Table::Users => "user:",
        Table::Movies => "movie:",
        Table::Screenings => "screening:",
        Table::Bookings => "booking:",
    }
}

/// Only screenings and bookings have owners; the others' indexes stay empty.
fn owner_index(table: Table) -> &'static str {
    match table {
        Table::Users => "users:of:",
        Table::Movies => "movies:of:",
        Table::Screenings => "screenings:movie:",
        Table::Bookings => "bookings:user:",
    }
}

/// Whether this connection is of no more use.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}

/// A server that is still loading its file, or full, or gone is one that cannot be reached now.
fn driver_error(error: RedisError) -> StoreError {
    let refused = matches!(error.code(), Some("WRONGTYPE" | "ERR" | "NOPERM" | "NOAUTH" | "WRONGPASS"));
    let source = error.into();
    if refused { StoreError::Refused { store: "redis", source } } else { StoreError::Unreachable { store: "redis", source } }
}
