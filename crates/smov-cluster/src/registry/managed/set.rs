//! Sets of fields, as `metadata.managedFields` writes them (`FieldsV1`).
//!
//! ```text
//! {"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:image":{}}}}}
//! ```

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

/// One step from an object to a field in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    /// The element of a list whose fields have these values.
    Key(Vec<(String, Plain)>),
    /// The element of a set.
    Value(Plain),
    Place(usize),
}

/// A value that tells elements of a list apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain(pub(super) Value);

impl Ord for Plain {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(one), Value::Number(two)) => one.as_f64().unwrap_or_default().total_cmp(&two.as_f64().unwrap_or_default()),
            (Value::String(one), Value::String(two)) => one.cmp(two),
            (Value::Number(_), _) => Ordering::Less,
            (_, Value::Number(_)) => Ordering::Greater,
            (one, two) => one.to_string().cmp(&two.to_string()),
        }
    }
}

impl PartialOrd for Plain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Step {
    fn write(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = keys.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
                format!("k:{}", Value::Object(keys))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Place(place) => format!("i:{place}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => {
                let Ok(Value::Object(keys)) = serde_json::from_str(rest) else { return None };
                let mut keys: Vec<(String, Plain)> = keys.into_iter().map(|(name, value)| (name, Plain(value))).collect();
                keys.sort_unstable();
                Self::Key(keys)
            }
            "v" => Self::Value(Plain(serde_json::from_str(rest).ok()?)),
            "i" => Self::Place(rest.parse().ok()?),
            _ => return None,
        })
    }
}

/// As error messages have it: `.spec`, `[name="app"]`, `[="a"]`.
impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={}", value.0)).collect();
                write!(formatter, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(formatter, "[={}]", value.0),
            Self::Place(place) => write!(formatter, "[{place}]"),
        }
    }
}

/// A set of fields: is this one in it, and which below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) member: bool,
    pub(super) below: BTreeMap<Step, Self>,
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    /// Adds a field; the path is from here.
    pub(super) fn insert(&mut self, path: &[Step]) {
        let mut here = self;
        for step in path {
            // A look-up first: most steps are known, and cloning them costs.
            if !here.below.contains_key(step) {
                here.below.insert(step.clone(), Self::default());
            }
            here = here.below.get_mut(step).expect("it was put there");
        }
        here.member = true;
    }

    /// Takes one field out, and with `deep` all below it.
    pub(super) fn remove(&mut self, path: &[&str], deep: bool) {
        let Some((first, rest)) = path.split_first() else {
            self.member = false;
            if deep {
                self.below.clear();
            }
            return;
        };
        let step = Step::Field((*first).to_owned());
        if let Some(inner) = self.below.get_mut(&step) {
            inner.remove(rest, deep);
            if inner.is_empty() {
                self.below.remove(&step);
            }
        }
    }

    /// Adds what is in the other.
    pub(super) fn unite(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, theirs) in &other.below {
            match self.below.get_mut(step) {
                Some(ours) => ours.unite(theirs),
                None => {
                    self.below.insert(step.clone(), theirs.clone());
                }
            }
        }
    }

    /// Takes out what is in the other.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        self.below.retain(|step, ours| {
            if let Some(theirs) = other.below.get(step) {
                ours.subtract(theirs);
            }
            !ours.is_empty()
        });
    }

    /// What is in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        let below = self.below.iter().filter_map(|(step, ours)| {
            let both = ours.common(other.below.get(step)?);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Self { member: self.member && other.member, below: below.collect() }
    }

    /// Every field, as `.spec.replicas`, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        fn walk(set: &Set, path: &str, found: &mut Vec<String>) {
            if set.member {
                found.push(path.to_owned());
            }
            for (step, inner) in &set.below {
                walk(inner, &format!("{path}{step}"), found);
            }
        }
        let mut found = Vec::new();
        walk(self, "", &mut found);
        found
    }

    /// As `FieldsV1`.
    pub(super) fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.below.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (step, inner) in &self.below {
            map.insert(step.write(), inner.write());
        }
        Value::Object(map)
    }

    /// From `FieldsV1`; `None`: that is none.
    pub(super) fn read(value: &Value) -> Option<Self> {
        fn read(value: &Value) -> Option<Set> {
            let map = value.as_object()?;
            let mut set = Set { member: map.is_empty(), below: BTreeMap::new() };
            for (name, inner) in map {
                if name == "." {
                    set.member = true;
                } else {
                    set.below.insert(Step::read(name)?, read(inner)?);
                }
            }
            Some(set)
        }
        let mut set = read(value)?;
        // The object as such is owned by nobody.
        set.member = false;
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_as_it_was_read() {
        let written = json!({
            "f:metadata": { "f:finalizers": { "v:\"a\"": {} }, "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} }, "k:{\"port\":443,\"protocol\":\"TCP\"}": { ".": {} } } },
        });
        let set = Set::read(&written).unwrap();
        assert_eq!(
            set.paths(),
            [
                r#".metadata.finalizers[="a"]"#,
                ".metadata.labels",
                ".metadata.labels.app",
                r#".spec.ports[port=80,protocol="TCP"]"#,
                r#".spec.ports[port=80,protocol="TCP"].port"#,
                r#".spec.ports[port=443,protocol="TCP"]"#,
            ]
        );
        // An element with nothing in it is written as one without anything below.
        assert_eq!(Set::read(&set.write()).unwrap(), set);
        assert_eq!(Set::read(&json!({ "x:y": {} })), None);
    }

    #[test]
    fn sets_are_united_subtracted_and_met() {
        let read = |value: Value| Set::read(&value).unwrap();
        let one = read(json!({ "f:a": { ".": {}, "f:b": {}, "f:c": {} } }));
        let two = read(json!({ "f:a": { "f:c": {}, "f:d": {} } }));
        assert_eq!(one.common(&two), read(json!({ "f:a": { "f:c": {} } })));
        let mut rest = one.clone();
        rest.subtract(&two);
        assert_eq!(rest, read(json!({ "f:a": { ".": {}, "f:b": {} } })));
        rest.unite(&two);
        assert_eq!(rest.paths(), [".a", ".a.b", ".a.c", ".a.d"]);
    }
}
