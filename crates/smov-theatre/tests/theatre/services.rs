//! The three services over real sockets, with one store, as they stand behind the gateway.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use http::StatusCode;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use smov_theatre::ServiceName;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::house::{House, Recorder, alone_behind, environment, expect, user_service_on};

#[tokio::test]
async fn every_answer_is_signed_errors_too() {
    let house = House::open(&[("HOSTNAME", "user-service-ctx2-754bc8dd6f-kghtc"), ("APP_VERSION", "v7")]).await;
    for path in ["/users/", "/users/nobody", "/nowhere", "/healthz", "/readyz", "/metrics"] {
        let answer = house.user.get(path).await;
        assert_eq!(answer.header("x-service-cluster"), "ctx2", "{path}");
        assert_eq!(answer.header("x-pod-name"), "user-service-ctx2-754bc8dd6f-kghtc");
        assert_eq!(answer.header("x-service-name"), "user-service");
        assert_eq!(answer.header("x-service-version"), "v7");
    }
}

#[tokio::test]
async fn the_samples_paths_answer_with_and_without_slash() {
    let house = House::open(&[]).await;
    for path in ["/users", "/users/", "/users/1", "/users/1/"] {
        expect(house.user.get(path).await, StatusCode::OK);
    }
    for path in ["/movies", "/movies/", "/movies/3", "/movies/3/screenings", "/screenings/3"] {
        expect(house.movie.get(path).await, StatusCode::OK);
    }
    for path in ["/bookings", "/bookings/", "/bookings/1", "/bookings/user/1", "/bookings/user/1/", "/screenings/3/seats"] {
        expect(house.booking.get(path).await, StatusCode::OK);
    }
    let users = expect(house.user.get("/users/").await, StatusCode::OK);
    assert_eq!(users[0], json!({"id": "1", "name": "홍길동", "email": "hong@example.com"}));
}

#[tokio::test]
async fn lists_are_cut_into_pages_that_link_to_each_other() {
    let house = House::open(&[]).await;
    let page = house.movie.get("/movies/?limit=4&offset=4").await;
    assert_eq!(page.header("x-total-count"), "14");
    assert_eq!(page.header("link"), "</movies/?limit=4&offset=8>; rel=\"next\", </movies/?limit=4&offset=0>; rel=\"prev\"");
    assert_eq!(page.json().as_array().unwrap().len(), 4);
    assert_eq!(house.movie.get("/movies/?limit=100000").await.header("x-total-count"), "14");
    let problem = expect(house.movie.get("/movies/?limit=-1").await, StatusCode::BAD_REQUEST);
    assert_eq!(problem["type"], "urn:smov:problem:invalid-parameter");
}

#[tokio::test]
async fn a_user_is_created_and_greeted_by_version_two_only() {
    let house = House::open(&[]).await;
    let answer = house.user.post("/users/", json!({"name": "세종", "email": "sejong@example.com"}), &[]).await;
    assert_eq!(answer.header("location"), "/users/9");
    assert_eq!(expect(answer, StatusCode::CREATED), json!({"id": "9", "name": "세종", "email": "sejong@example.com"}));
    let second = house.another_user_service(&[("APP_VERSION", "v2")]).await;
    assert_eq!(expect(second.get("/users/9").await, StatusCode::OK)["display_name"], "세종 님");
}

