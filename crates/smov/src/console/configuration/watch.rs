//! Sees every change of a rule, whoever made it: tells the page at once, and writes into the history what nobody else has written there.
//!
//! What this console changes itself is told by [`super::execute`]; what another one changes, or kubectl, is only seen. Both may write it down: the book
//! keeps it once. A change that happened while no console ran is noticed by the first list, as far as the history knows what was before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use smov_cluster::kinds::Kind;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Entry, Item};
use super::execute::{item, new_id};
use super::object::{Reference, cleaned, version_of};
use super::{MeshConfiguration, PAGE, SCENARIO};
use crate::console::feed::{RuleEvent, RuleNews};

/// Changes by one writer within this time are one change: `kubectl apply -f folder` writes object after object.
const TOGETHER: Duration = Duration::from_millis(400);
/// The pause after a history could not be written.
const AGAIN: Duration = Duration::from_secs(2);
/// Changes that wait while a history cannot be written; the oldest go.
const MOST_WAITING: usize = 200;

/// One change that was seen.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    cluster: String,
    origin: String,
    by: String,
    at: u64,
    item: Item,
}

/// What is known of the rules.
#[derive(Default)]
struct Known {
    objects: BTreeMap<(String, Reference), Value>,
    /// Kinds whose first list has come, by cluster.
    listed: BTreeSet<(String, &'static str)>,
}

/// Watches until shutdown.
pub(crate) async fn run(configuration: MeshConfiguration, mut rules: UnboundedReceiver<RuleNews>, shutdown: CancellationToken) {
    let mut known = Known::default();
    let mut waiting: Vec<Seen> = Vec::new();
    let mut due: Option<Instant> = None;
    let clusters = &configuration.0.clusters;
    loop {
        let pause = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            news = rules.recv() => {
                let Some(first) = news else { break };
                let mut seen = Vec::new();
                let mut next = Some(first);
                while let Some(news) = next {
                    let own = clusters.iter().find(|cluster| cluster.name == news.cluster);
                    let book = match own.filter(|_| known.is_first(&news)) {
                        Some(cluster) => configuration.0.keeper.book(cluster).await.map(|(book, _)| book).unwrap_or_default(),
                        None => Book::default(),
                    };
                    seen.extend(known.take(news, &book, configuration.0.live.now()));
                    next = rules.try_recv().ok();
                }
                if !seen.is_empty() {
                    configuration.0.live.tell_rules(&references(&seen), None);
                    waiting.extend(seen);
                    let over = waiting.len().saturating_sub(MOST_WAITING);
                    waiting.drain(..over);
                    due = due.or_else(|| Some(Instant::now() + TOGETHER));
                }
            }
            () = pause => {
                waiting = configuration.write_down(std::mem::take(&mut waiting)).await;
                due = (!waiting.is_empty()).then(|| Instant::now() + AGAIN);
            }
        }
    }
    // What was seen last is not lost with an orderly end.
    configuration.write_down(waiting).await;
}

