//! No process outlives `smov up`: each start is noted in the state folder, and what an earlier run left behind is killed before anything new starts.
//!
//! A process is known again by its id *and* its start time (`/proc/<pid>/stat`, field 22) *and* the boot, so that a stranger who got the same id is never
//! touched. Where there is no `/proc`, nothing is noted and nothing is swept.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::proc::read_stat;
use super::process::kill;
use super::strays;

/// How long to wait for killed processes to disappear.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// The notes of one cluster: one file per running process, named by its id.
pub(super) struct Ledger {
    directory: PathBuf,
    /// Folders below this one are the `$SMOV_ROOT`s of our containers.
    pods: PathBuf,
}

impl Ledger {
    pub(super) fn open(directory: PathBuf, pods: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, pods })
    }

    /// Notes a process that has just started.
    pub(super) fn record(&self, process: u32) {
        let Some((stat, boot)) = read_stat(process).zip(boot_id()) else { return };
        if let Err(error) = fs::write(self.note(process), format!("{} {boot}", stat.started)) {
            warn!(%error, process, "cannot note a process; a crash of smov could leave it behind");
        }
    }

    /// The process has ended.
    pub(super) fn forget(&self, process: u32) {
        let _never_noted = fs::remove_file(self.note(process));
    }

    /// Kills what an earlier run left behind, and waits until it is gone.
    pub(super) fn sweep(&self) -> io::Result<usize> {
        let boot = boot_id().unwrap_or_default();
        let mut killed = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let process = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
            let note = fs::read_to_string(&path).unwrap_or_default();
            if let (Some(process), Some((started, noted_boot))) = (process, note.split_once(' '))
                && noted_boot == boot
                && read_stat(process).is_some_and(|stat| stat.started.to_string() == started)
            {
                killed.push(process);
            }
            fs::remove_file(&path)?;
        }
        for process in &killed {
            kill(*process);
            super::process::kill_alone(*process);
        }
        let deadline = Instant::now() + GONE_WITHIN;
        while killed.iter().any(|process| is_alive(*process)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        // What these have started, whether or not it is still in their groups.
        let count = killed.len() + strays::end_below(&self.pods);
        if count > 0 {
            info!(count, "processes of an earlier run were ended");
        }
        Ok(count)
    }

    fn note(&self, process: u32) -> PathBuf {
        self.directory.join(process.to_string())
    }
}

fn is_alive(process: u32) -> bool {
    read_stat(process).is_some_and(|stat| stat.state != 'Z')
}

fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn what_an_earlier_run_left_is_killed_and_a_stranger_with_the_same_id_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path().join("pids"), folder.path().join("pods")).unwrap();
        let sleeper = || Command::new("/bin/sleep").arg("1000").process_group(0).stdin(Stdio::null()).spawn().unwrap();
        let (mut ours, mut stranger) = (sleeper(), sleeper());
        ledger.record(ours.id());
        fs::write(ledger.note(stranger.id()), format!("1 {}", boot_id().unwrap())).unwrap();
        assert_eq!(ledger.sweep().unwrap(), 1);
        assert!(!ours.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("pids")).unwrap().count(), 0);
    }

    #[test]
    fn what_left_its_group_and_outlived_its_leader_is_killed_too() {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        let ledger = Ledger::open(folder.path().join("pids"), pods.clone()).unwrap();
        let mut stray = Command::new("setsid")
            .args(["/bin/sleep", "1000"])
            .env("SMOV_ROOT", pods.join("uid/root/app"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // Until setsid has become what it starts, there is a moment without an environment.
        while fs::read_to_string(format!("/proc/{}/cmdline", stray.id())).is_ok_and(|command| !command.starts_with("/bin/sleep")) {
            std::thread::yield_now();
        }
        assert_eq!(ledger.sweep().unwrap(), 1);
        assert!(!stray.wait().unwrap().success());
    }
}
