//! Keeps the link as its object says: which addresses lead through it follows from the pods, what it is like from the ConfigMap.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use smov_cluster::kinds::{CONFIG_MAP, POD};
use smov_cluster::registry::{Registry, Selector, Watch, WriteOptions};
use smov_link::{Link, Routes, Settings};
use tokio_util::sync::CancellationToken;

use super::{CLUSTER, IN_FORCE, NAME, NAMESPACE, addresses, describe, first_object, settings_of};

/// Keeps the link as the objects say until shutdown.
pub(crate) struct Keeper {
    /// Both clusters' objects, by name.
    pub(crate) registries: Vec<(&'static str, Registry)>,
    /// Both clusters' API servers.
    pub(crate) servers: Vec<SocketAddr>,
}

impl Keeper {
    /// Starts the link on a thread of its own, so that requests do not wait behind the API servers' work.
    ///
    /// # Errors
    /// No thread or no runtime can be made.
    pub(crate) fn start(self, shutdown: CancellationToken) -> std::io::Result<std::thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("smov-link".to_owned()).spawn(move || runtime.block_on(self.run(shutdown)))
    }

    async fn run(self, shutdown: CancellationToken) {
        let Some(home) = self.registries.iter().find(|(name, _)| *name == CLUSTER).map(|(_, registry)| registry.clone()) else { return };
        if home.find(&CONFIG_MAP, NAMESPACE, NAME).is_none()
            && let Err(error) = home.create(first_object(), &options())
        {
            tracing::warn!(error = error.message, "the link's object cannot be made; the link stays as it is");
        }
        let object = home.find(&CONFIG_MAP, NAMESPACE, NAME);
        let link = Link::new(object.as_deref().and_then(|object| settings_of(object).ok()).unwrap_or_default());
        link.route(self.routes());
        let task = tokio::spawn(link.clone().run(shutdown.clone()));
        let mut watches = Watches::new(&self.registries, &home);
        let mut in_force = link.in_force();
        let mut trouble = None;
        loop {
            let settings = in_force.borrow_and_update().0;
            tell(&home, trouble.as_deref().unwrap_or(&describe(&settings)));
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = watches.next() => match changed {
                    Changed::Pods => link.route(self.routes()),
                    Changed::Settings => match home.find(&CONFIG_MAP, NAMESPACE, NAME).map_or(Ok(Settings::default()), |object| settings_of(&object)) {
                        Ok(settings) => {
                            trouble = None;
                            link.set(settings);
                        }
                        // What held before goes on to hold, and the object says why.
                        Err(error) => trouble = Some(format!("refused: {error}")),
                    },
                    Changed::Behind => watches = Watches::new(&self.registries, &home),
                },
                changed = in_force.changed() => if changed.is_err() { break },
            }
        }
        let _ = task.await;
    }

    /// Every port of every pod, and the API servers, under their addresses through the link.
    fn routes(&self) -> Routes {
        let everything = Selector::default();
        let mut routes = Routes::new();
        let mut add = |target: SocketAddr| routes.extend(addresses().through_socket(target).map(|through| (through, target)));
        for server in &self.servers {
            add(*server);
        }
        for (_, registry) in &self.registries {
            for pod in registry.list(&POD, None, &everything).0 {
                targets(&pod).into_iter().for_each(&mut add);
            }
        }
        routes
    }
}

/// Where a pod's ports are served. A port whose program has ended is left out: dialling it through the link is then refused, as it is
/// without the link.
fn targets(pod: &Value) -> Vec<SocketAddr> {
    let Some(address) = pod["status"]["podIP"].as_str().and_then(|text| text.parse::<IpAddr>().ok()) else { return Vec::new() };
    let all = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let containers = all("/spec/containers");
    let statuses = all("/status/containerStatuses");
    let runs = |name: &str| {
        let status = statuses.iter().find(|status| status["name"] == name);
        status.is_some_and(|status| status["state"]["running"].is_object())
    };
    let sidecar = containers.iter().any(|container| container["name"] == "istio-proxy");
    let ports = |container: &Value| {
        let ports = container["ports"].as_array().cloned().unwrap_or_default();
        ports.into_iter().filter_map(|port| port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok()))
    };
    let served = |container: &&Value| runs(if sidecar { "istio-proxy" } else { container["name"].as_str().unwrap_or_default() });
    containers.iter().filter(served).flat_map(ports).map(|port| SocketAddr::new(address, port)).collect()
}

/// Writes what holds to the object. A failed write is not worth more than a word: the next change writes again.
fn tell(registry: &Registry, what: &str) {
    let Some(object) = registry.find(&CONFIG_MAP, NAMESPACE, NAME) else { return };
    if object["metadata"]["annotations"][IN_FORCE] == what {
        return;
    }
    let written = registry.modify(&CONFIG_MAP, NAMESPACE, NAME, &options(), |object| {
        object["metadata"]["annotations"][IN_FORCE] = what.into();
        Ok(())
    });
    if let Err(error) = written {
        tracing::debug!(error = error.message, "what holds on the link could not be written down");
    }
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: "smov-link".to_owned(), ..WriteOptions::default() }
}

enum Changed {
    Pods,
    Settings,
    /// A watch fell behind its history: look at everything again.
    Behind,
}

struct Watches {
    pods: BTreeMap<&'static str, Watch>,
    settings: Option<Watch>,
}

impl Watches {
    fn new(registries: &[(&'static str, Registry)], home: &Registry) -> Self {
        let all = Selector::default();
        let pods = registries.iter().filter_map(|(name, registry)| Some((*name, registry.watch(&POD, None, all.clone(), None).ok()?)));
        let named = Selector::fields(&format!("metadata.name={NAME}")).unwrap_or_default();
        Self { pods: pods.collect(), settings: home.watch(&CONFIG_MAP, Some(NAMESPACE), named, None).ok() }
    }

    async fn next(&mut self) -> Changed {
        let mut pods: Vec<_> = self.pods.values_mut().collect();
        let pods = async {
            let (event, ..) = futures_util::future::select_all(pods.iter_mut().map(|watch| Box::pin(watch.next()))).await;
            event
        };
        let settings = async {
            match &mut self.settings {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = pods => if event.is_some() { Changed::Pods } else { Changed::Behind },
            event = settings => if event.is_some() { Changed::Settings } else { Changed::Behind },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_lead_through_the_link_while_their_program_runs() {
        let mut pod = json!({
            "spec": { "containers": [
                { "name": "app", "ports": [{ "containerPort": 8081 }] },
                { "name": "istio-proxy", "ports": [{ "containerPort": 15090 }] },
            ] },
            "status": { "podIP": "127.9.2.4", "containerStatuses": [
                { "name": "app", "state": { "running": {} } },
                { "name": "istio-proxy", "state": { "running": {} } },
            ] },
        });
        let shown = |pod: &Value| targets(pod).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&pod), ["127.9.2.4:8081", "127.9.2.4:15090"]);
        pod["status"]["containerStatuses"][1]["state"] = json!({ "terminated": { "exitCode": 137 } });
        assert!(shown(&pod).is_empty(), "the sidecar serves the app's port too");
        pod["spec"]["containers"].as_array_mut().unwrap().remove(1);
        assert_eq!(shown(&pod), ["127.9.2.4:8081"]);
    }
}
