//! Fields of ServiceEntry and WorkloadEntry.

use super::Shape::{Integer, List, Map, Object, OneOf, Text};
use super::{Field, Shape, TEXT_MAP, TEXTS, not_yet, on};

const WORKLOAD: [Field; 7] = [
    on("address", Text),
    on("ports", Map(&Integer)),
    on("labels", TEXT_MAP),
    not_yet("network", Text),
    on("locality", Text),
    on("weight", Integer),
    on("serviceAccount", Text),
];

pub(super) const WORKLOAD_ENTRY: Shape = Object(&WORKLOAD);

pub(super) const SPEC: Shape = Object(&[
    on("hosts", TEXTS),
    on("addresses", TEXTS),
    on("ports", List(&Object(&[on("number", Integer), on("protocol", Text), on("name", Text), on("targetPort", Integer)]))),
    on("location", OneOf(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
    on("resolution", OneOf(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])),
    on("endpoints", List(&WORKLOAD_ENTRY)),
    on("workloadSelector", Object(&[on("labels", TEXT_MAP)])),
    on("exportTo", TEXTS),
    on("subjectAltNames", TEXTS),
]);
