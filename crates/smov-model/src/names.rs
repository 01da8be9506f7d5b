//! Names: host names, subsets, namespaces, ports. Each is checked once, where it enters, and never again.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not the name it should be. Keeps the input, so that the message can show it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a valid {what}: {reason}")]
pub struct InvalidName {
    /// What was expected, for example `host name`.
    pub what: &'static str,
    /// What was given.
    pub input: String,
    /// Why it is refused.
    pub reason: &'static str,
}

fn invalid(what: &'static str, input: &str, reason: &'static str) -> InvalidName {
    InvalidName { what, input: input.to_owned(), reason }
}

/// RFC 1123 label: lower-case letters, digits and inner hyphens, 1 to 63 characters.
fn check_label(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.as_bytes() {
        [] => Err(invalid(what, text, "it is empty")),
        bytes if bytes.len() > 63 => Err(invalid(what, text, "it is longer than 63 characters")),
        [b'-', ..] | [.., b'-'] => Err(invalid(what, text, "it starts or ends with a hyphen")),
        bytes if bytes.iter().all(|byte| inner(*byte)) => Ok(()),
        _ => Err(invalid(what, text, "only a-z, 0-9 and hyphens are allowed")),
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<String, InvalidName> = $check;
                Ok(Self(check(text)?.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn label(what: &'static str, text: &str) -> Result<String, InvalidName> {
    check_label(what, text).map(|()| text.to_owned())
}

text_name!(
    /// A host name that a client dials, lower-cased, without port: `user-service.theater-msa.svc.cluster.local`; or all of a domain, as a
    /// ServiceEntry may name it: `*.example.com`.
    ///
    /// Short names are resolved once, in compile, with the namespace of the rule that wrote them
    /// (<https://istio.io/latest/docs/reference/config/networking/virtual-service/>).
    Hostname,
    "host name",
    |text| {
        let lower = text.to_ascii_lowercase();
        if lower.len() > 253 {
            return Err(invalid("host name", text, "it is longer than 253 characters"));
        }
        let fits = |part: &str| !part.is_empty() && part.len() <= 63 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        if name.split('.').all(fits) { Ok(lower) } else { Err(invalid("host name", text, "each part must have 1 to 63 letters, digits or hyphens")) }
    }
);
text_name!(
    /// A version slice of a host, as a DestinationRule names it: `ctx1`.
    SubsetName,
    "subset name",
    |text| label("subset name", text)
);
text_name!(
    /// A Kubernetes namespace.
    Namespace,
    "namespace",
    |text| label("namespace", text)
);
text_name!(
    /// The name of a Kubernetes cluster of the mesh, Istio's cluster id: `ctx1`.
    KubeCluster,
    "cluster name",
    |text| label("cluster name", text)
);
text_name!(
    /// A Kubernetes service account, the identity of a workload.
    ServiceAccount,
    "service account",
    |text| if text.is_empty() { Err(invalid("service account", text, "it is empty")) } else { Ok(text.to_owned()) }
);

/// A host of a rule: an exact name, a wildcard `*.suffix`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// One host.
    Exact(Hostname),
    /// `*.suffix`; holds the suffix without the `*.`.
    Suffix(Hostname),
    /// `*`.
    Any,
}

impl HostPattern {
    /// Does the pattern cover this host (lower-case, no port)?
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == host,
            Self::Suffix(suffix) => host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Self::Any => true,
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text {
            "*" => Ok(Self::Any),
            _ => match text.strip_prefix("*.") {
                Some(suffix) => suffix.parse().map(Self::Suffix),
                None => text.parse().map(Self::Exact),
            },
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, 1 to 65535")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Port, E> {
                u32::try_from(number).map_err(E::custom)?.try_into().map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Port, E> {
                text.parse::<u32>().map_err(E::custom)?.try_into().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Port {
    /// The port as a number.
    pub fn number(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u32> for Port {
    type Error = InvalidName;
    fn try_from(number: u32) -> Result<Self, InvalidName> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| invalid("port", &number.to_string(), "it must be 1 to 65535"))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Envoy's name of a cluster as Istio writes it: `outbound|8081|ctx1|user-service.theater-msa.svc.cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName {
    /// The service's port.
    pub port: Port,
    /// The subset; `None` is the whole host.
    pub subset: Option<SubsetName>,
    /// The full host name.
    pub host: Hostname,
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset.as_ref().map_or("", SubsetName::as_str), self.host)
    }
}

impl FromStr for ClusterName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let what = "cluster name";
        let bad = |reason| invalid(what, text, reason);
        let mut parts = text.splitn(4, '|');
        if parts.next() != Some("outbound") {
            return Err(bad("it does not start with `outbound|`"));
        }
        let (Some(port), Some(subset), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it has fewer than four parts"));
        };
        let port: u32 = port.parse().map_err(|_| bad("the port is not a number"))?;
        let subset = if subset.is_empty() { None } else { Some(subset.parse()?) };
        Ok(Self { port: port.try_into()?, subset, host: host.parse()? })
    }
}

impl Serialize for ClusterName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClusterName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Points at a Kubernetes object: which one, and which version of it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceRef {
    /// `VirtualService`, `Service`, …
    pub kind: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// `metadata.resourceVersion` of what was compiled; empty when it came from a file.
    pub resource_version: String,
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_lower_cased_and_checked() {
        assert_eq!("User-Service.Theater".parse::<Hostname>().unwrap().as_str(), "user-service.theater");
        assert_eq!("*.example.com".parse::<Hostname>().unwrap().as_str(), "*.example.com");
        for bad in ["", "*", "*.", "a.*.b", "a..b", "a b", &"a".repeat(64), "a/b", "a:80"] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cluster_names_print_and_parse_back() {
        for text in ["outbound|8081|ctx1|user-service.theater-msa.svc.cluster.local", "outbound|80||a.b"] {
            assert_eq!(text.parse::<ClusterName>().unwrap().to_string(), text);
        }
        assert!("outbound|0||a".parse::<ClusterName>().is_err());
        assert!("inbound|80||a".parse::<ClusterName>().is_err());
    }

    #[test]
    fn a_suffix_pattern_needs_at_least_one_more_label() {
        let pattern: HostPattern = "*.example.com".parse().unwrap();
        assert!(pattern.covers("a.example.com"));
        assert!(pattern.covers("a.b.example.com"));
        assert!(!pattern.covers("example.com"));
        assert!(!pattern.covers("badexample.com"));
        assert!(!pattern.covers(".example.com"));
    }
}
