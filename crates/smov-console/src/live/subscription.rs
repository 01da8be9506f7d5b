//! One reader of the events: a cursor in the ring, nothing more.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::live::journal::frame;
use crate::live::{Head, Live};

/// A comment goes out after this long without an event, so that nothing on the way takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A browser: while one is there, ▶ may go on.
    Browser,
    /// Another console, which follows this one.
    Follower,
}

/// Takes one viewer away when the stream ends, however it ends.
struct Viewing(Live);

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.0.viewers.send_modify(|viewers| *viewers = viewers.saturating_sub(1));
    }
}

/// A reader's cursor.
pub struct Subscription {
    live: Live,
    sequence: u64,
    /// What the reader still has to be told first.
    opening: Option<Bytes>,
    head: watch::Receiver<Head>,
    quiet: Pin<Box<Sleep>>,
    _viewing: Option<Viewing>,
}

impl Live {
    /// Reads the events from `last` (`epoch:sequence`) on; from a whole state where that is not possible.
    pub fn subscribe(&self, last: Option<&str>, reader: Reader) -> Subscription {
        let viewing = (reader == Reader::Browser).then(|| {
            self.0.viewers.send_modify(|viewers| *viewers += 1);
            Viewing(self.clone())
        });
        let journal = self.journal();
        let place = last.map(|last| journal.place(last));
        let (sequence, hello) = match place {
            Some(Some(sequence)) => match journal.after(sequence) {
                Ok(_) => (sequence, None),
                Err(missed) => (journal.sequence(), Some(self.hello(&journal, missed))),
            },
            // The console started anew since: everything of this epoch was missed.
            Some(None) => (journal.sequence(), Some(self.hello(&journal, journal.requests()))),
            None => (journal.sequence(), Some(self.hello(&journal, 0))),
        };
        drop(journal);
        let mut opening = b"retry: 2000\n\n".to_vec();
        opening.extend_from_slice(hello.as_deref().unwrap_or_default());
        Subscription {
            live: self.clone(),
            sequence,
            opening: Some(opening.into()),
            head: self.0.head.subscribe(),
            quiet: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
            _viewing: viewing,
        }
    }

    fn hello(&self, journal: &super::Journal, missed: u64) -> Bytes {
        let state = self.state_at(journal, missed);
        match serde_json::to_string(&state) {
            Ok(data) => frame(journal.epoch(), journal.sequence(), "hello", &data),
            Err(error) => {
                tracing::error!(%error, "the state could not be written as JSON");
                Bytes::new()
            }
        }
    }
}

impl Subscription {
    /// The next bytes of the stream: events, or a comment when nothing happens; `None` after `bye`.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        loop {
            // Read the head before the ring: an event appended between the two wakes the wait below.
            let closing = self.head.borrow_and_update().closing;
            if let Some(bytes) = self.ready() {
                self.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
                return Some(bytes);
            }
            if closing {
                return None;
            }
            tokio::select! {
                changed = self.head.changed() => changed.ok()?,
                () = &mut self.quiet => {
                    self.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
                    return Some(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
    }

    /// What the ring has for this reader.
    fn ready(&mut self) -> Option<Bytes> {
        let journal = self.live.journal();
        match journal.after(self.sequence) {
            Ok(Some(first)) => {
                self.sequence += 1;
                let Ok(Some(second)) = journal.after(self.sequence) else { return Some(first) };
                // Several are waiting: send up to 32 in one piece.
                let mut bytes = first.to_vec();
                let mut next = Some(second);
                for _ in 0..32 {
                    let Some(frame) = next.take() else { break };
                    bytes.extend_from_slice(&frame);
                    self.sequence += 1;
                    next = journal.after(self.sequence).ok().flatten();
                }
                Some(bytes.into())
            }
            Ok(None) => None,
            Err(missed) => {
                self.sequence = journal.sequence();
                Some(self.live.hello(&journal, missed))
            }
        }
    }
}
