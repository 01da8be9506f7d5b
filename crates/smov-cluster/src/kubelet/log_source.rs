//! Reading container logs back, for `kubectl logs`: tail, since, previous, follow.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::logs::{LogFolder, rotated};
use crate::api::{LogOptions, LogSource, LogStream};
use crate::controllers::fields::{items, number, text, uid};
use crate::error::ApiError;
use crate::kinds::POD;
use crate::registry::Registry;

/// About how much is read and sent at once.
const CHUNK: usize = 64 * 1024;

/// The logs of one cluster's pods.
pub struct PodLogs {
    folder: LogFolder,
    registry: Registry,
}

impl PodLogs {
    pub(super) fn new(folder: LogFolder, registry: Registry) -> Self {
        Self { folder, registry }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl LogSource for PodLogs {
    fn open(&self, namespace: &str, pod: &str, container: &str, options: LogOptions) -> Result<LogStream, ApiError> {
        let object = self.registry.get(&POD, namespace, pod)?;
        let path = self.choose(&object, (namespace, pod), container, options.previous)?;
        let reader = Reader::open(&self.folder, path, options).map_err(ApiError::internal)?;
        Ok(Box::pin(stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) })))
    }
}

impl PodLogs {
    /// The file of the present (or last) run, or of the one before.
    fn choose(&self, object: &Value, (namespace, pod): (&str, &str), container: &str, previous: bool) -> Result<PathBuf, ApiError> {
        let statuses = items(object, "/status/containerStatuses").iter().chain(items(object, "/status/initContainerStatuses"));
        let status = statuses.into_iter().find(|status| text(status, "/name") == container);
        let restarts = status.and_then(|status| number(status, "/restartCount")).and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let file = |start: u32| self.folder.file((namespace, pod, uid(object)), container, start);
        if previous {
            let found = restarts.checked_sub(1).map(file).filter(|path| path.exists());
            return found
                .ok_or_else(|| ApiError::bad_request(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")));
        }
        let path = file(restarts);
        if path.exists() {
            return Ok(path);
        }
        let reason = status.map_or("", |status| text(status, "/state/waiting/reason"));
        let reason = if reason.is_empty() { "ContainerCreating" } else { reason };
        Err(ApiError::bad_request(format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")))
    }
}

struct Reader {
    folder: LogFolder,
    path: PathBuf,
    files: VecDeque<BufReader<File>>,
    options: LogOptions,
    /// Lines to leave out so that only the wanted tail remains.
    skip: usize,
    left: Option<u64>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
    written: watch::Receiver<()>,
}

impl Reader {
    fn open(folder: &LogFolder, path: PathBuf, options: LogOptions) -> io::Result<Self> {
        let written = folder.subscribe();
        let skip = match options.tail_lines {
            Some(tail) => count_lines(&path, options.since)?.saturating_sub(tail),
            None => 0,
        };
        let left = options.limit_bytes;
        Ok(Self { folder: folder.clone(), files: files(&path)?, path, options, skip, left, partial: Vec::new(), written })
    }

    /// The next piece; none at the end, which with `follow` is the end of the run.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            self.written.mark_unchanged();
            let open = self.options.follow && self.folder.is_open(&self.path);
            let mut chunk = self.read()?;
            if !chunk.is_empty() {
                if let Some(left) = &mut self.left {
                    chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= chunk.len() as u64;
                }
                return Ok(Some(chunk.into()));
            }
            if self.reopen()? {
                continue;
            }
            if !open {
                return Ok(None);
            }
            if self.written.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Whole lines that are there now, as wanted; empty at the present end.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < CHUNK {
            let Some(file) = self.files.front_mut() else { break };
            if file.read_until(b'\n', &mut self.partial)? == 0 {
                if self.files.len() == 1 {
                    break;
                }
                self.files.pop_front();
                continue;
            }
            if !self.partial.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.partial);
            let Some(content) = wanted(&line, self.options.since) else { continue };
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                out.extend_from_slice(if self.options.timestamps { &line } else { content });
            }
        }
        Ok(out)
    }

    /// True when the file was put aside meanwhile: the new one is next.
    fn reopen(&mut self) -> io::Result<bool> {
        let Some(held) = self.files.front() else { return Ok(false) };
        let Ok(current) = File::open(&self.path) else { return Ok(false) };
        if held.get_ref().metadata()?.ino() == current.metadata()?.ino() {
            return Ok(false);
        }
        self.files.push_back(BufReader::new(current));
        Ok(true)
    }
}

/// The older part, where there is one, and the present file.
fn files(path: &std::path::Path) -> io::Result<VecDeque<BufReader<File>>> {
    let mut files = VecDeque::new();
    if let Ok(older) = File::open(rotated(path)) {
        files.push_back(BufReader::new(older));
    }
    files.push_back(BufReader::new(File::open(path)?));
    Ok(files)
}

fn count_lines(path: &std::path::Path, since: Option<Timestamp>) -> io::Result<usize> {
    let mut count = 0;
    let mut line = Vec::new();
    for mut file in files(path)? {
        while file.read_until(b'\n', &mut line)? > 0 {
            count += usize::from(line.ends_with(b"\n") && wanted(&line, since).is_some());
            line.clear();
        }
    }
    Ok(count)
}

/// The line without its stamp, where it is not too old.
fn wanted(line: &[u8], since: Option<Timestamp>) -> Option<&[u8]> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    if let Some(since) = since {
        let stamp: Timestamp = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
        if stamp < since {
            return None;
        }
    }
    Some(&line[space + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::logs::pump;
    use std::io::Write as _;
    use tokio::net::unix::pipe;

    async fn all(reader: &mut Reader) -> String {
        let mut text = String::new();
        while let Some(bytes) = reader.next().await.unwrap() {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_follower_sees_what_was_there_what_comes_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFolder::new(folder.path().to_owned());
        let path = logs.file(("n", "p", "u"), "app", 0);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let output = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        // The small cap makes the file rotate while it is followed.
        let pumping = tokio::spawn(pump(output, logs.clone(), logs.begin(path.clone()).unwrap(), 120));
        writer.write_all(b"one\n").unwrap();
        let mut following = Reader::open(&logs, path.clone(), LogOptions { follow: true, ..LogOptions::default() }).unwrap();
        let mut seen = String::from_utf8(following.next().await.unwrap().unwrap().to_vec()).unwrap();
        for line in ["two\n", "three\n", "four\n"] {
            writer.write_all(line.as_bytes()).unwrap();
            seen.push_str(std::str::from_utf8(&following.next().await.unwrap().unwrap()).unwrap());
        }
        drop(writer);
        pumping.await.unwrap();
        seen.push_str(&all(&mut following).await);
        assert_eq!(seen, "one\ntwo\nthree\nfour\n");
        let tail = LogOptions { tail_lines: Some(2), ..LogOptions::default() };
        assert_eq!(all(&mut Reader::open(&logs, path.clone(), tail).unwrap()).await, "three\nfour\n");
        let limited = LogOptions { tail_lines: Some(2), limit_bytes: Some(4), ..LogOptions::default() };
        assert_eq!(all(&mut Reader::open(&logs, path.clone(), limited).unwrap()).await, "thre");
        let future = LogOptions { since: Some(Timestamp::now() + jiff::SignedDuration::from_hours(1)), ..LogOptions::default() };
        assert_eq!(all(&mut Reader::open(&logs, path, future).unwrap()).await, "");
    }
}
