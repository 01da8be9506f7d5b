//! AuthorizationPolicies: which are for a workload, and what they mean in the model's words
//! (<https://istio.io/latest/docs/concepts/security/#authorization-policies>).

use std::collections::BTreeMap;

use smov_model::authorization::{
    Account, Among, Authorization, Chain, Condition, Glob, PathMatch, PathTemplate, RequestPrincipal, Rule, TextMatch,
};
use smov_model::route::Origin;
use smov_model::tls::DEFAULT_TRUST_DOMAIN;
use smov_model::workload::Workload;

use crate::resource::{
    AuthorizationAction, AuthorizationPolicySpec, AuthorizationRule, PolicySelector, PolicyTargetReference, Resource, RuleOperation,
    RuleSource,
};
use crate::world::World;

/// The label by which the pods of a Gateway of the Gateway API say whose they are.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// All AuthorizationPolicies of the own cluster, each with its rules compiled once.
#[derive(Debug)]
pub(crate) struct AuthorizationPolicies<'w> {
    root: &'w str,
    namespaces: BTreeMap<&'w str, Vec<Compiled<'w>>>,
}

#[derive(Debug)]
struct Compiled<'w> {
    resource: &'w Resource<AuthorizationPolicySpec>,
    http: Vec<Rule>,
    tcp: Vec<Rule>,
}

impl<'w> AuthorizationPolicies<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut namespaces: BTreeMap<&str, Vec<Compiled<'_>>> = BTreeMap::new();
        // What somebody else decides (CUSTOM) is not executed; validate says so.
        let policies = world.authorization_policies.values().filter(|policy| policy.spec.action() != AuthorizationAction::Custom);
        for resource in policies {
            let http: Vec<Rule> = (0..resource.spec.rules.len()).map(|index| rule(resource, index, &world.mesh.trust_domain)).collect();
            let tcp = http.iter().filter_map(|rule| without_http(rule, resource.spec.action())).collect();
            namespaces.entry(resource.metadata.namespace.as_str()).or_default().push(Compiled { resource, http, tcp });
        }
        Self { root: world.mesh.root_namespace.as_str(), namespaces }
    }

    /// What is in force at a workload: policies of its namespace and of the root namespace that select it.
    pub(crate) fn of(&self, workload: &Workload) -> Authorization {
        let mut found = Authorization::default();
        let own = workload.namespace.as_str();
        let namespaces = [self.root, own];
        let namespaces = if self.root == own { &namespaces[..1] } else { &namespaces[..] };
        for policy in
            namespaces.iter().filter_map(|name| self.namespaces.get(name)).flatten().filter(|policy| selects(policy.resource, workload))
        {
            add(&mut found.http, policy.resource, &policy.http);
            add(&mut found.tcp, policy.resource, &policy.tcp);
        }
        for chain in [&mut found.http, &mut found.tcp] {
            let Chain { audit, deny, allow, dry_run_deny, dry_run_allow } = chain;
            [audit, deny, allow, dry_run_deny, dry_run_allow].into_iter().for_each(smov_model::authorization::RuleSet::sort);
        }
        found
    }
}

fn add(chain: &mut Chain, policy: &Resource<AuthorizationPolicySpec>, rules: &[Rule]) {
    let set = match (policy.spec.action(), policy.is_dry_run()) {
        (AuthorizationAction::Allow, false) => &mut chain.allow,
        (AuthorizationAction::Allow, true) => &mut chain.dry_run_allow,
        (AuthorizationAction::Deny, false) => &mut chain.deny,
        (AuthorizationAction::Deny, true) => &mut chain.dry_run_deny,
        // A note is a note.
        (AuthorizationAction::Audit, _) => &mut chain.audit,
        (AuthorizationAction::Custom, _) => return,
    };
    set.policies.push(policy.reference());
    set.rules.extend(rules.iter().cloned());
}

