//! TLS in Envoy's words, as Istio's control plane writes it: the mesh's certificates and those of rules come as secrets (SDS), so that a bad
//! one spoils nothing else and a new one needs no other change.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use smov_model::cluster::{Cluster, Protocol};
use smov_model::snapshot::Snapshot;
use smov_model::tls::{ClientCertificate, ClusterTls, MutualTls, OriginTls, Roots};
use smov_proxy::IssuedPem;

use super::{from_agent, typed};

/// Istio's name of the workload's own certificate.
pub(super) const OWN: &str = "default";
/// Istio's name of what the mesh trusts.
pub(super) const ROOTS: &str = "ROOTCA";

/// Offered by sidecars over HTTP/1.1; Istio's filter `istio.alpn` says the same per request.
const HTTP: [&str; 3] = ["istio-http/1.1", "istio", "http/1.1"];
/// For opaque bytes. `istio-peer-exchange` would promise metadata before the bytes.
const OPAQUE: [&str; 1] = ["istio"];
/// What tells a permissive port that the mesh is calling.
pub(super) const OF_THE_MESH: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Istio's ciphers of TLS 1.2; those of 1.3 are not chosen.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];
/// Where systems keep the certificates that they trust.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What endpoints that take the mesh's mutual TLS carry, and what Envoy matches it with.
pub(super) fn endpoint_mark() -> Value {
    json!({"tlsMode": "istio"})
}

/// The secrets of a workload's certificate, by their names.
pub fn own_secrets(issued: &IssuedPem) -> BTreeMap<String, Value> {
    let own = json!({"certificate_chain": {"inline_string": issued.chain}, "private_key": {"inline_string": issued.private_key}});
    BTreeMap::from([
        (OWN.to_owned(), json!({"name": OWN, "tls_certificate": own})),
        (ROOTS.to_owned(), json!({"name": ROOTS, "validation_context": {"trusted_ca": {"inline_string": issued.roots}}})),
    ])
}

/// The secrets of rules, by their names.
pub(super) fn secrets(snapshot: &Snapshot) -> BTreeMap<String, Value> {
    let mut secrets = BTreeMap::new();
    for cluster in snapshot.clusters.values() {
        let ClusterTls::Origin(origin) = &cluster.tls else { continue };
        let roots = match &origin.roots {
            Roots::System => system_roots().map(|path| json!({"filename": path})),
            Roots::File(path) => Some(json!({"filename": path})),
            // An empty one never comes: nobody is trusted.
            Roots::Pem(pem) => (!pem.is_empty()).then(|| json!({"inline_string": pem})),
            Roots::Anybody => None,
        };
        if let Some(roots) = roots {
            let name = roots_of(cluster);
            secrets.insert(name.clone(), json!({"name": name, "validation_context": {"trusted_ca": roots}}));
        }
        let pair = |key: &str, certificate: &str, private_key: &str| json!({"certificate_chain": {key: certificate}, "private_key": {key: private_key}});
        let own = origin.client.as_ref().map(|client| match client {
            ClientCertificate::Files { certificate, private_key } => pair("filename", certificate, private_key),
            ClientCertificate::Pem { certificate, private_key } => pair("inline_string", certificate, private_key),
        });
        if let Some(own) = own {
            let name = client_of(cluster);
            secrets.insert(name.clone(), json!({"name": name, "tls_certificate": own}));
        }
    }
    secrets
}

fn roots_of(cluster: &Cluster) -> String {
    format!("roots|{}", cluster.name)
}

fn client_of(cluster: &Cluster) -> String {
    format!("client|{}", cluster.name)
}

/// The system's bundle, looked for once.
fn system_roots() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let find = || {
        let named = std::env::var("SSL_CERT_FILE").ok();
        named.into_iter().chain(BUNDLES.map(str::to_owned)).find(|path| std::path::Path::new(path).is_file())
    };
    FOUND.get_or_init(find).as_deref()
}

