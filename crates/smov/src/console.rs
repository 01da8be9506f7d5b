//! The console's ports, wired to the real things: API servers, control planes, the ingress, the gateway app.
//!
//! Two doors use the same wiring: the api-gateway pod (behind the mesh) and the operator door of `smov up` (through no proxy).

pub(crate) mod configuration;
pub(crate) mod ejections;
pub(crate) mod explain;
pub(crate) mod feed;
pub(crate) mod gateway;
pub(crate) mod happenings;
pub(crate) mod hosts;
pub(crate) mod link;
pub(crate) mod operator;
pub(crate) mod pods_view;
pub(crate) mod ports;
pub(crate) mod restore;
pub(crate) mod scenarios;
mod scrape;
pub(crate) mod why;
pub(crate) mod workloads;

use std::path::PathBuf;

use smov_console::view::state::Door;
use smov_console::{Live, LiveConfig, system_clock};

/// What both doors know about their place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Debug sockets of the control planes, by cluster. Empty on real Kubernetes: then the why is not known.
    pub(crate) istiods: Vec<(String, PathBuf)>,
    /// State folder with the baseline; `None` on real Kubernetes.
    pub(crate) baseline: Option<PathBuf>,
    /// Page files to serve instead of the built-in ones.
    pub(crate) ui_dir: Option<PathBuf>,
    pub(crate) seed: Option<u64>,
    /// `ko` or `en`; empty for the default.
    pub(crate) language: String,
}

impl Place {
    /// A hub for a door.
    pub(crate) fn live(&self, door: Door) -> Live {
        let mut config = LiveConfig::new(door, system_clock());
        config.seed = self.seed;
        if !self.language.is_empty() {
            config.lang_default.clone_from(&self.language);
        }
        Live::new(config)
    }

    /// The page's files.
    pub(crate) fn assets(&self) -> smov_console::assets::Assets {
        use smov_console::assets::Assets;
        self.ui_dir.clone().map_or_else(Assets::embedded, Assets::folder).speaking(&self.language)
    }
}
