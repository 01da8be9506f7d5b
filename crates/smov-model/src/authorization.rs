//! May this request pass? AuthorizationPolicies as one proxy has to execute them, and the pure decision over them
//! (<https://istio.io/latest/docs/concepts/security/#authorization>).
//!
//! The order is Istio's: AUDIT notes, a DENY that matches refuses, and where there is any ALLOW policy one of them has to match. A rule is
//! *from* AND *to* AND *when*; the alternatives of from and to are ORed, fields inside one are ANDed, values of a field ORed. Nothing on
//! this path allocates: what is to be told is an index until somebody asks ([`Chain::told`]).

use serde::{Deserialize, Serialize};

use crate::names::ResourceRef;
use crate::route::Origin;

mod claims;
mod condition;
mod matching;
mod request;

pub use claims::Claim;
pub use condition::{Account, Among, Condition, PathMatch, RequestPrincipal};
pub use matching::{Glob, InvalidMatch, IpBlock, PathTemplate, Piece, TextMatch};
pub use request::{HttpView, RequestView, forwarded_for};

/// All policies that are for one workload, compiled for its HTTP ports and for its opaque ones: fields that only HTTP has make an ALLOW rule
/// vanish from the latter, and are themselves left out of DENY and AUDIT rules there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Authorization {
    /// For requests.
    pub http: Chain,
    /// For opaque connections.
    pub tcp: Chain,
}

impl Authorization {
    /// Does it say nothing at all?
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.tcp.is_empty()
    }
}

/// The policies in the order in which they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Chain {
    /// Matches are noted and change nothing.
    pub audit: RuleSet,
    /// A match refuses.
    pub deny: RuleSet,
    /// Without a match nothing passes, where there is a policy.
    pub allow: RuleSet,
    /// DENY policies with `istio.io/dry-run`: what they would do is noted.
    pub dry_run_deny: RuleSet,
    /// ALLOW policies with `istio.io/dry-run`.
    pub dry_run_allow: RuleSet,
}

/// The rules of all policies of one action.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleSet {
    /// The policies, those without rules among them: an ALLOW policy without rules allows nothing.
    pub policies: Vec<ResourceRef>,
    /// Their rules by [`Rule::id`], which is the order in which Envoy looks at them.
    pub rules: Vec<Rule>,
}

/// One entry of `rules:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// As Istio names it in Envoy: `ns[theater-msa]-policy[lock]-rule[0]`.
    pub id: String,
    /// Where it was written.
    pub origin: Origin,
    /// Alternatives; empty = from anywhere.
    pub from: Vec<Vec<Condition>>,
    /// Alternatives; empty = whatever is asked for.
    pub to: Vec<Vec<Condition>>,
    /// All have to hold.
    pub when: Vec<Condition>,
}

impl Rule {
    /// Istio's name of a rule.
    pub fn id_of(namespace: &str, policy: &str, index: usize) -> String {
        format!("ns[{namespace}]-policy[{policy}]-rule[{index}]")
    }

    /// Does it take the request?
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        let any = |alternatives: &[Vec<Condition>]| {
            alternatives.is_empty() || alternatives.iter().any(|all| all.iter().all(|condition| condition.holds(request)))
        };
        self.when.iter().all(|condition| condition.holds(request)) && any(&self.from) && any(&self.to)
    }
}

impl RuleSet {
    /// Is there no policy?
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The first rule that takes the request.
    pub fn find(&self, request: &RequestView<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.matches(request))
    }

    /// Puts the rules into Envoy's order. Compile calls it once.
    pub fn sort(&mut self) {
        self.rules.sort_by(|left, right| left.id.cmp(&right.id));
    }
}

/// What comes of the policies, as indices into their rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// No DENY rule matches, and there is no ALLOW policy.
    Open,
    /// This ALLOW rule lets it pass.
    Allowed(usize),
    /// This DENY rule refuses it.
    Denied(usize),
    /// There are ALLOW policies, and no rule of them matches.
    NotAllowed,
}

impl Decision {
    /// May it pass?
    pub fn passes(self) -> bool {
        matches!(self, Self::Open | Self::Allowed(_))
    }
}

/// The decision with what else is worth a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What happens.
    pub decision: Decision,
    /// The AUDIT rule that matches.
    pub audit: Option<usize>,
    /// What the dry-run policies would decide if they alone were in force; `None` = there are none.
    pub dry_run: Option<Decision>,
}

