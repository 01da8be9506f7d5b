//! The history as the page sees it.

use smov_console::view::configuration::{HistoryChange, HistoryItem, HistoryView};

use super::book::{Change, Item, next_undo};
use super::keeper::Told;
use super::object::yaml;
use super::summary::summary;

/// The newest changes, of one object or of all.
pub(super) fn view(told: Told, reference: Option<&str>, limit: usize) -> HistoryView {
    let undo = next_undo(&told.changes).map(|change| change.entry.id.clone());
    let about = |change: &&Change| reference.is_none_or(|wanted| change.items.iter().any(|(_, item)| item.r#ref == wanted));
    HistoryView { changes: told.changes.iter().filter(about).take(limit).map(change).collect(), stores: told.stores, undo }
}

fn change(change: &Change) -> HistoryChange {
    let entry = &change.entry;
    HistoryChange {
        id: entry.id.clone(),
        at: entry.at,
        by: entry.by.clone(),
        note: entry.note.clone(),
        origin: entry.origin.clone(),
        undoes: entry.undoes.clone(),
        undone: change.undone,
        items: change.items.iter().map(|(cluster, found)| item(cluster, found)).collect(),
    }
}

fn item(cluster: &str, item: &Item) -> HistoryItem {
    let (summary_ko, summary_en) = summary(item.before.as_ref(), item.after.as_ref());
    HistoryItem {
        cluster: cluster.to_owned(),
        r#ref: item.r#ref.clone(),
        before_version: item.before_version.clone(),
        after_version: item.after_version.clone(),
        summary_ko,
        summary_en,
        before: item.before.as_ref().map(yaml),
        after: item.after.as_ref().map(yaml),
    }
}
