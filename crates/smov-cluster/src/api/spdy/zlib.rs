//! zlib streams of headers (RFC 1950, RFC 1951): one for all frames of a direction, flushed to a whole byte after each.
//!
//! What comes is inflated by zlib. What goes is stored as it is, since our answers have next to no headers; any zlib reads that.

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    Broken,
    dictionary::{ADLER, BYTES},
};

/// The longest block of headers, inflated.
const LIMIT: usize = 64 * 1024;

/// Reads the stream of the other side.
#[derive(Debug)]
pub(super) struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    /// What belongs to one frame, inflated.
    pub(super) fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut inflated = Vec::with_capacity(1024);
        loop {
            let read = self.0.total_in();
            let before = inflated.len();
            let step = self.0.decompress_vec(input, &mut inflated, FlushDecompress::Sync);
            input = usize::try_from(self.0.total_in() - read).ok().and_then(|read| input.get(read..)).unwrap_or_default();
            match step {
                Ok(Status::StreamEnd) => return Err(Broken::Headers("the compressed stream has ended")),
                // Nothing is left, or nothing more comes of what is left.
                Ok(_) if inflated.len() < inflated.capacity() && (input.is_empty() || inflated.len() == before) => break,
                Ok(_) if inflated.len() >= LIMIT => return Err(Broken::Headers("they are longer than 64 KiB")),
                Ok(_) => inflated.reserve(inflated.capacity().max(1024)),
                Err(error) => match error.needs_dictionary() {
                    Some(ADLER) => {
                        self.0.set_dictionary(&BYTES).map_err(|_| Broken::Headers("the dictionary does not fit the compressed stream"))?;
                    }
                    Some(_) => return Err(Broken::Headers("they are compressed with another dictionary than SPDY's")),
                    None => return Err(Broken::Headers("they are not compressed with zlib, or damaged")),
                },
            }
        }
        if input.is_empty() { Ok(inflated) } else { Err(Broken::Headers("the compressed block ends too early")) }
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
