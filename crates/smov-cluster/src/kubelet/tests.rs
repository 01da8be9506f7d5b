//! The whole life of pods with real processes: registry, controllers, scheduler and kubelet together, no API server.

mod bench;
mod deployments;
mod endings;
mod pods;
mod starts;
