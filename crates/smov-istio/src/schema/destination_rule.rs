//! Fields of DestinationRule.

use super::Shape::{Boolean, Integer, List, Map, Number, Object, OneOf, Text};
use super::{Field, PORT_SELECTOR, Shape, TEXT_MAP, TEXTS, no_effect, not_yet, on};

const FAILOVER: Shape = List(&Object(&[on("from", Text), on("to", Text)]));

const LOAD_BALANCER: Shape = Object(&[
    on("simple", OneOf(&["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"])),
    on(
        "consistentHash",
        Object(&[
            on("httpHeaderName", Text),
            on(
                "httpCookie",
                Object(&[
                    on("name", Text),
                    on("path", Text),
                    on("ttl", Text),
                    not_yet("attributes", List(&Object(&[on("name", Text), on("value", Text)]))),
                ]),
            ),
            on("useSourceIp", Boolean),
            on("httpQueryParameterName", Text),
            on("ringHash", Object(&[on("minimumRingSize", Integer)])),
            on("maglev", Object(&[on("tableSize", Integer)])),
            on("minimumRingSize", Integer),
        ]),
    ),
    on(
        "localityLbSetting",
        Object(&[
            on("distribute", List(&Object(&[on("from", Text), on("to", Map(&Integer))]))),
            on("failover", FAILOVER),
            on("failoverPriority", TEXTS),
            on("enabled", Boolean),
        ]),
    ),
    not_yet(
        "zoneAwareLbSetting",
        Object(&[on("enabled", Boolean), on("failover", FAILOVER), on("failoverPriority", TEXTS), on("minClusterSize", Integer)]),
    ),
    not_yet("warmup", Object(&[on("duration", Text), on("minimumPercent", Number), on("aggression", Number)])),
    not_yet("warmupDurationSecs", Text),
    not_yet(
        "backendUtilization",
        Object(&[
            on("errorUtilizationPenaltyPercent", Integer),
            on("metricNamesForComputingUtilization", TEXTS),
            on("weightExpirationPeriod", Text),
            on("weightStabilizationPeriod", Text),
            on("weightUpdatePeriod", Text),
        ]),
    ),
]);

pub(super) const CONNECTION_POOL: Shape = Object(&[
    on(
        "tcp",
        Object(&[
            on("maxConnections", Integer),
            on("connectTimeout", Text),
            on("idleTimeout", Text),
            not_yet("maxConnectionDuration", Text),
            not_yet("tcpKeepalive", Object(&[on("interval", Text), on("probes", Integer), on("time", Text)])),
        ]),
    ),
    on(
        "http",
        Object(&[
            on("http1MaxPendingRequests", Integer),
            on("http2MaxRequests", Integer),
            on("maxRequestsPerConnection", Integer),
            on("maxRetries", Integer),
            on("idleTimeout", Text),
            not_yet("h2UpgradePolicy", OneOf(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"])),
            not_yet("useClientProtocol", Boolean),
            not_yet("maxConcurrentStreams", Integer),
            not_yet("http2KeepAlive", Object(&[on("interval", Text), on("timeout", Text)])),
        ]),
    ),
]);

const OUTLIER_DETECTION: Shape = Object(&[
    no_effect("consecutiveErrors", Integer),
    on("consecutive5xxErrors", Integer),
    on("consecutiveGatewayErrors", Integer),
    on("interval", Text),
    on("baseEjectionTime", Text),
    on("maxEjectionPercent", Integer),
    on("minHealthPercent", Integer),
    not_yet("splitExternalLocalOriginErrors", Boolean),
    not_yet("consecutiveLocalOriginFailures", Integer),
    not_yet("outlierDetectionHttpErrorCodes", List(&Integer)),
]);

const TLS: Shape = Object(&[
    on("mode", OneOf(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"])),
    on("clientCertificate", Text),
    on("privateKey", Text),
    on("caCertificates", Text),
    not_yet("caCrl", Text),
    on("credentialName", Text),
    on("subjectAltNames", TEXTS),
    on("sni", Text),
    on("insecureSkipVerify", Boolean),
]);

const fn blocks() -> [Field; 4] {
    [on("loadBalancer", LOAD_BALANCER), on("connectionPool", CONNECTION_POOL), on("outlierDetection", OUTLIER_DETECTION), on("tls", TLS)]
}

const PORT_POLICY: Shape = {
    const FIELDS: [Field; 5] = {
        let [balancer, pool, outlier, tls] = blocks();
        [on("port", PORT_SELECTOR), balancer, pool, outlier, tls]
    };
    Object(&FIELDS)
};

const TRAFFIC_POLICY: Shape = {
    const FIELDS: [Field; 8] = {
        let [balancer, pool, outlier, tls] = blocks();
        [
            balancer,
            pool,
            outlier,
            tls,
            on("portLevelSettings", List(&PORT_POLICY)),
            not_yet("tunnel", Object(&[on("protocol", Text), on("targetHost", Text), on("targetPort", Integer)])),
            not_yet("proxyProtocol", Object(&[on("version", OneOf(&["V1", "V2"]))])),
            not_yet("retryBudget", Object(&[on("budgetInterval", Text), on("minRetryConcurrency", Integer), on("percent", Number)])),
        ]
    };
    Object(&FIELDS)
};

pub(super) const SPEC: Shape = Object(&[
    on("host", Text),
    on("trafficPolicy", TRAFFIC_POLICY),
    on("subsets", List(&Object(&[on("name", Text), on("labels", TEXT_MAP), on("trafficPolicy", TRAFFIC_POLICY)]))),
    on("exportTo", TEXTS),
    on("workloadSelector", Object(&[on("matchLabels", TEXT_MAP)])),
]);
