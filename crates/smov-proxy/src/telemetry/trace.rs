//! The trace of one request: what is cheap to note while it runs. The full record, with the reasons of skipped rules, is worked out when
//! somebody asks.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use smov_model::dice::Purpose;
use smov_model::flag::Flags;
use smov_model::names::{ClusterName, SubsetName};
use smov_model::record::{Attempt, Direction, DrawTaken, Peer, Phase, Record, RecordSource, Row, RuleTaken, SkippedRule};
use smov_model::route::{CorsDecision, RequestHead};
use smov_model::snapshot::SnapshotVersion;
use smov_model::telemetry::AccessLog;
use smov_model::tls::ConnectionSecurityPolicy;
use smov_model::workload::Workload;

use crate::authorize::Note;
use crate::cluster::EndpointState;
use crate::headers;
use crate::names::{PeerId, ServiceId};
use crate::pool::Lease;
use crate::snapshot::{Arm, HostView};
use crate::telemetry::spans::SpanNote;
use crate::tls;
use crate::worker::Downstream;

/// How many phases there are.
pub(crate) const PHASES: [Phase; 13] = [
    Phase::Accept,
    Phase::Pin,
    Phase::Peer,
    Phase::Authorize,
    Phase::Forward,
    Phase::Route,
    Phase::Split,
    Phase::Fault,
    Phase::Attempt,
    Phase::Limit,
    Phase::Balance,
    Phase::Connect,
    Phase::Observe,
];

/// Notes on one request. All times in microseconds from its start, except `started`.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) direction: Direction,
    pub(crate) started: u64,
    pub(crate) request_id: HeaderValue,
    pub(crate) method: Method,
    /// By the request's content type.
    pub(crate) is_grpc: bool,
    /// Where an answer told one.
    pub(crate) grpc_status: Option<u8>,
    pub(crate) authority: HeaderValue,
    /// Normalised.
    pub(crate) path: PathAndQuery,
    pub(crate) version: Option<SnapshotVersion>,
    pub(crate) host: Option<Arc<HostView>>,
    /// Index of the rule and of its match entry.
    pub(crate) rule: Option<(usize, usize)>,
    /// Index of the split's arm.
    pub(crate) arm: Option<usize>,
    /// Values of the headers that the host's rules look at.
    pub(crate) headers: Vec<(usize, HeaderValue)>,
    pub(crate) draws: Vec<DrawNote>,
    pub(crate) attempts: Vec<AttemptNote>,
    pub(crate) injected_delay: u32,
    /// Indices of the rule's mirrors that got a copy.
    pub(crate) mirrored: Vec<usize>,
    pub(crate) cors: Option<CorsDecision>,
    pub(crate) service: ServiceId,
    pub(crate) peer: PeerId,
    pub(crate) peer_workload: Option<Arc<Workload>>,
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    pub(crate) details: Cow<'static, str>,
    /// How the connection between the proxies was secured, and who was at its other end.
    pub(crate) security: ConnectionSecurityPolicy,
    pub(crate) secured: Option<Arc<tls::Peer>>,
    /// What the AuthorizationPolicies said; `None` = there are none.
    pub(crate) authorization: Option<Note>,
    /// Until response headers.
    pub(crate) duration: u32,
    /// Until the end of the body.
    pub(crate) total: u32,
    pub(crate) request_head: u64,
    pub(crate) request_body: u64,
    pub(crate) response_head: u64,
    pub(crate) response_body: u64,
    pub(crate) marks: [u32; PHASES.len()],
    pub(crate) log: Option<Box<LogFields>>,
    /// Of a sampled request.
    pub(crate) span: Option<Box<SpanNote>>,
}

/// What only the access log wants.
#[derive(Debug, Clone)]
pub(crate) struct LogFields {
    /// How a line looks, and which requests get one.
    pub(crate) settings: Arc<AccessLog>,
    /// Values of the headers that the filter looks at, in its order.
    pub(crate) headers: Vec<Option<HeaderValue>>,
    pub(crate) protocol: Version,
    pub(crate) path: PathAndQuery,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) forwarded_for: Option<HeaderValue>,
    pub(crate) downstream_local: SocketAddr,
    pub(crate) downstream_remote: SocketAddr,
    /// Where the request went, when that is no endpoint of a cluster: the app's socket, a host outside the mesh.
    pub(crate) upstream_host: Option<Arc<str>>,
    pub(crate) upstream_cluster: Option<Arc<str>>,
}