#[tokio::test]
async fn everything_wrong_is_told_at_once_in_both_languages() {
    let house = House::open(&[]).await;
    let answer = house.user.post("/users/", json!({"id": "a b", "email": "nowhere"}), &[("x-request-id", "r-1")]).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = expect(answer, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/id", "/name", "/email"]);
    assert_eq!(problem["errors"][1]["detail_ko"], "필수 항목입니다");
    assert_eq!((&problem["instance"], &problem["request_id"]), (&json!("/users/"), &json!("r-1")));
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_with_its_place() {
    let house = House::open(&[]).await;
    let broken = house.user.send("POST", "/users/", &[("content-type", "application/json")], "{\n \"name\": }").await;
    let problem = expect(broken, StatusCode::BAD_REQUEST);
    assert_eq!(problem["detail_ko"], "JSON 문법 오류: 2행 10열");
    let form = house.user.send("POST", "/users/", &[("content-type", "text/plain")], "{}").await;
    expect(form, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    expect(house.user.send("POST", "/users/", &[("content-type", "application/json")], &large).await, StatusCode::PAYLOAD_TOO_LARGE);
    let wrong_method = house.user.send("PATCH", "/users/", &[], "").await;
    assert_eq!(wrong_method.header("allow"), "GET,HEAD,POST");
    expect(wrong_method, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_new_movie_can_be_booked_the_samples_way() {
    let house = House::open(&[]).await;
    let movie = house.movie.post("/movies/", json!({"title": "왕의 남자", "genre": "사극", "year": 2005, "director": "이준익"}), &[]).await;
    assert_eq!(expect(movie, StatusCode::CREATED)["id"], "15");
    let screenings = expect(house.movie.get("/movies/15/screenings").await, StatusCode::OK);
    assert_eq!(screenings.as_array().unwrap().len(), 7);
    let booked = house.booking.post("/bookings/", json!({"user_id": 1, "movie_id": 15, "seats": 2}), &[]).await;
    assert_eq!(booked.header("location"), "/bookings/5");
    let booking = expect(booked, StatusCode::CREATED);
    assert_eq!((&booking["seats"], &booking["screening_id"]), (&json!(["F6", "F7"]), &json!("15-1")));
    assert_eq!(booking["created_at"], "2026-11-22T03:00:00.000Z");
    assert_eq!((&booking["user_name"], &booking["movie_title"]), (&json!("홍길동"), &json!("왕의 남자")));
}

#[tokio::test]
async fn taken_seats_are_a_conflict_that_names_them_and_the_map_shows_them() {
    let house = House::open(&[]).await;
    let order = json!({"userId": "2", "screeningId": "30", "seats": ["F8", "f7"]});
    let booking = expect(house.booking.post("/bookings/", order, &[]).await, StatusCode::CREATED);
    assert_eq!(booking["seats"], json!(["F8", "F7"]));
    let overlapping = json!({"user_id": "3", "screening_id": "30", "seats": ["F6", "F7"]});
    let problem = expect(house.booking.post("/bookings/", overlapping, &[]).await, StatusCode::CONFLICT);
    assert_eq!((&problem["type"], &problem["taken"]), (&json!("urn:smov:problem:seats-taken"), &json!(["F7"])));
    let map = expect(house.booking.get("/screenings/30/seats").await, StatusCode::OK);
    assert_eq!((&map["taken"], &map["free"], &map["columns"]), (&json!(["F7", "F8"]), &json!(94), &json!(12)));
    let id = booking["id"].as_str().unwrap();
    for _ in 0..2 {
        let cancelled = expect(house.booking.send("DELETE", &format!("/bookings/{id}"), &[], "").await, StatusCode::OK);
        assert_eq!(cancelled["status"], "cancelled");
    }
    assert_eq!(expect(house.booking.get("/screenings/30/seats").await, StatusCode::OK)["free"], 96);
    assert!(house.booking.get("/metrics").await.text().contains("theatre_seat_conflicts_total 1\n"));
}

#[tokio::test]
async fn unknown_users_and_screenings_are_told_together() {
    let house = House::open(&[]).await;
    let order = json!({"user_id": "404", "screening_id": "9999", "seats": 1});
    let problem = expect(house.booking.post("/bookings/", order, &[]).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    let mismatch = json!({"user_id": "1", "movie_id": "1", "screening_id": "2", "seats": 1});
    expect(house.booking.post("/bookings/", mismatch, &[]).await, StatusCode::UNPROCESSABLE_ENTITY);
    let nonsense = json!({"seats": ["Z9", "A1", "A1"]});
    let problem = expect(house.booking.post("/bookings/", nonsense, &[]).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn an_idempotency_key_books_once_even_while_the_others_are_away() {
    let mut house = House::open(&[]).await;
    let order = json!({"user_id": "1", "screening_id": "40", "seats": ["A1"]});
    let key = [("idempotency-key", "k-1")];
    let first = house.booking.post("/bookings/", order.clone(), &key).await;
    let body = first.text().to_owned();
    expect(first, StatusCode::CREATED);
    house.close_others().await;
    for _ in 0..4 {
        let again = house.booking.post("/bookings/", order.clone(), &key).await;
        assert_eq!((again.status(), again.text(), again.header("idempotency-replayed")), (StatusCode::CREATED, body.as_str(), "true"));
    }
    let other = json!({"user_id": "1", "screening_id": "40", "seats": ["A2"]});
    let problem = expect(house.booking.post("/bookings/", other, &key).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["type"], "urn:smov:problem:idempotency-key-reused");
    assert_eq!(house.booking.get("/bookings/").await.header("x-total-count"), "5");
}

#[tokio::test]
async fn a_failing_upstream_is_named() {
    let mut house = House::open(&[]).await;
    house.close_others().await;
    let order = json!({"user_id": "1", "screening_id": "40", "seats": 1});
    let problem = expect(house.booking.post("/bookings/", order, &[]).await, StatusCode::BAD_GATEWAY);
    assert_eq!(problem["upstream"], "user-service");
}

#[tokio::test]
async fn calls_further_on_carry_the_trace_and_the_canary_unless_switched_off() {
    for (switch, arrives) in [("on", true), ("off", false)] {
        let door = Recorder::start(StatusCode::SERVICE_UNAVAILABLE).await;
        let (booking, _folder) = alone_behind(&door, &[("COPY_HEADERS", switch)]).await;
        let headers = [("x-request-id", "r-9"), ("traceparent", "00-a-b-01"), ("x-canary", "true"), ("x-b3-traceid", "t")];
        let order = json!({"user_id": "1", "screening_id": "40", "seats": 1});
        let problem = expect(booking.post("/bookings/", order, &headers).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem["upstream_status"], 503);
        let seen = door.seen();
        assert!(seen.iter().any(|request| request.uri == "http://user-service:8081/users/1"), "{seen:?}");
        for request in &seen {
            for (name, value) in headers {
                assert_eq!(request.headers.get(name).is_some_and(|found| found == value), arrives, "{name}");
            }
            assert_eq!(request.headers["host"], request.uri.split('/').nth(2).unwrap());
        }
    }
}

#[tokio::test]
async fn streams_come_line_by_line_and_name_the_pod() {
    let house = House::open(&[("HOSTNAME", "movie-service-ctx1-x")]).await;
    let trailer = house.movie.get("/movies/3/trailer?chunks=3&interval_ms=0").await;
    assert_eq!(trailer.text(), (1..=3).map(|line| format!("{line}/3 기생충 · ctx1 · movie-service-ctx1-x\n")).collect::<String>());
    assert_eq!(house.user.get("/stream?chunks=2&interval_ms=0").await.text().lines().count(), 2);
    expect(house.user.get("/stream?chunks=many").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_stream_in_flight_ends_whole_when_its_service_is_told_to_stop() {
    let mut house = House::open(&[]).await;
    let mut reader = house.user.open("/stream?chunks=3&interval_ms=50").await;
    let first = reader.next().await.unwrap();
    house.stop_user();
    let mut text = first;
    while let Some(more) = reader.next().await {
        text.push_str(&more);
    }
    assert_eq!(text.lines().count(), 3);
    tokio::time::timeout(Duration::from_secs(10), house.user_has_ended()).await.unwrap();
}

#[tokio::test]
async fn a_pod_listens_on_its_socket_alone_and_opens_the_theatre_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    std::fs::write(&socket, "left behind").unwrap();
    let store = format!("sqlite:{}", folder.path().join("theatre.db").display());
    let environment = environment(&[("SMOV_APP_SOCKET", socket.to_str().unwrap()), ("STORE_URL", &store)]);
    let stop = CancellationToken::new();
    let pod = tokio::spawn(smov_theatre::run(ServiceName::Movie, environment, stop.clone()));
    let stream = loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for path in ["/readyz", "/movies/14"] {
        let request = http::Request::get(path).header("host", "movie-service:8082").body(String::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK, "{path}");
        sender.ready().await.unwrap();
    }
    stop.cancel();
    pod.await.unwrap().unwrap();
}

#[tokio::test]
async fn readiness_waits_for_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nobody.sock");
    let service = user_service_on(&format!("redis+unix://{}", socket.display())).await;
    let problem = expect(service.get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem["type"], "urn:smov:problem:store-unreachable");
    assert!(!problem.to_string().contains("nobody.sock"), "a problem names no path of the machine");
    assert_eq!(service.get("/healthz").await.status(), StatusCode::OK);
    let answer = service.get("/users/").await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.json()["status"], Value::from(503));
}
