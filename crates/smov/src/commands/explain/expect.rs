//! `--expect`: checks on an explanation, for scripts and CI.

use smov_istio::explain::{Chance, End, Explanation};
use smov_model::flag::ResponseFlag;

use crate::failure::{Exit, Failure};
use crate::printer::{self, BAD, GOOD, paint};
use crate::text::{self, Language};

/// One expectation: what, which, and with which share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expectation {
    what: What,
    value: String,
    percent: f64,
    /// As it was written.
    written: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Cluster,
    Subset,
    Status,
    Flag,
    Rule,
}

/// An expectation and what became of it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) expected: String,
    pub(super) met: bool,
    pub(super) actual: String,
}

/// Reads all, or says which is none.
pub(super) fn parse(texts: &[String]) -> Result<Vec<Expectation>, Failure> {
    let bad = |text: &String| Failure::new(Exit::Usage, text::EXPLAIN_BAD_EXPECT, &[text]).hint(text::EXPLAIN_BAD_EXPECT_HINT, &[]);
    texts.iter().map(|text| parse_one(text).ok_or_else(|| bad(text))).collect()
}

fn parse_one(text: &str) -> Option<Expectation> {
    let (what, value) = text.split_once('=')?;
    let what = match what {
        "cluster" => What::Cluster,
        "subset" => What::Subset,
        "status" => What::Status,
        "flag" => What::Flag,
        "rule" => What::Rule,
        _ => return None,
    };
    let (value, percent) = match value.rsplit_once(':') {
        Some((value, percent)) if what != What::Rule => (value, percent.trim_end_matches('%').parse::<f64>().ok()?),
        _ => (value, 100.0),
    };
    let fits = match what {
        What::Status => value.parse::<u16>().is_ok(),
        What::Flag => ResponseFlag::ALL.iter().any(|flag| flag.as_str() == value),
        What::Cluster | What::Subset | What::Rule => !value.is_empty(),
    };
    (fits && (0.0..=100.0).contains(&percent)).then(|| Expectation { what, value: value.to_owned(), percent, written: text.to_owned() })
}

/// Holds every expectation against an explanation. Odds are exact: a share must be met to a hundredth of a percent.
pub(super) fn check(expectations: &[Expectation], explanation: &Explanation, chances: &[Chance]) -> Vec<Checked> {
    expectations.iter().map(|one| one.check(explanation, chances)).collect()
}

impl Expectation {
    fn check(&self, explanation: &Explanation, chances: &[Chance]) -> Checked {
        if self.what == What::Rule {
            let rule = explanation.rule.as_ref().map(|rule| &rule.origin);
            let met = rule.is_some_and(|origin| {
                let named = [origin.path.as_str(), &origin.name, &origin.resource.name].into_iter().any(|name| name == self.value);
                named || self.value == format!("{} {}", origin.resource.name, origin.path)
            });
            let actual = rule.map_or_else(|| "-".to_owned(), |origin| format!("{} {}", origin.resource.name, origin.path));
            return Checked { expected: self.written.clone(), met, actual };
        }
        let share: f64 = chances.iter().filter(|chance| self.fits(&chance.end)).map(|chance| chance.percent).sum();
        let actual = chances.iter().map(|chance| format!("{} {} %", self.name(&chance.end), round(chance.percent))).collect::<Vec<_>>();
        Checked { expected: self.written.clone(), met: (share - self.percent).abs() < 0.01, actual: actual.join(", ") }
    }

    fn fits(&self, end: &End) -> bool {
        match (self.what, end) {
            // An arm over several clusters goes to none of them for certain.
            (What::Cluster, End::Cluster { kube_clusters, .. }) => kube_clusters.as_slice() == [self.value.as_str()],
            (What::Subset, End::Cluster { cluster, .. }) => cluster.subset.as_ref().is_some_and(|subset| subset.as_str() == self.value),
            (What::Status, End::Status { status, .. }) => status.to_string() == self.value,
            (What::Flag, End::Status { flag, .. }) => flag.is_some_and(|flag| flag.as_str() == self.value),
            _ => false,
        }
    }

    fn name(&self, end: &End) -> String {
        match end {
            End::Cluster { cluster, kube_clusters } => match self.what {
                What::Cluster => kube_clusters.join("+"),
                _ => cluster.subset.as_ref().map_or_else(|| cluster.host.to_string(), ToString::to_string),
            },
            End::Status { status, flag } => format!("{status}{}", flag.map(|flag| format!(" {}", flag.as_str())).unwrap_or_default()),
            End::Passthrough => "passthrough".to_owned(),
        }
    }
}

/// At most two digits behind the point, none where there is nothing to say.
pub(super) fn round(percent: f64) -> String {
    let text = format!("{percent:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One line each.
pub(super) fn print(results: &[Checked], language: Language) {
    if !results.is_empty() {
        printer::line("");
    }
    for result in results {
        let (sentence, style, arguments): (_, _, &[&str]) = if result.met {
            (text::EXPECT_MET, GOOD, &[&result.expected])
        } else {
            (text::EXPECT_MISSED, BAD, &[&result.expected, &result.actual])
        };
        for line in language.lines(sentence, arguments) {
            printer::line(&paint(style, &line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_with_their_share() {
        let share = |text: &str| parse_one(text).map(|one| (one.value, one.percent));
        assert_eq!(share("cluster=ctx2"), Some(("ctx2".to_owned(), 100.0)));
        assert_eq!(share("cluster=ctx2:30"), Some(("ctx2".to_owned(), 30.0)));
        assert_eq!(share("subset=v1:12.5%"), Some(("v1".to_owned(), 12.5)));
        assert_eq!(share("rule=a:b"), Some(("a:b".to_owned(), 100.0)));
        for bad in ["cluster", "pod=x", "status=abc", "flag=XX", "cluster=ctx2:200", "subset="] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_are_short() {
        assert_eq!([round(70.0), round(33.333_333), round(0.5)], ["70", "33.33", "0.5"]);
    }
}
