//! Rows on their way from proxies to whoever reads `/debug/rows`: bounded, and a slow reader loses rows, never anybody's time.

use std::sync::Mutex;

use bytes::Bytes;
use smov_model::record::Row;
use tokio::sync::broadcast;

/// Reports that a reader may be behind before it loses some.
const BEHIND: usize = 256;

/// Hands rows to all readers.
pub(crate) struct RowBus {
    sender: broadcast::Sender<Batch>,
    /// Guards the number of requests so far, together with the order of sending.
    requests: Mutex<u64>,
}

/// The rows of one report, written once for all readers.
#[derive(Debug, Clone)]
struct Batch {
    /// The number of the first of these requests, counted over all reports.
    first: u64,
    /// How many requests the rows stand for.
    requests: u64,
    /// How many of them have a row.
    rows: u64,
    json: Bytes,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowNews {
    /// A JSON array of rows.
    Rows(Bytes),
    /// So many requests have no row.
    Dropped(u64),
}

impl RowBus {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(BEHIND).0, requests: Mutex::new(0) }
    }

    /// Sends the rows of a report, which stand for `seen` requests. Costs nothing while nobody reads.
    pub(crate) fn send(&self, rows: &[Row], seen: u64) {
        let row_count = rows.len() as u64;
        let requests = seen.max(row_count);
        if requests == 0 || self.sender.receiver_count() == 0 {
            return;
        }
        let json = Bytes::from(serde_json::to_vec(rows).expect("rows are plain data"));
        let mut counter = self.requests.lock().expect("no panic while it is held");
        let batch = Batch { first: *counter, requests, rows: row_count, json };
        *counter += requests;
        // Fails only when the last reader has just gone.
        let _ = self.sender.send(batch);
    }

    pub(crate) fn subscribe(&self) -> RowReader {
        let counter = self.requests.lock().expect("no panic while it is held");
        RowReader { receiver: self.sender.subscribe(), next: *counter, waiting: None }
    }
}

/// One reader's place.
pub(crate) struct RowReader {
    receiver: broadcast::Receiver<Batch>,
    /// The number of the request that should come next.
    next: u64,
    waiting: Option<Bytes>,
}

impl RowReader {
    /// The next piece of news; `None` when there will be no more.
    pub(crate) async fn next(&mut self) -> Option<RowNews> {
        if let Some(json) = self.waiting.take() {
            return Some(RowNews::Rows(json));
        }
        loop {
            match self.receiver.recv().await {
                Ok(batch) => {
                    let lost = batch.first - self.next;
                    let dropped = lost + (batch.requests - batch.rows);
                    self.next = batch.first + batch.requests;
                    let rows = (batch.rows > 0).then_some(batch.json);
                    if dropped == 0 {
                        return rows.map(RowNews::Rows);
                    }
                    self.waiting = rows;
                    return Some(RowNews::Dropped(dropped));
                }
                // The next batch tells how much was lost.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use smov_model::record::Direction;

    use super::*;

    fn row(id: usize) -> Row {
        Row {
            request_id: id.to_string(),
            proxy: "p".into(),
            workload: "w".into(),
            direction: Direction::Outbound,
            started: 0,
            service: String::new(),
            rule: String::new(),
            subset: String::new(),
            pod: String::new(),
            kube_cluster: String::new(),
            status: 200,
            flags: "-".into(),
            attempts: 1,
            injected_delay: 0,
            duration: 0,
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_requests_it_missed_and_then_goes_on() {
        let bus = RowBus::new();
        let mut reader = bus.subscribe();
        for id in 0..BEHIND + 10 {
            bus.send(&[row(id)], 1);
        }
        assert_eq!(reader.next().await, Some(RowNews::Dropped(10)));
        let Some(RowNews::Rows(json)) = reader.next().await else { panic!("rows") };
        let rows: Vec<Row> = serde_json::from_slice(&json).unwrap();
        assert_eq!(rows, [row(10)]);
    }

    #[tokio::test]
    async fn requests_that_a_proxy_sampled_away_are_counted_as_dropped() {
        let bus = RowBus::new();
        bus.send(&[row(0)], 1);
        let mut reader = bus.subscribe();
        bus.send(&[row(1)], 5);
        assert_eq!(reader.next().await, Some(RowNews::Dropped(4)));
        assert!(matches!(reader.next().await, Some(RowNews::Rows(_))));
    }
}
