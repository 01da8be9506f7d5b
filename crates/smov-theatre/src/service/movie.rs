//! movie-service: `/movies/`, the programme, trailers.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use axum::{Json, Router, extract::State, response::Response, routing::get};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Desk,
    body::{JsonObject, RecordId, already_exists, idempotency, key_reused},
    created,
    paging::Paging,
    stream::{self, Pace},
    with_slash,
};
use crate::{
    domain::{Movie, Screening, screening, theatre_day},
    openapi::Problems,
    problem::ApiError,
    store::{Document, ID_HERE, Table, Write, Written},
};

/// Where and when a movie that somebody adds is shown: once a day for a week.
const NEW_MOVIE_HALL: u8 = 5;
const NEW_MOVIE_HOUR: i8 = 19;
const NEW_MOVIE_DAYS: usize = 7;

/// What a client may say of a new movie.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"title": "왕의 남자", "title_en": "The King and the Clown", "genre": "사극", "year": 2005, "director": "이준익", "runtime": 119}))]
pub struct NewMovie {
    /// A free id of one's own; a number is given otherwise.
    pub id: Option<String>,
    /// 1 to 200 characters.
    pub title: String,
    /// At most 200 characters.
    pub title_en: Option<String>,
    /// At most 50 characters.
    pub genre: Option<String>,
    /// At most 50 characters.
    pub genre_en: Option<String>,
    /// 1888 to 2100.
    pub year: Option<u16>,
    /// At most 100 characters.
    pub director: Option<String>,
    /// At most 100 characters.
    pub director_en: Option<String>,
    /// Minutes, 1 to 1000.
    pub runtime: Option<u16>,
}

/// A showing with its movie.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShownScreening {
    /// The showing.
    #[serde(flatten)]
    pub screening: Screening,
    /// What is shown.
    pub movie: Movie,
}

pub(super) fn routes(desk: Arc<Desk>) -> Router {
    let router = with_slash(Router::new(), "/movies", get(list).post(create));
    let router = with_slash(router, "/movies/{id}", get(find));
    let router = with_slash(router, "/movies/{id}/screenings", get(screenings));
    let router = with_slash(router, "/movies/{id}/trailer", get(trailer));
    with_slash(router, "/screenings/{id}", get(find_screening)).with_state(desk)
}

/// Movies, oldest record first.
#[utoipa::path(get, path = "/movies/", tag = "movie-service", params(crate::openapi::PageParameters),
    responses((status = 200, description = "One page of movies · 영화 목록", body = [Movie], headers(("X-Total-Count" = u64), ("Link" = String))), Problems))]
pub(crate) async fn list(State(desk): State<Arc<Desk>>, paging: Paging) -> Result<Response, ApiError> {
    let page = desk.stored("list", desk.store.list(paging.listing(Table::Movies, None))).await?;
    Ok(paging.answer(&desk.all_parsed::<Movie>(&page), page.total))
}

async fn movie(desk: &Desk, id: &str) -> Result<Movie, ApiError> {
    let found = desk.stored("find", desk.store.find(Table::Movies, id)).await?;
    desk.parsed(&found.ok_or_else(|| ApiError::not_found("movie", "영화", id))?)
}

/// One movie.
#[utoipa::path(get, path = "/movies/{id}", tag = "movie-service", params(("id" = String, Path, example = "3")),
    responses((status = 200, description = "The movie · 영화", body = Movie), Problems))]
pub(crate) async fn find(State(desk): State<Arc<Desk>>, RecordId(id): RecordId) -> Result<Json<Movie>, ApiError> {
    movie(&desk, &id).await.map(Json)
}

/// When and where a movie is shown, earliest first.
#[utoipa::path(get, path = "/movies/{id}/screenings", tag = "movie-service", params(("id" = String, Path, example = "3"), crate::openapi::PageParameters),
    responses((status = 200, description = "Its screenings · 상영 시간표", body = [Screening], headers(("X-Total-Count" = u64), ("Link" = String))), Problems))]
pub(crate) async fn screenings(State(desk): State<Arc<Desk>>, RecordId(id): RecordId, paging: Paging) -> Result<Response, ApiError> {
    movie(&desk, &id).await?;
    let page = desk.stored("list", desk.store.list(paging.listing(Table::Screenings, Some(id)))).await?;
    Ok(paging.answer(&desk.all_parsed::<Screening>(&page), page.total))
}

