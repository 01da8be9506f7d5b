//! Istio's standard metrics in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use smov_model::route::RouteAction;
use smov_model::tls::ConnectionSecurityPolicy;
use smov_telemetry::process;
use smov_telemetry::text::{Page, escape, labels};

use super::metrics::{BUCKETS, Histogram, Key, Metrics, NOT_GRPC, Reporter};
use crate::cluster::{ClusterCounters, ClusterView};
use crate::names::{Names, PeerLabels, ServiceId};
use crate::snapshot::View;
use crate::tls::issued::Issued;
use crate::tls::refused::ListenerTls;

/// What a scrape is told about.
pub(crate) struct Scrape<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) names: &'a Names,
    /// The proxy's own workload.
    pub(crate) own: &'a PeerLabels,
    pub(crate) view: Option<&'a View>,
    /// The inbound side's TLS and the certificate in use.
    pub(crate) tls: Option<(&'a ListenerTls, Option<Arc<Issued>>)>,
    /// Spans thrown away; `None` = somebody else makes them.
    pub(crate) spans_dropped: Option<u64>,
}

impl<'a> Scrape<'a> {
    /// The page.
    pub(crate) fn render(&self) -> String {
        let mut page = Page::new();
        self.requests(&mut page);
        let duration = "Milliseconds until the end of the answer, as seen by the reporter.";
        self.histogram(&mut page, "istio_request_duration_milliseconds", duration, |series| &series.duration);
        self.histogram(&mut page, "istio_request_bytes", "Size of requests on the wire.", |series| &series.request_bytes);
        self.histogram(&mut page, "istio_response_bytes", "Size of answers on the wire.", |series| &series.response_bytes);
        self.tcp(&mut page);
        page.family("istio_build", "gauge", "Which program this proxy is.");
        page.sample("istio_build", &format!("component=\"proxy\",tag=\"smov-{}\"", env!("CARGO_PKG_VERSION")), 1);
        self.clusters(&mut page);
        if let Some((listener, issued)) = &self.tls {
            tls(&mut page, listener, issued.as_deref());
        }
        if let Some(spans_dropped) = self.spans_dropped {
            let help = "Sampled requests whose spans were thrown away because too many were waiting.";
            page.single("smov_proxy_spans_dropped_total", "counter", help, spans_dropped);
        }
        // An app behind this proxy may have `process_...` of its own on the same page.
        process::write(&mut page, "istio_agent_process");
        page.into_text()
    }

    fn requests(&self, page: &mut Page) {
        page.family("istio_requests_total", "counter", "Requests that are over.");
        for (key, series) in self.sorted_http() {
            page.sample("istio_requests_total", &self.http_labels(*key), series.requests);
        }
    }

