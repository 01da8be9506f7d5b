//! The streams of one connection.
//!
//! What a client sends on a stream waits for whoever takes it, up to [`WAITING`] pieces; then the connection waits. The client is told of what was taken
//! (`WINDOW_UPDATE`), so that one that counts never stops. The other way we do not count: kubectl never says what it has taken, and a server that waited for
//! that would stop after 64 KiB. A client that reads slowly slows its connection down, as with Kubernetes.

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Broken,
    frame::{self, Decoder, Frame, Reset},
    headers::Headers,
    zlib::Deflater,
};
use crate::api::websocket::{self, Reply};

/// Pieces of input (mostly of 32 KiB) that may wait on one stream.
const WAITING: usize = 64;
/// Streams of one connection at a time: two for each of kubectl's.
const STREAMS: usize = 2_000;
/// Frames and new streams that may wait.
const REPLIES: usize = 16;
/// How long a client may take to hear the last word.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Where a client's frames come from.
enum Line<R> {
    /// The connection itself.
    Plain(R),
    /// Messages of a WebSocket; where one ends means nothing.
    Tunnel(websocket::Reader<R>),
}

impl<R: AsyncRead + Unpin> Line<R> {
    /// What comes next; nothing at the end.
    async fn bytes(&mut self, replies: &mpsc::Sender<Reply>) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Plain(reader) => {
                let mut bytes = vec![0; CHUNK];
                let read = reader.read(&mut bytes).await?;
                bytes.truncate(read);
                Ok((read > 0).then_some(bytes))
            }
            Self::Tunnel(reader) => reader.data(replies).await,
        }
    }
}

/// A stream that a client has opened.
#[derive(Debug)]
pub(in crate::api) struct Stream {
    pub(in crate::api) headers: Headers,
    pub(in crate::api) input: Input,
    pub(in crate::api) output: Output,
    /// The client wants nothing more from it, and sends nothing more.
    pub(in crate::api) reset: CancellationToken,
}

/// What a client sends on a stream.
#[derive(Debug)]
pub(in crate::api) struct Input {
    stream: u32,
    pieces: mpsc::Receiver<Bytes>,
    replies: mpsc::Sender<Reply>,
    _taker: Arc<()>,
}

impl Input {
    /// The next piece; nothing at the end.
    pub(in crate::api) async fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.recv().await?;
        taken(&self.replies, self.stream, piece.len()).await;
        Some(piece)
    }
}

/// Tells a client that so many bytes of a stream do not wait any more.
async fn taken(replies: &mpsc::Sender<Reply>, stream: u32, length: usize) {
    let more = u32::try_from(length).unwrap_or_default();
    if more > 0 {
        for about in [stream, 0] {
            let _client_is_gone = replies.send(Reply::Data(frame::window(about, more))).await;
        }
    }
}

/// What a client is sent on a stream.
#[derive(Debug)]
pub(in crate::api) struct Output {
    stream: u32,
    replies: mpsc::Sender<Reply>,
}

impl Output {
    /// False when the client is gone.
    pub(in crate::api) async fn data(&self, data: &[u8]) -> bool {
        self.replies.send(Reply::Data(frame::data(self.stream, false, data))).await.is_ok()
    }

    /// Nothing more will come.
    pub(in crate::api) async fn finish(self) {
        let _client_is_gone = self.replies.send(Reply::Data(frame::data(self.stream, true, &[]))).await;
    }

    /// The stream is not what was expected.
    pub(in crate::api) async fn refuse(self) {
        let _client_is_gone = self.replies.send(Reply::Data(frame::reset(self.stream, Reset::Protocol))).await;
    }
}

/// What is known of a stream while it is open.
struct Open {
    /// None after its client's last piece.
    pieces: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
    /// Gone with whoever serves the stream.
    taker: Weak<()>,
}

/// Speaks SPDY until the client goes, says what makes no sense, or `serve`, which is given each stream that is opened, has ended.
pub(in crate::api) async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    tunnelled: bool,
    serve: impl AsyncFnOnce(mpsc::Receiver<Stream>),
) {
    let (replies, outbox) = mpsc::channel(REPLIES);
    if tunnelled {
        let (reader, writer) = websocket::split(stream);
        talk(Line::Tunnel(reader), replies, writer.all(outbox), serve).await;
    } else {
        let (reader, writer) = tokio::io::split(stream);
        talk(Line::Plain(reader), replies, write(writer, outbox), serve).await;
    }
}

