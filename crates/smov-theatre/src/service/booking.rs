//! booking-service: `/bookings/` and the seat maps. It knows who sits where; who somebody is and what is shown it asks
//! user-service and movie-service, so every booking makes east-west traffic.

mod order;

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{Json, Router, extract::State, response::Response, routing::get};
use http::HeaderMap;

use self::order::{NewBooking, Showing};
use super::{
    Desk,
    body::{JsonObject, RecordId, idempotency, key_reused},
    created,
    movie::ShownScreening,
    paging::Paging,
    upstream::Upstreams,
    with_slash,
};
use crate::{
    domain::{
        Booking, BookingStatus, SeatMap, User,
        seating::{self, Seat, SeatPlan, Wish},
    },
    environment::Environment,
    openapi::Problems,
    problem::{ApiError, FieldError, ProblemKind},
    store::{Cancellation, Document, ID_HERE, IdempotencyKey, SEATS_HERE, SeatClaim, Table, Write, Written},
};

/// Tries of a cancellation that others keep overtaking.
const CANCEL_TRIES: usize = 5;

/// The desk and the way to the others.
#[derive(Clone)]
pub(crate) struct BookingDesk {
    desk: Arc<Desk>,
    upstreams: Arc<Upstreams>,
}

pub(super) fn routes(desk: Arc<Desk>, environment: &Environment) -> Router {
    let router = with_slash(Router::new(), "/bookings", get(list).post(create));
    let router = with_slash(router, "/bookings/{id}", get(find).delete(cancel));
    let router = with_slash(router, "/bookings/user/{id}", get(of_user));
    with_slash(router, "/screenings/{id}/seats", get(seats))
        .with_state(BookingDesk { upstreams: Upstreams::new(desk.clone(), environment), desk })
}

/// Bookings, oldest first.
#[utoipa::path(get, path = "/bookings/", tag = "booking-service", params(crate::openapi::PageParameters),
    responses((status = 200, description = "One page of bookings · 예약 목록", body = [Booking], headers(("X-Total-Count" = u64), ("Link" = String))), Problems))]
pub(crate) async fn list(State(BookingDesk { desk, .. }): State<BookingDesk>, paging: Paging) -> Result<Response, ApiError> {
    let page = desk.stored("list", desk.store.list(paging.listing(Table::Bookings, None))).await?;
    Ok(paging.answer(&desk.all_parsed::<Booking>(&page), page.total))
}

/// Bookings of one user; an empty list when there is none, as the sample has it.
#[utoipa::path(get, path = "/bookings/user/{id}", tag = "booking-service", params(("id" = String, Path, example = "1"), crate::openapi::PageParameters),
    responses((status = 200, description = "The user's bookings · 사용자의 예약", body = [Booking], headers(("X-Total-Count" = u64), ("Link" = String))), Problems))]
pub(crate) async fn of_user(
    State(BookingDesk { desk, .. }): State<BookingDesk>,
    RecordId(id): RecordId,
    paging: Paging,
) -> Result<Response, ApiError> {
    let page = desk.stored("list", desk.store.list(paging.listing(Table::Bookings, Some(id)))).await?;
    Ok(paging.answer(&desk.all_parsed::<Booking>(&page), page.total))
}

/// One booking.
#[utoipa::path(get, path = "/bookings/{id}", tag = "booking-service", params(("id" = String, Path, example = "1")),
    responses((status = 200, description = "The booking · 예약", body = Booking), Problems))]
pub(crate) async fn find(State(BookingDesk { desk, .. }): State<BookingDesk>, RecordId(id): RecordId) -> Result<Json<Booking>, ApiError> {
    let found = desk.stored("find", desk.store.find(Table::Bookings, &id)).await?;
    desk.parsed(&found.ok_or_else(|| ApiError::not_found("booking", "예약", &id))?).map(Json)
}

/// The seat map of a showing.
#[utoipa::path(get, path = "/screenings/{id}/seats", tag = "booking-service", params(("id" = String, Path, example = "21")),
    responses((status = 200, description = "What is taken and what is free · 좌석표", body = SeatMap), Problems))]