    fn histogram(&self, page: &mut Page, name: &str, help: &str, of: fn(&super::metrics::HttpSeries) -> &Histogram) {
        page.family(name, "histogram", help);
        for (key, series) in self.sorted_http() {
            let (labels, histogram) = (self.http_labels(*key), of(series));
            let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(histogram.cumulative()) {
                page.sample(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
            }
            page.sample(&format!("{name}_sum"), &labels, histogram.sum);
            page.sample(&format!("{name}_count"), &labels, series.requests);
        }
    }

    fn tcp(&self, page: &mut Page) {
        let mut all: Vec<_> = self.metrics.tcp.iter().map(|(key, series)| (self.labels(*key, "tcp"), series)).collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        type Column = fn(&super::metrics::TcpSeries) -> u64;
        let columns: [(&str, &str, Column); 4] = [
            ("istio_tcp_connections_opened_total", "Connections opened.", |series| series.opened),
            ("istio_tcp_connections_closed_total", "Connections closed.", |series| series.closed),
            ("istio_tcp_sent_bytes_total", "Bytes from the destination to the source.", |series| series.sent),
            ("istio_tcp_received_bytes_total", "Bytes from the source to the destination.", |series| series.received),
        ];
        for (name, help, of) in columns {
            page.family(name, "counter", help);
            for (labels, series) in &all {
                page.sample(name, labels, of(series));
            }
        }
    }

    /// Envoy's figures of clusters, under the names that Istio's proxies give them.
    fn clusters(&self, page: &mut Page) {
        let Some(view) = self.view else { return };
        type Counter = fn(&ClusterCounters) -> &std::sync::atomic::AtomicU64;
        let counters: [(&str, &str, Counter); 17] = [
            ("upstream_rq_total", "Tries at the cluster.", |counters| &counters.requests),
            ("upstream_rq_retry", "Tries after the first.", |counters| &counters.retries),
            ("upstream_rq_retry_overflow", "Retries refused because too many were in flight.", |counters| &counters.retry_overflows),
            ("upstream_rq_retry_limit_exceeded", "Requests that failed in their last try.", |counters| &counters.retries_used_up),
            ("upstream_rq_timeout", "Requests that ran into the route's timeout.", |counters| &counters.timeouts),
            ("upstream_rq_per_try_timeout", "Tries that ran into their own timeout.", |counters| &counters.per_try_timeouts),
            ("upstream_rq_pending_overflow", "Requests refused by the connection pool's limits.", |counters| &counters.overflows),
            ("upstream_cx_total", "Connections begun.", |counters| &counters.connects),
            ("upstream_cx_connect_fail", "Connections that failed.", |counters| &counters.connect_failures),
            ("outlier_detection_ejections_enforced_total", "Ejections of endpoints.", |counters| &counters.ejections),
            ("ssl_handshake", "TLS handshakes.", |counters| &counters.tls_handshakes),
            ("ssl_session_reused", "TLS sessions taken up again.", |counters| &counters.tls_resumed),
            ("ssl_connection_error", "TLS connections that failed, certificates aside.", |counters| &counters.tls_failures.connection),
            ("ssl_fail_verify_error", "Certificates that nobody trusted signs.", |counters| &counters.tls_failures.chain),
            ("ssl_fail_verify_san", "Certificates of somebody else.", |counters| &counters.tls_failures.names),
            ("ssl_fail_verify_no_cert", "Peers without a certificate.", |counters| &counters.tls_failures.no_certificate),
            ("upstream_rq_completed", "Answers of the cluster.", |counters| &counters.completed),
        ];
        for (name, help, of) in counters {
            let name = format!("envoy_cluster_{name}");
            page.family(&name, "counter", help);
            for cluster in view.clusters() {
                page.sample(&name, &cluster_label(cluster), of(&cluster.state.counters).load(Relaxed));
            }
        }
        page.family("envoy_cluster_upstream_rq", "counter", "Answers of the cluster by the class of their status.");
        for cluster in view.clusters() {
            for (class, count) in cluster.state.counters.classes.iter().enumerate() {
                let labels = format!("{},response_code_class=\"{}xx\"", cluster_label(cluster), class + 1);
                page.sample("envoy_cluster_upstream_rq", &labels, count.load(Relaxed));
            }
        }
        Self::cluster_gauges(page, view);
        weights(page, view);
    }

    fn cluster_gauges(page: &mut Page, view: &View) {
        type Column = fn(&ClusterView) -> u64;
        let gauges: [(&str, &str, Column); 14] = [
            ("upstream_rq_active", "Tries in flight.", |cluster| cluster.state.requests.load(Relaxed).into()),
            ("upstream_rq_pending_active", "Requests that wait for a connection.", |cluster| cluster.state.pending.load(Relaxed).into()),
            ("upstream_cx_active", "Open connections.", |cluster| cluster.state.connections.load(Relaxed).into()),
            ("membership_total", "Endpoints.", |cluster| cluster.endpoints.len() as u64),
            ("membership_healthy", "Endpoints that are not ejected.", |cluster| {
                cluster.endpoints.iter().filter(|endpoint| !endpoint.is_ejected()).count() as u64
            }),
            ("outlier_detection_ejections_active", "Endpoints that are ejected now.", |cluster| cluster.state.ejected().into()),
            ("circuit_breakers_default_cx_open", "1 = no more connections are allowed.", |cluster| {
                open(&cluster.state.connections, cluster.limits.max_connections)
            }),
            ("circuit_breakers_default_rq_pending_open", "1 = no more requests may wait.", |cluster| {
                open(&cluster.state.pending, cluster.limits.max_pending_requests)
            }),
            ("circuit_breakers_default_rq_open", "1 = no more requests are allowed.", |cluster| {
                open(&cluster.state.requests, cluster.limits.max_requests)
            }),
            ("circuit_breakers_default_rq_retry_open", "1 = no more retries are allowed.", |cluster| {
                open(&cluster.state.retries, cluster.limits.max_retries)
            }),
            ("circuit_breakers_default_remaining_cx", "Connections still allowed.", |cluster| {
                remaining(&cluster.state.connections, cluster.limits.max_connections)
            }),
            ("circuit_breakers_default_remaining_pending", "Requests that may still wait.", |cluster| {
                remaining(&cluster.state.pending, cluster.limits.max_pending_requests)
            }),
            ("circuit_breakers_default_remaining_rq", "Requests still allowed.", |cluster| {
                remaining(&cluster.state.requests, cluster.limits.max_requests)
            }),
            ("circuit_breakers_default_remaining_retries", "Retries still allowed.", |cluster| {
                remaining(&cluster.state.retries, cluster.limits.max_retries)
            }),
        ];
        for (name, help, of) in gauges {
            let name = format!("envoy_cluster_{name}");
            page.family(&name, "gauge", help);
            for cluster in view.clusters() {
                page.sample(&name, &cluster_label(cluster), of(cluster));
            }
        }
    }

    fn sorted_http(&self) -> Vec<(&Key, &super::metrics::HttpSeries)> {
        let mut all: Vec<_> = self.metrics.http.iter().collect();
        all.sort_by_key(|(key, _)| (key.reporter, key.service.0, key.peer.0, key.status, key.flags.bits(), key.grpc));
        all
    }

    fn http_labels(&self, key: Key) -> String {
        let is_grpc = key.grpc != NOT_GRPC;
        let mut labels = self.labels(key, if is_grpc { "grpc" } else { "http" });
        let status = if is_grpc { key.grpc.to_string() } else { String::new() };
        let _ = write!(labels, ",response_code=\"{}\",grpc_response_status=\"{status}\"", key.status);
        labels
    }

    /// The labels that HTTP and TCP have in common.
    fn labels(&self, key: Key, protocol: &str) -> String {
        let peer = self.names.peer_labels(key.peer);
        let (reporter, source, destination, security) = match key.reporter {
            Reporter::Source => ("source", self.own, &**peer, ConnectionSecurityPolicy::Unknown),
            Reporter::Destination if key.mutual_tls => ("destination", &**peer, self.own, ConnectionSecurityPolicy::MutualTls),
            Reporter::Destination => ("destination", &**peer, self.own, ConnectionSecurityPolicy::None),
        };
        // Who a workload is supposed to be is no principal: that takes a certificate.
        let principal = |labels: &'a PeerLabels| if key.mutual_tls { labels.principal.as_str() } else { "unknown" };
        let service = self.names.service_name(key.service);
        let (service, short, namespace) = match key.service {
            ServiceId::PASSTHROUGH | ServiceId::BLACK_HOLE => ("unknown", service, "unknown"),
            _ => (service, super::trace::short(service), service.split('.').nth(1).unwrap_or("unknown")),
        };
        let mut labels = format!("reporter=\"{reporter}\"");
        let mut add = |name: &str, value: &str| {
            let _ = write!(labels, ",{name}=\"{}\"", escape(value));
        };
        add("source_workload", &source.workload);
        add("source_canonical_service", &source.canonical_service);
        add("source_canonical_revision", &source.canonical_revision);
        add("source_workload_namespace", &source.namespace);
        add("source_principal", principal(source));
        add("source_app", &source.app);
        add("source_version", &source.version);
        add("source_cluster", &source.cluster);
        add("destination_workload", &destination.workload);
        add("destination_workload_namespace", &destination.namespace);
        add("destination_principal", principal(destination));
        add("destination_app", &destination.app);
        add("destination_version", &destination.version);
        add("destination_service", service);
        add("destination_canonical_service", &destination.canonical_service);
        add("destination_canonical_revision", &destination.canonical_revision);
        add("destination_service_name", short);
        add("destination_service_namespace", namespace);
        add("destination_cluster", &destination.cluster);
        add("request_protocol", protocol);
        add("response_flags", &key.flags.to_string());
        add("connection_security_policy", security.as_str());
        labels
    }
}

/// The configured shares of what this pod calls, for holding them against the observed ones. A name of our own: Istio's proxies tell no weights.
fn weights(page: &mut Page, view: &View) {
    let mut shares = BTreeMap::new();
    let hosts = view.snapshot.outbound.values().flat_map(|table| &table.hosts);
    for (host, rule) in hosts.flat_map(|host| host.rules.iter().map(move |rule| (host, rule))) {
        let RouteAction::Forward(split) = &rule.action else { continue };
        if rule.origin.resource.name.is_empty() {
            continue;
        }
        for (weight, destination) in split.arms() {
            let labels = labels(&[
                ("virtual_service", &rule.origin.resource.name),
                ("route", &rule.origin.path),
                ("destination_service", host.service.as_ref().map_or("unknown", |service| service.as_str())),
                ("destination_subset", destination.cluster.subset.as_ref().map_or("", |subset| subset.as_str())),
                ("cluster_name", &destination.cluster.to_string()),
            ]);
            // One destination takes all, whatever its weight says.
            let share = if split.is_single() { 1.0 } else { f64::from(weight.0) / f64::from(split.total()) };
            shares.insert(labels, share);
        }
    }
    page.family("smov_route_weight_ratio", "gauge", "Configured share of a route's destination, 0 to 1.");
    for (labels, share) in shares {
        page.sample("smov_route_weight_ratio", &labels, share);
    }
}

fn cluster_label(cluster: &ClusterView) -> String {
    format!("cluster_name=\"{}\"", escape(&cluster.state.text))
}

fn open(used: &AtomicU32, limit: u32) -> u64 {
    u64::from(used.load(Relaxed) >= limit)
}

fn remaining(used: &AtomicU32, limit: u32) -> u64 {
    limit.saturating_sub(used.load(Relaxed)).into()
}

/// The inbound side's handshakes, as one listener, and when certificates end.
fn tls(page: &mut Page, listener: &ListenerTls, issued: Option<&Issued>) {
    let failures = &listener.failures;
    for (name, help, counter) in [
        ("envoy_listener_ssl_handshake", "TLS handshakes of callers.", &listener.handshakes),
        ("envoy_listener_ssl_session_reused", "TLS sessions that callers took up again.", &listener.resumed),
        ("envoy_listener_ssl_connection_error", "Callers' TLS connections that failed, certificates aside.", &failures.connection),
        ("envoy_listener_ssl_fail_verify_error", "Callers' certificates that nobody trusted signs.", &failures.chain),
        ("envoy_listener_ssl_fail_verify_san", "Callers' certificates of somebody else.", &failures.names),
        ("envoy_listener_ssl_fail_verify_no_cert", "Callers without a certificate.", &failures.no_certificate),
    ] {
        page.family(name, "counter", help);
        page.sample(name, "listener_address=\"inbound\"", counter.load(Relaxed));
    }
    let Some(issued) = issued else { return };
    // Seconds from now, as Istio's agent says it.
    let name = "istio_agent_cert_expiry_seconds";
    page.family(name, "gauge", "Seconds until the certificate ends.");
    let root = issued.roots.iter().map(|root| root.not_after).min();
    for (resource, not_after) in [("default", Some(issued.own().not_after)), ("ROOTCA", root)] {
        let Some(not_after) = not_after else { continue };
        let left = i128::from(not_after) - i128::from(crate::tls::now());
        page.sample(name, &format!("resource_name=\"{resource}\""), left);
    }
}
