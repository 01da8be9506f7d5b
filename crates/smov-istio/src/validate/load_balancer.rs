//! The webhook on `loadBalancer:`.

use serde_json::Value;

use super::Findings;
use super::values::{check_duration, check_duration_form};
use crate::resource::{ConsistentHash, LoadBalancerSettings, LocalityLbSetting};

pub(super) fn check(balancer: &LoadBalancerSettings, has_outlier: bool, path: &str, findings: &mut Findings) {
    if balancer.simple.as_deref() == Some("LEAST_CONN") {
        let message = "LEAST_CONN is deprecated, use LEAST_REQUEST instead";
        findings.warning("deprecated", &format!("{path}.simple"), message, "LEAST_CONN은 폐기되었습니다. LEAST_REQUEST를 쓰세요");
    }
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        let message = "load balancer must have only one of simple and consistentHash";
        findings.error("two-settings", path, message, "simple과 consistentHash는 함께 쓸 수 없습니다");
    }
    if let Some(hash) = &balancer.consistent_hash {
        check_hash(hash, &format!("{path}.consistentHash"), findings);
    }
    if balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some() {
        let message = "only one of localityLbSetting and zoneAwareLbSetting can be set";
        findings.error("two-settings", path, message, "localityLbSetting과 zoneAwareLbSetting은 함께 쓸 수 없습니다");
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        check_locality(locality, has_outlier, &format!("{path}.localityLbSetting"), findings);
    }
    if let Some(warmup) = &balancer.warmup {
        check_warmup(warmup, &format!("{path}.warmup"), findings);
    }
}

fn check_hash(hash: &ConsistentHash, path: &str, findings: &mut Findings) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip.is_some(),
        hash.http_query_parameter_name.is_some(),
    ];
    if keys.into_iter().filter(|set| *set).count() > 1 || hash.ring_hash.is_some() && hash.maglev.is_some() {
        let message = "consistentHash must have only one key and only one of ringHash and maglev";
        findings.error("two-settings", path, message, "해시 키와 알고리즘(ringHash, maglev)은 각각 하나만 쓸 수 있습니다");
    }
    if let Some(cookie) = &hash.http_cookie {
        if cookie.name.as_deref().is_none_or(str::is_empty) {
            findings.error("invalid-hash", &format!("{path}.httpCookie.name"), "name required for HttpCookie", "쿠키 이름이 있어야 합니다");
        }
        check_duration_form(cookie.ttl.as_deref(), &format!("{path}.httpCookie.ttl"), findings);
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let at = format!("{path}.httpCookie.attributes[{index}]");
            if attribute.name.is_empty() {
                findings.error("invalid-hash", &at, "cookie attribute name cannot be empty", "쿠키 속성 이름이 비어 있습니다");
            } else if cookie.attributes[..index].iter().any(|earlier| earlier.name == attribute.name) {
                let message = format!("duplicate cookie attribute name: {}", attribute.name);
                findings.error("invalid-hash", &at, message, format!("쿠키 속성 `{}`이(가) 두 번 있습니다", attribute.name));
            }
        }
    }
    if hash.minimum_ring_size.is_some_and(|size| size != 0) {
        let at = format!("{path}.minimumRingSize");
        let message = "consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead";
        findings.warning("deprecated", &at, message, "minimumRingSize는 폐기되었습니다. ringHash를 쓰세요");
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            let message = "only one of MinimumRingSize or Maglev/Ringhash can be specified";
            findings.error("invalid-hash", &at, message, "minimumRingSize와 ringHash/maglev는 함께 쓸 수 없습니다");
        }
    }
    if let Some(maglev) = &hash.maglev {
        let at = format!("{path}.maglev.tableSize");
        match maglev.table_size.unwrap_or_default() {
            0 => findings.error("invalid-hash", &at, "tableSize must be set for maglev", "tableSize가 있어야 합니다"),
            size if size >= 5_000_011 => {
                let korean = format!("{size}은(는) 5000011보다 작아야 합니다");
                findings.error("invalid-hash", &at, "tableSize must be less than 5000011 for maglev", korean);
            }
            size if !is_prime(size) => {
                let korean = format!("{size}은(는) 소수여야 합니다");
                findings.error("invalid-hash", &at, "tableSize must be a prime number for maglev", korean);
            }
            _ => {}
        }
    }
}

