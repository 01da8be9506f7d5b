//! What a Service's port speaks, by Istio's rule.

use smov_model::cluster::Protocol;

/// The protocol of a Service port: `appProtocol`, else the prefix of the port's name
/// (<https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortProtocol {
    /// Said to be HTTP/1.1.
    Http,
    /// Said to be HTTP/2 or gRPC, which the data plane does not speak yet; treated as HTTP.
    Http2,
    /// Said to be something opaque, TLS included.
    Tcp,
    /// Nothing is said. Istio looks at the first bytes; here the door tells: what comes through the HTTP door is HTTP, what comes
    /// through a TCP door is opaque. A server's own port counts as HTTP.
    Auto,
}

/// Ports that are opaque when nothing is said: Istio's list (SMTP, DNS, MySQL, MongoDB), and PostgreSQL and Redis, which Istio would
/// recognise by their bytes.
const OPAQUE_PORTS: [u16; 6] = [25, 53, 3306, 5432, 6379, 27017];

impl PortProtocol {
    /// The protocol of a port.
    pub fn of(app_protocol: Option<&str>, name: &str, number: u16) -> Self {
        let word = match app_protocol {
            Some("kubernetes.io/h2c") => "http2",
            Some("kubernetes.io/ws" | "kubernetes.io/wss") => "http",
            Some(word) => word,
            None => name.split('-').next().unwrap_or_default(),
        };
        match word.to_ascii_lowercase().as_str() {
            "http" | "http1" | "http_proxy" => Self::Http,
            "http2" | "grpc" | "grpc-web" => Self::Http2,
            "tcp" | "https" | "tls" | "mongo" | "redis" | "mysql" | "postgres" | "udp" => Self::Tcp,
            _ if OPAQUE_PORTS.contains(&number) => Self::Tcp,
            _ => Self::Auto,
        }
    }

    /// Do HTTP rules apply?
    pub fn carries_http(self) -> bool {
        self != Self::Tcp
    }

    /// May connections be opaque?
    pub fn carries_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Auto)
    }

    /// As the snapshot has it.
    pub fn in_snapshot(self) -> Protocol {
        if self.carries_http() { Protocol::Http } else { Protocol::Tcp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_beats_the_name_and_the_name_beats_the_number() {
        assert_eq!(PortProtocol::of(Some("tcp"), "http", 80), PortProtocol::Tcp);
        assert_eq!(PortProtocol::of(None, "http-web", 6379), PortProtocol::Http);
        assert_eq!(PortProtocol::of(None, "grpc-web", 80), PortProtocol::Http2);
        assert_eq!(PortProtocol::of(None, "tcp-redis", 6379), PortProtocol::Tcp);
        assert_eq!(PortProtocol::of(None, "", 6379), PortProtocol::Tcp);
        assert_eq!(PortProtocol::of(None, "", 8081), PortProtocol::Auto);
        assert_eq!(PortProtocol::of(None, "https", 443), PortProtocol::Tcp);
    }
}
