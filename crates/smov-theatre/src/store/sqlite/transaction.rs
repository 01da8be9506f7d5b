//! The changes, each in one `BEGIN IMMEDIATE`.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Result, Transaction, TransactionBehavior, params};

use super::MARKER;
use crate::{
    domain::first_data::FirstData,
    store::{Cancellation, Document, ID_HERE, IdempotencyKey, KEY_LIFETIME, SEATS_HERE, Table, Write, Written},
};

fn begin(connection: &mut Connection) -> Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Everything or nothing; false when it was done before.
pub(super) fn put_first_data(connection: &mut Connection, first: &FirstData) -> Result<bool> {
    let transaction = begin(connection)?;
    if transaction.execute("INSERT OR IGNORE INTO markers (name) VALUES (?1)", [MARKER])? == 0 {
        return Ok(false);
    }
    for document in &first.documents {
        insert(&transaction, document, "", "")?;
    }
    for table in Table::ALL {
        let last = first.documents.iter().filter(|document| document.table == table).count();
        let last = i64::try_from(last).unwrap_or(i64::MAX);
        transaction.execute("INSERT OR IGNORE INTO counters (name, value) VALUES (?1, ?2)", params![table.name(), last])?;
    }
    for held in &first.seats {
        transaction.execute(
            "INSERT INTO seats (screening, seat, booking) VALUES (?1, ?2, ?3)",
            params![held.screening, held.seat, held.booking],
        )?;
    }
    transaction.commit()?;
    Ok(true)
}

/// The order that the contract asks for: key, seats, documents. Leaving early rolls back.
pub(super) fn write(connection: &mut Connection, write: &Write) -> Result<Written> {
    let transaction = begin(connection)?;
    if let Some(key) = &write.idempotency
        && let Some(settled) = settled(&transaction, key)?
    {
        return Ok(settled);
    }
    let mut picked = Vec::new();
    if let Some(claim) = &write.seats {
        let taken = taken_seats(&transaction, &claim.screening)?;
        match claim.plan.pick(&taken) {
            Some(seats) => picked = seats,
            None => return Ok(Written::SeatsTaken(taken.into_iter().collect())),
        }
    }
    let table = write.documents[0].table;
    let id = match &write.chosen_id {
        Some(id) if exists(&transaction, table, id)? => return Ok(Written::Exists),
        Some(id) => id.clone(),
        None => next_id(&transaction, table)?,
    };
    if let Some(claim) = &write.seats {
        let mut sell = transaction.prepare_cached("INSERT INTO seats (screening, seat, booking) VALUES (?1, ?2, ?3)")?;
        for seat in &picked {
            sell.execute(params![claim.screening, seat.to_string(), id])?;
        }
    }
    let seats = serde_json::to_string(&picked).expect("seats are strings");
    let mut answer = None;
    for document in &write.documents {
        let body = insert(&transaction, document, &id, &seats)?;
        answer.get_or_insert(body);
    }
    let answer = answer.expect("a write has a document");
    if let Some(key) = &write.idempotency {
        transaction.prepare_cached("DELETE FROM idempotency WHERE expires <= unixepoch()")?.execute([])?;
        transaction
            .prepare_cached("INSERT INTO idempotency (key, hash, answer, expires) VALUES (?1, ?2, ?3, unixepoch() + ?4)")?
            .execute(params![key.key, key.hash, answer, KEY_LIFETIME.as_secs().cast_signed()])?;
    }
    transaction.commit()?;
    Ok(Written::Stored(answer))
}

/// Compare and set: a record that changed since it was read keeps its seats.
pub(super) fn cancel(connection: &mut Connection, cancellation: &Cancellation) -> Result<bool> {
    let transaction = begin(connection)?;
    let changed = transaction.execute(
        "UPDATE bookings SET body = ?1 WHERE id = ?2 AND body = ?3",
        params![cancellation.after, cancellation.id, cancellation.before],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    for seat in &cancellation.seats {
        transaction.execute(
            "DELETE FROM seats WHERE screening = ?1 AND seat = ?2 AND booking = ?3",
            params![cancellation.screening, seat, cancellation.id],
        )?;
    }
    transaction.commit()?;
    Ok(true)
}

/// What a key that is still remembered was settled with.
pub(super) fn settled(connection: &Connection, key: &IdempotencyKey) -> Result<Option<Written>> {
    let mut rows = connection.prepare_cached("SELECT hash, answer FROM idempotency WHERE key = ?1 AND expires > unixepoch()")?;
    let row: Option<(String, String)> = rows.query_row([&key.key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(row.map(|(hash, answer)| if hash == key.hash { Written::Replayed(answer) } else { Written::KeyReused }))
}

pub(super) fn taken_seats(connection: &Connection, screening: &str) -> Result<HashSet<String>> {
    let mut rows = connection.prepare_cached("SELECT seat FROM seats WHERE screening = ?1")?;
    rows.query_map([screening], |row| row.get(0))?.collect()
}

fn exists(transaction: &Transaction<'_>, table: Table, id: &str) -> Result<bool> {
    transaction.prepare_cached(&format!("SELECT 1 FROM {} WHERE id = ?1", table.name()))?.exists([id])
}

/// The next number that no client has chosen.
fn next_id(transaction: &Transaction<'_>, table: Table) -> Result<String> {
    let mut next = transaction.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
    )?;
    loop {
        let id = next.query_row([table.name()], |row| row.get::<_, i64>(0))?.to_string();
        if !exists(transaction, table, &id)? {
            return Ok(id);
        }
    }
}

/// Fills in a document and stores it; returns its body.
fn insert(transaction: &Transaction<'_>, document: &Document, id: &str, seats: &str) -> Result<String> {
    let body = document.body.replace(ID_HERE, id).replace(SEATS_HERE, seats);
    let owner = document.owner.as_ref().map(|owner| owner.replace(ID_HERE, id));
    transaction
        .prepare_cached(&format!("INSERT INTO {} (id, owner, body) VALUES (?1, ?2, ?3)", document.table.name()))?
        .execute(params![document.id.replace(ID_HERE, id), owner, body])?;
    Ok(body)
}
