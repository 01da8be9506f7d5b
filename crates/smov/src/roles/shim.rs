//! `smov shim`: runs a program that dies with its parent.
//!
//! The kubelet cannot ask the kernel for a parent-death signal on behalf of a child without `unsafe`; a child can ask for itself. So
//! every container starts as this shim, which asks, checks that the parent did not die in between, and becomes the program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Becomes `command`; returns only when that fails.
pub(crate) fn run(parent: u32, tty: bool, command: &[OsString]) -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        crate::printer::error(&format!("cannot ask for a parent-death signal: {error}"));
        return ExitCode::from(126);
    }
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now != parent {
        return ExitCode::from(126);
    }
    if tty && let Err(error) = rustix::process::setsid().map(drop).and_then(|()| rustix::process::ioctl_tiocsctty(std::io::stdin())) {
        crate::printer::error(&format!("cannot take the terminal: {error}"));
        return ExitCode::from(126);
    }
    let Some((program, arguments)) = command.split_first() else {
        return ExitCode::from(127);
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    crate::printer::error(&format!("cannot run {}: {error}", program.to_string_lossy()));
    ExitCode::from(127)
}
