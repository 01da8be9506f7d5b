//! `smov app`: the theatre's services and its gateway, and the scripted echo.

use crate::cli::AppName;
use crate::failure::Outcome;
use crate::roles::cannot_start;

/// Runs an app until it is told to stop.
pub(crate) fn run(app: AppName) -> Outcome {
    super::log_of_pod();
    super::runtime(false).block_on(async {
        let service = match app {
            AppName::User => smov_theatre::ServiceName::User,
            AppName::Movie => smov_theatre::ServiceName::Movie,
            AppName::Booking => smov_theatre::ServiceName::Booking,
            AppName::Gateway => return crate::console::gateway::run().await,
            AppName::Echo => {
                let settings = smov_theatre::echo::Settings::from_process().map_err(|error| cannot_start(&error))?;
                let shutdown = crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?;
                return smov_theatre::echo::run(settings, shutdown).await.map_err(|error| cannot_start(&crate::mesh::up::chain(&error)));
            }
        };
        let environment = smov_theatre::Environment::from_process().map_err(|error| cannot_start(&error))?;
        let shutdown = crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?;
        smov_theatre::run(service, environment, shutdown).await.map_err(|error| cannot_start(&crate::mesh::up::chain(&error)))
    })
}
