//! What all containers of a pod share, made once per pod and life of `smov up`: address, folders, doors, ports, credentials, volumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::PodWorker;
use crate::controllers::fields::{annotation, items, name, namespace, text, uid};
use crate::kinds::{PERSISTENT_VOLUME_CLAIM, POD, SERVICE, SERVICE_ACCOUNT};
use crate::kubelet::container::State;
use crate::kubelet::doors::{Doors, OUTBOUND, OUTBOUND_DOOR, TCP_DOORS};
use crate::kubelet::limits::MOUNT_RETRY;
use crate::kubelet::mounts::{Sources, private_folder, write_private};
use crate::kubelet::network::{PORT_MAP, map_ports, parse_ports};
use crate::kubelet::own_ports::OwnPorts;
use crate::registry::{Object, Selector};

/// Ports of a sidecar beside those of its doors: HTTP door, admin, metrics with and without the app's, health.
pub(super) const SIDECAR_PORTS: [u16; 5] = [OUTBOUND, 15000, 15020, 15021, 15090];
/// What is made once per pod and life of `smov up`.
pub(super) struct Setup {
    pub(super) volumes: BTreeMap<String, PathBuf>,
    pub(super) doors: Doors,
    pub(super) token: Credential,
    pub(super) own_ports: OwnPorts,
}

/// The pod's service-account token, and where it lies.
pub(super) struct Credential {
    token: String,
    pub(super) file: PathBuf,
    pub(super) kubeconfig: Option<PathBuf>,
}

impl PodWorker {
    /// Makes what all containers share; false while something is missing.
    pub(super) fn set_up(&mut self) -> bool {
        if self.setup.is_some() {
            return true;
        }
        if self.setup_due.is_none_or(|due| due > Instant::now()) {
            return false;
        }
        match self.try_set_up() {
            Ok(setup) => {
                self.setup = Some(setup);
                true
            }
            Err((reason, message)) => {
                self.setup_due = Some(Instant::now() + MOUNT_RETRY);
                self.event("Warning", reason, &message);
                false
            }
        }
    }

    fn try_set_up(&mut self) -> Result<Setup, (&'static str, String)> {
        let sandbox = |error: &dyn std::fmt::Display| ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"));
        if self.address.is_none() {
            self.address = self.shared.allocator.take(uid(&self.object), None);
        }
        if self.address.is_none() {
            return Err(sandbox(&"no free address in the cluster's network"));
        }
        let pod_uid = uid(&self.object).to_owned();
        let folder = self.shared.folders.pod(&pod_uid);
        private_folder(&folder).and_then(|()| private_folder(&self.shared.runtime_folder(&pod_uid))).map_err(|error| sandbox(&error))?;
        let doors = self.annotate().map_err(|error| sandbox(&error))?;
        let token = self.credential(&folder).map_err(|error| sandbox(&error))?;
        let volumes = self.volumes(&token.token).map_err(|error| ("FailedMount", error.to_string()))?;
        let own_ports = self.take_ports().map_err(|error| sandbox(&error))?;
        Ok(Setup { volumes, doors, token, own_ports })
    }

    /// Ports on 127.0.0.1 for programs that are not ours and have a sidecar in front.
    fn take_ports(&self) -> std::io::Result<OwnPorts> {
        let apps = self.containers.iter().filter(|container| container.own_program && !container.init && self.has_sidecar());
        let wanted = apps.flat_map(|container| container.ports().map(|port| (container.name.clone(), port)));
        OwnPorts::take(uid(&self.object), wanted)
    }

