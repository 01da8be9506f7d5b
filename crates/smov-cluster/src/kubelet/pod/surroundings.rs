//! What a container finds around it: the variables that the cluster gives, and where its app is to listen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::PodWorker;
use super::start::{SIDECAR_PORTS, Setup};
use crate::controllers::fields::{annotation, name, namespace, strings, text, uid};
use crate::kubelet::environment::{OwnDoors, service_variables};
use crate::kubelet::network::{PORT_MAP, mapped_port};

/// Variables of `smov up` that pods get, too; everything else stays outside.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "TZ", "RUST_LOG"];

impl PodWorker {
    /// What every container of the pod is told.
    pub(super) fn basics(&self) -> BTreeMap<String, String> {
        let mut variables: BTreeMap<String, String> =
            PASSED_ON.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?))).collect();
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        let node = text(&self.object, "/spec/nodeName");
        for (key, value) in [
            ("HOSTNAME", name(&self.object)),
            ("POD_NAME", name(&self.object)),
            ("POD_NAMESPACE", namespace(&self.object)),
            ("POD_IP", &address),
            ("NODE_NAME", node),
            ("SMOV_HOST_IP", &self.shared.host_of(node)),
            ("SERVICE_ACCOUNT", self.service_account()),
        ] {
            variables.insert(key.to_owned(), value.to_owned());
        }
        if let Some(map) = annotation(&self.object, PORT_MAP) {
            variables.insert("SMOV_PORT_MAP".to_owned(), map.to_owned());
        }
        variables
    }

    /// What the cluster gives to this container, before its own `env`.
    pub(super) fn given(&self, index: usize, setup: &Setup, root: &Path) -> BTreeMap<String, String> {
        let container = &self.containers[index];
        let mut variables = self.basics();
        let address = variables["POD_IP"].clone();
        let mapped = |port: u16| mapped_port(&self.object, port);
        variables.insert("SMOV_ROOT".to_owned(), root.display().to_string());
        if let Some(kubeconfig) = &setup.token.kubeconfig {
            variables.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        }
        if self.object.pointer("/spec/enableServiceLinks").is_none_or(|links| links != false) {
            let own = OwnDoors { doors: &setup.doors, address: &address, mapped: &mapped };
            let sidecar = (self.has_sidecar() && !container.is_sidecar()).then_some(&own);
            variables.extend(service_variables(&self.services(), sidecar));
        }
        if container.is_sidecar() {
            variables.insert("SMOV_CLUSTER_ID".to_owned(), self.shared.config.cluster.clone());
            variables.insert("SMOV_TCP_DOORS".to_owned(), setup.doors.to_string());
            variables.insert("SMOV_TOKEN_FILE".to_owned(), setup.token.file.display().to_string());
            variables.insert("SMOV_WORKLOAD_LABELS".to_owned(), json!(strings(&self.object, "/metadata/labels")).to_string());
            let inbound = self.inbound();
            if !inbound.is_empty() {
                variables.insert("SMOV_INBOUND".to_owned(), inbound);
            }
        } else if self.has_sidecar() {
            let door = format!("http://{address}:{}", mapped(SIDECAR_PORTS[0]));
            variables.insert("http_proxy".to_owned(), door.clone());
            variables.insert("SMOV_OUTBOUND".to_owned(), door);
            variables.insert("SMOV_APP_SOCKET".to_owned(), self.app_socket(index).display().to_string());
        }
        if container.own_program {
            self.tell_own_program(index, &mut variables);
        }
        variables.extend((self.shared.config.extra_env)(&self.object, &container.spec));
        variables
    }

    /// `8081=unix:/…/app.sock,9000=127.0.0.1:20017`: which advertised port belongs to which app.
    fn inbound(&self) -> String {
        let apps = self.containers.iter().enumerate().filter(|(_, container)| !container.init && !container.is_sidecar());
        let pairs = apps.flat_map(|(index, container)| {
            let socket = self.app_socket(index);
            let place = move |port| match self.own_port(index, port) {
                Some(address) => address.to_string(),
                None => format!("unix:{}", socket.display()),
            };
            container.ports().map(move |port| format!("{}={}", mapped_port(&self.object, port), place(port))).collect::<Vec<_>>()
        });
        pairs.collect::<Vec<_>>().join(",")
    }

    /// Where a program that is not ours listens behind the sidecar for what comes to its container port.
    pub(super) fn own_port(&self, index: usize, port: u16) -> Option<SocketAddr> {
        self.setup.as_ref()?.own_ports.of(&self.containers[index].name, port)
    }

    /// The socket on which this app container listens: `app.sock` for the first, `app-<name>.sock` for others.
    pub(super) fn app_socket(&self, index: usize) -> PathBuf {
        let first = self.containers.iter().position(|container| !container.init && !container.is_sidecar());
        let file =
            if first == Some(index) { super::super::APP_SOCKET.to_owned() } else { format!("app-{}.sock", self.containers[index].name) };
        self.shared.runtime_folder(uid(&self.object)).join(file)
    }
}
