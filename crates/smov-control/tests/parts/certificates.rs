//! The authority: who gets which certificate, where it comes from, and what happens when it changes.

use std::time::{Duration, SystemTime};

use crate::support::api::FakeApi;
use crate::support::mesh::{Mesh, eventually, pod, service, slice};
use crate::support::proxy::{FakeProxy, endpoints};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use smov_model::wire::{FromProxy, ToProxy};
use smov_pki::{Authority, PluggedIn};

fn root() -> Authority {
    Authority::root("test", SystemTime::now()).unwrap()
}

fn under(root: &Authority) -> PluggedIn {
    PluggedIn::under(root, &root.intermediate("test", "ctx1", SystemTime::now()).unwrap())
}

fn secret(name: &str, plugged_in: &PluggedIn) -> Value {
    let data: serde_json::Map<String, Value> =
        plugged_in.texts().map(|(name, text)| (name.to_owned(), Value::from(STANDARD.encode(text)))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "istio-system"}, "data": data})
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn root_config_map(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-ca-root-cert", "namespace": namespace}})
}

async fn mesh_with(objects: impl IntoIterator<Item = Value>) -> Mesh {
    let (own, remote) = (FakeApi::start().await, FakeApi::start().await);
    own.apply([service(), pod("user-1", "127.9.1.1", "ctx1"), slice(&[("user-1", "127.9.1.1")])]);
    own.apply(objects);
    Mesh::start_with(own, remote).await
}

/// A proxy that has taken its first snapshot into use.
async fn proxy(mesh: &Mesh) -> FakeProxy {
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    proxy.use_until(|snapshot| endpoints(snapshot) == ["127.9.1.1"]).await;
    proxy
}

/// Asks with a new key; chain and roots.
async fn certificate(proxy: &mut FakeProxy) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    proxy.say(&FromProxy::CertificateRequest { public_key: STANDARD.encode(key.der_bytes()) }).await;
    match proxy.hear().await {
        ToProxy::Certificate { chain, roots, expires } => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            assert!((now + 3590..=now + 3600).contains(&expires), "one hour");
            (chain, roots)
        }
        other => panic!("a certificate, not {other:?}"),
    }
}

fn is_believed(chain: &str, roots: &str) -> bool {
    let read = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect::<Vec<_>>();
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(read(roots));
    let provider = rustls::crypto::ring::default_provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider.into()).build().unwrap();
    let chain = read(chain);
    verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).is_ok()
}

fn says(chain: &str, text: &str) -> bool {
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    der.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_workload_gets_the_identity_that_its_token_proves() {
    let root = root();
    let mesh = mesh_with([secret("cacerts", &under(&root))]).await;
    let mut proxy = proxy(&mesh).await;
    let (chain, roots) = certificate(&mut proxy).await;
    assert_eq!(roots, root.certificate());
    assert!(is_believed(&chain, &roots));
    assert!(says(&chain, "spiffe://cluster.local/ns/theater-msa/sa/user-service"));

    proxy.say(&FromProxy::CertificateRequest { public_key: STANDARD.encode([4; 12]) }).await;
    let ToProxy::CertificateRefused { reason } = proxy.hear().await else { panic!("refused") };
    assert!(reason.contains("P-256"), "{reason}");
    mesh.stop().await;
}

#[tokio::test]
async fn the_trust_domain_is_the_meshs() {
    let mesh_config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "trustDomain: theater.local"}});
    let mesh = mesh_with([secret("cacerts", &under(&root())), mesh_config]).await;
    let mut proxy = FakeProxy::greet(&mesh.socket, "user-1").await;
    let snapshot = proxy.use_until(|snapshot| endpoints(snapshot) == ["127.9.1.1"]).await;
    assert_eq!(&*snapshot.trust_domain, "theater.local");
    let (chain, _) = certificate(&mut proxy).await;
    assert!(says(&chain, "spiffe://theater.local/ns/theater-msa/sa/user-service"));

    // A new one is told at once, beside the snapshot that has it.
    let renamed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "trustDomain: cinema.local"}});
    mesh.own.apply([renamed]);
    let (mut has_snapshot, mut told) = (false, false);
    while !(has_snapshot && told) {
        match proxy.hear().await {
            ToProxy::Snapshot { snapshot } => {
                proxy.ack(&snapshot).await;
                has_snapshot = &*snapshot.trust_domain == "cinema.local";
            }
            ToProxy::CertificateRefused { reason } => told = reason.contains("the mesh's trust domain is cinema.local now"),
            other => panic!("{other:?}"),
        }
    }
    let (chain, _) = certificate(&mut proxy).await;
    assert!(says(&chain, "spiffe://cinema.local/ns/theater-msa/sa/user-service"));
    mesh.stop().await;
}

