//! Programs that are not ours: they know nothing of sockets and `$SMOV_ROOT`, so what a manifest says of ports, paths and folders is translated for them.
//!
//! Behind a sidecar such a program listens on 127.0.0.1:`$PORT`; the sidecar has the pod's address and the container's ports. Without one, it listens on
//! `$HOST:$PORT` itself, where `$HOST` is the pod's address.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::PodWorker;
use crate::controllers::fields::{name, namespace, text, uid};
use crate::kubelet::Advice;
use crate::kubelet::limits::{FIRST_LOOK, LAST_LOOK, TERMINATION_LOG_TAIL, TERMINATION_MESSAGE};
use crate::kubelet::mounts::{below, private_folder};
use crate::kubelet::network::mapped_port;
use crate::kubelet::proc::listeners;
use crate::kubelet::process::{Exit, Launch};

/// Where Kubernetes looks for a container's last message, unless told otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

impl PodWorker {
    /// `HOST`, `PORT`, `PORT_<number>`, and a home of its own.
    pub(super) fn tell_own_program(&self, index: usize, variables: &mut BTreeMap<String, String>) {
        let container = &self.containers[index];
        variables.remove("SMOV_APP_SOCKET");
        variables.insert("HOME".to_owned(), self.work_folder(index).display().to_string());
        let host = if self.has_sidecar() { Some("127.0.0.1".to_owned()) } else { self.address.map(|address| address.to_string()) };
        variables.extend(host.map(|host| ("HOST".to_owned(), host)));
        if self.has_sidecar() {
            // What it asks of itself and of its neighbours in the pod is not for the sidecar.
            variables.insert("no_proxy".to_owned(), "localhost,127.0.0.1".to_owned());
        }
        for (place, port) in container.ports().enumerate() {
            let real = self.own_port(index, port).map_or_else(|| mapped_port(&self.object, port), |address| address.port()).to_string();
            if place == 0 {
                variables.insert("PORT".to_owned(), real.clone());
            }
            variables.insert(format!("PORT_{port}"), real);
        }
    }

    /// A manifest that says `PORT: "8080"` beside `containerPort: 8080` means that port, wherever it is here.
    pub(super) fn settle_port(&self, index: usize, environment: &mut BTreeMap<String, String>) {
        let meant = environment.get("PORT").and_then(|port| port.parse().ok()).and_then(|port| self.own_port(index, port));
        if let Some(address) = meant {
            environment.insert("PORT".to_owned(), address.port().to_string());
        }
    }

    fn termination_log(&self, index: usize) -> PathBuf {
        let spec = &self.containers[index].spec;
        let path = Some(text(spec, "/terminationMessagePath")).filter(|path| !path.is_empty()).unwrap_or(TERMINATION_LOG);
        below(&self.shared.folders.root(&self.object, spec), path)
    }

    pub(super) fn make_termination_log(&self, index: usize) -> io::Result<()> {
        let path = self.termination_log(index);
        if let Some(parent) = path.parent() {
            private_folder(parent)?;
        }
        crate::kubelet::mounts::write_private(&path, b"")
    }

    /// What a container said of its end: its message file, or with `FallbackToLogsOnError` the last of its log.
    pub(super) fn termination_message(&self, index: usize, exit: Exit) -> Option<String> {
        let container = &self.containers[index];
        let mut written = std::fs::read(self.termination_log(index)).unwrap_or_default();
        written.truncate(TERMINATION_MESSAGE);
        if written.is_empty() && exit.code != 0 && container.spec["terminationMessagePolicy"] == "FallbackToLogsOnError" {
            return Some(self.log_tail(index)).filter(|tail| !tail.is_empty());
        }
        (!written.is_empty()).then(|| String::from_utf8_lossy(&written).into_owned())
    }

    fn log_tail(&self, index: usize) -> String {
        let container = &self.containers[index];
        let path =
            self.shared.logs.file((namespace(&self.object), name(&self.object), uid(&self.object)), &container.name, container.restarts);
        crate::kubelet::logs::tail(&path, TERMINATION_LOG_TAIL)
    }

