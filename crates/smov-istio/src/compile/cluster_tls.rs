//! How a cluster's connections are secured: by the DestinationRule's `tls`, else by auto mTLS
//! (<https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/>).

use smov_model::cluster::{Discovery, Protocol};
use smov_model::names::SubsetName;
use smov_model::tls::{ClientCertificate, ClusterTls, MutualTls, MutualTlsMode, OriginTls, Roots};

use super::Prepared;
use super::clusters::ClientKind;
use super::mutual_tls::is_able;
use super::services::{MeshPort, MeshService};
use crate::core::Credential;
use crate::resource::ClientTlsSettings;
use crate::world::{ObjectKey, Role};

/// The cluster in question.
pub(super) struct Asked<'a> {
    pub(super) service: &'a MeshService,
    pub(super) port: &'a MeshPort,
    pub(super) subset: Option<&'a SubsetName>,
    pub(super) discovery: &'a Discovery,
    /// Has the DestinationRule a `workloadSelector`?
    pub(super) for_certain_clients: bool,
}

impl Prepared<'_> {
    pub(super) fn cluster_tls(&self, asked: &Asked<'_>, written: Option<&ClientTlsSettings>, client: &ClientKind) -> ClusterTls {
        let Some(tls) = written else { return self.automatic(asked) };
        match tls.mode.as_deref() {
            Some("SIMPLE") => self.origin(asked, tls, false, client),
            Some("MUTUAL") => self.origin(asked, tls, true, client),
            Some("ISTIO_MUTUAL") => {
                let names = tls.subject_alt_names.clone();
                ClusterTls::IstioMutual(MutualTls {
                    sni: filled(tls.sni.as_deref()).unwrap_or_else(|| server_name(asked)),
                    subject_alt_names: if names.is_empty() { self.identities(asked.service) } else { names },
                })
            }
            // DISABLE is what an absent mode means, too.
            _ => ClusterTls::Disable,
        }
    }

    /// Nobody says anything.
    fn automatic(&self, asked: &Asked<'_>) -> ClusterTls {
        let off = self.peer_authentications.of_namespace(&asked.service.namespace).mode == MutualTlsMode::Disable;
        if asked.service.external || off || !self.world.mesh.auto_mutual_tls {
            return ClusterTls::Disable;
        }
        let mutual = MutualTls { sni: server_name(asked), subject_alt_names: self.identities(asked.service) };
        // What the client dials cannot be looked up: all or nothing, as in Istio.
        if *asked.discovery == Discovery::OriginalDestination {
            let endpoints = &asked.port.endpoints;
            let all = !endpoints.is_empty() && endpoints.iter().all(|(_, workload)| is_able(workload));
            return if all { ClusterTls::IstioMutual(mutual) } else { ClusterTls::Disable };
        }
        ClusterTls::Auto(mutual)
    }

    fn origin(&self, asked: &Asked<'_>, tls: &ClientTlsSettings, mutual: bool, client: &ClientKind) -> ClusterTls {
        let credential = filled(tls.credential_name.as_deref());
        // Istio gives Secrets to gateways, and to sidecars only by a rule for certain clients; for all others the rule means plaintext.
        if credential.is_some() && client.role == Role::Sidecar && !asked.for_certain_clients {
            return ClusterTls::Disable;
        }
        let unverified = tls.insecure_skip_verify == Some(true);
        let found = credential.as_deref().map(|name| self.credential(name, client));
        let sni = filled(tls.sni.as_deref());
        let mut subject_alt_names = tls.subject_alt_names.clone();
        if subject_alt_names.is_empty() {
            subject_alt_names.clone_from(&asked.service.subject_alt_names);
        }
        // Istio takes the request's Host where no name is written, for the server name and for the certificate; at a cluster that is its host.
        let by_host = sni.is_none() && asked.port.protocol.in_snapshot() == Protocol::Http;
        if by_host && subject_alt_names.is_empty() && !unverified {
            subject_alt_names.push(asked.service.host.to_string());
        }
        let roots = match (&found, filled(tls.ca_certificates.as_deref())) {
            _ if unverified => Roots::Anybody,
            (Some(found), _) => Roots::Pem(found.roots.clone()),
            (None, Some(file)) if file != "system" => Roots::File(file),
            (None, _) => Roots::System,
        };
        let client = mutual.then(|| match found {
            Some(found) => ClientCertificate::Pem { certificate: found.certificate, private_key: found.private_key },
            None => ClientCertificate::Files {
                certificate: tls.client_certificate.clone().unwrap_or_default(),
                private_key: tls.private_key.clone().unwrap_or_default(),
            },
        });
        ClusterTls::Origin(Box::new(OriginTls {
            sni: if by_host { Some(asked.service.host.to_string()) } else { sni },
            subject_alt_names,
            roots,
            client,
        }))
    }

    /// A Secret of the client's namespace, its roots perhaps in another of the same name with `-cacert`. Where there is none, nothing is
    /// trusted and no connection comes about: in Istio they wait for it in vain.
    fn credential(&self, name: &str, client: &ClientKind) -> Credential {
        let get = |name: String| {
            let key = ObjectKey { namespace: client.namespace.to_string(), name, cluster: self.world.own.clone() };
            self.world.credentials.get(&key).map(|found| Credential::clone(found))
        };
        let name = name.trim_start_matches("kubernetes://");
        let none = Credential { certificate: String::new(), private_key: String::new(), roots: String::new() };
        let mut found = get(name.to_owned()).unwrap_or(none);
        if let Some(roots) = get(format!("{name}-cacert")).map(|one| one.roots).filter(|roots| !roots.is_empty()) {
            found.roots = roots;
        }
        found
    }
}

/// The name by which gateways between clusters route, Istio's `BuildDNSSrvSubsetKey`.
fn server_name(asked: &Asked<'_>) -> String {
    let subset = asked.subset.map(ToString::to_string).unwrap_or_default();
    format!("outbound_.{}_.{subset}_.{}", asked.port.port, asked.service.host)
}

fn filled(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}
