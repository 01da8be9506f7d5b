//! user-service: `/users/`.

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
    with_slash,
};
use crate::{
    domain::User,
    openapi::Problems,
    problem::ApiError,
    store::{Document, ID_HERE, Table, Write, Written},
};

/// What a client may say of a new user.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "세종", "email": "sejong@example.com"}))]
pub struct NewUser {
    /// A free id of one's own; a number is given otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// 1 to 100 characters.
    pub name: String,
    /// 3 to 254 characters with an `@`.
    pub email: String,
}

/// A user as this version of the service shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShownUser {
    /// The record.
    #[serde(flatten)]
    pub user: User,
    /// From version v2 on: the name as one is addressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "홍길동 님")]
    pub display_name: Option<String>,
    /// From version v2 on: a greeting in Korean and English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "안녕하세요, 홍길동 님! · Hello, 홍길동!")]
    pub greeting: Option<String>,
}

/// `v1` shows the record; any later version shows the two fields that tell a canary at a glance.
fn shown(desk: &Desk, user: User) -> ShownUser {
    let greets = desk.identity.version != "v1";
    ShownUser {
        display_name: greets.then(|| format!("{} 님", user.name)),
        greeting: greets.then(|| format!("안녕하세요, {0} 님! · Hello, {0}!", user.name)),
        user,
    }
}

pub(super) fn routes(desk: Arc<Desk>) -> Router {
    let router = with_slash(Router::new(), "/users", get(list).post(create));
    with_slash(router, "/users/{id}", get(find)).with_state(desk)
}

/// Users, oldest first.
#[utoipa::path(get, path = "/users/", tag = "user-service", params(crate::openapi::PageParameters),
    responses((status = 200, description = "One page of users · 사용자 목록", body = [ShownUser], headers(("X-Total-Count" = u64), ("Link" = String))), Problems))]
pub(crate) async fn list(State(desk): State<Arc<Desk>>, paging: Paging) -> Result<Response, ApiError> {
    let page = desk.stored("list", desk.store.list(paging.listing(Table::Users, None))).await?;
    let users: Vec<ShownUser> = desk.all_parsed(&page).into_iter().map(|user| shown(&desk, user)).collect();
    Ok(paging.answer(&users, page.total))
}

/// One user.
#[utoipa::path(get, path = "/users/{id}", tag = "user-service", params(("id" = String, Path, example = "1")),
    responses((status = 200, description = "The user · 사용자", body = ShownUser), Problems))]
pub(crate) async fn find(State(desk): State<Arc<Desk>>, RecordId(id): RecordId) -> Result<Json<ShownUser>, ApiError> {
    let found = desk.stored("find", desk.store.find(Table::Users, &id)).await?;
    let document = found.ok_or_else(|| ApiError::not_found("user", "사용자", &id))?;
    Ok(Json(shown(&desk, desk.parsed(&document)?)))
}

/// A new user.
#[utoipa::path(post, path = "/users/", tag = "user-service", request_body = NewUser, params(crate::openapi::IdempotencyParameter),
    responses((status = 201, description = "Created · 생성됨", body = ShownUser, headers(("Location" = String))), Problems))]
pub(crate) async fn create(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: JsonObject) -> Result<Response, ApiError> {
    let new = new_user(&body)?;
    let id = new.id.clone().unwrap_or_else(|| ID_HERE.to_string());
    let user = User { id: id.clone(), name: new.name.clone(), email: new.email.clone() };
    let write = Write {
        idempotency: idempotency(&headers, "users", &new)?,
        seats: None,
        chosen_id: new.id,
        documents: vec![Document::new(Table::Users, &id, None, &user)],
    };
    let (document, replayed) = match desk.stored("write", desk.store.write(write)).await? {
        Written::Stored(document) => (document, false),
        Written::Replayed(document) => (document, true),
        Written::KeyReused => return Err(key_reused()),
        Written::Exists | Written::SeatsTaken(_) => return Err(already_exists(&id)),
    };
    let counter = if replayed { &desk.metrics.replays } else { &desk.metrics.created };
    counter.fetch_add(1, Relaxed);
    let user: User = desk.parsed(&document)?;
    let location = format!("/users/{}", user.id);
    let record = serde_json::to_vec(&shown(&desk, user)).expect("a user is a plain struct");
    Ok(created(&location, record, replayed))
}

fn new_user(body: &JsonObject) -> Result<NewUser, ApiError> {
    let mut fields = body.fields();
    let id = fields.id(&["id"]);
    let name = fields.required_text(&["name"], 100);
    let email = fields.required_text(&["email"], 254);
    let well_formed = email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if !email.is_empty() && (!well_formed || email.contains(char::is_whitespace)) {
        fields.wrong("email", "must look like `name@host`", "`이름@호스트` 형식이어야 합니다");
    }
    fields.finish()?;
    Ok(NewUser { id, name, email })
}
