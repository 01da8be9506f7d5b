//! `kubectl exec` and `attach`: conversations with processes over a WebSocket, in Kubernetes' channel protocol.
//!
//! Its channels: 0 input, 1 output, 2 errors, 3 the end (a `Status`), 4 the size of the terminal; 255 closes a channel (v5 only).

use axum::{
    body::Body,
    http::{Method, Response, StatusCode},
};
use futures_util::future::OptionFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::{
    Api, Call,
    channels::{CHUNK, PROTOCOLS, WAITING, copy, framed, hold},
    kubelet::{ExecRequest, Session, Sink, Source},
    logs, negotiate,
    route::Target,
    websocket::{self, Reply},
};
use crate::{error::ApiError, kinds::POD};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Pieces of input that may wait for a process that is slow to read (8 MiB); what the client says after them waits, too.
const INPUT_WAITING: usize = 256;

pub(super) async fn handle(api: &Api, mut call: Call, target: &Target) -> Result<Response<Body>, ApiError> {
    if call.method != Method::GET && call.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let (namespace, name) = target.key();
    let pod = api.registry().get(&POD, namespace, name)?;
    let query = &call.query;
    let container = logs::container(&pod, name, query.text("container"))?;
    let (stdin, tty) = (query.flag("stdin"), query.flag("tty"));
    let access = api.pods()?;
    let command: Vec<String> = query.all("command");
    let exec = target.subresource.as_deref() == Some("exec");
    if exec && command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
    }
    if exec && !(stdin || query.flag("stdout") || query.flag("stderr")) {
        return Err(ApiError::bad_request("one of stdin, stdout or stderr must be requested"));
    }
    // What is not allowed is told first, whatever the client speaks: kubectl asks again in an older way when it is refused.
    if exec {
        access.may_exec(&pod, &container, &command).await?;
    }
    // Before anything runs: a command whose client cannot talk to it must not have done its work.
    let protocol = websocket::is_asked(&call.headers).then(|| websocket::protocol(&call.headers, &PROTOCOLS)).flatten();
    let (Some(protocol), Some(upgrade)) = (protocol, call.upgrade.take()) else {
        return Err(upgrade_needed());
    };
    let session = if exec {
        access.exec(&pod, &container, ExecRequest { command, stdin, tty }).await?
    } else {
        access.attach(&pod, &container, stdin).await?
    };
    let wanted = Wanted { stdout: call.query.flag("stdout"), stderr: call.query.flag("stderr") };
    hold(api, upgrade, move |stream| converse(stream, session, wanted));
    Ok(websocket::accept(&call.headers, protocol))
}

/// `POST …/pods/NAME/kill?container=`: SIGKILL for a container's process. Kubernetes has no such call, so it is in no list of what is served; whoever
/// teaches what a crash does needs it, and asking for `pods/kill` gives much less away than `pods/exec` would.
pub(super) async fn kill(api: &Api, call: &Call, target: &Target) -> Result<Response<Body>, ApiError> {
    let (namespace, name) = target.key();
    let pod = api.registry().get(&POD, namespace, name)?;
    let container = logs::container(&pod, name, call.query.text("container"))?;
    api.pods()?.kill(&pod, &container).await?;
    let status = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 200, "message": format!("container {container} of pod {name} was killed")});
    negotiate::json(StatusCode::OK, &status)
}

/// SPDY, which older clients speak, is not served.
fn upgrade_needed() -> ApiError {
    ApiError::bad_request(format!(
        "Upgrade request required: this server speaks WebSocket ({}), as kubectl 1.31 and later do",
        PROTOCOLS.join(", ")
    ))
}

/// Which outputs the client reads.
#[derive(Clone, Copy)]
struct Wanted {
    stdout: bool,
    stderr: bool,
}