impl Chain {
    /// Is there no policy at all? Then nothing needs to be asked.
    pub fn is_empty(&self) -> bool {
        [&self.audit, &self.deny, &self.allow, &self.dry_run_deny, &self.dry_run_allow].iter().all(|set| set.is_empty())
    }

    /// Does nothing in it refuse, whoever comes?
    pub fn is_open(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty()
    }

    /// May the request pass?
    pub fn decide(&self, request: &RequestView<'_>) -> Decision {
        decide(&self.deny, &self.allow, request)
    }

    /// The same, with what AUDIT and dry-run policies have to say.
    pub fn outcome(&self, request: &RequestView<'_>) -> Outcome {
        let shadows = !self.dry_run_deny.is_empty() || !self.dry_run_allow.is_empty();
        Outcome {
            decision: self.decide(request),
            audit: self.audit.find(request),
            dry_run: shadows.then(|| decide(&self.dry_run_deny, &self.dry_run_allow, request)),
        }
    }

    /// What an outcome means, in words: for records and explanations.
    pub fn told(&self, outcome: Outcome) -> AuthorizationTaken {
        let tell = |decision, deny: &RuleSet, allow: &RuleSet| {
            let (verdict, rule, policies) = match decision {
                Decision::Open => (Verdict::Open, None, &[][..]),
                Decision::Allowed(index) => (Verdict::Allowed, allow.rules.get(index), &[][..]),
                Decision::Denied(index) => (Verdict::Denied, deny.rules.get(index), &[][..]),
                Decision::NotAllowed => (Verdict::NotAllowed, None, &allow.policies[..]),
            };
            Told { verdict, rule: rule.map(|rule| rule.origin.clone()), policies: policies.to_vec() }
        };
        AuthorizationTaken {
            decision: tell(outcome.decision, &self.deny, &self.allow),
            audit: outcome.audit.and_then(|index| self.audit.rules.get(index)).map(|rule| rule.origin.clone()),
            dry_run: outcome.dry_run.map(|decision| tell(decision, &self.dry_run_deny, &self.dry_run_allow)),
        }
    }

    /// Envoy's `%RESPONSE_CODE_DETAILS%` of a refusal; `None` = it passes.
    pub fn details(&self, decision: Decision) -> Option<String> {
        let rule = match decision {
            Decision::Open | Decision::Allowed(_) => return None,
            Decision::NotAllowed => "none",
            Decision::Denied(index) => self.deny.rules.get(index).map_or("none", |rule| &rule.id),
        };
        Some(format!("{DENIED}[{rule}]"))
    }

    /// The outcome that Envoy's details tell; `None` = they tell of no refusal by policy.
    pub fn outcome_of_details(&self, details: &str) -> Option<Outcome> {
        let id = details.strip_prefix(DENIED)?.strip_prefix('[')?.strip_suffix(']')?;
        let denied = self.deny.rules.iter().position(|rule| rule.id == id);
        let decision = denied.map_or(Decision::NotAllowed, Decision::Denied);
        Some(Outcome { decision, audit: None, dry_run: None })
    }
}

/// The first word of Envoy's details of a refusal.
const DENIED: &str = "rbac_access_denied_matched_policy";

fn decide(deny: &RuleSet, allow: &RuleSet, request: &RequestView<'_>) -> Decision {
    if let Some(index) = deny.find(request) {
        return Decision::Denied(index);
    }
    if allow.is_empty() {
        return Decision::Open;
    }
    allow.find(request).map_or(Decision::NotAllowed, Decision::Allowed)
}

/// The word for a [`Decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// No policy stands against it.
    Open,
    /// An ALLOW rule matches.
    Allowed,
    /// A DENY rule matches.
    Denied,
    /// No ALLOW rule matches.
    NotAllowed,
}

/// A decision with the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What was decided.
    pub verdict: Verdict,
    /// By this rule; `None` where no rule matched, or where the data plane does not say.
    pub rule: Option<Origin>,
    /// Of [`Verdict::NotAllowed`]: the ALLOW policies, none of which matches.
    #[serde(default)]
    pub policies: Vec<ResourceRef>,
}

/// What the policies said to one request, in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationTaken {
    /// The decision.
    pub decision: Told,
    /// The AUDIT rule that matched.
    #[serde(default)]
    pub audit: Option<Origin>,
    /// What dry-run policies would have decided.
    #[serde(default)]
    pub dry_run: Option<Told>,
}

#[cfg(test)]
mod tests;
