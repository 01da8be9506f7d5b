//! The state folder: one owner at a time, one version, one block of loopback addresses.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::text;

/// The form of the folder that this binary writes and reads.
pub(crate) const VERSION: &str = "1";

/// What a running `smov up` writes down for the other commands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    /// The process.
    pub(crate) pid: u32,
    /// The page: `http://localhost:8080`.
    pub(crate) page: String,
    /// The operator door.
    pub(crate) operator: String,
    /// Unix sockets of the control planes' debug API, by cluster.
    pub(crate) debug_sockets: Vec<(String, PathBuf)>,
    /// `redis`, `sqlite` or an address.
    pub(crate) store: String,
    /// The seed, when there is one.
    pub(crate) seed: Option<u64>,
    /// `smov` or `envoy`; a pod's annotation may say otherwise for that pod.
    #[serde(default)]
    pub(crate) data_plane: String,
    /// Where Prometheus answers, if it was started.
    #[serde(default)]
    pub(crate) prometheus: Option<String>,
}

/// An opened, locked state folder. Dropping it gives the lock and the address block back.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
    runtime: PathBuf,
    block: u8,
    _lock: File,
    _block_lock: File,
}

pub(crate) fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, text::STATE_UNWRITABLE, &[&folder.display(), error]).hint(text::STATE_UNWRITABLE_HINT, &[])
}

/// A folder that only this user may enter.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only this user may read, in one step.
pub(crate) fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl State {
    /// Opens the folder for `smov up`: makes it, takes its lock, checks its version, claims addresses.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        private_folder(folder).map_err(|error| unwritable(folder, &error))?;
        let folder = folder.canonicalize().map_err(|error| unwritable(folder, &error))?;
        let lock = lock_file(&folder.join("lock")).map_err(|error| unwritable(&folder, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = RunInfo::read(&folder).map_or_else(|| "?".to_owned(), |info| info.pid.to_string());
                return Err(
                    Failure::new(Exit::Usage, text::ALREADY_RUNNING, &[&folder.display(), &pid]).hint(text::ALREADY_RUNNING_HINT, &[])
                );
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&folder, &error)),
        }
        check_version(&folder)?;
        let runtime_root = runtime_root();
        private_folder(&runtime_root).map_err(|error| unwritable(&runtime_root, &error))?;
        let (block, block_lock) = claim_block(&folder, &runtime_root).map_err(|error| unwritable(&runtime_root, &error))?;
        let runtime = runtime_root.join(block.to_string());
        // Sockets of an earlier run are of no use to anyone: the lock says that it is over.
        let _ = std::fs::remove_dir_all(&runtime);
        private_folder(&runtime).map_err(|error| unwritable(&runtime, &error))?;
        let _ = std::fs::remove_file(folder.join("run.json"));
        Ok(Self { folder, runtime, block, _lock: lock, _block_lock: block_lock })
    }

    /// The folder, absolute.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A short path for sockets, gone with the run.
    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The claimed block: 127.BLOCK.0.0/16.
    pub(crate) fn block(&self) -> u8 {
        self.block
    }

    /// Where the folder's kubeconfig is.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A remembered choice, one line.
    pub(crate) fn note(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok().map(|text| text.trim().to_owned())
    }

    /// Remembers a choice.
    pub(crate) fn write_note(&self, name: &str, value: &str) -> Result<(), Failure> {
        write_private(&self.folder.join(name), value).map_err(|error| unwritable(&self.folder, &error))
    }

    /// Tells other commands what runs.
    pub(crate) fn publish(&self, info: &RunInfo) -> Result<(), Failure> {
        let content = serde_json::to_string_pretty(info).expect("plain data serialises");
        write_private(&self.folder.join("run.json"), &content).map_err(|error| unwritable(&self.folder, &error))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("run.json"));
        let _ = std::fs::remove_dir_all(&self.runtime);
    }
}

