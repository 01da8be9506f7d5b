//! AuthorizationPolicies as Envoy's RBAC filters: one per action, in Istio's order, with dry-run policies as shadow rules.
//!
//! Envoy keeps what is asked for (permissions) and who asks (principals) apart; a rule's `when` is on whichever side its attribute is.

use serde_json::{Value, json};
use smov_model::authorization::{
    Account, Among, Chain, Condition, IpBlock, PathMatch, PathTemplate, Piece, RequestPrincipal, Rule, RuleSet, TextMatch,
};

use super::typed;

const HTTP: (&str, &str) = ("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC");
const NETWORK: (&str, &str) = ("envoy.filters.network.rbac", "envoy.extensions.filters.network.rbac.v3.RBAC");
/// Where the JWT filter leaves what it has verified.
const JWT: &str = "envoy.filters.http.jwt_authn";
const PAYLOAD: &str = "payload";

/// The filters of requests.
pub(super) fn http(chain: &Chain) -> Vec<Value> {
    filters(chain, HTTP, json!({}))
}

/// The filters of opaque connections.
pub(super) fn network(chain: &Chain) -> Vec<Value> {
    filters(chain, NETWORK, json!({"stat_prefix": "tcp."}))
}

fn filters(chain: &Chain, (name, config): (&str, &str), common: Value) -> Vec<Value> {
    let none = RuleSet::default();
    let stages = [
        ("LOG", &chain.audit, &none, ""),
        ("DENY", &chain.deny, &chain.dry_run_deny, "istio_dry_run_deny_"),
        ("ALLOW", &chain.allow, &chain.dry_run_allow, "istio_dry_run_allow_"),
    ];
    let filter = |(action, enforced, shadow, prefix): (&str, &RuleSet, &RuleSet, &str)| {
        let mut fields = common.clone();
        if !enforced.is_empty() {
            fields["rules"] = rules(action, enforced);
        }
        if !shadow.is_empty() {
            fields["shadow_rules"] = rules(action, shadow);
            fields["shadow_rules_stat_prefix"] = json!(prefix);
        }
        json!({"name": name, "typed_config": typed(config, fields)})
    };
    stages.into_iter().filter(|(_, enforced, shadow, _)| !enforced.is_empty() || !shadow.is_empty()).map(filter).collect()
}

fn rules(action: &str, set: &RuleSet) -> Value {
    let policies: serde_json::Map<String, Value> = set.rules.iter().map(|rule| (rule.id.clone(), policy(rule))).collect();
    json!({"action": action, "policies": policies})
}

fn policy(rule: &Rule) -> Value {
    let (operation, source): (Vec<&Condition>, Vec<&Condition>) = rule.when.iter().partition(|condition| condition.is_of_the_operation());
    let alternatives = |side: &Side, written: &[Vec<Condition>], when: &[&Condition]| {
        let one = |conditions: &[Condition]| {
            side.all(conditions.iter().chain(when.iter().copied()).flat_map(|condition| side.condition(condition)).collect())
        };
        if written.is_empty() { vec![one(&[])] } else { written.iter().map(|conditions| one(conditions)).collect::<Vec<_>>() }
    };
    json!({
        "permissions": alternatives(&PERMISSION, &rule.to, &operation),
        "principals": alternatives(&PRINCIPAL, &rule.from, &source),
    })
}

/// Envoy says the same with other words for permissions and for principals.
struct Side {
    and: &'static str,
    or: &'static str,
    not: &'static str,
    members: &'static str,
}

const PERMISSION: Side = Side { and: "and_rules", or: "or_rules", not: "not_rule", members: "rules" };
const PRINCIPAL: Side = Side { and: "and_ids", or: "or_ids", not: "not_id", members: "ids" };

impl Side {
    fn all(&self, mut members: Vec<Value>) -> Value {
        if members.is_empty() {
            members.push(json!({"any": true}));
        }
        json!({self.and: {self.members: members}})
    }

    fn any(&self, members: Vec<Value>) -> Value {
        json!({self.or: {self.members: members}})
    }

    /// One of the values, and none of the others.
    fn among<T>(&self, among: &Among<T>, word: impl Fn(&T) -> Value) -> Vec<Value> {
        let any = |values: &[T]| self.any(values.iter().map(&word).collect());
        let positive = (!among.values.is_empty()).then(|| any(&among.values));
        let negative = (!among.not_values.is_empty()).then(|| json!({self.not: any(&among.not_values)}));
        positive.into_iter().chain(negative).collect()
    }

