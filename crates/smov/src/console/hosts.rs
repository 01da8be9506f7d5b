//! Names under which the ingress gateway leads to the page, read from the VirtualServices that bind a Gateway: they need not be told a second time.

use std::collections::BTreeMap;

use serde_json::Value;
use smov_console::guard::AllowedHosts;
use smov_control::source::News;

/// The Service of the page.
const PAGE: &str = "api-gateway";

/// Keeps the allow-list of a door up to date.
pub(crate) struct RoutedHosts {
    allowed: AllowedHosts,
    by_rule: BTreeMap<String, Vec<String>>,
}

impl RoutedHosts {
    /// Knows nothing yet.
    pub(crate) fn new(allowed: AllowedHosts) -> Self {
        Self { allowed, by_rule: BTreeMap::new() }
    }

    /// News of VirtualServices of the gateway's cluster.
    pub(crate) fn take(&mut self, news: &News) {
        match news {
            News::Listed(objects) => self.by_rule = objects.iter().map(|object| (key(object), hosts_of(object))).collect(),
            News::Applied(object) => drop(self.by_rule.insert(key(object), hosts_of(object))),
            News::Deleted(object) => drop(self.by_rule.remove(&key(object))),
            News::Alive | News::Failed(_) => return,
        }
        self.allowed.set_routed(self.by_rule.values().flatten().cloned());
    }
}

fn key(object: &Value) -> String {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    format!("{}/{}", field("namespace"), field("name"))
}

/// The hosts of a rule that leads traffic of a gateway to the page.
fn hosts_of(object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let from_outside = texts(&spec["gateways"]).iter().any(|gateway| gateway != "mesh");
    let routes = spec["http"].as_array().into_iter().flatten().flat_map(|rule| rule["route"].as_array().into_iter().flatten());
    let mut destinations = routes.filter_map(|route| route["destination"]["host"].as_str());
    let to_page = destinations.any(|host| host.split('.').next() == Some(PAGE));
    if from_outside && to_page { texts(&spec["hosts"]) } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_samples_domain_is_allowed_without_being_told_again() {
        let allowed = AllowedHosts::loopback_and([]);
        let mut hosts = RoutedHosts::new(allowed.clone());
        let rule = |gateway: &str, to: &str| {
            json!({
                "metadata": {"namespace": "istio-system", "name": "theater-msa"},
                "spec": {"hosts": ["theater.example.com"], "gateways": [gateway], "http": [{"route": [{"destination": {"host": to}}]}]},
            })
        };
        hosts.take(&News::Listed(vec![rule("cp-gateway", "api-gateway.theater-msa.svc.cluster.local")]));
        assert!(allowed.contains("theater.example.com"));
        for other in [rule("mesh", "api-gateway"), rule("cp-gateway", "user-service")] {
            hosts.take(&News::Applied(other));
            assert!(!allowed.contains("theater.example.com"));
        }
    }
}
