//! Names that rules write, resolved as Istio does: short names are of the **rule's** namespace, not of the client's.

use smov_model::names::{HostPattern, Hostname, InvalidName};

/// The cluster-wide suffix of Services.
pub const SERVICE_SUFFIX: &str = "svc.cluster.local";

/// The full host name of a Service.
pub fn service_host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.{SERVICE_SUFFIX}")
}

/// A host of a rule in its full form: names with a dot or a leading `*` are taken as they are.
pub fn resolve_host(text: &str, namespace: &str) -> String {
    if text.contains('.') || text.starts_with('*') { text.to_owned() } else { service_host(text, namespace) }
}

/// As [`resolve_host`], as a name.
pub fn hostname(text: &str, namespace: &str) -> Result<Hostname, InvalidName> {
    resolve_host(text, namespace).parse()
}

/// As [`resolve_host`], as a pattern.
pub fn host_pattern(text: &str, namespace: &str) -> Result<HostPattern, InvalidName> {
    resolve_host(text, namespace).parse()
}

/// The name of a gateway in its full form, `namespace/name`; `mesh` stays. The old form `name.namespace.svc.cluster.local` is understood.
pub fn resolve_gateway(text: &str, namespace: &str) -> String {
    if text == "mesh" || text.contains('/') {
        return text.to_owned();
    }
    let mut parts = text.split('.');
    match (parts.next(), parts.next()) {
        (Some(name), Some(own)) => format!("{own}/{name}"),
        _ => format!("{namespace}/{text}"),
    }
}

/// Does a namespace see a resource with this `exportTo`?
pub fn exported_to(export_to: &[String], owner: &str, viewer: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|entry| match entry.as_str() {
            "*" => true,
            "." => owner == viewer,
            named => named == viewer,
        })
}

/// The narrower of two patterns when one covers the other; `None` when they have no host in common.
pub fn intersect(left: &HostPattern, right: &HostPattern) -> Option<HostPattern> {
    match (left, right) {
        (HostPattern::Any, other) | (other, HostPattern::Any) => Some(other.clone()),
        (HostPattern::Exact(name), pattern) | (pattern, HostPattern::Exact(name)) => {
            pattern.covers(name.as_str()).then(|| HostPattern::Exact(name.clone()))
        }
        (HostPattern::Suffix(one), HostPattern::Suffix(other)) => {
            let (longer, shorter) = if one.as_str().len() >= other.as_str().len() { (one, other) } else { (other, one) };
            let covered = longer == shorter || longer.as_str().strip_suffix(shorter.as_str()).is_some_and(|rest| rest.ends_with('.'));
            covered.then(|| HostPattern::Suffix(longer.clone()))
        }
    }
}

/// How specific a pattern is: exact names over wildcards, longer wildcards over shorter ones, `*` last.
pub fn specificity(pattern: &HostPattern) -> (u8, usize) {
    match pattern {
        HostPattern::Exact(_) => (2, 0),
        HostPattern::Suffix(suffix) => (1, suffix.as_str().len()),
        HostPattern::Any => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_of_the_rules_namespace() {
        assert_eq!(resolve_host("user-service", "theater-msa"), "user-service.theater-msa.svc.cluster.local");
        assert_eq!(resolve_host("user-service.theater-msa", "other"), "user-service.theater-msa");
        assert_eq!(resolve_host("*", "other"), "*");
        assert_eq!(resolve_gateway("cp-gateway", "istio-system"), "istio-system/cp-gateway");
        assert_eq!(resolve_gateway("infra/cp-gateway", "istio-system"), "infra/cp-gateway");
        assert_eq!(resolve_gateway("mesh", "istio-system"), "mesh");
    }

    #[test]
    fn patterns_meet_in_the_narrower_one() {
        let pattern = |text: &str| text.parse::<HostPattern>().unwrap();
        let meet = |left: &str, right: &str| intersect(&pattern(left), &pattern(right)).map(|host| host.to_string());
        assert_eq!(meet("*", "a.b").as_deref(), Some("a.b"));
        assert_eq!(meet("*.b", "a.b").as_deref(), Some("a.b"));
        assert_eq!(meet("*.b", "*.a.b").as_deref(), Some("*.a.b"));
        assert_eq!(meet("*.ab", "*.b"), None);
        assert_eq!(meet("a.b", "c.b"), None);
    }

    #[test]
    fn export_to_names_who_sees_it() {
        assert!(exported_to(&[], "a", "b"));
        assert!(exported_to(&[".".into()], "a", "a"));
        assert!(!exported_to(&[".".into()], "a", "b"));
        assert!(exported_to(&["b".into()], "a", "b"));
    }
}