fn references(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|one| one.item.r#ref.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

impl MeshConfiguration {
    /// Writes what was seen into the history; gives what could not be written.
    async fn write_down(&self, waiting: Vec<Seen>) -> Vec<Seen> {
        // Whoever of this console is writing tells it first.
        let writing = self.0.writing.lock().await;
        let mut left = Vec::new();
        for group in grouped(waiting) {
            let Some(first) = group.first() else { continue };
            let at = group.iter().map(|one| one.at).max().unwrap_or(first.at);
            let entry = Entry { id: new_id(at), at, by: first.by.clone(), origin: first.origin.clone(), seen: true, ..Entry::default() };
            let items: Vec<(String, Item)> = group.iter().map(|one| (one.cluster.clone(), one.item.clone())).collect();
            let (new, errors) = self.0.keeper.record(&entry, &items).await;
            if new {
                self.0.live.tell_rules(&references(&group), Some(&entry.id));
            }
            if let Some(error) = errors.first() {
                tracing::debug!(%error, "a change that was seen could not be written into the history yet");
                left.extend(group);
            }
        }
        drop(writing);
        left
    }
}

/// By cluster and writer, in the order of the first of each.
fn grouped(seen: Vec<Seen>) -> Vec<Vec<Seen>> {
    let mut groups: Vec<Vec<Seen>> = Vec::new();
    for one in seen {
        let same = |group: &&mut Vec<Seen>| {
            group.first().is_some_and(|first| (&first.cluster, &first.origin, &first.by) == (&one.cluster, &one.origin, &one.by))
                // An object that changed twice is in two changes: each can be taken back.
                && group.iter().all(|known| known.item.r#ref != one.item.r#ref)
        };
        match groups.iter_mut().rev().find(same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

impl Known {
    /// Is it the first list of its kind?
    fn is_first(&self, news: &RuleNews) -> bool {
        matches!(news.news, RuleEvent::Listed(_)) && !self.listed.contains(&(news.cluster.clone(), news.kind))
    }

    /// Takes what was read; gives what changed. `book` is what the history says, for a first list.
    fn take(&mut self, news: RuleNews, book: &Book, now: u64) -> Vec<Seen> {
        let RuleNews { cluster, kind: word, news } = news;
        let Some(kind) = smov_cluster::kinds::by_kind(word) else { return Vec::new() };
        let named = |mut object: Value| {
            object["apiVersion"] = Value::from(kind.api_version());
            object["kind"] = Value::from(kind.kind);
            (Reference::of(&object), object)
        };
        match news {
            RuleEvent::Applied(object) => {
                let (reference, object) = named(object);
                self.changed(&cluster, kind, reference, Some(&object), now).into_iter().collect()
            }
            RuleEvent::Deleted(object) => {
                let (reference, _) = named(object);
                self.changed(&cluster, kind, reference, None, now).into_iter().collect()
            }
            RuleEvent::Listed(objects) => {
                let objects: BTreeMap<Reference, Value> = objects.into_iter().map(named).collect();
                if self.listed.insert((cluster.clone(), word)) {
                    let seen = missed(&cluster, kind, &objects, book, now);
                    self.objects.extend(objects.into_iter().map(|(reference, object)| ((cluster.clone(), reference), object)));
                    return seen;
                }
                let before = self.objects.keys().filter(|(known, reference)| *known == cluster && reference.kind == word);
                let gone: Vec<Reference> =
                    before.map(|(_, reference)| reference.clone()).filter(|known| !objects.contains_key(known)).collect();
                let mut seen: Vec<Seen> = gone.into_iter().filter_map(|gone| self.changed(&cluster, kind, gone, None, now)).collect();
                seen.extend(
                    objects.into_iter().filter_map(|(reference, object)| self.changed(&cluster, kind, reference, Some(&object), now)),
                );
                seen
            }
        }
    }

    fn changed(&mut self, cluster: &str, kind: &Kind, reference: Reference, object: Option<&Value>, now: u64) -> Option<Seen> {
        let key = (cluster.to_owned(), reference);
        let before = match object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        // Made anew under the same name: nothing of the old one was changed.
        let same = before.as_ref().zip(object).is_none_or(|(old, new)| uid(old) == uid(new));
        let item = item(&key.1, kind, before.as_ref().filter(|_| same), object)?;
        let (origin, by) = object.map_or_else(|| (unknown(), String::new()), |object| writer(object, before.as_ref()));
        Some(Seen { cluster: cluster.to_owned(), origin, by, at: now, item })
    }
}

/// What changed while nobody watched, as far as the history knows what was before.
fn missed(cluster: &str, kind: &Kind, objects: &BTreeMap<Reference, Value>, book: &Book, now: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    let names = book.entries.iter().flat_map(|entry| entry.items.iter().filter_map(|item| Reference::parse(&item.r#ref)));
    let names: BTreeSet<Reference> = names.filter(|reference| reference.kind == kind.kind).collect();
    for reference in names {
        let Some(last) = book.last_of(&reference.to_string()) else { continue };
        // That it was there is known, what it said is not.
        if last.after.is_none() && last.after_version.is_some() {
            continue;
        }
        let object = objects.get(&reference);
        let clean = object.map(|object| cleaned(object, kind));
        if clean == last.after {
            continue;
        }
        let uid = object.and_then(|object| object["metadata"]["uid"].as_str()).map_or_else(|| last.uid.clone(), str::to_owned);
        let (origin, by) = object.map_or_else(|| (unknown(), String::new()), |object| writer(object, None));
        let item = Item {
            r#ref: reference.to_string(),
            uid,
            before_version: last.after_version.clone(),
            after_version: object.map(|object| version_of(object).to_owned()),
            before: last.after.clone(),
            after: clean,
        };
        let at = object.and_then(written_at).unwrap_or(now);
        seen.push(Seen { cluster: cluster.to_owned(), origin, by, at, item });
    }
    seen
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn managers(object: &Value) -> impl Iterator<Item = &Value> {
    let all = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|entry| entry["subresource"].as_str().is_none_or(str::is_empty))
}

/// Who wrote an object last: the manager whose entry is newer or owns more than before, else one whose entry is another, else the latest.
/// Kind of writer, and its name.
fn writer(object: &Value, before: Option<&Value>) -> (String, String) {
    // Who takes a field over leaves the former owner an entry that is another too, but only smaller.
    let gained = |entry: &&Value| before.is_some_and(|before| managers(before).all(|known| !is_part_of(entry, known)));
    let changed = |entry: &&Value| before.is_some_and(|before| managers(before).all(|known| known != *entry));
    // Times are of a second; of several in one second the last in the list is taken.
    let time = |entry: &&Value| entry["time"].as_str().unwrap_or_default().to_owned();
    let gained = managers(object).filter(gained).max_by_key(time);
    let changed = gained.or_else(|| managers(object).filter(changed).max_by_key(time));
    let manager = changed.or_else(|| managers(object).max_by_key(time)).and_then(|entry| entry["manager"].as_str()).unwrap_or_default();
    (origin_of(manager), manager.to_owned())
}

/// Is it the known entry, or what is left of it?
fn is_part_of(entry: &Value, known: &Value) -> bool {
    ["manager", "operation", "apiVersion", "time"].iter().all(|name| entry[name] == known[name])
        && owns_no_more(&entry["fieldsV1"], &known["fieldsV1"])
}

fn owns_no_more(fields: &Value, known: &Value) -> bool {
    let mut all = fields.as_object().into_iter().flatten();
    all.all(|(name, below)| known.get(name).is_some_and(|known| owns_no_more(below, known)))
}

fn origin_of(manager: &str) -> String {
    match manager {
        PAGE => "page".to_owned(),
        "smov" => "smov".to_owned(),
        _ if manager.starts_with("kubectl") => "kubectl".to_owned(),
        _ => manager.strip_prefix(SCENARIO).map_or_else(unknown, |name| format!("scenario:{name}")),
    }
}

/// When it was written last, Unix microseconds.
fn written_at(object: &Value) -> Option<u64> {
    let latest = managers(object).filter_map(|entry| entry["time"].as_str()).max()?;
    let time: jiff::Timestamp = latest.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(uid: &str, version: &str, weight: u32, managers: &[(&str, &str)]) -> Value {
        let managers: Vec<Value> =
            managers.iter().map(|(name, time)| json!({ "manager": name, "operation": "Update", "time": time })).collect();
        json!({
            "metadata": { "name": "a", "namespace": "n", "uid": uid, "resourceVersion": version, "managedFields": managers },
            "spec": { "weight": weight },
        })
    }

    fn news(news: RuleEvent) -> RuleNews {
        RuleNews { cluster: "ctx1".to_owned(), kind: "VirtualService", news }
    }

    const EARLY: &str = "2025-01-01T00:00:00Z";
    const LATE: &str = "2025-01-01T00:00:09Z";

    #[test]
    fn who_takes_a_field_over_is_the_writer_even_within_one_second() {
        let entry = |manager: &str, fields: Value| json!({ "manager": manager, "operation": "Update", "time": EARLY, "fieldsV1": fields });
        let object = |managers: Value| json!({ "metadata": { "managedFields": managers } });
        let before = object(json!([entry(PAGE, json!({ "f:spec": { "f:hosts": {}, "f:http": {} } }))]));
        let after = object(json!([
            entry("kubectl-patch", json!({ "f:spec": { "f:http": {} } })),
            entry(PAGE, json!({ "f:spec": { "f:hosts": {} } })),
        ]));
        assert_eq!(writer(&after, Some(&before)), ("kubectl".to_owned(), "kubectl-patch".to_owned()));
        assert_eq!(writer(&before, Some(&after)).0, "page", "and back");
        let less = object(json!([entry(PAGE, json!({ "f:spec": { "f:hosts": {} } }))]));
        assert_eq!(writer(&less, Some(&before)).0, "page", "who only took something away");
    }

    fn watching(object: Value) -> Known {
        let mut known = Known::default();
        assert_eq!(known.take(news(RuleEvent::Listed(vec![object])), &Book::default(), 1), []);
        known
    }

    #[test]
    fn a_change_is_seen_with_its_writer_and_a_status_is_none() {
        let mut known = watching(rule("u", "1", 70, &[("smov", EARLY)]));
        let mut status = rule("u", "2", 70, &[("smov", EARLY)]);
        status["status"] = json!({ "x": 1 });
        assert_eq!(known.take(news(RuleEvent::Applied(status)), &Book::default(), 2), []);
        let changed = rule("u", "3", 50, &[("kubectl-edit", LATE), ("smov", EARLY)]);
        let seen = known.take(news(RuleEvent::Applied(changed.clone())), &Book::default(), 3);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].origin.as_str(), seen[0].by.as_str(), seen[0].at), ("kubectl", "kubectl-edit", 3));
        let item = &seen[0].item;
        assert_eq!((item.before_version.as_deref(), item.after_version.as_deref()), (Some("2"), Some("3")));
        assert_eq!(
            (&item.before.as_ref().unwrap()["spec"]["weight"], &item.after.as_ref().unwrap()["spec"]["weight"]),
            (&json!(70), &json!(50))
        );
        // The same again, as after a broken watch.
        assert_eq!(known.take(news(RuleEvent::Listed(vec![changed])), &Book::default(), 4), []);
        let gone = known.take(news(RuleEvent::Listed(vec![])), &Book::default(), 5);
        assert_eq!((gone[0].origin.as_str(), gone[0].item.after.is_none(), gone[0].item.uid.as_str()), ("unknown", true, "u"));
    }

    #[test]
    fn an_object_made_anew_under_the_same_name_is_not_the_old_one_changed() {
        let mut known = watching(rule("u", "1", 70, &[]));
        let seen = known.take(news(RuleEvent::Applied(rule("v", "9", 50, &[]))), &Book::default(), 2);
        assert_eq!((seen[0].item.before.clone(), seen[0].item.uid.as_str()), (None, "v"));
    }

    #[test]
    fn what_changed_while_nobody_watched_is_noticed_where_the_history_knows_what_was_before() {
        let mut book = Book::default();
        let kind = smov_cluster::kinds::by_kind("VirtualService").unwrap();
        let then = item(&Reference::parse("VirtualService/n/a").unwrap(), kind, None, Some(&rule("u", "1", 70, &[]))).unwrap();
        book.add(Entry { id: "x".into(), at: 1, items: vec![then], ..Entry::default() });
        let listed = |objects| Known::default().take(news(RuleEvent::Listed(objects)), &book, 7);
        let same = listed(vec![rule("u", "5", 70, &[])]);
        assert!(same.iter().all(|seen| seen.item.before != seen.item.after), "{same:?}");
        let changed = listed(vec![rule("u", "5", 50, &[("kubectl-client-side-apply", LATE)])]);
        assert_eq!((changed[0].origin.as_str(), changed[0].at), ("kubectl", 1_735_689_609_000_000));
        assert_eq!(changed[0].item.before.as_ref().unwrap()["spec"]["weight"], 70);
        let gone = listed(vec![]);
        assert_eq!((gone[0].item.uid.as_str(), gone[0].at), ("u", 7));
        assert_eq!(Known::default().take(news(RuleEvent::Listed(vec![rule("u", "5", 50, &[])])), &Book::default(), 7), []);
    }

    #[test]
    fn writers_have_names_that_people_know() {
        for (manager, origin) in [
            ("smov-page", "page"),
            ("smov", "smov"),
            ("kubectl-client-side-apply", "kubectl"),
            ("kubectl", "kubectl"),
            ("smov-scenario-delay", "scenario:delay"),
            ("argocd-controller", "unknown"),
        ] {
            assert_eq!(origin_of(manager), origin);
        }
        let before = rule("u", "1", 1, &[("smov", LATE), ("kubectl-edit", EARLY)]);
        // In the same second only the entry tells.
        let after = rule("u", "2", 2, &[("kubectl-edit", LATE), ("smov", LATE)]);
        assert_eq!(writer(&after, Some(&before)).1, "kubectl-edit");
        assert_eq!(written_at(&after), Some(1_735_689_609_000_000));
    }

    #[test]
    fn changes_of_one_writer_are_one_and_an_object_is_in_it_once() {
        let seen = |by: &str, name: &str, version: &str| Seen {
            cluster: "ctx1".into(),
            origin: "kubectl".into(),
            by: by.into(),
            at: 1,
            item: Item { r#ref: name.into(), after_version: Some(version.into()), ..Item::default() },
        };
        let groups = grouped(vec![seen("k", "a", "1"), seen("k", "b", "2"), seen("x", "c", "3"), seen("k", "a", "4")]);
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }
}
