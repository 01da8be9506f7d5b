//! Switches that make this pod really fail: answer 5xx, answer late, hang, forget trace headers.
//!
//! They are plain files, the keys of an optional ConfigMap that is mounted into the pods ([`FOLDER`]) and read again when it changes, so
//! nothing restarts. A key says which pods are meant, its value what they do:
//!
//! ```text
//! user-service           every pod of the service        fail 30% 503
//! user-service.v2        of this version                 slow 50% 2s
//! user-service.ctx2      of this cluster                 hang 5%
//! user-service.ctx2.v2   of both                         drop-headers
//! user-service-ctx2-…    this pod                        off
//! ```
//!
//! The key furthest down that is there holds. A request of the theatre that a switch touched says so in `x-app-switch`; health checks are
//! never touched, so the pod stays ready and only the mesh can notice. While nothing is switched on, a request costs one look at a flag.

mod words;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderName, StatusCode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::words::{Act, Acts};
use crate::{ServiceName, identity::Identity};

/// Where the ConfigMap is mounted, below the pod's root.
pub const FOLDER: &str = "etc/smov/switches";
/// What a switch did to the request that this answers.
pub const X_APP_SWITCH: HeaderName = HeaderName::from_static("x-app-switch");
/// Between looks at the folder.
const LOOK: Duration = Duration::from_millis(200);

/// The switches of one pod.
#[derive(Debug)]
pub struct Switches {
    /// The names of files that are meant for this pod, the one that wins first.
    names: Vec<String>,
    armed: AtomicBool,
    acts: watch::Sender<Arc<Acts>>,
    /// Requests that were looked at while something was on: what their dice are made from.
    count: AtomicU64,
    salt: u64,
    pub(crate) touched: AtomicU64,
}

/// What happens to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) wait: Option<Duration>,
    pub(crate) hang: bool,
    pub(crate) fail: Option<StatusCode>,
    /// What touched it, as the switch says it.
    pub(crate) said: String,
}

impl Switches {
    /// All off.
    pub fn new(service: ServiceName, identity: &Identity) -> Self {
        let Identity { cluster, version, pod, .. } = identity;
        let names = vec![
            pod.clone(),
            format!("{service}.{cluster}.{version}"),
            format!("{service}.{cluster}"),
            format!("{service}.{version}"),
            service.to_string(),
        ];
        let salt = pod.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Self {
            names,
            armed: AtomicBool::new(false),
            acts: watch::Sender::new(Arc::default()),
            count: AtomicU64::new(0),
            salt,
            touched: AtomicU64::new(0),
        }
    }

