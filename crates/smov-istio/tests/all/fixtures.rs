//! The sample's own files, where they are at hand: `SMOV_FIXTURES`, else `../shared/fixtures` beside the repository.

use std::path::{Path, PathBuf};

use smov_istio::resource::IstioKind;
use smov_istio::schema::fields;
use smov_istio::validate::validate_strictly;
use smov_istio::world::World;
use smov_istio::yaml::{self, Document};

use crate::theatre::cluster;

pub(crate) fn fixtures(part: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let folder = std::env::var_os("SMOV_FIXTURES").map_or_else(beside, PathBuf::from).join(part);
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents(folder: &Path) -> Vec<(String, Document)> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        yaml::parse(&text).unwrap().into_iter().map(move |document| (name.clone(), document)).collect::<Vec<_>>()
    };
    yaml_files(folder).into_iter().flat_map(read).collect()
}

#[test]
fn the_samples_yaml_is_accepted_but_for_the_placeholder() {
    let Some(folder) = fixtures("sample") else { return };
    let mut refused = Vec::new();
    let mut count = 0;
    for (file, document) in documents(&folder) {
        count += usize::from(IstioKind::of(&document.value).is_some());
        let findings = document.place(validate_strictly(&document.value));
        refused.extend(
            findings
                .into_iter()
                .filter(|finding| finding.is_error())
                .map(|finding| (file.clone(), finding.path.clone(), finding.position.unwrap().line, finding.message)),
        );
    }
    assert!(count > 20, "{count}");
    let message = "domain name \"theater.DOMAIN_PLACEHOLDER\" invalid (label \"DOMAIN_PLACEHOLDER\" invalid)";
    assert_eq!(refused, [("deploy/istio-virtualservice.yaml".to_owned(), "spec.hosts[0]".to_owned(), 10, message.to_owned())]);
}

#[test]
fn each_practice_of_the_sample_is_one_consistent_world() {
    let Some(folder) = fixtures("sample/practice") else { return };
    for entry in std::fs::read_dir(&folder).unwrap() {
        let mut world = World::builder(cluster("ctx1")).build();
        for (file, document) in documents(&entry.unwrap().path()) {
            let applied = world.apply(&cluster("ctx1"), &document.value);
            assert!(applied.diagnostics.iter().all(|finding| !finding.is_error()), "{file}: {:?}", applied.diagnostics);
        }
    }
}

#[test]
fn every_field_of_istios_published_schema_is_in_our_table() {
    let Some(folder) = fixtures("istio") else { return };
    let text = std::fs::read_to_string(folder.join("crd-all.gen.yaml")).unwrap();
    let mut missing = Vec::new();
    let mut walked = 0;
    let mut seen = std::collections::BTreeSet::new();
    for document in yaml::parse(&text).unwrap() {
        let kind = document.value.pointer("/spec/names/kind").and_then(serde_json::Value::as_str).unwrap_or_default();
        let group = document.value.pointer("/spec/group").and_then(serde_json::Value::as_str).unwrap_or_default();
        let Some(kind) = IstioKind::by_name(kind).filter(|kind| kind.group().0 == group) else { continue };
        seen.insert(kind);
        let known = fields(kind);
        for version in document.value.pointer("/spec/versions").unwrap().as_array().unwrap() {
            let name = version["name"].as_str().unwrap();
            assert!(kind.group().1.contains(&name), "{} {name}", kind.as_str());
            let mut published = Vec::new();
            walk(&version.pointer("/schema/openAPIV3Schema/properties/spec").unwrap().clone(), "spec", &mut published);
            walked += published.len();
            missing.extend(published.into_iter().filter(|path| !known.contains_key(path)).map(|path| format!("{} {path}", kind.as_str())));
        }
    }
    assert_eq!(seen.len(), IstioKind::ALL.len());
    assert!(walked > 1500, "{walked}");
    assert!(missing.is_empty(), "{missing:#?}");
}

fn walk(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|properties| properties.as_object()) {
        for (name, property) in properties {
            let inner = format!("{path}.{name}");
            found.push(inner.clone());
            walk(property, &inner, found);
        }
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), found);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        walk(values, &format!("{path}{{}}"), found);
    }
}