/// Adds to a cluster how its connections are secured.
pub(super) fn secure(value: &mut Map<String, Value>, cluster: &Cluster, trust_domain: &str) {
    let mesh = |tls: &MutualTls| socket("UpstreamTlsContext", upstream(cluster.protocol, tls, trust_domain));
    match &cluster.tls {
        ClusterTls::Disable => {}
        ClusterTls::Auto(tls) => {
            let plain = typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
            let matches = json!([
                {"name": "tlsMode-istio", "match": endpoint_mark(), "transport_socket": mesh(tls)},
                {
                    "name": "tlsMode-disabled",
                    "match": {},
                    "transport_socket": {"name": "envoy.transport_sockets.raw_buffer", "typed_config": plain},
                },
            ]);
            value.insert("transport_socket_matches".into(), matches);
        }
        ClusterTls::IstioMutual(tls) => {
            value.insert("transport_socket".into(), mesh(tls));
        }
        ClusterTls::Origin(tls) => {
            value.insert("transport_socket".into(), socket("UpstreamTlsContext", of_rule(cluster, tls)));
        }
    }
}

fn upstream(protocol: Protocol, tls: &MutualTls, trust_domain: &str) -> Value {
    let protocols = match protocol {
        Protocol::Http => &HTTP[..],
        Protocol::Tcp => &OPAQUE,
    };
    let names: Vec<Value> = if tls.subject_alt_names.is_empty() {
        vec![of_trust_domain(trust_domain)]
    } else {
        tls.subject_alt_names.iter().map(|name| named(name)).collect()
    };
    let mut common = mesh_common(&names);
    common["alpn_protocols"] = json!(protocols);
    json!({"common_tls_context": common, "sni": tls.sni})
}

fn of_rule(cluster: &Cluster, tls: &OriginTls) -> Value {
    let mut common = json!({"tls_params": versions()});
    if tls.client.is_some() {
        common["tls_certificate_sds_secret_configs"] = json!([secret(&client_of(cluster))]);
    }
    if tls.roots != Roots::Anybody {
        let names: Vec<Value> = tls.subject_alt_names.iter().map(|name| named(name)).collect();
        common["combined_validation_context"] = json!({
            "default_validation_context": {"match_typed_subject_alt_names": names},
            "validation_context_sds_secret_config": secret(&roots_of(cluster)),
        });
    }
    let mut context = json!({"common_tls_context": common});
    if let Some(sni) = &tls.sni {
        context["sni"] = json!(sni);
    }
    context
}

/// What a pod's own port shows and wants to see.
pub(super) fn downstream(protocol: Protocol, trust_domain: &str) -> Value {
    let mut common = mesh_common(&[of_trust_domain(trust_domain)]);
    common["tls_params"]["cipher_suites"] = json!(CIPHERS);
    if protocol == Protocol::Http {
        common["alpn_protocols"] = json!(["http/1.1"]);
    }
    socket("DownstreamTlsContext", json!({"common_tls_context": common, "require_client_certificate": true}))
}

/// The workload's own certificate, the mesh's roots, and who may be on the other side.
fn mesh_common(names: &[Value]) -> Value {
    json!({
        "tls_params": versions(),
        "tls_certificate_sds_secret_configs": [secret(OWN)],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": names},
            "validation_context_sds_secret_config": secret(ROOTS),
        },
    })
}

/// Envoy's clients stop at 1.2 unless told otherwise.
fn versions() -> Value {
    json!({"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"})
}

fn of_trust_domain(trust_domain: &str) -> Value {
    json!({"san_type": "URI", "matcher": {"prefix": format!("spiffe://{trust_domain}/")}})
}

fn named(name: &str) -> Value {
    let kind = match name {
        uri if uri.contains("://") => "URI",
        address if address.parse::<std::net::IpAddr>().is_ok() => "IP_ADDRESS",
        _ => "DNS",
    };
    json!({"san_type": kind, "matcher": {"exact": name}})
}

/// A secret that the agent gives. What has not come after a moment is waited for no longer: connections that need it fail, all others are
/// served.
fn secret(name: &str) -> Value {
    let mut source = from_agent();
    source["initial_fetch_timeout"] = json!("1s");
    json!({"name": name, "sds_config": source})
}

fn socket(context: &str, fields: Value) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(&format!("envoy.extensions.transport_sockets.tls.v3.{context}"), fields),
    })
}
