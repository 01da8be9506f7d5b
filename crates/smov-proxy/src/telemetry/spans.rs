//! Spans as Istio's sidecars make them: a client span where a request leaves a pod, a server span where it comes in. What a request says of
//! its trace is kept to; where it says nothing, the share of Telemetry's `randomSamplingPercentage` begins a trace.
//!
//! A request that is not sampled costs a look at its headers. What a sampled one needs is noted here and put into words when a report goes up.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Version};
use smov_model::record::Direction;
use smov_model::route::{Percent, RouteAction};
use smov_model::text::StringMatch;
use smov_model::tls::ConnectionSecurityPolicy;
use smov_model::workload::Workload;
use smov_telemetry::context::{self, Incoming, SpanContext};
use smov_telemetry::{Emitter, Span, SpanKind};

use crate::names::{Names, ServiceId};
use crate::telemetry::trace::Trace;
use crate::worker::{Downstream, Worker};

/// Traces that one worker begins in a second, at most: a load test at 100 % must not turn the mesh into a maker of spans. What goes on with a
/// trace that somebody else has begun is not limited.
pub(crate) const BEGIN_PER_SECOND: u32 = 50;
/// Spans that wait for the next report, per worker; more are thrown away.
pub(crate) const WAITING: usize = 1024;

/// What a sampled request needs beyond its [`Trace`].
#[derive(Debug, Clone)]
pub(crate) struct SpanNote {
    pub(crate) context: SpanContext,
    protocol: Version,
    user_agent: Option<HeaderValue>,
    downstream: SocketAddr,
    /// The pod's port that was called.
    port: u16,
    /// Does the span go up, or is only its context passed on?
    pub(crate) reported: bool,
}

/// How many traces one worker has begun in the current second.
#[derive(Debug, Default)]
pub(crate) struct Begun(Cell<(u64, u32)>);

impl Begun {
    /// May one more begin in this second?
    fn one_more(&self, second: u64) -> bool {
        let (of, count) = self.0.get();
        let count = if of == second { count } else { 0 };
        self.0.set((second, count + 1));
        count < BEGIN_PER_SECOND
    }
}

/// Reads what a request says of its trace, decides where it says nothing, and writes what the callee is to know.
pub(crate) fn begin(
    worker: &Worker,
    downstream: &Downstream,
    direction: Direction,
    parts: &mut Parts,
    id: &HeaderValue,
) -> Option<Box<SpanNote>> {
    let (ids, decided) = match context::read(&parts.headers) {
        Incoming::NotSampled => return None,
        Incoming::Sampled(ids) => (ids, true),
        Incoming::Undecided(ids) => (ids, false),
    };
    let side = worker.shared.sampling(direction);
    let taken = decided || (is_drawn(side.share, id) && worker.begun.one_more(worker.shared.age().as_secs()));
    if !taken {
        context::write_not_sampled(&mut parts.headers);
        return None;
    }
    let context = SpanContext::below(ids, || worker.random_bits());
    context.write(&mut parts.headers);
    let user_agent = parts.headers.get(http::header::USER_AGENT).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    let (protocol, port) = (parts.version, downstream.local.port());
    Some(Box::new(SpanNote { context, protocol, user_agent, downstream: downstream.remote, port, reported: side.reported }))
}

/// How one side samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampling {
    pub(crate) share: Percent,
    pub(crate) reported: bool,
}

/// The request id decides, as with `useRequestIdForTraceSampling`: proxies that see the same id decide alike.
fn is_drawn(share: Percent, id: &HeaderValue) -> bool {
    match share.millionths() {
        0 => false,
        1_000_000 => true,
        _ => share.hit(hash(id.as_bytes())),
    }
}

/// FNV-1a, then mixed so that every bit counts.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    for constant in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(constant);
    }
    hash ^ (hash >> 33)
}

/// Who this proxy is to tracing tools.
pub(crate) fn emitter(own: &Workload) -> Emitter {
    Emitter {
        service: format!("{}.{}", own.canonical_service(), own.namespace),
        workload: own.name.clone(),
        cluster: own.cluster.to_string(),
        pod: own.pod.clone(),
        namespace: own.namespace.to_string(),
    }
}

/// What a proxy knows of itself when it puts spans into words.
pub(crate) struct Teller<'a> {
    pub(crate) names: &'a Names,
    pub(crate) own: Option<&'a Workload>,
    pub(crate) emitter: Arc<Emitter>,
    /// `sidecar~<ip>~<pod>.<namespace>~<domain>`.
    pub(crate) node_id: &'a str,
}