/// One roll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrawNote {
    pub(crate) purpose: Purpose,
    pub(crate) position: u32,
    pub(crate) total: u32,
    pub(crate) range: (u32, u32),
    pub(crate) meaning: Meaning,
}

/// What a roll decided.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meaning {
    Arm,
    Hit,
    Pass,
    /// A candidate of this attempt.
    Attempt(u32),
}

/// One try.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptNote {
    pub(crate) endpoint: Option<Arc<EndpointState>>,
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    pub(crate) reason: Option<String>,
    pub(crate) started: u32,
    pub(crate) duration: u32,
    pub(crate) ejected: Vec<SocketAddr>,
    pub(crate) priority: u32,
    pub(crate) hash: Option<u64>,
    /// Is it written down how it ended?
    pub(crate) ended: bool,
}

impl LogFields {
    pub(crate) fn of(settings: Arc<AccessLog>, downstream: &Downstream, parts: &Parts) -> Self {
        let asked = settings.filter.as_ref().map(|filter| filter.headers()).unwrap_or_default();
        Self {
            headers: asked.into_iter().map(|name| parts.headers.get(name).cloned()).collect(),
            settings,
            protocol: parts.version,
            path: parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            user_agent: parts.headers.get(http::header::USER_AGENT).cloned(),
            forwarded_for: parts.headers.get(crate::headers::FORWARDED_FOR).cloned(),
            downstream_local: downstream.local,
            downstream_remote: downstream.remote,
            upstream_host: None,
            upstream_cluster: None,
        }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            direction: Direction::Outbound,
            started: 0,
            request_id: HeaderValue::from_static(""),
            method: Method::GET,
            is_grpc: false,
            grpc_status: None,
            authority: HeaderValue::from_static(""),
            path: PathAndQuery::from_static("/"),
            version: None,
            host: None,
            rule: None,
            arm: None,
            headers: Vec::new(),
            draws: Vec::new(),
            attempts: Vec::new(),
            injected_delay: 0,
            mirrored: Vec::new(),
            cors: None,
            service: ServiceId::UNKNOWN,
            peer: PeerId::UNKNOWN,
            peer_workload: None,
            status: 0,
            flags: Flags::NONE,
            details: Cow::Borrowed("via_upstream"),
            security: ConnectionSecurityPolicy::Unknown,
            secured: None,
            authorization: None,
            duration: 0,
            total: 0,
            request_head: 0,
            request_body: 0,
            response_head: 0,
            response_body: 0,
            marks: [u32::MAX; PHASES.len()],
            log: None,
            span: None,
        }
    }
}

impl Trace {
    pub(crate) fn new(direction: Direction, parts: &Parts, request_id: HeaderValue, started: u64) -> Self {
        Self {
            direction,
            started,
            request_id,
            method: parts.method.clone(),
            is_grpc: headers::is_grpc(&parts.headers),
            authority: parts.headers.get(http::header::HOST).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
            path: parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            ..Self::default()
        }
    }

    /// Lets go of the connection's read buffer, so that what is remembered costs its own size: texts move into one small buffer.
    pub(crate) fn detach(&mut self) {
        self.log = None;
        let kept = self.headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        let mut texts = Vec::with_capacity(self.request_id.len() + self.authority.len() + self.path.as_str().len() + kept);
        texts.extend_from_slice(self.request_id.as_bytes());
        texts.extend_from_slice(self.authority.as_bytes());
        texts.extend_from_slice(self.path.as_str().as_bytes());
        self.headers.iter().for_each(|(_, value)| texts.extend_from_slice(value.as_bytes()));
        let mut rest = Bytes::from(texts);
        moved(&mut rest, &mut self.request_id);
        moved(&mut rest, &mut self.authority);
        let path = rest.split_to(self.path.as_str().len());
        self.path = PathAndQuery::from_maybe_shared(path).unwrap_or_else(|_| PathAndQuery::from_static("/"));
        self.headers.iter_mut().for_each(|(_, value)| moved(&mut rest, value));
    }

    /// Notes how the connection of a try is secured.
    pub(crate) fn secured_by(&mut self, lease: &Lease) {
        self.secured.clone_from(&lease.connection.peer);
        self.security = match &self.secured {
            Some(peer) if peer.mutual => ConnectionSecurityPolicy::MutualTls,
            // TLS to somebody outside the mesh: Istio has no word for it.
            Some(_) => ConnectionSecurityPolicy::Unknown,
            None => ConnectionSecurityPolicy::None,
        };
    }

