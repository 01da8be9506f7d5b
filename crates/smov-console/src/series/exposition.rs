//! The few counters that the page needs, out of Prometheus' text format 0.0.4. Lines of other metrics are passed over unread.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Key;
use crate::service::ServiceId;

/// One counter's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// Tells label sets apart within one pod.
    pub(super) id: u64,
    pub(super) key: Key,
    pub(super) what: What,
    pub(super) value: f64,
}

/// What a counter counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// Requests with this outcome.
    Request { failed: bool, flags: String },
    /// Requests that took at most so many milliseconds.
    Bucket(f64),
    /// Attempts after the first.
    Retries,
    /// Endpoints taken out of balancing.
    Ejections,
}

/// The samples of one answer.
pub(super) fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_once('{')?;
    let kind = match name {
        "istio_requests_total" => Kind::Requests,
        "istio_request_duration_milliseconds_bucket" => Kind::Bucket,
        "envoy_cluster_upstream_rq_retry" => Kind::Retries,
        "envoy_cluster_outlier_detection_ejections_enforced_total" => Kind::Ejections,
        _ => return None,
    };
    let mut labels = Labels { rest };
    let mut found = Found::default();
    while let Some((label, value)) = labels.next_label() {
        match label {
            "reporter" => found.reporter = value,
            "destination_service_name" => found.service = value,
            "destination_cluster" => found.cluster = value,
            "response_code" => found.code = value,
            "response_flags" => found.flags = value,
            "le" => found.bound = value,
            "cluster_name" => found.cluster_name = value,
            _ => {}
        }
    }
    // A timestamp may follow the value.
    let value: f64 = labels.rest.strip_prefix('}')?.split_whitespace().next()?.parse().ok()?;
    let mut hasher = DefaultHasher::new();
    line[..line.len() - labels.rest.len()].hash(&mut hasher);
    let (key, what) = match kind {
        Kind::Requests | Kind::Bucket => {
            if found.reporter != "source" {
                return None;
            }
            let service = ServiceId::from_host(&found.service)?;
            let cluster = Some(found.cluster).filter(|cluster| !matches!(cluster.as_str(), "" | "unknown"));
            let what = match kind {
                Kind::Requests => What::Request { failed: found.code.starts_with('5') || found.code == "0", flags: found.flags },
                _ => What::Bucket(if found.bound == "+Inf" { f64::INFINITY } else { found.bound.parse().ok()? }),
            };
            ((service, cluster), what)
        }
        Kind::Retries | Kind::Ejections => {
            // `outbound|8081|ctx1|user-service.theater-msa.svc.cluster.local`
            let mut parts = found.cluster_name.split('|');
            let ("outbound", Some(_), Some(subset), Some(host)) = (parts.next()?, parts.next(), parts.next(), parts.next()) else {
                return None;
            };
            let service = ServiceId::from_host(host.split('.').next()?)?;
            let what = if matches!(kind, Kind::Retries) { What::Retries } else { What::Ejections };
            ((service, Some(subset.to_owned()).filter(|subset| !subset.is_empty())), what)
        }
    };
    Some(Sample { id: hasher.finish(), key, what, value })
}

#[derive(Clone, Copy)]
enum Kind {
    Requests,
    Bucket,
    Retries,
    Ejections,
}

#[derive(Default)]
struct Found {
    reporter: String,
    service: String,
    cluster: String,
    code: String,
    flags: String,
    bound: String,
    cluster_name: String,
}

/// `name="value",…}`: values with `\\`, `\"` and `\n`.
struct Labels<'a> {
    rest: &'a str,
}

impl<'a> Labels<'a> {
    fn next_label(&mut self) -> Option<(&'a str, String)> {
        let rest = self.rest.trim_start_matches([',', ' ']);
        if rest.starts_with('}') {
            self.rest = rest;
            return None;
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (mut value, mut escaped) = (String::new(), false);
        for (place, character) in quoted.char_indices() {
            match (escaped, character) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    self.rest = &quoted[place + 1..];
                    return Some((name, value));
                }
                (true, 'n') => {
                    value.push('\n');
                    escaped = false;
                }
                (_, character) => {
                    value.push(character);
                    escaped = false;
                }
            }
        }
        // The line ends in the middle of a value.
        self.rest = "";
        None
    }
}
