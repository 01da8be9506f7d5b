//! The kubectl line that does the same.

use serde_json::Value;
use smov_console::view::configuration::Outcome;

use super::job::{Job, Tried};
use super::object::{cleaned, yaml};

/// The line for one change; none where nothing would change. Where this page may only read, the line is what is left.
pub(super) fn command(job: &Job, tried: &Tried) -> Option<String> {
    let kind = job.kind?;
    let context = word(&job.cluster.name);
    match (tried.outcome, job.wished()) {
        (Outcome::Deleted, _) | (Outcome::Refused, None) => Some(format!(
            "kubectl --context {context} --namespace {} delete {}/{}",
            job.reference.namespace,
            kind.resource(),
            job.reference.name
        )),
        (Outcome::Created | Outcome::Configured | Outcome::Refused, Some(wished)) => {
            let verb = if tried.live.as_ref().is_none_or(|live| apply_does_it(wished, live, |object| cleaned(object, kind))) {
                "apply"
            } else {
                "replace"
            };
            let text = yaml(wished);
            let mut end = "EOF".to_owned();
            while text.lines().any(|line| line == end) {
                end.push('F');
            }
            Some(format!("kubectl --context {context} {verb} -f - <<'{end}'\n{text}{end}"))
        }
        _ => None,
    }
}

/// `kubectl apply` leaves fields alone that it did not set; then only `replace` does the same.
fn apply_does_it(wished: &Value, live: &Value, clean: impl Fn(&Value) -> Value) -> bool {
    let mut becomes = live.clone();
    if let Some(patch) = crate::three_way::patch(wished, live) {
        json_patch::merge(&mut becomes, &patch);
    }
    clean(&becomes) == *wished
}

/// A name as a shell takes it.
fn word(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@".contains(character);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::three_way::remembering;

    #[test]
    fn apply_is_named_only_where_it_does_the_same() {
        let wished = json!({ "metadata": { "name": "a" }, "spec": { "one": 1 } });
        let applied = remembering(&json!({ "metadata": { "name": "a" }, "spec": { "one": 2, "two": 2 } }));
        let clean = |object: &Value| {
            let mut object = object.clone();
            object["metadata"].as_object_mut().unwrap().remove("annotations");
            object
        };
        assert!(apply_does_it(&wished, &applied, clean));
        // A field that somebody else set stays with apply.
        let mut edited = applied.clone();
        edited["spec"]["three"] = json!(3);
        assert!(!apply_does_it(&wished, &edited, clean));
    }

    #[test]
    fn contexts_are_quoted_where_a_shell_needs_it() {
        assert_eq!(word("ctx1"), "ctx1");
        assert_eq!(word("my ctx's"), r"'my ctx'\''s'");
    }
}
