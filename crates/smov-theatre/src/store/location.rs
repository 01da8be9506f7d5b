//! Where the store is: `sqlite:/path/file.db`, `redis://host:port`, or the sample's `redis:6379`.

use std::path::{Path, PathBuf};

/// A parsed store URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// One file, several processes.
    Sqlite(PathBuf),
    /// A URL that the `redis` driver understands: `redis://…`, `redis+unix://…`.
    Redis(String),
}

/// Text that names no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no store; write `sqlite:/path/file.db`, `redis://host:port` or `host:port`")]
pub struct InvalidStoreLocation(pub String);

impl StoreLocation {
    /// Reads a store URL. `root` is the folder of this container's mounts (`SMOV_ROOT`), `variable` looks up the
    /// environment: a host that is a Service with `…_SERVICE_HOST` set is taken from there, since that address
    /// leads through the pod's sidecar.
    pub fn parse(text: &str, root: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidStoreLocation> {
        let invalid = || InvalidStoreLocation(text.to_owned());
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.ends_with('/') {
                return Err(invalid());
            }
            return Ok(Self::Sqlite(mounted(root, Path::new(path))));
        }
        if text.starts_with("redis+unix://") || text.starts_with("unix://") {
            return Ok(Self::Redis(text.to_owned()));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("redis" | "valkey"), rest)) => (scheme, rest),
            Some(_) => return Err(invalid()),
            None => ("redis", text),
        };
        let (authority, database) = rest.split_once('/').map_or((rest, ""), |(authority, database)| (authority, database));
        let (login, address) = authority.rsplit_once('@').map_or(("", authority), |(login, address)| (login, address));
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(invalid());
        }
        let service = host.split('.').next().unwrap_or(host).to_ascii_uppercase().replace('-', "_");
        let address = match variable(&format!("{service}_SERVICE_HOST")) {
            Some(host) => format!("{host}:{}", variable(&format!("{service}_SERVICE_PORT")).as_deref().unwrap_or(port)),
            None => format!("{host}:{port}"),
        };
        let at = if login.is_empty() { "" } else { "@" };
        let slash = if database.is_empty() { "" } else { "/" };
        Ok(Self::Redis(format!("{scheme}://{login}{at}{address}{slash}{database}")))
    }
}

/// A path of a container's own view: below the folder of its mounts where there is one, and not there already.
pub fn mounted(root: Option<&Path>, path: &Path) -> PathBuf {
    match root {
        Some(root) if !path.starts_with(root) => match path.strip_prefix("/") {
            Ok(inside) => root.join(inside),
            Err(_) => path.to_owned(),
        },
        Some(_) | None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreLocation, InvalidStoreLocation> {
        StoreLocation::parse(text, None, |_| None)
    }

    #[test]
    fn the_samples_form_and_urls_name_the_same_redis() {
        for text in ["redis:6379", "redis", "redis://redis:6379", "redis://redis"] {
            assert_eq!(parse(text), Ok(StoreLocation::Redis("redis://redis:6379".into())), "{text}");
        }
        assert_eq!(parse("redis://:secret@db:7000/2"), Ok(StoreLocation::Redis("redis://:secret@db:7000/2".into())));
        assert_eq!(parse("redis+unix:///run/redis.sock"), Ok(StoreLocation::Redis("redis+unix:///run/redis.sock".into())));
    }

    #[test]
    fn a_service_host_variable_leads_through_the_sidecar() {
        let variable = |name: &str| match name {
            "REDIS_SERVICE_HOST" => Some("127.9.1.4".to_owned()),
            "REDIS_SERVICE_PORT" => Some("16000".to_owned()),
            _ => None,
        };
        let location = StoreLocation::parse("redis:6379", None, variable);
        assert_eq!(location, Ok(StoreLocation::Redis("redis://127.9.1.4:16000".into())));
    }

    #[test]
    fn a_sqlite_path_is_looked_up_below_the_mounts() {
        let root = Path::new("/run/pod/mounts");
        let parse = |text: &str| StoreLocation::parse(text, Some(root), |_| None);
        let wanted = StoreLocation::Sqlite("/run/pod/mounts/var/lib/theatre/theatre.db".into());
        assert_eq!(parse("sqlite:/var/lib/theatre/theatre.db"), Ok(wanted.clone()));
        assert_eq!(parse("sqlite:/run/pod/mounts/var/lib/theatre/theatre.db"), Ok(wanted));
        assert_eq!(parse("sqlite:theatre.db"), Ok(StoreLocation::Sqlite("theatre.db".into())));
    }

    #[test]
    fn anything_else_is_refused_with_the_forms_that_work() {
        for text in ["", "sqlite:", "postgres://x", "redis://host:port", "redis://:1"] {
            let refused = parse(text).unwrap_err();
            assert!(refused.to_string().contains("sqlite:/path/file.db"), "{text}");
        }
    }
}
