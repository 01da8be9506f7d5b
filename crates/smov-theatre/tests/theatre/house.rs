//! A theatre in one test: services on unix sockets or free ports, and a client that reads like a sentence.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use smov_theatre::{
    Environment, ServiceName,
    serve::{self, Bound},
    service::{self, Desk},
    store,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        &self.body
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The JSON of an answer with this status.
pub(crate) fn expect(answer: Answer, status: StatusCode) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    answer.json()
}

/// Something that listens on a port of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
}

/// A body, frame by frame.
pub(crate) struct Reader(hyper::body::Incoming);

impl Reader {
    pub(crate) async fn next(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }
}

impl Server {
    async fn answer(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> http::Response<hyper::body::Incoming> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path).header("host", format!("localhost:{}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(body.to_owned()).unwrap()).await.unwrap()
    }

    pub(crate) async fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (parts, body) = self.answer(method, path, headers, body).await.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn open(self, path: &str) -> Reader {
        Reader(self.answer("GET", path, &[], "").await.into_body())
    }

    pub(crate) async fn post(self, path: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.send("POST", path, &headers, &body.to_string()).await
    }
}

/// A server and the way to end it.
pub(crate) struct Running {
    pub(crate) server: Server,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Server { port: listener.local_addr().unwrap().port() };
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve::run(router, Bound::Tcp(listener), stop.clone()));
        Self { server, stop, task }
    }

    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let map: HashMap<String, String> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment::from_map(&map).unwrap()
}

/// Noon of the first day.
fn clock() -> Timestamp {
    "2026-11-22T12:00:00+09:00".parse().unwrap()
}

async fn desk(service: ServiceName, environment: &Environment) -> Arc<Desk> {
    let store = store::open(&environment.store).await.unwrap();
    Arc::new(Desk::new(service, environment, store, clock))
}

async fn start(service: ServiceName, variables: &[(&str, &str)]) -> Running {
    let environment = environment(variables);
    let desk = desk(service, &environment).await;
    Running::start(service::router(&desk, &environment)).await
}

/// user-service on the house's store, its switches in this folder, followed until `stop`.
pub(crate) async fn switched_user_service(house: &House, folder: &Path, stop: CancellationToken) -> (Server, JoinHandle<()>) {
    let store = store_url(&house.folder.path().join("theatre.db"));
    let environment = environment(&[("STORE_URL", store.as_str())]);
    let desk = desk(ServiceName::User, &environment).await;
    let running = Running::start(service::router(&desk, &environment)).await;
    let folder = folder.to_owned();
    let following = tokio::spawn(async move { desk.switches().follow(folder, stop).await });
    (running.server, following)
}

/// The three services on one SQLite file, prepared.
pub(crate) struct House {
    pub(crate) user: Server,
    pub(crate) movie: Server,
    pub(crate) booking: Server,
    running: [Running; 3],
    folder: TempDir,
}

impl House {
    pub(crate) async fn open(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store_url(&folder.path().join("theatre.db"));
        let variables: Vec<(&str, &str)> = variables.iter().copied().chain([("STORE_URL", store.as_str())]).collect();
        let user = start(ServiceName::User, &variables).await;
        let movie = start(ServiceName::Movie, &variables).await;
        let (users, movies) = (url(user.server), url(movie.server));
        let with_urls: Vec<_> =
            variables.iter().copied().chain([("USER_SERVICE_URL", users.as_str()), ("MOVIE_SERVICE_URL", movies.as_str())]).collect();
        let booking = start(ServiceName::Booking, &with_urls).await;
        assert_eq!(user.server.get("/readyz").await.status(), StatusCode::OK);
        Self { user: user.server, movie: movie.server, booking: booking.server, running: [user, movie, booking], folder }
    }

    pub(crate) async fn another_user_service(&self, variables: &[(&str, &str)]) -> Server {
        let store = store_url(&self.folder.path().join("theatre.db"));
        let variables: Vec<(&str, &str)> = variables.iter().copied().chain([("STORE_URL", store.as_str())]).collect();
        start(ServiceName::User, &variables).await.server
    }

    /// Ends user-service and movie-service.
    pub(crate) async fn close_others(&mut self) {
        self.running[0].end().await;
        self.running[1].end().await;
    }

    pub(crate) fn stop_user(&mut self) {
        self.running[0].stop.cancel();
    }

    pub(crate) async fn user_has_ended(&mut self) {
        (&mut self.running[0].task).await.unwrap();
    }
}

pub(crate) fn url(server: Server) -> String {
    format!("http://127.0.0.1:{}", server.port)
}

fn store_url(path: &std::path::Path) -> String {
    format!("sqlite:{}", path.display())
}

/// user-service on a store that may not be there.
pub(crate) async fn user_service_on(store: &str) -> Server {
    start(ServiceName::User, &[("STORE_URL", store)]).await.server
}

/// booking-service with this door as its `http_proxy`, and the folder of its store.
pub(crate) async fn alone_behind(door: &Recorder, variables: &[(&str, &str)]) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, proxy) = (store_url(&folder.path().join("theatre.db")), url(door.server));
    let variables: Vec<_> = variables.iter().copied().chain([("STORE_URL", store.as_str()), ("http_proxy", proxy.as_str())]).collect();
    (start(ServiceName::Booking, &variables).await.server, folder)
}

/// A request as a door saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
}

/// A server that remembers what it was asked and answers always the same.
pub(crate) struct Recorder {
    pub(crate) server: Server,
    seen: Arc<Mutex<Vec<Seen>>>,
    _running: Running,
}

impl Recorder {
    pub(crate) async fn start(status: StatusCode) -> Self {
        Self::answering(move || {
            let mut answer = http::Response::new(Body::from("recorded"));
            *answer.status_mut() = status;
            answer
        })
        .await
    }

    pub(crate) async fn answering(answer: impl Fn() -> http::Response<Body> + Clone + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            let remember = remember.clone();
            let answer = answer.clone();
            async move {
                let (parts, body) = request.into_parts();
                // The whole body first, as a service that answers after reading does.
                let _ = body.collect().await;
                let seen = Seen { uri: parts.uri.to_string(), headers: parts.headers };
                remember.lock().unwrap().push(seen);
                answer()
            }
        });
        let running = Running::start(router).await;
        Self { server: running.server, seen, _running: running }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}
