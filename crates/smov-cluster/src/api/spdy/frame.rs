//! Frames: bytes in, frames out, and back.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{
    Broken,
    headers::Headers,
    zlib::{Deflater, Inflater},
};

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Nothing more follows on the stream from this side.
const FIN: u8 = 0x01;
/// The highest bit is none of a stream's number.
const NUMBER: u32 = 0x7FFF_FFFF;
/// A frame about a stream is never longer; one with data may have up to 16 MiB.
const CONTROL_LIMIT: usize = 64 * 1024;

/// Why a stream is ended at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Reset {
    Protocol = 1,
    Invalid = 2,
    Refused = 3,
}

/// What is said about streams, and on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream; `finished` when it will carry nothing.
    Open {
        stream: u32,
        finished: bool,
        headers: Headers,
    },
    Data {
        stream: u32,
        finished: bool,
        data: Bytes,
    },
    Reset {
        stream: u32,
    },
    Ping {
        number: u32,
    },
    /// Settings, windows, later headers, farewells, and what is unknown: nothing that we act upon.
    Other,
}

/// Cuts what comes into frames.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    held: BytesMut,
    headers: Inflater,
}

impl Decoder {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame. After an error the connection makes no sense any more.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        let Some(head) = self.held.first_chunk::<8>().copied() else { return Ok(None) };
        let (mut head, control) = (&head[..], head[0] & 0x80 != 0);
        let word = head.get_u32();
        let flags = head.get_u8();
        let length = usize::try_from(head.get_uint(3)).unwrap_or(usize::MAX);
        if control && word >> 16 & 0x7FFF != u32::from(VERSION) {
            return Err(Broken::Frame("of another version than 3"));
        }
        if control && length > CONTROL_LIMIT {
            return Err(Broken::Frame("longer than 64 KiB"));
        }
        if self.held.len() < 8 + length {
            return Ok(None);
        }
        self.held.advance(8);
        let body = self.held.split_to(length).freeze();
        let finished = flags & FIN != 0;
        if !control {
            return Ok(Some(Frame::Data { stream: word, finished, data: body }));
        }
        let kind = u16::try_from(word & 0xFFFF).unwrap_or_default();
        self.control(kind, finished, body).map(Some)
    }

    fn control(&mut self, kind: u16, finished: bool, mut body: Bytes) -> Result<Frame, Broken> {
        const SHORT: Broken = Broken::Frame("shorter than it must be");
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| SHORT);
        match kind {
            SYN_STREAM => {
                let stream = number(&mut body)? & NUMBER;
                let _belongs_to = number(&mut body)?;
                let _priority = body.try_get_u16().map_err(|_| SHORT)?;
                Ok(Frame::Open { stream, finished, headers: Headers::read(&body, &mut self.headers)? })
            }
            SYN_REPLY | HEADERS => {
                number(&mut body)?;
                Headers::read(&body, &mut self.headers)?;
                Ok(Frame::Other)
            }
            RST_STREAM => Ok(Frame::Reset { stream: number(&mut body)? & NUMBER }),
            PING => Ok(Frame::Ping { number: number(&mut body)? }),
            _ => Ok(Frame::Other),
        }
    }
}

/// A frame about a stream.
fn control(kind: u16, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(0x8000 | VERSION);
    frame.put_u16(kind);
    frame.put_u8(flags);
    frame.put_uint(body.len() as u64, 3);
    frame.put_slice(body);
    frame.freeze()
}

fn numbers<const N: usize>(numbers: [u32; N]) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Says that a stream is taken.
pub(super) fn accepted(stream: u32, headers: &mut Deflater) -> Bytes {
    let body = [numbers([stream]), Headers::default().write(headers)].concat();
    control(SYN_REPLY, 0, &body)
}

/// At most 16 MiB of data.
pub(super) fn data(stream: u32, finished: bool, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + data.len());
    frame.put_u32(stream & NUMBER);
    frame.put_u8(if finished { FIN } else { 0 });
    frame.put_uint(data.len() as u64, 3);
    frame.put_slice(data);
    frame.freeze()
}

