//! Blocks of names and values, compressed with what came before on the connection.

use super::{
    Broken,
    zlib::{Deflater, Inflater},
};

const ENDS: Broken = Broken::Headers("the block ends too early");

/// Names (in small letters) and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a header, whatever the case of its name; several values come with NULs between them.
    pub(in crate::api) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// Takes the headers of a frame; a frame that is not wanted must be read all the same, since later ones point into it.
    pub(super) fn read(compressed: &[u8], stream: &mut Inflater) -> Result<Self, Broken> {
        let block = stream.inflate(compressed)?;
        let mut rest = block.as_slice();
        let count = number(&mut rest)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((text(&mut rest)?, text(&mut rest)?));
        }
        if rest.is_empty() { Ok(Self(pairs)) } else { Err(Broken::Headers("the block is longer than it says")) }
    }

    pub(super) fn write(&self, stream: &mut Deflater) -> Vec<u8> {
        let mut block = length(self.0.len()).to_vec();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            block.extend(length(text.len()));
            block.extend(text.bytes());
        }
        stream.deflate(&block)
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn number(rest: &mut &[u8]) -> Result<u32, Broken> {
    let (number, after) = rest.split_first_chunk().ok_or(ENDS)?;
    *rest = after;
    Ok(u32::from_be_bytes(*number))
}

fn text(rest: &mut &[u8]) -> Result<String, Broken> {
    let length = usize::try_from(number(rest)?).map_err(|_| ENDS)?;
    let (text, after) = rest.split_at_checked(length).ok_or(ENDS)?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| Broken::Headers("a header is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written() {
        let headers = Headers::of(&[("streamtype", "data"), ("port", "8081"), ("empty", "")]);
        let (mut there, mut here) = (Deflater::default(), Inflater::default());
        for _ in 0..3 {
            assert_eq!(Headers::read(&headers.write(&mut there), &mut here).unwrap(), headers);
        }
        assert_eq!(headers.text("streamType"), Some("data"));
        assert_eq!(headers.text("requestID"), None);
    }

    #[test]
    fn a_block_that_lies_about_its_lengths_is_refused() {
        for block in [&b"\0\0"[..], b"\xFF\xFF\xFF\xFF", b"\0\0\0\x01\0\0\0\x05ab", b"\0\0\0\0more", b"\0\0\0\x01\0\0\0\x01\xFF\0\0\0\0"] {
            assert!(Headers::read(&Deflater::default().deflate(block), &mut Inflater::default()).is_err(), "{block:?}");
        }
    }
}
