//! Keeps ARCHITECTURE.md true: the *never uses* column against the manifests and sources, the phase tables against the words of the model.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use smov_model::record::Phase;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table rows below a heading.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section = document.split(&format!("## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")).map(cells).collect()
}

/// Names under `[dependencies]` of a crate's manifest.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = read(format!("crates/{name}/Cargo.toml"));
    let section = manifest.split("[dependencies]\n").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default().to_owned();
    section.lines().filter_map(|line| line.split(['.', '=', ' ']).next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn no_crate_uses_what_the_table_forbids() {
    let table = rows(&read("ARCHITECTURE.md"), "Code map");
    let listed: BTreeSet<String> = table.iter().skip(1).map(|row| row[0].trim_matches('`').to_owned()).collect();
    let present: BTreeSet<String> =
        std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(listed, present, "the table lists the crates that are there");
    for row in table.iter().skip(1) {
        let name = row[0].trim_matches('`');
        let used = dependencies(name);
        for forbidden in row[2].split(',').map(str::trim).filter(|forbidden| !forbidden.is_empty()) {
            assert!(!used.contains(forbidden), "{name} must never use {forbidden}");
        }
    }
}

#[test]
fn the_pure_crates_ask_no_clock_no_dice_and_no_socket() {
    for name in ["smov-model", "smov-istio"] {
        for file in sources(&root().join("crates").join(name).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for forbidden in ["SystemTime::now", "Instant::now", "rand::", "std::net::Tcp", "std::net::Udp", "std::fs::", "std::process"] {
                assert!(!code.contains(forbidden), "{}: {forbidden}", file.display());
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.file_stem().is_some_and(|stem| stem != "tests") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_walk_of_the_document_is_the_walk_of_the_model() {
    let table = rows(&read("ARCHITECTURE.md"), "One request");
    let split = table.iter().rposition(|row| row[0] == "#").unwrap();
    let phases = |rows: &[Vec<String>]| rows.iter().skip(1).map(|row| row[1].clone()).collect::<Vec<_>>();
    let words = |phases: &[Phase]| phases.iter().map(|phase| phase.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(phases(&table[..split]), words(&Phase::OUTBOUND));
    assert_eq!(phases(&table[split..]), words(&Phase::INBOUND));
}

#[test]
fn every_crate_forbids_unsafe_code() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(read(format!("crates/{name}/Cargo.toml")).contains("[lints]\nworkspace = true"), "{name}");
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for document in [
        "README.md",
        "README.ko.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/adr/README.md",
        "docs/guide/README.md",
        "docs/guide/install.md",
        "docs/guide/kubernetes.md",
        "docs/guide/modes.md",
        "docs/guide/testing.md",
    ] {
        let folder = Path::new(document).parent().unwrap();
        for link in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("http") && !link.starts_with('#') {
                let target = root().join(folder).join(link.split('#').next().unwrap());
                assert!(target.exists(), "{document}: {link}");
            }
        }
    }
}
