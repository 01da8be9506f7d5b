//! Which probes a container has, and where they are aimed.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::PodWorker;
use super::own_program::{in_mounts, loopback};
use crate::controllers::fields::{items, text};
use crate::kubelet::ImageError;
use crate::kubelet::network::mapped_port;
use crate::kubelet::probe::{self, Action, Probe, ProbeKind, Target, port_of};
use crate::kubelet::process::Launch;

impl PodWorker {
    /// Starts the startup probe, or once started, the others.
    pub(super) fn start_probes(&mut self, index: usize) {
        let container = &self.containers[index];
        let Some(process) = container.process() else { return };
        let (stop, generation) = (process.probes.clone(), container.generation);
        let kinds: &[(ProbeKind, &str)] = if container.started {
            &[(ProbeKind::Readiness, "readinessProbe"), (ProbeKind::Liveness, "livenessProbe")]
        } else {
            &[(ProbeKind::Startup, "startupProbe")]
        };
        let mut probes = Vec::new();
        for (kind, field) in kinds {
            let spec = &container.spec[*field];
            if spec.is_object() {
                let action = self.action(index, spec);
                // Asking ours costs nothing; a command, or somebody's own program, is not asked a hundred times a second.
                let gentle = container.own_program || matches!(action, Action::Execute(_));
                probes.push(Probe::new(*kind, spec, action, gentle));
            }
        }
        for probe in probes {
            let send = self.send.clone();
            self.tasks.spawn(probe::run(probe, (index, generation), send, stop.clone()));
        }
    }

    /// What a probe or hook does: to the app's own socket where the port is the app's, else to the pod's address.
    pub(super) fn action(&self, index: usize, spec: &Value) -> Action {
        let container = &self.containers[index];
        let target = |port: &Value, host: &str| -> Result<Target, String> {
            let port = port_of(&container.spec, port).ok_or_else(|| format!("invalid port {port}"))?;
            if self.has_sidecar() && !container.is_sidecar() && host.is_empty() {
                if container.own_program {
                    return Ok(Target::Tcp(self.own_port(index, port).unwrap_or_else(|| loopback(port))));
                }
                if container.ports().any(|own| own == port) {
                    return Ok(Target::Unix(self.app_socket(index)));
                }
            }
            let address = if host.is_empty() {
                self.address.ok_or("the pod has no address")?
            } else {
                host.parse::<IpAddr>().map_err(|_| format!("host {host} is no address"))?
            };
            Ok(Target::Tcp(SocketAddr::new(address, mapped_port(&self.object, port))))
        };
        let result = if let Some(get) = spec.get("httpGet").filter(|get| get.is_object()) {
            if text(get, "/scheme").eq_ignore_ascii_case("https") {
                return Action::Impossible("probes over HTTPS are not supported".to_owned());
            }
            let headers = items(get, "/httpHeaders")
                .iter()
                .map(|header| (text(header, "/name").to_owned(), text(header, "/value").to_owned()))
                .collect();
            let path = match text(get, "/path") {
                "" => "/".to_owned(),
                path if path.starts_with('/') => path.to_owned(),
                path => format!("/{path}"),
            };
            let host = format!(
                "{}:{}",
                self.address.map(|address| address.to_string()).unwrap_or_default(),
                port_of(&container.spec, &get["port"]).unwrap_or_default()
            );
            target(&get["port"], text(get, "/host")).map(|target| Action::Http { target, path, host, headers })
        } else if let Some(connect) = spec.get("tcpSocket").filter(|connect| connect.is_object()) {
            target(&connect["port"], text(connect, "/host")).map(Action::Connect)
        } else if let Some(command) = spec.pointer("/exec/command") {
            let command: Vec<String> =
                command.as_array().into_iter().flatten().filter_map(|part| part.as_str().map(str::to_owned)).collect();
            self.execute(index, &command).map(Action::Execute).map_err(|error| error.to_string())
        } else {
            Err("this kind of probe is not supported".to_owned())
        };
        result.unwrap_or_else(Action::Impossible)
    }

    /// How a command runs in a container: with its environment, in its folder.
    pub(super) fn execute(&self, index: usize, command: &[String]) -> Result<Launch, ImageError> {
        let prepared = self.prepare(index).map_err(|obstacle| ImageError::NotFound(obstacle.message))?;
        let own_program = self.containers[index].own_program;
        // `kubectl cp` expects the names in an archive to be those that it asked for.
        let translate = own_program && command.first().is_some_and(|program| program != "tar");
        let words = command.iter().map(|word| if translate { in_mounts(word.clone(), &prepared.mounts) } else { word.clone() });
        let command: Vec<String> = words.collect();
        let spec = prepared.with_request(self, index, |request| self.shared.config.images.resolve_exec(request, &command))?;
        Ok(self.launch_of(prepared, spec))
    }
}
