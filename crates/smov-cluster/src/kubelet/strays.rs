//! Processes that left the group of their container (`setsid`, a daemon): without cgroups they are known by `SMOV_ROOT` in the environment with which they were
//! started, which says whose they are. One that also took that out of its environment is not found.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::proc::{all, read_stat};
use super::process::kill_alone;

const MARK: &[u8] = b"SMOV_ROOT=";
/// How long to wait for killed processes to disappear.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Kills every process whose root is this folder or below it, until there is none, and waits until they are gone: how many there were.
pub(super) fn end_below(folder: &Path) -> usize {
    let deadline = Instant::now() + GONE_WITHIN;
    let mut ended = 0;
    loop {
        let found = below(folder);
        if found.is_empty() {
            return ended;
        }
        ended += found.len();
        found.iter().copied().for_each(kill_alone);
        while found.iter().any(|process| is_alive(*process)) {
            if Instant::now() > deadline {
                tracing::warn!(folder = %folder.display(), ?found, "processes of a container do not end");
                return ended;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Living processes whose root is this folder or below it.
fn below(folder: &Path) -> Vec<u32> {
    let own = std::process::id();
    let living = all().into_iter().filter(|(process, stat)| *process != own && stat.state != 'Z').map(|(process, _)| process);
    living.filter(|process| has_root_below(*process, folder)).collect()
}

fn has_root_below(process: u32, folder: &Path) -> bool {
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let root = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(MARK));
    root.is_some_and(|root| Path::new(std::ffi::OsStr::from_bytes(root)).starts_with(folder))
}

fn is_alive(process: u32) -> bool {
    read_stat(process).is_some_and(|stat| stat.state != 'Z')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn sleeper(root: &Path) -> Child {
        Command::new("setsid").args(["/bin/sleep", "1000"]).env("SMOV_ROOT", root).stdin(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn those_of_one_container_end_and_those_of_its_neighbours_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (own, neighbour) = (folder.path().join("root/app"), folder.path().join("root/app-2"));
        let (mut stray, mut stays) = (sleeper(&own), sleeper(&neighbour));
        assert_eq!(end_below(&own), 1);
        assert!(!stray.wait().unwrap().success());
        assert!(stays.try_wait().unwrap().is_none());
        assert_eq!(end_below(folder.path()), 1);
        stays.wait().unwrap();
        assert_eq!(end_below(folder.path()), 0);
    }
}
