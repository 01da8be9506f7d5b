//! The agent's answers to Envoy's questions: xDS over HTTP, each question held open until there is something new.
//!
//! Envoy asks `POST /v3/discovery:clusters` and the like with the version that it runs on. The next question of the same kind says what
//! became of the last answer: its version when Envoy took it, the old one when Envoy refused it. No file is watched (Envoy opens one
//! inotify instance per watched file, and a user has 128), and nothing is asked twice.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A question is small, but names every extension of the Envoy that asks.
const QUESTION_LIMIT: usize = 4 << 20;
/// A cluster's list that is asked for anew again and again is not answered faster than this.
const PATIENCE_WITH_LISTS: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Clusters,
    Endpoints,
    Listeners,
    Routes,
    Secrets,
}

impl Kind {
    fn of_path(path: &str) -> Option<Self> {
        match path.strip_prefix("/v3/discovery:")? {
            "clusters" => Some(Self::Clusters),
            "endpoints" => Some(Self::Endpoints),
            "listeners" => Some(Self::Listeners),
            "routes" => Some(Self::Routes),
            "secrets" => Some(Self::Secrets),
            _ => None,
        }
    }

    /// As Envoy's log names it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Clusters => "/v3/discovery:clusters",
            Self::Endpoints => "/v3/discovery:endpoints",
            Self::Listeners => "/v3/discovery:listeners",
            Self::Routes => "/v3/discovery:routes",
            Self::Secrets => "/v3/discovery:secrets",
        }
    }

    fn type_url(self) -> &'static str {
        match self {
            Self::Clusters => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listeners => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secrets => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }
}

/// A subscription: a kind, and the resource's name where there is one question per resource.
pub(crate) type Subject = (Kind, String);

/// What Envoy made of the newest version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has not said yet.
    Open,
    /// It runs on it.
    Accepted,
    /// It does not; it runs on what it had.
    Rejected,
}

#[derive(Debug, Default)]
struct Target {
    version: u64,
    resources: Bytes,
    answered: Option<u64>,
    accepted: Option<u64>,
    rejected: Option<u64>,
    /// How often this version was given to somebody who had nothing.
    first_answers: u32,
}

impl Target {
    fn verdict(&self) -> Verdict {
        if self.rejected == Some(self.version) {
            Verdict::Rejected
        } else if self.accepted == Some(self.version) {
            Verdict::Accepted
        } else {
            Verdict::Open
        }
    }

    /// Learns from a question with this version what became of the last answer.
    fn hear(&mut self, kind: Kind, holds: Option<u64>) {
        match (self.answered, holds) {
            (Some(answered), Some(holds)) if answered == holds => self.accepted = Some(holds),
            // A cluster that is set up anew asks for its list with empty hands, and so does whoever shares a secret.
            (Some(_), None) if matches!(kind, Kind::Endpoints | Kind::Secrets) => {}
            (Some(answered), _) => self.rejected = Some(answered),
            (None, _) => {}
        }
    }
}

/// What Envoy shall run on, and what it said about it.
#[derive(Debug)]
pub(crate) struct Board {
    targets: Mutex<HashMap<Subject, Target>>,
    /// Moves with every change of a target and with everything Envoy says.
    moved: watch::Sender<u64>,
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    version_info: String,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { targets: Mutex::default(), moved: watch::Sender::new(0) }
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<Subject, Target>> {
        self.targets.lock().expect("no panic while the board is held")
    }

    fn moved(&self) {
        self.moved.send_modify(|count| *count += 1);
    }

    /// Sets what a subject shall be; nothing happens when it is that already and was not refused.
    pub(crate) fn set(&self, subject: Subject, resources: &[Value]) {
        let typed: Vec<Typed<'_>> = resources.iter().map(|resource| Typed { type_url: subject.0.type_url(), resource }).collect();
        let bytes = Bytes::from(serde_json::to_vec(&typed).expect("JSON values are JSON"));
        {
            let mut targets = self.targets();
            let target = targets.entry(subject).or_default();
            if target.version > 0 && target.resources == bytes && target.verdict() != Verdict::Rejected {
                return;
            }
            target.version += 1;
            target.resources = bytes;
            target.first_answers = 0;
        }
        self.moved();
    }

    /// Forgets a subject that nobody asks for any more.
    pub(crate) fn remove(&self, subject: &Subject) {
        self.targets().remove(subject);
    }

