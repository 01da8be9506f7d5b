//! Frames of the wire between control plane and proxies: a big-endian length and that many bytes of JSON.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A stream that does not follow the protocol, or broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame is larger than this side accepts.
    #[error("a frame of {length} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What was announced.
        length: usize,
        /// What is accepted.
        limit: usize,
    },
    /// The frame is not what the protocol knows.
    #[error("a frame cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

/// Reads one frame into `buffer`; `false` when the other side ended the stream between frames.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), limit: usize, buffer: &mut Vec<u8>) -> Result<bool, FrameError> {
    /// Above this the buffer is given back after use.
    const KEPT: usize = 64 << 10;
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
    buffer.clear();
    // Grows with what arrives, not with what is announced.
    let received = stream.take(length as u64).read_to_end(buffer).await?;
    if received < length {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(true)
}

/// Writes one frame.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl serde::Serialize) -> Result<(), FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).map_err(|_| FrameError::TooLarge { length: bytes.len(), limit: u32::MAX as usize })?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_comes_back_as_it_was_written() {
        let mut bytes = Vec::new();
        write(&mut bytes, &["a", "b"]).await.unwrap();
        let mut stream = bytes.as_slice();
        let mut buffer = Vec::new();
        assert!(read(&mut stream, 100, &mut buffer).await.unwrap());
        assert_eq!(buffer, br#"["a","b"]"#);
        assert!(!read(&mut stream, 100, &mut buffer).await.unwrap());
    }

    #[tokio::test]
    async fn a_frame_over_the_limit_is_refused_before_it_is_read() {
        let mut stream = [0xff, 0xff, 0xff, 0xff].as_slice();
        assert!(matches!(read(&mut stream, 1 << 20, &mut Vec::new()).await, Err(FrameError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_broken() {
        let mut stream = [0, 0, 0, 9, b'x'].as_slice();
        assert!(matches!(read(&mut stream, 100, &mut Vec::new()).await, Err(FrameError::Io(_))));
    }
}
