//! Starting processes. All are spawned by one thread that lives as long as this process: the parent-death signal that the shim sets on a child fires when the
//! *thread* that spawned it ends, so a worker thread of the runtime would not do.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What to run: everything is given, nothing is inherited.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: PathBuf,
    pub(super) input: Input,
}

/// What a process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A pipe that we hold: it closes when we end, however we end.
    Kept,
    /// Nothing, as containers without `stdin: true`.
    Nothing,
}

/// A started process: leader of a group of its own.
pub(super) struct Running {
    pub(super) process: u32,
    pub(super) child: Child,
    /// Kept open as long as we live: children may end themselves when it closes.
    pub(super) stdin: Option<ChildStdin>,
    /// What it writes to stdout and stderr, in the order in which it wrote.
    pub(super) output: pipe::Receiver,
}

struct Request {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

fn spawner() -> &'static mpsc::Sender<Request> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        let thread = std::thread::Builder::new().name("smov-spawn".to_owned());
        thread
            .spawn(move || {
                // The sender is static, so this loop never ends before the process.
                for mut request in requests {
                    let _entered = request.runtime.enter();
                    let _unheard = request.reply.send(request.command.spawn());
                }
            })
            .expect("a thread can be started at start-up");
        sender
    })
}

/// Starts the process.
pub(super) async fn start(launch: &Launch) -> io::Result<Running> {
    let (program, arguments) = launch.arguments.split_first().ok_or_else(|| io::Error::other("empty command"))?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(&launch.directory)
        .process_group(0)
        .stdin(match launch.input {
            Input::Kept => Stdio::piped(),
            Input::Nothing => Stdio::null(),
        })
        .stderr(writer.try_clone()?)
        .stdout(writer)
        .kill_on_drop(true);
    let mut child = spawn(command).await?;
    let process = child.id().ok_or_else(|| io::Error::other("the process ended before it was known"))?;
    let stdin = child.stdin.take();
    Ok(Running { process, child, stdin, output: pipe::Receiver::from_owned_fd(reader.into())? })
}

/// Spawns by the one thread that may.
pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    let (reply, answer) = oneshot::channel();
    let request = Request { command, runtime: Handle::current(), reply };
    spawner().send(request).map_err(|_| io::Error::other("the spawning thread has ended"))?;
    answer.await.map_err(|_| io::Error::other("the spawning thread has ended"))?
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// The exit code, or 128 + signal, as shells and Kubernetes count.
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        let signal = status.signal();
        Self { code: status.code().or(signal.map(|signal| 128 + signal)).unwrap_or(255), signal }
    }
}

/// Asks the leader to end. One that has ended already is no error.
pub(super) fn terminate(process: u32) {
    if let Some(process) = pid(process) {
        let _already_gone = kill_process(process, Signal::TERM);
    }
}

/// Ends the whole group at once.
pub(super) fn kill(process: u32) {
    if let Some(process) = pid(process) {
        let _already_gone = kill_process_group(process, Signal::KILL);
    }
}

/// Ends one process at once, leader of a group or not.
pub(super) fn kill_alone(process: u32) {
    if let Some(process) = pid(process) {
        let _already_gone = kill_process(process, Signal::KILL);
    }
}

fn pid(process: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn shell(script: &str) -> Launch {
        Launch {
            arguments: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
            environment: vec![("ONLY".to_owned(), "this".to_owned())],
            directory: std::env::temp_dir(),
            input: Input::Kept,
        }
    }

    #[tokio::test]
    async fn output_and_errors_come_in_one_stream_and_the_environment_is_only_ours() {
        let mut running = start(&shell("echo out; echo err >&2; echo $ONLY$HOME")).await.unwrap();
        let mut text = String::new();
        running.output.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "out\nerr\nthis\n");
        assert_eq!(Exit::from(running.child.wait().await.unwrap()), Exit { code: 0, signal: None });
    }

    #[tokio::test]
    async fn a_killed_process_tells_its_signal() {
        let mut running = start(&shell("kill -9 $$")).await.unwrap();
        assert_eq!(Exit::from(running.child.wait().await.unwrap()), Exit { code: 137, signal: Some(9) });
    }

    #[tokio::test]
    async fn the_whole_group_dies() {
        let mut running = start(&shell("sleep 1000 & echo ready; wait")).await.unwrap();
        let mut ready = [0; 6];
        running.output.read_exact(&mut ready).await.unwrap();
        kill(running.process);
        // The pipe closes only when the sleeping grandchild is gone, too.
        let mut rest = String::new();
        running.output.read_to_string(&mut rest).await.unwrap();
        running.child.wait().await.unwrap();
    }
}