impl Teller<'_> {
    /// The span of a sampled request.
    pub(crate) fn span(&self, trace: &Trace) -> Option<Span> {
        let note = trace.span.as_ref()?;
        let inbound = trace.direction == Direction::Inbound;
        let kind = if inbound { SpanKind::Server } else { SpanKind::Client };
        let times = (trace.started, u64::from(trace.total));
        let mut span = Span::new(&note.context, kind, self.operation(trace, note.port), times, self.emitter.clone());
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let authority = text(&trace.authority);
        let protocol = if note.protocol == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let cluster = if inbound { format!("inbound|{}||", note.port) } else { self.upstream_cluster(trace) };
        // The other side of the call: the endpoint that was called, or who called.
        let endpoint = trace.attempts.last().and_then(|attempt| attempt.endpoint.as_ref()).map(|endpoint| endpoint.address.to_string());
        let peer = if inbound { Some(note.downstream.ip().to_string()) } else { endpoint };
        span.tag("component", "proxy");
        span.tag("node_id", self.node_id.to_owned());
        span.tag("guid:x-request-id", text(&trace.request_id));
        span.tag("http.method", trace.method.to_string());
        span.tag("http.url", format!("http://{authority}{}", trace.path));
        span.tag("http.protocol", protocol);
        span.tag("http.status_code", trace.status.to_string());
        span.tag("response_flags", trace.flags.to_string());
        span.tag("upstream_cluster", cluster.clone());
        span.tag("upstream_cluster.name", cluster);
        span.tag("downstream_cluster", "-");
        span.tag("user_agent", note.user_agent.as_ref().map(text).unwrap_or_default());
        span.tag("request_size", trace.request_body.to_string());
        span.tag("response_size", trace.response_body.to_string());
        span.tag("peer.address", peer.unwrap_or_default());
        if trace.is_grpc {
            span.tag("grpc.status_code", trace.grpc_status.map(|status| status.to_string()).unwrap_or_default());
        }
        if trace.attempts.len() > 1 {
            span.tag("retry.count", (trace.attempts.len() - 1).to_string());
        }
        if trace.injected_delay > 0 {
            span.tag("fault.delay_us", trace.injected_delay.to_string());
        }
        if let Some(own) = self.own {
            span.tag("istio.canonical_service", own.canonical_service().to_owned());
            span.tag("istio.canonical_revision", own.canonical_revision().to_owned());
            span.tag("istio.mesh_id", self.names.trust_domain.to_string());
            span.tag("istio.namespace", own.namespace.to_string());
            span.tag("istio.cluster_id", own.cluster.to_string());
        }
        if let Some(peer) = &trace.peer_workload {
            let (name, value) = if inbound { ("istio.source_workload", &peer.name) } else { ("istio.destination_workload", &peer.name) };
            span.tag(name, value.clone());
            span.tag("peer.pod", peer.pod.clone());
            span.tag("peer.cluster", peer.cluster.to_string());
        }
        if inbound || trace.security == ConnectionSecurityPolicy::MutualTls {
            span.tag("connection_security_policy", trace.security.as_str());
        }
        if trace.status == 0 || trace.status >= 500 {
            span.tag("error", "true");
        }
        Some(span)
    }

    /// Envoy's decorator as Istio sets it: the destination, or the rule where there are several, with what the route matches.
    fn operation(&self, trace: &Trace, port: u16) -> String {
        if trace.direction == Direction::Inbound {
            return match trace.service {
                ServiceId::UNKNOWN => String::from_utf8_lossy(trace.authority.as_bytes()).into_owned(),
                service => format!("{}:{port}/*", self.names.service_name(service)),
            };
        }
        let taken = trace.rule.zip(trace.host.as_ref());
        let rule = taken.and_then(|((index, entry), host)| host.host.rules.get(index).map(|rule| (rule, entry)));
        let (Some((rule, entry)), Some(arm)) = (rule, trace.arm()) else {
            return String::from_utf8_lossy(trace.authority.as_bytes()).into_owned();
        };
        let path = match rule.matches.get(entry).and_then(|entry| entry.uri.as_ref()) {
            Some(StringMatch::Prefix(prefix)) => format!("{prefix}*"),
            Some(StringMatch::Exact(path)) => path.clone(),
            Some(StringMatch::Regex(pattern)) => pattern.source().to_owned(),
            _ => "/*".to_owned(),
        };
        let single = match &rule.action {
            RouteAction::Forward(split) => split.is_single(),
            RouteAction::Redirect(_) | RouteAction::DirectResponse(_) => true,
        };
        let target = if single || rule.origin.resource.name.is_empty() { arm.cluster.host.as_str() } else { &rule.origin.resource.name };
        format!("{target}:{}{path}", arm.cluster.port)
    }

    fn upstream_cluster(&self, trace: &Trace) -> String {
        match (trace.arm(), trace.service) {
            (Some(arm), _) => arm.text.to_string(),
            (None, service @ (ServiceId::PASSTHROUGH | ServiceId::BLACK_HOLE)) => self.names.service_name(service).to_owned(),
            (None, _) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_id_decides_and_the_share_is_kept() {
        let share = Percent::new(10.0).unwrap();
        let hits = (0..20_000).filter(|number| is_drawn(share, &HeaderValue::from(*number))).count();
        assert!((1800..2200).contains(&hits), "{hits}");
        let id = HeaderValue::from_static("1f5e7c8e-0000-4000-8000-000000000001");
        assert_eq!(is_drawn(share, &id), is_drawn(share, &id));
        assert!(!is_drawn(Percent::from_millionths(0), &id) && is_drawn(Percent::from_millionths(1_000_000), &id));
    }

    #[test]
    fn a_second_begins_so_many_traces_and_no_more() {
        let begun = Begun::default();
        assert_eq!((0..500).filter(|_| begun.one_more(7)).count(), BEGIN_PER_SECOND as usize);
        assert!(begun.one_more(8));
    }
}