    /// A program that failed because it wanted an address that is taken is told which one is its own.
    pub(super) fn explain_failure(&self, index: usize, exit: Exit) {
        let container = &self.containers[index];
        if exit.code == 0 || exit.signal.is_some() {
            return;
        }
        let tail = self.log_tail(index).to_lowercase();
        if ["address already in use", "eaddrinuse", "address in use"].iter().any(|words| tail.contains(words)) {
            let own = container.ports().next().and_then(|port| self.place_of(index, port));
            let advice = Advice::AddressTaken { container: &container.name, own };
            self.event("Warning", "AddressTaken", &self.shared.config.images.advice(&advice));
        }
    }

    /// Where the container must listen for one of its ports.
    fn place_of(&self, index: usize, port: u16) -> Option<SocketAddr> {
        self.own_port(index, port).or_else(|| Some(SocketAddr::new(self.address?, mapped_port(&self.object, port))))
    }

    /// Looks, now and then until it is right, where the program listens, and says so once where that is no use.
    pub(super) fn watch_listening(&mut self, index: usize, leader: u32) {
        let container = &self.containers[index];
        let Some(process) = container.process() else { return };
        let wanted: Vec<(u16, SocketAddr)> = container.ports().filter_map(|port| Some((port, self.place_of(index, port)?))).collect();
        if container.init {
            return;
        }
        let (stop, shared, pod, container_name) =
            (process.probes.clone(), Arc::clone(&self.shared), Arc::clone(&self.object), container.name.clone());
        self.tasks.spawn(async move {
            let look = async {
                let begun = Instant::now();
                let mut pause = FIRST_LOOK;
                let mut told = false;
                while begun.elapsed() < LAST_LOOK {
                    sleep(pause).await;
                    pause *= 2;
                    let found = tokio::task::spawn_blocking(move || listeners(leader)).await.unwrap_or_default();
                    if found.is_empty() {
                        continue;
                    }
                    let missing = wanted.iter().find(|(_, own)| !found.iter().any(|place| serves(*place, *own)));
                    let advice = match missing {
                        Some((port, own)) => Advice::ListensElsewhere { container: &container_name, port: *port, own: *own, found: &found },
                        None if wanted.is_empty() => Advice::NoPort { container: &container_name, found: &found },
                        None => return,
                    };
                    // A second port may open a moment after the first.
                    let serves_some = wanted.iter().any(|(_, own)| found.iter().any(|place| serves(*place, *own)));
                    if !told && !serves_some {
                        told = true;
                        shared.event(&pod, "Warning", "ListensElsewhere", shared.config.images.advice(&advice));
                    }
                }
            };
            tokio::select! {
                () = look => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Does what listens at `place` take connections to `wanted`?
fn serves(place: SocketAddr, wanted: SocketAddr) -> bool {
    place == wanted || (place.port() == wanted.port() && place.ip().is_unspecified())
}

/// A word that is a mount path, or below one, names the mounted folder or file.
pub(super) fn in_mounts(word: String, mounts: &[(String, PathBuf)]) -> String {
    if !word.starts_with('/') {
        return word;
    }
    let path = Path::new(&word);
    let deepest = mounts.iter().filter(|(mount, _)| path.starts_with(mount)).max_by_key(|(mount, _)| mount.len());
    let rest = deepest.and_then(|(mount, folder)| Some((folder, path.strip_prefix(mount).ok()?)));
    match rest {
        Some((folder, rest)) if rest.as_os_str().is_empty() => folder.display().to_string(),
        Some((folder, rest)) => folder.join(rest).display().to_string(),
        None => word,
    }
}

/// `workingDir`: a mounted folder, else a folder of this machine, else (as Kubernetes makes it in the image) a new one in the container's root.
pub(super) fn working_dir(container: &Value, root: &Path, mounts: &[(String, PathBuf)]) -> io::Result<Option<PathBuf>> {
    let asked = text(container, "/workingDir");
    if asked.is_empty() {
        return Ok(None);
    }
    let mounted = PathBuf::from(in_mounts(asked.to_owned(), mounts));
    if mounted.is_dir() {
        return Ok(Some(mounted));
    }
    let own = below(root, asked);
    private_folder(&own)?;
    Ok(Some(own))
}

/// Can the program be run at all? In the words of a container runtime.
pub(super) fn check(program: &str, launch: &Launch) -> io::Result<()> {
    let missing = |why: &str| Err(io::Error::other(format!("exec: \"{program}\": {why}")));
    if program.contains('/') {
        let path = launch.directory.join(program);
        return match path.metadata() {
            Ok(file) if file.is_dir() => missing("is a directory"),
            Ok(file) if file.permissions().mode() & 0o111 == 0 => missing("permission denied"),
            Ok(_) => Ok(()),
            Err(_) => missing("no such file or directory"),
        };
    }
    let path = launch.environment.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_str()).unwrap_or_default();
    let runs = |folder: &str| {
        let file = launch.directory.join(folder).join(program).metadata();
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if path.split(':').filter(|folder| !folder.is_empty()).any(runs) { Ok(()) } else { missing("executable file not found in $PATH") }
}

/// The address on which a probe reaches a program of this pod that named no port of its container.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::process::Input;
    use serde_json::json;

    #[test]
    fn a_path_below_a_mount_is_read_there_and_others_are_left_alone() {
        let mounts = [("/app".to_owned(), PathBuf::from("/state/v/app")), ("/app/data".to_owned(), PathBuf::from("/state/v/data"))];
        let word = |word: &str| in_mounts(word.to_owned(), &mounts);
        assert_eq!(word("/app/server.py"), "/state/v/app/server.py");
        assert_eq!(word("/app/data/x"), "/state/v/data/x");
        assert_eq!(word("/app"), "/state/v/app");
        for other in ["/application/x", "server.py", "--file=/app/x", "/usr/bin/env"] {
            assert_eq!(word(other), other);
        }
    }

    #[test]
    fn a_working_dir_is_mounted_or_of_this_machine_or_made() {
        let folder = tempfile::tempdir().unwrap();
        let (root, mounted) = (folder.path().join("root"), folder.path().join("mounted"));
        std::fs::create_dir_all(&mounted).unwrap();
        let mounts = [("/app".to_owned(), mounted.clone())];
        let of = |path: &str| working_dir(&json!({"workingDir": path}), &root, &mounts).unwrap();
        assert_eq!(of("/app"), Some(mounted));
        assert_eq!(of("/"), Some(PathBuf::from("/")));
        assert_eq!(of("/there/is/none"), Some(root.join("there/is/none")));
        assert!(root.join("there/is/none").is_dir());
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_program_that_cannot_run_is_told_as_a_container_runtime_would() {
        let launch = Launch {
            arguments: Vec::new(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            directory: PathBuf::from("/"),
            input: Input::Nothing,
        };
        let why = |program: &str| check(program, &launch).unwrap_err().to_string();
        assert!(check("sh", &launch).is_ok() && check("/bin/sh", &launch).is_ok() && check("bin/sh", &launch).is_ok());
        assert_eq!(why("no-such-program"), "exec: \"no-such-program\": executable file not found in $PATH");
        assert_eq!(why("/no/such/program"), "exec: \"/no/such/program\": no such file or directory");
        assert_eq!(why("/etc/passwd"), "exec: \"/etc/passwd\": permission denied");
        assert_eq!(why("/etc/"), "exec: \"/etc/\": is a directory");
    }

    #[test]
    fn a_listener_on_all_addresses_serves_too() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(serves(of("127.0.0.1:20001"), of("127.0.0.1:20001")) && serves(of("0.0.0.0:20001"), of("127.0.0.1:20001")));
        assert!(!serves(of("127.0.0.1:8080"), of("127.0.0.1:20001")) && !serves(of("127.7.1.1:20001"), of("127.0.0.1:20001")));
    }
}