pub(crate) async fn seats(
    State(BookingDesk { desk, upstreams }): State<BookingDesk>,
    RecordId(id): RecordId,
    headers: HeaderMap,
) -> Result<Json<SeatMap>, ApiError> {
    let path = format!("/screenings/{id}");
    let (shown, taken) = tokio::join!(upstreams.movie::<ShownScreening>(&path, &headers), desk.stored("taken", desk.store.taken(&id)));
    let screening = shown?.ok_or_else(|| ApiError::not_found("screening", "상영", &id))?.screening;
    let mut taken: Vec<Seat> = taken?.iter().filter_map(|seat| seat.parse().ok()).collect();
    taken.sort_unstable();
    Ok(Json(SeatMap {
        screening_id: screening.id,
        movie_id: screening.movie_id,
        hall: screening.hall,
        start: screening.start,
        price: screening.price,
        rows: (0..seating::ROWS).map(|row| char::from(b'A' + row).to_string()).collect(),
        columns: seating::COLUMNS,
        free: seating::SEATS - taken.len(),
        taken: taken.iter().map(Seat::to_string).collect(),
    }))
}

/// A new booking: all its seats, or none. Without a screening the movie's next one that has room is taken.
#[utoipa::path(post, path = "/bookings/", tag = "booking-service", request_body = NewBooking, params(crate::openapi::IdempotencyParameter),
    responses((status = 201, description = "Booked · 예약됨", body = Booking, headers(("Location" = String))), Problems))]
pub(crate) async fn create(State(counter): State<BookingDesk>, headers: HeaderMap, body: JsonObject) -> Result<Response, ApiError> {
    let BookingDesk { desk, upstreams } = &counter;
    let new = order::read(&body)?;
    let key = idempotency(&headers, "bookings", &new)?;
    if let Some(key) = &key {
        // Asked before anything else, so that a repeat is answered even while the other services are away.
        match desk.stored("settled", desk.store.settled(key)).await? {
            Some(Written::Replayed(document)) => return booked(desk, document, true),
            Some(Written::KeyReused) => return Err(key_reused()),
            Some(Written::Stored(_) | Written::Exists | Written::SeatsTaken(_)) | None => {}
        }
    }
    let user_path = format!("/users/{}", new.user_id);
    let (user, showings) =
        tokio::join!(upstreams.user::<User>(&user_path, &headers), order::showings(upstreams, &new, (desk.clock)(), &headers));
    let (user, showings) = (user?, showings?);
    let mut unknown = Vec::new();
    if user.is_none() {
        unknown.push(unknown_reference("user_id", &new.user_id, "user", "사용자"));
    }
    if showings.is_empty() {
        unknown.push(match &new.screening_id {
            Some(id) => unknown_reference("screening_id", id, "screening of this movie", "이 영화의 상영"),
            None => unknown_reference("movie_id", new.movie_id.as_deref().unwrap_or_default(), "movie with screenings", "상영 중인 영화"),
        });
    }
    match user {
        Some(user) if unknown.is_empty() => sell(desk, &new, key, &user, &showings).await,
        Some(_) | None => Err(ApiError::invalid_content(unknown)),
    }
}

/// Tries the showings in turn; the first with room for the wish is booked.
async fn sell(desk: &Desk, new: &NewBooking, key: Option<IdempotencyKey>, user: &User, showings: &[Showing]) -> Result<Response, ApiError> {
    let plan = SeatPlan::new(&new.seats);
    let mut taken_first = None;
    for showing in showings {
        let claim = SeatClaim { screening: showing.screening.id.clone(), plan: plan.clone() };
        let booking = draft(desk, new, user, showing);
        let document = Document::new(Table::Bookings, &booking.id, Some(&booking.user_id), &booking);
        let write = Write { idempotency: key.clone(), seats: Some(claim), chosen_id: None, documents: vec![document] };
        match desk.stored("write", desk.store.write(write)).await? {
            Written::Stored(document) => return booked(desk, document, false),
            Written::Replayed(document) => return booked(desk, document, true),
            Written::KeyReused => return Err(key_reused()),
            Written::SeatsTaken(taken) => drop(taken_first.get_or_insert(taken)),
            Written::Exists => {}
        }
    }
    desk.metrics.seat_conflicts.fetch_add(1, Relaxed);
    Err(refused(&new.seats, &taken_first.unwrap_or_default()))
}

