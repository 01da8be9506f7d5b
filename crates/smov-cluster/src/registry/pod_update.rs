//! What people may change of a pod: little, because it runs already. The cluster itself (who puts
//! pods onto nodes) is not asked.

use serde_json::{Value, json};

use crate::{
    error::{ApiError, Cause},
    kinds::{Kind, POD},
};

const ONLY: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Refuses changes of a pod's spec beyond images and the like; other kinds pass.
pub(super) fn check(kind: &'static Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    if kind != &POD {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let (old, new) = (&old["spec"], &new["spec"]);
    let mut causes = Vec::new();
    for list in LISTS {
        if count(&old[list]) != count(&new[list]) {
            causes.push(Cause::forbidden(format!("spec.{list}"), "pod updates may not add or remove containers"));
        }
    }
    if causes.is_empty() {
        let changed = changed_fields(&fixed(old, old), &fixed(new, old));
        if !changed.is_empty() {
            // Kubernetes shows its own memory here; the names of the fields help more.
            causes.push(Cause::forbidden("spec", &format!("{ONLY}\nchanged: {}", changed.join(", "))));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, name, &causes)) }
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// The spec without what may change.
fn fixed(spec: &Value, old: &Value) -> Value {
    let mut fixed = spec.clone();
    for list in LISTS {
        for container in fixed[list].as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    let tolerations = old["tolerations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kept = spec["tolerations"].as_array().is_some_and(|list| tolerations.iter().all(|one| list.contains(one)));
    if kept || tolerations.is_empty() {
        fixed["tolerations"] = json!(tolerations);
    }
    for field in ["activeDeadlineSeconds", "terminationGracePeriodSeconds"] {
        fixed[field] = Value::Null;
    }
    fixed
}

fn changed_fields(old: &Value, new: &Value) -> Vec<String> {
    let fields = |spec: &Value| spec.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
    let mut all = fields(old);
    all.extend(fields(new));
    all.sort_unstable();
    all.dedup();
    all.retain(|field| old[field.as_str()] != new[field.as_str()]);
    all.into_iter().map(|field| format!("spec.{field}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(change: &Value) -> Result<(), String> {
        let old = json!({ "metadata": { "name": "a" }, "spec": {
            "containers": [{ "name": "one", "image": "one:1" }], "terminationGracePeriodSeconds": 30,
            "tolerations": [{ "key": "a" }],
        } });
        let mut new = old.clone();
        json_patch::merge(&mut new, &json!({ "spec": change }));
        check(&POD, &old, &new).map_err(|error| error.message)
    }

    #[test]
    fn images_and_additions_may_change_and_nothing_else() {
        assert_eq!(change(&json!({ "containers": [{ "name": "one", "image": "one:2" }] })), Ok(()));
        assert_eq!(change(&json!({ "tolerations": [{ "key": "a" }, { "key": "b" }] })), Ok(()));
        let told = change(&json!({ "nodeName": "elsewhere", "hostNetwork": true })).unwrap_err();
        assert!(told.starts_with("Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other than"), "{told}");
        assert!(told.ends_with("changed: spec.hostNetwork, spec.nodeName"), "{told}");
        assert!(change(&json!({ "tolerations": [{ "key": "b" }] })).unwrap_err().ends_with("changed: spec.tolerations"));
        let more = json!({ "containers": [{ "name": "one", "image": "one:1" }, { "name": "two", "image": "two:1" }] });
        assert!(change(&more).unwrap_err().contains("spec.containers: Forbidden: pod updates may not add or remove containers"));
    }
}
