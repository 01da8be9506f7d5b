//! The link between the two local clusters, as an object: what it is like, and how that is changed.
//!
//! Every cross-cluster connection passes it: proxies are told so by their control plane ([`addresses`]), clients of the other cluster's API
//! server by their kubeconfig. What it is like is an object, the ConfigMap `smov-link` of ctx1's `istio-system`, so that `smov link`, the
//! page and kubectl change it in one way; what holds is written back as its annotation.

use std::time::Duration;

use serde_json::{Value, json};
use smov_cluster::kinds::CONFIG_MAP;
use smov_link::{Settings, State};
use smov_model::link::LinkAddresses;

use crate::duration;
use crate::kube_api::{CallError, Cluster};

mod keeper;

pub(crate) use keeper::Keeper;

/// The object that says what the link is like.
pub(crate) const NAME: &str = "smov-link";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "istio-system";
/// The cluster that has it.
pub(crate) const CLUSTER: &str = "ctx1";
/// What holds: the settings as [`describe`] writes them, or what is wrong with the object.
pub(crate) const IN_FORCE: &str = "smov.dev/in-force";
/// To what and when it goes back by itself; whoever changes the link takes that back.
pub(crate) const RESTORE: &str = "smov.dev/restore";
/// The label by which the page finds it.
pub(crate) const LABEL: &str = "smov.dev/link";

/// Third numbers of pods end before this, those of addresses through the link begin after it.
const OFFSET: u8 = 100;

/// Addresses through the link.
pub(crate) fn addresses() -> LinkAddresses {
    LinkAddresses { offset: OFFSET }
}

/// The object of a link that was never touched.
pub(crate) fn first_object() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { LABEL: "between-clusters" } },
        "data": { "state": "up", "latency": "0ms", "jitter": "0ms" },
    })
}

/// Reads the object's data. What is absent is as on a link that was never touched.
pub(crate) fn settings_of(object: &Value) -> Result<Settings, String> {
    let text = |key: &str| object["data"][key].as_str();
    let time =
        |key: &str| text(key).map_or(Ok(Duration::ZERO), |value| duration::parse(value).map_err(|error| format!("data.{key}: {error}")));
    let state = text("state").map_or(Ok(State::Up), str::parse).map_err(|error| format!("data.state: {error}"))?;
    Settings { state, latency: time("latency")?, jitter: time("jitter")? }.checked().map_err(|error| format!("data: {error}"))
}

/// The settings in one line, the same everywhere: `up latency=8ms jitter=0ms`.
pub(crate) fn describe(settings: &Settings) -> String {
    let milliseconds = |time: Duration| format!("{}ms", time.as_secs_f64() * 1000.0);
    format!("{} latency={} jitter={}", settings.state, milliseconds(settings.latency), milliseconds(settings.jitter))
}

/// The object's data for these settings.
pub(crate) fn data(settings: &Settings) -> Value {
    let milliseconds = |time: Duration| format!("{}ms", time.as_secs_f64() * 1000.0);
    json!({ "state": settings.state.as_str(), "latency": milliseconds(settings.latency), "jitter": milliseconds(settings.jitter) })
}

/// How long the link may take to be as it was told.
const PATIENCE: Duration = Duration::from_secs(5);

/// A change of the link; what is absent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) state: Option<State>,
    pub(crate) latency: Option<Duration>,
    pub(crate) jitter: Option<Duration>,
}

impl Change {
    /// Back to a plain link.
    pub(crate) const RESTORE: Self = Self { state: Some(State::Up), latency: Some(Duration::ZERO), jitter: Some(Duration::ZERO) };

    fn of(self, now: Settings) -> Settings {
        let latency = self.latency.unwrap_or(now.latency);
        // Jitter that stays must not be in the way of a shorter latency.
        let jitter = self.jitter.unwrap_or(now.jitter.min(latency));
        Settings { state: self.state.unwrap_or(now.state), latency, jitter }
    }
}

/// Why a link did not change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// There is no link: these clusters are not local ones.
    #[error("there is no ConfigMap {NAMESPACE}/{NAME}: these clusters have no link of smov's")]
    None,
    /// A link cannot be so.
    #[error("{0}")]
    Invalid(String),
    /// The API server.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nobody keeps the link.
    #[error("the link is not as it was told after five seconds; it is `{0}`")]
    NotInForce(String),
}

/// What holds now, in [`describe`]'s words.
pub(crate) async fn in_force(cluster: &Cluster) -> Result<String, ChangeError> {
    let object = cluster.get(&CONFIG_MAP, NAMESPACE, NAME).await?.ok_or(ChangeError::None)?;
    Ok(told(&object))
}

pub(crate) fn told(object: &Value) -> String {
    object["metadata"]["annotations"][IN_FORCE].as_str().unwrap_or("unknown").to_owned()
}

/// Reads a line of [`describe`]'s.
pub(crate) fn described(line: &str) -> Option<Settings> {
    let mut words = line.split(' ');
    let state = words.next()?.parse().ok()?;
    let mut time = |key: &str| duration::parse(words.next()?.strip_prefix(key)?).ok();
    Some(Settings { state, latency: time("latency=")?, jitter: time("jitter=")? })
}

/// Changes the link and waits until the change holds.
pub(crate) async fn change(cluster: &Cluster, change: Change) -> Result<Settings, ChangeError> {
    let object = cluster.get(&CONFIG_MAP, NAMESPACE, NAME).await?.ok_or(ChangeError::None)?;
    let settings = change.of(settings_of(&object).unwrap_or_default());
    settings.checked().map_err(|error| ChangeError::Invalid(error.to_string()))?;
    cluster
        .patch(&CONFIG_MAP, NAMESPACE, NAME, &json!({ "metadata": { "annotations": { RESTORE: null } }, "data": data(&settings) }))
        .await?;
    let wanted = describe(&settings);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = in_force(cluster).await?;
        if now == wanted {
            return Ok(settings);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(ChangeError::NotInForce(now));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_was_never_touched_is_a_plain_link() {
        assert_eq!(settings_of(&first_object()), Ok(Settings::default()));
        assert_eq!(settings_of(&json!({})), Ok(Settings::default()));
    }

    #[test]
    fn settings_are_read_and_described() {
        let object = json!({ "data": { "state": "stalled", "latency": "8ms", "jitter": "1.5ms" } });
        let settings = settings_of(&object).unwrap();
        assert_eq!(describe(&settings), "stalled latency=8ms jitter=1.5ms");
        assert_eq!(described("stalled latency=8ms jitter=1.5ms"), Some(settings));
        assert_eq!(described("refused: data.state"), None);
    }

    #[test]
    fn what_a_change_leaves_out_stays() {
        let ms = Duration::from_millis;
        let now = Settings { state: State::Cut, latency: ms(8), jitter: ms(2) };
        assert_eq!(Change { latency: Some(ms(20)), ..Change::default() }.of(now), Settings { latency: ms(20), ..now });
        assert_eq!(Change { latency: Some(ms(1)), ..Change::default() }.of(now), Settings { latency: ms(1), jitter: ms(1), ..now });
        assert_eq!(Change::RESTORE.of(now), Settings::default());
    }

    #[test]
    fn a_mistake_says_where_it_is() {
        for (data, words) in [
            (json!({ "state": "off" }), "data.state: `off` is no state of a link"),
            (json!({ "latency": "8 parsecs" }), "data.latency"),
            (json!({ "latency": "-1s" }), "data.latency"),
            (json!({ "latency": "1ms", "jitter": "2ms" }), "jitter must not be more"),
        ] {
            let error = settings_of(&json!({ "data": data })).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