/// Is it for this workload? A policy that names gateways is for their pods alone.
fn selects(policy: &Resource<AuthorizationPolicySpec>, workload: &Workload) -> bool {
    let mut targets = policy.spec.targets().peekable();
    if targets.peek().is_some() {
        let is_of = |target: &PolicyTargetReference| {
            target.kind == "Gateway"
                && target.group == "gateway.networking.k8s.io"
                && policy.metadata.namespace == workload.namespace.as_str()
                && workload.labels.get(GATEWAY_NAME) == Some(&target.name)
        };
        return targets.any(is_of);
    }
    let labels = |selector: &PolicySelector| selector.match_labels.iter().all(|(key, value)| workload.labels.get(key) == Some(value));
    policy.spec.selector.as_ref().is_none_or(labels)
}

fn rule(policy: &Resource<AuthorizationPolicySpec>, index: usize, trust_domain: &str) -> Rule {
    let written = &policy.spec.rules[index];
    let (namespace, name) = (&policy.metadata.namespace, &policy.metadata.name);
    let scope = Scope { namespace, trust_domain };
    let from = written.from.iter().flatten().map(|from| from.source.as_ref().map_or_else(Vec::new, |source| scope.source(source)));
    let to = written.to.iter().flatten().map(|to| to.operation.as_ref().map_or_else(Vec::new, operation));
    Rule {
        id: Rule::id_of(namespace, name, index),
        origin: Origin { resource: policy.reference(), path: format!("spec.rules[{index}]"), name: String::new() },
        from: from.collect(),
        to: to.collect(),
        when: scope.when(written),
    }
}

/// The same rule for opaque connections: an ALLOW rule that asks for HTTP is none there, others do without what they ask of HTTP. Both ways fewer
/// pass.
fn without_http(rule: &Rule, action: AuthorizationAction) -> Option<Rule> {
    let is_http = |condition: &Condition| condition.is_http_only();
    let mut all = rule.from.iter().chain(&rule.to).flatten().chain(&rule.when);
    match action {
        AuthorizationAction::Allow => (!all.any(is_http)).then(|| rule.clone()),
        AuthorizationAction::Deny | AuthorizationAction::Audit | AuthorizationAction::Custom => {
            let mut rest = rule.clone();
            rest.from.iter_mut().chain(&mut rest.to).for_each(|all| all.retain(|condition| !is_http(condition)));
            rest.when.retain(|condition| !is_http(condition));
            Some(rest)
        }
    }
}

/// What names of a policy refer to.
struct Scope<'a> {
    namespace: &'a str,
    trust_domain: &'a str,
}

