//! The paths of an OpenAPI document: what can be done with each kind, and with which parameters.

use serde_json::{Map, Value, json};

use super::components::{Style, name_of};
use crate::{kinds::Kind, schema};

const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// Parameters of writes: name, type, what for.
const WRITE: [(&str, &str, &str); 3] = [
    ("dryRun", "string", "`All`: go through everything, store nothing."),
    ("fieldManager", "string", "Who owns the written fields."),
    ("fieldValidation", "string", "What happens to unknown fields and to fields that occur twice: `Ignore`, `Warn` or `Strict`."),
];
const FORCE: (&str, &str, &str) = ("force", "boolean", "Apply: take fields from their owners.");
const DELETE: [(&str, &str, &str); 3] = [
    ("dryRun", "string", "`All`: go through everything, delete nothing."),
    ("gracePeriodSeconds", "integer", "Seconds that a pod may take to end."),
    ("propagationPolicy", "string", "What happens to dependents: `Orphan`, `Background` or `Foreground`."),
];
const LIST: [(&str, &str, &str); 7] = [
    ("allowWatchBookmarks", "boolean", "Watches: tell from time to time how far the stream is."),
    ("continue", "string", "Where the last part of a list ended."),
    ("fieldSelector", "string", "Only objects whose fields have these values."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "So many objects at once."),
    ("resourceVersion", "string", "Watches: from this version on."),
    ("watch", "boolean", "Stay and tell changes."),
];

/// Writes operations in one version of OpenAPI, about one kind.
struct Writer {
    style: Style,
    identity: Value,
    tag: String,
    /// As `AppsV1`.
    prefix: String,
}

/// Adds what can be done with a kind in one version.
pub(super) fn of_kind(kind: &'static Kind, version: &str, style: Style, paths: &mut Map<String, Value>) {
    let writer = Writer::new(kind.group, version, kind.kind, style);
    let root = root(kind.group, version);
    let (object, list) = (name_of(kind, version), format!("{}List", name_of(kind, version)));
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{scope}/{}", kind.plural);
    let named = if kind.namespaced { format!("Namespaced{}", kind.kind) } else { kind.kind.to_owned() };
    if kind.namespaced {
        let everywhere = format!("list{}{}ForAllNamespaces", writer.prefix, kind.kind);
        paths.insert(format!("{root}/{}", kind.plural), json!({ "get": writer.operation(&everywhere, "list", &LIST, None, &list) }));
    }
    let mut item = json!({
        "get": writer.operation(&format!("list{}{named}", writer.prefix), "list", &LIST, None, &list),
        "post": writer.operation(&format!("create{}{named}", writer.prefix), "post", &WRITE, Some((&object, "application/json")), &object),
        "delete": writer.operation(&format!("delete{}Collection{named}", writer.prefix), "deletecollection", &DELETE, Some((&schema::delete_options().name, "application/json")), &schema::status().name),
    });
    writer.place(&mut item, kind.namespaced, None);
    paths.insert(collection.clone(), item);
    let patches: &[&str] = if kind.custom { &[APPLY, JSON_PATCH, MERGE_PATCH] } else { &[APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH] };
    let mut item = writer.read_and_write(&named, "", &object, patches);
    item["delete"] = writer.operation(
        &format!("delete{}{named}", writer.prefix),
        "delete",
        &DELETE,
        Some((&schema::delete_options().name, "application/json")),
        &schema::status().name,
    );
    writer.place(&mut item, kind.namespaced, Some(kind.kind));
    paths.insert(format!("{collection}/{{name}}"), item);
    for subresource in kind.subresources {
        let (writer, object) = match *subresource {
            "status" => (
                Writer { identity: writer.identity.clone(), tag: writer.tag.clone(), prefix: writer.prefix.clone(), style },
                object.clone(),
            ),
            "scale" => {
                let scale = Writer::new("autoscaling", "v1", "Scale", style);
                (Writer { tag: writer.tag.clone(), prefix: writer.prefix.clone(), ..scale }, "io.k8s.api.autoscaling.v1.Scale".to_owned())
            }
            _ => continue,
        };
        let mut ending = (*subresource).to_owned();
        ending[..1].make_ascii_uppercase();
        let mut item = writer.read_and_write(&named, &ending, &object, patches);
        writer.place(&mut item, kind.namespaced, Some(kind.kind));
        paths.insert(format!("{collection}/{{name}}/{subresource}"), item);
    }
}

