//! What came of a run, as data: the command line and CI print it in their own ways.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::plane::PlaneName;

/// All cases on all planes.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One per case and plane, in the order of the files.
    pub cases: Vec<CaseReport>,
    /// How long it all took.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

impl Report {
    /// Cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_)))
    }

    /// How many ended like this, on this plane.
    pub fn count(&self, plane: PlaneName, which: fn(&Outcome) -> bool) -> usize {
        self.cases.iter().filter(|case| case.plane == plane && which(&case.outcome)).count()
    }
}

/// One case on one plane.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// The file, relative to the folder of the run.
    pub file: PathBuf,
    /// The line on which the case begins.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// The plane.
    pub plane: PlaneName,
    /// What came of it.
    pub outcome: Outcome,
    /// Differences of this plane that the case writes down, with their reasons.
    pub differences: Vec<String>,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "result", content = "detail")]
pub enum Outcome {
    /// Everything was as expected.
    Passed,
    /// Something was not.
    Failed(Vec<Failure>),
    /// Not played here, for a reason that the case gives.
    Skipped(String),
}

impl Outcome {
    /// Was everything as expected?
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// Was something not as expected?
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Was it not played?
    pub fn is_skipped(&self) -> bool {
        matches!(self, Self::Skipped(_))
    }
}

/// One thing that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which request of the case, from 1; `None` = the resources.
    pub request: Option<usize>,
    /// What was looked at.
    pub what: What,
    /// A header's or pod's name; empty otherwise.
    pub of: String,
    /// What the case expects.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// What the proxy's record says about it; empty without one.
    pub reason: String,
}

/// What a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the variants are the words of a case's `expect`")]
pub enum What {
    Setup,
    Status,
    Flags,
    Body,
    Header,
    Pod,
    Rule,
    Cluster,
    Attempts,
    Security,
    Principal,
    Failure,
    Refused,
    Decided,
    Took,
    Received,
    SeenMethod,
    SeenPath,
    SeenHost,
    SeenHeader,
    SeenBody,
    Shares,
    Seeded,
    Statuses,
    Pods,
    Connections,
    Rejected,
    NotRejected,
    Warned,
    Analyzed,
}
