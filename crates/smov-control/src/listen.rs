//! Unix sockets that only the own user may open, and that a successor may take over.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A socket that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be listened on", path = path.display())]
pub struct ListenError {
    /// Where.
    path: PathBuf,
    /// Why.
    #[source]
    source: io::Error,
}

/// A socket's place in the file system. When dropped the file is removed, unless a successor's is there by then.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

/// Listens on a socket with mode 0600, in a folder that is made with mode 0700.
///
/// What is there already is replaced in one rename: during a rollout the new istiod takes over while the old one still ends its
/// streams, and a proxy that connects always finds one of them.
pub(crate) fn listen(path: &Path) -> Result<(UnixListener, Place), ListenError> {
    bind(path).map_err(|source| ListenError { path: path.to_owned(), source })
}

fn bind(path: &Path) -> io::Result<(UnixListener, Place)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is not a socket"));
    }
    // Short, because a socket's path may have 107 bytes only.
    let new = path.with_file_name(format!(".{}", std::process::id()));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    let file = identity(&new)?;
    std::fs::rename(&new, path)?;
    Ok((listener, Place { path: path.to_owned(), file }))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for Place {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // Somebody may have cleaned up already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_successor_takes_the_socket_over_and_keeps_it_when_the_old_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let (old, old_place) = listen(&path).unwrap();
        let (new, new_place) = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop((old, old_place));
        let (_client, accepted) = tokio::join!(tokio::net::UnixStream::connect(&path), new.accept());
        accepted.unwrap();
        drop(new_place);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_folder_is_made_for_the_own_user_only_and_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.sock");
        let _socket = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(folder.path().join("file"), "x").unwrap();
        assert!(listen(&folder.path().join("file")).is_err());
        assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "x");
    }
}
