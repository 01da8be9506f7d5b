//! Test vectors: which endpoint Envoy 1.40 gave to which key, seen through its listener.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Three endpoints as Envoy names them, with their shares.
fn endpoints(weights: [u32; 3]) -> Vec<(String, f64)> {
    let total: u32 = weights.iter().sum();
    (1..).zip(weights).map(|(number, weight)| (format!("127.81.0.{number}:9000"), f64::from(weight) / f64::from(total))).collect()
}

fn picks(pick: impl Fn(u64) -> Option<usize>) -> String {
    (0..40).map(|number| (pick(xxh64(format!("user-{number}").as_bytes(), 0)).unwrap() + 1).to_string()).collect()
}

#[test]
fn xxhash_gives_the_published_values() {
    assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
    assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
    assert_eq!(xxh64(b"Nobody inspects the spammish repetition", 0), 0xfbce_a83c_8a37_8bf1);
}

#[test]
fn the_ring_leads_keys_where_envoy_leads_them() {
    let ring = HashRing::new(&endpoints([1, 1, 1]), 1024);
    assert_eq!(picks(|hash| ring.pick(hash)), "2221113111211123131113223232331213221123");
    let weighted = HashRing::new(&endpoints([1, 2, 4]), 1024);
    assert_eq!(picks(|hash| weighted.pick(hash)), "2223233333233123333133223232333313221323");
}

#[test]
fn maglev_leads_keys_where_envoy_leads_them() {
    let table = MaglevTable::new(&endpoints([1, 1, 1]), 65_537);
    assert_eq!(picks(|hash| table.pick(hash)), "1312121212222223113333231323232232232311");
    let weighted = MaglevTable::new(&endpoints([1, 2, 4]), 251);
    assert_eq!(picks(|hash| weighted.pick(hash)), "3312333323333322132322323212231332113333");
}

fn connection() -> (SocketAddr, SocketAddr) {
    ("127.0.0.1:4000".parse().unwrap(), "127.0.0.2:15001".parse().unwrap())
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn header(name: &str) -> HashKey {
    HashKey::Header(name.into())
}

#[test]
fn several_keys_are_combined_and_several_values_sorted() {
    let ring = HashRing::new(&endpoints([1, 1, 1]), 1024);
    let both = |number: usize| {
        let headers = headers(&[("x-k", &format!("user-{number}")), ("x-l", &format!("v{number}"))]);
        request_hash(&[header("x-k"), header("x-l")], &headers, None, connection()).hash.unwrap()
    };
    let seen: String = (0..40).map(|number| (ring.pick(both(number)).unwrap() + 1).to_string()).collect();
    assert_eq!(seen, "3233313311111132211131321111213211131213");
    let twice = |number: usize| {
        let headers = headers(&[("x-k", &format!("user-{number}")), ("x-k", &format!("a{number}"))]);
        request_hash(&[header("x-k")], &headers, None, connection()).hash.unwrap()
    };
    let seen: String = (0..20).map(|number| (ring.pick(twice(number)).unwrap() + 1).to_string()).collect();
    assert_eq!(seen, "12323113112233232221");
}

#[test]
fn each_kind_of_key_hashes_its_own_text() {
    let hash = |key: HashKey, headers: &HeaderMap, query| request_hash(&[key], headers, query, connection()).hash;
    assert_eq!(hash(HashKey::Query("q".into()), &HeaderMap::new(), Some("a=1&q=x%20y&q=z")), Some(xxh64(b"x%20y", 0)));
    assert_eq!(hash(HashKey::SourceIp, &HeaderMap::new(), None), Some(xxh64(b"127.0.0.1", 0)));
    let cookie = || HashKey::Cookie { name: "c".into(), path: String::new(), ttl: None };
    assert_eq!(hash(cookie(), &headers(&[("cookie", "cc=1; c=\"zz\"; c=2")]), None), Some(xxh64(b"zz", 0)));
    assert_eq!(hash(cookie(), &headers(&[("cookie", "cc=1; c=")]), None), None);
    assert_eq!(hash(header("x-k"), &HeaderMap::new(), Some("x-k=1")), None);
    assert_eq!(hash(header(":authority"), &headers(&[("host", "shop:80")]), None), Some(xxh64(b"shop:80", 0)));
}

#[test]
fn a_missing_cookie_with_a_time_to_live_is_issued() {
    let key = |ttl: u64, path: &str| HashKey::Cookie { name: "c".into(), path: path.into(), ttl: Some(Duration::from_secs(ttl)) };
    let value = format!("{:016x}", xxh64(b"127.0.0.1:4000127.0.0.2:15001", 0));
    let issued = request_hash(&[key(60, "/p")], &HeaderMap::new(), None, connection());
    assert_eq!(issued.cookies, [format!("c=\"{value}\"; Max-Age=60; Path=/p; HttpOnly")]);
    assert_eq!(issued.hash, Some(xxh64(value.as_bytes(), 0)));
    // What the client brings back leads to the same endpoint.
    let back = request_hash(&[key(60, "/p")], &headers(&[("cookie", &format!("c={value}"))]), None, connection());
    assert_eq!((back.hash, back.cookies.len()), (issued.hash, 0));
    assert_eq!(request_hash(&[key(0, "")], &HeaderMap::new(), None, connection()).cookies, [format!("c=\"{value}\"; HttpOnly")]);
}

#[test]
fn nothing_is_picked_among_none() {
    assert_eq!((HashRing::new(&[], 1024).pick(1), MaglevTable::new(&[], 251).pick(1)), (None, None));
}

proptest! {
    #[test]
    fn an_endpoint_that_leaves_moves_only_its_own_keys(hashes in prop::collection::vec(any::<u64>(), 50), gone in 0_usize..6) {
        let all: Vec<(String, f64)> = (0..6).map(|number| (format!("127.0.0.{number}:80"), 1.0 / 6.0)).collect();
        let left: Vec<(String, f64)> =
            all.iter().enumerate().filter(|(place, _)| *place != gone).map(|(_, (name, _))| (name.clone(), 0.2)).collect();
        let (before, after) = (HashRing::new(&all, 6 * 200), HashRing::new(&left, 5 * 200));
        for hash in hashes {
            let (before, after) = (&all[before.pick(hash).unwrap()].0, &left[after.pick(hash).unwrap()].0);
            prop_assert!(before == after || *before == all[gone].0);
        }
    }

    #[test]
    fn maglev_fills_every_place_by_share(weights in prop::collection::vec(1_u32..5, 1..5)) {
        let total: u32 = weights.iter().sum();
        let endpoints: Vec<(String, f64)> =
            weights.iter().enumerate().map(|(place, weight)| (format!("e{place}:1"), f64::from(*weight) / f64::from(total))).collect();
        let table = MaglevTable::new(&endpoints, 1009);
        let mut counts = vec![0_u32; weights.len()];
        (0..1009).for_each(|hash| counts[table.pick(hash).unwrap()] += 1);
        for (count, weight) in counts.iter().zip(&weights) {
            let fair = 1009.0 * f64::from(*weight) / f64::from(total);
            prop_assert!((f64::from(*count) - fair).abs() <= 5.0, "{counts:?} for {weights:?}");
        }
    }
}
