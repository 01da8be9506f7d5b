use std::collections::BTreeMap;

use serde_json::json;
use smov_model::snapshot::{PathNormalization, SnapshotVersion, UnknownHosts};
use smov_model::tls::{DEFAULT_TRUST_DOMAIN, MutualTlsMode};

use super::*;

fn workload(pod: &str, account: &str) -> Arc<Workload> {
    Arc::new(Workload {
        pod: pod.to_owned(),
        name: pod.to_owned(),
        namespace: "t".parse().unwrap(),
        cluster: "ctx1".parse().unwrap(),
        service_account: account.parse().unwrap(),
        labels: BTreeMap::new(),
        region: String::new(),
        zone: String::new(),
        has_sidecar: true,
    })
}

/// Of the account `shop` there are two, of `bank` one.
fn snapshot() -> Snapshot {
    let peers = [("127.9.1.5", "shop-1", "shop"), ("127.9.1.6", "shop-2", "shop"), ("127.9.1.7", "bank-1", "bank")];
    Snapshot {
        version: SnapshotVersion { epoch: 1, number: 1 },
        proxy: workload("own", "own"),
        outbound: BTreeMap::new(),
        tcp: Vec::new(),
        unknown_hosts: UnknownHosts::RegistryOnly,
        ingress: BTreeMap::new(),
        inbound: Vec::new(),
        clusters: BTreeMap::new(),
        peers: peers.into_iter().map(|(address, pod, account)| (address.parse().unwrap(), workload(pod, account))).collect(),
        path_normalization: PathNormalization::Base,
        mutual_tls: MutualTlsMode::default(),
        protected: Vec::new(),
        trust_domain: DEFAULT_TRUST_DOMAIN.into(),
        authorization: Default::default(),
        telemetry: Default::default(),
    }
}

/// Who called, by what the certificate proves, the header says, and the address is.
fn caller(proved: Option<&str>, said: &str, address: &str) -> Option<String> {
    let line = json!({
        "side": "inbound", "started": "1795350896001002", "time": "2026-11-22T12:34:56.001Z", "status": 200, "flags": "-", "received": 0, "sent": 0,
        "milliseconds": 1, "downstreamLocal": "127.9.1.9:8081", "downstreamRemote": format!("{address}:4000"), "requestHead": 90, "responseHead": 40,
        "taken": "-", "notes": {"x-envoy-peer-metadata-id": format!("sidecar~{address}~{said}.t~t.svc.cluster.local")}, "answered": 312,
        "downstreamPeer": proved, "downstreamTls": proved.map(|_| "TLSv1.3"),
    });
    let entry: Entry = serde_json::from_value(line).unwrap();
    let snapshot = snapshot();
    Reading::of(&entry, &snapshot).peer().map(|peer| peer.pod.clone())
}

#[test]
fn a_header_chooses_among_the_workloads_of_the_identity_that_was_proved() {
    let (shop, bank) = (Some("spiffe://cluster.local/ns/t/sa/shop"), Some("spiffe://cluster.local/ns/t/sa/bank"));
    let is = |pod: &str| Some(pod.to_owned());
    assert_eq!(caller(None, "shop-2", "127.9.1.7"), is("shop-2"), "plaintext proves nothing: what is said counts");
    assert_eq!(caller(shop, "shop-2", "127.9.1.5"), is("shop-2"));
    assert_eq!(caller(shop, "bank-1", "127.9.1.5"), is("shop-1"), "the certificate wins, the address tells which");
    assert_eq!(caller(shop, "bank-1", "127.9.1.7"), None, "one of two, and nothing says which");
    assert_eq!(caller(bank, "shop-1", "127.9.1.5"), is("bank-1"), "the only one of its identity");
    for stranger in ["spiffe://elsewhere/ns/t/sa/shop", "spiffe://cluster.local/no-workload"] {
        assert_eq!(caller(Some(stranger), "shop-1", "127.9.1.5"), None, "{stranger}");
    }
}
