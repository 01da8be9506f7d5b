//! The gateway's relay: what goes through, what is added (nothing), what the observer is told.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;
use smov_theatre::{
    ServiceName,
    gateway::{self, RelayEvent, RelayObserver, SeededIds, Unobserved},
};
use tokio::sync::Notify;

use crate::house::{House, Recorder, Running, environment, expect, url};

#[derive(Default)]
struct Events {
    list: Mutex<Vec<RelayEvent>>,
    more: Notify,
}

impl RelayObserver for Events {
    fn relayed(&self, event: RelayEvent) {
        self.list.lock().unwrap().push(event);
        self.more.notify_one();
    }
}

impl Events {
    fn take(&self) -> Vec<RelayEvent> {
        std::mem::take(&mut self.list.lock().unwrap())
    }
}

async fn gateway(variables: &[(&str, &str)]) -> (Running, Arc<Events>) {
    let events = Arc::new(Events::default());
    let router = gateway::router(&environment(variables), Arc::new(SeededIds::new(1)), events.clone());
    (Running::start(router).await, events)
}

async fn in_front_of(house: &House) -> (Running, Arc<Events>) {
    let (users, movies, bookings) = (url(house.user), url(house.movie), url(house.booking));
    gateway(&[("USER_SERVICE_URL", &users), ("MOVIE_SERVICE_URL", &movies), ("BOOKING_SERVICE_URL", &bookings)]).await
}

