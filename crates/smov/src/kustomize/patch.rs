//! Patches of a kustomization: which objects, and what happens to them.

use serde::Deserialize;
use serde_json::Value;

/// Which objects a patch is for; names and kinds are matched whole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Target {
    group: Option<String>,
    version: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    label_selector: Option<String>,
}

impl Target {
    fn takes(&self, object: &Value) -> Result<bool, String> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let plain = same(&self.group, group)
            && same(&self.version, version)
            && same(&self.kind, text("/kind"))
            && same(&self.name, text("/metadata/name"))
            && same(&self.namespace, text("/metadata/namespace"));
        match &self.label_selector {
            Some(selector) if plain => smov_cluster::registry::LabelSelector::parse(selector)
                .map(|selector| selector.matches(&object["metadata"]["labels"]))
                .map_err(|error| format!("labelSelector `{selector}`: {error}")),
            _ => Ok(plain),
        }
    }
}

/// Applies one patch to all objects that it is for.
pub(super) fn apply(objects: &mut Vec<Value>, target: Option<&Target>, text: &str) -> Result<(), String> {
    let patch: Value = serde_saphyr::from_str(text).map_err(|error| format!("a patch is not YAML: {error}"))?;
    let own;
    let target = match target {
        Some(target) => target,
        None => {
            own = Target {
                kind: patch["kind"].as_str().map(str::to_owned),
                name: patch["metadata"]["name"].as_str().map(str::to_owned),
                ..Target::default()
            };
            &own
        }
    };
    let mut taken = 0;
    let mut kept = Vec::with_capacity(objects.len());
    for mut object in objects.drain(..) {
        if !target.takes(&object)? {
            kept.push(object);
            continue;
        }
        taken += 1;
        if patch.is_array() {
            let operations: json_patch::Patch =
                serde_json::from_value(patch.clone()).map_err(|error| format!("a JSON patch is malformed: {error}"))?;
            let name = object["metadata"]["name"].to_string();
            json_patch::patch(&mut object, &operations).map_err(|error| format!("a JSON patch does not fit {name}: {error}"))?;
            kept.push(object);
        } else if patch["$patch"] != "delete" {
            let mut change = patch.clone();
            // With a target, the patch's own name and kind only have to be there.
            change["metadata"]["name"] = object["metadata"]["name"].clone();
            change["kind"] = object["kind"].clone();
            change["apiVersion"] = object["apiVersion"].clone();
            smov_cluster::api::strategic_merge(&mut object, &change).map_err(|error| error.message)?;
            kept.push(object);
        }
    }
    *objects = kept;
    if taken == 0 && target.label_selector.is_none() {
        return Err(format!("a patch finds no object: kind {:?}, name {:?}", target.kind, target.name));
    }
    Ok(())
}
