//! A line of Envoy's access log, as [`crate::config::access_log`] asks for it, and the same line in Istio's words.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::Value;
use smov_model::flag::{Flags, ResponseFlag};
use smov_model::tls::ConnectionSecurityPolicy;

use crate::config::access_log::Side;

/// One request, or one opaque connection. What does not apply is absent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) side: Side,
    /// Microseconds since 1970.
    #[serde(default, deserialize_with = "number")]
    pub(crate) started: u64,
    pub(crate) time: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) status: u64,
    pub(crate) flags: Option<String>,
    pub(crate) details: Option<String>,
    pub(crate) termination: Option<String>,
    pub(crate) failure: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) received: u64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) sent: u64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) milliseconds: u64,
    pub(crate) upstream_host: Option<String>,
    pub(crate) upstream_cluster: Option<String>,
    pub(crate) upstream_local: Option<String>,
    pub(crate) downstream_local: Option<String>,
    pub(crate) downstream_remote: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) attempts: u64,
    pub(crate) tried: Option<String>,
    pub(crate) upstream_tls: Option<String>,
    pub(crate) upstream_peer: Option<String>,
    pub(crate) downstream_tls: Option<String>,
    pub(crate) downstream_peer: Option<String>,
    pub(crate) downstream_failure: Option<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) forwarded_for: Option<String>,
    pub(crate) service_time: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) request_head: u64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) response_head: u64,
    pub(crate) route: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    pub(crate) taken: Option<Taken>,
    #[serde(default, deserialize_with = "optional")]
    pub(crate) notes: Option<BTreeMap<String, Value>>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) upstream_sent: u64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) upstream_answered: u64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) answered: u64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) done: u64,
}

/// The route that took a request, as its metadata says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Taken {
    #[serde(deserialize_with = "number")]
    pub(crate) port: u64,
    pub(crate) host: String,
    #[serde(deserialize_with = "number")]
    pub(crate) rule: u64,
    #[serde(deserialize_with = "number")]
    pub(crate) entry: u64,
}

/// Envoy writes numbers as numbers or as texts, and `null` or `-` for none.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    // Metadata has no whole numbers.
    Ok(value.as_u64().or_else(|| value.as_f64().map(|number| number as u64)).or_else(|| value.as_str()?.parse().ok()).unwrap_or_default())
}

/// What is not of the form expected, `"-"` among it, is absent.
fn optional<'de, D: serde::Deserializer<'de>, T: serde::de::DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

