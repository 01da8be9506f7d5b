//! What of a trace travels in headers: W3C's `traceparent` (<https://www.w3.org/TR/trace-context/>) and Zipkin's B3
//! (<https://github.com/openzipkin/b3-propagation>), in many headers or in one.
//!
//! Whoever comes first decides whether a trace is kept; everybody after keeps to that. A request that is not traced carries at most
//! `x-b3-sampled: 0`, a value that costs nothing to write.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// W3C's header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Vendors' part of W3C's; passed on as it is.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// B3 in one header.
pub const B3: HeaderName = HeaderName::from_static("b3");
/// B3: the trace.
pub const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
/// B3: the caller's span.
pub const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
/// B3: the caller's parent.
pub const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
/// B3: the decision.
pub const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
/// B3: `1` = debug, which is sampled.
pub const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// All of them, as an app has to copy them.
pub const ALL: [HeaderName; 8] = [TRACEPARENT, TRACESTATE, B3, B3_TRACE, B3_SPAN, B3_PARENT, B3_SAMPLED, B3_FLAGS];

/// 128 bits, never all zero; written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId(u128);

/// 64 bits, never all zero; written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpanId(u64);

/// Text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no trace or span id")]
pub struct InvalidId(String);

impl TraceId {
    /// From random bits; zero, which means none, becomes one.
    pub fn new(bits: u128) -> Self {
        Self(bits.max(1))
    }
}

impl SpanId {
    /// From random bits; zero, which means none, becomes one.
    pub fn new(bits: u64) -> Self {
        Self(bits.max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hexadecimal(text: &str) -> Option<u128> {
    let fits = matches!(text.len(), 16 | 32) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten().filter(|bits| *bits != 0)
}

impl FromStr for TraceId {
    type Err = InvalidId;
    /// 32 digits, or Zipkin's old 16.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hexadecimal(text).map(Self).ok_or_else(|| InvalidId(text.to_owned()))
    }
}

impl FromStr for SpanId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bits = hexadecimal(text).filter(|_| text.len() == 16);
        bits.and_then(|bits| u64::try_from(bits).ok()).map(Self).ok_or_else(|| InvalidId(text.to_owned()))
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl TryFrom<String> for SpanId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

impl From<SpanId> for String {
    fn from(id: SpanId) -> Self {
        id.to_string()
    }
}

/// A span on its way: who it is and where it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace: TraceId,
    /// This span.
    pub span: SpanId,
    /// The one that it is part of; `None` = it is the first.
    pub parent: Option<SpanId>,
}

/// What a request says about tracing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// Nothing, or ids without a decision: whoever reads this decides. The ids, if there are some, stay.
    Undecided(Option<(TraceId, SpanId)>),
    /// It is not kept.
    NotSampled,
    /// It is kept; without ids where only the decision came.
    Sampled(Option<(TraceId, SpanId)>),
}

/// Reads a request's headers: `traceparent` first, then B3 in one header, then in many. What cannot be read counts as absent.
pub fn read(headers: &HeaderMap) -> Incoming {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(found) = text(&TRACEPARENT).and_then(traceparent) {
        return found;
    }
    if let Some(found) = text(&B3).and_then(b3) {
        return found;
    }
    let ids = text(&B3_TRACE).zip(text(&B3_SPAN)).and_then(|(trace, span)| Some((trace.parse().ok()?, span.parse().ok()?)));
    if text(&B3_FLAGS) == Some("1") {
        return Incoming::Sampled(ids);
    }
    match text(&B3_SAMPLED) {
        Some("1" | "true") => Incoming::Sampled(ids),
        Some("0" | "false") => Incoming::NotSampled,
        _ => Incoming::Undecided(ids),
    }
}

/// `00-<trace>-<span>-<flags>`; a later version may have more behind.
fn traceparent(text: &str) -> Option<Incoming> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let known =
        version.len() == 2 && version != "ff" && u8::from_str_radix(version, 16).is_ok() && (version != "00" || parts.next().is_none());
    if !known || trace.len() != 32 || flags.len() != 2 || !lower(trace) || !lower(span) {
        return None;
    }
    let ids = (trace.parse().ok()?, span.parse().ok()?);
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(if sampled { Incoming::Sampled(Some(ids)) } else { Incoming::NotSampled })
}

/// `<trace>-<span>[-<decision>[-<parent>]]`, or a decision alone.
fn b3(text: &str) -> Option<Incoming> {
    match text {
        "0" => return Some(Incoming::NotSampled),
        "1" | "d" => return Some(Incoming::Sampled(None)),
        _ => {}
    }
    let mut parts = text.split('-');
    let ids = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    match parts.next() {
        None => Some(Incoming::Undecided(Some(ids))),
        Some("1" | "d") => Some(Incoming::Sampled(Some(ids))),
        Some("0") => Some(Incoming::NotSampled),
        Some(_) => None,
    }
}

