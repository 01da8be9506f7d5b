//! Entries of the timeline from what API servers tell: Kubernetes' Events, and rules that changed.

use std::collections::HashMap;

use serde_json::Value;
use smov_console::view::timeline::{Moment, MomentKind};
use smov_control::source::News;

use super::pods_view::micros;

/// What an Event says, where it is worth an entry: what the pods' own state shows already is left out.
pub(super) fn of_event(cluster: &str, event: &Value) -> Option<Moment> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let about = &event["involvedObject"];
    let part = |field: &str| about[field].as_str().unwrap_or_default();
    let (kind, name, namespace) = (part("kind"), part("name"), part("namespace"));
    let (reason, message) = (text("reason"), text("message"));
    let (moment, ko) = match (text("type"), reason) {
        ("Normal", "ScalingReplicaSet") => (MomentKind::Scale, format!("{name}: {}", scaling(message))),
        ("Normal", "Killing") if message.contains("probe") => {
            (MomentKind::Restart, format!("{name}: 활성 프로브가 실패하여 컨테이너를 다시 시작합니다"))
        }
        ("Warning", "BackOff") => (MomentKind::Fault, format!("{name}: 계속 종료되어 다음 시작을 미룹니다 (BackOff)")),
        ("Warning", "Unhealthy") => (MomentKind::Fault, format!("{name}: 프로브 실패. {message}")),
        ("Warning", "FailedScheduling") => (MomentKind::Fault, format!("{name}: 배치할 노드가 없습니다. {message}")),
        ("Warning", _) => (MomentKind::Fault, format!("{name}: {reason}. {message}")),
        _ => return None,
    };
    let en = if moment == MomentKind::Fault { format!("{name}: {reason}. {message}") } else { format!("{name}: {message}") };
    let last = [text("lastTimestamp"), text("eventTime"), event["metadata"]["creationTimestamp"].as_str().unwrap_or_default()];
    let at = last.into_iter().find_map(micros)?;
    let id = event["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty())?;
    let count = event["count"].as_u64().filter(|count| *count > 1).map(|count| format!(" (×{count})")).unwrap_or_default();
    let about = format!("{kind}/{namespace}/{name}");
    Some(Moment::new(format!("event:{cluster}:{id}"), at, moment, Some(cluster), Some(about), [ko + &count, en + &count]))
}

/// `Scaled up replica set x to 2 from 1` in Korean; what is worded otherwise stays as it is.
fn scaling(message: &str) -> String {
    let number = |word: &str| message.split(&format!(" {word} ")).nth(1)?.split_whitespace().next()?.parse::<u32>().ok();
    let set = message.split("replica set ").nth(1).and_then(|rest| rest.split_whitespace().next());
    match (set, number("to"), number("from")) {
        (Some(set), Some(to), Some(from)) => format!("레플리카셋 {set} {from} → {to}"),
        (Some(set), Some(to), None) => format!("레플리카셋 {set} → {to}"),
        _ => message.to_owned(),
    }
}

/// Versions of the rules, to tell a change from a first sight.
#[derive(Debug, Default)]
pub(super) struct Rules {
    versions: HashMap<String, String>,
}

impl Rules {
    /// What the news of a rule are, if they are news.
    pub(super) fn take(&mut self, cluster: &str, kind: &str, news: &News, now: u64) -> Option<Moment> {
        match news {
            News::Listed(objects) => {
                objects.iter().for_each(|object| drop(self.versions.insert(key(cluster, kind, object), version(object))));
                None
            }
            News::Applied(object) => {
                let version = version(object);
                let before = self.versions.insert(key(cluster, kind, object), version.clone());
                if before.as_ref() == Some(&version) {
                    return None;
                }
                let words = if before.is_some() { ["바뀌었습니다", "changed"] } else { ["만들어졌습니다", "was created"] };
                Some(changed(cluster, kind, object, words, &version, now))
            }
            News::Deleted(object) => {
                self.versions.remove(&key(cluster, kind, object));
                Some(changed(cluster, kind, object, ["지워졌습니다", "was deleted"], "deleted", now))
            }
            News::Alive | News::Failed(_) => None,
        }
    }
}

fn reference(kind: &str, object: &Value) -> String {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    format!("{kind}/{}/{}", field("namespace"), field("name"))
}

fn key(cluster: &str, kind: &str, object: &Value) -> String {
    format!("{cluster}:{}", reference(kind, object))
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

fn changed(cluster: &str, kind: &str, object: &Value, [ko, en]: [&str; 2], version: &str, now: u64) -> Moment {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let by = last_writer(object);
    let whose = by.as_deref().map(|by| format!(" ({by})")).unwrap_or_default();
    let id = format!("rule:{}:{version}", key(cluster, kind, object));
    let texts = [format!("{kind} {name} · {cluster} {ko}{whose}"), format!("{kind} {name} · {cluster} {en}{whose}")];
    Moment::new(id, now, MomentKind::Change, Some(cluster), Some(reference(kind, object)), texts)
}

/// Who wrote last, as far as the server kept it.
fn last_writer(object: &Value) -> Option<String> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let last = entries
        .iter()
        .filter(|entry| entry["subresource"].as_str().is_none_or(str::is_empty))
        .max_by_key(|entry| entry["time"].as_str())?;
    Some(last["manager"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, reason: &str, message: &str) -> Value {
        json!({"metadata": {"uid": "u"}, "type": kind, "reason": reason, "message": message, "count": 3, "lastTimestamp": "2026-11-22T10:00:00Z",
               "involvedObject": {"kind": "Pod", "namespace": "theater-msa", "name": "user-1"}})
    }

    #[test]
    fn events_are_told_in_both_languages_and_repeats_are_counted() {
        let moment = of_event("ctx1", &event("Warning", "BackOff", "Back-off restarting failed container")).unwrap();
        assert_eq!(
            (moment.kind, moment.about.as_deref(), moment.at),
            (MomentKind::Fault, Some("Pod/theater-msa/user-1"), 1_795_341_600_000_000)
        );
        assert!(moment.text_ko.ends_with("(×3)") && moment.text_en.contains("Back-off restarting"), "{moment:?}");
        let scaled = of_event("ctx1", &event("Normal", "ScalingReplicaSet", "Scaled up replica set user-5f to 2 from 1")).unwrap();
        assert_eq!(scaled.text_ko, "user-1: 레플리카셋 user-5f 1 → 2 (×3)");
        assert_eq!(of_event("ctx1", &event("Normal", "Pulled", "there")), None);
    }

    #[test]
    fn a_rule_is_news_when_its_version_is_another_one() {
        let rule = |version: &str| {
            json!({"metadata": {"namespace": "theater-msa", "name": "user-service-vs", "resourceVersion": version,
            "managedFields": [{"manager": "smov", "time": "2026-11-22T09:00:00Z"}, {"manager": "kubectl-edit", "time": "2026-11-22T10:00:00Z"}]}})
        };
        let mut rules = Rules::default();
        assert_eq!(rules.take("ctx1", "VirtualService", &News::Listed(vec![rule("1")]), 5), None);
        assert_eq!(rules.take("ctx1", "VirtualService", &News::Applied(rule("1")), 6), None);
        let moment = rules.take("ctx1", "VirtualService", &News::Applied(rule("2")), 7).unwrap();
        assert_eq!(moment.text_en, "VirtualService user-service-vs · ctx1 changed (kubectl-edit)");
        assert_eq!(moment.about.as_deref(), Some("VirtualService/theater-msa/user-service-vs"));
    }
}
