//! Fields of Sidecar.

use super::Shape::{Integer, List, Object, OneOf, Text};
use super::{Shape, TEXT_MAP, TEXTS, destination_rule, gateway, not_yet, on};

const PORT: Shape = Object(&[on("number", Integer), on("protocol", Text), on("name", Text), on("targetPort", Integer)]);

const CAPTURE: Shape = OneOf(&["DEFAULT", "IPTABLES", "NONE"]);

pub(super) const SPEC: Shape = Object(&[
    not_yet("workloadSelector", Object(&[on("labels", TEXT_MAP)])),
    not_yet(
        "ingress",
        List(&Object(&[
            on("port", PORT),
            on("bind", Text),
            on("captureMode", CAPTURE),
            on("defaultEndpoint", Text),
            on("tls", gateway::TLS),
            on("connectionPool", destination_rule::CONNECTION_POOL),
        ])),
    ),
    not_yet("egress", List(&Object(&[on("port", PORT), on("bind", Text), on("captureMode", CAPTURE), on("hosts", TEXTS)]))),
    not_yet("inboundConnectionPool", destination_rule::CONNECTION_POOL),
    not_yet(
        "outboundTrafficPolicy",
        Object(&[
            on("mode", OneOf(&["REGISTRY_ONLY", "ALLOW_ANY"])),
            on("egressProxy", Object(&[on("host", Text), on("subset", Text), on("port", Object(&[on("number", Integer)]))])),
        ]),
    ),
]);
