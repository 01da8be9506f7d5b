//! A gateway's tables: Gateway servers by port, and the VirtualServices bound to them, merged.

use std::collections::{BTreeMap, BTreeSet};

use smov_model::names::{HostPattern, Port};
use smov_model::route::{Origin, Redirect, RouteAction, RoutePolicy, RouteRule, RouteTable, VirtualHost};
use smov_model::workload::Workload;

use super::virtual_services::ResolvedVirtualService;
use super::{Prepared, RuleScope, is_catch_all};
use crate::hosts::{host_pattern, intersect, specificity};
use crate::resource::{GatewaySpec, Resource, Server};

impl Prepared<'_> {
    /// The gateways whose selector fits a pod, oldest first.
    pub(crate) fn gateways_of(&self, gateway_pod: &Workload) -> Vec<&Resource<GatewaySpec>> {
        let fits =
            |gateway: &&Resource<GatewaySpec>| gateway.spec.selector.iter().all(|(key, value)| gateway_pod.labels.get(key) == Some(value));
        let mut gateways: Vec<_> = self.world.gateways.values().map(|gateway| &**gateway).filter(fits).collect();
        gateways.sort_by_key(|gateway| gateway.seniority());
        gateways
    }

    /// The routes of a gateway, by server port.
    pub(super) fn ingress(&self, gateway_pod: &Workload) -> BTreeMap<Port, RouteTable> {
        let mut ports: BTreeMap<Port, PortBuilder> = BTreeMap::new();
        for gateway in self.gateways_of(gateway_pod) {
            for server in &gateway.spec.servers {
                let Some(port) = http_port(server) else { continue };
                self.add_server(ports.entry(port).or_default(), gateway, server, port, gateway_pod);
            }
        }
        ports.into_iter().map(|(port, builder)| (port, builder.into_table(port))).collect()
    }

    fn add_server(&self, builder: &mut PortBuilder, gateway: &Resource<GatewaySpec>, server: &Server, port: Port, gateway_pod: &Workload) {
        let hosts: Vec<ServerHost> = server.hosts.iter().filter_map(|text| ServerHost::parse(text, &gateway.metadata.namespace)).collect();
        if server.tls.as_ref().is_some_and(|tls| tls.https_redirect == Some(true)) {
            for host in &hosts {
                builder.redirects.entry(host.pattern.clone()).or_insert_with(|| https_redirect(gateway));
            }
            return;
        }
        let name = format!("{}/{}", gateway.metadata.namespace, gateway.metadata.name);
        let own_name = BTreeSet::from([name.clone()]);
        let scope = RuleScope { gateways: &own_name, client: gateway_pod, port };
        for one in self.virtual_services.iter() {
            if !one.gateways.contains(&name) || !one.visible_to(gateway_pod.namespace.as_str()) {
                continue;
            }
            let rules = self.rules(one, &scope);
            if rules.is_empty() {
                continue;
            }
            for host in hosts_in_common(one, &hosts) {
                builder.add(host, one, &rules);
            }
        }
    }
}

/// The port of a server that speaks plain HTTP. TLS servers are not executed yet; validate says so.
fn http_port(server: &Server) -> Option<Port> {
    let port = server.port.as_ref()?;
    let plain = matches!(port.protocol.to_ascii_uppercase().as_str(), "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB");
    plain.then(|| port.number.try_into().ok())?
}

/// An entry of a server's `hosts`: which VirtualServices may bind, and to what.
struct ServerHost {
    namespace: Option<String>,
    pattern: HostPattern,
}

impl ServerHost {
    fn parse(text: &str, gateway_namespace: &str) -> Option<Self> {
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        let namespace = match namespace {
            "*" => None,
            "." => Some(gateway_namespace.to_owned()),
            named => Some(named.to_owned()),
        };
        Some(Self { namespace, pattern: host_pattern(host, gateway_namespace).ok()? })
    }
}

fn hosts_in_common(one: &ResolvedVirtualService<'_>, servers: &[ServerHost]) -> BTreeSet<HostPattern> {
    let namespace = &one.resource.metadata.namespace;
    let open = servers.iter().filter(|server| server.namespace.as_ref().is_none_or(|only| only == namespace));
    open.flat_map(|server| one.hosts.iter().filter_map(|host| intersect(host, &server.pattern))).collect()
}

/// Rules of one port, by host, in the order in which their resources were made.
#[derive(Default)]
struct PortBuilder {
    hosts: BTreeMap<HostPattern, Vec<Contribution>>,
    redirects: BTreeMap<HostPattern, RouteRule>,
}

/// What one VirtualService gives to a host.
struct Contribution {
    seniority: (String, String, String),
    rules: Vec<RouteRule>,
}

impl PortBuilder {
    fn add(&mut self, host: HostPattern, from: &ResolvedVirtualService<'_>, rules: &[RouteRule]) {
        let (created, name, namespace) = from.resource.seniority();
        let seniority = (created.to_owned(), name.to_owned(), namespace.to_owned());
        let contributions = self.hosts.entry(host).or_default();
        // Two servers of one port may lead the same resource to the same host: it counts once.
        if !contributions.iter().any(|known| known.seniority == seniority && known.rules == rules) {
            contributions.push(Contribution { seniority, rules: rules.to_vec() });
        }
    }

    fn into_table(self, port: Port) -> RouteTable {
        let mut merged: BTreeMap<HostPattern, Vec<RouteRule>> = BTreeMap::new();
        for (host, mut contributions) in self.hosts {
            contributions.sort_by(|left, right| left.seniority.cmp(&right.seniority));
            let rules = contributions.into_iter().flat_map(|one| one.rules);
            let (catch_alls, narrow): (Vec<_>, Vec<_>) = rules.partition(is_catch_all);
            merged.insert(host, narrow.into_iter().chain(catch_alls).collect());
        }
        for (host, rule) in self.redirects {
            merged.insert(host, vec![rule]);
        }
        let mut hosts: Vec<_> = merged.into_iter().collect();
        hosts.sort_by_key(|(host, _)| (std::cmp::Reverse(specificity(host)), host.clone()));
        let virtual_host =
            |(host, rules): (HostPattern, _)| VirtualHost { name: format!("{host}:{port}"), domains: vec![host], service: None, rules };
        RouteTable { hosts: hosts.into_iter().map(virtual_host).collect() }
    }
}

fn https_redirect(gateway: &Resource<GatewaySpec>) -> RouteRule {
    let redirect = Redirect { code: 301, uri: None, authority: None, scheme: Some("https".to_owned()), port: None, prefix_rewrite: None };
    RouteRule {
        origin: Origin { resource: gateway.reference(), path: "spec.servers".to_owned(), name: "httpsRedirect".to_owned() },
        matches: Vec::new(),
        action: RouteAction::Redirect(redirect),
        policy: RoutePolicy::default(),
    }
}
