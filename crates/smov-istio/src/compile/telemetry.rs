//! Telemetries: what a proxy tells about its traffic. The mesh's is overruled by the namespace's, that by the workload's, setting by setting
//! (<https://istio.io/latest/docs/tasks/observability/telemetry/#scope-inheritance-and-overrides>).

use std::collections::BTreeMap;
use std::sync::Arc;

use smov_model::route::Percent;
use smov_model::telemetry::{AccessLog, Encoding, Side, Telemetry};
use smov_model::workload::Workload;

use super::Prepared;
use crate::resource::{AccessLoggingRule, Resource, TelemetrySelector, TelemetrySpec};
use crate::world::World;

/// The name of the provider that is always there.
const ENVOY: &str = "envoy";

/// Which side of a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Client,
    Server,
}

impl Prepared<'_> {
    /// What the proxy of a workload tells.
    pub(super) fn telemetry(&self, workload: &Workload) -> Telemetry {
        let levels = levels(self.world, workload);
        Telemetry { client: side(self.world, &levels, Part::Client), server: side(self.world, &levels, Part::Server) }
    }
}

/// Those that count for a workload: of the mesh, of its namespace, its own; in each the oldest.
fn levels<'w>(world: &'w World, workload: &Workload) -> Vec<&'w TelemetrySpec> {
    let root = world.mesh.root_namespace.as_str();
    let mut all: Vec<&Resource<TelemetrySpec>> = world.telemetries.values().map(|telemetry| &**telemetry).collect();
    all.sort_by_key(|telemetry| telemetry.seniority());
    let find = |namespace: &str, selects: &dyn Fn(&TelemetrySpec) -> bool| {
        all.iter().find(|telemetry| telemetry.metadata.namespace == namespace && selects(&telemetry.spec)).map(|found| &found.spec)
    };
    let own = workload.namespace.as_str();
    let for_all = |spec: &TelemetrySpec| spec.labels().is_empty();
    let for_it = |spec: &TelemetrySpec| {
        !spec.labels().is_empty() && spec.labels().iter().all(|(key, value)| workload.labels.get(key) == Some(value))
    };
    let of_namespace = if own == root { None } else { find(own, &for_all) };
    [find(root, &for_all), of_namespace, find(own, &for_it)].into_iter().flatten().collect()
}

fn is_for(selector: Option<&TelemetrySelector>, part: Part) -> bool {
    match selector.and_then(|selector| selector.mode.as_deref()) {
        Some("CLIENT") => part == Part::Client,
        Some("SERVER") => part == Part::Server,
        _ => true,
    }
}

fn side(world: &World, levels: &[&TelemetrySpec], part: Part) -> Side {
    let mesh = &world.mesh;
    let mut side = Side { sampling: mesh.sampling, report_spans: mesh.tracing, access_log: None };
    for rule in levels.iter().flat_map(|level| &level.tracing).filter(|rule| is_for(rule.r#match.as_ref(), part)) {
        side.sampling = rule.random_sampling_percentage.and_then(Percent::new).unwrap_or(side.sampling);
        side.report_spans = rule.disable_span_reporting.map_or(side.report_spans, |disabled| !disabled);
    }
    if !mesh.tracing {
        side.sampling = Percent::from_millionths(0);
    }
    side.access_log = access_log(world, levels, part);
    side
}

/// Every provider that a level names has what that level says of it, until a later one says something else. There is one log per proxy: of
/// several providers the first by name that is not disabled.
fn access_log(world: &World, levels: &[&TelemetrySpec], part: Part) -> Option<AccessLog> {
    let encoding = world.mesh.access_log;
    let mut providers: BTreeMap<&str, Option<AccessLog>> = BTreeMap::new();
    if let Some(encoding) = encoding {
        providers.insert(ENVOY, Some(AccessLog { encoding, filter: None }));
    }
    let rules = levels.iter().flat_map(|level| &level.access_logging).filter(|rule| is_for(rule.r#match.as_ref(), part));
    for rule in rules {
        let named: Vec<&str> = if rule.providers.is_empty() {
            // What is switched on already, or the one that is always there.
            let known: Vec<&str> = providers.keys().copied().collect();
            if known.is_empty() { vec![ENVOY] } else { known }
        } else {
            // Who names another provider than MeshConfig's default wants that one instead.
            if !rule.providers.iter().any(|provider| provider.name == ENVOY) {
                providers.remove(ENVOY);
            }
            rule.providers.iter().map(|provider| provider.name.as_str()).collect()
        };
        for name in named {
            let format = if name == ENVOY { Some(encoding.unwrap_or_default()) } else { world.mesh.log_providers.get(name).copied() };
            providers.insert(name, format.and_then(|encoding| log_of(rule, encoding)));
        }
    }
    providers.into_values().flatten().next()
}

fn log_of(rule: &AccessLoggingRule, encoding: Encoding) -> Option<AccessLog> {
    // A filter that cannot be read was refused by the webhook; one that came past it filters nothing away.
    let filter = rule.filter.as_ref().and_then(|filter| filter.expression.parse().ok()).map(Arc::new);
    (rule.disabled != Some(true)).then_some(AccessLog { encoding, filter })
}
