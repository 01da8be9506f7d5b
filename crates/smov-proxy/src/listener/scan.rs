//! Finds request heads that carry both `Content-Length` and `Transfer-Encoding`.
//!
//! hyper takes the latter, forgets the former and closes the connection, which is safe but not what Envoy does: it answers 400. By the
//! time a request is parsed the evidence is gone, so the bytes of a head are looked at while they are read.

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// The scan of one request head, read piece by piece.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// The start of a line that continues in the next piece.
    partial: Vec<u8>,
    has_length: bool,
    has_encoding: bool,
    /// The empty line was seen: the rest is body.
    done: bool,
}

impl HeadScan {
    /// Looks at the next piece; true once both headers were seen.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !self.done {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.keep(rest);
                break;
            };
            let (line, after) = rest.split_at(end + 1);
            if self.partial.is_empty() {
                self.line(line);
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole);
            }
            rest = after;
        }
        self.has_length && self.has_encoding
    }

    /// Keeps as much of an unfinished line as tells its name, and whether it is empty.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (TRANSFER_ENCODING.len() + 2).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, line: &[u8]) {
        let starts_with = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        match line.first() {
            Some(b'\n' | b'\r') | None => self.done = true,
            Some(b'c' | b'C') => self.has_length |= starts_with(CONTENT_LENGTH),
            Some(b't' | b'T') => self.has_encoding |= starts_with(TRANSFER_ENCODING),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HeadScan;

    #[test]
    fn both_headers_are_found_however_the_bytes_are_cut() {
        let head = b"POST / HTTP/1.1\r\nContent-LENGTH: 3\r\nx: 1\r\nTransfer-Encoding: chunked\r\n\r\nabc";
        for cut in 1..head.len() {
            let mut scan = HeadScan::default();
            let found = head.chunks(cut).fold(false, |_, piece| scan.feed(piece));
            assert!(found, "cut at {cut}");
        }
    }

    #[test]
    fn bodies_and_other_headers_do_not_count() {
        for head in [
            "POST / HTTP/1.1\r\ncontent-length: 30\r\n\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nx-content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nte: trailers\r\ncontent-length: 1\r\n\r\n",
        ] {
            for cut in 1..head.len() {
                let mut scan = HeadScan::default();
                assert!(!head.as_bytes().chunks(cut).fold(false, |_, piece| scan.feed(piece)), "{head:?} cut at {cut}");
            }
        }
    }
}