#[tokio::test]
async fn the_samples_routes_reach_their_services_and_are_observed() {
    let house = House::open(&[("HOSTNAME", "theatre-ctx2-a-b")]).await;
    let (gateway, events) = in_front_of(&house).await;
    let routes = [
        ("/users/", ServiceName::User),
        ("/users/1", ServiceName::User),
        ("/movies", ServiceName::Movie),
        ("/movies/3/screenings", ServiceName::Movie),
        ("/bookings/user/1", ServiceName::Booking),
        ("/screenings/3", ServiceName::Movie),
        ("/screenings/3/seats", ServiceName::Booking),
        ("/stream/booking?chunks=1&interval_ms=0", ServiceName::Booking),
    ];
    for (path, service) in routes {
        let answer = gateway.server.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.header("x-service-name"), service.as_str());
        let [event] = events.take().try_into().unwrap();
        assert_eq!((event.service, event.status, event.path.as_str()), (service, 200, path.split('?').next().unwrap()));
        assert_eq!(
            (event.cluster.as_deref(), event.pod.as_deref(), event.version.as_deref()),
            (Some("ctx2"), Some("theatre-ctx2-a-b"), Some("v1"))
        );
        assert_eq!(event.request_id, answer.header("x-request-id"));
        assert!(!event.canary && !event.upstream_failed);
    }
    expect(gateway.server.get("/stream/nothing").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_booking_goes_through_with_its_body_and_its_problem_comes_back() {
    let house = House::open(&[]).await;
    let (gateway, events) = in_front_of(&house).await;
    let order = json!({"user_id": "1", "screening_id": "40", "seats": ["A1"]});
    let headers = [("x-canary", "true"), ("x-smov-client", "tab-1"), ("x-request-id", "r-1")];
    expect(gateway.server.post("/bookings/", order.clone(), &headers).await, StatusCode::CREATED);
    let answer = gateway.server.post("/bookings/", order, &headers).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(expect(answer, StatusCode::CONFLICT)["taken"], json!(["A1"]));
    let seen = events.take();
    assert_eq!(seen.iter().map(|event| event.status).collect::<Vec<_>>(), [201, 409]);
    assert!(seen.iter().all(|event| event.canary && event.client.as_deref() == Some("tab-1") && event.request_id == "r-1"));
}

#[tokio::test]
async fn the_door_is_asked_for_the_service_or_for_the_browsers_host() {
    for (switch, authority) in [("off", "user-service:8081".to_owned()), ("on", "localhost".to_owned())] {
        let door = Recorder::start(StatusCode::OK).await;
        let proxy = url(door.server);
        let (gateway, _) = gateway(&[("http_proxy", &proxy), ("GATEWAY_KEEP_HOST", switch)]).await;
        let headers = [("connection", "keep-alive, x-private"), ("x-private", "1"), ("te", "trailers"), ("x-own", "2")];
        gateway.server.send("GET", "/users/?limit=1", &headers, "").await;
        let [seen] = door.seen().try_into().unwrap();
        let authority = if switch == "on" { format!("{authority}:{}", gateway.server.port) } else { authority };
        assert_eq!(seen.uri, format!("http://{authority}/users/?limit=1"));
        assert_eq!(seen.headers["host"], authority);
        assert_eq!(seen.headers["x-own"], "2");
        assert!(seen.headers.get("x-private").is_none() && seen.headers.get("te").is_none());
        assert_eq!(seen.headers["x-request-id"].len(), 36);
    }
}

#[tokio::test]
async fn a_relayed_stream_is_not_held_back() {
    let house = House::open(&[]).await;
    let (gateway, _) = in_front_of(&house).await;
    let mut reader = gateway.server.open("/stream/movie?chunks=3&interval_ms=50").await;
    for line in 1..=3 {
        assert!(reader.next().await.unwrap().starts_with(&format!("{line}/3 movie-service")));
    }
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn copied_headers_stop_at_the_gateway_when_switched_off() {
    let door = Recorder::start(StatusCode::OK).await;
    let proxy = url(door.server);
    let (gateway, events) = gateway(&[("http_proxy", &proxy), ("COPY_HEADERS", "off")]).await;
    gateway.server.send("GET", "/users/", &[("x-canary", "true"), ("traceparent", "t")], "").await;
    let [seen] = door.seen().try_into().unwrap();
    assert!(["x-canary", "traceparent", "x-request-id"].iter().all(|name| seen.headers.get(*name).is_none()));
    assert!(events.take()[0].canary);
}

#[tokio::test]
async fn an_answer_of_the_mesh_gets_no_signature() {
    let door = Recorder::answering(|| {
        Response::builder()
            .status(503)
            .header("x-envoy-attempt-count", "3")
            .header("x-envoy-upstream-service-time", "12")
            .header("keep-alive", "timeout=1")
            .body(Body::from("no healthy upstream"))
            .unwrap()
    })
    .await;
    let proxy = url(door.server);
    let (gateway, events) = gateway(&[("http_proxy", &proxy)]).await;
    let answer = gateway.server.get("/movies/").await;
    assert_eq!((answer.status(), answer.text()), (StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream"));
    for name in ["x-service-cluster", "x-pod-name", "x-service-name", "x-service-version", "keep-alive"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    let [event] = events.take().try_into().unwrap();
    assert_eq!((event.status, event.pod, event.attempts, event.upstream_failed), (503, None, Some(3), false));
    assert_eq!(event.upstream_service_time, Some(std::time::Duration::from_millis(12)));
}

#[tokio::test]
async fn a_dead_door_is_a_problem_that_names_the_service() {
    let free = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let proxy = format!("http://127.0.0.1:{free}");
    let (gateway, events) = gateway(&[("http_proxy", &proxy)]).await;
    let answer = gateway.server.get("/users/1").await;
    assert_eq!(answer.header("x-service-name"), "");
    let problem = expect(answer, StatusCode::BAD_GATEWAY);
    assert_eq!((&problem["upstream"], &problem["instance"]), (&json!("user-service"), &json!("/users/1")));
    let [event] = events.take().try_into().unwrap();
    assert_eq!((event.status, event.upstream_failed), (502, true));
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_a_timeout() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (gateway, events) = gateway(&[("http_proxy", &proxy), ("UPSTREAM_TIMEOUT_MS", "20")]).await;
    expect(gateway.server.get("/users/1").await, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(events.take()[0].status, 504);
}

#[tokio::test]
async fn a_client_that_leaves_is_still_one_event() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (gateway, events) = gateway(&[("http_proxy", &proxy)]).await;
    let server = gateway.server;
    let request = tokio::spawn(async move { server.get("/users/1").await });
    let upstream = silent.accept().await.unwrap();
    request.abort();
    events.more.notified().await;
    let [event] = events.take().try_into().unwrap();
    assert_eq!((event.status, event.upstream_failed, event.pod), (499, false, None));
    drop(upstream);
}

#[tokio::test]
async fn connections_to_the_door_are_used_again() {
    let door = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = format!("http://127.0.0.1:{}", door.local_addr().unwrap().port());
    let accepted = Arc::new(Mutex::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = door.accept().await.unwrap();
            *count.lock().unwrap() += 1;
            let service = hyper::service::service_fn(|_| async { Ok::<_, std::convert::Infallible>(Response::new("ok".to_owned())) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        }
    });
    let (gateway, _) = gateway(&[("http_proxy", &proxy)]).await;
    for _ in 0..10 {
        assert_eq!(gateway.server.get("/users/").await.text(), "ok");
    }
    assert_eq!(*accepted.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_document_describes_every_relayed_route_and_the_page_needs_no_internet() {
    let router = gateway::router(&environment(&[]), Arc::new(SeededIds::new(1)), Arc::new(Unobserved));
    let gateway = Running::start(router).await;
    let document = expect(gateway.server.get("/api/v1/openapi.json").await, StatusCode::OK);
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/users/",
        "/users/{id}",
        "/movies/",
        "/movies/{id}",
        "/movies/{id}/screenings",
        "/movies/{id}/trailer",
        "/screenings/{id}",
        "/screenings/{id}/seats",
        "/bookings/",
        "/bookings/{id}",
        "/bookings/user/{id}",
        "/stream/{service}",
    ] {
        assert!(paths.contains(&path), "{path} is missing from {paths:?}");
    }
    let conflict = &document["paths"]["/bookings/"]["post"]["responses"]["409"]["content"];
    assert_eq!(conflict["application/problem+json"]["schema"]["$ref"], "#/components/schemas/Problem");
    assert!(document["components"]["schemas"]["Booking"]["example"]["seats"].is_array());
    for (part, start) in [("", "<!-- HTML"), ("swagger-ui-bundle.js", "/*!"), ("swagger-ui.css", ".swagger-ui")] {
        let answer = gateway.server.get(&format!("/api/v1/docs/{part}")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{part}");
        assert!(answer.text().starts_with(start), "{part}: {}", &answer.text()[..80]);
    }
    let page = gateway.server.get("/api/v1/docs/swagger-initializer.js").await;
    assert!(page.text().contains("/api/v1/openapi.json") && page.text().contains("\"validatorUrl\": \"none\""), "{}", page.text());
}

#[tokio::test]
async fn an_app_that_drops_trace_headers_still_hands_its_canary_on() {
    let door = Recorder::start(StatusCode::OK).await;
    let proxy = url(door.server);
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (gateway, _) = gateway(&[("http_proxy", &proxy), ("TRACE_HEADERS", "drop")]).await;
    gateway.server.send("GET", "/users/", &[("x-canary", "true"), ("traceparent", sampled), ("x-b3-sampled", "1")], "").await;
    let [seen] = door.seen().try_into().unwrap();
    assert_eq!(seen.headers["x-canary"], "true");
    assert!(["traceparent", "x-b3-sampled", "x-request-id"].iter().all(|name| seen.headers.get(*name).is_none()));
}

/// A collector that takes one request.
async fn collector() -> (String, tokio::task::JoinHandle<serde_json::Value>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut received) = tokio::sync::mpsc::channel(1);
    let take = axum::routing::post(move |axum::Json(body): axum::Json<serde_json::Value>| async move {
        let _ = sender.send(body).await;
    });
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/v1/traces", take)).await });
    (url, tokio::spawn(async move { received.recv().await.unwrap() }))
}

#[tokio::test]
async fn a_sampled_request_makes_a_span_under_which_the_next_ones_hang() {
    let door = Recorder::start(StatusCode::OK).await;
    let (proxy, (collector, told)) = (url(door.server), collector().await);
    let (gateway, _) = gateway(&[("http_proxy", &proxy), ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector), ("POD_NAMESPACE", "t")]).await;
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    // Not sampled: handed on as it came, and no span.
    gateway.server.send("GET", "/users/", &[("traceparent", &format!("00-{trace}-{caller}-00"))], "").await;
    gateway.server.send("GET", "/users/", &[("traceparent", &format!("00-{trace}-{caller}-01"))], "").await;
    let body = told.await.unwrap();
    let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!((spans.as_array().unwrap().len(), &spans[0]["parentSpanId"]), (1, &json!(caller)), "{body}");
    assert_eq!(body["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"], "api-gateway.t");
    let [plain, sampled] = door.seen().try_into().unwrap();
    assert_eq!(plain.headers["traceparent"], format!("00-{trace}-{caller}-00"));
    assert_eq!(sampled.headers["traceparent"], format!("00-{trace}-{}-01", spans[0]["spanId"].as_str().unwrap()));
}
