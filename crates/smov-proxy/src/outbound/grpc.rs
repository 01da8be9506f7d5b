//! Answers of the proxy itself to gRPC requests: a status of 200, with gRPC's own status and words in headers.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::headers::{GRPC_MESSAGE, GRPC_STATUS};

/// gRPC's status for one of HTTP (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
pub(crate) fn of_http(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// HTTP's status for one of gRPC: what a success or a failure of an endpoint is judged by.
pub(super) fn to_http(code: u8) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The status that headers or trailers tell.
pub(crate) fn told(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok().filter(|code| *code <= 16)
}

/// Says what status and body would have said, and gives gRPC's status. `code` is that where it is given already.
pub(super) fn say(headers: &mut HeaderMap, status: StatusCode, code: Option<u8>, body: &[u8]) -> u8 {
    let code = code.unwrap_or_else(|| of_http(status.as_u16()));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::try_from(encoded(body))
        && !body.is_empty()
    {
        headers.insert(GRPC_MESSAGE, message);
    }
    code
}

/// Percent-encoded where a byte is not printable ASCII.
fn encoded(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for byte in body {
        match byte {
            b' '..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_bodies_are_told_in_grpcs_words() {
        for (status, code) in [(503, "14"), (504, "14"), (404, "12"), (403, "7"), (500, "2"), (301, "2"), (400, "13"), (401, "16")] {
            let mut headers = HeaderMap::new();
            say(&mut headers, StatusCode::from_u16(status).unwrap(), None, "50 % é\n".as_bytes());
            assert_eq!((&headers["grpc-status"], &headers["grpc-message"]), (&code.parse().unwrap(), &"50 %25 %C3%A9%0A".parse().unwrap()));
        }
        let mut headers = HeaderMap::new();
        say(&mut headers, StatusCode::OK, Some(8), b"");
        assert_eq!((headers.len(), &headers["grpc-status"]), (2, &"8".parse().unwrap()));
    }
}
