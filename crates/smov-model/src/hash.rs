//! Consistent hashing as Envoy does it: the hash of a request's keys, the ring and the Maglev table over endpoints.
//!
//! All is xxHash64, so that a key leads to the same endpoint here and in Envoy
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#ring-hash>).

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::COOKIE;

use crate::route::{HashKey, query_value};

/// xxHash64 of these bytes.
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, seed)
}

/// What the keys of a route say about one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHash {
    /// The keys together; `None` when the request has none of them: then any endpoint will do.
    pub hash: Option<u64>,
    /// Values of `Set-Cookie` that the answer gets: cookies with a time to live that the request did not bring.
    pub cookies: Vec<String>,
}

/// Hashes a request's keys. `headers` and `query` are those that the upstream will see; `downstream` is the client's connection, its own
/// address and the one that it dialled.
pub fn request_hash(keys: &[HashKey], headers: &HeaderMap, query: Option<&str>, downstream: (SocketAddr, SocketAddr)) -> RequestHash {
    let mut found = RequestHash::default();
    for key in keys {
        let one = match key {
            HashKey::Header(name) => header_hash(headers, name),
            HashKey::Query(name) => query_value(query, name).map(|value| xxh64(value.as_bytes(), 0)),
            HashKey::SourceIp => Some(xxh64(downstream.0.ip().to_string().as_bytes(), 0)),
            HashKey::Cookie { name, path, ttl } => match (cookie(headers, name), ttl) {
                (Some(value), _) => Some(xxh64(value, 0)),
                (None, None) => None,
                (None, Some(ttl)) => {
                    // One value per connection, so that requests that race over it get the same.
                    let value = format!("{:016x}", xxh64(format!("{}{}", downstream.0, downstream.1).as_bytes(), 0));
                    let age = if ttl.as_secs() > 0 { format!("; Max-Age={}", ttl.as_secs()) } else { String::new() };
                    let path = if path.is_empty() { String::new() } else { format!("; Path={path}") };
                    found.cookies.push(format!("{name}=\"{value}\"{age}{path}; HttpOnly"));
                    Some(xxh64(value.as_bytes(), 0))
                }
            },
        };
        // Rotated, so that equal keys do not cancel each other out.
        found.hash = match (found.hash, one) {
            (Some(before), Some(one)) => Some(before.rotate_left(1) ^ one),
            (before, one) => one.or(before),
        };
    }
    found
}

/// Several values of one header are sorted and hashed in a chain.
fn header_hash(headers: &HeaderMap, name: &str) -> Option<u64> {
    // HTTP/2's name of Host.
    let name = if name == ":authority" { http::header::HOST.as_str() } else { name };
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(xxh64(first.as_bytes(), 0)) };
    let mut all: Vec<&[u8]> = [first, second].into_iter().chain(values).map(http::HeaderValue::as_bytes).collect();
    all.sort_unstable();
    Some(all.iter().fold(0, |seed, value| xxh64(value, seed)))
}

/// The value of a cookie, without the quotes that it may have; empty counts as absent.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let value = pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    (!value.is_empty()).then_some(value)
}

/// Envoy's largest ring.
const LARGEST_RING: f64 = 8_388_608.0;

/// A ring of points, several per endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashRing {
    /// Hash and endpoint, by hash.
    points: Vec<(u64, u32)>,
}

impl HashRing {
    /// A ring of at least `minimum_size` points over these endpoints, each with its name (`127.0.0.1:8081`) and its share of all weight;
    /// the shares sum to 1.
    pub fn new(endpoints: &[(String, f64)], minimum_size: u64) -> Self {
        let least = endpoints.iter().map(|(_, share)| *share).fold(1.0, f64::min);
        if endpoints.is_empty() || least <= 0.0 {
            return Self { points: Vec::new() };
        }
        // The lightest endpoint gets a whole number of points.
        let scale = ((least * minimum_size as f64).ceil() / least).min(LARGEST_RING);
        let mut points = Vec::with_capacity(scale.ceil() as usize);
        let (mut current, mut target) = (0.0, 0.0);
        let mut key = String::new();
        for (place, (name, share)) in (0..).zip(endpoints) {
            target += scale * share;
            let mut number = 0_u64;
            while current < target {
                key.clear();
                key.push_str(name);
                key.push('_');
                key.push_str(&number.to_string());
                points.push((xxh64(key.as_bytes(), 0), place));
                number += 1;
                current += 1.0;
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        Self { points }
    }

    /// The endpoint of the first point at or after this hash.
    pub fn pick(&self, hash: u64) -> Option<usize> {
        let place = self.points.partition_point(|(point, _)| *point < hash);
        self.points.get(place).or_else(|| self.points.first()).map(|(_, endpoint)| *endpoint as usize)
    }
}

/// Maglev's table: every endpoint fills its share of the places, in an order of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaglevTable {
    places: Vec<u32>,
}

impl MaglevTable {
    /// A table of `size` places, a prime, over these endpoints (name and share, as for [`HashRing::new`]).
    pub fn new(endpoints: &[(String, f64)], size: u64) -> Self {
        const FREE: u32 = u32::MAX;
        let heaviest = endpoints.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        if heaviest <= 0.0 || size < 2 {
            return Self { places: Vec::new() };
        }
        struct Entry {
            next: u64,
            skip: u64,
            share: f64,
            target: f64,
        }
        let mut entries: Vec<Entry> = endpoints
            .iter()
            .map(|(name, share)| Entry {
                next: xxh64(name.as_bytes(), 0) % size,
                skip: xxh64(name.as_bytes(), 1) % (size - 1) + 1,
                share: *share,
                target: 0.0,
            })
            .collect();
        let mut places = vec![FREE; size as usize];
        let mut filled = 0;
        for round in 1_u64.. {
            for (number, entry) in (0..).zip(&mut entries) {
                // The heaviest has a turn in every round, one with a third of its weight in every third.
                if filled == size || (round as f64) * entry.share < entry.target {
                    continue;
                }
                entry.target += heaviest;
                while places[entry.next as usize] != FREE {
                    entry.next = (entry.next + entry.skip) % size;
                }
                places[entry.next as usize] = number;
                entry.next = (entry.next + entry.skip) % size;
                filled += 1;
            }
            if filled == size {
                break;
            }
        }
        Self { places }
    }

    /// The endpoint of this hash.
    pub fn pick(&self, hash: u64) -> Option<usize> {
        let size = self.places.len() as u64;
        (size > 0).then(|| self.places[(hash % size) as usize] as usize)
    }
}

#[cfg(test)]
mod tests;
