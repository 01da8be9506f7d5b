//! What every store must hold, run on both.

mod redis_server;

use std::{collections::HashSet, path::Path, sync::Arc};

use serde_json::{Value, json};

use self::redis_server::RedisServer;
use super::{
    Cancellation, Document, ID_HERE, IdempotencyKey, Listing, RedisStore, SEATS_HERE, SeatClaim, SqliteStore, Store, Table, Write, Written,
    sqlite,
};
use crate::domain::{
    first_data::FirstData,
    seating::{SeatPlan, Wish},
};

fn first_data() -> FirstData {
    FirstData::starting(jiff::civil::date(2026, 11, 22))
}

fn booking(screening: &str, user: &str, wish: &Wish, key: Option<(&str, &str)>) -> Write {
    let record = json!({"id": ID_HERE.to_string(), "user_id": user, "seats": [SEATS_HERE.to_string()]});
    Write {
        idempotency: key.map(|(key, hash)| IdempotencyKey { key: key.to_owned(), hash: hash.to_owned() }),
        seats: Some(SeatClaim { screening: screening.to_owned(), plan: SeatPlan::new(wish) }),
        chosen_id: None,
        documents: vec![Document::new(Table::Bookings, &ID_HERE.to_string(), Some(user), &record)],
    }
}

fn named(seats: &[&str]) -> Wish {
    Wish::Named(seats.iter().map(|seat| seat.parse().unwrap()).collect())
}

fn user(chosen_id: Option<&str>, name: &str) -> Write {
    let id = chosen_id.map_or_else(|| ID_HERE.to_string(), str::to_owned);
    let record = json!({"id": id, "name": name});
    Write {
        idempotency: None,
        seats: None,
        chosen_id: chosen_id.map(str::to_owned),
        documents: vec![Document::new(Table::Users, &id, None, &record)],
    }
}

fn stored(written: Written) -> Value {
    match written {
        Written::Stored(document) => serde_json::from_str(&document).unwrap(),
        other => panic!("not stored: {other:?}"),
    }
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

fn listing(table: Table, owner: Option<&str>, limit: usize, offset: usize) -> Listing {
    Listing { table, owner: owner.map(str::to_owned), newest_first: false, limit, offset }
}

fn ids(documents: &[String]) -> Vec<String> {
    documents.iter().map(|document| id(&serde_json::from_str(document).unwrap())).collect()
}

/// The whole contract; `peer` is another process's view of the same records.
async fn holds(store: Arc<dyn Store>, peer: Arc<dyn Store>) {
    first_data_is_created_once(&store, &peer).await;
    a_write_is_read_by_everybody(&store, &peer).await;
    a_chosen_id_has_one_winner(&store, &peer).await;
    numbers_skip_chosen_ids(&store).await;
    user_text_never_reaches_keys_or_templates(&store).await;
    lists_are_paged(&store).await;
    one_seat_has_one_buyer(&store, &peer).await;
    seats_are_all_or_none(&store).await;
    the_best_free_seats_are_given(&store, &peer).await;
    a_key_books_once(&store, &peer).await;
    a_cancelled_seat_can_be_sold_again(&store, &peer).await;
}

async fn first_data_is_created_once(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    assert!(!store.prepared().await.unwrap());
    let starts: Vec<_> = (0..8)
        .map(|number| {
            let store = if number % 2 == 0 { store.clone() } else { peer.clone() };
            tokio::spawn(async move { store.prepare(first_data()).await.unwrap() })
        })
        .collect();
    let mut creators = 0;
    for start in starts {
        creators += usize::from(start.await.unwrap());
    }
    assert_eq!(creators, 1);
    assert!(peer.prepared().await.unwrap());
    for (table, count) in [(Table::Users, 8), (Table::Movies, 14), (Table::Screenings, 140), (Table::Bookings, 4)] {
        assert_eq!(store.list(listing(table, None, 1000, 0)).await.unwrap().total, count, "{table:?}");
    }
    assert_eq!(store.list(listing(Table::Screenings, Some("3"), 1000, 0)).await.unwrap().total, 10);
    assert_eq!(store.taken("3").await.unwrap().len(), 3);
    let hong: Value = serde_json::from_str(&store.find(Table::Users, "1").await.unwrap().unwrap()).unwrap();
    assert_eq!(hong, json!({"id": "1", "name": "홍길동", "email": "hong@example.com"}));
}

async fn a_write_is_read_by_everybody(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    let record = stored(store.write(user(None, "새 사람")).await.unwrap());
    assert_eq!(record, json!({"id": "9", "name": "새 사람"}));
    for reader in [store, peer] {
        let found = reader.find(Table::Users, "9").await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), record);
        assert_eq!(reader.list(listing(Table::Users, None, 1000, 0)).await.unwrap().total, 9);
    }
    assert_eq!(store.find(Table::Users, "nobody").await.unwrap(), None);
}