    /// Follows the folder until `stop`. Where it is not mounted, everything stays off.
    pub async fn follow(&self, folder: PathBuf, stop: CancellationToken) {
        let mut last = None;
        loop {
            let now = stamp(&folder);
            // Files without a stamp of the kubelet's are read each time.
            if now.is_none() || now != last {
                self.look(&folder);
                last = now;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        // Whoever hangs is let go.
        self.set(Acts::default());
    }

    /// Reads the folder once.
    fn look(&self, folder: &Path) {
        let found = self.names.iter().find_map(|name| std::fs::read_to_string(folder.join(name)).ok().map(|text| (name, text)));
        let Some((name, text)) = found else { return self.set(Acts::default()) };
        match text.parse::<Acts>() {
            Ok(acts) => self.set(acts),
            Err(error) => {
                if self.set_changed(Acts::default()) {
                    tracing::info!("app switch: off");
                }
                tracing::warn!(key = name, value = text.trim(), %error, "app switch cannot be read; nothing is switched on");
            }
        }
    }

    fn set(&self, acts: Acts) {
        let said = acts.to_string();
        if self.set_changed(acts) {
            tracing::info!("app switch: {said}");
        }
    }

    fn set_changed(&self, acts: Acts) -> bool {
        let armed = acts != Acts::default();
        let changed = self.acts.send_if_modified(|now| {
            let changed = **now != acts;
            if changed {
                *now = Arc::new(acts);
            }
            changed
        });
        self.armed.store(armed, Relaxed);
        changed
    }

    /// What is switched on, in the words of a switch; `off`.
    #[cfg(test)]
    fn said(&self) -> String {
        self.acts.borrow().to_string()
    }

    /// Whether anything is on.
    pub(crate) fn armed(&self) -> bool {
        self.armed.load(Relaxed)
    }

    /// Whether calls further on go without trace headers and canary.
    pub(crate) fn drops_headers(&self) -> bool {
        self.armed() && self.acts.borrow().drop_headers
    }

    /// What happens to the next request; `None` = nothing.
    pub(crate) fn fate(&self) -> Option<Fate> {
        let acts = self.acts.borrow().clone();
        let draw = mixed(self.salt ^ self.count.fetch_add(1, Relaxed));
        let mut fate = Fate::default();
        let mut said = Vec::new();
        for (place, act) in acts.list.iter().enumerate() {
            // Each act has dice of its own.
            if mixed(draw.wrapping_add(place as u64)) % 10_000 >= u64::from(act.share()) {
                continue;
            }
            match act {
                Act::Fail { status, .. } => fate.fail = Some(*status),
                Act::Slow { time, .. } => fate.wait = Some(*time),
                Act::Hang { .. } => fate.hang = true,
            }
            said.push(act.to_string());
        }
        if said.is_empty() {
            return None;
        }
        self.touched.fetch_add(1, Relaxed);
        fate.said = said.join("; ");
        Some(fate)
    }

    /// Until nobody is to hang any more.
    pub(crate) async fn released(&self) {
        let hangs = |acts: &Arc<Acts>| acts.list.iter().any(|act| matches!(act, Act::Hang { .. }));
        // The sender lives as long as this does.
        let _ = self.acts.subscribe().wait_for(|acts| !hangs(acts)).await;
    }
}

/// Changes whenever the kubelet has replaced the content.
fn stamp(folder: &Path) -> Option<PathBuf> {
    std::fs::read_link(folder.join("..data")).ok()
}

/// SplitMix64: spreads a counter over all numbers, the same in each run.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches() -> Switches {
        let identity =
            Identity { cluster: "ctx2".into(), pod: "user-service-ctx2-a-b".into(), service: "user-service".into(), version: "v2".into() };
        Switches::new(ServiceName::User, &identity)
    }

    fn said(keys: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (key, value) in keys {
            std::fs::write(folder.path().join(key), value).unwrap();
        }
        let switches = switches();
        switches.look(folder.path());
        assert_eq!(switches.armed(), switches.said() != "off");
        switches.said()
    }

    #[test]
    fn nothing_is_on_without_a_key_for_this_pod() {
        assert_eq!(said(&[]), "off");
        assert_eq!(said(&[("movie-service", "fail 100%"), ("user-service.ctx1", "fail 100%"), ("user-service.v1", "hang 1%")]), "off");
    }

    #[test]
    fn the_most_special_key_holds() {
        let keys = [
            ("user-service", "fail 1% 500"),
            ("user-service.v2", "fail 2% 500"),
            ("user-service.ctx2", "fail 3% 500"),
            ("user-service.ctx2.v2", "fail 4% 500"),
            ("user-service-ctx2-a-b", "off"),
        ];
        for count in 1..=keys.len() {
            let expected = keys[count - 1].1;
            assert_eq!(said(&keys[..count]), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_switches_nothing_on() {
        assert_eq!(said(&[("user-service", "explode")]), "off");
    }

    #[test]
    fn the_share_of_requests_is_as_the_switch_says() {
        let switches = switches();
        switches.set("fail 30% 503".parse().unwrap());
        let failed = (0..10_000).filter(|_| switches.fate().is_some_and(|fate| fate.fail == Some(StatusCode::SERVICE_UNAVAILABLE))).count();
        assert!((2_800..3_200).contains(&failed), "{failed}");
        switches.set("fail 100% 500".parse().unwrap());
        assert!((0..1_000).all(|_| switches.fate().is_some()));
        switches.set(Acts::default());
        assert!(!switches.armed());
    }

    #[test]
    fn two_acts_have_dice_of_their_own() {
        let switches = switches();
        switches.set("fail 50%; slow 50% 10ms".parse().unwrap());
        let fates: Vec<_> = (0..1_000).map(|_| switches.fate().unwrap_or_default()).collect();
        for (slow, fails) in [(true, true), (true, false), (false, true), (false, false)] {
            let count = fates.iter().filter(|fate| (fate.wait.is_some(), fate.fail.is_some()) == (slow, fails)).count();
            assert!((180..320).contains(&count), "{slow} {fails}: {count}");
        }
    }
}