/// One showing and its movie.
#[utoipa::path(get, path = "/screenings/{id}", tag = "movie-service", params(("id" = String, Path, example = "21")),
    responses((status = 200, description = "The screening · 상영", body = ShownScreening), Problems))]
pub(crate) async fn find_screening(State(desk): State<Arc<Desk>>, RecordId(id): RecordId) -> Result<Json<ShownScreening>, ApiError> {
    let found = desk.stored("find", desk.store.find(Table::Screenings, &id)).await?;
    let screening: Screening = desk.parsed(&found.ok_or_else(|| ApiError::not_found("screening", "상영", &id))?)?;
    let movie = movie(&desk, &screening.movie_id).await?;
    Ok(Json(ShownScreening { screening, movie }))
}

/// A slow answer, line by line: something to have in flight while a rule changes.
#[utoipa::path(get, path = "/movies/{id}/trailer", tag = "movie-service", params(("id" = String, Path, example = "3"), Pace),
    responses((status = 200, description = "Lines, slowly · 예고편 스트림", body = String, content_type = "text/plain"), Problems))]
pub(crate) async fn trailer(State(desk): State<Arc<Desk>>, RecordId(id): RecordId, pace: Pace) -> Result<Response, ApiError> {
    let movie = movie(&desk, &id).await?;
    Ok(stream::lines(&desk, pace, &movie.title))
}

/// A new movie, shown once a day for the coming week.
#[utoipa::path(post, path = "/movies/", tag = "movie-service", request_body = NewMovie, params(crate::openapi::IdempotencyParameter),
    responses((status = 201, description = "Created · 생성됨", body = Movie, headers(("Location" = String))), Problems))]
pub(crate) async fn create(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: JsonObject) -> Result<Response, ApiError> {
    let new = new_movie(&body)?;
    let idempotency = idempotency(&headers, "movies", &new)?;
    let chosen_id = new.id.clone();
    let id = chosen_id.clone().unwrap_or_else(|| ID_HERE.to_string());
    let mut documents = vec![Document::new(Table::Movies, &id, None, &new.into_movie(id.clone()))];
    let today = theatre_day((desk.clock)());
    for (index, day) in today.series(jiff::Span::new().days(1)).take(NEW_MOVIE_DAYS).enumerate() {
        let screening = screening(format!("{id}-{}", index + 1), id.clone(), NEW_MOVIE_HALL, day, NEW_MOVIE_HOUR);
        documents.push(Document::new(Table::Screenings, &screening.id, Some(&id), &screening));
    }
    let write = Write { idempotency, seats: None, chosen_id, documents };
    let (document, replayed) = match desk.stored("write", desk.store.write(write)).await? {
        Written::Stored(document) => (document, false),
        Written::Replayed(document) => (document, true),
        Written::KeyReused => return Err(key_reused()),
        Written::Exists | Written::SeatsTaken(_) => return Err(already_exists(&id)),
    };
    let counter = if replayed { &desk.metrics.replays } else { &desk.metrics.created };
    counter.fetch_add(1, Relaxed);
    let movie: Movie = desk.parsed(&document)?;
    Ok(created(&format!("/movies/{}", movie.id), document.into_bytes(), replayed))
}

fn new_movie(body: &JsonObject) -> Result<NewMovie, ApiError> {
    let mut fields = body.fields();
    let new = NewMovie {
        id: fields.id(&["id"]),
        title: fields.required_text(&["title"], 200),
        title_en: fields.text(&["title_en", "titleEn"], 200),
        genre: fields.text(&["genre"], 50),
        genre_en: fields.text(&["genre_en", "genreEn"], 50),
        year: fields.number(&["year", "releaseYear"], 1888..=2100),
        director: fields.text(&["director"], 100),
        director_en: fields.text(&["director_en", "directorEn"], 100),
        runtime: fields.number(&["runtime"], 1..=1000),
    };
    fields.finish()?;
    Ok(new)
}

impl NewMovie {
    fn into_movie(self, id: String) -> Movie {
        Movie {
            id,
            title: self.title,
            title_en: self.title_en,
            genre: self.genre,
            genre_en: self.genre_en,
            year: self.year,
            director: self.director,
            director_en: self.director_en,
            runtime: self.runtime,
        }
    }
}
