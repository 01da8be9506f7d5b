//! The programme a new theatre opens with: films, people, a week of screenings, a few bookings.

use jiff::civil::Date;
use serde::Serialize;

use super::{Booking, BookingStatus, Movie, Screening, User, screening};
use crate::store::{Document, Table};

/// Days that the first programme covers.
const DAYS: i8 = 7;
/// Halls of the first programme.
const HALLS: u8 = 4;
/// When showings begin, in Korea's time.
const HOURS: [i8; 5] = [10, 13, 16, 19, 22];

/// Title, international title, genre in Korean and English, year, director in Korean and English, minutes.
type Film = (&'static str, &'static str, &'static str, &'static str, u16, &'static str, &'static str, u16);

/// The sample's three films first, under the sample's ids.
const FILMS: [Film; 14] = [
    ("어벤져스: 엔드게임", "Avengers: Endgame", "액션", "Action", 2019, "앤서니 루소, 조 루소", "Anthony Russo, Joe Russo", 181),
    ("겨울왕국 2", "Frozen II", "애니메이션", "Animation", 2019, "크리스 벅, 제니퍼 리", "Chris Buck, Jennifer Lee", 103),
    ("기생충", "Parasite", "드라마", "Drama", 2019, "봉준호", "Bong Joon-ho", 132),
    ("올드보이", "Oldboy", "스릴러", "Thriller", 2003, "박찬욱", "Park Chan-wook", 120),
    ("살인의 추억", "Memories of Murder", "범죄", "Crime", 2003, "봉준호", "Bong Joon-ho", 132),
    ("부산행", "Train to Busan", "공포", "Horror", 2016, "연상호", "Yeon Sang-ho", 118),
    ("괴물", "The Host", "SF", "Science fiction", 2006, "봉준호", "Bong Joon-ho", 120),
    ("헤어질 결심", "Decision to Leave", "멜로", "Romance", 2022, "박찬욱", "Park Chan-wook", 138),
    ("극한직업", "Extreme Job", "코미디", "Comedy", 2019, "이병헌", "Lee Byeong-heon", 111),
    ("서울의 봄", "12.12: The Day", "드라마", "Drama", 2023, "김성수", "Kim Sung-su", 141),
    ("인터스텔라", "Interstellar", "SF", "Science fiction", 2014, "크리스토퍼 놀란", "Christopher Nolan", 169),
    ("센과 치히로의 행방불명", "Spirited Away", "애니메이션", "Animation", 2001, "미야자키 하야오", "Hayao Miyazaki", 125),
    ("라라랜드", "La La Land", "뮤지컬", "Musical", 2016, "데이미언 셔젤", "Damien Chazelle", 128),
    ("매트릭스", "The Matrix", "SF", "Science fiction", 1999, "라나 워쇼스키, 릴리 워쇼스키", "Lana Wachowski, Lilly Wachowski", 136),
];

/// The sample's three users first, under the sample's ids.
const PEOPLE: [(&str, &str); 8] = [
    ("홍길동", "hong@example.com"),
    ("이순신", "sunshin@example.com"),
    ("김유신", "yusin@example.com"),
    ("신사임당", "saimdang@example.com"),
    ("장영실", "yeongsil@example.com"),
    ("유관순", "gwansun@example.com"),
    ("정약용", "yakyong@example.com"),
    ("허난설헌", "nanseolheon@example.com"),
];

/// User, screening (index on the programme) and seats of the first bookings.
const BOOKED: [(usize, usize, &[&str]); 4] = [(0, 2, &["F6", "F7"]), (1, 2, &["E5"]), (2, 9, &["D4", "D5", "D6"]), (4, 17, &["G8", "G9"])];

/// A seat that a first booking holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HeldSeat {
    pub(crate) screening: String,
    pub(crate) seat: String,
    pub(crate) booking: String,
}

/// Everything a store needs to open; written in one atomic step, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstData {
    pub(crate) documents: Vec<Document>,
    pub(crate) seats: Vec<HeldSeat>,
}

