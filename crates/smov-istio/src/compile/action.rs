//! What a rule does: destinations, redirects, answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smov_model::names::{ClusterName, Port};
use smov_model::route::{Body, Destination, DirectResponse, Redirect, RedirectPort, RouteAction};
use smov_model::split::{Split, Weight};
use smov_model::workload::Workload;

use super::Services;
use super::route_policy::{arm_headers, text};
use super::rules::RuleScope;
use super::virtual_services::ResolvedRoute;
use crate::hosts::hostname;
use crate::resource::{DestinationSpec, HttpBody, HttpRedirect};

/// `None` for a rule without a destination that could be named, which validate refuses.
pub(super) fn action(services: &Services, one: &ResolvedRoute<'_>, scope: &RuleScope<'_>) -> Option<RouteAction> {
    let route = &*one.route;
    if let Some(spec) = &route.redirect {
        return redirect(spec, scope.port).map(RouteAction::Redirect);
    }
    if let Some(spec) = &route.direct_response {
        let body = spec.body.as_ref().map(body).unwrap_or_default();
        return Some(RouteAction::DirectResponse(DirectResponse { status: u16::try_from(spec.status).ok()?, body }));
    }
    let arms = route.route.iter().map(|arm| {
        let cluster = cluster_name(services, arm.destination.as_ref()?, one.namespace, scope.client, scope.port)?;
        Some((Weight(u32::try_from(arm.weight).ok()?), Destination { cluster, headers: arm_headers(arm.headers.as_ref(), route) }))
    });
    Split::new(arms.collect::<Option<Vec<_>>>()?).ok().map(RouteAction::Forward)
}

fn body(spec: &HttpBody) -> Body {
    match (&spec.string, &spec.bytes) {
        (Some(text), _) => Body::from(text.as_str()),
        (None, Some(bytes)) => STANDARD.decode(bytes).map(Body::from).unwrap_or_default(),
        (None, None) => Body::default(),
    }
}

/// The cluster of a destination. Without `port`: the service's only port, else the port that the client dialled.
pub(crate) fn cluster_name(
    services: &Services,
    destination: &DestinationSpec,
    namespace: &str,
    client: &Workload,
    dialled: Port,
) -> Option<ClusterName> {
    let host = hostname(&destination.host, namespace).ok()?;
    let port = match (&destination.port, services.seen_by(&client.namespace, &host)) {
        (Some(selector), _) => selector.number.try_into().ok()?,
        (None, Some(service)) if service.ports.len() == 1 => service.ports[0].port,
        (None, _) => dialled,
    };
    let subset = destination.subset.as_deref().filter(|name| !name.is_empty()).map(str::parse).transpose().ok()?;
    Some(ClusterName { port, subset, host })
}

/// `None` for a code that Envoy does not know.
fn redirect(spec: &HttpRedirect, dialled: Port) -> Option<Redirect> {
    // A port that the scheme has anyway is as good as none, in Istio too: then the request's own stays.
    let implied = match text(&spec.scheme).as_deref() {
        Some("https") => 443,
        Some(_) | None => 80,
    };
    let port = match spec.derive_port.as_deref() {
        Some("FROM_REQUEST_PORT") => Some(RedirectPort::OfListener).filter(|_| dialled.number() != implied),
        Some(_) => None,
        None => spec.port.and_then(|port| Port::try_from(port).ok()).filter(|port| port.number() != implied).map(RedirectPort::Fixed),
    };
    let prefix_rewrite = text(&spec.prefix_rewrite);
    let code = spec.redirect_code.filter(|code| *code > 0).unwrap_or(301);
    Some(Redirect {
        code: u16::try_from(code).ok().filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308))?,
        uri: text(&spec.uri).filter(|_| prefix_rewrite.is_none()),
        authority: text(&spec.authority),
        scheme: text(&spec.scheme),
        port,
        prefix_rewrite,
    })
}