async fn converse(stream: impl AsyncRead + AsyncWrite, session: Session, wanted: Wanted) {
    let (mut reader, writer) = websocket::split(stream);
    let (replies, outbox) = mpsc::channel::<Reply>(WAITING);
    let Session { stdin, stdout, stderr, resize, exit } = session;
    let (input, typed) = mpsc::channel::<Vec<u8>>(INPUT_WAITING);
    let listening = async {
        let mut input = Some(input);
        // Without its client a command has no reason to go on.
        while let Ok(Some(message)) = reader.data(&replies).await {
            match message.split_first() {
                Some((&STDIN, data)) => {
                    for part in data.chunks(CHUNK) {
                        if let Some(input) = &input {
                            // A process that does not read any more is no reason to stop.
                            let _process_reads_no_more = input.send(part.to_vec()).await;
                        }
                    }
                }
                Some((&RESIZE, size)) => {
                    if let (Some(resize), Some((columns, rows))) = (&resize, size_of(size)) {
                        resize(columns, rows);
                    }
                }
                Some((&CLOSE, [STDIN])) => drop(input.take()),
                Some(_) | None => {}
            }
        }
    };
    let working = async {
        let both = async {
            let (stdout, stderr) = (stdout.map(|source| (source, wanted.stdout)), stderr.map(|source| (source, wanted.stderr)));
            tokio::join!(pass(STDOUT, stdout, &replies), pass(STDERR, stderr, &replies));
        };
        let (ended, ()) = tokio::join!(exit, both);
        let status = serde_json::to_vec(&status_of(ended)).unwrap_or_default();
        let _client_is_gone = replies.send(Reply::Data(framed(ERROR, &status))).await;
        let _client_is_gone = replies.send(Reply::Close).await;
    };
    // Whoever ends first ends all: the client went, or the last word is written.
    tokio::select! {
        () = listening => {}
        () = writer.all(outbox) => {}
        () = async { feed(stdin, typed).await; std::future::pending().await } => {}
        () = async { working.await; std::future::pending().await } => {}
    }
}

/// Gives a process its input, and closes it when the client has. Apart from the listening, so that a full pipe does not hide that the client went.
async fn feed(stdin: Option<Sink>, mut typed: mpsc::Receiver<Vec<u8>>) {
    let Some(mut sink) = stdin else { return };
    while let Some(data) = typed.recv().await {
        if sink.write_all(&data).await.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
}

/// Copies an output to its channel; what nobody wants is read all the same, so that the process does not block.
async fn pass(channel: u8, source: Option<(Source, bool)>, replies: &mpsc::Sender<Reply>) {
    let copy: OptionFuture<_> = source.map(|(source, wanted)| copy(channel, source, wanted, replies)).into();
    copy.await;
}

fn size_of(message: &[u8]) -> Option<(u16, u16)> {
    let size: Value = serde_json::from_slice(message).ok()?;
    let side = |name: &str| size[name].as_u64().and_then(|side| u16::try_from(side).ok());
    Some((side("Width")?, side("Height")?))
}

/// The last word: kubectl takes its exit code from it.
fn status_of(ended: Result<i32, String>) -> Value {
    match ended {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(why) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: {why}"),
            "details": {"causes": [{"message": why}]},
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn an_exit_code_is_told_where_kubectl_looks_for_it() {
        assert_eq!(status_of(Ok(0))["status"], "Success");
        let failed = status_of(Ok(7));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
        assert_eq!(status_of(Err("gone".to_owned()))["message"], "Internal error occurred: gone");
    }

    /// A frame as a client sends it, with a mask that changes nothing.
    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | kind, 0x80 | 126];
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    fn silent(stdin: Sink) -> Session {
        Session { stdin: Some(stdin), stdout: None, stderr: None, resize: None, exit: Box::pin(std::future::pending()) }
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_behind_a_full_pipe() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (sink, _never_read) = tokio::io::duplex(16);
        let talking = async {
            for _ in 0..20 {
                client.write_all(&frame(2, &[STDIN; 60_000])).await.unwrap();
            }
            client.write_all(&frame(8, &[])).await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = converse(server, silent(Box::pin(sink)), Wanted { stdout: true, stderr: true }) => {}
            () = talking => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(20)) => panic!("the conversation goes on without its client"),
        }
    }

    #[tokio::test]
    async fn input_arrives_in_order_and_ends_when_the_client_closes_it() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (sink, mut process) = tokio::io::duplex(16);
        client.write_all(&frame(2, b"\0one ")).await.unwrap();
        client.write_all(&frame(2, b"\0two")).await.unwrap();
        client.write_all(&frame(2, &[CLOSE, STDIN])).await.unwrap();
        let mut read = String::new();
        tokio::select! {
            () = converse(server, silent(Box::pin(sink)), Wanted { stdout: true, stderr: true }) => panic!("the process has not ended"),
            end = process.read_to_string(&mut read) => assert_eq!(end.unwrap(), 7),
        }
        assert_eq!(read, "one two");
    }

    #[test]
    fn a_size_has_both_sides() {
        assert_eq!(size_of(br#"{"Width":120,"Height":40}"#), Some((120, 40)));
        assert_eq!(size_of(br#"{"Width":120}"#), None);
        assert_eq!(framed(STDOUT, b"x"), Bytes::from_static(b"\x01x"));
    }
}
