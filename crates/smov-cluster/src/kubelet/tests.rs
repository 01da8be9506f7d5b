//! The whole life of pods with real processes: registry, controllers, scheduler and kubelet together, no API server.

mod access;
mod bench;
mod deployments;
mod endings;
mod own_programs;
mod pods;
mod starts;
