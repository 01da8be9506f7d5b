//! The hub's own task: rows every 100 ms, figures twice a second, mesh once a second, and the farewell.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::live::{FULL, Live};
use crate::view::request::{RequestBatch, RequestRow};

const TICK: Duration = Duration::from_millis(100);
const FIGURES: u64 = 5;
const SLOW: u64 = 10;

/// What the page was last told, as text, so that equal news is no news.
#[derive(Default)]
struct Told {
    stat: String,
    load: String,
    mesh: String,
}

impl Live {
    /// Sends out what comes in, until `shutdown`; then the rest and `bye`, which ends every stream. Can be run again.
    pub async fn run(&self, shutdown: CancellationToken) {
        self.0.head.send_modify(|head| head.closing = false);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        for turn in 0_u64.. {
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {
                        self.flush_rows();
                        self.flush_figures(&mut told);
                        return self.close("drain");
                    }
                    _ = tick.tick() => break,
                    () = self.0.full.notified() => self.flush_rows(),
                }
            }
            self.flush_rows();
            if turn.is_multiple_of(FIGURES) {
                self.flush_figures(&mut told);
                self.flush_timeline();
            }
            if turn.is_multiple_of(SLOW) {
                self.flush_mesh(&mut told);
                self.tell_pods();
            }
        }
    }

    fn flush_rows(&self) {
        let now = self.now();
        let mut journal = self.journal();
        let (rows, mut seen): (Vec<RequestRow>, u64) = {
            let mut board = self.board();
            let (chosen, seen) = board.sampler.flush(now);
            (chosen.into_iter().filter_map(|number| board.archive.show(number)).collect(), seen)
        };
        if seen == 0 {
            return;
        }
        journal.remember(&rows);
        let mut rows = rows.into_iter();
        loop {
            let part: Vec<RequestRow> = rows.by_ref().take(FULL).collect();
            // The last event also stands for the requests that have no row.
            let n = if rows.len() == 0 { seen } else { part.len() as u64 };
            let dropped = n - part.len() as u64;
            self.append(&mut journal, "req", &RequestBatch { rows: part, n, dropped }, n);
            seen -= n;
            if seen == 0 {
                return;
            }
        }
    }

    fn flush_figures(&self, told: &mut Told) {
        let now = self.now();
        let mut journal = self.journal();
        let (stat, load) = {
            let mut board = self.board();
            (board.stat(now), board.load.clone())
        };
        self.append_news(&mut journal, "stat", &stat, &mut told.stat);
        self.append_news(&mut journal, "load", &load, &mut told.load);
    }

    fn flush_timeline(&self) {
        let now = self.now();
        let mut journal = self.journal();
        let items = {
            let mut board = self.board();
            for moment in board.outages.news(now) {
                board.timeline.put(moment, now);
            }
            board.timeline.untold()
        };
        if !items.is_empty() {
            self.append(&mut journal, "timeline", &serde_json::json!({ "items": items }), 0);
        }
    }

    fn flush_mesh(&self, told: &mut Told) {
        let mut journal = self.journal();
        let mesh = self.board().mesh.clone();
        self.append_news(&mut journal, "mesh", &mesh, &mut told.mesh);
    }

    fn append_news(&self, journal: &mut super::Journal, kind: &str, value: &impl serde::Serialize, told: &mut String) {
        match serde_json::to_string(value) {
            Ok(data) if data != *told => {
                self.announce(journal.append(kind, &data, 0));
                *told = data;
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, kind, "an event could not be written as JSON"),
        }
    }

    /// Tells ▶'s state at once.
    pub(crate) fn tell_load(&self) {
        let mut journal = self.journal();
        let load = self.board().load.clone();
        self.append(&mut journal, "load", &load, 0);
    }

    /// Says goodbye and ends every stream after it.
    fn close(&self, reason: &str) {
        let mut journal = self.journal();
        self.append(&mut journal, "bye", &serde_json::json!({ "reason": reason }), 0);
        drop(journal);
        self.0.head.send_modify(|head| head.closing = true);
    }
}
