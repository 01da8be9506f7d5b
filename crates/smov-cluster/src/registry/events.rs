//! Events of the cluster itself: counted while they repeat, forgotten when there are many.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

use super::{DeleteOptions, Registry, Selector, WriteOptions, defaults::now};
use crate::kinds::EVENT;

/// How many events a cluster keeps; the oldest go first.
const KEPT: usize = 1000;

impl Registry {
    /// Tells that something happened to an object, as `kubectl describe` and `kubectl events`
    /// show it. The same again raises the count of the first.
    pub fn event(&self, regarding: &Value, r#type: &str, reason: &str, message: &str, component: &str) {
        let metadata = &regarding["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "namespace": namespace },
            "involvedObject": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata["namespace"],
                "name": name,
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "type": r#type,
            "source": { "component": component },
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
            "eventTime": null,
        });
        self.record(namespace, name, event);
    }

    fn record(&self, namespace: &str, name: &str, mut event: Value) {
        let series = series_of(&event);
        let options = WriteOptions::default();
        let known = self.state().series.get(&series).cloned();
        if let Some(known) = known {
            let counted = self.modify(&EVENT, namespace, &known, &options, |old| {
                old["count"] = json!(old["count"].as_u64().unwrap_or(1) + 1);
                old["lastTimestamp"] = event["lastTimestamp"].clone();
                Ok(())
            });
            if counted.is_ok() {
                return;
            }
        }
        // As Kubernetes names them, so that events of one second list in the order in which they happened.
        let event_name = format!("{name}.{:016x}", next_moment());
        event["metadata"]["name"] = json!(event_name);
        match self.create(event, &options) {
            Ok(_) => {
                self.state().series.insert(series, event_name);
                self.forget_old_events();
            }
            // The namespace may be on its way out: nobody will miss the event.
            Err(error) => tracing::debug!(%error, name, "event not recorded"),
        }
    }

    /// Learns the series of the stored events, so that they go on counting after a restart.
    pub(super) fn index_events(&self) {
        let (events, _) = self.list(&EVENT, None, &Selector::default());
        let mut state = self.state();
        for event in events {
            let name = event["metadata"]["name"].as_str().unwrap_or_default();
            state.series.insert(series_of(&event), name.to_owned());
        }
    }

    fn forget_old_events(&self) {
        let (mut events, _) = self.list(&EVENT, None, &Selector::default());
        if events.len() <= KEPT {
            return;
        }
        events.sort_by(|left, right| {
            let seen = |event: &Value| event["lastTimestamp"].as_str().map(str::to_owned);
            seen(left).cmp(&seen(right))
        });
        // A tenth at once, so that this is not done for every new event.
        for event in events.iter().take(events.len() - KEPT + KEPT / 10) {
            let metadata = &event["metadata"];
            let (Some(namespace), Some(name)) = (metadata["namespace"].as_str(), metadata["name"].as_str()) else {
                continue;
            };
            if self.delete(&EVENT, namespace, name, &DeleteOptions::now()).is_ok() {
                self.state().series.remove(&series_of(event));
            }
        }
    }
}

/// Nanoseconds since 1970, each once.
fn next_moment() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    before.map_or(now, |last| now.max(last + 1))
}

/// Events with the same text about the same object are one series.
fn series_of(event: &Value) -> String {
    let regarding = &event["involvedObject"];
    [
        &regarding["kind"],
        &regarding["namespace"],
        &regarding["name"],
        &regarding["uid"],
        &event["type"],
        &event["reason"],
        &event["message"],
        &event["source"]["component"],
    ]
    .map(|part| part.as_str().unwrap_or_default())
    .join("\u{1f}")
}
