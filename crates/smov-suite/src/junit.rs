//! JUnit's XML, which every CI shows.

use std::fmt::Write;

use crate::report::{CaseReport, Failure, Outcome, Report};

/// The report as a JUnit document; `sentence` writes a failure in the reader's language.
pub fn render(report: &Report, sentence: impl Fn(&Failure) -> String) -> String {
    let failed = report.failed().count();
    let skipped = report.cases.iter().filter(|case| case.outcome.is_skipped()).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts =
        format!("tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{:.3}\"", report.cases.len(), report.took.as_secs_f64());
    let _ = writeln!(text, "<testsuites {counts}>\n<testsuite name=\"smov test\" {counts}>");
    for case in &report.cases {
        write_case(&mut text, case, &sentence);
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

fn write_case(text: &mut String, case: &CaseReport, sentence: &impl Fn(&Failure) -> String) {
    let class = format!("{}.{}", case.plane, case.file.display());
    let head =
        format!("<testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"", escape(&class), escape(&case.name), case.took.as_secs_f64());
    // Writing into a String cannot fail.
    let _ = match &case.outcome {
        Outcome::Passed => writeln!(text, "{head}/>"),
        Outcome::Skipped(reason) => writeln!(text, "{head}><skipped message=\"{}\"/></testcase>", escape(reason)),
        Outcome::Failed(failures) => {
            let lines: Vec<String> = failures.iter().map(sentence).collect();
            let first = lines.first().cloned().unwrap_or_default();
            writeln!(text, "{head}><failure message=\"{}\">{}</failure></testcase>", escape(&first), escape(&lines.join("\n")))
        }
    };
}

/// Text that XML takes; what XML 1.0 forbids becomes `�`.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\t' | '\r' => safe.push(' '),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::PlaneName;
    use crate::report::What;

    #[test]
    fn a_failure_is_escaped_and_counted() {
        let failure = Failure {
            request: Some(1),
            what: What::Body,
            of: String::new(),
            expected: "<a>".into(),
            seen: "\"b\" & c".into(),
            reason: String::new(),
        };
        let case = CaseReport {
            file: "a.yaml".into(),
            line: 1,
            name: "a & b".into(),
            plane: PlaneName::Smov,
            outcome: Outcome::Failed(vec![failure]),
            differences: Vec::new(),
            took: std::time::Duration::ZERO,
        };
        let text = render(&Report { cases: vec![case], took: std::time::Duration::ZERO }, |failure| {
            format!("{} {}", failure.expected, failure.seen)
        });
        assert!(text.contains("failures=\"1\"") && text.contains("name=\"a &amp; b\""), "{text}");
        assert!(text.contains("message=\"&lt;a&gt; &quot;b&quot; &amp; c\""), "{text}");
    }
}
