//! Which process is which container: from /proc, as a person with `ps` would find it.

use std::path::Path;
use std::process::Command;

use crate::api::Pod;

/// Part of an Envoy's command line: its bootstrap in the pod's folder.
const ENVOY: &str = "/envoy.json";

/// The process of a pod's container: of the sidecar (`istio-proxy`), or of the app.
///
/// Processes are known by the pod's uid in their environment; redis overwrites that, but names its socket in the pod's folder.
pub(crate) fn process_of(state: &Path, pod: &Pod, sidecar: bool) -> anyhow::Result<u32> {
    let short: String = pod.uid.chars().filter(|letter| *letter != '-').take(12).collect();
    let ours = state.display().to_string();
    for (id, line, environment) in processes() {
        let is_of_pod = (environment.contains(&ours) && environment.contains(&pod.uid)) || line.contains(&format!("/pods/{short}/"));
        if is_of_pod && line.contains("\0proxy\0") == sidecar && !line.contains(ENVOY) {
            return Ok(id);
        }
    }
    anyhow::bail!("no process of {} (sidecar: {sidecar})", pod.name)
}

/// The real Envoy of a pod, the child of its sidecar's agent.
pub(crate) fn envoy_of(pod: &Pod) -> anyhow::Result<u32> {
    let short: String = pod.uid.chars().filter(|letter| *letter != '-').take(12).collect();
    let found = processes().into_iter().find(|(_, line, _)| line.contains(&format!("/pods/{short}{ENVOY}")) && !line.contains("\0shim\0"));
    found.map(|(id, ..)| id).ok_or_else(|| anyhow::anyhow!("no Envoy of {}", pod.name))
}

/// `kill -9`.
pub(crate) fn kill(id: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-9", &id.to_string()]).status()?;
    anyhow::ensure!(status.success(), "kill -9 {id}: {status}");
    Ok(())
}

/// Addresses on which a process listens by TCP.
pub(crate) fn tcp_listeners(id: u32) -> anyhow::Result<Vec<String>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{id}/fd"))? {
        if let Ok(target) = std::fs::read_link(entry?.path())
            && let Some(inode) = target.to_string_lossy().strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'))
        {
            sockets.push(inode.to_owned());
        }
    }
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // A machine without IPv6 has no such table.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{id}/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == LISTEN && sockets.iter().any(|inode| *inode == fields[9]) {
                found.push(fields[1].to_owned());
            }
        }
    }
    Ok(found)
}

/// Every process that can be read: id, command line, environment.
fn processes() -> Vec<(u32, String, String)> {
    let read = |path: std::path::PathBuf| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, read(entry.path().join("cmdline")), read(entry.path().join("environ"))))
        })
        .collect()
}
