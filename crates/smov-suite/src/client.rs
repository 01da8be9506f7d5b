//! A client that sends bytes as they are told and says exactly what came back. One connection per request.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as bytes.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// A HEAD has no body in its answer.
    pub(crate) head_only: bool,
    /// The client goes away after so long.
    pub(crate) patience: Option<Duration>,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// 0 = the connection ended without an answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The body ended before it was complete.
    pub(crate) broken: bool,
    pub(crate) took: Duration,
    /// Why there is no answer.
    pub(crate) error: Option<String>,
}

impl Reply {
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }
}

/// Sends and reads to the end of the answer.
pub(crate) async fn send(wire: &Wire) -> Reply {
    let started = Instant::now();
    let patience = wire.patience.unwrap_or(PATIENCE);
    let mut reply = match tokio::time::timeout(patience, exchange(wire)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply { error: Some(error.to_string()), ..Reply::default() },
        Err(_) => Reply { error: Some(format!("no answer within {} ms", patience.as_millis())), ..Reply::default() },
    };
    reply.took = started.elapsed();
    reply
}

async fn exchange(wire: &Wire) -> io::Result<Reply> {
    let socket = if wire.to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let mut stream = socket.connect(wire.to).await?;
    let _ = stream.set_nodelay(true);
    // A proxy may answer and close before it has read everything: its answer counts.
    let written = stream.write_all(&wire.bytes).await;
    let mut reader = Reader { stream, buffer: Vec::new(), ended: false };
    let head = loop {
        let Some(head) = reader.head().await? else {
            written?;
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without an answer"));
        };
        // 100 Continue and its like come before the answer.
        if head.0 >= 200 {
            break head;
        }
    };
    let (status, headers) = head;
    let mut reply = Reply { status, headers, ..Reply::default() };
    let (body, broken) = if wire.head_only || matches!(status, 204 | 304) { (Vec::new(), false) } else { reader.body(&reply).await };
    reply.body = String::from_utf8_lossy(&body).into_owned();
    reply.broken = broken;
    Ok(reply)
}

struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    ended: bool,
}

impl Reader {
    /// More bytes; false at the end of the connection.
    async fn more(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 << 10];
        let count = self.stream.read(&mut chunk).await?;
        self.buffer.extend_from_slice(&chunk[..count]);
        self.ended = count == 0;
        Ok(count > 0)
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    async fn head(&mut self) -> io::Result<Option<(u16, Vec<(String, String)>)>> {
        let Some(first) = self.line().await? else { return Ok(None) };
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: `{first}`")))?;
        let mut headers = Vec::new();
        loop {
            match self.line().await? {
                None => return Ok(None),
                Some(line) if line.is_empty() => return Ok(Some((status, headers))),
                Some(line) => {
                    let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
        }
    }

    /// The body, and whether it broke off.
    async fn body(&mut self, head: &Reply) -> (Vec<u8>, bool) {
        if head.values("transfer-encoding").iter().any(|value| value.contains("chunked")) {
            return self.chunks().await;
        }
        match head.values("content-length").first().and_then(|value| value.parse::<usize>().ok()) {
            Some(length) => {
                let whole = self.fill(length).await;
                self.buffer.truncate(length);
                (std::mem::take(&mut self.buffer), !whole)
            }
            None => {
                while matches!(self.more().await, Ok(true)) {}
                (std::mem::take(&mut self.buffer), false)
            }
        }
    }

    /// Reads until there are so many bytes.
    async fn fill(&mut self, length: usize) -> bool {
        while self.buffer.len() < length {
            if !matches!(self.more().await, Ok(true)) {
                return false;
            }
        }
        true
    }

    async fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Ok(Some(line)) = self.line().await else { return (body, true) };
            let Ok(length) = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16) else { return (body, true) };
            if length == 0 {
                return (body, false);
            }
            if !self.fill(length + 2).await {
                body.append(&mut self.buffer);
                return (body, true);
            }
            body.extend(self.buffer.drain(..length));
            self.buffer.drain(..2);
        }
    }
}
