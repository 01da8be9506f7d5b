//! A change in a few words: `70:30 → 50:50`, else the first fields that differ.

use serde_json::Value;

/// Fields told one by one; of more, how many.
const TOLD: usize = 2;
/// Longer values say nothing at a glance.
const LONG: usize = 40;

/// What happened, in Korean and English.
pub(crate) fn summary(before: Option<&Value>, after: Option<&Value>) -> (String, String) {
    let same = |text: String| (text.clone(), text);
    match (before, after) {
        (None, None) => ("내용이 기록되어 있지 않습니다".to_owned(), "what it said is not kept".to_owned()),
        (None, Some(_)) => ("새로 만듦".to_owned(), "created".to_owned()),
        (Some(_), None) => ("삭제함".to_owned(), "deleted".to_owned()),
        (Some(before), Some(after)) => {
            let mut differences = Vec::new();
            differ("", before, after, &mut differences);
            if differences.is_empty() {
                return ("바뀐 것 없음".to_owned(), "nothing changed".to_owned());
            }
            if let Some(split) = split(before, after).filter(|_| differences.iter().all(|(path, _)| path.ends_with(".weight"))) {
                return same(split);
            }
            let rest = differences.len().saturating_sub(TOLD);
            let told = differences.into_iter().take(TOLD).map(|(path, what)| format!("{path}{what}")).collect::<Vec<_>>().join(", ");
            match rest {
                0 => same(told),
                rest => (format!("{told}, 그 밖에 {rest}곳"), format!("{told}, and {rest} more")),
            }
        }
    }
}

/// The weights of the first rule whose weights differ.
fn split(before: &Value, after: &Value) -> Option<String> {
    let rules = |object: &Value| object["spec"]["http"].as_array().cloned().unwrap_or_default();
    let weights = |rule: &Value| {
        let routes = rule["route"].as_array().map(Vec::as_slice).unwrap_or_default();
        routes.iter().map(|route| route["weight"].as_u64().unwrap_or(0).to_string()).collect::<Vec<_>>().join(":")
    };
    let (before, after) = (rules(before), rules(after));
    let pairs = before.iter().zip(&after).map(|(before, after)| (weights(before), weights(after)));
    pairs.filter(|(before, after)| before != after).map(|(before, after)| format!("{before} → {after}")).next()
}

fn differ(path: &str, before: &Value, after: &Value, found: &mut Vec<(String, String)>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            for (key, value) in old {
                match new.get(key) {
                    Some(other) => differ(&inner(key), value, other, found),
                    None => found.push((format!("−{}", short(&inner(key))), String::new())),
                }
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                found.push((format!("+{}", short(&inner(key))), scalar(value).map(|value| format!(": {value}")).unwrap_or_default()));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (one, other)) in old.iter().zip(new).enumerate() {
                differ(&format!("{path}[{index}]"), one, other, found);
            }
        }
        (old, new) if old == new => {}
        (Value::Array(old), Value::Array(new)) => found.push((short(path), format!(": {} → {}", old.len(), new.len()))),
        (old, new) => {
            let what = scalar(old).zip(scalar(new)).map(|(old, new)| format!(": {old} → {new}")).unwrap_or_default();
            found.push((short(path), what));
        }
    }
}

fn short(path: &str) -> String {
    path.strip_prefix("spec.").unwrap_or(path).to_owned()
}

fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Object(_) | Value::Array(_) => return None,
        other => other.to_string(),
    };
    (text.chars().count() <= LONG).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(weights: [u32; 2], more: &Value) -> Value {
        let mut rule = json!({ "route": [{ "weight": weights[0] }, { "weight": weights[1] }] });
        json_patch::merge(&mut rule, more);
        json!({ "spec": { "http": [{ "match": [] }, rule] } })
    }

    fn english(before: Option<&Value>, after: Option<&Value>) -> String {
        summary(before, after).1
    }

    #[test]
    fn weights_are_told_as_a_split() {
        let (before, after) = (rule([70, 30], &json!({})), rule([50, 50], &json!({})));
        assert_eq!(english(Some(&before), Some(&after)), "70:30 → 50:50");
    }

    #[test]
    fn other_fields_are_told_by_their_path() {
        let before = rule([70, 30], &json!({ "timeout": "3s" }));
        assert_eq!(english(Some(&before), Some(&rule([70, 30], &json!({ "timeout": "1s" })))), "http[1].timeout: 3s → 1s");
        let faulty = rule([70, 30], &json!({ "timeout": "3s", "fault": { "delay": {} } }));
        assert_eq!(english(Some(&before), Some(&faulty)), "+http[1].fault");
        assert_eq!(english(Some(&faulty), Some(&before)), "−http[1].fault");
        let much = rule([0, 100], &json!({ "timeout": "1s", "fault": {} }));
        assert_eq!(english(Some(&before), Some(&much)), "http[1].route[0].weight: 70 → 0, http[1].route[1].weight: 30 → 100, and 2 more");
        let longer = json!({ "spec": { "http": [] } });
        assert_eq!(english(Some(&before), Some(&longer)), "http: 2 → 0");
    }

    #[test]
    fn making_and_taking_away_need_no_fields() {
        let one = json!({});
        assert_eq!(english(None, Some(&one)), "created");
        assert_eq!(english(Some(&one), None), "deleted");
        assert_eq!(english(Some(&one), Some(&one)), "nothing changed");
    }
}