    fn condition(&self, condition: &Condition) -> Vec<Value> {
        let identity = |matcher: Value| json!({"authenticated": {"principal_name": matcher}});
        match condition {
            Condition::SourceIp(among) => self.among(among, |block| json!({"direct_remote_ip": range(block)})),
            Condition::RemoteIp(among) => self.among(among, |block| json!({"remote_ip": range(block)})),
            Condition::Principal(among) => self.among(among, |wanted| identity(principal(wanted))),
            Condition::Namespace(among) => self.among(among, |wanted| identity(regex(&format!(".*/ns/{}/.*", starred(wanted.as_str()))))),
            Condition::ServiceAccount(among) => self.among(among, |Account { namespace, name }| {
                identity(regex(&format!("spiffe://.+/ns/{}/(.+/|)sa/{}(/.+)?", quoted(namespace), quoted(name))))
            }),
            Condition::TrustDomain(among) => self.among(among, |wanted| identity(trust_domain(wanted))),
            Condition::RequestPrincipal(among) => self.among(among, |RequestPrincipal { issuer, subject }| {
                let claim = |name: &str, wanted| metadata(payload(&[name.to_owned()], json!({"string_match": text(wanted)})));
                self.all(vec![claim("iss", issuer), claim("sub", subject)])
            }),
            Condition::Claim(path, among) => self.among(among, |wanted| {
                let value = json!({"string_match": text(wanted)});
                let either = json!({"or_match": {"value_matchers": [{"list_match": {"one_of": value}}, value]}});
                metadata(payload(path, either))
            }),
            Condition::Header(name, among) => self.among(among, |wanted| json!({"header": header(name, wanted, false)})),
            Condition::Host(among) => self.among(among, |wanted| json!({"header": header(":authority", wanted, true)})),
            Condition::Method(among) => self.among(among, |wanted| json!({"header": header(":method", wanted, false)})),
            Condition::Path(among) => self.among(among, |wanted| match wanted {
                PathMatch::Text(wanted) => json!({"url_path": {"path": text(wanted)}}),
                PathMatch::Template(wanted) => {
                    let config = json!({"path_template": template(wanted)});
                    let config = typed("envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", config);
                    json!({"uri_template": {"name": "uri-template", "typed_config": config}})
                }
            }),
            Condition::DestinationIp(among) => self.among(among, |block| json!({"destination_ip": range(block)})),
            Condition::DestinationPort(among) => self.among(among, |port| json!({"destination_port": port})),
            Condition::ServerName(among) => self.among(among, |wanted| json!({"requested_server_name": text(wanted)})),
            Condition::Metadata { filter, key, among } => self.among(among, |wanted| {
                let value = match wanted.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
                    Some(member) => json!({"list_match": {"one_of": {"string_match": text(&TextMatch::of(member))}}}),
                    None => json!({"string_match": text(&TextMatch::of(wanted))}),
                };
                metadata(json!({"filter": filter, "path": [{"key": key}], "value": value}))
            }),
        }
    }
}

fn range(block: &IpBlock) -> Value {
    json!({"address_prefix": block.address.to_string(), "prefix_len": block.prefix})
}

fn regex(regex: &str) -> Value {
    json!({"safe_regex": {"regex": regex}})
}

/// Istio's `StringMatcher`.
fn text(wanted: &TextMatch) -> Value {
    match wanted {
        TextMatch::Present => regex(".+"),
        TextMatch::Exact(text) => json!({"exact": text}),
        TextMatch::Prefix(text) => json!({"prefix": text}),
        TextMatch::Suffix(text) => json!({"suffix": text}),
    }
}

/// Identities have a scheme in certificates and none in policies.
fn principal(wanted: &TextMatch) -> Value {
    match wanted {
        TextMatch::Present => regex(".+"),
        TextMatch::Exact(text) => json!({"exact": format!("spiffe://{text}")}),
        TextMatch::Prefix(text) => json!({"prefix": format!("spiffe://{text}")}),
        TextMatch::Suffix(text) => regex(&format!("spiffe://.*{}", quoted(text))),
    }
}

fn trust_domain(wanted: &TextMatch) -> Value {
    match wanted {
        TextMatch::Present => json!({"prefix": "spiffe://"}),
        TextMatch::Exact(text) => json!({"prefix": format!("spiffe://{text}/")}),
        TextMatch::Prefix(text) => regex(&format!("spiffe://{}[^/]*/.*", quoted(text))),
        TextMatch::Suffix(text) => regex(&format!("spiffe://[^/]*{}/.*", quoted(text))),
    }
}

fn header(name: &str, wanted: &TextMatch, ignores_case: bool) -> Value {
    let mut matcher = match wanted {
        TextMatch::Present => return json!({"name": name, "present_match": true}),
        wanted => text(wanted),
    };
    if ignores_case {
        matcher["ignore_case"] = json!(true);
    }
    json!({"name": name, "string_match": matcher})
}

/// What filters have noted about the request.
fn metadata(matcher: Value) -> Value {
    json!({"sourced_metadata": {"metadata_matcher": matcher}})
}

fn payload(path: &[String], value: Value) -> Value {
    let path: Vec<Value> = [PAYLOAD].into_iter().chain(path.iter().map(String::as_str)).map(|key| json!({"key": key})).collect();
    json!({"filter": JWT, "path": path, "value": value})
}

fn template(template: &PathTemplate) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(literal) => literal.clone(),
        Piece::Segment => "*".to_owned(),
        Piece::Rest => "**".to_owned(),
    };
    template.pieces().iter().map(piece).collect()
}

/// Every star as any letters, all else as it stands.
fn starred(text: &str) -> String {
    text.split('*').map(quoted).collect::<Vec<_>>().join(".*")
}

/// As an expression that means the text itself.
fn quoted(text: &str) -> String {
    let special = |letter: char| r"\.+*?()|[]{}^$".contains(letter);
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}