async fn talk<R: AsyncRead + Unpin>(
    line: Line<R>,
    replies: mpsc::Sender<Reply>,
    writing: impl Future<Output = ()>,
    serve: impl AsyncFnOnce(mpsc::Receiver<Stream>),
) {
    let (opened, streams) = mpsc::channel(REPLIES);
    let mut writing = std::pin::pin!(writing);
    let ended = tokio::select! {
        ended = run(line, replies.clone(), opened) => ended,
        () = serve(streams) => Ok(Some(Reply::Close)),
        () = &mut writing => Ok(None),
    };
    let last_words = match ended {
        Ok(None) => return,
        Ok(Some(goodbye)) => vec![goodbye],
        Err((error, last)) => {
            tracing::debug!(%error, "connection given up");
            vec![Reply::Data(frame::farewell(last)), Reply::Close]
        }
    };
    let saying = async {
        for word in last_words {
            let _client_is_gone = replies.send(word).await;
        }
        std::future::pending::<()>().await;
    };
    // A client that does not listen any more is not waited for.
    let _in_time = tokio::time::timeout(FAREWELL, async {
        tokio::select! {
            () = saying => {}
            () = writing => {}
        }
    })
    .await;
}

/// Reads frames until the client goes; each new stream is handed to `opened`, what is to be sent to `replies`. Fails with the last stream's number where the
/// client makes no sense.
async fn run<R: AsyncRead + Unpin>(
    mut line: Line<R>,
    replies: mpsc::Sender<Reply>,
    opened: mpsc::Sender<Stream>,
) -> Result<Option<Reply>, (Broken, u32)> {
    let mut connection = Connection { replies, opened, streams: HashMap::new(), last: 0, headers: Deflater::default() };
    let mut decoder = Decoder::default();
    while let Ok(Some(bytes)) = line.bytes(&connection.replies).await {
        decoder.feed(&bytes);
        while let Some(frame) = decoder.next().map_err(|error| (error, connection.last))? {
            connection.hear(frame).await;
        }
    }
    Ok(None)
}

