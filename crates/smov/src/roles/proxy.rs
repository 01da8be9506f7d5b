//! `smov proxy`: what a sidecar or an ingress gateway pod runs.

use smov_model::wire::ProxyRole;
use smov_proxy::{Proxy, ProxyConfig, dice_for};

use crate::failure::Outcome;
use crate::roles::cannot_start;

/// Runs the proxy until it is told to stop.
pub(crate) fn run(gateway: bool) -> Outcome {
    super::log_of_pod();
    let role = if gateway { ProxyRole::Gateway } else { ProxyRole::Sidecar };
    let config = ProxyConfig::from_environment(role, &super::environment()).map_err(|error| cannot_start(&error))?;
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