impl SpanContext {
    /// A span below what came in, or the first of a new trace.
    pub fn below(ids: Option<(TraceId, SpanId)>, mut random: impl FnMut() -> u64) -> Self {
        let span = SpanId::new(random());
        match ids {
            Some((trace, parent)) => Self { trace, span, parent: Some(parent) },
            None => Self { trace: TraceId::new(u128::from(random()) << 64 | u128::from(random())), span, parent: None },
        }
    }

    /// Writes it into a request's headers, so that the callee's span hangs below this one: `traceparent` and B3, and B3 in one header where
    /// that had come.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Self { trace, span, parent } = self;
        let value = |text: String| HeaderValue::try_from(text).expect("hexadecimal digits and dashes");
        headers.insert(TRACEPARENT, value(format!("00-{trace}-{span}-01")));
        if headers.contains_key(B3) {
            headers.insert(B3, value(format!("{trace}-{span}-1")));
        }
        headers.insert(B3_TRACE, value(trace.to_string()));
        headers.insert(B3_SPAN, value(span.to_string()));
        match parent {
            Some(parent) => headers.insert(B3_PARENT, value(parent.to_string())),
            None => headers.remove(B3_PARENT),
        };
        headers.insert(B3_SAMPLED, HeaderValue::from_static("1"));
    }
}

/// Says that a request is not kept. Nothing is allocated for the value.
pub fn write_not_sampled(headers: &mut HeaderMap) {
    headers.insert(B3_SAMPLED, HeaderValue::from_static("0"));
}

/// Takes a request out of its trace, as a mirror's copy is.
pub fn take_out(headers: &mut HeaderMap) {
    for name in &ALL {
        headers.remove(name);
    }
    write_not_sampled(headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn ids() -> Option<(TraceId, SpanId)> {
        Some((TRACE.parse().unwrap(), SPAN.parse().unwrap()))
    }

    #[test]
    fn each_form_is_read() {
        let cases: &[(&[(&'static str, &'static str)], Incoming)] = &[
            (&[], Incoming::Undecided(None)),
            (&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], Incoming::Sampled(ids())),
            (&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")], Incoming::NotSampled),
            (&[("traceparent", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")], Incoming::Sampled(ids())),
            (&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")], Incoming::Undecided(None)),
            (&[("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")], Incoming::Undecided(None)),
            (&[("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")], Incoming::Undecided(None)),
            (&[("b3", "0")], Incoming::NotSampled),
            (&[("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d-05e3ac9a4f6e3b90")], Incoming::Sampled(ids())),
            (&[("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")], Incoming::Undecided(ids())),
            (&[("x-b3-sampled", "0")], Incoming::NotSampled),
            (&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")], Incoming::Sampled(ids())),
            (&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")], Incoming::Sampled(ids())),
            (&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)], Incoming::Undecided(ids())),
            (&[("x-b3-traceid", "nonsense"), ("x-b3-spanid", SPAN), ("x-b3-sampled", "true")], Incoming::Sampled(None)),
        ];
        for (pairs, expected) in cases {
            assert_eq!(read(&headers(pairs)), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_by_the_next_one_as_its_parent() {
        let mut count = 0;
        let context = SpanContext::below(ids(), || {
            count += 1;
            count
        });
        let mut sent = headers(&[("b3", "1"), ("tracestate", "a=1")]);
        context.write(&mut sent);
        assert_eq!(read(&sent), Incoming::Sampled(Some((context.trace, context.span))));
        sent.remove(TRACEPARENT);
        assert_eq!(read(&sent), Incoming::Sampled(Some((context.trace, context.span))));
        sent.remove(B3);
        assert_eq!(read(&sent), Incoming::Sampled(Some((context.trace, context.span))));
        assert_eq!((&sent[B3_PARENT], &sent[TRACESTATE]), (&HeaderValue::from_static(SPAN), &HeaderValue::from_static("a=1")));
        take_out(&mut sent);
        assert_eq!((read(&sent), sent.len()), (Incoming::NotSampled, 1));
    }

    #[test]
    fn ids_are_read_back_and_zero_is_none() {
        assert_eq!(TraceId::new(0).to_string(), format!("{:032x}", 1));
        assert_eq!("000000000000000a".parse::<TraceId>().unwrap().to_string(), format!("{:032x}", 10));
        for text in ["", "0000000000000000", "xyz", "0123456789abcdef0"] {
            assert!(text.parse::<SpanId>().is_err(), "{text}");
        }
    }
}