#[tokio::test]
async fn without_one_given_the_control_plane_makes_its_own_and_keeps_it() {
    let mesh = mesh_with([]).await;
    let mut asking = proxy(&mesh).await;
    let (chain, roots) = certificate(&mut asking).await;
    assert!(is_believed(&chain, &roots));
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 1, "the root signs itself");
    let made = mesh.own.find(&secret("istio-ca-secret", &under(&root()))).unwrap();
    assert_eq!(made["type"], "istio.io/ca-root");
    assert_eq!(STANDARD.decode(made["data"]["ca-cert.pem"].as_str().unwrap()).unwrap(), roots.as_bytes());

    let again = Mesh::start_with(mesh.own.clone(), mesh.remote.clone()).await;
    let mut asking = proxy(&again).await;
    assert_eq!(certificate(&mut asking).await.1, roots);
    mesh.stop().await;
    again.stop().await;
}

#[tokio::test]
async fn a_change_of_roots_reaches_everybody_without_a_restart() {
    let (old, new) = (root(), root());
    let mesh = mesh_with([secret("cacerts", &under(&old))]).await;
    let mut proxy = proxy(&mesh).await;
    let (old_chain, _) = certificate(&mut proxy).await;

    let mut both = under(&new);
    both.root_cert = format!("{}{}", old.certificate(), new.certificate());
    mesh.own.apply([secret("cacerts", &both)]);
    // Told to ask again, since it trusts the old root alone.
    let ToProxy::CertificateRefused { .. } = proxy.hear().await else { panic!("told to ask again") };
    let (chain, roots) = certificate(&mut proxy).await;
    assert_eq!(roots, both.root_cert);
    assert!(is_believed(&chain, &roots) && is_believed(&chain, new.certificate()) && is_believed(&old_chain, &roots));

    // Another intermediate under the same roots is no reason to hurry.
    let mut other = under(&new);
    other.root_cert.clone_from(&both.root_cert);
    mesh.own.apply([secret("cacerts", &other)]);
    let signed_by =
        |chain: &str| CertificateDer::pem_slice_iter(chain.as_bytes()).nth(1).map(|intermediate| intermediate.unwrap().to_vec());
    let before = signed_by(&chain);
    let deadline = SystemTime::now() + Duration::from_secs(20);
    while signed_by(&certificate(&mut proxy).await.0) == before {
        assert!(SystemTime::now() < deadline, "the new intermediate signs");
    }
    mesh.stop().await;
}

#[tokio::test]
async fn an_authority_that_nobody_would_believe_is_said_and_not_used() {
    let good = under(&root());
    let mesh = mesh_with([secret("cacerts", &PluggedIn { ca_key: under(&root()).ca_key, ..good.clone() })]).await;
    let mut proxy = proxy(&mesh).await;
    let key = KeyPair::generate().unwrap();
    proxy.say(&FromProxy::CertificateRequest { public_key: STANDARD.encode(key.der_bytes()) }).await;
    let ToProxy::CertificateRefused { reason } = proxy.hear().await else { panic!("refused") };
    assert!(reason.contains("does not lead to a root"), "{reason}");
    let findings = mesh.client.diagnostics().await.unwrap();
    let finding = findings.iter().find(|finding| finding.code == "authority-unusable").unwrap();
    assert!(finding.message.contains("no certificates") && finding.message_ko.contains("인증 기관"));

    mesh.own.apply([secret("cacerts", &good)]);
    eventually("it is mended", async || mesh.client.diagnostics().await.unwrap().iter().all(|found| found.code != "authority-unusable"))
        .await;
    let (chain, roots) = certificate(&mut proxy).await;
    assert!(is_believed(&chain, &roots));

    mesh.own
        .apply([json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": "istio-system"}, "data": {}})]);
    eventually("the trouble is said", async || {
        mesh.client.diagnostics().await.unwrap().iter().any(|found| found.message.contains("stays in use"))
    })
    .await;
    assert_eq!(certificate(&mut proxy).await.1, roots);
    mesh.stop().await;
}

#[tokio::test]
async fn every_namespace_is_told_whom_to_trust() {
    let (old, new) = (root(), root());
    let mesh = mesh_with([secret("cacerts", &under(&old)), namespace("theater-msa"), namespace("kube-system")]).await;
    let told = |namespace: &str| mesh.own.find(&root_config_map(namespace)).map(|found| found["data"]["root-cert.pem"].clone());
    eventually("it is told", async || told("theater-msa") == Some(old.certificate().into())).await;
    assert_eq!(mesh.own.find(&root_config_map("theater-msa")).unwrap()["metadata"]["labels"]["istio.io/config"], "true");
    mesh.own.apply([namespace("later")]);
    eventually("a later one too", async || told("later") == Some(old.certificate().into())).await;
    mesh.own.apply([secret("cacerts", &under(&new))]);
    eventually("of the change as well", async || {
        ["later", "theater-msa"].iter().all(|namespace| told(namespace) == Some(new.certificate().into()))
    })
    .await;
    mesh.own.delete(&root_config_map("later"));
    eventually("what is deleted comes back", async || told("later") == Some(new.certificate().into())).await;
    assert_eq!(told("kube-system"), None);
    mesh.stop().await;
}