    /// Fixes the pod's doors (and ports, where it has no address of its own) in annotations; what is there already stays.
    fn annotate(&mut self) -> Result<Doors, String> {
        let mut fresh = Vec::new();
        let doors = match annotation(&self.object, TCP_DOORS) {
            Some(known) => Doors::parse(known),
            None if self.has_sidecar() => {
                let doors = Doors::of(&self.services());
                fresh.push((TCP_DOORS, doors.to_string()));
                doors
            }
            None => Doors::default(),
        };
        if self.shared.allocator.is_shared() && annotation(&self.object, PORT_MAP).is_none() {
            let mut ports: Vec<u16> = self.containers.iter().flat_map(|container| container.ports()).collect();
            if self.has_sidecar() {
                ports.extend(SIDECAR_PORTS);
                ports.extend(doors.ports());
            }
            ports.sort_unstable();
            ports.dedup();
            fresh.push((PORT_MAP, map_ports(&ports).map_err(|error| error.to_string())?));
        }
        if let Some(door) = self.outbound_door(&fresh)
            && annotation(&self.object, OUTBOUND_DOOR) != Some(door.as_str())
        {
            fresh.push((OUTBOUND_DOOR, door));
        }
        if fresh.is_empty() {
            return Ok(doors);
        }
        let written = self.shared.registry.modify(&POD, namespace(&self.object), name(&self.object), &crate::kubelet::writer(), |pod| {
            for (key, value) in &fresh {
                pod["metadata"]["annotations"][*key] = json!(value);
            }
            Ok(())
        });
        self.object = written.map_err(|error| error.message)?.object;
        Ok(doors)
    }

    /// Where a client sends what should leave as this pod's request; a gateway's proxy has no app and no such door.
    fn outbound_door(&self, fresh: &[(&str, String)]) -> Option<String> {
        if !self.has_sidecar() || self.containers.len() < 2 {
            return None;
        }
        let map =
            fresh.iter().find(|(key, _)| *key == PORT_MAP).map(|(_, map)| map.as_str()).or_else(|| annotation(&self.object, PORT_MAP));
        let port = map.and_then(|map| parse_ports(map).get(&OUTBOUND).copied()).unwrap_or(OUTBOUND);
        Some(format!("{}:{port}", self.address?))
    }

    pub(super) fn services(&self) -> Vec<Object> {
        self.shared.registry.list(&SERVICE, Some(namespace(&self.object)), &Selector::default()).0
    }

    pub(super) fn service_account(&self) -> &str {
        match text(&self.object, "/spec/serviceAccountName") {
            "" => "default",
            account => account,
        }
    }

    /// Writes the pod's token, and a kubeconfig unless `automountServiceAccountToken` is off.
    fn credential(&self, folder: &Path) -> std::io::Result<Credential> {
        let credentials = &self.shared.config.credentials;
        let (place, account) = (namespace(&self.object), self.service_account());
        let token = credentials.token(place, account, name(&self.object)).map_err(|error| std::io::Error::other(error.message))?;
        let file = folder.join("token");
        write_private(&file, token.as_bytes())?;
        let of_account = self
            .shared
            .registry
            .find(&SERVICE_ACCOUNT, place, account)
            .and_then(|account| account["automountServiceAccountToken"].as_bool());
        let automount = self.object.pointer("/spec/automountServiceAccountToken").and_then(Value::as_bool).or(of_account).unwrap_or(true);
        let kubeconfig = automount.then(|| folder.join("kubeconfig"));
        if let Some(path) = &kubeconfig {
            write_private(path, credentials.kubeconfig(place, account, &token).to_string().as_bytes())?;
        }
        Ok(Credential { token, file, kubeconfig })
    }

    fn volumes(&self, token: &str) -> Result<BTreeMap<String, PathBuf>, crate::kubelet::mounts::MountError> {
        let registry = &self.shared.registry;
        let claim_exists = |claim: &str| registry.get(&PERSISTENT_VOLUME_CLAIM, namespace(&self.object), claim).is_ok();
        let environment = self.basics();
        let sources = Sources { lookup: &*self.shared, token, environment: &environment, claim_exists: &claim_exists };
        self.shared.folders.prepare(&self.object, &sources)
    }

    /// A ConfigMap, Secret or claim changed: refresh the volumes, try again what waited for it.
    pub(super) fn sources_changed(&mut self) {
        let now = Instant::now();
        match self.setup.as_ref().map(|setup| setup.token.token.clone()) {
            None => self.setup_due = Some(now),
            Some(token) if !items(&self.object, "/spec/volumes").is_empty() => match self.volumes(&token) {
                Ok(volumes) => {
                    if let Some(setup) = &mut self.setup {
                        setup.volumes = volumes;
                    }
                }
                Err(error) => self.event("Warning", "FailedMount", &error.to_string()),
            },
            Some(_) => {}
        }
        for container in &mut self.containers {
            if let State::Waiting { reason: "CreateContainerConfigError", until, .. } = &mut container.state {
                *until = Some(now);
            }
        }
    }
}