async fn a_chosen_id_has_one_winner(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    let tries: Vec<_> = (0..20)
        .map(|number| {
            let store = if number % 2 == 0 { store.clone() } else { peer.clone() };
            tokio::spawn(async move { store.write(user(Some("minsu"), &number.to_string())).await.unwrap() })
        })
        .collect();
    let mut winners = Vec::new();
    for attempt in tries {
        match attempt.await.unwrap() {
            Written::Stored(document) => winners.push(document),
            other => assert_eq!(other, Written::Exists),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.find(Table::Users, "minsu").await.unwrap().as_ref(), winners.first());
}

async fn numbers_skip_chosen_ids(store: &Arc<dyn Store>) {
    stored(store.write(user(Some("10"), "chosen")).await.unwrap());
    assert_eq!(id(&stored(store.write(user(None, "numbered")).await.unwrap())), "11");
}

async fn user_text_never_reaches_keys_or_templates(store: &Arc<dyn Store>) {
    let name = "100%1 \\uE000 \"[]\" %[ 가나다 \\";
    assert_eq!(stored(store.write(user(None, name)).await.unwrap())["name"], name);
}

async fn lists_are_paged(store: &Arc<dyn Store>) {
    let first = store.list(listing(Table::Movies, None, 5, 0)).await.unwrap();
    let last = store.list(listing(Table::Movies, None, 5, 10)).await.unwrap();
    assert_eq!((ids(&first.documents), first.total), (["1", "2", "3", "4", "5"].map(str::to_owned).to_vec(), 14));
    assert_eq!((ids(&last.documents), last.total), (["11", "12", "13", "14"].map(str::to_owned).to_vec(), 14));
    let beyond = store.list(listing(Table::Movies, None, 5, 500)).await.unwrap();
    assert_eq!((beyond.documents.len(), beyond.total), (0, 14));
    let newest = Listing { newest_first: true, ..listing(Table::Movies, None, 2, 1) };
    assert_eq!(ids(&store.list(newest).await.unwrap().documents), ["13", "12"]);
    assert_eq!(store.list(listing(Table::Bookings, Some("nobody"), 5, 0)).await.unwrap().total, 0);
}

async fn one_seat_has_one_buyer(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    let buyers: Vec<_> = (0..500)
        .map(|number| {
            let store = if number % 2 == 0 { store.clone() } else { peer.clone() };
            tokio::spawn(async move { store.write(booking("50", &number.to_string(), &named(&["F7"]), None)).await.unwrap() })
        })
        .collect();
    let mut sold = 0;
    for buyer in buyers {
        match buyer.await.unwrap() {
            Written::Stored(_) => sold += 1,
            other => assert_eq!(other, Written::SeatsTaken(vec!["F7".to_owned()])),
        }
    }
    assert_eq!(sold, 1);
    assert_eq!(store.taken("50").await.unwrap(), ["F7"]);
}

async fn seats_are_all_or_none(store: &Arc<dyn Store>) {
    let before = store.list(listing(Table::Bookings, None, 1, 0)).await.unwrap().total;
    let refused = store.write(booking("50", "1", &named(&["F6", "F7"]), None)).await.unwrap();
    assert_eq!(refused, Written::SeatsTaken(vec!["F7".to_owned()]));
    assert_eq!(store.taken("50").await.unwrap(), ["F7"]);
    assert_eq!(store.list(listing(Table::Bookings, None, 1, 0)).await.unwrap().total, before);
}

async fn the_best_free_seats_are_given(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    let record = stored(store.write(booking("50", "1", &Wish::Best(2), None)).await.unwrap());
    assert_eq!(record["seats"], json!(["F5", "F6"]));
    let buyers: Vec<_> = (0..32)
        .map(|number| {
            let store = if number % 2 == 0 { store.clone() } else { peer.clone() };
            tokio::spawn(async move { store.write(booking("51", "1", &Wish::Best(4), None)).await.unwrap() })
        })
        .collect();
    let mut given = HashSet::new();
    let mut refused = 0;
    for buyer in buyers {
        match buyer.await.unwrap() {
            Written::Stored(document) => {
                let record: Value = serde_json::from_str(&document).unwrap();
                for seat in record["seats"].as_array().unwrap() {
                    assert!(given.insert(seat.as_str().unwrap().to_owned()), "{seat} sold twice");
                }
            }
            Written::SeatsTaken(_) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((given.len(), refused), (96, 8));
}

async fn a_key_books_once(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    let tries: Vec<_> = (0..5)
        .map(|number| {
            let store = if number % 2 == 0 { store.clone() } else { peer.clone() };
            tokio::spawn(async move { store.write(booking("52", "1", &named(&["A1"]), Some(("bookings:k", "hash")))).await.unwrap() })
        })
        .collect();
    let mut answers = HashSet::new();
    let mut fresh = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Written::Stored(document) => {
                fresh += 1;
                answers.insert(document);
            }
            Written::Replayed(document) => drop(answers.insert(document)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((fresh, answers.len()), (1, 1));
    let answer = answers.into_iter().next().unwrap();
    let again = booking("52", "1", &named(&["A1"]), Some(("bookings:k", "hash")));
    assert_eq!(store.settled(again.idempotency.as_ref().unwrap()).await.unwrap(), Some(Written::Replayed(answer.clone())));
    assert_eq!(peer.write(again).await.unwrap(), Written::Replayed(answer));
    let other = booking("52", "1", &named(&["A2"]), Some(("bookings:k", "other")));
    assert_eq!(store.settled(other.idempotency.as_ref().unwrap()).await.unwrap(), Some(Written::KeyReused));
    assert_eq!(store.write(other).await.unwrap(), Written::KeyReused);
    assert_eq!(store.taken("52").await.unwrap(), ["A1"]);
    let unknown = IdempotencyKey { key: "bookings:new".to_owned(), hash: String::new() };
    assert_eq!(store.settled(&unknown).await.unwrap(), None);
}

async fn a_cancelled_seat_can_be_sold_again(store: &Arc<dyn Store>, peer: &Arc<dyn Store>) {
    let record = stored(store.write(booking("53", "7", &named(&["B1", "B2"]), None)).await.unwrap());
    let before = store.find(Table::Bookings, &id(&record)).await.unwrap().unwrap();
    let change = Cancellation {
        id: id(&record),
        before,
        after: r#"{"id":"cancelled"}"#.to_owned(),
        screening: "53".to_owned(),
        seats: vec!["B1".to_owned(), "B2".to_owned()],
    };
    assert!(peer.cancel(change.clone()).await.unwrap());
    assert!(store.taken("53").await.unwrap().is_empty());
    stored(store.write(booking("53", "8", &named(&["B1"]), None)).await.unwrap());
    assert!(!store.cancel(change).await.unwrap(), "the record no longer reads as it was read");
    assert_eq!(store.taken("53").await.unwrap(), ["B1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/theatre.db");
    let store = Arc::new(SqliteStore::open(path.clone()).await.unwrap());
    let peer = Arc::new(SqliteStore::open(path).await.unwrap());
    holds(store, peer).await;
}

#[test]
fn preparing_a_file_from_many_threads_makes_one_theatre() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theatre.db");
    let prepare = |path: &Path| sqlite::prepare(path, &first_data()).unwrap();
    let created: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| prepare(&path))).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(created, 1);
    assert!(!prepare(&path));
}

#[tokio::test]
async fn a_sqlite_file_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theatre.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = SqliteStore::open(path).await.unwrap_err();
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains("version 99"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_contract() {
    let Some(server) = RedisServer::start().await else { return };
    let store = Arc::new(RedisStore::new(&server.url()).unwrap());
    let peer = Arc::new(RedisStore::new(&server.url()).unwrap());
    holds(store, peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_after_the_answer_has_the_booking_when_it_is_back() {
    let Some(mut server) = RedisServer::start().await else { return };
    let store = RedisStore::new(&server.url()).unwrap();
    store.prepare(first_data()).await.unwrap();
    let write = booking("50", "1", &named(&["F7"]), Some(("bookings:k", "hash")));
    let record = stored(store.write(write.clone()).await.unwrap());
    server.kill().await;
    assert!(store.prepared().await.is_err());
    server.start_again().await;
    assert!(store.prepared().await.unwrap());
    let found = store.find(Table::Bookings, &id(&record)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), record);
    assert_eq!(store.write(write).await.unwrap(), Written::Replayed(found));
    assert_eq!(store.write(booking("50", "2", &named(&["F7"]), None)).await.unwrap(), Written::SeatsTaken(vec!["F7".to_owned()]));
}

#[tokio::test]
async fn redis_records_of_the_sample_are_kept_and_listed() {
    let Some(server) = RedisServer::start().await else { return };
    let store = RedisStore::new(&server.url()).unwrap();
    let theirs = r#"{"id":"1","name":"다른 사람","email":"a@b"}"#;
    server.set("user:1", theirs).await;
    assert!(store.prepare(first_data()).await.unwrap());
    assert_eq!(store.list(listing(Table::Users, None, 1, 0)).await.unwrap().documents, [theirs]);
}
