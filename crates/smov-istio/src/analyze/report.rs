//! What there is to say about an input: findings with their files, and what was left out.

use super::input::Source;
use crate::diagnostic::{Diagnostic, Severity};

/// A finding and the file that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file; `None` when the resource is in none (a namespace that is only named, say).
    pub file: Option<String>,
    /// What is wrong; its code is public.
    pub finding: Diagnostic,
    /// The rule of the webhook behind `IST0106` and `IST0133`, in a word of ours; else the code again.
    pub reason: String,
}

/// A kind that is in the input and was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotConsidered {
    /// `EnvoyFilter`, …
    pub kind: String,
    /// Its group: `networking.istio.io`.
    pub group: String,
    /// How many.
    pub count: usize,
}

/// What could not be judged because the input has nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unjudged {
    /// There is no Service, so hosts and ports were not looked up.
    Services,
    /// There is neither Pod nor Deployment, so nothing is known about the pods of subsets and selectors.
    Pods,
    /// There is no Gateway, so the names of gateways were not looked up.
    Gateways,
    /// No pod of a gateway is here.
    GatewayPods,
    /// There is no DestinationRule, so subsets were not looked up.
    Subsets,
}

impl Unjudged {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Pods => "pods",
            Self::Gateways => "gateways",
            Self::GatewayPods => "gateway-pods",
            Self::Subsets => "subsets",
        }
    }

    /// In English.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Services => "no Service is in the input: hosts and ports were not looked up",
            Self::Pods => "neither Pod nor Deployment is in the input: labels of subsets and selectors were not looked up",
            Self::Gateways => "no Gateway is in the input: names of gateways were not looked up",
            Self::GatewayPods => "no pod of a gateway is in the input: selectors of Gateways were not looked up",
            Self::Subsets => "no DestinationRule is in the input: subsets were not looked up",
        }
    }

    /// In Korean.
    pub fn sentence_ko(self) -> &'static str {
        match self {
            Self::Services => "입력에 Service가 없어 호스트와 포트는 확인하지 않았습니다",
            Self::Pods => "입력에 Pod도 Deployment도 없어 서브셋과 선택자의 레이블은 확인하지 않았습니다",
            Self::Gateways => "입력에 Gateway가 없어 게이트웨이 이름은 확인하지 않았습니다",
            Self::GatewayPods => "입력에 게이트웨이 파드가 없어 Gateway의 선택자는 확인하지 않았습니다",
            Self::Subsets => "입력에 DestinationRule이 없어 서브셋은 확인하지 않았습니다",
        }
    }
}

/// What there is to say about an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// By file and line.
    pub findings: Vec<Found>,
    /// Kinds that were not looked at: the answer may differ from Istio's.
    pub not_considered: Vec<NotConsidered>,
    /// What was not judged.
    pub unjudged: Vec<Unjudged>,
}

impl Report {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.finding.severity == severity).count()
    }
}

impl Report {
    pub(super) fn sort(&mut self) {
        let key = |found: &Found| {
            let position = found.finding.position.map_or((0, 0), |position| (position.line, position.column));
            (found.file.clone(), position, found.finding.severity, found.finding.code.to_string(), found.finding.path.clone())
        };
        self.findings.sort_by_key(key);
        self.findings.dedup();
    }

    /// Adds findings about one object that were made elsewhere.
    pub fn add(&mut self, source: &Source, findings: Vec<Diagnostic>) {
        let placed = source.document.place(findings);
        self.findings.extend(placed.into_iter().map(|finding| found(Some(source.file.clone()), finding)));
        self.sort();
    }
}

/// What the webhook refuses is `IST0106` to the public, what it warns of `IST0133`; our own word stays beside it.
pub(super) fn found(file: Option<String>, mut finding: Diagnostic) -> Found {
    const OURS: [&str; 10] = [
        "mtls-conflict",
        "credential-unused",
        "unknown-field",
        "not-executed",
        "never-ejects",
        "policy-ignored",
        "written-again",
        "no-object",
        "no-such-kind",
        "no-such-version",
    ];
    let reason = finding.code.to_string();
    if !reason.starts_with("IST") && !OURS.contains(&reason.as_str()) {
        finding.code = match finding.severity {
            Severity::Error => "IST0106".into(),
            Severity::Warning | Severity::Info => "IST0133".into(),
        };
    }
    Found { file, finding, reason }
}