/// Writes replies as they are, up to the goodbye.
async fn write(mut stream: impl AsyncWrite + Unpin, mut replies: mpsc::Receiver<Reply>) {
    while let Some(Reply::Data(data)) = replies.recv().await {
        if stream.write_all(&data).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    let _client_is_gone = stream.shutdown().await;
}

struct Connection {
    replies: mpsc::Sender<Reply>,
    opened: mpsc::Sender<Stream>,
    streams: HashMap<u32, Open>,
    /// The highest number that a client has given.
    last: u32,
    headers: Deflater,
}

impl Connection {
    async fn hear(&mut self, frame: Frame) {
        match frame {
            Frame::Open { stream, finished, headers } => self.open(stream, finished, headers).await,
            Frame::Data { stream, finished, data } => self.pass_on(stream, finished, data).await,
            Frame::Reset { stream } => {
                if let Some(open) = self.streams.remove(&stream) {
                    open.reset.cancel();
                }
            }
            // Numbers of ours would be even: then it is an answer.
            Frame::Ping { number } if number % 2 == 1 => self.send(frame::ping(number)).await,
            Frame::Ping { .. } | Frame::Other => {}
        }
    }

    async fn send(&self, frame: Bytes) {
        let _client_is_gone = self.replies.send(Reply::Data(frame)).await;
    }

    async fn open(&mut self, number: u32, finished: bool, headers: Headers) {
        // Those whom nobody serves any more are over, whether or not the client says so.
        self.streams.retain(|_, open| open.taker.strong_count() > 0);
        if number.is_multiple_of(2) || number <= self.last {
            return self.send(frame::reset(number, Reset::Protocol)).await;
        }
        self.last = number;
        if self.streams.len() >= STREAMS {
            return self.send(frame::reset(number, Reset::Refused)).await;
        }
        let reply = frame::accepted(number, &mut self.headers);
        self.send(reply).await;
        let (pieces, taken) = mpsc::channel(WAITING);
        let reset = CancellationToken::new();
        let taker = Arc::new(());
        let open = Open { pieces: (!finished).then_some(pieces), reset: reset.clone(), taker: Arc::downgrade(&taker) };
        self.streams.insert(number, open);
        let input = Input { stream: number, pieces: taken, replies: self.replies.clone(), _taker: taker };
        let output = Output { stream: number, replies: self.replies.clone() };
        let stream = Stream { headers, input, output, reset };
        let _nobody_serves_any_more = self.opened.send(stream).await;
    }

    async fn pass_on(&mut self, number: u32, finished: bool, data: Bytes) {
        let Some(open) = self.streams.get_mut(&number) else {
            // Of a stream that is over: what was sent before its client knew.
            taken(&self.replies, number, data.len()).await;
            if number == 0 || number > self.last {
                self.send(frame::reset(number, Reset::Invalid)).await;
            }
            return;
        };
        let length = data.len();
        if let Some(pieces) = &open.pieces
            && length > 0
            && pieces.send(data).await.is_err()
        {
            taken(&self.replies, number, length).await;
        }
        if finished {
            open.pieces = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Talks to a connection of its own: the streams that it opened, and what was said on it.
    async fn after(said: &[Bytes]) -> (Vec<Stream>, Vec<Bytes>) {
        let (replies, mut outbox) = mpsc::channel(100);
        let (opened, mut streams) = mpsc::channel(100);
        assert_eq!(run(Line::Plain(said.concat().as_slice()), replies, opened).await, Ok(None));
        let streams: Vec<Stream> = std::iter::from_fn(|| streams.try_recv().ok()).collect();
        let sent = std::iter::from_fn(|| outbox.try_recv().ok()).map(|reply| match reply {
            Reply::Data(frame) => frame,
            other => panic!("{other:?}"),
        });
        (streams, sent.collect())
    }

    #[tokio::test]
    async fn a_stream_is_taken_carries_data_and_ends() {
        let (mut headers, mut ours) = (Deflater::default(), Deflater::default());
        let said = [
            frame::open(1, false, &[("port", "80")], &mut headers),
            frame::data(1, false, b"one "),
            frame::data(1, true, b"two"),
            frame::data(1, false, b"late"),
            frame::ping(5),
            frame::ping(6),
        ];
        let (mut streams, sent) = after(&said).await;
        assert_eq!(sent, [frame::accepted(1, &mut ours), frame::ping(5)], "a ping of our own would have come back");
        let mut stream = streams.pop().unwrap();
        assert_eq!(stream.headers.text("port"), Some("80"));
        let mut input = stream.input.next().await.unwrap().to_vec();
        input.extend(stream.input.next().await.unwrap());
        assert_eq!((input.as_slice(), stream.input.next().await), (&b"one two"[..], None));
    }

    #[tokio::test]
    async fn what_is_taken_is_told_and_what_nobody_takes_is_told_at_once() {
        let mut headers = Deflater::default();
        let (replies, mut outbox) = mpsc::channel(100);
        let (opened, mut streams) = mpsc::channel(1);
        let (mut client, server) = tokio::io::duplex(1024);
        let talking = tokio::spawn(run(Line::Plain(server), replies, opened));
        client.write_all(&[frame::open(1, false, &[], &mut headers), frame::data(1, false, b"hello")].concat()).await.unwrap();
        let mut stream = streams.recv().await.unwrap();
        let _reply = outbox.recv().await.unwrap();
        assert_eq!(stream.input.next().await.unwrap(), "hello");
        assert_eq!(outbox.recv().await.unwrap(), Reply::Data(frame::window(1, 5)));
        assert_eq!(outbox.recv().await.unwrap(), Reply::Data(frame::window(0, 5)));
        drop(stream);
        client.write_all(&frame::data(1, false, b"nobody")).await.unwrap();
        assert_eq!(outbox.recv().await.unwrap(), Reply::Data(frame::window(1, 6)));
        drop(client);
        assert_eq!(talking.await.unwrap(), Ok(None));
    }

    #[tokio::test]
    async fn a_reset_stream_is_over_and_wrong_numbers_are_refused() {
        let mut headers = Deflater::default();
        let mut said = vec![frame::open(3, false, &[], &mut headers), frame::reset(3, Reset::Refused)];
        for number in [3, 1, 4] {
            said.push(frame::open(number, false, &[], &mut headers));
        }
        said.push(frame::data(9, false, b"x"));
        let (streams, sent) = after(&said).await;
        assert!(streams.len() == 1 && streams[0].reset.is_cancelled());
        assert_eq!(sent[1..4], [3, 1, 4].map(|number| frame::reset(number, Reset::Protocol)));
        assert_eq!(sent.last().unwrap(), &frame::reset(9, Reset::Invalid));
    }

    #[tokio::test]
    async fn streams_that_are_over_leave_room_for_others() {
        let (replies, mut outbox) = mpsc::channel(10);
        let (opened, mut streams) = mpsc::channel(1);
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let talking = tokio::spawn(run(Line::Plain(server), replies, opened));
        let mut headers = Deflater::default();
        for number in 0..u32::try_from(STREAMS).unwrap() + 10 {
            client.write_all(&frame::open(number * 2 + 1, true, &[], &mut headers)).await.unwrap();
            assert!(matches!(outbox.recv().await.unwrap(), Reply::Data(frame) if frame[3] == 2), "stream {number} is taken");
            drop(streams.recv().await.unwrap());
        }
        drop(client);
        assert_eq!(talking.await.unwrap(), Ok(None));
    }

    #[tokio::test]
    async fn garbage_ends_the_connection_with_a_farewell() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"\x80\x02 this is no frame at all").await.unwrap();
        converse(server, false, async |mut streams| while streams.recv().await.is_some() {}).await;
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, frame::farewell(0));
    }

    #[tokio::test]
    async fn whoever_serves_may_end_it() {
        let (mut client, server) = tokio::io::duplex(1024);
        converse(server, true, async |_| {}).await;
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [0x88, 2, 0x03, 0xE8], "a goodbye in the WebSocket's own words");
    }
}