fn draft(desk: &Desk, new: &NewBooking, user: &User, showing: &Showing) -> Booking {
    let Showing { screening, movie } = showing;
    Booking {
        id: ID_HERE.to_string(),
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        movie_id: movie.id.clone(),
        movie_title: movie.title.clone(),
        movie_title_en: movie.title_en.clone(),
        screening_id: screening.id.clone(),
        hall: screening.hall.clone(),
        start: screening.start.clone(),
        seats: vec![SEATS_HERE.to_string()],
        price: screening.price.saturating_mul(u32::try_from(new.seats.count()).unwrap_or(u32::MAX)),
        status: BookingStatus::Confirmed,
        created_at: format!("{:.3}", (desk.clock)()),
    }
}

fn booked(desk: &Desk, document: String, replayed: bool) -> Result<Response, ApiError> {
    let booking: Booking = desk.parsed(&document)?;
    let counter = if replayed { &desk.metrics.replays } else { &desk.metrics.created };
    counter.fetch_add(1, Relaxed);
    Ok(created(&format!("/bookings/{}", booking.id), document.into_bytes(), replayed))
}

fn refused(wish: &Wish, taken: &[String]) -> ApiError {
    match wish {
        Wish::Named(seats) => {
            let taken: HashSet<&str> = taken.iter().map(String::as_str).collect();
            let sold: Vec<String> = seats.iter().map(Seat::to_string).filter(|seat| taken.contains(seat.as_str())).collect();
            let list = sold.join(", ");
            ApiError::seats_taken(sold, format!("taken: {list}"), format!("이미 예약됨: {list}"))
        }
        Wish::Best(count) => {
            let free = seating::SEATS.saturating_sub(taken.len());
            let (detail, detail_ko) = (format!("{count} wanted, {free} free"), format!("요청 {count}석, 남은 좌석 {free}석"));
            ApiError::seats_taken(Vec::new(), detail, detail_ko)
        }
    }
}

fn unknown_reference(field: &str, id: &str, what: &str, what_ko: &str) -> FieldError {
    FieldError {
        pointer: format!("/{field}"),
        detail: format!("no {what} `{id}`"),
        detail_ko: format!("`{id}`: {what_ko}을(를) 찾을 수 없습니다"),
    }
}

/// Gives the seats back. A booking that is cancelled already is answered as it is.
#[utoipa::path(delete, path = "/bookings/{id}", tag = "booking-service", params(("id" = String, Path, example = "4")),
    responses((status = 200, description = "Cancelled · 취소됨", body = Booking), Problems))]
pub(crate) async fn cancel(State(BookingDesk { desk, .. }): State<BookingDesk>, RecordId(id): RecordId) -> Result<Json<Booking>, ApiError> {
    for _ in 0..CANCEL_TRIES {
        let found = desk.stored("find", desk.store.find(Table::Bookings, &id)).await?;
        let before = found.ok_or_else(|| ApiError::not_found("booking", "예약", &id))?;
        let mut booking: Booking = desk.parsed(&before)?;
        if booking.status == BookingStatus::Cancelled {
            return Ok(Json(booking));
        }
        booking.status = BookingStatus::Cancelled;
        let after = serde_json::to_string(&booking).expect("a booking is a plain struct");
        let (screening, seats) = (booking.screening_id.clone(), booking.seats.clone());
        if desk.stored("cancel", desk.store.cancel(Cancellation { id: id.clone(), before, after, screening, seats })).await? {
            desk.metrics.cancelled.fetch_add(1, Relaxed);
            return Ok(Json(booking));
        }
    }
    Err(ApiError::new(ProblemKind::Changed, "the booking keeps changing; try again", "예약이 계속 변경되고 있습니다. 다시 시도하세요"))
}
