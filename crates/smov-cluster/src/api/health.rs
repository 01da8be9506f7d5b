//! `/healthz`, `/livez`, `/readyz`: whether the server answers, and whether it can keep what it is given.

use axum::{http::StatusCode, response::Response};

use super::{Api, negotiate};
use crate::error::ApiError;

/// The answer to one of them; `verbose` names the checks.
pub(super) fn answer(api: &Api, check: &str, verbose: bool) -> Result<Response, ApiError> {
    let storage = api.registry().storage().with(|database| database.query_row("SELECT 1", [], |_| Ok(())));
    let told = match &storage {
        Ok(()) => "[+]ping ok\n[+]storage ok\n".to_owned(),
        Err(error) => format!("[+]ping ok\n[-]storage failed: {error}\n"),
    };
    match storage {
        Ok(()) if verbose => Ok(negotiate::with_type(StatusCode::OK, "text/plain; charset=utf-8", format!("{told}{check} check passed\n"))),
        Ok(()) => Ok(negotiate::text("ok")),
        Err(_) => {
            let text = format!("{told}{check} check failed\n");
            Ok(negotiate::with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text))
        }
    }
}
