//! Conditions of a rule as Envoy's route matches.

use serde_json::{Map, Value, json};
use smov_model::route::{RouteMatch, ValueMatch};
use smov_model::text::StringMatch;

/// One match entry; `None` is the entry of a rule without `match`.
pub(super) fn route_match(entry: Option<&RouteMatch>) -> Map<String, Value> {
    let mut value = Map::new();
    let Some(entry) = entry else {
        value.insert("prefix".into(), json!("/"));
        return value;
    };
    match &entry.uri {
        None => value.insert("prefix".into(), json!("/")),
        Some(StringMatch::Prefix(prefix)) => value.insert("prefix".into(), json!(prefix)),
        Some(StringMatch::Exact(path)) => value.insert("path".into(), json!(path)),
        Some(StringMatch::Regex(pattern)) => value.insert("safe_regex".into(), json!({"regex": pattern.source()})),
    };
    if entry.ignore_uri_case && !matches!(entry.uri, Some(StringMatch::Regex(_))) {
        value.insert("case_sensitive".into(), json!(false));
    }
    let pseudo = [(":scheme", &entry.scheme), (":method", &entry.method), (":authority", &entry.authority)];
    let mut headers: Vec<Value> = pseudo
        .into_iter()
        .filter_map(|(name, wanted)| Some(json!({"name": name, "string_match": string_match(wanted.as_ref()?)})))
        .collect();
    headers.extend(entry.headers.iter().map(|(name, wanted)| match wanted {
        ValueMatch::Present => json!({"name": name, "present_match": true}),
        ValueMatch::Value(wanted) => json!({"name": name, "string_match": string_match(wanted)}),
    }));
    headers.extend(entry.without_headers.iter().map(|(name, unwanted)| match unwanted {
        ValueMatch::Present => json!({"name": name, "present_match": true, "invert_match": true}),
        // A missing header counts as an empty one.
        ValueMatch::Value(unwanted) => {
            json!({"name": name, "string_match": string_match(unwanted), "invert_match": true, "treat_missing_header_as_empty": true})
        }
    }));
    if !headers.is_empty() {
        value.insert("headers".into(), headers.into());
    }
    let query: Vec<Value> = entry
        .query
        .iter()
        .map(|(name, wanted)| match wanted {
            ValueMatch::Present => json!({"name": name, "present_match": true}),
            ValueMatch::Value(wanted) => json!({"name": name, "string_match": string_match(wanted)}),
        })
        .collect();
    if !query.is_empty() {
        value.insert("query_parameters".into(), query.into());
    }
    value
}

pub(super) fn string_match(wanted: &StringMatch) -> Value {
    match wanted {
        StringMatch::Exact(text) => json!({"exact": text}),
        // Envoy refuses an empty prefix; every text has one.
        StringMatch::Prefix(text) if text.is_empty() => json!({"safe_regex": {"regex": ".*"}}),
        StringMatch::Prefix(text) => json!({"prefix": text}),
        StringMatch::Regex(pattern) => json!({"safe_regex": {"regex": pattern.source()}}),
    }
}
