//! One rule of a role: what it allows, and whether it covers another one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    pub(crate) verbs: Vec<String>,
}

/// The rules of a role; one that cannot be read allows nothing.
pub(super) fn of(role: &Value) -> Vec<Rule> {
    role["rules"].as_array().into_iter().flatten().filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

fn holds(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

impl Rule {
    pub(super) fn allows_verb(&self, verb: &str) -> bool {
        holds(&self.verbs, verb)
    }

    pub(super) fn allows_group(&self, group: &str) -> bool {
        holds(&self.api_groups, group)
    }

    /// `pods`, `pods/log`; `*/log` allows the log of everything.
    pub(super) fn allows_resource(&self, resource: &str, subresource: &str) -> bool {
        if subresource.is_empty() {
            return holds(&self.resources, resource);
        }
        let (whole, any) = (format!("{resource}/{subresource}"), format!("*/{subresource}"));
        self.resources.iter().any(|one| one == "*" || *one == whole || *one == any)
    }

    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.resource_names.is_empty() || self.resource_names.iter().any(|one| one == name)
    }

    /// A final `*` stands for any rest.
    pub(super) fn allows_path(&self, path: &str) -> bool {
        self.urls.iter().any(|url| match url.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => url == path,
        })
    }

    /// This rule as rules with one verb and one thing each.
    pub(super) fn parts(&self) -> Vec<Self> {
        let one = |text: &str| vec![text.to_owned()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let names = if self.resource_names.is_empty() {
                        vec![Vec::new()]
                    } else {
                        self.resource_names.iter().map(|name| one(name)).collect()
                    };
                    parts.extend(names.into_iter().map(|names| Self {
                        api_groups: one(group),
                        resources: one(resource),
                        urls: Vec::new(),
                        resource_names: names,
                        verbs: one(verb),
                    }));
                }
            }
            parts.extend(self.urls.iter().map(|url| Self { urls: one(url), verbs: one(verb), ..Self::default() }));
        }
        parts
    }

    /// Does this rule allow everything that `part` (one of [`Rule::parts`]) allows?
    pub(super) fn covers(&self, part: &Self) -> bool {
        if !part.verbs.iter().all(|verb| self.allows_verb(verb)) {
            return false;
        }
        if let [url] = part.urls.as_slice() {
            return self.allows_path(url);
        }
        let resource = |resource: &String| match resource.split_once('/') {
            Some((resource, subresource)) => self.allows_resource(resource, subresource),
            None => self.allows_resource(resource, ""),
        };
        let names = if part.resource_names.is_empty() {
            self.resource_names.is_empty()
        } else {
            part.resource_names.iter().all(|name| self.allows_name(name))
        };
        part.api_groups.iter().all(|group| self.allows_group(group)) && part.resources.iter().all(resource) && names
    }

    /// As Kubernetes writes it in messages.
    pub(super) fn compact(&self) -> String {
        let mut parts = Vec::new();
        for (name, list) in [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ] {
            if !list.is_empty() {
                parts.push(format!("{name}:[{}]", quoted(list)));
            }
        }
        format!("{{{}}}", parts.join(", "))
    }
}

/// `"a" "b"`
pub(super) fn quoted(list: &[String]) -> String {
    list.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(" ")
}
