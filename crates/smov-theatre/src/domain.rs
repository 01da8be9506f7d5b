//! What the theatre is made of: users, movies, screenings, seats, bookings.
//!
//! The field names are the sample's (`year`, `director`, `user_id`); titles and names come in Korean and English.

pub mod first_data;
pub mod seating;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Korea's clock: screenings are written in it, wherever a pod runs.
const KOREA: jiff::tz::Offset = jiff::tz::Offset::constant(9);

/// The day it is in the theatre.
pub fn theatre_day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::fixed(KOREA)).date()
}

/// A customer. Stored as the sample stores it: a JSON string under `user:ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "1", "name": "홍길동", "email": "hong@example.com"}))]
pub struct User {
    /// Digits for users that the service numbered, or the id that the client chose.
    pub id: String,
    /// As people write it.
    pub name: String,
    /// Where tickets go.
    #[serde(default)]
    pub email: String,
}

/// A film on the programme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "3", "title": "기생충", "title_en": "Parasite", "genre": "드라마", "genre_en": "Drama", "year": 2019,
    "director": "봉준호", "director_en": "Bong Joon-ho", "runtime": 132}))]
pub struct Movie {
    /// Digits for movies that the service numbered, or the id that the client chose.
    pub id: String,
    /// Title in Korea.
    pub title: String,
    /// International title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title_en: Option<String>,
    /// Genre in Korean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// Genre in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genre_en: Option<String>,
    /// Year of release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// Director's name in Korean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub director: Option<String>,
    /// Director's name in Latin letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub director_en: Option<String>,
    /// Minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<u16>,
}

/// One showing of a movie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "21", "movie_id": "3", "hall": "2관", "hall_en": "Hall 2", "start": "2026-11-23T19:00:00+09:00", "price": 14000}))]
pub struct Screening {
    /// Its number on the programme.
    pub id: String,
    /// The movie shown.
    pub movie_id: String,
    /// Hall in Korean; every hall has rows A to H with 12 seats.
    pub hall: String,
    /// Hall in English.
    pub hall_en: String,
    /// RFC 3339, in Korea's time.
    pub start: String,
    /// Won per seat.
    pub price: u32,
}

impl Screening {
    /// When it starts; none when the record was edited into something else.
    pub fn starts_at(&self) -> Option<Timestamp> {
        self.start.parse().ok()
    }
}

/// A showing in `hall` on `day` at `hour`: o'clock and price follow the house's table.
pub(crate) fn screening(id: String, movie_id: String, hall: u8, day: Date, hour: i8) -> Screening {
    let weekend = matches!(day.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    let base = if hour < 11 { 10_000 } else { 14_000 };
    Screening {
        id,
        movie_id,
        hall: format!("{hall}관"),
        hall_en: format!("Hall {hall}"),
        start: format!("{day}T{hour:02}:00:00+09:00"),
        price: base + u32::from(weekend) * 1_000,
    }
}

/// Whether a booking holds its seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BookingStatus {
    /// The seats are sold to this booking.
    Confirmed,
    /// The seats were given back.
    Cancelled,
}

/// Seats of one screening, sold to one user. Names are as they were when it was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "4", "user_id": "1", "user_name": "홍길동", "movie_id": "3", "movie_title": "기생충", "movie_title_en": "Parasite",
    "screening_id": "21", "hall": "2관", "start": "2026-11-23T19:00:00+09:00", "seats": ["F7", "F8"], "price": 28000, "status": "confirmed",
    "created_at": "2026-11-22T03:00:00Z"}))]
pub struct Booking {
    /// Its number.
    pub id: String,
    /// Who booked.
    pub user_id: String,
    /// That user's name then.
    #[serde(default)]
    pub user_name: String,
    /// The movie.
    pub movie_id: String,
    /// Its title in Korea.
    #[serde(default)]
    pub movie_title: String,
    /// Its international title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub movie_title_en: Option<String>,
    /// The showing.
    pub screening_id: String,
    /// Its hall.
    #[serde(default)]
    pub hall: String,
    /// Its start.
    #[serde(default)]
    pub start: String,
    /// Seats by row and number.
    pub seats: Vec<String>,
    /// Won, for all seats together.
    #[serde(default)]
    pub price: u32,
    /// Whether it still holds the seats.
    pub status: BookingStatus,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
}

/// The hall as the booking service sees it: what is taken, what is free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"screening_id": "21", "movie_id": "3", "hall": "2관", "start": "2026-11-23T19:00:00+09:00", "price": 14000,
    "rows": ["A", "B", "C", "D", "E", "F", "G", "H"], "columns": 12, "taken": ["F7", "F8"], "free": 94}))]
pub struct SeatMap {
    /// The showing.
    pub screening_id: String,
    /// The movie shown.
    pub movie_id: String,
    /// Hall.
    pub hall: String,
    /// Start.
    pub start: String,
    /// Won per seat.
    pub price: u32,
    /// Row letters, screen side first.
    pub rows: Vec<String>,
    /// Seats per row, numbered from 1.
    pub columns: u8,
    /// Sold seats, by row and number.
    pub taken: Vec<String>,
    /// How many are left.
    pub free: usize,
}
