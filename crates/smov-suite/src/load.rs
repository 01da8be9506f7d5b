//! Reading a folder of cases. Every file is read and every mistake is told, with its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use smov_istio::yaml::{self, Document};

use crate::Both;
use crate::case::{Case, WorldCase};

/// The file that gives services and callers to all cases of its folder and below.
pub const WORLD: &str = "world.yaml";

/// A case and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file, relative to the folder that was asked for.
    pub file: PathBuf,
    /// The line on which the case begins.
    pub line: u32,
    /// The folder of the file, for relative paths in it.
    pub folder: PathBuf,
    /// The case.
    pub case: Case,
}

/// Cases in the order of their files.
pub type Cases = Vec<Loaded>;

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {}", file.display(), place(*.line), message.en)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// The line, when there is one.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: Both,
}

fn place(line: Option<u32>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

/// All cases below a folder (or of one file), or every mistake in them.
pub fn load(root: &Path) -> Result<Cases, Vec<LoadError>> {
    let mut loader = Loader { root: root.to_owned(), cases: Vec::new(), errors: Vec::new() };
    if root.is_file() {
        let folder = root.parent().map(Path::to_owned).unwrap_or_default();
        let world = loader.world_above(&folder);
        root.parent().unwrap_or(root).clone_into(&mut loader.root);
        loader.file(root, &world);
    } else {
        let world = loader.world_above(root);
        loader.folder(root, &world);
    }
    if loader.errors.is_empty() && loader.cases.is_empty() {
        let ko = "케이스가 없습니다. `name:`과 `requests:`가 있는 YAML 파일을 두세요";
        loader.tell(root, None, Both::new(ko, "there is no case here: put YAML files with `name:` and `requests:` into it"));
    }
    if loader.errors.is_empty() { Ok(loader.cases) } else { Err(loader.errors) }
}

struct Loader {
    root: PathBuf,
    cases: Cases,
    errors: Vec<LoadError>,
}

impl Loader {
    fn tell(&mut self, file: &Path, line: Option<u32>, message: Both) {
        self.errors.push(LoadError { file: file.to_owned(), line, message });
    }

    /// The world of the nearest folder above that has one, for a run on part of a suite.
    fn world_above(&mut self, folder: &Path) -> WorldCase {
        let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let found = full.ancestors().take(3).map(|above| above.join(WORLD)).find(|file| file.is_file());
        found.and_then(|file| self.world(&file)).unwrap_or_default()
    }

    fn folder(&mut self, folder: &Path, above: &WorldCase) {
        let own = folder.join(WORLD);
        let world = if own.is_file() { self.world(&own).unwrap_or_default() } else { above.clone() };
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
            Err(error) => {
                return self.tell(folder, None, Both::new(format!("읽을 수 없습니다: {error}"), format!("cannot be read: {error}")));
            }
        };
        paths.sort();
        for path in paths {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if path.is_dir() {
                self.folder(&path, &world);
            } else if matches!(extension, "yaml" | "yml") && path.file_name().is_some_and(|name| name != WORLD) {
                self.file(&path, &world);
            }
        }
    }

    fn documents(&mut self, path: &Path) -> Option<Vec<Document>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.tell(path, None, Both::new(format!("읽을 수 없습니다: {error}"), format!("cannot be read: {error}")));
                return None;
            }
        };
        match yaml::parse(&text) {
            Ok(documents) => Some(documents),
            Err(error) => {
                let line = Some(error.position.line);
                self.tell(path, line, Both::new(format!("YAML이 아닙니다: {}", error.reason), format!("not YAML: {}", error.reason)));
                None
            }
        }
    }

    fn read<T: DeserializeOwned>(&mut self, path: &Path, document: &Document) -> Option<T> {
        match serde_path_to_error::deserialize(&document.value) {
            Ok(value) => Some(value),
            Err(error) => {
                let field = error.path().to_string();
                let line = document.locate(&field).map(|position| position.line);
                let reason = error.into_inner().to_string();
                self.tell(
                    path,
                    line,
                    Both::new(format!("`{field}` 필드를 읽을 수 없습니다: {reason}"), format!("`{field}` cannot be read: {reason}")),
                );
                None
            }
        }
    }

    fn world(&mut self, path: &Path) -> Option<WorldCase> {
        let documents = self.documents(path)?;
        self.read(path, documents.first()?)
    }

    fn file(&mut self, path: &Path, world: &WorldCase) {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        for document in self.documents(path).unwrap_or_default() {
            // Plain Kubernetes YAML beside the cases is what their `files:` name.
            if document.value.get("apiVersion").is_some() && document.value.get("kind").is_some() {
                continue;
            }
            let Some(mut case) = self.read::<Case>(path, &document) else { continue };
            case.stand_on(world);
            let line = document.locate("").map_or(1, |position| position.line);
            let file = path.strip_prefix(&self.root).unwrap_or(path).to_owned();
            self.check(path, line, &case);
            self.cases.push(Loaded { file, line, folder: folder.clone(), case });
        }
    }

    /// What cannot be told by types: a case that asks nothing, names that are taken twice.
    fn check(&mut self, path: &Path, line: u32, case: &Case) {
        let checks_nothing = case.requests.is_empty() && case.rejected.is_none() && case.warned.is_empty() && case.analyzed.is_empty();
        if checks_nothing {
            let en = format!("case `{}` checks nothing: it has neither requests nor rejected, warned or analyzed", case.name);
            self.tell(path, Some(line), Both::new(format!("`{}` 케이스는 아무것도 확인하지 않습니다", case.name), en));
        }
        for request in &case.requests {
            if request.get.is_none() && request.url.is_none() && request.raw.is_none() {
                let en = format!("a request of case `{}` has no URL: write `get: http://host/path` or `url:`", case.name);
                self.tell(
                    path,
                    Some(line),
                    Both::new(format!("`{}` 케이스의 요청에 URL이 없습니다. `get: http://host/path`처럼 쓰세요", case.name), en),
                );
            }
        }
        let mut names = BTreeMap::new();
        let pods = case.services.iter().flat_map(|service| &service.pods).chain(&case.clients).chain(&case.externals);
        for name in pods.map(|pod| &pod.name).chain(case.gateways.iter().map(|gateway| &gateway.name)) {
            *names.entry(name).or_insert(0) += 1;
        }
        for (name, _) in names.into_iter().filter(|(_, count)| *count > 1) {
            let en = format!("case `{}` has two pods named `{name}`", case.name);
            self.tell(path, Some(line), Both::new(format!("`{}` 케이스에 `{name}` 파드가 둘 있습니다", case.name), en));
        }
    }
}
