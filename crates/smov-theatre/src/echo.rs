//! The echo: a program whose every answer is scripted, and that remembers what it was asked.
//!
//! ```text
//! script "503 x2, 200"  ─► 503, 503, 200, 200, 200 …
//! GET  /_echo/requests  ─► what came, as it came
//! PUT  /_echo/script    ─► another script, from its first step
//! ```
//!
//! It knows nothing of a mesh. `smov app echo` runs it as a pod; the conformance suite runs it in its own process. Its own API is under
//! [`API`]; everything else is taken by the script. Read [`script`] first.

pub mod script;
pub mod server;
pub mod settings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use script::{Ending, InvalidScript, Script, Step};
pub use server::Server;
pub use settings::{Settings, run};

use crate::identity::Identity;

/// Paths below this are the echo's own and are neither scripted nor remembered.
pub const API: &str = "/_echo/";
/// Requests that are remembered; older ones are forgotten first.
pub const REMEMBERED: usize = 10_000;
/// Bytes of a body that are remembered; the rest is counted.
pub const BODY_REMEMBERED: usize = 64 << 10;

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// Its place among all that came, from 0.
    pub number: u64,
    /// Milliseconds from the start of the program.
    pub at: u64,
    /// The connection that brought it, from 0.
    pub connection: u64,
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query as they stood in the request line.
    pub target: String,
    /// The Host header; empty without one.
    pub host: String,
    /// All headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text, as far as it is remembered.
    pub body: String,
    /// The body's length in bytes.
    pub body_bytes: u64,
    /// The step of the script that it got, from 0.
    pub step: usize,
}

impl Received {
    /// The values of a header, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A scripted program: shared by its connections and whoever looks at it.
#[derive(Clone, Debug)]
pub struct Echo {
    identity: Arc<Identity>,
    /// Guards the script's place and the memory; never held over a wait.
    state: Arc<Mutex<State>>,
    started: Instant,
}

#[derive(Debug)]
struct State {
    script: Script,
    /// Requests since the script was set.
    played: u64,
    /// Requests since the start.
    count: u64,
    received: std::collections::VecDeque<Received>,
}

impl Echo {
    /// A program that signs its answers with `identity` and plays `script`.
    pub fn new(identity: Identity, script: Script) -> Self {
        let state = State { script, played: 0, count: 0, received: std::collections::VecDeque::new() };
        Self { identity: Arc::new(identity), state: Arc::new(Mutex::new(state)), started: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who answers.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The script that is played.
    pub fn script(&self) -> Script {
        self.state().script.clone()
    }

    /// Plays another script, from its first step.
    pub fn play(&self, script: Script) {
        let mut state = self.state();
        state.script = script;
        state.played = 0;
    }

    /// What came so far, as far as it is remembered.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.iter().cloned().collect()
    }

    /// How many came so far, the forgotten ones included.
    pub fn count(&self) -> u64 {
        self.state().count
    }

    /// Forgets what came; numbers go on.
    pub fn forget(&self) {
        self.state().received.clear();
    }

    /// Takes the next step of the script for a request.
    fn take(&self, mut received: Received) -> (Step, Received) {
        let mut state = self.state();
        let (index, step) = state.script.step(state.played);
        received.number = state.count;
        received.at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        received.step = index;
        state.played += 1;
        state.count += 1;
        if state.received.len() == REMEMBERED {
            state.received.pop_front();
        }
        state.received.push_back(received.clone());
        (step, received)
    }
}
