//! Kustomize, as far as `k8s/` needs it, so that `smov up` applies exactly what `kubectl apply -k` would.
//!
//! Supported: `resources`, `components`, `patches` (JSON 6902, `$patch: delete`, strategic merge), `replicas`, `images`, `namespace`,
//! `configMapGenerator` without name suffix. Any other field is refused by name, never ignored. A test holds the result against
//! `kubectl kustomize` (<https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/>).

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

mod patch;
use patch::Target;

/// Where files come from: the binary or a folder.
pub(crate) trait Files {
    /// A file's text; `None` = there is none.
    fn read(&self, path: &Path) -> Option<String>;
    /// Files directly in a folder, sorted; empty when it is no folder.
    fn list(&self, folder: &Path) -> Vec<PathBuf>;
}

/// What went wrong, and in which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub(crate) struct BuildError {
    pub(crate) file: PathBuf,
    pub(crate) reason: String,
}

fn broken(file: &Path, reason: impl Into<String>) -> BuildError {
    BuildError { file: file.to_owned(), reason: reason.into() }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata")]
    _metadata: Value,
    resources: Vec<String>,
    components: Vec<String>,
    patches: Vec<PatchEntry>,
    replicas: Vec<Replicas>,
    images: Vec<Image>,
    namespace: Option<String>,
    config_map_generator: Vec<ConfigMapArguments>,
    generator_options: GeneratorOptions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchEntry {
    target: Option<Target>,
    patch: Option<String>,
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replicas {
    name: String,
    count: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Image {
    name: String,
    new_name: Option<String>,
    new_tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigMapArguments {
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    literals: Vec<String>,
    #[serde(default)]
    options: GeneratorOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GeneratorOptions {
    disable_name_suffix_hash: bool,
}

/// The objects of a folder with a `kustomization.yaml`; of a folder without one, all its YAML files.
pub(crate) fn build(files: &dyn Files, folder: &Path) -> Result<Vec<Value>, BuildError> {
    let mut objects = Vec::new();
    add_folder(files, &normal(folder), &mut objects, 0)?;
    Ok(objects)
}

/// Nesting beyond this is a circle.
const MAX_DEPTH: usize = 32;

fn add_folder(files: &dyn Files, folder: &Path, objects: &mut Vec<Value>, depth: usize) -> Result<(), BuildError> {
    if depth > MAX_DEPTH {
        return Err(broken(folder, "kustomizations refer to each other in a circle"));
    }
    let found = ["kustomization.yaml", "kustomization.yml", "Kustomization"]
        .iter()
        .map(|name| folder.join(name))
        .find_map(|file| files.read(&file).map(|text| (file, text)));
    let Some((file, text)) = found else {
        return add_plain_folder(files, folder, objects);
    };
    let kustomization: Kustomization = serde_saphyr::from_str(&text).map_err(|error| broken(&file, error.to_string()))?;
    for resource in &kustomization.resources {
        let path = normal(&folder.join(resource));
        match files.read(&path) {
            Some(text) => objects.extend(documents(&path, &text)?),
            None if files.list(&path).is_empty() => return Err(broken(&file, format!("resource `{resource}` does not exist"))),
            None => {
                // A resource folder is finished on its own before its objects join ours.
                let mut inner = Vec::new();
                add_folder(files, &path, &mut inner, depth + 1)?;
                objects.append(&mut inner);
            }
        }
    }
    for arguments in &kustomization.config_map_generator {
        objects.push(config_map(files, folder, &file, arguments, &kustomization.generator_options)?);
    }
    for component in &kustomization.components {
        // A component works on the objects gathered so far.
        add_folder(files, &normal(&folder.join(component)), objects, depth + 1)?;
    }
    transform(files, folder, &file, &kustomization, objects)
}

fn add_plain_folder(files: &dyn Files, folder: &Path, objects: &mut Vec<Value>) -> Result<(), BuildError> {
    let is_yaml = |path: &Path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let listed: Vec<_> = files.list(folder).into_iter().filter(|path| is_yaml(path)).collect();
    if listed.is_empty() {
        return Err(broken(folder, "there is no kustomization.yaml and no YAML file here"));
    }
    for path in listed {
        let text = files.read(&path).ok_or_else(|| broken(&path, "cannot be read"))?;
        objects.extend(documents(&path, &text)?);
    }
    Ok(())
}

fn transform(
    files: &dyn Files,
    folder: &Path,
    file: &Path,
    kustomization: &Kustomization,
    objects: &mut Vec<Value>,
) -> Result<(), BuildError> {
    if let Some(namespace) = &kustomization.namespace {
        for object in objects.iter_mut().filter(|object| !is_cluster_scoped(object)) {
            object["metadata"]["namespace"] = Value::from(namespace.as_str());
        }
    }
    for entry in &kustomization.patches {
        let text = match (&entry.patch, &entry.path) {
            (Some(text), None) => text.clone(),
            (None, Some(path)) => {
                files.read(&normal(&folder.join(path))).ok_or_else(|| broken(file, format!("patch `{path}` does not exist")))?
            }
            _ => return Err(broken(file, "a patch needs either `patch` or `path`")),
        };
        patch::apply(objects, entry.target.as_ref(), &text).map_err(|reason| broken(file, reason))?;
    }
    for Replicas { name, count } in &kustomization.replicas {
        for object in
            objects.iter_mut().filter(|object| object["metadata"]["name"] == name.as_str() && object["spec"].get("replicas").is_some())
        {
            object["spec"]["replicas"] = Value::from(*count);
        }
    }
    for image in &kustomization.images {
        objects.iter_mut().for_each(|object| set_image(object, image));
    }
    Ok(())
}

fn is_cluster_scoped(object: &Value) -> bool {
    matches!(
        object["kind"].as_str(),
        Some("Namespace" | "Node" | "ClusterRole" | "ClusterRoleBinding" | "PersistentVolume" | "CustomResourceDefinition")
    )
}

fn set_image(object: &mut Value, image: &Image) {
    for list in ["initContainers", "containers"] {
        let Some(containers) = object.pointer_mut(&format!("/spec/template/spec/{list}")).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            let Some((name, tag)) = container["image"].as_str().map(split_image) else { continue };
            if name == image.name {
                let tag = image.new_tag.as_deref().or(tag);
                let name = image.new_name.as_deref().unwrap_or(name);
                container["image"] = Value::from(tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}")));
            }
        }
    }
}

/// `registry:5000/name:tag` to name and tag.
fn split_image(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

fn config_map(
    files: &dyn Files,
    folder: &Path,
    file: &Path,
    arguments: &ConfigMapArguments,
    options: &GeneratorOptions,
) -> Result<Value, BuildError> {
    if !(options.disable_name_suffix_hash || arguments.options.disable_name_suffix_hash) {
        return Err(broken(file, "configMapGenerator needs `disableNameSuffixHash: true` here"));
    }
    let mut data = Map::new();
    for entry in &arguments.files {
        let (key, path) = entry.split_once('=').unwrap_or_else(|| (entry.rsplit('/').next().unwrap_or(entry), entry));
        let text = files.read(&normal(&folder.join(path))).ok_or_else(|| broken(file, format!("file `{path}` does not exist")))?;
        data.insert(key.to_owned(), Value::from(text));
    }
    for literal in &arguments.literals {
        let (key, value) = literal.split_once('=').ok_or_else(|| broken(file, format!("literal `{literal}` has no `=`")))?;
        data.insert(key.to_owned(), Value::from(value));
    }
    let mut metadata = Map::from_iter([("name".to_owned(), Value::from(arguments.name.as_str()))]);
    if let Some(namespace) = &arguments.namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
    }
    Ok(serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
}

/// The objects of a YAML stream; empty documents are left out, a `List` gives its items.
pub(crate) fn documents(file: &Path, text: &str) -> Result<Vec<Value>, BuildError> {
    let parsed = smov_istio::yaml::parse(text).map_err(|error| broken(file, error.to_string()))?;
    let mut objects = Vec::new();
    for document in parsed {
        let value = document.value;
        if value["kind"].as_str().is_none() || value["apiVersion"].as_str().is_none() {
            return Err(broken(file, "an object has no `apiVersion` or no `kind`"));
        }
        if value["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            return Err(broken(file, format!("a {} has no `metadata.name`", value["kind"].as_str().unwrap_or("object"))));
        }
        objects.push(value);
    }
    Ok(objects)
}

/// Takes `.` and `..` out of a path, so that embedded files are found.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// A folder on disk.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        paths.sort();
        paths
    }
}

/// The `k8s/` folder of the sources, compiled in.
#[derive(rust_embed::RustEmbed)]
#[folder = "../../k8s"]
struct BuiltInFiles;

/// Files of [`BuiltInFiles`] by path.
pub(crate) struct BuiltIn;

impl Files for BuiltIn {
    fn read(&self, path: &Path) -> Option<String> {
        let file = BuiltInFiles::get(path.to_str()?)?;
        String::from_utf8(file.data.into_owned()).ok()
    }

    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            BuiltInFiles::iter().map(|path| PathBuf::from(path.as_ref())).filter(|path| path.parent() == Some(folder)).collect();
        paths.sort();
        paths
    }
}

#[cfg(test)]
mod manifests;
#[cfg(test)]
mod tests;