impl Entry {
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.side, Side::OutboundTcp | Side::InboundTcp)
    }

    /// Is it about what came in?
    fn is_inbound(&self) -> bool {
        matches!(self.side, Side::Inbound | Side::InboundTcp | Side::Connection)
    }

    /// The identity that the other side has proved.
    pub(crate) fn peer_principal(&self) -> Option<&str> {
        let peer = if self.is_inbound() { &self.downstream_peer } else { &self.upstream_peer };
        // Several are told with commas between them; the first counts.
        peer.as_deref().and_then(|peer| peer.split(',').next()).filter(|peer| !peer.is_empty() && *peer != "-")
    }

    /// How the connection between the two proxies was secured. TLS to somebody outside the mesh has no word.
    pub(crate) fn security(&self) -> ConnectionSecurityPolicy {
        let version = if self.is_inbound() { &self.downstream_tls } else { &self.upstream_tls };
        match (version.as_deref().filter(|version| *version != "-"), self.peer_principal()) {
            (None, _) => ConnectionSecurityPolicy::None,
            (Some(_), Some(_)) => ConnectionSecurityPolicy::MutualTls,
            (Some(_), None) => ConnectionSecurityPolicy::Unknown,
        }
    }

    /// Have both sides shown certificates of the mesh?
    pub(crate) fn is_mutual_tls(&self) -> bool {
        self.security() == ConnectionSecurityPolicy::MutualTls
    }

    /// Why a connection was not served; `None` = it was.
    pub(crate) fn refusal(&self) -> Option<String> {
        let failure = self.downstream_failure.as_deref().filter(|failure| !failure.is_empty() && *failure != "-");
        if let Some(denied) = self.termination.as_deref().filter(|details| details.starts_with("rbac_access_denied")) {
            return Some(denied.to_owned());
        }
        const STRICT: &str = "plaintext, and the port takes mutual TLS only (PeerAuthentication STRICT)";
        if let Some(failure) = failure {
            // What BoringSSL says to bytes that are no TLS.
            let is_plaintext = ["HTTP_REQUEST", "WRONG_VERSION_NUMBER"].iter().any(|word| failure.contains(word));
            return Some(if is_plaintext { format!("{STRICT}: {failure}") } else { failure.to_owned() });
        }
        (self.side == Side::Connection && self.details.as_deref() == Some("filter_chain_not_found")).then(|| {
            match self.server_name.as_deref().filter(|name| *name != "-") {
                Some(_) => "TLS without one of Istio's protocols (ALPN istio…): filter_chain_not_found".to_owned(),
                None => format!("{STRICT}: filter_chain_not_found"),
            }
        })
    }

    /// The flags that the mesh has words for.
    pub(crate) fn known_flags(&self) -> Flags {
        let flag = |word: &str| ResponseFlag::ALL.into_iter().find(|flag| flag.as_str() == word);
        self.flags.as_deref().unwrap_or("-").split(',').filter_map(flag).fold(Flags::NONE, Flags::with)
    }

    pub(crate) fn note(&self, name: &str) -> Option<&str> {
        self.notes.as_ref()?.get(name)?.as_str()
    }

    /// The addresses tried, in order.
    pub(crate) fn tried(&self) -> Vec<SocketAddr> {
        let tried = self.tried.as_deref().or(self.upstream_host.as_deref()).unwrap_or_default();
        tried.split(',').filter_map(|address| address.trim().parse().ok()).collect()
    }

    /// The endpoint of the last try.
    pub(crate) fn answerer(&self) -> Option<SocketAddr> {
        self.upstream_host.as_deref()?.parse().ok()
    }

    /// Did an upstream give the answer?
    pub(crate) fn is_from_upstream(&self) -> bool {
        self.details.as_deref() == Some("via_upstream")
    }

    /// Appends the line in Istio's default format
    /// (<https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format>).
    pub(crate) fn write(&self, log: &mut String) {
        let or_dash = |value: &Option<String>| value.as_deref().filter(|value| !value.is_empty()).unwrap_or("-").to_owned();
        let _ = write!(log, "[{}] \"{} {} {}\" ", or_dash(&self.time), or_dash(&self.method), or_dash(&self.path), or_dash(&self.protocol));
        let _ = write!(
            log,
            "{} {} {} {} \"{}\" {} {} {} {} ",
            self.status,
            or_dash(&self.flags),
            or_dash(&self.details),
            or_dash(&self.termination),
            or_dash(&self.failure),
            self.received,
            self.sent,
            self.milliseconds,
            or_dash(&self.service_time),
        );
        for value in [&self.forwarded_for, &self.user_agent, &self.request_id, &self.authority, &self.upstream_host] {
            let value: String =
                or_dash(value).chars().map(|letter| if letter == '"' || letter.is_control() { '_' } else { letter }).collect();
            let _ = write!(log, "\"{value}\" ");
        }
        let _ = writeln!(
            log,
            "{} {} {} {} - {}",
            or_dash(&self.upstream_cluster),
            or_dash(&self.upstream_local),
            or_dash(&self.downstream_local),
            or_dash(&self.downstream_remote),
            or_dash(&self.route),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_written_in_istios_words() {
        let line = r#"{"side":"outbound","started":"1795350896001002","time":"2026-11-22T12:34:56.001Z","status":404,"flags":"NR","details":"route_not_found",
            "termination":null,"failure":null,"received":0,"sent":0,"milliseconds":1,"upstreamHost":null,"upstreamCluster":null,"upstreamLocal":null,
            "downstreamLocal":"127.9.1.5:15001","downstreamRemote":"127.9.1.5:4000","attempts":null,"tried":null,"method":"GET","path":"/users/?a=1",
            "authority":"nobody:80","protocol":"HTTP/1.1","requestId":"id-1","userAgent":"curl \"8\"","forwardedFor":null,"serviceTime":null,
            "requestHead":90,"responseHead":40,"route":null,"taken":"-","notes":{"x-canary":"true"},"answered":312}"#;
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(
            (entry.started, entry.status, entry.known_flags(), entry.answered),
            (1_795_350_896_001_002, 404, ResponseFlag::Nr.into(), 312)
        );
        assert_eq!((entry.taken.clone(), entry.note("x-canary")), (None, Some("true")));
        let mut text = String::new();
        entry.write(&mut text);
        assert_eq!(
            text,
            "[2026-11-22T12:34:56.001Z] \"GET /users/?a=1 HTTP/1.1\" 404 NR route_not_found - \"-\" 0 0 1 - \"-\" \"curl _8_\" \"id-1\" \
             \"nobody:80\" \"-\" - - 127.9.1.5:15001 127.9.1.5:4000 - -\n"
        );
    }

    #[test]
    fn numbers_of_metadata_are_whole_again() {
        let taken: Taken = serde_json::from_str(r#"{"port":8081.0,"host":"h","rule":1.0,"entry":0.0}"#).unwrap();
        assert_eq!(taken, Taken { port: 8081, host: "h".into(), rule: 1, entry: 0 });
    }
}
