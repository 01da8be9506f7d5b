//! zlib streams of headers (RFC 1950, RFC 1951): one for all frames of a direction, flushed to a whole byte after each.
//!
//! What comes is inflated. What goes is stored as it is, since our answers have next to no headers; any zlib reads that.

use super::{
    Broken,
    dictionary::{ADLER, BYTES},
};

/// So far back a copy may reach.
const WINDOW: usize = 32 * 1024;
/// The longest block of headers, inflated.
const LIMIT: usize = 64 * 1024;

const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
/// In which order a block tells the lengths of the codes for lengths.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const ENDS: Broken = Broken::Headers("the compressed block ends too early");
const CODES: Broken = Broken::Headers("the compressed block has codes that do not fit together");
const SYMBOL: Broken = Broken::Headers("the compressed block has a code that means nothing");

/// Reads the stream of the other side.
#[derive(Debug, Default)]
pub(super) struct Inflater {
    /// What was read last, so that later frames can point into it; starts as the dictionary.
    window: Vec<u8>,
    begun: bool,
}

impl Inflater {
    /// What belongs to one frame, inflated.
    pub(super) fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, Broken> {
        if !self.begun {
            input = self.begin(input)?;
        }
        let start = self.window.len();
        let mut bits = Bits { input, held: 0, count: 0 };
        while !bits.is_at_end() {
            let last = bits.take(1)? == 1;
            match bits.take(2)? {
                0 => self.stored(&mut bits, start)?,
                1 => self.compressed(&mut bits, &Code::of(&fixed())?, &Code::of(&[5; 30])?, start)?,
                2 => {
                    let (symbols, distances) = codes(&mut bits)?;
                    self.compressed(&mut bits, &symbols, &distances, start)?;
                }
                _ => return Err(Broken::Headers("the compressed block is of a kind that does not exist")),
            }
            if last {
                return Err(Broken::Headers("the compressed stream has ended"));
            }
        }
        let inflated = self.window[start..].to_vec();
        self.window.drain(..self.window.len().saturating_sub(WINDOW));
        Ok(inflated)
    }

    /// The head of the stream, in its first frame.
    fn begin<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Broken> {
        let ([method, flags], rest) = input.split_first_chunk().ok_or(ENDS)?;
        if method & 0x0F != 8 || !u16::from_be_bytes([*method, *flags]).is_multiple_of(31) {
            return Err(Broken::Headers("they are not compressed with zlib"));
        }
        self.begun = true;
        if flags & 0x20 == 0 {
            return Ok(rest);
        }
        let (adler, rest) = rest.split_first_chunk().ok_or(ENDS)?;
        if u32::from_be_bytes(*adler) != ADLER {
            return Err(Broken::Headers("they are compressed with another dictionary than SPDY's"));
        }
        self.window.clone_from(&BYTES);
        Ok(rest)
    }

    fn stored(&mut self, bits: &mut Bits<'_>, start: usize) -> Result<(), Broken> {
        bits.held = 0;
        bits.count = 0;
        let ([a, b, c, d], rest) = bits.input.split_first_chunk().ok_or(ENDS)?;
        let length = u16::from_le_bytes([*a, *b]);
        if length != !u16::from_le_bytes([*c, *d]) {
            return Err(Broken::Headers("a stored block contradicts its own length"));
        }
        let (data, rest) = rest.split_at_checked(usize::from(length)).ok_or(ENDS)?;
        self.window.extend_from_slice(data);
        bits.input = rest;
        self.check(start)
    }

    fn compressed(&mut self, bits: &mut Bits<'_>, symbols: &Code, distances: &Code, start: usize) -> Result<(), Broken> {
        loop {
            match symbols.read(bits)? {
                literal @ 0..=255 => self.window.push(u8::try_from(literal).map_err(|_| SYMBOL)?),
                256 => return Ok(()),
                symbol => {
                    let length = extended(bits, &LENGTHS, symbol - 257)?;
                    let symbol = distances.read(bits)?;
                    let distance = extended(bits, &DISTANCES, symbol)?;
                    let from = self.window.len().checked_sub(distance);
                    let from = from.ok_or(Broken::Headers("the compressed block points before its beginning"))?;
                    // One by one: a copy may overlap itself.
                    for place in from..from + length {
                        self.window.push(self.window[place]);
                    }
                }
            }
            self.check(start)?;
        }
    }

    fn check(&self, start: usize) -> Result<(), Broken> {
        if self.window.len() - start > LIMIT { Err(Broken::Headers("they are longer than 64 KiB")) } else { Ok(()) }
    }
}

