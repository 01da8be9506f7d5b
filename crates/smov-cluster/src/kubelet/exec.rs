//! Commands that the API server runs in a container: with pipes, or on a terminal of their own.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::process::Stdio;
use std::sync::Arc;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};

use super::Shared;
use super::pod::Runnable;
use super::process::{Exit, Launch, kill, spawn};
use crate::api::{ExecRequest, Resize, Session, Sink, Source};

/// What is left of a command, whoever goes first: its client, its container, or itself.
struct Group {
    process: u32,
    shared: Arc<Shared>,
}

impl Drop for Group {
    fn drop(&mut self) {
        kill(self.process);
        self.shared.ledger.forget(self.process);
    }
}

/// Starts the command.
pub(super) async fn start(shared: Arc<Shared>, runnable: Runnable, request: &ExecRequest) -> io::Result<Session> {
    let Runnable { launch, ended } = runnable;
    let Streams { mut child, stdin, stdout, stderr, resize } =
        if request.tty { on_terminal(&shared, launch).await? } else { with_pipes(launch, request.stdin).await? };
    let process = child.id().ok_or_else(|| io::Error::other("the process ended before it was known"))?;
    shared.ledger.record(process);
    let group = Group { process, shared };
    let exit = Box::pin(async move {
        let _ends_with_this = group;
        tokio::select! {
            status = child.wait() => status.map(|status| Exit::from(status).code).map_err(|error| error.to_string()),
            () = ended.cancelled() => Err("the container has ended".to_owned()),
        }
    });
    Ok(Session { stdin, stdout, stderr, resize, exit })
}

struct Streams {
    child: Child,
    stdin: Option<Sink>,
    stdout: Option<Source>,
    stderr: Option<Source>,
    resize: Option<Resize>,
}

fn command(launch: &Launch, arguments: &[OsString]) -> io::Result<Command> {
    let (program, arguments) = arguments.split_first().ok_or_else(|| io::Error::other("empty command"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(&launch.directory)
        .kill_on_drop(true);
    Ok(command)
}

async fn with_pipes(launch: Launch, stdin: bool) -> io::Result<Streams> {
    let mut command = command(&launch, &launch.arguments)?;
    command.process_group(0).stdin(if stdin { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command).await?;
    let stdin = child.stdin.take().map(|stdin| Box::pin(stdin) as Sink);
    let stdout = child.stdout.take().map(|stdout| Box::pin(stdout) as Source);
    let stderr = child.stderr.take().map(|stderr| Box::pin(stderr) as Source);
    Ok(Streams { child, stdin, stdout, stderr, resize: None })
}

/// The shim makes the terminal that of a new session, which the kernel does not let a parent do for its child.
async fn on_terminal(shared: &Shared, launch: Launch) -> io::Result<Streams> {
    let shim = &shared.config.tty_shim;
    if shim.is_empty() {
        return Err(io::Error::other("terminals are not supported here"));
    }
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&main)?;
    unlockpt(&main)?;
    let name = ptsname(&main, Vec::new())?;
    let path = std::path::PathBuf::from(name.to_string_lossy().into_owned());
    let side = File::options().read(true).write(true).open(path)?;
    let arguments: Vec<OsString> = shim.iter().chain(&launch.arguments[shared.config.shim.len()..]).cloned().collect();
    let mut command = command(&launch, &arguments)?;
    if !launch.environment.iter().any(|(key, _)| key == "TERM") {
        command.env("TERM", "xterm");
    }
    command.stdin(side.try_clone()?).stdout(side.try_clone()?).stderr(side);
    let child = spawn(command).await?;
    let main = File::from(main);
    let sized = main.try_clone()?;
    let resize: Resize = Box::new(move |columns, rows| {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(error) = tcsetwinsize(&sized, size) {
            tracing::debug!(%error, "size of a terminal not set");
        }
    });
    let stdin = Box::pin(tokio::fs::File::from_std(main.try_clone()?)) as Sink;
    let stdout = Box::pin(tokio::fs::File::from_std(main)) as Source;
    Ok(Streams { child, stdin: Some(stdin), stdout: Some(stdout), stderr: None, resize: Some(resize) })
}
