//! The history as data: what changed, who did it, what was before and after. Pure; [`super::keeper`] reads and writes it.
//!
//! Each cluster's ConfigMap keeps the part of a change that happened there, so a cluster that is out of reach is in nobody's way; parts with one number
//! are one change. A change is told by whoever made it, and seen by every console that watches: what both wrote down is kept once, as told.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Changes kept.
const MOST_CHANGES: usize = 100;
/// Bytes kept: a ConfigMap may have 1 MiB.
const MOST_BYTES: usize = 512 << 10;

/// A change, as far as one cluster is concerned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    pub(crate) id: String,
    /// Unix microseconds.
    pub(crate) at: u64,
    pub(crate) by: String,
    pub(crate) note: String,
    pub(crate) origin: String,
    /// The change that this one took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<String>,
    /// Did it take back all of that?
    pub(crate) whole: bool,
    /// Was it seen by a watch, not told by whoever made it?
    pub(crate) seen: bool,
    pub(crate) items: Vec<Item>,
}

/// One object of a change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    /// `Kind/namespace/name`.
    pub(crate) r#ref: String,
    pub(crate) uid: String,
    pub(crate) before_version: Option<String>,
    pub(crate) after_version: Option<String>,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Item {
    /// An object is deleted once, and each of its versions is made once.
    fn key(&self) -> (&str, Option<&str>) {
        (&self.uid, self.after_version.as_deref())
    }
}

/// The changes of one cluster, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Book {
    pub(crate) entries: Vec<Entry>,
}

/// The key of the ConfigMap's data.
const KEY: &str = "changes";

impl Book {
    /// Reads a ConfigMap. What cannot be read is an error: writing over it would lose it.
    pub(crate) fn read(object: &Value) -> Result<Self, String> {
        let Some(text) = object["data"][KEY].as_str() else { return Ok(Self::default()) };
        serde_json::from_str(text).map(|entries| Self { entries }).map_err(|error| format!("data.{KEY}: {error}"))
    }

    /// The ConfigMap's data.
    pub(crate) fn data(&self) -> Value {
        json!({ KEY: self.text() })
    }

    fn text(&self) -> String {
        serde_json::to_string(&self.entries).expect("plain data serialises")
    }

    /// Takes a change; gives whether the book is another now.
    pub(crate) fn add(&mut self, mut entry: Entry) -> bool {
        if entry.seen {
            let known: BTreeSet<_> = self.entries.iter().flat_map(|known| known.items.iter().map(Item::key)).collect();
            entry.items.retain(|item| !known.contains(&item.key()));
        } else {
            let told: BTreeSet<_> = entry.items.iter().map(Item::key).collect();
            for known in self.entries.iter_mut().filter(|known| known.seen) {
                known.items.retain(|item| !told.contains(&item.key()));
            }
            self.entries.retain(|known| !known.seen || !known.items.is_empty());
        }
        if entry.items.is_empty() && entry.undoes.is_none() {
            return false;
        }
        let place = self.entries.iter().position(|known| (known.at, &known.id) <= (entry.at, &entry.id)).unwrap_or(self.entries.len());
        self.entries.insert(place, entry);
        self.bound();
        true
    }

    fn bound(&mut self) {
        self.entries.truncate(MOST_CHANGES);
        while self.entries.len() > 1 && self.text().len() > MOST_BYTES {
            self.entries.pop();
        }
        if self.text().len() > MOST_BYTES {
            // One change of very many objects: that it happened is kept, what it said is not.
            for item in self.entries.iter_mut().flat_map(|entry| &mut entry.items) {
                (item.before, item.after) = (None, None);
            }
        }
    }

