//! `smov control`: what an istiod pod runs.

use smov_control::ControlConfig;

use crate::failure::Outcome;
use crate::roles::cannot_start;

/// Runs the control plane until it is told to stop.
pub(crate) fn run() -> Outcome {
    super::log_of_pod();
    let config = ControlConfig::from_environment(&super::environment()).map_err(|error| cannot_start(&error))?;
    super::runtime(false).block_on(async {
        let shutdown = crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?;
        smov_control::run(config, shutdown).await.map_err(|error| cannot_start(&crate::mesh::up::chain(&error)))
    })
}
