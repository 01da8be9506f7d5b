//! `--request ID`: what every proxy that saw the request recorded of it.

use serde_json::json;
use smov_model::names::ClusterName;
use smov_model::record::{Attempt, Direction, DrawTaken, Phase, Record, RecordSource};

use super::live::{control_planes, unreachable};
use super::sheet::Sheet;
use super::told;
use crate::cli::{Global, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::printer::{self, BOLD, paint};
use crate::text::{self, Language};

/// Runs the command; exit code 1 when nobody has a record.
pub(super) async fn run(global: &Global, id: &str, language: Language) -> Outcome {
    let mut records: Vec<(String, Record)> = Vec::new();
    let mut trouble = None;
    for (cluster, client) in control_planes(global, None)? {
        match client.requests(id).await {
            Ok(found) => records.extend(found.into_iter().map(|record| (cluster.clone(), record))),
            Err(error) => trouble = Some(error),
        }
    }
    if records.is_empty() {
        return Err(match trouble {
            Some(error) => unreachable(&error),
            None => Failure::new(Exit::Check, text::EXPLAIN_NO_RECORD, &[&id]).hint(text::EXPLAIN_NO_RECORD_HINT, &[]),
        });
    }
    records.sort_by_key(|(_, record)| record.started);
    if global.output == Output::Json {
        // The records as the page's API gives them, each with the cluster of its proxy.
        let records: Vec<_> = records.iter().map(|(cluster, record)| told_record(cluster, record)).collect();
        printer::line(&serde_json::to_string_pretty(&json!({"id": id, "records": records})).expect("JSON values serialise"));
        return Ok(());
    }
    for (index, (cluster, record)) in records.iter().enumerate() {
        if index > 0 {
            printer::line("");
        }
        let side = match record.direction {
            Direction::Outbound => text::RECORD_OUTBOUND,
            Direction::Inbound => text::RECORD_INBOUND,
            Direction::Ingress => text::RECORD_INGRESS,
        };
        printer::line(&paint(BOLD, &language.once(text::RECORD_TITLE, &[&record.proxy, cluster, &language.line(side, &[])])));
        sheet(record, language).print();
    }
    if let Some(error) = trouble {
        // What one control plane knows is shown even when the other is away.
        for line in language.lines(text::UNREACHABLE, &[&error.to_string()]) {
            printer::warning(&line);
        }
    }
    Ok(())
}

/// A record with the cluster of its proxy.
pub(crate) fn told_record(cluster: &str, record: &Record) -> serde_json::Value {
    let mut value = serde_json::to_value(record).expect("a record serialises");
    value["cluster_of_proxy"] = json!(cluster);
    value
}

fn sheet(record: &Record, language: Language) -> Sheet {
    let label = |text| language.line(text, &[]);
    let inbound = record.direction == Direction::Inbound;
    let mut sheet = Sheet::default();
    let host = record.virtual_host.as_ref().map(|name| format!(" → {name}")).unwrap_or_default();
    sheet.row(label(text::LABEL_HOST), vec![format!("{} {}{}{host}", record.method, record.authority, record.path)]);
    if !inbound {
        let origin = record.rule.as_ref().map(|rule| told::origin_words(&rule.origin, language));
        sheet.row(label(text::LABEL_RULE), origin.map_or_else(|| language.lines(text::RULE_NONE, &[]), |origin| vec![origin]));
        let skipped = record.skipped.iter().map(|rule| format!("{}: {}", rule.origin.path, told::why_not(rule, language)));
        sheet.row(label(text::LABEL_PASSED), skipped.collect());
    }
    sheet.row(label(text::LABEL_DRAWS), record.draws.iter().map(|draw| draw_words(draw, language)).collect());
    if record.injected_delay > 0 {
        sheet.row(label(text::LABEL_FAULT), vec![format!("DI {}", micros(record.injected_delay))]);
    }
    sheet.row(
        label(text::LABEL_ATTEMPTS),
        record.attempts.iter().enumerate().flat_map(|(index, one)| attempt(index, one, inbound, language)).collect(),
    );
    sheet.row(label(text::LABEL_MIRROR), record.mirrors.iter().map(ClusterName::to_string).collect());
    sheet.row(
        label(text::LABEL_PEER),
        record.peer.iter().map(|peer| format!("{} ({}, {})", peer.pod, peer.workload, peer.kube_cluster)).collect(),
    );
    sheet.row(label(text::LABEL_POLICY), record.authorization.iter().flat_map(|taken| super::policy::lines(taken, language)).collect());
    let status = match record.status {
        0 => language.line(text::RECORD_NO_ANSWER, &[]),
        status => format!("{status} {}", record.flags),
    };
    sheet.row(label(text::LABEL_ANSWER), vec![format!("{status}  {}", micros(record.duration))]);
    sheet.row(label(text::LABEL_CORS), record.cors.iter().map(word).collect());
    if record.source == RecordSource::Computed {
        sheet.row(label(text::LABEL_NOTE), language.lines(text::RECORD_COMPUTED, &[]));
    }
    let phases: Vec<String> = record.phases.iter().map(|(phase, at)| format!("{} {}", Phase::as_str(*phase), micros(*at))).collect();
    sheet.row(label(text::LABEL_PHASES), if phases.is_empty() { phases } else { vec![phases.join(" · ")] });
    sheet
}

fn micros(micros: u64) -> String {
    told::duration(std::time::Duration::from_micros(micros))
}

/// The word under which a plain choice is written in JSON.
fn word(choice: &impl serde::Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Some data planes tell the range that a draw fell into, and not where in it.
fn draw_words(draw: &DrawTaken, language: Language) -> String {
    let purpose = word(&draw.purpose);
    let [total, first, last] = [draw.total, draw.range.0, draw.range.1.saturating_sub(1)].map(|number| number.to_string());
    match draw.position {
        Some(position) => language.once(text::RECORD_DRAW, &[&purpose, &position.to_string(), &total, &first, &last, &draw.outcome]),
        None => language.once(text::RECORD_DRAW_COMPUTED, &[&purpose, &first, &last, &total, &draw.outcome]),
    }
}

fn attempt(index: usize, one: &Attempt, inbound: bool, language: Language) -> Vec<String> {
    let place = match (&one.pod, one.endpoint) {
        (Some(pod), Some(address)) => format!("{pod} {address}"),
        (None, Some(address)) => address.to_string(),
        // Inbound, the next stop is the pod's own app.
        (_, None) => if inbound { "app" } else { "-" }.to_owned(),
    };
    let cluster = one.kube_cluster.as_ref().map(|cluster| format!(" {cluster}")).unwrap_or_default();
    let status = if one.status == 0 { "-".to_owned() } else { one.status.to_string() };
    let flags = if one.flags.is_empty() { String::new() } else { format!(" {}", one.flags) };
    let hash = one.hash.as_ref().map(|hash| format!("  # {hash}")).unwrap_or_default();
    let priority = if one.priority > 0 {
        format!("  {}", language.line(text::ENDPOINT_PRIORITY, &[&one.priority.to_string()]))
    } else {
        String::new()
    };
    let mut lines = vec![format!(
        "{}. {place}{cluster}  {status}{flags}  {}{priority}{hash}",
        index + 1,
        language.once(text::RECORD_ATTEMPT, &[&micros(one.started), &micros(one.duration)])
    )];
    lines.extend(one.reason.as_ref().map(|reason| format!("  {reason}")));
    if !one.ejected.is_empty() {
        let list = one.ejected.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        lines.push(format!("  {}", language.line(text::RECORD_EJECTED, &[&list])));
    }
    lines
}

#[cfg(test)]
mod tests {
    use smov_model::dice::Purpose;

    use super::*;

    #[test]
    fn a_computed_draw_shows_its_range_and_no_roll() {
        let draw = |position| DrawTaken { purpose: Purpose::Split, position, total: 100, range: (0, 70), outcome: "ctx1".into() };
        assert_eq!(draw_words(&draw(Some(9)), Language::English), "split: 9 of 100, in 0–69 → ctx1");
        assert_eq!(draw_words(&draw(None), Language::English), "split: somewhere in 0–69 of 100 → ctx1, computed");
    }
}
