//! Path normalisation: what routes and policies see, and what the upstream receives.
//!
//! | mode | effect |
//! |---|---|
//! | `NONE` | as received |
//! | `BASE` | RFC 3986: dot segments (also written as `%2e`), `\` becomes `/`, percent-encoded unreserved letters are decoded. `//`, `%2F`, `%5C`, case, a trailing `/` and `;x` stay |
//! | `MERGE_SLASHES` | `BASE`, then neighbouring slashes become one |
//! | `DECODE_AND_MERGE_SLASHES` | `%2F` and `%5C` are decoded first |
//!
//! <https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ProxyPathNormalization>

use smov_model::snapshot::PathNormalization;

/// The normal form of a path without query; `None` when it is normal already, which nearly all are.
pub fn normalize(path: &str, mode: PathNormalization) -> Option<String> {
    let (decodes, merges) = match mode {
        PathNormalization::None => return None,
        PathNormalization::Base => (false, false),
        PathNormalization::MergeSlashes => (false, true),
        PathNormalization::DecodeAndMergeSlashes => (true, true),
    };
    let bytes = path.as_bytes();
    let suspect =
        bytes.iter().any(|byte| matches!(byte, b'%' | b'\\')) || bytes.windows(2).any(|pair| pair == b"/." || (merges && pair == b"//"));
    if !suspect || !path.starts_with('/') {
        return None;
    }
    let slashes = if decodes { decode_slashes(bytes) } else { bytes.to_vec() };
    let mut normal = resolve_dots(&decode_unreserved(&slashes));
    if merges {
        normal.dedup_by(|next, before| *next == b'/' && *before == b'/');
    }
    let normal = String::from_utf8(normal).ok()?;
    (normal != path).then_some(normal)
}

fn decode_slashes(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let slash = match tail {
            [b'2', b'f' | b'F', ..] if *first == b'%' => Some(b'/'),
            [b'5', b'c' | b'C', ..] if *first == b'%' => Some(b'\\'),
            _ => None,
        };
        if slash.is_some() {
            rest = &tail[2..];
        }
        decoded.push(slash.unwrap_or(*first));
    }
    decoded
}

fn decode_unreserved(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', _) => decoded.push(b'/'),
            (b'%', [high, low, after @ ..]) => match hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low) {
                Some(letter) if letter.is_ascii_alphanumeric() || b"-._~".contains(&letter) => {
                    decoded.push(letter);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            _ => decoded.push(*first),
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

/// Removes `.` segments, and with each `..` the segment before it. `//` stays: an empty segment is a segment.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            b"." | b".." => {
                if part == b".." {
                    segments.pop();
                }
                if last {
                    segments.push(b"");
                }
            }
            other => segments.push(other),
        }
    }
    let mut normal = Vec::with_capacity(path.len());
    for segment in segments {
        normal.push(b'/');
        normal.extend_from_slice(segment);
    }
    if normal.is_empty() { vec![b'/'] } else { normal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(path: &str) -> Option<String> {
        normalize(path, PathNormalization::Base)
    }

    #[test]
    fn paths_take_their_base_form() {
        for (path, normal) in [
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a\\b\\..\\c", "/a/c"),
            ("/a/./b/.", "/a/b/"),
            ("/../../x", "/x"),
            ("/..", "/"),
        ] {
            assert_eq!(base(path).as_deref(), Some(normal), "{path}");
        }
    }

    #[test]
    fn what_base_leaves_alone_stays() {
        for path in ["/", "/users/1", "//admin", "/x%2Fadmin", "/x%5Cadmin", "/Admin/;x", "/.well-known/x", "/a%zz%", "/a%", "/caf%C3%A9"] {
            assert_eq!(base(path), None, "{path}");
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for path in ["/a/../b/%2e/c", "/%2e%2e//x", "/a\\..\\..", "/a//../b", "/%252e%252e/x"] {
            for mode in [PathNormalization::Base, PathNormalization::MergeSlashes, PathNormalization::DecodeAndMergeSlashes] {
                let once = normalize(path, mode).unwrap_or_else(|| path.to_owned());
                assert_eq!(normalize(&once, mode), None, "{path} {mode:?}");
            }
        }
    }

    #[test]
    fn each_mode_goes_as_far_as_it_says() {
        use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
        for (path, none, base, merged, decoded) in [
            ("/x/../admin", "/x/../admin", "/admin", "/admin", "/admin"),
            ("//admin", "//admin", "//admin", "/admin", "/admin"),
            ("/a//b///c//", "/a//b///c//", "/a//b///c//", "/a/b/c/", "/a/b/c/"),
            ("/%2Fadmin", "/%2Fadmin", "/%2Fadmin", "/%2Fadmin", "/admin"),
            ("/x/..%2Fadmin", "/x/..%2Fadmin", "/x/..%2Fadmin", "/x/..%2Fadmin", "/admin"),
            ("/x%5c..%5Cadmin", "/x%5c..%5Cadmin", "/x%5c..%5Cadmin", "/x%5c..%5Cadmin", "/admin"),
            ("/a%", "/a%", "/a%", "/a%", "/a%"),
        ] {
            for (mode, expected) in [(None, none), (Base, base), (MergeSlashes, merged), (DecodeAndMergeSlashes, decoded)] {
                assert_eq!(normalize(path, mode).as_deref().unwrap_or(path), expected, "{path} {mode:?}");
            }
        }
    }
}
