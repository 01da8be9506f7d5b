//! Ports over Kubernetes' channel protocol: for the n-th asked port, channel 2n carries its bytes and 2n + 1 what went wrong; both begin with the port, as two
//! bytes.

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::{
    api::{
        channels::{WAITING, copy, framed},
        kubelet::{Dialled, Sink, Source},
        websocket::{self, Reply},
    },
    error::ApiError,
};

/// So many ports fit into the numbers of channels.
const PORTS: usize = 127;

/// `ports=80,81&ports=90`.
pub(super) fn ports(asked: &[String]) -> Result<Vec<u16>, ApiError> {
    let words = asked.iter().flat_map(|list| list.split(','));
    let ports: Result<Vec<u16>, ApiError> = words
        .map(|word| {
            let port = word.trim().parse().ok().filter(|port| *port > 0);
            port.ok_or_else(|| ApiError::bad_request(format!("query parameter \"ports\" has no port number: {word:?}")))
        })
        .collect();
    let ports = ports?;
    match ports.len() {
        0 => Err(ApiError::bad_request("query parameter \"ports\" is required")),
        1..=PORTS => Ok(ports),
        _ => Err(ApiError::bad_request(format!("at most {PORTS} ports at a time"))),
    }
}

/// Passes on until the client goes or the last port is closed.
pub(super) async fn forward(stream: websocket::Stream, streams: Vec<(u16, Result<Dialled, ApiError>)>) {
    let (mut reader, writer) = websocket::split(stream);
    let (replies, outbox) = mpsc::channel::<Reply>(WAITING);
    let (mut sources, mut sinks): (Vec<(u8, Source)>, Vec<Option<Sink>>) = (Vec::new(), Vec::new());
    let mut greetings: Vec<Bytes> = Vec::new();
    for (channel, (port, dialled)) in (0_u8..).step_by(2).zip(streams) {
        greetings.extend([framed(channel, &port.to_le_bytes()), framed(channel + 1, &port.to_le_bytes())]);
        match dialled {
            Ok(Dialled { source, sink }) => {
                sources.push((channel, source));
                sinks.push(Some(sink));
            }
            Err(error) => {
                greetings.push(framed(channel + 1, error.message.as_bytes()));
                sinks.push(None);
            }
        }
    }
    let listening = async {
        while let Ok(Some(message)) = reader.data(&replies).await {
            pass_on(&message, &mut sinks).await;
        }
    };
    let working = async {
        for greeting in greetings {
            if replies.send(Reply::Data(greeting)).await.is_err() {
                return;
            }
        }
        join_all(sources.into_iter().map(|(channel, source)| copy(channel, source, true, &replies))).await;
        let _client_is_gone = replies.send(Reply::Close).await;
    };
    tokio::select! {
        () = listening => {}
        () = writer.all(outbox) => {}
        () = async { working.await; std::future::pending().await } => {}
    }
}

/// One message of the client; a port that does not take it is closed.
async fn pass_on(message: &[u8], sinks: &mut [Option<Sink>]) {
    let Some((channel, data)) = message.split_first().filter(|(channel, _)| **channel % 2 == 0) else { return };
    let Some(place) = sinks.get_mut(usize::from(channel / 2)) else { return };
    if let Some(sink) = place
        && (sink.write_all(data).await.is_err() || sink.flush().await.is_err())
    {
        *place = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_or_repeated() {
        let of = |words: &[&str]| ports(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["80,81", "90"]).unwrap(), [80, 81, 90]);
        assert!(of(&[]).is_err() && of(&["0"]).is_err() && of(&["http"]).is_err());
    }

    #[tokio::test]
    async fn a_message_goes_to_the_port_of_its_channel() {
        let (sink, mut far) = tokio::io::duplex(64);
        let mut sinks: Vec<Option<Sink>> = vec![None, Some(Box::pin(sink))];
        for message in [&b"\x02hello"[..], b"\x03no", b"\x00nobody", b"\x08beyond"] {
            pass_on(message, &mut sinks).await;
        }
        drop(sinks);
        let mut heard = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut far, &mut heard).await.unwrap();
        assert_eq!(heard, "hello");
    }
}