    /// Waits until Envoy said something about all of these; gives the first that it refuses.
    pub(crate) async fn settled(&self, subjects: &[Subject]) -> Result<(), Subject> {
        let mut moves = self.moved.subscribe();
        loop {
            moves.borrow_and_update();
            let verdicts = {
                let targets = self.targets();
                subjects.iter().map(|subject| targets.get(subject).map_or(Verdict::Accepted, Target::verdict)).collect::<Vec<_>>()
            };
            if let Some(place) = verdicts.iter().position(|verdict| *verdict == Verdict::Rejected) {
                return Err(subjects[place].clone());
            }
            if verdicts.iter().all(|verdict| *verdict == Verdict::Accepted) || moves.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Which of these Envoy has not spoken about.
    pub(crate) fn open(&self, subjects: &[Subject]) -> Vec<Subject> {
        let targets = self.targets();
        let open = |subject: &&Subject| targets.get(*subject).is_some_and(|target| target.verdict() == Verdict::Open);
        subjects.iter().filter(open).cloned().collect()
    }

    /// The answer to a question, as soon as there is one.
    async fn answer(&self, kind: Kind, question: Question) -> Bytes {
        let holds = question.version_info.parse::<u64>().ok();
        let subject = (kind, question.resource_names.into_iter().next().unwrap_or_default());
        let mut moves = self.moved.subscribe();
        if let Some(target) = self.targets().get_mut(&subject) {
            target.hear(kind, holds);
        }
        self.moved();
        loop {
            moves.borrow_and_update();
            let (answer, again) = {
                let mut targets = self.targets();
                match targets.get_mut(&subject) {
                    Some(target) if Some(target.version) != holds && target.verdict() != Verdict::Rejected => {
                        target.answered = Some(target.version);
                        target.first_answers += u32::from(holds.is_none());
                        (Some(body(kind, target)), target.first_answers)
                    }
                    _ => (None, 0),
                }
            };
            if let Some(answer) = answer {
                if again > 8 {
                    tokio::time::sleep(PATIENCE_WITH_LISTS).await;
                }
                return answer;
            }
            if moves.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A resource in a list says of which type it is.
#[derive(Serialize)]
struct Typed<'a> {
    #[serde(rename = "@type")]
    type_url: &'static str,
    #[serde(flatten)]
    resource: &'a Value,
}

fn body(kind: Kind, target: &Target) -> Bytes {
    let head = format!(r#"{{"version_info":"{}","type_url":"{}","resources":"#, target.version, kind.type_url());
    [head.as_bytes(), &target.resources, b"}"].concat().into()
}

/// Answers Envoy on this socket until the task is aborted.
pub(crate) fn serve(board: Arc<Board>, socket: &Path) -> io::Result<JoinHandle<()>> {
    let listener = UnixListener::bind(socket)?;
    Ok(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { return };
                    let board = board.clone();
                    connections.spawn(async move {
                        let service = service_fn(move |request| respond(board.clone(), request));
                        // A broken connection ends its questions; Envoy asks again.
                        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = server.max_concurrent_streams(None).serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }))
}

async fn respond(board: Arc<Board>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let refuse = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    let Some(kind) = Kind::of_path(request.uri().path()) else { return refuse(StatusCode::NOT_FOUND) };
    let Ok(body) = Limited::new(request.into_body(), QUESTION_LIMIT).collect().await else { return refuse(StatusCode::PAYLOAD_TOO_LARGE) };
    let Ok(question) = serde_json::from_slice::<Question>(&body.to_bytes()) else { return refuse(StatusCode::BAD_REQUEST) };
    let mut response = Response::new(Full::new(board.answer(kind, question).await));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn question(version: &str) -> Question {
        Question { version_info: version.to_owned(), resource_names: Vec::new() }
    }

    fn clusters() -> Subject {
        (Kind::Clusters, String::new())
    }

    #[tokio::test]
    async fn a_question_waits_for_something_new_and_the_next_one_is_the_acknowledgement() {
        let board = Arc::new(Board::new());
        let asked = tokio::spawn({
            let board = board.clone();
            async move { board.answer(Kind::Clusters, question("")).await }
        });
        tokio::task::yield_now().await;
        board.set(clusters(), &[json!({"name": "a"})]);
        let answer: Value = serde_json::from_slice(&asked.await.unwrap()).unwrap();
        assert_eq!((&answer["version_info"], &answer["resources"][0]["name"]), (&json!("1"), &json!("a")));
        assert_eq!(board.open(&[clusters()]), [clusters()]);
        let next = tokio::spawn({
            let board = board.clone();
            async move { board.answer(Kind::Clusters, question("1")).await }
        });
        assert_eq!(board.settled(&[clusters()]).await, Ok(()));
        next.abort();
    }

    #[tokio::test]
    async fn a_question_with_the_old_version_is_a_refusal_and_is_not_answered_with_the_same_again() {
        let board = Arc::new(Board::new());
        board.set(clusters(), &[json!({"name": "a"})]);
        board.answer(Kind::Clusters, question("")).await;
        let asked = tokio::spawn({
            let board = board.clone();
            async move { board.answer(Kind::Clusters, question("")).await }
        });
        assert_eq!(board.settled(&[clusters()]).await, Err(clusters()));
        assert!(!asked.is_finished());
        board.set(clusters(), &[json!({"name": "a"})]);
        let answer: Value = serde_json::from_slice(&asked.await.unwrap()).unwrap();
        assert_eq!(answer["version_info"], "2", "what was refused may be said again under a new version");
    }
}
