//! How a rule treats its requests: retries, faults, CORS, copies, hashing, headers.

use serde_json::{Map, Value, json};
use smov_model::route::{AbortStatus, CorsPolicy, Fault, HashKey, HeaderChange, HeaderOperations, Mirror, Percent, RetryPolicy};

use super::matching::string_match;
use super::{seconds, typed};

/// Retries, with the predicate that keeps them away from hosts already tried.
pub(super) fn retry_policy(retry: &RetryPolicy) -> Value {
    let on = &retry.on;
    let codes = (!on.status_codes.is_empty()).then_some("retriable-status-codes");
    let conditions: Vec<&str> = on.words().chain(codes).collect();
    let mut value = json!({
        "retry_on": conditions.join(","),
        "num_retries": retry.attempts,
        "retry_back_off": {"base_interval": seconds(retry.backoff), "max_interval": seconds(retry.backoff * 10)},
    });
    if !on.status_codes.is_empty() {
        value["retriable_status_codes"] = json!(on.status_codes);
    }
    if let Some(per_try) = retry.per_try_timeout {
        value["per_try_timeout"] = json!(seconds(per_try));
    }
    if retry.ignore_previous_hosts {
        let predicate = typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}));
        value["retry_host_predicate"] = json!([{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": predicate}]);
        value["host_selection_retry_max_attempts"] = json!("5");
    }
    value
}

pub(super) fn fault(fault: &Fault) -> Value {
    let mut value = json!({});
    if let Some((share, delay)) = fault.delay {
        value["delay"] = json!({"percentage": percentage(share), "fixed_delay": seconds(delay)});
    }
    if let Some((share, status)) = fault.abort {
        value["abort"] = match status {
            AbortStatus::Http(status) => json!({"percentage": percentage(share), "http_status": status}),
            AbortStatus::Grpc(status) => json!({"percentage": percentage(share), "grpc_status": status}),
        };
    }
    typed("envoy.extensions.filters.http.fault.v3.HTTPFault", value)
}

fn percentage(share: Percent) -> Value {
    json!({"numerator": share.millionths(), "denominator": "MILLION"})
}

pub(super) fn cors(cors: &CorsPolicy) -> Value {
    let mut value = json!({
        "allow_origin_string_match": cors.allow_origins.iter().map(string_match).collect::<Vec<_>>(),
        "allow_credentials": cors.allow_credentials,
        "filter_enabled": {"default_value": {"numerator": 100}},
        "forward_not_matching_preflights": cors.forward_unmatched_preflights,
    });
    for (field, text) in
        [("allow_methods", &cors.allow_methods), ("allow_headers", &cors.allow_headers), ("expose_headers", &cors.expose_headers)]
    {
        if !text.is_empty() {
            value[field] = json!(text);
        }
    }
    if let Some(seconds) = cors.max_age {
        value["max_age"] = json!(seconds.to_string());
    }
    typed("envoy.extensions.filters.http.cors.v3.CorsPolicy", value)
}

/// Copies, with Host unchanged, as Istio has it.
pub(super) fn mirrors(mirrors: &[Mirror]) -> Vec<Value> {
    let mirror = |mirror: &Mirror| {
        json!({
            "cluster": mirror.cluster.to_string(),
            "runtime_fraction": {"default_value": percentage(mirror.share)},
            "trace_sampled": false,
            "disable_shadow_host_suffix_append": true,
        })
    };
    mirrors.iter().filter(|mirror| mirror.share.millionths() > 0).map(mirror).collect()
}

pub(super) fn hash_policy(key: &HashKey) -> Value {
    match key {
        HashKey::Header(name) => json!({"header": {"header_name": name}}),
        HashKey::Cookie { name, path, ttl } => {
            let mut cookie = json!({"name": name});
            if !path.is_empty() {
                cookie["path"] = json!(path);
            }
            if let Some(ttl) = ttl {
                cookie["ttl"] = json!(seconds(*ttl));
            }
            json!({"cookie": cookie})
        }
        HashKey::SourceIp => json!({"connection_properties": {"source_ip": true}}),
        HashKey::Query(name) => json!({"query_parameter": {"name": name}}),
    }
}

/// Header operations of some levels, put on one object (a route or an arm). Host is not among them: see [`authority`].
pub(super) fn header_operations(value: &mut Map<String, Value>, levels: &[&HeaderOperations]) {
    for (direction, changes) in [
        ("request", levels.iter().map(|level| &level.request).collect::<Vec<_>>()),
        ("response", levels.iter().map(|level| &level.response).collect()),
    ] {
        let add: Vec<Value> = changes.iter().flat_map(|change| additions(change)).collect();
        let remove: Vec<&String> = changes.iter().flat_map(|change| &change.remove).collect();
        if !add.is_empty() {
            value.insert(format!("{direction}_headers_to_add"), add.into());
        }
        if !remove.is_empty() {
            value.insert(format!("{direction}_headers_to_remove"), json!(remove));
        }
    }
}

fn additions(change: &HeaderChange) -> impl Iterator<Item = Value> + '_ {
    let option = |(name, value): &(String, String), action: &str| json!({"header": {"key": name, "value": value}, "append_action": action, "keep_empty_value": true});
    let sets = change.set.iter().filter(|(name, _)| !is_host(name)).map(move |pair| option(pair, "OVERWRITE_IF_EXISTS_OR_ADD"));
    let adds = change.add.iter().filter(|(name, _)| !is_host(name)).map(move |pair| option(pair, "APPEND_IF_EXISTS_OR_ADD"));
    sets.chain(adds)
}

/// A Host that header operations set: Istio makes it a rewrite of the host.
pub(super) fn authority(operations: &HeaderOperations) -> Option<&str> {
    let change = &operations.request;
    change.set.iter().chain(&change.add).rfind(|(name, _)| is_host(name)).map(|(_, value)| value.as_str())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}
