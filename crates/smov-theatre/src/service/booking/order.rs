//! What a client wants to book, in all the shapes that people send, and the showings that fit.

use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    domain::{
        Movie, Screening,
        seating::{MAX_PER_BOOKING, Seat, Wish},
    },
    problem::ApiError,
    service::{
        body::{Fields, JsonObject},
        movie::ShownScreening,
        upstream::Upstreams,
    },
};

/// A booking to be. Either the screening is named, or only the movie, as in the sample.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(examples(json!({"user_id": "1", "screening_id": "21", "seats": ["F8", "F9"]}), json!({"user_id": "1", "movie_id": "3", "seats": 2})))]
pub(crate) struct NewBooking {
    /// Who books.
    pub(crate) user_id: String,
    /// What; may be left out when the screening is named.
    pub(crate) movie_id: Option<String>,
    /// Which showing; without it the movie's next one that has room.
    pub(crate) screening_id: Option<String>,
    /// Seats by name (all or none), or how many of the best free ones: 1 to 10.
    #[schema(value_type = Seats)]
    pub(crate) seats: Wish,
}

/// The two shapes of `seats`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two shapes in the OpenAPI document")]
pub(crate) enum Seats {
    /// So many of the best free seats.
    Count(u8),
    /// These.
    Named(Vec<String>),
}

/// A showing and its movie.
#[derive(Clone, Debug)]
pub(super) struct Showing {
    pub(super) screening: Screening,
    pub(super) movie: Movie,
}

pub(super) fn read(body: &JsonObject) -> Result<NewBooking, ApiError> {
    let mut fields = body.fields();
    if fields.value(&["user_id", "userId"]).is_none() {
        fields.missing("user_id");
    }
    let user_id = fields.id(&["user_id", "userId"]).unwrap_or_default();
    let screening_id = fields.id(&["screening_id", "screeningId"]);
    let movie_id = fields.id(&["movie_id", "movieId"]);
    if fields.value(&["screening_id", "screeningId"]).or(fields.value(&["movie_id", "movieId"])).is_none() {
        fields.wrong(
            "screening_id",
            "name a screening, or a movie in `movie_id`",
            "상영(`screening_id`) 또는 영화(`movie_id`)를 지정하세요",
        );
    }
    let seats = wish(&mut fields);
    fields.finish()?;
    Ok(NewBooking { user_id, movie_id, screening_id, seats: seats.unwrap_or(Wish::Best(1)) })
}

/// `["F7", "F8"]`, or `2`. None only together with an error.
fn wish(fields: &mut Fields<'_>) -> Option<Wish> {
    let limit = (format!("1 to {MAX_PER_BOOKING} seats"), format!("좌석은 1~{MAX_PER_BOOKING}석까지 예약할 수 있습니다"));
    match fields.value(&["seats", "seat"]).cloned() {
        None => fields.missing("seats"),
        Some(Value::Number(number)) => match number.as_u64().and_then(|count| usize::try_from(count).ok()) {
            Some(count) if (1..=MAX_PER_BOOKING).contains(&count) => return Some(Wish::Best(count)),
            Some(_) | None => fields.wrong("seats", limit.0, limit.1),
        },
        Some(Value::Array(items)) if (1..=MAX_PER_BOOKING).contains(&items.len()) => return named(fields, &items),
        Some(Value::Array(_)) => fields.wrong("seats", limit.0, limit.1),
        Some(_) => fields.wrong("seats", "must be a list as [\"F7\"] or a number", "[\"F7\"] 같은 목록이거나 숫자여야 합니다"),
    }
    None
}

fn named(fields: &mut Fields<'_>, items: &[Value]) -> Option<Wish> {
    let mut seats: Vec<Seat> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let name = format!("seats/{index}");
        match item.as_str().unwrap_or_default().parse() {
            Ok(seat) if seats.contains(&seat) => fields.wrong(&name, "is named twice", "같은 좌석이 두 번 있습니다"),
            Ok(seat) => seats.push(seat),
            Err(_) => fields.wrong(&name, "is no seat: rows A to H, numbers 1 to 12", "없는 좌석입니다: A~H열, 1~12번"),
        }
    }
    (seats.len() == items.len()).then_some(Wish::Named(seats))
}

/// The showings that fit, best first; none when the screening, or the movie, does not exist.
pub(super) async fn showings(
    upstreams: &Upstreams,
    new: &NewBooking,
    now: Timestamp,
    headers: &HeaderMap,
) -> Result<Vec<Showing>, ApiError> {
    if let Some(id) = &new.screening_id {
        let shown = upstreams.movie::<ShownScreening>(&format!("/screenings/{id}"), headers).await?;
        let fits = shown.filter(|shown| new.movie_id.as_ref().is_none_or(|movie| *movie == shown.movie.id));
        return Ok(fits.map(|ShownScreening { screening, movie }| Showing { screening, movie }).into_iter().collect());
    }
    let id = new.movie_id.as_deref().unwrap_or_default();
    let (movie_path, screenings_path) = (format!("/movies/{id}"), format!("/movies/{id}/screenings"));
    let (movie, screenings) =
        tokio::try_join!(upstreams.movie::<Movie>(&movie_path, headers), upstreams.movie::<Vec<Screening>>(&screenings_path, headers))?;
    let Some(movie) = movie else { return Ok(Vec::new()) };
    let screenings = in_turn(screenings.unwrap_or_default(), now);
    Ok(screenings.into_iter().map(|screening| Showing { screening, movie: movie.clone() }).collect())
}

/// What is still to come first, then what is over: a theatre that was opened weeks ago must go on taking bookings.
fn in_turn(mut screenings: Vec<Screening>, now: Timestamp) -> Vec<Screening> {
    screenings.sort_by_key(|screening| {
        let start = screening.starts_at();
        (start.is_none_or(|start| start < now), start)
    });
    screenings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::screening;

    #[test]
    fn the_next_screening_comes_first_and_past_ones_last() {
        let day = jiff::civil::date(2026, 11, 22);
        let at = |id: &str, hour| screening(id.to_owned(), "3".to_owned(), 1, day, hour);
        let now = "2026-11-22T15:00:00+09:00".parse().unwrap();
        let order = in_turn(vec![at("late", 22), at("past", 10), at("next", 16)], now);
        assert_eq!(order.iter().map(|screening| screening.id.as_str()).collect::<Vec<_>>(), ["next", "late", "past"]);
    }
}
