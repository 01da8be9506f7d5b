//! Reading collections: the newest state or that of a version, whole or in chunks.
//!
//! A continue token holds the version of the first chunk and where the next one begins; what
//! changed in between is undone from the registry's history, so all chunks are of one moment and
//! nothing is kept for a client that never comes back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{query::Query, route::Target};
use crate::{
    error::ApiError,
    registry::{Object, Registry, Selector},
};

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. \
    You must start a new list without the continue parameter.";

/// What a continue token says, in the form that Kubernetes' has.
#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    rv: u64,
    /// Namespace and name of the last object that was given.
    start: String,
}

impl Token {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = |why: String| ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| wrong(error.to_string()))?;
        let first = bytes.first().map(|byte| char::from(*byte)).unwrap_or_default();
        let token: Self =
            serde_json::from_slice(&bytes).map_err(|_| wrong(format!("invalid character {first:?} looking for beginning of value")))?;
        if token.v != TOKEN_VERSION || token.rv == 0 {
            return Err(wrong(format!("server does not recognize this encoded version {:?}", token.v)));
        }
        Ok(token)
    }
}

/// The objects that are asked for, and the list's metadata.
pub(super) fn read(registry: &Registry, query: &Query, target: &Target, selector: &Selector) -> Result<(Vec<Object>, Value), ApiError> {
    let limit = query.number::<usize>("limit")?.unwrap_or(0);
    let namespace = target.namespace.as_deref();
    let exact = query.exact_version()?;
    let token = query.text("continue").map(Token::parse).transpose()?;
    let (mut objects, version) = match (token, query.version()?) {
        (Some(_), Some(_)) => return Err(ApiError::bad_request("specifying resource version is not allowed when using continue")),
        (Some(token), None) => {
            let expired = |error: ApiError| if error.code == 410 { ApiError::gone(TOO_OLD) } else { error };
            let mut objects = registry.list_at(target.kind, namespace, selector, token.rv).map_err(expired)?;
            objects.retain(|object| place(object) > token.start);
            (objects, token.rv)
        }
        // In chunks a version is always meant exactly, as Kubernetes has it from its beginnings.
        (None, Some(version)) if exact || (limit > 0 && query.text("resourceVersionMatch").is_none()) => {
            (registry.list_at(target.kind, namespace, selector, version)?, version)
        }
        (None, asked) => {
            let (objects, newest) = registry.list(target.kind, namespace, selector);
            if let Some(asked) = asked.filter(|asked| *asked > newest) {
                return Err(ApiError::too_new(asked, newest));
            }
            (objects, newest)
        }
    };
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if limit > 0 && objects.len() > limit {
        let rest = objects.len() - limit;
        objects.truncate(limit);
        let start = objects.last().map(|object| place(object)).unwrap_or_default();
        let token = serde_json::to_vec(&Token { v: TOKEN_VERSION.to_owned(), rv: version, start }).map_err(ApiError::internal)?;
        metadata["continue"] = json!(URL_SAFE_NO_PAD.encode(token));
        // With a selector Kubernetes does not know how many match.
        if *selector == Selector::default() {
            metadata["remainingItemCount"] = json!(rest);
        }
    }
    Ok((objects, metadata))
}

/// Where an object stands in a list; the order of the registry.
fn place(object: &Value) -> String {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    format!("{}\0{}", text("namespace"), text("name"))
}
