//! Volumes as folders. Each volume of a pod is made once below the pod's folder (or is a folder of the state that outlives it); each container gets a root
//! (`$SMOV_ROOT`) in which every mount path is a link to its volume.
//!
//! ConfigMaps, Secrets and the like are written as Kubernetes does it: files are links through `..data`, which is replaced by one rename, so that a
//! program sees either all old or all new content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::environment::{ConfigError, Lookup, contents, field_value};
use crate::controllers::fields::{items, namespace, text};

/// Why a volume cannot be made; shown as the event `FailedMount`.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {reason}")]
    Missing { volume: String, reason: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Io { volume: String, source: io::Error },
}

/// Where a cluster's volumes live.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    /// `<state>`.
    pub(super) state: PathBuf,
    pub(super) cluster: String,
}

/// What volumes are made from.
pub(super) struct Sources<'a> {
    pub(super) lookup: &'a dyn Lookup,
    /// The pod's service-account token, for projected volumes.
    pub(super) token: &'a str,
    /// For `downwardAPI` fields.
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) claim_exists: &'a dyn Fn(&str) -> bool,
}

impl Folders {
    /// `<state>/<cluster>/pods/<uid>`.
    pub(super) fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// `<state>/<cluster>/pods`.
    pub(super) fn pods(&self) -> PathBuf {
        self.state.join(&self.cluster).join("pods")
    }

    /// Makes or refreshes the volumes of a pod.
    pub(super) fn prepare(&self, pod: &Value, sources: &Sources<'_>) -> Result<BTreeMap<String, PathBuf>, MountError> {
        let mut volumes = BTreeMap::new();
        for volume in items(pod, "/spec/volumes") {
            let volume_name = text(volume, "/name").to_owned();
            let place = self.volume(pod, volume, &volume_name, sources).map_err(|error| match error {
                Failure::Missing(reason) => MountError::Missing { volume: volume_name.clone(), reason },
                Failure::Io(source) => MountError::Io { volume: volume_name.clone(), source },
            })?;
            volumes.insert(volume_name, place);
        }
        Ok(volumes)
    }

    fn volume(&self, pod: &Value, volume: &Value, volume_name: &str, sources: &Sources<'_>) -> Result<PathBuf, Failure> {
        let own = self.pod(text(pod, "/metadata/uid")).join("volumes").join(volume_name);
        if let Some(path) = volume.pointer("/hostPath/path").and_then(Value::as_str) {
            let place = below(&self.state.join("host"), path);
            match text(volume, "/hostPath/type") {
                "Directory" | "File" if !place.exists() => {
                    return Err(Failure::Missing(format!("hostPath type check failed: {path} does not exist")));
                }
                "File" => {}
                "FileOrCreate" => touch(&place)?,
                _ => private_folder(&place)?,
            }
            return Ok(place);
        }
        if let Some(claim) = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str) {
            if !(sources.claim_exists)(claim) {
                return Err(Failure::Missing(format!("persistentvolumeclaim \"{claim}\" not found")));
            }
            let place = self.state.join("volumes").join(&self.cluster).join(namespace(pod)).join(claim);
            private_folder(&place)?;
            return Ok(place);
        }
        private_folder(&own)?;
        if volume["emptyDir"].is_object() {
            return Ok(own);
        }
        let projected = items(volume, "/projected/sources");
        let parts: Vec<&Value> = if projected.is_empty() { vec![volume] } else { projected.iter().collect() };
        let mut files = BTreeMap::new();
        for part in parts {
            collect(pod, part, sources, &mut files)?;
        }
        publish(&own, &files)?;
        Ok(own)
    }

    /// The root of a container, emptied for a new start: what it wrote beside its volumes is gone, as on Kubernetes.
    pub(super) fn fresh_root(&self, pod: &Value, container: &Value) -> io::Result<()> {
        let root = self.root(pod, container);
        if root.exists() { fs::remove_dir_all(&root) } else { Ok(()) }
    }

    /// What stands for `/` in a container: `$SMOV_ROOT`.
    pub(super) fn root(&self, pod: &Value, container: &Value) -> PathBuf {
        self.pod(text(pod, "/metadata/uid")).join("root").join(text(container, "/name"))
    }

    /// Links a container's mount paths to the volumes below its root; gives the pairs for the image.
    pub(super) fn link(
        &self,
        pod: &Value,
        container: &Value,
        volumes: &BTreeMap<String, PathBuf>,
    ) -> io::Result<(PathBuf, Vec<(String, PathBuf)>)> {
        let root = self.root(pod, container);
        private_folder(&root)?;
        let mut mounts: Vec<&Value> = items(container, "/volumeMounts").iter().collect();
        mounts.sort_by_key(|mount| text(mount, "/mountPath").len());
        let mut pairs = Vec::new();
        for mount in mounts {
            let Some(volume) = volumes.get(text(mount, "/name")) else { continue };
            let target = match text(mount, "/subPath") {
                "" => volume.clone(),
                part => below(volume, part),
            };
            if !target.exists() {
                private_folder(&target)?;
            }
            let place = below(&root, text(mount, "/mountPath"));
            if let Some(outer) = outer_mount(container, mount) {
                // Its link would be written into the outer volume, for whoever else has that.
                if !is_empty_dir(pod, text(outer, "/name")) {
                    return Err(io::Error::other(inside(mount, outer)));
                }
            }
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
            }
            match fs::read_link(&place) {
                Ok(present) if present == target => {}
                // Another container of the pod has linked something else there.
                Ok(_) => return Err(io::Error::other(taken(mount))),
                Err(_) if fs::symlink_metadata(&place).is_ok() => return Err(io::Error::other(taken(mount))),
                Err(_) => symlink(&target, &place)?,
            }
            pairs.push((text(mount, "/mountPath").to_owned(), target));
        }
        Ok((root, pairs))
    }
}

