//! The proxy's certificate and when it asks for the next one.
//!
//! As Istio's agent does: a new key for every request, the next request after half of the lifetime, give or take one percent so that pods
//! that started together do not ask together, and the old certificate in use until the new one is there.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::issued::Issued;
pub use super::issued::UnusableCertificate;

/// Istio's `SECRET_GRACE_PERIOD_RATIO`: the share of the lifetime after which the next certificate is asked for.
const RENEW_AT: f64 = 0.5;
/// Istio's `SECRET_GRACE_PERIOD_RATIO_JITTER`.
const JITTER: f64 = 0.01;
/// How long an answer may take before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the wall clock is looked at.
const CLOCK_CHECK: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// However short-lived certificates are.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// One proxy's certificate, always the latest. Shared by whoever asks for it and whoever uses it.
pub struct Certificates {
    current: ArcSwapOption<Issued>,
    /// Guards what is asked for; never taken for a request or a connection.
    asking: Mutex<Asking>,
    /// Told when `asking` moved.
    moved: Notify,
    changed: watch::Sender<u64>,
}

struct Asking {
    /// The key of the request that has no answer yet.
    key: Option<PrivatePkcs8KeyDer<'static>>,
    /// When to ask next.
    next: Instant,
    /// The same by the wall clock, seconds since 1970; `None` = only `next` counts.
    renew_at: Option<u64>,
    refusals: u32,
    number: u64,
}

/// A certificate with its key as text, for a data plane that takes files or secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedPem {
    /// The chain, the workload's own certificate first.
    pub chain: String,
    /// The key, PKCS #8.
    pub private_key: String,
    /// Whom to trust.
    pub roots: String,
    /// The workload's identity (`spiffe://…`).
    pub identity: String,
    /// End of the certificate, seconds since 1970.
    pub expires: u64,
}

impl std::fmt::Debug for IssuedPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedPem").field("identity", &self.identity).field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("identity", &self.current().map(|issued| issued.principal.clone())).finish_non_exhaustive()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            asking: Mutex::new(Asking { key: None, next: Instant::now(), renew_at: None, refusals: 0, number: 0 }),
            moved: Notify::new(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Certificates {
    /// Makes a key and gives its public half for [`smov_model::wire::FromProxy::CertificateRequest`]. The answer is for this key alone.
    pub fn request(&self) -> Result<String, UnusableCertificate> {
        let random = SystemRandom::new();
        let mut asking = self.asking();
        // A question that is still open is asked again for the same key: whichever answer comes first fits.
        let key: Vec<u8> = match &asking.key {
            Some(key) => key.secret_pkcs8_der().to_vec(),
            None => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
                .map_err(|_| UnusableCertificate::Key)?
                .as_ref()
                .to_vec(),
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random).map_err(|_| UnusableCertificate::Key)?;
        asking.key = Some(key.into());
        asking.next = Instant::now() + PATIENCE;
        asking.renew_at = None;
        Ok(BASE64_STANDARD.encode(pair.public_key().as_ref()))
    }

    /// Takes the answer to [`Self::request`] into use: the next connection is made with it. One that cannot be used is asked for again.
    pub fn take(&self, chain: &str, roots: &str) -> Result<(), UnusableCertificate> {
        let mut asking = self.asking();
        let key = asking.key.take().ok_or(UnusableCertificate::NotAsked)?;
        let issued = match Issued::new(asking.number + 1, key, chain, roots) {
            Ok(issued) => issued,
            Err(error) => {
                drop(asking);
                self.refused(&error.to_string());
                return Err(error);
            }
        };
        let lifetime = Duration::from_secs(issued.own().not_after.saturating_sub(super::now()));
        let share = RENEW_AT + JITTER * rand::random_range(-1.0..=1.0);
        info!(identity = %issued.principal, serial = %issued.own().serial, lifetime = lifetime.as_secs(), "certificate in use");
        asking.number += 1;
        asking.refusals = 0;
        let wait = lifetime.mul_f64(share).max(SHORTEST_WAIT);
        asking.next = Instant::now() + wait;
        asking.renew_at = Some(super::now() + wait.as_secs() + 1);
        // Under the lock, so that a later one is never replaced by an earlier.
        self.current.store(Some(Arc::new(issued)));
        self.changed.send_modify(|count| *count += 1);
        drop(asking);
        self.moved.notify_one();
        Ok(())
    }

    /// There was none; the question is asked again, later and later.
    pub fn refused(&self, reason: &str) {
        let mut asking = self.asking();
        let wait = FIRST_WAIT.saturating_mul(1 << asking.refusals.min(16)).min(LONGEST_WAIT).mul_f64(rand::random_range(0.75..=1.0));
        warn!(reason, again_in = wait.as_millis() as u64, "no certificate; the one before it stays in use");
        asking.key = None;
        asking.refusals += 1;
        asking.next = Instant::now() + wait;
        drop(asking);
        self.moved.notify_one();
    }

    /// A stream to the control plane is open: what was asked on another one is asked again.
    pub fn reconnected(&self) {
        let mut asking = self.asking();
        if asking.key.take().is_some() || self.current.load().is_none() {
            asking.next = Instant::now();
        }
        drop(asking);
        self.moved.notify_one();
    }

    /// Waits until it is time to ask.
    pub async fn due(&self) {
        loop {
            let (next, renew_at) = {
                let asking = self.asking();
                (asking.next, asking.renew_at)
            };
            if Instant::now() >= next || renew_at.is_some_and(|at| super::now() >= at) {
                return;
            }
            // The clock of timers stands still while a laptop sleeps; certificates end all the same.
            tokio::select! {
                () = sleep_until(next.min(Instant::now() + CLOCK_CHECK)) => {}
                () = self.moved.notified() => {}
            }
        }
    }

    /// Hears of every new certificate.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The certificate in use, as text and with its key: for a data plane that is another process on this machine.
    pub fn issued(&self) -> Option<IssuedPem> {
        self.current().map(|issued| IssuedPem {
            chain: issued.chain_pem.clone(),
            private_key: pem("PRIVATE KEY", issued.key.secret_pkcs8_der()),
            roots: issued.roots_pem.clone(),
            identity: issued.principal.to_string(),
            expires: issued.own().not_after,
        })
    }

    pub(crate) fn current(&self) -> Option<Arc<Issued>> {
        self.current.load_full()
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().expect("no panic while a certificate is asked for")
    }
}

/// PEM with lines of 64 letters.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