impl RunInfo {
    fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join("run.json")).ok()?).ok()
    }

    /// What runs on this folder now; a failure with a hint when nothing does.
    pub(crate) fn of_running(folder: &Path) -> Result<Self, Failure> {
        let not_running = || Failure::new(Exit::Unreachable, text::NOT_RUNNING, &[&folder.display()]).hint(text::NOT_RUNNING_HINT, &[]);
        let lock = File::open(folder.join("lock")).map_err(|_| not_running())?;
        match lock.try_lock_shared() {
            // The lock is free: whoever wrote run.json is gone.
            Ok(()) => Err(not_running()),
            Err(_) => Self::read(folder).ok_or_else(not_running),
        }
    }
}

fn check_version(folder: &Path) -> Result<(), Failure> {
    let file = folder.join("version");
    match std::fs::read_to_string(&file) {
        Ok(found) if found.trim() == VERSION => Ok(()),
        Ok(found) => Err(Failure::new(Exit::Usage, text::STATE_VERSION, &[&folder.display(), &found.trim(), &VERSION])
            .hint(text::STATE_VERSION_HINT, &[])),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_private(&file, VERSION).map_err(|error| unwritable(folder, &error))
        }
        Err(error) => Err(unwritable(folder, &error)),
    }
}

/// `/tmp/smov-UID`: short, since a unix socket's path has at most 107 bytes.
fn runtime_root() -> PathBuf {
    PathBuf::from(format!("/tmp/smov-{}", rustix::process::getuid().as_raw()))
}

/// Blocks that a folder may claim; the low ones are used by others (systemd-resolved: 127.0, 127.1 by hand).
const BLOCKS: std::ops::RangeInclusive<u8> = 16..=239;

/// Claims a block for as long as the returned file is open: the one used before, if it is free.
fn claim_block(folder: &Path, runtime_root: &Path) -> std::io::Result<(u8, File)> {
    let remembered =
        std::fs::read_to_string(folder.join("block")).ok().and_then(|text| text.trim().parse().ok()).filter(|block| BLOCKS.contains(block));
    let span = u32::from(BLOCKS.end() - BLOCKS.start()) + 1;
    let spread =
        folder.as_os_str().as_encoded_bytes().iter().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let start = remembered.unwrap_or(BLOCKS.start() + u8::try_from(spread % span).expect("a span of blocks is under 256"));
    for step in 0..span {
        let offset = (u32::from(start - BLOCKS.start()) + step) % span;
        let block = BLOCKS.start() + u8::try_from(offset).expect("a span of blocks is under 256");
        let file = lock_file(&runtime_root.join(format!("{block}.lock")))?;
        match file.try_lock() {
            Ok(()) => {
                write_private(&folder.join("block"), &block.to_string())?;
                return Ok((block, file));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(std::io::Error::other("every block of 127.0.0.0/8 is claimed by another state folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_owner_and_keeps_its_block() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::open(folder.path()).unwrap();
        let block = first.block();
        assert!(State::open(folder.path()).is_err());
        let elsewhere = tempfile::tempdir().unwrap();
        let other = State::open(elsewhere.path()).unwrap();
        assert_ne!(other.block(), block);
        drop(first);
        assert_eq!(State::open(folder.path()).unwrap().block(), block);
    }

    #[test]
    fn a_folder_of_another_version_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("version"), "99").unwrap();
        assert!(State::open(folder.path()).is_err());
        assert_eq!(std::fs::read_to_string(folder.path().join("version")).unwrap(), "99");
    }

    #[test]
    fn run_info_is_only_believed_while_the_owner_lives() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let info = RunInfo {
            pid: 1,
            page: "p".into(),
            operator: "o".into(),
            debug_sockets: vec![],
            store: "sqlite".into(),
            seed: None,
            data_plane: "smov".into(),
            prometheus: None,
        };
        state.publish(&info).unwrap();
        assert_eq!(RunInfo::of_running(folder.path()).unwrap().page, "p");
        let copy = std::fs::read(folder.path().join("run.json")).unwrap();
        drop(state);
        std::fs::write(folder.path().join("run.json"), copy).unwrap();
        assert!(RunInfo::of_running(folder.path()).is_err());
    }
}
