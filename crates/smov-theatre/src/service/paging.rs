//! Lists are JSON arrays, as in the sample, cut into pages by `?limit=&offset=`; the headers say what is left.

use axum::{
    Json,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header, request::Parts};
use serde::Serialize;

use crate::{
    problem::{ApiError, ProblemKind},
    store::{Listing, Table},
};

/// Records on a page when the client does not say.
const DEFAULT_LIMIT: usize = 100;
/// Records on a page at most; a higher limit means this one.
const MAX_LIMIT: usize = 500;

/// Which part of a list, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    path: String,
    limit: usize,
    offset: usize,
    newest_first: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut paging = Self { path: parts.uri.path().to_owned(), limit: DEFAULT_LIMIT, offset: 0, newest_first: false };
        for (name, value) in parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "limit" => {
                    paging.limit =
                        number(name, value).and_then(|limit| if limit == 0 { Err(invalid(name)) } else { Ok(limit.min(MAX_LIMIT)) })?
                }
                "offset" => paging.offset = number(name, value)?,
                "order" => {
                    paging.newest_first = match value {
                        "oldest" => false,
                        "newest" => true,
                        _ => return Err(invalid(name)),
                    }
                }
                _ => {}
            }
        }
        Ok(paging)
    }
}

fn number(name: &str, value: &str) -> Result<usize, ApiError> {
    value.parse().ok().filter(|number| *number <= usize::MAX / 4).ok_or_else(|| invalid(name))
}

fn invalid(name: &str) -> ApiError {
    ApiError::new(
        ProblemKind::InvalidParameter,
        format!("`{name}` is wrong: limit is 1 to {MAX_LIMIT}, offset 0 or more, order `oldest` or `newest`"),
        format!("`{name}` 값이 잘못되었습니다: limit 1~{MAX_LIMIT}, offset 0 이상, order `oldest` 또는 `newest`"),
    )
}

impl Paging {
    pub(super) fn listing(&self, table: Table, owner: Option<String>) -> Listing {
        Listing { table, owner, newest_first: self.newest_first, limit: self.limit, offset: self.offset }
    }

    /// The array, with `X-Total-Count` and `Link` to the pages around.
    pub(super) fn answer<T: Serialize>(&self, records: &[T], total: usize) -> Response {
        let mut response = Json(records).into_response();
        let headers = response.headers_mut();
        headers.insert("x-total-count", total.into());
        let mut links = Vec::new();
        if self.offset + self.limit < total {
            links.push(self.link(self.offset + self.limit, "next"));
        }
        if self.offset > 0 {
            links.push(self.link(self.offset.saturating_sub(self.limit), "prev"));
        }
        if let Ok(links) = HeaderValue::from_str(&links.join(", "))
            && !links.is_empty()
        {
            headers.insert(header::LINK, links);
        }
        response
    }

    fn link(&self, offset: usize, relation: &str) -> String {
        let order = if self.newest_first { "&order=newest" } else { "" };
        format!("<{}?limit={}&offset={offset}{order}>; rel=\"{relation}\"", self.path, self.limit)
    }
}
