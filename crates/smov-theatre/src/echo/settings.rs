//! The echo as a pod: told by its environment where to listen and what to play.

use std::collections::HashMap;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::{Echo, Script, Server};
use crate::environment::InvalidVariable;
use crate::identity::{Identity, cluster_in};
use crate::serve::{self, BindError, ListenOn};

/// The port where nothing else is said.
const PORT: u16 = 8080;

/// What the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who answers: `HOSTNAME`, `CLUSTER_NAME`, `SERVICE_NAME` (else `echo`), `APP_VERSION`.
    pub identity: Identity,
    /// What is played at first: `ECHO_SCRIPT`; 200 always without one.
    pub script: Script,
    /// `SMOV_APP_SOCKET`, else `PORT` (8080) on all addresses.
    pub listen_on: ListenOn,
}

impl Settings {
    /// The settings of this process.
    pub fn from_process() -> Result<Self, InvalidVariable> {
        Self::parse(|name| std::env::var(name).ok())
    }

    /// Settings of one's own, for tests.
    pub fn from_map(map: &HashMap<String, String>) -> Result<Self, InvalidVariable> {
        Self::parse(|name| map.get(name).cloned())
    }

    fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        let variable = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let invalid = |name, value: &str, reason: String| InvalidVariable { variable: name, value: value.to_owned(), reason };
        let pod = variable("HOSTNAME").unwrap_or_else(|| "unknown".to_owned());
        let port = match variable("PORT") {
            Some(text) => text.parse().map_err(|_| invalid("PORT", &text, "a port is a number from 1 to 65535".to_owned()))?,
            None => PORT,
        };
        let text = variable("ECHO_SCRIPT").unwrap_or_default();
        Ok(Self {
            identity: Identity {
                cluster: variable("CLUSTER_NAME").unwrap_or_else(|| cluster_in(&pod).to_owned()),
                service: variable("SERVICE_NAME").unwrap_or_else(|| "echo".to_owned()),
                version: variable("APP_VERSION").unwrap_or_else(|| "v1".to_owned()),
                pod,
            },
            script: text.parse().map_err(|error: super::InvalidScript| invalid("ECHO_SCRIPT", &text, error.to_string()))?,
            listen_on: variable("SMOV_APP_SOCKET").map_or(ListenOn::Port(port), |path| ListenOn::Socket(PathBuf::from(path))),
        })
    }
}

/// Serves until `shutdown`.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), BindError> {
    let listener = serve::bind(&settings.listen_on).await?;
    tracing::info!(pod = settings.identity.pod, "echo listens");
    Server::new(Echo::new(settings.identity, settings.script), listener).run(shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_script_answers_200() {
        let settings = Settings::from_map(&HashMap::from([("HOSTNAME".to_owned(), "echo-ctx2-1".to_owned())])).unwrap();
        assert_eq!((settings.script, settings.identity.cluster.as_str()), (Script::default(), "ctx2"));
        assert_eq!(settings.listen_on, ListenOn::Port(8080));
    }

    #[test]
    fn a_script_that_is_none_is_refused_by_name() {
        let error = Settings::from_map(&HashMap::from([("ECHO_SCRIPT".to_owned(), "503, teapot".to_owned())])).unwrap_err();
        assert_eq!(error.variable, "ECHO_SCRIPT");
        assert!(error.reason.contains("teapot"), "{error}");
    }
}
