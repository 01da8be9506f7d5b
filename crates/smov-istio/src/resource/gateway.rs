//! Gateway (<https://istio.io/latest/docs/reference/config/networking/gateway/>).

use std::collections::BTreeMap;

use serde::Deserialize;

/// `spec` of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct GatewaySpec {
    /// Labels of the gateway's pods; empty = every gateway.
    pub selector: BTreeMap<String, String>,
    /// What it listens for.
    pub servers: Vec<Server>,
}

/// One entry of `servers:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// The port.
    pub port: Option<ServerPort>,
    /// Address to bind.
    pub bind: Option<String>,
    /// `host`, `namespace/host`, `./host`, `*/host`.
    pub hosts: Vec<String>,
    /// TLS of the listener.
    pub tls: Option<ServerTlsSettings>,
    /// Unused in Istio.
    pub default_endpoint: Option<String>,
    /// For people.
    pub name: Option<String>,
}

/// `port:` of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerPort {
    /// The number.
    pub number: u32,
    /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `MONGO`, `TCP`, `TLS`.
    pub protocol: String,
    /// Its name.
    pub name: String,
    /// Unused in Istio.
    pub target_port: Option<u32>,
}

/// `tls:` of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTlsSettings {
    /// Answer plain HTTP with 301 to https.
    pub https_redirect: Option<bool>,
    /// How TLS is ended.
    pub mode: Option<String>,
    /// File.
    pub server_certificate: Option<String>,
    /// File.
    pub private_key: Option<String>,
    /// File.
    pub ca_certificates: Option<String>,
    /// Secret.
    pub credential_name: Option<String>,
    /// Secrets.
    pub credential_names: Vec<String>,
    /// Files, several pairs.
    pub tls_certificates: Vec<TlsCertificate>,
}

/// One entry of `tlsCertificates:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// File.
    pub server_certificate: Option<String>,
    /// File.
    pub private_key: Option<String>,
}
