//! Where the authority comes from: Istio's `cacerts`, else its `istio-ca-secret`, which is made where there is neither.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};
use smov_model::names::{KubeCluster, Namespace};
use smov_model::tls::DEFAULT_TRUST_DOMAIN;
use smov_pki::{Authority, PluggedIn, Signer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::State;
use crate::api_server::ApiServer;
use crate::remotes::Sources;
use crate::source::{News, SourceEvent, SourceKind, describe, describe_api};

/// How long until an authority is tried to be made again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the two Secrets.
pub(crate) struct AuthoritySecrets {
    root_namespace: Namespace,
    server: ApiServer,
    state: watch::Sender<State>,
    /// The Secrets that hold an authority, by name.
    found: BTreeMap<&'static str, Value>,
    /// What was tried last.
    tried: Option<PluggedIn>,
}

impl AuthoritySecrets {
    pub(crate) fn new(root_namespace: Namespace, server: ApiServer) -> (Self, watch::Receiver<State>) {
        let (state, view) = watch::channel(State::default());
        (Self { root_namespace, server, state, found: BTreeMap::new(), tried: None }, view)
    }

    /// Follows them until `shutdown`.
    pub(crate) async fn run(mut self, own: KubeCluster, shutdown: CancellationToken) {
        let (sender, mut events) = mpsc::channel::<SourceEvent>(16);
        let kinds = std::iter::once(SourceKind::AuthoritySecret);
        let sources = Sources::start(&own, &self.root_namespace, &self.server, kinds, &sender);
        let mut retry = false;
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.recv() => event,
                () = tokio::time::sleep(AGAIN), if retry => None,
            };
            if let Some(event) = event {
                if !self.take(event.news) {
                    continue;
                }
            } else if !retry {
                break;
            }
            retry = !self.settle().await;
        }
        sources.stop().await;
    }

    /// Says whether something may be another than before.
    fn take(&mut self, news: News) -> bool {
        match news {
            News::Listed(objects) => {
                self.found.clear();
                objects.into_iter().for_each(|object| self.keep(object));
            }
            News::Applied(object) => self.keep(object),
            News::Deleted(object) => {
                if let Some(name) = known(&object) {
                    self.found.remove(name);
                }
            }
            News::Alive | News::Failed(_) => return false,
        }
        true
    }

    fn keep(&mut self, object: Value) {
        if let Some(name) = known(&object) {
            self.found.insert(name, object);
        }
    }

    /// Takes what is there into use. Says whether there is something.
    async fn settle(&mut self) -> bool {
        let chosen = [PluggedIn::SECRET, PluggedIn::OWN_SECRET].into_iter().find_map(|name| Some((name, self.found.get(name)?)));
        let Some((name, secret)) = chosen else {
            // A Secret that is taken away, as `kubectl replace --force` does, changes nothing before another one comes.
            let has_one = self.state.borrow().signer.is_some();
            return has_one || self.found_one().await;
        };
        let Some(plugged_in) = read(secret) else {
            let (cert, key) = (PluggedIn::KEYS[0], PluggedIn::KEYS[1]);
            self.trouble(format!("Secret `{name}` lacks {cert} or {key}"));
            return true;
        };
        if self.tried.as_ref() == Some(&plugged_in) {
            self.state.send_if_modified(|state| state.signer.is_some() && state.trouble.take().is_some());
            return true;
        }
        match Signer::new(&plugged_in, SystemTime::now()) {
            Ok(signer) => {
                info!(secret = name, expires = signer.expires(), "workloads are signed with this authority");
                self.state.send_replace(State { signer: Some(Arc::new(signer)), trouble: None });
            }
            Err(error) => self.trouble(format!("Secret `{name}`: {}", describe(&error))),
        }
        self.tried = Some(plugged_in);
        true
    }

    fn trouble(&self, trouble: String) {
        warn!(trouble, "the authority cannot be used, the one before it stays");
        self.state.send_modify(|state| state.trouble = Some(trouble));
    }

    /// Nobody has given an authority: a root that signs workloads itself, as Istio makes it. It comes into use when the Secret is seen.
    async fn found_one(&self) -> bool {
        let made = Authority::root(DEFAULT_TRUST_DOMAIN, SystemTime::now());
        let plugged_in = match &made {
            Ok(root) => PluggedIn::alone(root),
            Err(error) => {
                self.trouble(describe(error));
                return false;
            }
        };
        let data: serde_json::Map<_, _> = plugged_in
            .texts()
            .filter(|(name, _)| PluggedIn::KEYS[..2].contains(name))
            .map(|(name, text)| (name.to_owned(), Value::from(STANDARD.encode(text))))
            .collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "istio.io/ca-root",
            "metadata": {"name": PluggedIn::OWN_SECRET, "namespace": self.root_namespace.as_str()},
            "data": data,
        });
        let request = Request::post(format!("/api/v1/namespaces/{}/secrets", self.root_namespace))
            .header("content-type", "application/json")
            .body(secret.to_string().into_bytes());
        let Ok(request) = request else { return false };
        match self.server.client().request::<Value>(request).await {
            Ok(_) => info!(secret = PluggedIn::OWN_SECRET, "no authority was given, one was made"),
            // Another control plane was faster: its Secret is seen in a moment.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => {
                self.trouble(format!("Secret `{}` cannot be made: {}", PluggedIn::OWN_SECRET, describe_api(&error)));
                return false;
            }
        }
        true
    }
}

fn known(secret: &Value) -> Option<&'static str> {
    let name = secret.pointer("/metadata/name").and_then(Value::as_str)?;
    [PluggedIn::SECRET, PluggedIn::OWN_SECRET].into_iter().find(|known| *known == name)
}

fn read(secret: &Value) -> Option<PluggedIn> {
    PluggedIn::read(|name| {
        let bytes = STANDARD.decode(secret.get("data")?.get(name)?.as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    })
}