/// The mount below whose path this one is, where there is one.
fn outer_mount<'a>(container: &'a Value, mount: &Value) -> Option<&'a Value> {
    let path = |mount: &Value| below(Path::new("/"), text(mount, "/mountPath"));
    let inner = path(mount);
    let around = |other: &&Value| inner != path(other) && inner.starts_with(path(other));
    items(container, "/volumeMounts").iter().filter(around).max_by_key(|other| path(other).components().count())
}

fn is_empty_dir(pod: &Value, volume: &str) -> bool {
    items(pod, "/spec/volumes").iter().any(|known| text(known, "/name") == volume && known["emptyDir"].is_object())
}

fn inside(mount: &Value, outer: &Value) -> String {
    format!(
        "mount path {} is inside {}, which is volume {:?}: here only an emptyDir can have other volumes inside; mount it beside",
        text(mount, "/mountPath"),
        text(outer, "/mountPath"),
        text(outer, "/name")
    )
}

fn taken(mount: &Value) -> String {
    format!(
        "mount path {} is taken: something else is there already, from this container or another one of the pod",
        text(mount, "/mountPath")
    )
}

enum Failure {
    Missing(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Missing(error.0)
    }
}

/// The files of one source: a ConfigMap, a Secret, fields of the pod, or its token.
fn collect(pod: &Value, part: &Value, sources: &Sources<'_>, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Failure> {
    for (field, kind) in [("configMap", "configmap"), ("secret", "secret")] {
        let source = &part[field];
        if !source.is_object() {
            continue;
        }
        let wanted = source["name"].as_str().or(source["secretName"].as_str()).unwrap_or_default();
        let found = if kind == "configmap" {
            sources.lookup.config_map(namespace(pod), wanted)
        } else {
            sources.lookup.secret(namespace(pod), wanted)
        };
        let Some(found) = found else {
            if source["optional"] == true {
                continue;
            }
            return Err(Failure::Missing(format!("{kind} \"{wanted}\" not found")));
        };
        let mut entries = contents(&found);
        let chosen = items(source, "/items");
        if chosen.is_empty() {
            files.append(&mut entries);
        }
        for item in chosen {
            match entries.get(text(item, "/key")) {
                Some(value) => drop(files.insert(text(item, "/path").to_owned(), value.clone())),
                None if source["optional"] == true => {}
                None => return Err(Failure::Missing(format!("references non-existent {kind} key: {}", text(item, "/key")))),
            }
        }
    }
    for item in items(part, "/downwardAPI/items") {
        if let Some(field) = item.pointer("/fieldRef/fieldPath").and_then(Value::as_str) {
            files.insert(text(item, "/path").to_owned(), field_value(pod, field, sources.environment)?.into_bytes());
        }
    }
    if part["serviceAccountToken"].is_object() {
        let path = part["serviceAccountToken"]["path"].as_str().unwrap_or("token");
        files.insert(path.to_owned(), sources.token.as_bytes().to_vec());
    }
    Ok(())
}

/// Replaces the content of a volume in one step; does nothing where it is the same already.
fn publish(volume: &Path, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let current = volume.join("..data");
    if current.exists() && read_all(&current)? == *files {
        return Ok(());
    }
    let generation = format!("..{}", uuid::Uuid::new_v4().simple());
    private_folder(&volume.join(&generation))?;
    for (path, content) in files {
        let file = below(&volume.join(&generation), path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        write_private(&file, content)?;
    }
    let old = fs::read_link(&current).ok();
    let fresh = volume.join("..data_tmp");
    symlink(&generation, &fresh)?;
    fs::rename(&fresh, &current)?;
    let top: std::collections::BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').find(|part| !part.is_empty())).collect();
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let shown = entry.file_name();
        let shown = shown.to_string_lossy();
        if !shown.starts_with("..") && !top.contains(shown.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for part in top {
        let link = volume.join(part);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(part), &link)?;
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old))?;
    }
    Ok(())
}

fn read_all(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{path}/"), files)?;
            } else {
                files.insert(path, fs::read(entry.path())?);
            }
        }
        Ok(())
    }
    let mut files = BTreeMap::new();
    walk(folder, "", &mut files)?;
    Ok(files)
}

