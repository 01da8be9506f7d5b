//! The cluster's authority, as istiod's: it signs who a workload is, by the account that its token proves.
//!
//! ```text
//! Secret cacerts ─┐
//!                 ├─► secrets ──watch──► Authority ─► certificates of workloads
//! istio-ca-secret ┘      │
//!                        └──watch──► root_config_maps ─► ConfigMap istio-ca-root-cert in every namespace
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use smov_istio::diagnostic::{Diagnostic, Severity};
use smov_model::names::{Namespace, ResourceRef, ServiceAccount};
use smov_model::tls::SpiffeId;
use smov_model::wire::ToProxy;
use smov_pki::{PluggedIn, PublicKey, Signer};
use tokio::sync::watch;

pub(crate) mod root_config_maps;
pub(crate) mod secrets;

/// What signs at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The last good one; `None` = none was read yet.
    pub(crate) signer: Option<Arc<Signer>>,
    /// Why what is written now is not in use.
    pub(crate) trouble: Option<String>,
}

impl State {
    /// Was there an answer, good or bad?
    fn is_settled(&self) -> bool {
        self.signer.is_some() || self.trouble.is_some()
    }

    /// Whom everybody trusts.
    fn roots(&self) -> Option<&str> {
        self.signer.as_ref().map(|signer| signer.roots())
    }
}

/// Gives certificates. Cheap to clone: one for each stream.
#[derive(Clone)]
pub(crate) struct Authority {
    state: watch::Receiver<State>,
    lifetime: Duration,
    root_namespace: Namespace,
}

/// Who a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) namespace: Namespace,
    pub(crate) service_account: ServiceAccount,
}

impl Authority {
    pub(crate) fn new(state: watch::Receiver<State>, lifetime: Duration, root_namespace: Namespace) -> Self {
        Self { state, lifetime, root_namespace }
    }

    /// Waits until there is an answer to give.
    pub(crate) async fn settled(&mut self) {
        // The sender lives as long as the control plane.
        let _ = self.state.wait_for(State::is_settled).await;
    }

    /// Waits until others are trusted than `roots`.
    pub(crate) async fn other_roots(&mut self, roots: &str) {
        let _ = self.state.wait_for(|state| state.roots().is_some_and(|new| new != roots)).await;
    }

    /// The answer to a request for a certificate.
    pub(crate) fn answer(&self, public_key: &str, subject: &Subject, trust_domain: &str) -> ToProxy {
        let refused = |reason: String| ToProxy::CertificateRefused { reason };
        let state = self.state.borrow().clone();
        let Some(signer) = state.signer else {
            return refused(format!("there is no authority: {}", state.trouble.unwrap_or_else(|| "none was read yet".to_owned())));
        };
        let bytes = base64::engine::general_purpose::STANDARD.decode(public_key).unwrap_or_default();
        let key = match PublicKey::try_from(bytes.as_slice()) {
            Ok(key) => key,
            Err(error) => return refused(error.to_string()),
        };
        let identity = SpiffeId {
            trust_domain: trust_domain.into(),
            namespace: subject.namespace.clone(),
            service_account: subject.service_account.clone(),
        };
        match signer.sign(&key, &identity, self.lifetime, SystemTime::now()) {
            Ok(signed) => ToProxy::Certificate { chain: signed.chain, roots: signer.roots().to_owned(), expires: signed.expires },
            Err(error) => refused(error.to_string()),
        }
    }

    /// What is wrong with the Secret.
    pub(crate) fn finding(&self) -> Option<Diagnostic> {
        let trouble = self.state.borrow().trouble.clone()?;
        let resource = ResourceRef {
            kind: "Secret".to_owned(),
            namespace: self.root_namespace.to_string(),
            name: PluggedIn::SECRET.to_owned(),
            resource_version: String::new(),
        };
        let kept = self.state.borrow().signer.is_some();
        let (after, after_ko) = if kept {
            ("the authority before it stays in use", "그 전의 인증 기관을 계속 씁니다")
        } else {
            ("workloads get no certificates", "워크로드가 인증서를 받지 못합니다")
        };
        Some(Diagnostic::new(
            "authority-unusable",
            Severity::Error,
            &resource,
            "data",
            format!("{trouble}; {after}"),
            format!("인증 기관으로 쓸 수 없습니다: {trouble}. {after_ko}"),
        ))
    }
}
