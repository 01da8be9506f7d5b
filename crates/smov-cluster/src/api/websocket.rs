//! WebSocket (RFC 6455), the server's half: the handshake, and messages over the upgraded connection.

use std::io;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// What the key of a handshake is answered with; fixed by the RFC.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest message that is taken.
const MESSAGE_LIMIT: usize = 16 << 20;

const CONTINUED: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Is the word in this header, whose values are lists?
pub(super) fn names(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// Is the request one for a WebSocket?
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    names(headers, header::UPGRADE, "websocket")
        && names(headers, header::CONNECTION, "upgrade")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// The first protocol of ours that the client offers.
pub(super) fn protocol<'a>(headers: &HeaderMap, ours: &[&'a str]) -> Option<&'a str> {
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    ours.iter().copied().find(|one| offered.contains(one))
}

/// The answer that turns the connection into a WebSocket.
pub(super) fn accept(headers: &HeaderMap, protocol: &'static str) -> Response<Body> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(answer) = HeaderValue::from_str(&answer_to(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer);
    }
    response
}

fn answer_to(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(MAGIC.as_bytes());
    STANDARD.encode(hash.digest().bytes())
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// Text or binary: here they mean the same.
    Data(Vec<u8>),
    /// It wants this sent back, as proof of life.
    Ping(Vec<u8>),
    /// It ends the conversation.
    Close,
}

/// An upgraded connection as tokio has it.
pub(super) type Stream = TokioIo<Upgraded>;

/// Both halves of an upgraded connection.
pub(super) fn split<S: AsyncRead + AsyncWrite>(stream: S) -> (Reader<ReadHalf<S>>, Writer<WriteHalf<S>>) {
    let (reader, writer) = tokio::io::split(stream);
    (Reader { stream: reader }, Writer { stream: writer })
}

/// Reads messages.
pub(super) struct Reader<S> {
    stream: S,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// The next data, with pings answered; nothing when the client has said goodbye.
    pub(super) async fn data(&mut self, replies: &mpsc::Sender<Reply>) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.next().await? {
                Message::Data(data) => return Ok(Some(data)),
                Message::Ping(proof) => replies.send(Reply::Pong(proof)).await.map_err(io::Error::other)?,
                Message::Close => return Ok(None),
            }
        }
    }

    /// The next message; an end without goodbye is an error.
    async fn next(&mut self) -> io::Result<Message> {
        let mut message = Vec::new();
        loop {
            let (last, kind, payload) = self.frame(MESSAGE_LIMIT - message.len()).await?;
            match kind {
                PING => return Ok(Message::Ping(payload)),
                CLOSE => return Ok(Message::Close),
                PONG => {}
                CONTINUED | TEXT | BINARY => {
                    message.extend(payload);
                    if last {
                        return Ok(Message::Data(message));
                    }
                }
                other => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("websocket frame of unknown kind {other}"))),
            }
        }
    }

    async fn frame(&mut self, limit: usize) -> io::Result<(bool, u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await?;
        let length = match head[1] & 0x7F {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let too_long = || io::Error::new(io::ErrorKind::InvalidData, "websocket message is too long");
        let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or_else(too_long)?;
        if head[1] & 0x80 == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "websocket frame of a client without mask"));
        }
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).await?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok((head[0] & 0x80 != 0, head[0] & 0x0F, payload))
    }
}

/// What is sent to a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Data(Bytes),
    Pong(Vec<u8>),
    /// The normal end.
    Close,
}

/// Writes messages, each as one frame.
pub(super) struct Writer<S> {
    stream: S,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    /// Sends all replies, up to the goodbye.
    pub(super) async fn all(mut self, mut replies: mpsc::Receiver<Reply>) {
        while let Some(reply) = replies.recv().await {
            if self.send(&reply).await.is_err() || reply == Reply::Close {
                return;
            }
        }
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let (kind, payload): (u8, &[u8]) = match reply {
            Reply::Data(data) => (BINARY, data),
            Reply::Pong(data) => (PONG, data),
            Reply::Close => (CLOSE, &[0x03, 0xE8]),
        };
        let mut head = vec![0x80 | kind];
        match payload.len() {
            short @ 0..=125 => head.push(u8::try_from(short).unwrap_or_default()),
            middle @ 126..=0xFFFF => {
                head.push(126);
                head.extend(u16::try_from(middle).unwrap_or_default().to_be_bytes());
            }
            long => {
                head.push(127);
                head.extend((long as u64).to_be_bytes());
            }
        }
        self.stream.write_all(&head).await?;
        self.stream.write_all(payload).await?;
        self.stream.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_the_rfc_says() {
        assert_eq!(answer_to(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn parts_of_a_message_are_put_together_and_pings_come_in_between() {
        // "Hel" (not the last), a ping, "lo": all masked with the same key.
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let frame = |head: u8, payload: &[u8]| {
            let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            [head, 0x80 | u8::try_from(payload.len()).unwrap()].into_iter().chain(mask).chain(masked).collect::<Vec<u8>>()
        };
        let sent = [frame(0x01, b"Hel"), frame(0x80, b"lo"), frame(0x89, b"?"), frame(0x88, b"")].concat();
        let mut reader = Reader { stream: sent.as_slice() };
        assert_eq!(reader.next().await.unwrap(), Message::Data(b"Hello".to_vec()));
        assert_eq!(reader.next().await.unwrap(), Message::Ping(b"?".to_vec()));
        assert_eq!(reader.next().await.unwrap(), Message::Close);
        assert!(reader.next().await.is_err());
        assert!(Reader { stream: &b"\x82\x01x"[..] }.next().await.is_err(), "a client must mask");
    }

    #[tokio::test]
    async fn lengths_take_one_three_or_nine_bytes() {
        for (length, head) in [(5, 2), (126, 4), (70_000, 10)] {
            let mut written = Vec::new();
            Writer { stream: &mut written }.send(&Reply::Data(vec![7; length].into())).await.unwrap();
            assert_eq!(written.len(), head + length);
        }
        let mut written = Vec::new();
        Writer { stream: &mut written }.send(&Reply::Close).await.unwrap();
        assert_eq!(written, [0x88, 2, 0x03, 0xE8]);
    }
}