/// `path` inside `folder`, whatever it starts with; `..` never leads out.
pub(super) fn below(folder: &Path, path: &str) -> PathBuf {
    let parts = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    parts.fold(folder.to_owned(), |place, part| place.join(part))
}

/// Makes a folder (and those above) that only this user can enter.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only this user can read.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

fn touch(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        private_folder(parent)?;
    }
    fs::OpenOptions::new().append(true).create(true).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Object;
    use serde_json::json;
    use std::cell::RefCell;
    use std::sync::Arc;

    struct Maps(RefCell<BTreeMap<String, Value>>);

    impl Lookup for Maps {
        fn config_map(&self, _namespace: &str, name: &str) -> Option<Object> {
            self.0.borrow().get(name).map(|data| Arc::new(json!({"kind": "ConfigMap", "data": data})))
        }
        fn secret(&self, _namespace: &str, _name: &str) -> Option<Object> {
            None
        }
    }

    #[test]
    fn a_config_map_is_linked_into_the_root_and_follows_changes() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().to_owned(), cluster: "ctx1".to_owned() };
        let maps = Maps(RefCell::new(BTreeMap::from([("ui".to_owned(), json!({"a.txt": "one", "b.txt": "two"}))])));
        let (environment, exists) = (BTreeMap::new(), |_: &str| true);
        let sources = Sources { lookup: &maps, token: "t", environment: &environment, claim_exists: &exists };
        let pod = json!({"metadata": {"uid": "u", "namespace": "n"}, "spec": {"volumes": [
            {"name": "ui", "configMap": {"name": "ui"}}, {"name": "tmp", "emptyDir": {}}]}});
        let container =
            json!({"name": "app", "volumeMounts": [{"name": "ui", "mountPath": "/usr/share/ui"}, {"name": "tmp", "mountPath": "/tmp"}]});
        let volumes = folders.prepare(&pod, &sources).unwrap();
        let (root, pairs) = folders.link(&pod, &container, &volumes).unwrap();
        assert_eq!(fs::read_to_string(root.join("usr/share/ui/a.txt")).unwrap(), "one");
        assert_eq!(pairs.len(), 2);
        maps.0.borrow_mut().insert("ui".to_owned(), json!({"a.txt": "three"}));
        folders.prepare(&pod, &sources).unwrap();
        assert_eq!(fs::read_to_string(root.join("usr/share/ui/a.txt")).unwrap(), "three");
        assert!(!root.join("usr/share/ui/b.txt").exists());
    }

    #[test]
    fn a_missing_config_map_is_named_and_paths_cannot_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().to_owned(), cluster: "ctx1".to_owned() };
        let maps = Maps(RefCell::default());
        let (environment, exists) = (BTreeMap::new(), |_: &str| false);
        let sources = Sources { lookup: &maps, token: "t", environment: &environment, claim_exists: &exists };
        let pod = |volume: Value| json!({"metadata": {"uid": "u", "namespace": "n"}, "spec": {"volumes": [volume]}});
        let error = folders.prepare(&pod(json!({"name": "v", "configMap": {"name": "absent"}})), &sources).unwrap_err();
        assert_eq!(error.to_string(), "MountVolume.SetUp failed for volume \"v\" : configmap \"absent\" not found");
        assert!(folders.prepare(&pod(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})), &sources).is_err());
        let volumes = folders.prepare(&pod(json!({"name": "v", "hostPath": {"path": "/../../etc"}})), &sources).unwrap();
        assert_eq!(volumes["v"], folder.path().join("host/etc"));
    }
    #[test]
    fn nothing_is_written_into_a_volume_that_others_have() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().to_owned(), cluster: "ctx1".to_owned() };
        let maps = Maps(RefCell::default());
        let (environment, exists) = (BTreeMap::new(), |_: &str| true);
        let sources = Sources { lookup: &maps, token: "t", environment: &environment, claim_exists: &exists };
        let pod = json!({"metadata": {"uid": "u", "namespace": "n"}, "spec": {"volumes": [
            {"name": "kept", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "tmp", "emptyDir": {}}, {"name": "more", "emptyDir": {}}]}});
        let volumes = folders.prepare(&pod, &sources).unwrap();
        let linked = |name: &str, mounts: &[(&str, &str)]| {
            let mounts: Vec<Value> = mounts.iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
            folders.link(&pod, &json!({"name": name, "volumeMounts": mounts}), &volumes)
        };
        let refused = linked("a", &[("tmp", "/data/cache"), ("kept", "/data")]).unwrap_err().to_string();
        assert!(refused.starts_with("mount path /data/cache is inside /data, which is volume \"kept\""), "{refused}");
        assert_eq!(fs::read_dir(&volumes["kept"]).unwrap().count(), 0, "the claim stays as it was");
        linked("b", &[("tmp", "/data"), ("kept", "/data/kept"), ("more", "/database")]).unwrap();
        linked("b", &[("tmp", "/data"), ("kept", "/data/kept")]).unwrap();
        let refused = linked("c", &[("tmp", "/work"), ("more", "/work/kept")]).unwrap_err().to_string();
        assert!(refused.starts_with("mount path /work/kept is taken"), "{refused}");
    }
}
