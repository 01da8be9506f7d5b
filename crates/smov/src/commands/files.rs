//! YAML from files, folders, standard input and Kustomizations, for `validate` and `explain`: read whole or not at all.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use smov_istio::analyze::input::Input;
use smov_istio::yaml::InvalidYaml;

use crate::failure::{Exit, Failure};
use crate::kustomize::{self, Disk};
use crate::text;

/// What was read: the objects, and the texts for excerpts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) input: Input,
    /// By the name of the file.
    pub(crate) texts: BTreeMap<String, String>,
    /// Documents in folders that are no Kubernetes objects.
    pub(crate) passed_over: usize,
}

/// Reads everything, or says what cannot be read.
pub(crate) fn read(files: &[PathBuf], kustomizations: &[PathBuf], namespace: Option<&str>) -> Result<Texts, Failure> {
    let mut read = Texts { input: Input::new(namespace.map(str::to_owned)), ..Texts::default() };
    for path in files {
        read.path(path)?;
    }
    for folder in kustomizations {
        let objects = kustomize::build(&Disk, folder).map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]))?;
        let name = folder.display().to_string();
        objects.into_iter().for_each(|object| read.input.add_object(&name, object));
    }
    if read.input.sources().is_empty() {
        return Err(Failure::new(Exit::Usage, text::NO_OBJECTS, &[]).hint(text::NO_OBJECTS_HINT, &[]));
    }
    Ok(read)
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, text::BAD_FILE, &[&path.display(), reason])
}

fn invalid(file: &str, error: &InvalidYaml) -> Failure {
    let InvalidYaml { position, reason } = error;
    Failure::new(Exit::Usage, text::FILE_BROKEN, &[&file, &position.line, &position.column, reason]).hint(text::FILE_BROKEN_HINT, &[])
}

impl Texts {
    fn path(&mut self, path: &Path) -> Result<(), Failure> {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
            return self.text("<stdin>", text, false);
        }
        if !path.is_dir() {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            return self.text(&path.display().to_string(), text, false);
        }
        for file in below(path)? {
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            self.text(&file.display().to_string(), text, true)?;
        }
        Ok(())
    }

    fn text(&mut self, file: &str, text: String, lenient: bool) -> Result<(), Failure> {
        if lenient {
            self.passed_over += self.input.add_objects(file, &text).map_err(|error| invalid(file, &error))?;
        } else {
            self.input.add(file, &text).map_err(|error| invalid(file, &error))?;
        }
        self.texts.insert(file.to_owned(), text);
        Ok(())
    }
}

/// The YAML and JSON files below a folder, in order; hidden folders and links to folders are left out.
fn below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let (path, hidden) = (entry.path(), entry.file_name().to_string_lossy().starts_with('.'));
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let wanted = path.extension().and_then(|end| end.to_str()).is_some_and(|end| matches!(end, "yaml" | "yml" | "json"));
            if is_folder && !hidden {
                open.push(path);
            } else if wanted && !hidden && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
