//! A parser of server-sent events, as far as the console's own streams need it: one `data` line per event, `\n` line ends.

/// The most bytes of an event that has not ended; a longer one is dropped.
const LONGEST: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) id: &'a str,
    pub(super) kind: &'a str,
    pub(super) data: &'a str,
}

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pending: Vec<u8>,
}

impl Parser {
    /// Takes bytes as they come and gives out the events that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8], mut apply: impl FnMut(Event<'_>)) {
        // Only the new bytes (and the one before) can hold the end of an event.
        let mut from = self.pending.len().saturating_sub(1);
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.pending[from..].windows(2).position(|pair| pair == b"\n\n").map(|at| from + at) {
            if let Some(event) = std::str::from_utf8(&self.pending[start..end]).ok().and_then(event) {
                apply(event);
            }
            start = end + 2;
            from = start;
        }
        self.pending.drain(..start);
        if self.pending.len() > LONGEST {
            self.pending.clear();
        }
    }
}

fn event(block: &str) -> Option<Event<'_>> {
    let field = |name: &str| {
        let value = |line| str::strip_prefix(line, name).and_then(|rest| rest.strip_prefix(':'));
        block.lines().filter_map(value).next_back().map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    Some(Event { id: field("id").unwrap_or_default(), kind: field("event").unwrap_or("message"), data: field("data")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(pieces: &[&[u8]]) -> Vec<(String, String, String)> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, |event| events.push((event.id.to_owned(), event.kind.to_owned(), event.data.to_owned())));
        }
        events
    }

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let text =
            "retry: 2000\n\nid: e:1\nevent: req\ndata: {\"영화\":1}\n\n: still here\n\nid: e:2\nevent: stat\ndata: {}\n\n".as_bytes();
        let whole = collect(&[text]);
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0], ("e:1".into(), "req".into(), "{\"영화\":1}".into()));
        for cut in 1..text.len() {
            assert_eq!(collect(&[&text[..cut], &text[cut..]]), whole, "{cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(collect(&single), whole);
    }
}