    /// Notes when a phase first began.
    pub(crate) fn mark(&mut self, phase: Phase, at: u32) {
        let mark = &mut self.marks[phase as usize];
        *mark = (*mark).min(at);
    }

    /// Keeps the values of the headers that the host's rules look at.
    pub(crate) fn keep_headers(&mut self, host: &Arc<HostView>, headers: &HeaderMap) {
        for (index, name) in host.headers_read.iter().enumerate() {
            self.headers.extend(headers.get_all(name).iter().map(|value| (index, value.clone())));
        }
        self.host = Some(host.clone());
    }

    /// The name of the rule taken, as Istio names routes; `-` where no rule took the request.
    pub(crate) fn route_name(&self) -> &str {
        let rule = self.rule.zip(self.host.as_ref()).and_then(|((index, _), host)| host.host.rules.get(index));
        match (rule.map(|rule| rule.origin.name.as_str()), self.service) {
            (Some(""), _) => "default",
            (Some(name), _) => name,
            (None, ServiceId::PASSTHROUGH) => "allow_any",
            (None, ServiceId::BLACK_HOLE) => "block_all",
            (None, _) if self.direction == Direction::Inbound => "default",
            (None, _) => "-",
        }
    }

    pub(crate) fn arm(&self) -> Option<&Arm> {
        let (rule, _) = self.rule?;
        let arms = self.host.as_ref()?.plans.get(rule)?.arms.as_ref()?;
        arms.arms().nth(self.arm?).map(|(_, arm)| arm)
    }

