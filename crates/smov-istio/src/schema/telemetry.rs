//! Fields of Telemetry.

use super::Shape::{Boolean, List, Map, Number, Object, OneOf, Text};
use super::{SELECTOR, Shape, TARGET_REFERENCE, not_yet, on};

const PROVIDERS: Shape = List(&Object(&[on("name", Text)]));

const MODE: Shape = OneOf(&["CLIENT_AND_SERVER", "CLIENT", "SERVER"]);

const METRIC: Shape = OneOf(&[
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
]);

const NAMED: Shape = Object(&[on("name", Text), on("defaultValue", Text)]);

const VALUE: Shape = Object(&[on("value", Text)]);

pub(super) const SPEC: Shape = Object(&[
    on("selector", SELECTOR),
    not_yet("targetRef", TARGET_REFERENCE),
    not_yet("targetRefs", List(&TARGET_REFERENCE)),
    on(
        "tracing",
        List(&Object(&[
            on("match", Object(&[on("mode", MODE)])),
            on("providers", PROVIDERS),
            on("randomSamplingPercentage", Number),
            on("disableSpanReporting", Boolean),
            not_yet("disableContextPropagation", Boolean),
            not_yet(
                "customTags",
                Map(&Object(&[on("literal", VALUE), on("formatter", VALUE), on("environment", NAMED), on("header", NAMED)])),
            ),
            not_yet("useRequestIdForTraceSampling", Boolean),
            not_yet("enableIstioTags", Boolean),
        ])),
    ),
    not_yet(
        "metrics",
        List(&Object(&[
            on("providers", PROVIDERS),
            on("reportingInterval", Text),
            on(
                "overrides",
                List(&Object(&[
                    on("match", Object(&[on("metric", METRIC), on("customMetric", Text), on("mode", MODE)])),
                    on("disabled", Boolean),
                    on("tagOverrides", Map(&Object(&[on("operation", OneOf(&["UPSERT", "REMOVE"])), on("value", Text)]))),
                ])),
            ),
        ])),
    ),
    on(
        "accessLogging",
        List(&Object(&[
            on("match", Object(&[on("mode", MODE)])),
            on("providers", PROVIDERS),
            on("disabled", Boolean),
            on("filter", Object(&[on("expression", Text)])),
        ])),
    ),
]);
