//! Headers that an app must hand on, or its trace falls apart and its canary ends at the first hop.

use http::{HeaderMap, HeaderName};

/// The id of a request, from the ingress.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The demo's canary.
pub(crate) const X_CANARY: HeaderName = HeaderName::from_static("x-canary");

const COPIED: [HeaderName; 10] = [
    X_REQUEST_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("b3"),
    HeaderName::from_static("x-b3-traceid"),
    HeaderName::from_static("x-b3-spanid"),
    HeaderName::from_static("x-b3-parentspanid"),
    HeaderName::from_static("x-b3-sampled"),
    HeaderName::from_static("x-b3-flags"),
    X_CANARY,
];

/// Copies them from a request that came in to one that goes out.
pub(crate) fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for name in &COPIED {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}

/// Takes out what holds a trace together and leaves the rest: a program that does not know of traces.
pub(crate) fn drop_trace(headers: &mut HeaderMap) {
    for name in COPIED.iter().filter(|name| **name != X_CANARY) {
        headers.remove(name);
    }
}

/// Takes them out, for the lesson that shows what happens then.
pub(crate) fn remove(headers: &mut HeaderMap) {
    for name in &COPIED {
        headers.remove(name);
    }
}
