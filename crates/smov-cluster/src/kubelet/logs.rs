//! What containers write: one file per start, `<logs>/<namespace>_<pod>_<uid>/<container>/<n>.log`, each line with the moment it came.
//!
//! At a size cap the file is put aside as `<n>.log.1` (one older file is kept) and a new one begins.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tracing::warn;

use super::limits::LOG_LINE;

/// The log folder of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LogFolder {
    root: PathBuf,
    /// Files that are still written; guards set operations only.
    open: Arc<Mutex<HashSet<PathBuf>>>,
    written: Arc<watch::Sender<()>>,
}

impl LogFolder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, open: Arc::default(), written: Arc::new(watch::Sender::new(())) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// All logs of a pod.
    pub(super) fn pod(&self, namespace: &str, pod: &str, uid: &str) -> PathBuf {
        self.root.join(format!("{namespace}_{pod}_{uid}"))
    }

    /// The log of the `start`-th start of a container (0 is the first).
    pub(super) fn file(&self, (namespace, pod, uid): (&str, &str, &str), container: &str, start: u32) -> PathBuf {
        self.pod(namespace, pod, uid).join(container).join(format!("{start}.log"))
    }

    /// Makes the file of a run that begins now.
    pub(super) fn begin(&self, path: PathBuf) -> io::Result<PathBuf> {
        if let Some(parent) = path.parent() {
            super::mounts::private_folder(parent)?;
        }
        OpenOptions::new().append(true).create(true).open(&path)?;
        self.open().insert(path.clone());
        Ok(path)
    }

    /// True while the run that writes this file goes on.
    pub(super) fn is_open(&self, path: &Path) -> bool {
        self.open().contains(path)
    }

    /// Told after each write, and when a file is complete.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    fn end(&self, path: &Path) {
        self.open().remove(path);
        self.written.send_replace(());
    }

    fn open(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of the time before the last rotation.
pub(super) fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Keeps the logs of this start and the one before; older ones go.
pub(super) fn forget_older(path: &Path, start: u32) {
    let Some(before) = start.checked_sub(2) else { return };
    let old = path.with_file_name(format!("{before}.log"));
    let _already_gone = fs::remove_file(rotated(&old));
    let _already_gone = fs::remove_file(old);
}

/// The last of a log without its stamps: at most so many bytes, whole lines.
pub(super) fn tail(path: &Path, bytes: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> = Vec::new();
    let mut length = 0;
    for line in text.lines().rev().map(|line| line.split_once(' ').map_or("", |(_, line)| line)) {
        length += line.len() + 1;
        if length > bytes {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    lines.iter().flat_map(|line| [*line, "\n"]).collect()
}

/// Copies a container's output to its log until the last writer has closed.
pub(super) async fn pump(mut output: pipe::Receiver, folder: LogFolder, path: PathBuf, cap: u64) {
    let mut log = match Log::open(path.clone(), cap) {
        Ok(log) => log,
        Err(error) => {
            warn!(%error, "cannot write a container's log");
            folder.end(&path);
            return;
        }
    };
    let mut chunk = vec![0; 4096];
    loop {
        match output.read(&mut chunk).await {
            Ok(0) => break,
            Ok(read) => {
                log.take(&chunk[..read]);
                folder.written.send_replace(());
            }
            Err(error) => {
                warn!(%error, "cannot read a container's output");
                break;
            }
        }
        // A busy container gets a larger buffer, an idle one keeps a small one.
        if chunk.len() < LOG_LINE && log.last_was_full(chunk.len()) {
            chunk.resize(LOG_LINE, 0);
        }
    }
    log.finish();
    folder.end(&path);
}

struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    cap: u64,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    last_read: usize,
    failed: bool,
}

impl Log {
    fn open(path: PathBuf, cap: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, cap, partial: Vec::new(), last_read: 0, failed: false })
    }

    fn last_was_full(&self, capacity: usize) -> bool {
        self.last_read == capacity
    }

    fn take(&mut self, chunk: &[u8]) {
        self.last_read = chunk.len();
        let stamp = stamp();
        let mut out = Vec::with_capacity(chunk.len() + 64);
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") || self.partial.len() >= LOG_LINE {
                self.line(&stamp, &mut out);
            }
        }
        self.write(&out);
    }

    fn line(&mut self, stamp: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(stamp.as_bytes());
        out.push(b' ');
        out.append(&mut self.partial);
        if !out.ends_with(b"\n") {
            out.push(b'\n');
        }
    }

    fn finish(&mut self) {
        if !self.partial.is_empty() {
            let mut out = Vec::new();
            self.line(&stamp(), &mut out);
            self.write(&out);
        }
    }

    /// A full disk must not stop the container: what cannot be written is lost, and said once.
    fn write(&mut self, out: &[u8]) {
        if out.is_empty() {
            return;
        }
        let result = self.rotate_before(out.len() as u64).and_then(|()| self.file.write_all(out));
        match result {
            Ok(()) => {
                self.size += out.len() as u64;
                self.failed = false;
            }
            Err(error) if !self.failed => {
                warn!(%error, path = %self.path.display(), "a container's log is incomplete");
                self.failed = true;
            }
            Err(_) => {}
        }
    }

    fn rotate_before(&mut self, more: u64) -> io::Result<()> {
        if self.size == 0 || self.size + more <= self.cap {
            return Ok(());
        }
        fs::rename(&self.path, rotated(&self.path))?;
        self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// Now with nanoseconds, always the same width.
fn stamp() -> String {
    format!("{:.9}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_stamped_and_a_full_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut log = Log::open(path.clone(), 100).unwrap();
        log.take(b"first\nsec");
        log.take(b"ond\n");
        log.take(b"third without end");
        log.finish();
        let old = fs::read_to_string(rotated(&path)).unwrap();
        let new = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = old.lines().chain(new.lines()).filter_map(|line| line.split_once(' ')).map(|(_, line)| line).collect();
        assert_eq!(lines, ["first", "second", "third without end"]);
        assert_eq!(tail(&path, 100), "third without end\n");
        assert_eq!(tail(&path, 5), "");
        assert!(old.split(' ').next().unwrap().parse::<Timestamp>().is_ok());
    }
}
