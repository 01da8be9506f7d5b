//! Fields of VirtualService.

use super::Shape::{Boolean, Integer, List, Map, Number, Object, OneOf, Text};
use super::{PORT_SELECTOR, Shape, TEXT_MAP, TEXTS, no_effect, not_yet, on};

const STRING_MATCH: Shape = Object(&[on("exact", Text), on("prefix", Text), on("regex", Text)]);

const PERCENT: Shape = Object(&[on("value", Number)]);

const DESTINATION: Shape = Object(&[on("host", Text), on("subset", Text), on("port", PORT_SELECTOR)]);

const HEADER_OPERATIONS: Shape = Object(&[on("set", TEXT_MAP), on("add", TEXT_MAP), on("remove", TEXTS)]);

const HEADERS: Shape = Object(&[on("request", HEADER_OPERATIONS), on("response", HEADER_OPERATIONS)]);

const MATCH: Shape = Object(&[
    no_effect("name", Text),
    on("uri", STRING_MATCH),
    on("scheme", STRING_MATCH),
    on("method", STRING_MATCH),
    on("authority", STRING_MATCH),
    on("headers", Map(&STRING_MATCH)),
    on("withoutHeaders", Map(&STRING_MATCH)),
    on("queryParams", Map(&STRING_MATCH)),
    on("ignoreUriCase", Boolean),
    on("port", Integer),
    on("sourceLabels", TEXT_MAP),
    on("sourceNamespace", Text),
    on("gateways", TEXTS),
    no_effect("statPrefix", Text),
]);

const HTTP_ROUTE: Shape = Object(&[
    no_effect("name", Text),
    on("match", List(&MATCH)),
    on("route", List(&Object(&[on("destination", DESTINATION), on("weight", Integer), on("headers", HEADERS)]))),
    on(
        "redirect",
        Object(&[
            on("uri", Text),
            on("prefixRewrite", Text),
            on("authority", Text),
            on("port", Integer),
            on("derivePort", OneOf(&["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"])),
            on("scheme", Text),
            on("redirectCode", Integer),
        ]),
    ),
    on("directResponse", Object(&[on("status", Integer), on("body", Object(&[on("string", Text), on("bytes", Text)]))])),
    on("delegate", Object(&[on("name", Text), on("namespace", Text)])),
    on(
        "rewrite",
        Object(&[on("uri", Text), on("authority", Text), on("uriRegexRewrite", Object(&[on("match", Text), on("rewrite", Text)]))]),
    ),
    on("timeout", Text),
    on(
        "retries",
        Object(&[
            on("attempts", Integer),
            on("perTryTimeout", Text),
            on("retryOn", Text),
            not_yet("retryRemoteLocalities", Boolean),
            on("retryIgnorePreviousHosts", Boolean),
            on("backoff", Text),
        ]),
    ),
    on(
        "fault",
        Object(&[
            on(
                "delay",
                Object(&[on("fixedDelay", Text), not_yet("exponentialDelay", Text), on("percentage", PERCENT), on("percent", Integer)]),
            ),
            on(
                "abort",
                Object(&[on("httpStatus", Integer), on("grpcStatus", Text), not_yet("http2Error", Text), on("percentage", PERCENT)]),
            ),
        ]),
    ),
    on("mirror", DESTINATION),
    on("mirrorPercent", Integer),
    on("mirror_percent", Integer),
    on("mirrorPercentage", PERCENT),
    on("mirrors", List(&Object(&[on("destination", DESTINATION), on("percentage", PERCENT)]))),
    on(
        "corsPolicy",
        Object(&[
            on("allowOrigins", List(&STRING_MATCH)),
            on("allowOrigin", TEXTS),
            on("allowMethods", TEXTS),
            on("allowHeaders", TEXTS),
            on("exposeHeaders", TEXTS),
            on("maxAge", Text),
            on("allowCredentials", Boolean),
            on("unmatchedPreflights", OneOf(&["UNSPECIFIED", "FORWARD", "IGNORE"])),
        ]),
    ),
    on("headers", HEADERS),
]);

const L4_ROUTE: Shape = List(&Object(&[on("destination", DESTINATION), on("weight", Integer)]));

const TCP_MATCH: Shape = Object(&[
    not_yet("destinationSubnets", TEXTS),
    on("port", Integer),
    on("sourceLabels", TEXT_MAP),
    on("sourceNamespace", Text),
    not_yet("sourceSubnet", Text),
    on("gateways", TEXTS),
]);

const TLS_MATCH: Shape = Object(&[
    on("sniHosts", TEXTS),
    on("destinationSubnets", TEXTS),
    on("port", Integer),
    on("sourceLabels", TEXT_MAP),
    on("sourceNamespace", Text),
    on("gateways", TEXTS),
]);

pub(super) const SPEC: Shape = Object(&[
    on("hosts", TEXTS),
    on("gateways", TEXTS),
    on("http", List(&HTTP_ROUTE)),
    not_yet("tls", List(&Object(&[on("match", List(&TLS_MATCH)), on("route", L4_ROUTE)]))),
    on("tcp", List(&Object(&[on("match", List(&TCP_MATCH)), on("route", L4_ROUTE)]))),
    on("exportTo", TEXTS),
]);
