//! Where the theatre keeps its records: one trait, two stores, one contract (`store/contract.rs`).
//!
//! A store knows tables of JSON documents, sold seats and idempotency keys, nothing of films or people. Every
//! change is one [`Write`] that happens as a whole or not at all: idempotency key, then seats, then documents.

pub mod location;
mod redis;
pub mod sqlite;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::Serialize;

pub use self::{location::StoreLocation, redis::RedisStore, sqlite::SqliteStore};
use crate::domain::{first_data::FirstData, seating::SeatPlan};

/// How long an idempotency key is remembered.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Stands in a template for the id that the store gives. Input validation refuses private-use characters.
pub(crate) const ID_HERE: char = '\u{E000}';
/// Stands in a template for the seats that the store picked.
pub(crate) const SEATS_HERE: char = '\u{E001}';

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// People.
    Users,
    /// Films.
    Movies,
    /// Showings; their owner is the movie.
    Screenings,
    /// Bookings; their owner is the user.
    Bookings,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Users, Self::Movies, Self::Screenings, Self::Bookings];

    /// Name of the SQLite table and of the Redis index.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Movies => "movies",
            Self::Screenings => "screenings",
            Self::Bookings => "bookings",
        }
    }
}

/// One JSON record on its way into a table. `id`, `owner` and `body` may hold [`ID_HERE`], `body` also [`SEATS_HERE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document {
    pub(crate) table: Table,
    pub(crate) id: String,
    pub(crate) owner: Option<String>,
    pub(crate) body: String,
}

impl Document {
    /// A record with its JSON form. A list that holds only [`SEATS_HERE`] becomes the list of the picked seats.
    pub fn new(table: Table, id: &str, owner: Option<&str>, record: &impl Serialize) -> Self {
        let json = serde_json::to_string(record).expect("records are plain structs with string keys");
        let body = json.replace(&format!("[\"{SEATS_HERE}\"]"), SEATS_HERE.encode_utf8(&mut [0; 4]));
        Self { table, id: id.to_owned(), owner: owner.map(str::to_owned), body }
    }
}

/// A client's key for one write, and what that write asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Operation and the client's key.
    pub key: String,
    /// Hash of the request, so that a key cannot be used for something else.
    pub hash: String,
}

/// Seats to sell together with a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeatClaim {
    /// Of which showing.
    pub screening: String,
    /// Which ones.
    pub plan: SeatPlan,
}

/// One atomic change. The first document is the answer; its id is the client's, or a number from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Settled first: a known key answers with what it answered before.
    pub idempotency: Option<IdempotencyKey>,
    /// Settled second.
    pub seats: Option<SeatClaim>,
    /// Id of the first document where the client chose it; it must be free.
    pub chosen_id: Option<String>,
    /// What is stored then; never empty.
    pub documents: Vec<Document>,
}

/// What became of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Stored; the first document as stored.
    Stored(String),
    /// This key was settled before; the answer of then.
    Replayed(String),
    /// This key was used for another request.
    KeyReused,
    /// The chosen id is taken.
    Exists,
    /// The seats are sold: those taken in this screening.
    SeatsTaken(Vec<String>),
}

/// A booking that gives its seats back: done only while the record still reads `before`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cancellation {
    /// The booking.
    pub id: String,
    /// Its record as it was read.
    pub before: String,
    /// Its record as it shall be.
    pub after: String,
    /// The showing.
    pub screening: String,
    /// The seats to free.
    pub seats: Vec<String>,
}

/// Which records, oldest first unless `newest_first`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Kind of record.
    pub table: Table,
    /// Only those of this owner.
    pub owner: Option<String>,
    /// Order.
    pub newest_first: bool,
    /// At most so many.
    pub limit: usize,
    /// After leaving out so many.
    pub offset: usize,
}

/// One page of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// JSON, one per record.
    pub documents: Vec<String>,
    /// Records in the whole list.
    pub total: usize,
}

/// Why a store could not answer. Nothing is known of a write that failed so, except through its idempotency key.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not there, or not answering in time.
    #[error("store `{store}` cannot be reached")]
    Unreachable {
        /// `sqlite` or `redis`.
        store: &'static str,
        /// What the driver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There, but it refused.
    #[error("store `{store}` refused the operation")]
    Refused {
        /// `sqlite` or `redis`.
        store: &'static str,
        /// What the driver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An answer that is on its way.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A place for records. Reads see every write that was confirmed, from whichever process.
pub trait Store: Send + Sync + 'static {
    /// `sqlite` or `redis`, for spans.
    fn system(&self) -> &'static str;
    /// Whether the store answers and holds its first data.
    fn prepared(&self) -> Reply<'_, bool>;
    /// Puts in the first data if it was never put in; says whether this call did it.
    fn prepare(&self, first: FirstData) -> Reply<'_, bool>;
    /// One record.
    fn find<'a>(&'a self, table: Table, id: &'a str) -> Reply<'a, Option<String>>;
    /// A page of records.
    fn list(&self, listing: Listing) -> Reply<'_, Page>;
    /// Sold seats of a screening, in no order.
    fn taken<'a>(&'a self, screening: &'a str) -> Reply<'a, Vec<String>>;
    /// What a key was settled with: `Replayed`, `KeyReused` or nothing yet.
    fn settled<'a>(&'a self, key: &'a IdempotencyKey) -> Reply<'a, Option<Written>>;
    /// One atomic change.
    fn write(&self, write: Write) -> Reply<'_, Written>;
    /// Frees seats; false when the record changed in between.
    fn cancel(&self, cancellation: Cancellation) -> Reply<'_, bool>;
}

/// Opens the store at `location`. A Redis that is not there yet is no error; an unusable file is.
pub async fn open(location: &StoreLocation) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match location {
        StoreLocation::Sqlite(path) => Arc::new(SqliteStore::open(path.clone()).await?),
        StoreLocation::Redis(url) => Arc::new(RedisStore::new(url)?),
    })
}

#[cfg(test)]
mod contract;
