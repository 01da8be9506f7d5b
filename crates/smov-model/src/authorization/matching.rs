//! How values of policies are compared: texts with a star at one end, names with stars, blocks of addresses, path templates.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text of a policy: `abc`, `abc*`, `*abc`, `*`. A star elsewhere is a letter like any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// `*`: there is a text, and it is not empty.
    Present,
    /// Byte for byte.
    Exact(String),
    /// `abc*`.
    Prefix(String),
    /// `*abc`.
    Suffix(String),
}

impl TextMatch {
    /// Reads a value of a policy.
    pub fn of(text: &str) -> Self {
        match (text, text.strip_prefix('*'), text.strip_suffix('*')) {
            ("*", ..) => Self::Present,
            (_, Some(suffix), _) => Self::Suffix(suffix.to_owned()),
            (_, None, Some(prefix)) => Self::Prefix(prefix.to_owned()),
            (_, None, None) => Self::Exact(text.to_owned()),
        }
    }

    /// Does the text match?
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Present => !text.is_empty(),
            _ => self.is_header(text),
        }
    }

    /// The same for a header's value, of which `*` only asks that the header is there.
    pub fn is_header(&self, text: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
        }
    }

    /// As [`Self::is_header`], ignoring ASCII case: hosts.
    pub fn is_header_ignoring_case(&self, text: &str) -> bool {
        let (text, same) =
            (text.as_bytes(), |part: Option<&[u8]>, wanted: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(wanted.as_bytes())));
        match self {
            Self::Present => true,
            Self::Exact(exact) => same(Some(text), exact),
            Self::Prefix(prefix) => same(text.get(..prefix.len()), prefix),
            Self::Suffix(suffix) => same(text.len().checked_sub(suffix.len()).and_then(|start| text.get(start..)), suffix),
        }
    }
}

/// As policies write it.
impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

/// A name in which every `*` stands for any letters: namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// Reads a value of a policy.
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does the whole text match?
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut at, mut place) = (0, 0);
        // Where the last star was, and what it has taken so far.
        let mut star: Option<(usize, usize)> = None;
        while place < text.len() {
            if pattern.get(at) == Some(&b'*') {
                star = Some((at, place));
                at += 1;
            } else if pattern.get(at) == Some(&text[place]) {
                at += 1;
                place += 1;
            } else if let Some((from, taken)) = star {
                star = Some((from, taken + 1));
                at = from + 1;
                place = taken + 1;
            } else {
                return false;
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }

    /// Does it match the part of an identity after a word such as `/ns/`, up to some later slash?
    pub(super) fn has_segment(&self, identity: &str, word: &str) -> bool {
        let starts = identity.match_indices(word).map(|(place, _)| &identity[place + word.len()..]);
        // A name has no slash, so that there is one end as a rule; a star may take several parts, as in Istio's expression.
        starts.into_iter().any(|rest| rest.match_indices('/').any(|(end, _)| self.matches(&rest[..end])))
    }
}

/// A block of addresses: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IpBlock {
    /// An address of the block.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

/// A text that is no value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IP address or a CIDR range")]
pub struct InvalidMatch(pub String);

impl FromStr for IpBlock {
    type Err = InvalidMatch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMatch(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |prefix: &&str| prefix.bytes().all(|byte| byte.is_ascii_digit()) && (*prefix == "0" || !prefix.starts_with('0'));
        let prefix = match prefix {
            None => all,
            Some(prefix) => {
                Some(prefix).filter(is_number).and_then(|prefix| prefix.parse().ok()).filter(|prefix| *prefix <= all).ok_or_else(invalid)?
            }
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl IpBlock {
    /// Is the address in it? One of the other family never is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(one)) => {
                let other_bits = 32_u32.saturating_sub(self.prefix.into());
                (u32::from(block) ^ u32::from(one)).checked_shr(other_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(block), IpAddr::V6(one)) => {
                let other_bits = 128_u32.saturating_sub(self.prefix.into());
                (u128::from(block) ^ u128::from(one)).checked_shr(other_bits).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// A path with `{*}` (one segment) and `{**}` (any rest), Envoy's `uri_template` in Istio's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathTemplate {
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// `{*}`: letters up to the next slash, at least one.
    Segment,
    /// `{**}`: anything, or nothing.
    Rest,
}

impl PathTemplate {
    /// Reads a path of a policy; `None` = it is no template.
    pub fn of(path: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = path;
        while let Some(start) = rest.find("{*") {
            let (piece, length) = match &rest[start..] {
                piece if piece.starts_with("{**}") => (Piece::Rest, 4),
                piece if piece.starts_with("{*}") => (Piece::Segment, 3),
                _ => return None,
            };
            if start > 0 {
                pieces.push(Piece::Literal(rest[..start].to_owned()));
            }
            pieces.push(piece);
            rest = &rest[start + length..];
        }
        if pieces.is_empty() {
            return None;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Some(Self { pieces })
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Does the whole path match?
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path;
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                    Some(after) => rest = after,
                    None => return false,
                },
                Piece::Segment => {
                    // A slash comes after it, or the end, so that the longest run is the only one that can fit.
                    let length = rest.bytes().take_while(|byte| is_of_a_segment(*byte)).count();
                    if length == 0 {
                        return false;
                    }
                    rest = &rest[length..];
                }
                Piece::Rest => {
                    // The last that is not literal.
                    let end = match self.pieces.get(index + 1) {
                        Some(Piece::Literal(literal)) => rest.strip_suffix(literal.as_str()),
                        Some(Piece::Segment | Piece::Rest) | None => Some(rest),
                    };
                    return end.is_some_and(|taken| taken.bytes().all(|byte| byte == b'/' || is_of_a_segment(byte)));
                }
            }
        }
        rest.is_empty()
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Literal(literal) => f.write_str(literal),
            Piece::Segment => f.write_str("{*}"),
            Piece::Rest => f.write_str("{**}"),
        })
    }
}

/// RFC 3986's `pchar` without the star, which is what Envoy's templates take.
fn is_of_a_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}