/// As Envoy has it: 1 counts.
fn is_prime(number: u64) -> bool {
    number > 0 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn check_locality(locality: &LocalityLbSetting, has_outlier: bool, path: &str, findings: &mut Findings) {
    if !locality.distribute.is_empty() && !locality.failover.is_empty() {
        let message = "can not simultaneously specify 'distribute' and 'failover'";
        return findings.error("two-settings", path, message, "distribute와 failover는 함께 쓸 수 없습니다");
    }
    let topology = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
    if let Some(label) = locality.failover_priority.iter().find(|label| topology.contains(&label.as_str()))
        && !locality.failover.is_empty()
    {
        let message = format!("can not simultaneously set 'failover' and topology label '{label}' in 'failover_priority'");
        return findings.error("two-settings", path, message, format!("failover와 failoverPriority의 `{label}`은(는) 함께 쓸 수 없습니다"));
    }
    for (index, entry) in locality.distribute.iter().enumerate() {
        let at = format!("{path}.distribute[{index}].to");
        if entry.to.values().any(|weight| !(1..=100).contains(weight)) {
            findings.error("invalid-weight", &at, "locality weight must be in range [1, 100]", "지역 가중치는 1~100이어야 합니다");
            return;
        }
        let total: u64 = entry.to.values().map(|weight| u64::from(*weight)).sum();
        if total != 100 {
            let korean = format!("지역 가중치의 합이 {total}입니다. 100이어야 합니다");
            findings.error("invalid-weight", &at, format!("total locality weight {total} != 100"), korean);
            return;
        }
        // A map has no order: wide places are what is left after narrow ones.
        let mut places: Vec<&str> = entry.to.keys().map(String::as_str).collect();
        places.sort_by_key(|place| place.ends_with('*'));
        check_places(places.into_iter(), &at, findings);
    }
    check_places(locality.distribute.iter().map(|entry| entry.from.as_str()), &format!("{path}.distribute"), findings);
    if (!locality.failover.is_empty() || !locality.failover_priority.is_empty()) && !has_outlier {
        let message = "outlier detection policy must be provided for failover";
        findings.warning("failover-without-outlier", path, message, "failover는 outlierDetection이 있어야 동작합니다");
    }
    for (index, entry) in locality.failover.iter().enumerate() {
        let at = format!("{path}.failover[{index}]");
        let either = |character: char| entry.from.contains(character) || entry.to.contains(character);
        if entry.from == entry.to {
            let message = "locality lb failover settings must specify different regions";
            findings.error("invalid-locality", &at, message, "from과 to가 같습니다");
        }
        if either('/') {
            findings.error("invalid-locality", &at, "locality lb failover only specify region", "리전 이름만 쓸 수 있습니다");
        }
        if either('*') {
            let message = "locality lb failover region should not contain '*' wildcard";
            findings.error("invalid-locality", &at, message, "와일드카드를 쓸 수 없습니다");
        }
    }
}

/// Places must be whole, `*` only at the end, and none may mean what another means.
fn check_places<'a>(places: impl Iterator<Item = &'a str>, path: &str, findings: &mut Findings) {
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for place in places {
        let stars = place.matches('*').count();
        let parts: Vec<&str> = place.splitn(3, '/').collect();
        let wide = |parts: &[&'a str]| parts.iter().copied().take_while(|part| *part != "*").collect::<Vec<_>>();
        let own = wide(&parts);
        if stars > 1 || stars == 1 && !place.ends_with('*') {
            let message = format!("locality {place} wildcard '*' number can not exceed 1 and must be in the end");
            return findings.error("invalid-locality", path, message, format!("`{place}`: `*`은(는) 맨 끝에 하나만 쓸 수 있습니다"));
        }
        if parts.iter().any(|part| part.is_empty()) {
            let message = format!("locality {place} must not contain empty region/zone/subzone info");
            return findings.error("invalid-locality", path, message, format!("`{place}`에 빈 부분이 있습니다"));
        }
        if seen.iter().any(|known| own.starts_with(known) || stars == 0 && known.starts_with(&own)) {
            let message = format!("locality {place} overlap with previous specified ones");
            return findings.error("invalid-locality", path, message, format!("`{place}`이(가) 앞의 지역과 겹칩니다"));
        }
        seen.push(own);
    }
}

fn check_warmup(warmup: &Value, path: &str, findings: &mut Findings) {
    match warmup.get("duration").and_then(Value::as_str) {
        None => findings.error("invalid-warmup", &format!("{path}.duration"), "duration is required", "duration이 있어야 합니다"),
        Some(text) => check_duration(Some(text), &format!("{path}.duration"), findings),
    }
    let number = |name: &str| warmup.get(name).and_then(Value::as_f64);
    if number("minimumPercent").is_some_and(|percent| percent > 100.0) {
        let message = "minimumPercent value should be less than or equal to 100";
        findings.error("invalid-warmup", &format!("{path}.minimumPercent"), message, "minimumPercent는 100 이하여야 합니다");
    }
    if number("aggression").is_some_and(|aggression| aggression <= 0.0) {
        let message = "aggression should be greater than 0";
        findings.error("invalid-warmup", &format!("{path}.aggression"), message, "aggression은 0보다 커야 합니다");
    }
}