impl Scope<'_> {
    fn source(&self, source: &RuleSource) -> Vec<Condition> {
        let keys = [
            "source.principal",
            "request.auth.principal",
            "source.namespace",
            "source.serviceAccount",
            "source.trustDomain",
            "source.ip",
            "remote.ip",
        ];
        let fields = source.fields().into_iter().zip(keys);
        fields.filter_map(|((_, _, values, not_values), key)| self.condition(key, values, not_values)).collect()
    }

    fn when(&self, rule: &AuthorizationRule) -> Vec<Condition> {
        rule.when.iter().filter_map(|when| self.condition(&when.key, &when.values, &when.not_values)).collect()
    }

    /// A condition on an attribute; `None` = it has no values. Keys and values were checked before they came here.
    fn condition(&self, key: &str, values: &[String], not_values: &[String]) -> Option<Condition> {
        if values.is_empty() && not_values.is_empty() {
            return None;
        }
        let texts = || among(values, not_values, |text| Some(TextMatch::of(text)));
        let blocks = || among(values, not_values, |text| text.parse().ok());
        let bracketed =
            |prefix: &str| key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('[')).and_then(|rest| rest.strip_suffix(']'));
        Some(match key {
            "source.ip" => Condition::SourceIp(blocks()),
            "remote.ip" => Condition::RemoteIp(blocks()),
            "source.namespace" => Condition::Namespace(among(values, not_values, |text| Some(Glob::of(text)))),
            "source.serviceAccount" => Condition::ServiceAccount(among(values, not_values, |text| Some(self.account(text)))),
            "source.trustDomain" => Condition::TrustDomain(texts()),
            "source.principal" => {
                let texts = |values: &[String]| values.iter().map(|text| TextMatch::of(&self.principal(text))).collect();
                Condition::Principal(Among { values: texts(values), not_values: texts(not_values) })
            }
            "request.auth.principal" => Condition::RequestPrincipal(among(values, not_values, |text| Some(request_principal(text)))),
            "request.auth.audiences" => Condition::Claim(vec!["aud".to_owned()], texts()),
            "request.auth.presenter" => Condition::Claim(vec!["azp".to_owned()], texts()),
            "destination.ip" => Condition::DestinationIp(blocks()),
            "destination.port" => Condition::DestinationPort(among(values, not_values, |text| text.parse().ok())),
            "connection.sni" => Condition::ServerName(texts()),
            _ => {
                if let Some(name) = bracketed("request.headers") {
                    Condition::Header(name.to_ascii_lowercase(), texts())
                } else if let Some(rest) = key.strip_prefix("request.auth.claims") {
                    Condition::Claim(claim_path(rest)?, texts())
                } else {
                    let (filter, name) = key.strip_prefix("experimental.")?.strip_suffix(']')?.split_once('[')?;
                    let among = Among { values: values.to_vec(), not_values: not_values.to_vec() };
                    Condition::Metadata { filter: filter.to_owned(), key: name.to_owned(), among }
                }
            }
        })
    }

    /// `cluster.local` in a policy means the mesh's own trust domain, whatever that is called.
    fn principal(&self, text: &str) -> String {
        match text.split_once('/') {
            Some((DEFAULT_TRUST_DOMAIN, rest)) if rest.split('/').count() == 4 => format!("{}/{rest}", self.trust_domain),
            // `*local` may mean it as well: then the mesh's own is as good as what is written.
            _ => text.to_owned(),
        }
    }

    fn account(&self, text: &str) -> Account {
        let (namespace, name) = text.split_once('/').unwrap_or((self.namespace, text));
        Account { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

fn operation(operation: &RuleOperation) -> Vec<Condition> {
    let RuleOperation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths } = operation;
    let texts = |values: &[String], not_values: &[String]| among(values, not_values, |text| Some(TextMatch::of(text)));
    let path = |text: &str| Some(PathTemplate::of(text).map_or_else(|| PathMatch::Text(TextMatch::of(text)), PathMatch::Template));
    let conditions = [
        (hosts, not_hosts, Condition::Host(texts(hosts, not_hosts))),
        (methods, not_methods, Condition::Method(texts(methods, not_methods))),
        (paths, not_paths, Condition::Path(among(paths, not_paths, path))),
        (ports, not_ports, Condition::DestinationPort(among(ports, not_ports, |text| text.parse().ok()))),
    ];
    conditions
        .into_iter()
        .filter(|(values, not_values, _)| !values.is_empty() || !not_values.is_empty())
        .map(|(.., condition)| condition)
        .collect()
}

fn among<T>(values: &[String], not_values: &[String], read: impl Fn(&str) -> Option<T>) -> Among<T> {
    let read = |texts: &[String]| texts.iter().filter_map(|text| read(text)).collect();
    Among { values: read(values), not_values: read(not_values) }
}

/// `ISSUER/SUBJECT`, with a star at one end; the issuer may be a URL, so that the last slash counts.
fn request_principal(text: &str) -> RequestPrincipal {
    let any = || TextMatch::Present;
    let exact = |text: &str| TextMatch::Exact(text.to_owned());
    let starred = |text: &str| if text == "*" { TextMatch::Present } else { TextMatch::of(text) };
    let (issuer, subject) = match (text.rsplit_once('/'), text.starts_with('*'), text.ends_with('*')) {
        _ if text == "*" => (any(), any()),
        (Some((issuer, subject)), true, _) => (starred(issuer), exact(subject)),
        (None, true, _) => (any(), TextMatch::Suffix(text[1..].to_owned())),
        (Some((issuer, subject)), false, true) => (exact(issuer), starred(subject)),
        (None, false, true) => (TextMatch::of(text), any()),
        (Some((issuer, subject)), false, false) => (exact(issuer), exact(subject)),
        (None, false, false) => (exact(text), exact("")),
    };
    RequestPrincipal { issuer, subject }
}

/// `[a][b]` as a path; what is no such list is one name.
fn claim_path(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let parts: Vec<&str> = inner.split("][").collect();
    let nested = parts.iter().all(|part| !part.contains(['[', ']']));
    Some(if nested { parts.into_iter().map(str::to_owned).collect() } else { vec![inner.to_owned()] })
}
