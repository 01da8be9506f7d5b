//! What a pod is told by its environment, read once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use smov_telemetry::export::{Collector, InvalidCollector};

use crate::{
    ServiceName,
    client::{Origin, Proxy},
    identity::{Identity, cluster_in},
    serve::ListenOn,
    store::StoreLocation,
};

/// Without an answer's headers for so long, a call to another service has failed.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// The sample's store, where nothing else is said.
const DEFAULT_STORE: &str = "redis:6379";

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `HOSTNAME`, `unknown` when unset.
    pub pod: String,
    /// `CLUSTER_NAME`, else from the pod's name, else `unknown`.
    pub cluster: String,
    /// `APP_VERSION`, else `v1`.
    pub version: String,
    /// `SMOV_APP_SOCKET`.
    pub socket: Option<PathBuf>,
    /// `PORT`; each service has its own default.
    pub port: Option<u16>,
    /// `STORE_URL`, else `REDIS_URL`, else the sample's Redis.
    pub store: StoreLocation,
    /// `USER_SERVICE_URL`.
    pub user_service: Origin,
    /// `MOVIE_SERVICE_URL`.
    pub movie_service: Origin,
    /// `BOOKING_SERVICE_URL`.
    pub booking_service: Origin,
    /// `http_proxy` and `no_proxy`.
    pub proxy: Option<Proxy>,
    /// `COPY_HEADERS=off` stops the copying of trace headers and `x-canary` to calls further on.
    pub copy_headers: bool,
    /// `TRACE_HEADERS=drop` hands nothing on that holds a trace together, and `x-canary` as ever. By default `keep`.
    pub trace_headers: bool,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: who gets the app's spans; nobody when unset.
    pub collector: Option<Collector>,
    /// `OTEL_SERVICE_NAME`: the app's name in traces, else its own and the namespace's.
    pub trace_name: Option<String>,
    /// `POD_NAMESPACE`.
    pub namespace: Option<String>,
    /// `GATEWAY_KEEP_HOST=on`: the gateway asks for the browser's authority instead of the service's.
    pub keep_host: bool,
    /// Where the app's switches are mounted: [`crate::switches::FOLDER`] below `SMOV_ROOT`, or below `/`.
    pub switches: PathBuf,
    /// `UPSTREAM_TIMEOUT_MS`.
    pub upstream_timeout: Duration,
}

/// A variable that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable `{variable}` is `{value}`: {reason}")]
pub struct InvalidVariable {
    /// Its name.
    pub variable: &'static str,
    /// What it says.
    pub value: String,
    /// What it should say.
    pub reason: String,
}

impl Environment {
    /// The environment of this process.
    pub fn from_process() -> Result<Self, InvalidVariable> {
        Self::parse(|name| std::env::var(name).ok())
    }

    /// An environment of one's own, for tests.
    pub fn from_map(map: &HashMap<String, String>) -> Result<Self, InvalidVariable> {
        Self::parse(|name| map.get(name).cloned())
    }

    fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        let variable = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let origin = |name: &'static str, default: &str| {
            let text = variable(name).unwrap_or_else(|| default.to_owned());
            text.parse::<Origin>().map_err(|error| invalid(name, &text, &error))
        };
        let pod = variable("HOSTNAME").unwrap_or_else(|| "unknown".to_owned());
        let (store_variable, store) = match (variable("STORE_URL"), variable("REDIS_URL")) {
            (Some(url), _) => ("STORE_URL", url),
            (None, url) => ("REDIS_URL", url.unwrap_or_else(|| DEFAULT_STORE.to_owned())),
        };
        let root = variable("SMOV_ROOT").map(PathBuf::from);
        let proxy = match variable("http_proxy").or_else(|| variable("HTTP_PROXY")) {
            Some(text) => {
                let door = text.parse().map_err(|error| invalid("http_proxy", &text, &error))?;
                Some(Proxy::new(door, &variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default()))
            }
            None => None,
        };
        Ok(Self {
            cluster: variable("CLUSTER_NAME").unwrap_or_else(|| cluster_in(&pod).to_owned()),
            pod,
            version: variable("APP_VERSION").unwrap_or_else(|| "v1".to_owned()),
            socket: variable("SMOV_APP_SOCKET").map(PathBuf::from),
            port: number("PORT", variable("PORT"))?,
            store: StoreLocation::parse(&store, root.as_deref(), variable).map_err(|error| invalid(store_variable, &store, &error))?,
            user_service: origin("USER_SERVICE_URL", "http://user-service:8081")?,
            movie_service: origin("MOVIE_SERVICE_URL", "http://movie-service:8082")?,
            booking_service: origin("BOOKING_SERVICE_URL", "http://booking-service:8083")?,
            proxy,
            copy_headers: switch("COPY_HEADERS", variable("COPY_HEADERS").as_deref(), true)?,
            trace_headers: match variable("TRACE_HEADERS").as_deref() {
                None | Some("keep") => true,
                Some("drop") => false,
                Some(other) => return Err(invalid("TRACE_HEADERS", other, &"write `keep` or `drop`")),
            },
            collector: variable("OTEL_EXPORTER_OTLP_ENDPOINT")
                .map(|text| text.parse().map_err(|error: InvalidCollector| invalid("OTEL_EXPORTER_OTLP_ENDPOINT", &text, &error)))
                .transpose()?,
            trace_name: variable("OTEL_SERVICE_NAME"),
            namespace: variable("POD_NAMESPACE"),
            keep_host: switch("GATEWAY_KEEP_HOST", variable("GATEWAY_KEEP_HOST").as_deref(), false)?,
            switches: root.as_deref().unwrap_or(Path::new("/")).join(crate::switches::FOLDER),
            upstream_timeout: number("UPSTREAM_TIMEOUT_MS", variable("UPSTREAM_TIMEOUT_MS"))?
                .map_or(UPSTREAM_TIMEOUT, Duration::from_millis),
        })
    }

    /// Where to listen: the pod's socket, else all addresses at `PORT` or the default.
    pub fn listen_on(&self, default_port: u16) -> ListenOn {
        match &self.socket {
            Some(path) => ListenOn::Socket(path.clone()),
            None => ListenOn::Port(self.port.unwrap_or(default_port)),
        }
    }

    /// Who this process is when it runs `service`.
    pub fn identity(&self, service: ServiceName) -> Identity {
        Identity { cluster: self.cluster.clone(), pod: self.pod.clone(), service: service.to_string(), version: self.version.clone() }
    }

    /// Where a service is reached.
    pub fn origin(&self, service: ServiceName) -> &Origin {
        match service {
            ServiceName::User => &self.user_service,
            ServiceName::Movie => &self.movie_service,
            ServiceName::Booking => &self.booking_service,
        }
    }
}

fn invalid(variable: &'static str, value: &str, reason: &impl ToString) -> InvalidVariable {
    InvalidVariable { variable, value: value.to_owned(), reason: reason.to_string() }
}

fn number<T: std::str::FromStr<Err: ToString>>(name: &'static str, value: Option<String>) -> Result<Option<T>, InvalidVariable> {
    value.map(|text| text.parse().map_err(|error: T::Err| invalid(name, &text, &error.to_string()))).transpose()
}

fn switch(name: &'static str, value: Option<&str>, default: bool) -> Result<bool, InvalidVariable> {
    match value {
        None => Ok(default),
        Some("on" | "true" | "1") => Ok(true),
        Some("off" | "false" | "0") => Ok(false),
        Some(other) => Err(invalid(name, other, &"write `on` or `off`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Environment, InvalidVariable> {
        Environment::from_map(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_cluster_is_named_or_read_off_the_pod_or_unknown() {
        assert_eq!(environment(&[("CLUSTER_NAME", "ctx1"), ("HOSTNAME", "user-service-ctx2-a-b")]).unwrap().cluster, "ctx1");
        assert_eq!(environment(&[("HOSTNAME", "user-service-ctx2-a-b")]).unwrap().cluster, "ctx2");
        assert_eq!(environment(&[("HOSTNAME", "laptop")]).unwrap().cluster, "unknown");
    }

    #[test]
    fn the_samples_configuration_is_understood() {
        let parsed = environment(&[("REDIS_URL", "redis:6379"), ("USER_SERVICE_URL", "http://user-service:8081")]).unwrap();
        assert_eq!(parsed.store, StoreLocation::Redis("redis://redis:6379".into()));
        assert_eq!(parsed.user_service.to_string(), "http://user-service:8081");
        assert_eq!(parsed.listen_on(8081), ListenOn::Port(8081));
        assert!(parsed.copy_headers && !parsed.keep_host);
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        for (name, value) in [
            ("PORT", "eighty"),
            ("COPY_HEADERS", "maybe"),
            ("STORE_URL", "oracle://x"),
            ("TRACE_HEADERS", "lose"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
            ("USER_SERVICE_URL", "https://x"),
        ] {
            assert_eq!(environment(&[(name, value)]).unwrap_err().variable, name);
        }
    }
}
