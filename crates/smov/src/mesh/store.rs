//! Which store? `auto` takes a real Redis where there is one, and never leaves data behind.

use std::path::PathBuf;

use crate::failure::{Exit, Failure};
use crate::text;

/// The store that a run uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// The `redis` pod of ctx2 runs this program.
    Redis(PathBuf),
    /// One SQLite file of this machine.
    Sqlite,
    /// A Redis that runs elsewhere: `redis://HOST:PORT`.
    External(String),
}

impl Store {
    /// As `--store` writes it; what the state folder remembers.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Redis(_) => "redis".to_owned(),
            Self::Sqlite => "sqlite".to_owned(),
            Self::External(url) => url.clone(),
        }
    }

    /// Decides from `--store`, what the folder's data is in, and the server found on this machine.
    pub(crate) fn choose(asked: &str, remembered: Option<&str>, server: Option<PathBuf>) -> Result<Self, Failure> {
        let wanted = if asked == "auto" { remembered.unwrap_or("auto") } else { asked };
        match (wanted, server) {
            ("sqlite", _) | ("auto", None) => Ok(Self::Sqlite),
            ("auto" | "redis", Some(server)) => Ok(Self::Redis(server)),
            ("redis", None) if asked == "auto" => Err(Failure::new(Exit::Usage, text::REDIS_GONE, &[]).hint(text::NO_REDIS_HINT, &[])),
            ("redis", None) => Err(Failure::new(Exit::Usage, text::NO_REDIS, &[]).hint(text::NO_REDIS_HINT, &[])),
            (url, _) if url.starts_with("redis://") && url.len() > "redis://".len() => Ok(Self::External(url.to_owned())),
            (other, _) => Err(Failure::new(Exit::Usage, text::BAD_STORE, &[&other]).hint(text::BAD_STORE_HINT, &[])),
        }
    }
}

/// `redis-server` or `valkey-server` on PATH.
pub(crate) fn find_server() -> Option<PathBuf> {
    ["redis-server", "valkey-server"].iter().find_map(|name| find_program(name))
}

/// A program on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Option<PathBuf> {
        Some("/usr/bin/redis-server".into())
    }

    #[test]
    fn auto_takes_redis_where_there_is_one() {
        assert_eq!(Store::choose("auto", None, server()).unwrap().name(), "redis");
        assert_eq!(Store::choose("auto", None, None).unwrap(), Store::Sqlite);
    }

    #[test]
    fn auto_never_leaves_data_behind() {
        assert_eq!(Store::choose("auto", Some("sqlite"), server()).unwrap(), Store::Sqlite);
        assert!(Store::choose("auto", Some("redis"), None).is_err());
    }

    #[test]
    fn a_choice_that_cannot_be_is_refused() {
        assert!(Store::choose("redis", None, None).is_err());
        assert!(Store::choose("postgres", None, server()).is_err());
        assert!(Store::choose("redis://", None, server()).is_err());
        assert_eq!(Store::choose("redis://db:6379", None, None).unwrap(), Store::External("redis://db:6379".into()));
    }
}