    /// What the history says of an object last: its version, and the object unless it is gone.
    pub(crate) fn last_of(&self, reference: &str) -> Option<&Item> {
        self.entries.iter().find_map(|entry| entry.items.iter().rev().find(|item| item.r#ref == reference))
    }
}

/// A change in all clusters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Change {
    /// Without items.
    pub(crate) entry: Entry,
    /// With the cluster's name in front.
    pub(crate) items: Vec<(String, Item)>,
    pub(crate) undone: bool,
}

/// All clusters' books as one, newest first.
pub(crate) fn merged(books: impl IntoIterator<Item = (String, Book)>) -> Vec<Change> {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for (cluster, book) in books {
        for mut entry in book.entries {
            let items = std::mem::take(&mut entry.items);
            let change = changes.entry(entry.id.clone()).or_insert_with(|| Change { entry, ..Change::default() });
            change.items.extend(items.into_iter().map(|item| (cluster.clone(), item)));
        }
    }
    let mut changes: Vec<Change> = changes.into_values().collect();
    changes.sort_by(|one, other| (other.entry.at, &other.entry.id).cmp(&(one.entry.at, &one.entry.id)));
    // From the newest on: what took a change back, and was not taken back itself.
    let mut undone = BTreeSet::new();
    for change in &mut changes {
        change.undone = undone.contains(&change.entry.id);
        if !change.undone && change.entry.whole {
            undone.extend(change.entry.undoes.clone());
        }
    }
    changes
}

/// The change that an undo takes back: the newest that holds and took nothing back itself.
pub(crate) fn next_undo(changes: &[Change]) -> Option<&Change> {
    changes.iter().find(|change| change.entry.undoes.is_none() && !change.undone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(uid: &str, version: &str) -> Item {
        Item {
            r#ref: format!("VirtualService/n/{uid}"),
            uid: uid.to_owned(),
            after_version: Some(version.to_owned()),
            after: Some(json!({ "spec": version })),
            ..Item::default()
        }
    }

    fn told(id: &str, at: u64, items: Vec<Item>) -> Entry {
        Entry { id: id.to_owned(), at, origin: "page".to_owned(), items, ..Entry::default() }
    }

    fn seen(id: &str, at: u64, items: Vec<Item>) -> Entry {
        Entry { seen: true, origin: "unknown".to_owned(), ..told(id, at, items) }
    }

    fn undo(id: &str, at: u64, of: &str) -> Entry {
        Entry { undoes: Some(of.to_owned()), whole: true, ..told(id, at, vec![item(id, "9")]) }
    }

    fn ids(changes: &[Change]) -> Vec<(&str, bool)> {
        changes.iter().map(|change| (change.entry.id.as_str(), change.undone)).collect()
    }

    #[test]
    fn a_change_that_was_told_and_seen_is_kept_once_as_told() {
        for told_first in [true, false] {
            let mut book = Book::default();
            let (told, seen) = (told("t", 5, vec![item("a", "1"), item("b", "2")]), seen("s", 6, vec![item("a", "1"), item("c", "3")]));
            for entry in if told_first { [told.clone(), seen.clone()] } else { [seen, told] } {
                assert!(book.add(entry));
            }
            let kept: Vec<(&str, usize)> = book.entries.iter().map(|entry| (entry.id.as_str(), entry.items.len())).collect();
            assert_eq!(kept, [("s", 1), ("t", 2)], "told first: {told_first}");
            assert_eq!(book.entries[0].items, [item("c", "3")]);
            assert!(!book.add(super::Entry { seen: true, items: vec![item("b", "2")], ..Entry::default() }), "nothing new");
        }
    }

    #[test]
    fn a_book_is_read_back_and_a_broken_one_is_not_taken_for_an_empty_one() {
        let mut book = Book::default();
        book.add(told("a", 1, vec![item("x", "1")]));
        assert_eq!(Book::read(&json!({ "data": book.data() })), Ok(book));
        assert_eq!(Book::read(&json!({})), Ok(Book::default()));
        assert!(Book::read(&json!({ "data": { "changes": "[{" } })).unwrap_err().contains("data.changes"));
    }

    #[test]
    fn a_book_stays_bounded_and_the_oldest_goes_first() {
        let mut book = Book::default();
        for n in 0..150 {
            book.add(told(&format!("{n:03}"), n, vec![item("a", &n.to_string())]));
        }
        assert_eq!((book.entries.len(), book.entries[0].id.as_str(), book.entries[99].id.as_str()), (100, "149", "050"));
        let large = |id: &str, at| {
            let mut entry = told(id, at, vec![item("a", id)]);
            entry.items[0].after = Some(json!("x".repeat(200 << 10)));
            entry
        };
        for (id, at) in [("a", 200), ("b", 201), ("c", 202)] {
            book.add(large(id, at));
        }
        assert_eq!(book.entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        let mut huge = large("h", 300);
        huge.items[0].after = Some(json!("x".repeat(600 << 10)));
        book.add(huge);
        assert_eq!((book.entries.len(), book.entries[0].items[0].after.is_none()), (1, true));
    }

    #[test]
    fn the_parts_of_both_clusters_are_one_change() {
        let (mut one, mut two) = (Book::default(), Book::default());
        one.add(told("a", 1, vec![item("x", "1")]));
        two.add(told("a", 1, vec![item("y", "1")]));
        two.add(seen("b", 2, vec![item("y", "2")]));
        let changes = merged([("ctx1".to_owned(), one), ("ctx2".to_owned(), two)]);
        assert_eq!(ids(&changes), [("b", false), ("a", false)]);
        let clusters: Vec<&str> = changes[1].items.iter().map(|(cluster, _)| cluster.as_str()).collect();
        assert_eq!(clusters, ["ctx1", "ctx2"]);
    }

    #[test]
    fn undo_takes_change_after_change_back_and_never_an_undo() {
        let mut book = Book::default();
        book.add(told("a", 1, vec![item("x", "1")]));
        book.add(told("b", 2, vec![item("x", "2")]));
        let changes = |book: &Book| merged([("ctx1".to_owned(), book.clone())]);
        let next = |book: &Book| next_undo(&changes(book)).map(|change| change.entry.id.clone());
        assert_eq!(next(&book).as_deref(), Some("b"));
        book.add(undo("c", 3, "b"));
        assert_eq!(ids(&changes(&book)), [("c", false), ("b", true), ("a", false)]);
        assert_eq!(next(&book).as_deref(), Some("a"));
        book.add(undo("d", 4, "a"));
        assert_eq!(next(&book), None);
        // Taking the undo back puts the change in force again.
        book.add(undo("e", 5, "d"));
        assert_eq!(next(&book).as_deref(), Some("a"));
        // Half an undo leaves the rest to be undone.
        let mut half = undo("f", 6, "a");
        half.whole = false;
        book.add(half);
        assert_eq!(next(&book).as_deref(), Some("a"));
    }

    #[test]
    fn the_last_word_on_an_object_is_found() {
        let mut book = Book::default();
        book.add(told("a", 1, vec![item("x", "1"), item("y", "1")]));
        book.add(told("b", 2, vec![item("x", "2")]));
        assert_eq!(book.last_of("VirtualService/n/x").and_then(|item| item.after_version.as_deref()), Some("2"));
        assert_eq!(book.last_of("VirtualService/n/y").and_then(|item| item.after_version.as_deref()), Some("1"));
        assert_eq!(book.last_of("VirtualService/n/z"), None);
    }
}
