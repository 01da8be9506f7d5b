//! Any route table (as JSON on the first line) and any request: the decision, its telling and the host lookup agree with each other.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use smov_model::route::{RequestHead, RouteTable, explain_match};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let Some(Ok(table)) = lines.next().map(serde_json::from_str::<RouteTable>) else { return };
    let method = lines.next().unwrap_or("GET");
    let authority = lines.next().unwrap_or("user-service");
    let target = lines.next().unwrap_or("/");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        if let Some((name, value)) = line.split_once(':')
            && let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.append(name, value);
        }
    }
    let head = RequestHead { method, scheme: "http", authority, path, query, headers: &headers };
    let Some(host) = table.host(authority) else { return };
    let found = host.find(&head).map(|(index, _)| index);
    for (index, rule) in host.rules.iter().enumerate() {
        let taken = rule.takes(&head);
        assert_eq!(taken.is_some(), rule.matches.is_empty() || rule.matches.iter().any(|entry| entry.matches(&head)));
        for entry in &rule.matches {
            assert_eq!(entry.matches(&head), explain_match(entry, &head).is_none(), "the telling differs from the decision: {entry:?}");
        }
        if taken.is_some() {
            assert_eq!(found, Some(index), "the first that matches wins");
            return;
        }
    }
    assert_eq!(found, None);
});