    fn kept_headers(&self, host: &HostView) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (index, value) in &self.headers {
            if let Ok(name) = host.headers_read[*index].parse::<HeaderName>() {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    /// The headers that the host's rules look at, the missing ones too.
    fn headers_read(&self) -> Vec<(String, Option<String>)> {
        let Some(host) = &self.host else { return Vec::new() };
        let values = |index: usize| self.headers.iter().filter(move |(at, _)| *at == index).map(|(_, value)| text(value));
        let told = host.headers_read.iter().enumerate().map(|(index, name)| {
            let found = values(index).collect::<Vec<_>>().join(",");
            (name.to_string(), values(index).next().map(|_| found))
        });
        told.collect()
    }

    /// Why the rules before the one taken did not take the request, by the same function that decided.
    fn skipped(&self) -> Vec<SkippedRule> {
        let Some(host) = &self.host else { return Vec::new() };
        let headers = self.kept_headers(host);
        let head = RequestHead {
            method: self.method.as_str(),
            scheme: "http",
            authority: self.authority.to_str().unwrap_or_default(),
            path: self.path.path(),
            query: self.path.query(),
            headers: &headers,
        };
        let looked_at = self.rule.map_or(host.host.rules.len(), |(index, _)| index);
        host.host.skipped(looked_at, &head)
    }

    /// The full record.
    pub(crate) fn record(&self, proxy: &str) -> Record {
        let taken = self
            .rule
            .zip(self.host.as_ref())
            .and_then(|((index, entry), host)| Some(RuleTaken { index, entry, origin: host.host.rules.get(index)?.origin.clone() }));
        Record {
            request_id: text(&self.request_id),
            proxy: proxy.to_owned(),
            direction: self.direction,
            started: self.started,
            method: self.method.to_string(),
            authority: text(&self.authority),
            path: self.path.path().to_owned(),
            headers: self.headers_read(),
            snapshot: self.version.unwrap_or(SnapshotVersion { epoch: 0, number: 0 }),
            virtual_host: self.host.as_ref().map(|host| host.host.name.clone()),
            rule: taken,
            skipped: self.skipped(),
            draws: self.draws.iter().map(|draw| self.draw(draw)).collect(),
            cluster: self.arm().map(|arm| arm.cluster.clone()),
            attempts: self.attempts.iter().map(AttemptNote::attempt).collect(),
            mirrors: self.mirrors(),
            cors: self.cors,
            injected_delay: u64::from(self.injected_delay),
            peer: self.peer_workload.as_ref().map(|workload| Peer {
                pod: workload.pod.clone(),
                workload: workload.name.clone(),
                kube_cluster: workload.cluster.to_string(),
            }),
            security: self.security,
            peer_principal: self.secured.as_ref().and_then(|peer| peer.principal.as_deref()).map(str::to_owned),
            authorization: self.authorization.as_ref().map(|note| note.policies.http.told(note.outcome)),
            status: self.status,
            flags: self.flags,
            duration: u64::from(self.duration),
            phases: PHASES
                .iter()
                .map(|phase| (*phase, self.marks[*phase as usize]))
                .filter(|(_, at)| *at != u32::MAX)
                .map(|(phase, at)| (phase, u64::from(at)))
                .collect(),
            source: RecordSource::Recorded,
        }
    }

    fn draw(&self, draw: &DrawNote) -> DrawTaken {
        let outcome = match draw.meaning {
            Meaning::Arm => self.subset().unwrap_or("all").to_owned(),
            Meaning::Hit if draw.purpose == Purpose::FaultDelay => "delay".to_owned(),
            Meaning::Hit if draw.purpose == Purpose::Mirror => "mirror".to_owned(),
            Meaning::Hit => "abort".to_owned(),
            Meaning::Pass => "pass".to_owned(),
            Meaning::Attempt(index) if draw.purpose == Purpose::Priority => {
                self.attempts.get(index as usize).map_or_else(String::new, |attempt| format!("priority {}", attempt.priority))
            }
            Meaning::Attempt(index) => {
                let endpoint = self.attempts.get(index as usize).and_then(|attempt| attempt.endpoint.as_ref());
                endpoint.map_or_else(String::new, |endpoint| endpoint.workload.pod.clone())
            }
        };
        DrawTaken { purpose: draw.purpose, position: Some(draw.position), total: draw.total, range: draw.range, outcome }
    }

    fn mirrors(&self) -> Vec<ClusterName> {
        let rule = self.rule.zip(self.host.as_ref()).and_then(|((index, _), host)| host.host.rules.get(index));
        let mirrors = rule.map_or(&[][..], |rule| &rule.policy.mirrors);
        self.mirrored.iter().filter_map(|index| mirrors.get(*index)).map(|mirror| mirror.cluster.clone()).collect()
    }

    fn subset(&self) -> Option<&str> {
        self.arm().and_then(|arm| arm.cluster.subset.as_ref()).map(SubsetName::as_str)
    }

    /// One line for the page.
    pub(crate) fn row(&self, proxy: &str, workload: &str, service: &str) -> Row {
        let rule = self.rule.zip(self.host.as_ref()).and_then(|((index, _), host)| host.host.rules.get(index));
        // The peer of an inbound request is its caller; only a callee answers.
        let answerer = self.peer_workload.as_ref().filter(|_| self.direction != Direction::Inbound);
        Row {
            request_id: text(&self.request_id),
            proxy: proxy.to_owned(),
            workload: workload.to_owned(),
            direction: self.direction,
            started: self.started,
            service: short(service).to_owned(),
            rule: rule.map_or_else(String::new, |rule| format!("{} {}", rule.origin.resource.name, rule.origin.path).trim_end().to_owned()),
            subset: self.subset().unwrap_or_default().to_owned(),
            pod: answerer.map_or_else(String::new, |workload| workload.pod.clone()),
            kube_cluster: answerer.map_or_else(String::new, |workload| workload.cluster.to_string()),
            status: self.status,
            flags: self.flags.to_string(),
            attempts: self.attempts.len() as u32,
            injected_delay: u64::from(self.injected_delay),
            duration: u64::from(self.duration),
        }
    }
}

impl AttemptNote {
    fn attempt(&self) -> Attempt {
        Attempt {
            endpoint: self.endpoint.as_ref().map(|endpoint| endpoint.address),
            pod: self.endpoint.as_ref().map(|endpoint| endpoint.workload.pod.clone()),
            kube_cluster: self.endpoint.as_ref().map(|endpoint| endpoint.workload.cluster.to_string()),
            status: self.status,
            flags: self.flags,
            reason: self.reason.clone(),
            started: u64::from(self.started),
            duration: u64::from(self.duration),
            ejected: self.ejected.clone(),
            priority: self.priority,
            hash: self.hash.map(|hash| format!("{hash:016x}")),
        }
    }
}

/// The first label of a host name.
pub(crate) fn short(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

/// Gives a value the next bytes of `rest`, which are its own: what was a header's value is one again.
fn moved(rest: &mut Bytes, value: &mut HeaderValue) {
    *value = HeaderValue::from_maybe_shared(rest.split_to(value.len())).unwrap_or_else(|_| HeaderValue::from_static(""));
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
