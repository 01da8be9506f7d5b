//! Istio's standard metrics in Prometheus' text format.

use std::fmt::Write;
use std::sync::Arc;

use smov_model::tls::ConnectionSecurityPolicy;

use super::metrics::{BUCKETS, Histogram, Key, Metrics, NOT_GRPC, Reporter};
use crate::cluster::{ClusterCounters, ClusterState};
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
}

impl<'a> Scrape<'a> {
    /// The page.
    pub(crate) fn render(&self) -> String {
        let mut page = String::with_capacity(16 << 10);
        self.requests(&mut page);
        self.histogram(&mut page, "istio_request_duration_milliseconds", |series| &series.duration);
        self.histogram(&mut page, "istio_request_bytes", |series| &series.request_bytes);
        self.histogram(&mut page, "istio_response_bytes", |series| &series.response_bytes);
        self.tcp(&mut page);
        heading(&mut page, "istio_build", "gauge");
        line(&mut page, "istio_build", &format!("component=\"proxy\",tag=\"smov-{}\"", env!("CARGO_PKG_VERSION")), 1_u64);
        self.clusters(&mut page);
        if let Some((listener, issued)) = &self.tls {
            tls(&mut page, listener, issued.as_deref());
        }
        page
    }

    fn requests(&self, page: &mut String) {
        heading(page, "istio_requests_total", "counter");
        for (key, series) in self.sorted_http() {
            line(page, "istio_requests_total", &self.http_labels(*key), series.requests);
        }
    }

    fn histogram(&self, page: &mut String, name: &str, of: fn(&super::metrics::HttpSeries) -> &Histogram) {
        heading(page, name, "histogram");
        for (key, series) in self.sorted_http() {
            let (labels, histogram) = (self.http_labels(*key), of(series));
            let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(histogram.cumulative()) {
                line(page, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
            }
            line(page, &format!("{name}_sum"), &labels, histogram.sum);
            line(page, &format!("{name}_count"), &labels, series.requests);
        }
    }

    fn tcp(&self, page: &mut String) {
        let mut all: Vec<_> = self.metrics.tcp.iter().map(|(key, series)| (self.labels(*key, "tcp"), series)).collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        type Column = fn(&super::metrics::TcpSeries) -> u64;
        let columns: [(&str, Column); 4] = [
            ("istio_tcp_connections_opened_total", |series| series.opened),
            ("istio_tcp_connections_closed_total", |series| series.closed),
            ("istio_tcp_sent_bytes_total", |series| series.sent),
            ("istio_tcp_received_bytes_total", |series| series.received),
        ];
        for (name, of) in columns {
            heading(page, name, "counter");
            for (labels, series) in &all {
                line(page, name, labels, of(series));
            }
        }
    }

    fn clusters(&self, page: &mut String) {
        let Some(view) = self.view else { return };
        type Column = fn(&ClusterState) -> u64;
        type Counter = fn(&ClusterCounters) -> &std::sync::atomic::AtomicU64;
        let counter = |of: Counter, cluster: &ClusterState| of(&cluster.counters).load(std::sync::atomic::Ordering::Relaxed);
        let counters: [(&str, Counter); 12] = [
            ("envoy_cluster_upstream_rq_total", |counters| &counters.requests),
            ("envoy_cluster_upstream_rq_retry", |counters| &counters.retries),
            ("envoy_cluster_upstream_rq_pending_overflow", |counters| &counters.overflows),
            ("envoy_cluster_upstream_cx_total", |counters| &counters.connects),
            ("envoy_cluster_upstream_cx_connect_fail", |counters| &counters.connect_failures),
            ("envoy_cluster_outlier_detection_ejections_enforced_total", |counters| &counters.ejections),
            ("envoy_cluster_ssl_handshake", |counters| &counters.tls_handshakes),
            ("envoy_cluster_ssl_session_reused", |counters| &counters.tls_resumed),
            ("envoy_cluster_ssl_connection_error", |counters| &counters.tls_failures.connection),
            ("envoy_cluster_ssl_fail_verify_error", |counters| &counters.tls_failures.chain),
            ("envoy_cluster_ssl_fail_verify_san", |counters| &counters.tls_failures.names),
            ("envoy_cluster_ssl_fail_verify_no_cert", |counters| &counters.tls_failures.no_certificate),
        ];
        for (name, of) in counters {
            heading(page, name, "counter");
            for cluster in view.clusters() {
                line(page, name, &format!("cluster_name=\"{}\"", cluster.state.text), counter(of, &cluster.state));
            }
        }
        let gauges: [(&str, Column); 3] = [
            ("envoy_cluster_upstream_rq_active", |state| state.requests.load(std::sync::atomic::Ordering::Relaxed).into()),
            ("envoy_cluster_upstream_cx_active", |state| state.connections.load(std::sync::atomic::Ordering::Relaxed).into()),
            ("envoy_cluster_outlier_detection_ejections_active", |state| state.ejected().into()),
        ];
        for (name, of) in gauges {
            heading(page, name, "gauge");
            for cluster in view.clusters() {
                line(page, name, &format!("cluster_name=\"{}\"", cluster.state.text), of(&cluster.state));
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

/// The inbound side's handshakes, as one listener, and when certificates end.
fn tls(page: &mut String, listener: &ListenerTls, issued: Option<&Issued>) {
    let failures = &listener.failures;
    for (name, counter) in [
        ("envoy_listener_ssl_handshake", &listener.handshakes),
        ("envoy_listener_ssl_session_reused", &listener.resumed),
        ("envoy_listener_ssl_connection_error", &failures.connection),
        ("envoy_listener_ssl_fail_verify_error", &failures.chain),
        ("envoy_listener_ssl_fail_verify_san", &failures.names),
        ("envoy_listener_ssl_fail_verify_no_cert", &failures.no_certificate),
    ] {
        heading(page, name, "counter");
        line(page, name, "listener_address=\"inbound\"", counter.load(std::sync::atomic::Ordering::Relaxed));
    }
    let Some(issued) = issued else { return };
    // Seconds from now, as Istio's agent says it.
    heading(page, "istio_agent_cert_expiry_seconds", "gauge");
    let root = issued.roots.iter().map(|root| root.not_after).min();
    for (resource, not_after) in [("default", Some(issued.own().not_after)), ("ROOTCA", root)] {
        let Some(not_after) = not_after else { continue };
        let left = i128::from(not_after) - i128::from(crate::tls::now());
        line(page, "istio_agent_cert_expiry_seconds", &format!("resource_name=\"{resource}\""), left);
    }
}

fn heading(page: &mut String, name: &str, kind: &str) {
    let _ = writeln!(page, "# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(page, "{name}{{{labels}}} {value}");
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
