//! Ports of a pod: in SPDY's streams, as kubectl asks for them ([`streams`], inside a WebSocket or by themselves), or in channels of a WebSocket, as kube-rs and
//! other libraries do ([`channels`]).
//!
//! A forward ends with its pod, not with a container: while that starts again, connections are refused one by one.

mod channels;
mod streams;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
};

use super::{
    Api, Call,
    channels::{PROTOCOLS, hold},
    route::Target,
    websocket::{self, names},
};
use crate::{
    controllers::fields::{is_finished, uid},
    error::ApiError,
    kinds::POD,
    registry::{Object, Registry, Selector},
};

/// The protocol of the streams.
const STREAMS: &str = "portforward.k8s.io";
/// Its name where they travel inside a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Where a client without WebSocket names it.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: &str = "SPDY/3.1";

/// How the client wants to talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Channels(&'static str),
    Tunnel,
    Plain,
}

impl Way {
    fn of(headers: &HeaderMap) -> Option<Self> {
        if websocket::is_asked(headers) {
            return match websocket::protocol(headers, &[TUNNEL, PROTOCOLS[0], PROTOCOLS[1]])? {
                TUNNEL => Some(Self::Tunnel),
                channels => Some(Self::Channels(channels)),
            };
        }
        let asked = names(headers, header::UPGRADE, SPDY) && names(headers, STREAM_PROTOCOL, STREAMS);
        asked.then_some(Self::Plain)
    }
}

pub(super) async fn handle(api: &Api, mut call: Call, target: &Target) -> Result<Response<Body>, ApiError> {
    let (namespace, name) = target.key();
    let pod = api.registry().get(&POD, namespace, name)?;
    let (Some(way), Some(upgrade)) = (Way::of(&call.headers), call.upgrade.take()) else {
        return Err(ApiError::bad_request(format!(
            "Upgrade request required: port-forward is served over WebSocket ({TUNNEL}, {}) and SPDY/3.1 ({STREAMS})",
            PROTOCOLS.join(", ")
        )));
    };
    let kubelet = std::sync::Arc::clone(api.pods()?);
    let gone = gone(api.registry().clone(), pod.clone());
    match way {
        Way::Channels(protocol) => {
            let mut ports = Vec::new();
            for port in channels::ports(&call.query.all("ports"))? {
                ports.push((port, kubelet.dial(&pod, port).await));
            }
            hold(api, upgrade, move |stream| async move {
                tokio::select! {
                    () = channels::forward(stream, ports) => {}
                    () = gone => {}
                }
            });
            Ok(websocket::accept(&call.headers, protocol))
        }
        Way::Tunnel => {
            hold(api, upgrade, move |stream| streams::forward(stream, true, kubelet, pod, gone));
            Ok(websocket::accept(&call.headers, TUNNEL))
        }
        Way::Plain => {
            hold(api, upgrade, move |stream| streams::forward(stream, false, kubelet, pod, gone));
            Ok(switched_to_spdy())
        }
    }
}

fn switched_to_spdy() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(STREAMS));
    response
}

/// Waits for the end of a pod: it is removed, another has its name, or all its containers have ended for good.
async fn gone(registry: Registry, pod: Object) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let is_there = || registry.find(&POD, &namespace, &name).is_some_and(|now| uid(&now) == uid(&pod) && !is_finished(&now));
    let selector = Selector::fields(&format!("metadata.name={name}")).unwrap_or_default();
    while is_there() {
        let Ok(mut watch) = registry.watch(&POD, Some(&namespace), selector.clone(), None) else { return };
        while is_there() && watch.next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_met_in_its_own_way() {
        let asked = |pairs: &[(&'static str, &'static str)]| {
            Way::of(&pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect())
        };
        let websocket = |protocols| {
            asked(&[("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-key", "k"), ("sec-websocket-protocol", protocols)])
        };
        assert_eq!(websocket("SPDY/3.1+portforward.k8s.io"), Some(Way::Tunnel));
        assert_eq!(websocket("v4.channel.k8s.io"), Some(Way::Channels("v4.channel.k8s.io")));
        assert_eq!(websocket("v3.channel.k8s.io"), None);
        let spdy = |protocol| asked(&[("upgrade", "SPDY/3.1"), ("connection", "Upgrade"), ("x-stream-protocol-version", protocol)]);
        assert_eq!((spdy(STREAMS), spdy("v4.channel.k8s.io"), asked(&[])), (Some(Way::Plain), None, None));
    }
}
