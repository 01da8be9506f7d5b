//! AuthorizationPolicy (<https://istio.io/latest/docs/reference/config/security/authorization-policy/>).

use serde::Deserialize;

use super::{PolicySelector, Resource};

/// `spec` of an AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    /// Pods that it is for; absent or empty = all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<PolicySelector>,
    /// The one gateway that it is for.
    pub target_ref: Option<PolicyTargetReference>,
    /// The gateways that it is for.
    pub target_refs: Vec<PolicyTargetReference>,
    /// `ALLOW` (default), `DENY`, `AUDIT`, `CUSTOM`.
    pub action: Option<String>,
    /// Who decides for `CUSTOM`.
    pub provider: Option<AuthorizationProvider>,
    /// One has to match; none = no request matches.
    pub rules: Vec<AuthorizationRule>,
}

/// `targetRef:` of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// API group.
    pub group: String,
    /// `Gateway`, `Service`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; only the policy's own is supported, as in Istio.
    pub namespace: String,
}

/// `provider:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct AuthorizationProvider {
    /// Its name in MeshConfig.
    pub name: String,
}

/// One of `rules:`; all three have to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct AuthorizationRule {
    /// Alternatives; absent = anybody.
    pub from: Option<Vec<RuleFrom>>,
    /// Alternatives; absent = anything.
    pub to: Option<Vec<RuleTo>>,
    /// Further conditions.
    pub when: Vec<RuleCondition>,
}

/// One of `from:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RuleFrom {
    /// Who calls.
    pub source: Option<RuleSource>,
}

/// One of `to:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RuleTo {
    /// What is asked for.
    pub operation: Option<RuleOperation>,
}

/// `source:`; fields are ANDed, values of a field ORed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields are Istio's")]
pub struct RuleSource {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
    pub ip_blocks: Vec<String>,
    pub not_ip_blocks: Vec<String>,
    pub remote_ip_blocks: Vec<String>,
    pub not_remote_ip_blocks: Vec<String>,
}

/// `operation:`; fields are ANDed, values of a field ORed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields are Istio's")]
pub struct RuleOperation {
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub ports: Vec<String>,
    pub not_ports: Vec<String>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

/// One of `when:` (<https://istio.io/latest/docs/reference/config/security/conditions/>).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleCondition {
    /// The attribute.
    pub key: String,
    /// One of these.
    pub values: Vec<String>,
    /// None of these.
    pub not_values: Vec<String>,
}

/// What a policy does with a request that one of its rules matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthorizationAction {
    /// Lets it pass; and nothing passes that no ALLOW policy matches.
    Allow,
    /// Refuses it.
    Deny,
    /// Notes it.
    Audit,
    /// Asks somebody else.
    Custom,
}

impl AuthorizationPolicySpec {
    /// What it does.
    pub fn action(&self) -> AuthorizationAction {
        match self.action.as_deref() {
            Some("DENY") => AuthorizationAction::Deny,
            Some("AUDIT") => AuthorizationAction::Audit,
            Some("CUSTOM") => AuthorizationAction::Custom,
            _ => AuthorizationAction::Allow,
        }
    }

    /// The gateways that it names.
    pub fn targets(&self) -> impl Iterator<Item = &PolicyTargetReference> {
        self.target_ref.iter().chain(&self.target_refs)
    }
}

impl RuleSource {
    /// Every field by its name, with the positive values and the others.
    pub fn fields(&self) -> [(&'static str, &'static str, &[String], &[String]); 7] {
        [
            ("principals", "notPrincipals", &self.principals, &self.not_principals),
            ("requestPrincipals", "notRequestPrincipals", &self.request_principals, &self.not_request_principals),
            ("namespaces", "notNamespaces", &self.namespaces, &self.not_namespaces),
            ("serviceAccounts", "notServiceAccounts", &self.service_accounts, &self.not_service_accounts),
            ("trustDomains", "notTrustDomains", &self.trust_domains, &self.not_trust_domains),
            ("ipBlocks", "notIpBlocks", &self.ip_blocks, &self.not_ip_blocks),
            ("remoteIpBlocks", "notRemoteIpBlocks", &self.remote_ip_blocks, &self.not_remote_ip_blocks),
        ]
    }
}

impl RuleOperation {
    /// Every field by its name, with the positive values and the others.
    pub fn fields(&self) -> [(&'static str, &'static str, &[String], &[String]); 4] {
        [
            ("hosts", "notHosts", &self.hosts, &self.not_hosts),
            ("ports", "notPorts", &self.ports, &self.not_ports),
            ("methods", "notMethods", &self.methods, &self.not_methods),
            ("paths", "notPaths", &self.paths, &self.not_paths),
        ]
    }
}

impl Resource<AuthorizationPolicySpec> {
    /// `istio.io/dry-run`: it is looked at and not obeyed.
    pub fn is_dry_run(&self) -> bool {
        let written = self.metadata.annotations.get("istio.io/dry-run").map(String::as_str);
        matches!(written, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }
}
