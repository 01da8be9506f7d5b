//! `smov proxy`: what a sidecar or an ingress gateway pod runs.

use smov_envoy::agent::{self, AgentConfig};
use smov_model::wire::ProxyRole;
use smov_proxy::{Proxy, ProxyConfig, dice_for};

use crate::cli::DataPlane;
use crate::failure::Outcome;
use crate::roles::cannot_start;

/// Runs the proxy until it is told to stop.
pub(crate) fn run(gateway: bool, data_plane: DataPlane) -> Outcome {
    super::log_of_pod();
    let role = if gateway { ProxyRole::Gateway } else { ProxyRole::Sidecar };
    let config = ProxyConfig::from_environment(role, &super::environment()).map_err(|error| cannot_start(&error))?;
    if data_plane == DataPlane::Envoy {
        return run_envoy(config);
    }
    // Pods of one Deployment roll alike, so that a seeded run is repeatable across restarts.
    let dice = dice_for(&config, workload_of(&config.pod.name));
    let runtime = super::runtime(false);
    let shutdown = {
        let _entered = runtime.enter();
        crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?
    };
    let bound = Proxy::start(config, dice).map_err(|error| cannot_start(&crate::mesh::up::chain(&error)))?;
    bound.run_on(&runtime, shutdown).map_err(|error| cannot_start(&error))
}

/// Runs the agent of a real Envoy, which dies with it.
fn run_envoy(config: ProxyConfig) -> Outcome {
    let program = std::env::current_exe().map_err(|error| cannot_start(&error))?;
    let shim = vec![program.into_os_string(), "shim".into(), "--parent".into(), std::process::id().to_string().into(), "--".into()];
    let agent = AgentConfig::from_environment(config, shim).map_err(|error| cannot_start(&error))?;
    super::runtime(false).block_on(async {
        let shutdown = crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?;
        agent::run(agent, shutdown).await.map_err(|error| cannot_start(&crate::mesh::up::chain(&error)))
    })
}

/// A Deployment's name from its pod's: without the ReplicaSet's hash and the pod's own letters.
fn workload_of(pod: &str) -> &str {
    pod.rsplitn(3, '-').nth(2).unwrap_or(pod)
}

#[cfg(test)]
mod tests {
    #[test]
    fn pods_of_one_deployment_share_a_name() {
        assert_eq!(super::workload_of("user-service-ctx1-754bc8dd6f-kghtc"), "user-service-ctx1");
        assert_eq!(super::workload_of("single"), "single");
    }
}