impl FirstData {
    /// The programme of the week that begins on `day`.
    pub fn starting(day: Date) -> Self {
        let screenings = programme(day);
        let mut documents = Vec::new();
        let mut seats = Vec::new();
        for (index, (name, email)) in PEOPLE.iter().enumerate() {
            let user = User { id: number(index), name: (*name).to_owned(), email: (*email).to_owned() };
            documents.push(Document::new(Table::Users, &user.id, None, &user));
        }
        for (index, film) in FILMS.iter().enumerate() {
            let movie = movie(index, film);
            documents.push(Document::new(Table::Movies, &movie.id, None, &movie));
        }
        for screening in &screenings {
            documents.push(Document::new(Table::Screenings, &screening.id, Some(&screening.movie_id), screening));
        }
        for (index, (user, showing, wanted)) in BOOKED.iter().enumerate() {
            let booking = booking(index, *user, &screenings[*showing], wanted, day);
            seats.extend(booking.seats.iter().map(|seat| HeldSeat {
                screening: booking.screening_id.clone(),
                seat: seat.clone(),
                booking: booking.id.clone(),
            }));
            documents.push(Document::new(Table::Bookings, &booking.id, Some(&booking.user_id), &booking));
        }
        Self { documents, seats }
    }
}

fn number(index: usize) -> String {
    (index + 1).to_string()
}

fn movie(index: usize, film: &Film) -> Movie {
    let (title, title_en, genre, genre_en, year, director, director_en, runtime) = *film;
    Movie {
        id: number(index),
        title: title.to_owned(),
        title_en: Some(title_en.to_owned()),
        genre: Some(genre.to_owned()),
        genre_en: Some(genre_en.to_owned()),
        year: Some(year),
        director: Some(director.to_owned()),
        director_en: Some(director_en.to_owned()),
        runtime: Some(runtime),
    }
}

/// Films take turns through halls and hours, so every film is on every one or two days.
fn programme(first: Date) -> Vec<Screening> {
    let mut screenings = Vec::new();
    for day in first.series(jiff::Span::new().days(1)).take(usize::from(DAYS.unsigned_abs())) {
        for hour in HOURS {
            for hall in 1..=HALLS {
                let index = screenings.len();
                screenings.push(screening(number(index), number(index % FILMS.len()), hall, day, hour));
            }
        }
    }
    screenings
}

fn booking(index: usize, user: usize, screening: &Screening, seats: &[&str], day: Date) -> Booking {
    let film = FILMS.iter().enumerate().find(|(film, _)| number(*film) == screening.movie_id).map(|(_, film)| film);
    Booking {
        id: number(index),
        user_id: number(user),
        user_name: PEOPLE[user].0.to_owned(),
        movie_id: screening.movie_id.clone(),
        movie_title: film.map(|film| film.0.to_owned()).unwrap_or_default(),
        movie_title_en: film.map(|film| film.1.to_owned()),
        screening_id: screening.id.clone(),
        hall: screening.hall.clone(),
        start: screening.start.clone(),
        seats: seats.iter().map(|seat| (*seat).to_owned()).collect(),
        price: screening.price * u32::try_from(seats.len()).unwrap_or(u32::MAX),
        status: BookingStatus::Confirmed,
        created_at: format!("{day}T00:00:00+09:00"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::seating::Seat;

    #[test]
    fn the_programme_fills_a_week_and_every_film_is_shown() {
        let day = jiff::civil::date(2026, 11, 22);
        let screenings = programme(day);
        assert_eq!(screenings.len(), 7 * 5 * 4);
        assert_eq!(screenings[0].start, "2026-11-22T10:00:00+09:00");
        assert_eq!(screenings[139].start, "2026-11-28T22:00:00+09:00");
        let shown: HashSet<&str> = screenings.iter().map(|screening| screening.movie_id.as_str()).collect();
        assert_eq!(shown.len(), FILMS.len());
        assert!(screenings.iter().all(|screening| screening.starts_at().is_some()));
    }

    #[test]
    fn first_bookings_hold_real_seats_once() {
        let first = FirstData::starting(jiff::civil::date(2026, 11, 22));
        let held: HashSet<_> = first.seats.iter().map(|held| (&held.screening, &held.seat)).collect();
        assert_eq!(held.len(), 8);
        assert!(first.seats.iter().all(|held| held.seat.parse::<Seat>().is_ok()));
    }
}