pub(super) fn reset(stream: u32, why: Reset) -> Bytes {
    control(RST_STREAM, 0, &numbers([stream, why as u32]))
}

pub(super) fn ping(number: u32) -> Bytes {
    control(PING, 0, &numbers([number]))
}

/// So many more bytes may come on the stream; on stream 0, on the connection.
pub(super) fn window(stream: u32, more: u32) -> Bytes {
    control(WINDOW_UPDATE, 0, &numbers([stream, more]))
}

/// The last word, after a frame that cannot be read: `last` is the last stream that was taken.
pub(super) fn farewell(last: u32) -> Bytes {
    const PROTOCOL_ERROR: u32 = 1;
    control(GOAWAY, 0, &numbers([last, PROTOCOL_ERROR]))
}

#[cfg(test)]
pub(super) fn open(stream: u32, finished: bool, pairs: &[(&str, &str)], headers: &mut Deflater) -> Bytes {
    let body = [numbers([stream, 0]), vec![0, 0], Headers::of(pairs).write(headers)].concat();
    control(SYN_STREAM, if finished { FIN } else { 0 }, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, Broken> {
        std::iter::from_fn(|| decoder.next().transpose()).collect()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut headers = Deflater::default();
        let sent = [
            open(1, false, &[("port", "80")], &mut headers),
            data(1, false, b"hello"),
            control(4, 0, &[0; 12]),
            window(1, 5),
            control(HEADERS, 0, &[numbers([1]), Headers::of(&[("a", "b")]).write(&mut headers)].concat()),
            open(3, true, &[("port", "81")], &mut headers),
            data(1, true, b""),
            ping(7),
            reset(3, Reset::Refused),
            farewell(3),
        ]
        .concat();
        let expected = [
            Frame::Open { stream: 1, finished: false, headers: Headers::of(&[("port", "80")]) },
            Frame::Data { stream: 1, finished: false, data: Bytes::from_static(b"hello") },
            Frame::Other,
            Frame::Other,
            Frame::Other,
            Frame::Open { stream: 3, finished: true, headers: Headers::of(&[("port", "81")]) },
            Frame::Data { stream: 1, finished: true, data: Bytes::new() },
            Frame::Ping { number: 7 },
            Frame::Reset { stream: 3 },
            Frame::Other,
        ];
        for size in [1, 3, 8, 50, sent.len()] {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in sent.chunks(size) {
                decoder.feed(part);
                found.extend(all(&mut decoder).unwrap());
            }
            assert_eq!(found, expected, "cut into pieces of {size}");
        }
    }

    #[test]
    fn a_frame_that_cannot_be_is_refused_before_its_body_is_waited_for() {
        for (head, why) in [
            (*b"\x80\x02\0\x01\0\0\0\x0A", "SPDY frame: of another version than 3"),
            (*b"\x80\x03\0\x01\0\xFF\xFF\xFF", "SPDY frame: longer than 64 KiB"),
        ] {
            let mut decoder = Decoder::default();
            decoder.feed(&head);
            assert_eq!(decoder.next().unwrap_err().to_string(), why);
        }
        let mut decoder = Decoder::default();
        decoder.feed(&control(RST_STREAM, 0, &[0; 3]));
        assert_eq!(decoder.next().unwrap_err().to_string(), "SPDY frame: shorter than it must be");
    }

    #[test]
    fn garbage_is_an_error_or_waits_for_more_and_never_a_panic() {
        for seed in 1..3_000_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut dice = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            // A frame of each kind with noise in it, half of them as long as they say.
            let kind = u16::try_from(dice() % 12).unwrap();
            let body: Vec<u8> = (0..dice() % 64).map(|_| dice().to_le_bytes()[2]).collect();
            let mut bytes = control(kind, dice().to_le_bytes()[1], &body).to_vec();
            if seed % 2 == 0 {
                let place = usize::try_from(dice()).unwrap() % bytes.len();
                bytes[place] ^= dice().to_le_bytes()[3];
            }
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            decoder.feed(&(0..40).map(|_| dice().to_le_bytes()[4]).collect::<Vec<_>>());
            let _refused_or_not = all(&mut decoder);
        }
    }
}
