//! gRPC's status codes by name (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The number of a status by its name; `None` for a name that gRPC does not have.
pub(crate) fn grpc_status(name: &str) -> Option<u8> {
    NAMES.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok())
}