/// Adds a question that is answered and not stored.
pub(super) fn of_review(group: &str, version: &str, plural: &str, kind: &str, style: Style, paths: &mut Map<String, Value>) {
    let Some(known) = schema::review(kind) else { return };
    let writer = Writer::new(group, version, kind, style);
    let body = Some((known.name.as_str(), "application/json"));
    let operation = writer.operation(&format!("create{}{kind}", writer.prefix), "post", &WRITE, body, &known.name);
    paths.insert(format!("{}/{plural}", root(group, version)), json!({ "post": operation }));
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

impl Writer {
    fn new(group: &str, version: &str, kind: &str, style: Style) -> Self {
        let title = |text: &str| {
            let mut text = text.to_owned();
            text.get_mut(..1).map(str::make_ascii_uppercase);
            text
        };
        let first = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
        Self {
            style,
            identity: json!({ "group": group, "kind": kind, "version": version }),
            tag: format!("{first}_{version}"),
            prefix: format!("{}{}", title(first), title(version)),
        }
    }

    fn read_and_write(&self, named: &str, ending: &str, object: &str, patches: &[&str]) -> Value {
        let mut patch_parameters = WRITE.to_vec();
        patch_parameters.push(FORCE);
        let mut patch = self.operation(
            &format!("patch{}{named}{ending}", self.prefix),
            "patch",
            &patch_parameters,
            Some((PATCH, patches.first().copied().unwrap_or(APPLY))),
            object,
        );
        if self.style == Style::Version3 {
            let schema = json!({ "schema": { "$ref": self.style.reference(PATCH) } });
            let content: Map<String, Value> = patches.iter().map(|media| ((*media).to_owned(), schema.clone())).collect();
            patch["requestBody"] = json!({ "content": content, "required": true });
        } else {
            patch["consumes"] = json!(patches);
        }
        json!({
            "get": self.operation(&format!("read{}{named}{ending}", self.prefix), "get", &[], None, object),
            "put": self.operation(&format!("replace{}{named}{ending}", self.prefix), "put", &WRITE, Some((object, "application/json")), object),
            "patch": patch,
        })
    }

    fn operation(&self, id: &str, action: &str, parameters: &[(&str, &str, &str)], body: Option<(&str, &str)>, answer: &str) -> Value {
        let mut parameters: Vec<Value> = parameters.iter().map(|(name, kind, what)| self.parameter("query", name, kind, what)).collect();
        let reference = |name: &str| json!({ "$ref": self.style.reference(name) });
        let mut operation = json!({ "tags": [self.tag], "operationId": id });
        match self.style {
            Style::Version3 => {
                operation["parameters"] = json!(parameters);
                if let Some((body, media)) = body {
                    operation["requestBody"] = json!({ "content": { media: { "schema": reference(body) } }, "required": true });
                }
                let content =
                    json!({ "application/json": { "schema": reference(answer) }, "application/yaml": { "schema": reference(answer) } });
                operation["responses"] = json!({ "200": { "description": "OK", "content": content } });
            }
            Style::Version2 => {
                if let Some((body, _)) = body {
                    parameters.insert(0, json!({ "name": "body", "in": "body", "required": true, "schema": reference(body) }));
                }
                operation["produces"] = json!(["application/json", "application/yaml"]);
                operation["parameters"] = json!(parameters);
                operation["responses"] = json!({ "200": { "description": "OK", "schema": reference(answer) } });
            }
        }
        operation["x-kubernetes-action"] = json!(action);
        operation["x-kubernetes-group-version-kind"] = self.identity.clone();
        operation
    }

    fn parameter(&self, place: &str, name: &str, kind: &str, what: &str) -> Value {
        let required = place == "path";
        let mut parameter = json!({ "name": name, "in": place, "description": what });
        match self.style {
            Style::Version3 => parameter["schema"] = json!({ "type": kind, "uniqueItems": true }),
            Style::Version2 => {
                parameter["type"] = json!(kind);
                parameter["uniqueItems"] = json!(true);
            }
        }
        if required {
            parameter["required"] = json!(true);
        }
        parameter
    }

    /// The parameters in a path itself.
    fn place(&self, item: &mut Value, namespaced: bool, name_of: Option<&str>) {
        let mut parameters = Vec::new();
        if let Some(kind) = name_of {
            parameters.push(self.parameter("path", "name", "string", &format!("Name of the {kind}.")));
        }
        if namespaced {
            parameters.push(self.parameter("path", "namespace", "string", "The namespace."));
        }
        item["parameters"] = json!(parameters);
    }
}