/// The base of a symbol and the bits that are added to it.
fn extended(bits: &mut Bits<'_>, table: &[(u16, u8)], symbol: u16) -> Result<usize, Broken> {
    let (base, extra) = table.get(usize::from(symbol)).ok_or(SYMBOL)?;
    Ok(usize::from(*base) + usize::from(bits.take(*extra)?))
}

fn fixed() -> [u8; 288] {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    lengths
}

/// The codes that a block brings along.
fn codes(bits: &mut Bits<'_>) -> Result<(Code, Code), Broken> {
    let symbols = usize::from(bits.take(5)?) + 257;
    let distances = usize::from(bits.take(5)?) + 1;
    let told = usize::from(bits.take(4)?) + 4;
    if symbols > 286 || distances > 30 {
        return Err(CODES);
    }
    let mut lengths = [0; 19];
    for place in &ORDER[..told] {
        lengths[*place] = u8::try_from(bits.take(3)?).map_err(|_| CODES)?;
    }
    let code = Code::of(&lengths)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(symbols + distances);
    while lengths.len() < symbols + distances {
        let (length, times) = match code.read(bits)? {
            16 => (*lengths.last().ok_or(CODES)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (u8::try_from(length).map_err(|_| CODES)?, 1),
        };
        lengths.extend(std::iter::repeat_n(length, usize::from(times)));
    }
    if lengths.len() > symbols + distances {
        return Err(CODES);
    }
    let (symbols, distances) = lengths.split_at(symbols);
    Ok((Code::of(symbols)?, Code::of(distances)?))
}

/// A Huffman code in its canonical form.
struct Code {
    /// How many codes have each length.
    counts: [u16; 16],
    /// The symbols, by their codes.
    symbols: Vec<u16>,
}

impl Code {
    fn of(lengths: &[u8]) -> Result<Self, Broken> {
        let mut counts = [0_u16; 16];
        for length in lengths.iter().filter(|length| **length > 0) {
            *counts.get_mut(usize::from(*length)).ok_or(CODES)? += 1;
        }
        let mut left = 1_i32;
        for count in &counts[1..] {
            left = left * 2 - i32::from(*count);
            if left < 0 {
                return Err(CODES);
            }
        }
        let by_length = (1..16_u8).flat_map(|wanted| (0_u16..).zip(lengths).filter(move |(_, length)| **length == wanted));
        Ok(Self { counts, symbols: by_length.map(|(symbol, _)| symbol).collect() })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<u16, Broken> {
        let (mut code, mut first, mut index) = (0_u32, 0_u32, 0_u32);
        for count in &self.counts[1..] {
            code |= u32::from(bits.take(1)?);
            let count = u32::from(*count);
            if code < first + count {
                let place = usize::try_from(index + code - first).map_err(|_| SYMBOL)?;
                return self.symbols.get(place).copied().ok_or(SYMBOL);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(SYMBOL)
    }
}

/// Bits from the lowest of each byte on.
struct Bits<'a> {
    input: &'a [u8],
    held: u32,
    count: u8,
}

impl Bits<'_> {
    /// At most 16 bits.
    fn take(&mut self, wanted: u8) -> Result<u16, Broken> {
        while self.count < wanted {
            let (byte, rest) = self.input.split_first().ok_or(ENDS)?;
            self.held |= u32::from(*byte) << self.count;
            self.count += 8;
            self.input = rest;
        }
        let taken = self.held & ((1 << wanted) - 1);
        self.held >>= wanted;
        self.count -= wanted;
        u16::try_from(taken).map_err(|_| SYMBOL)
    }

    /// Nothing is left but the rest of a byte.
    fn is_at_end(&self) -> bool {
        self.input.is_empty()
    }
}

/// Writes our stream.
#[derive(Debug, Default)]
pub(super) struct Deflater {
    begun: bool,
}

impl Deflater {
    /// What is put into a frame for these bytes.
    pub(super) fn deflate(&mut self, data: &[u8]) -> Vec<u8> {
        let mut written = Vec::with_capacity(data.len() + 16);
        if !self.begun {
            written.extend([0x78, 0x20]);
            written.extend(ADLER.to_be_bytes());
            self.begun = true;
        }
        // An empty block at the end: only there do readers (Go's, for one) give out what they have.
        for part in data.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
            let length = u16::try_from(part.len()).unwrap_or_default();
            written.push(0);
            written.extend(length.to_le_bytes());
            written.extend((!length).to_le_bytes());
            written.extend(part);
        }
        written
    }
}

#[cfg(test)]
mod tests;
