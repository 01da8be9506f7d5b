//! Fields of Gateway.

use super::Shape::{Boolean, Integer, List, Object, OneOf, Text};
use super::{Shape, TEXT_MAP, TEXTS, no_effect, not_yet, on};

const TLS_VERSION: Shape = OneOf(&["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]);

pub(super) const TLS: Shape = Object(&[
    on("httpsRedirect", Boolean),
    not_yet("mode", OneOf(&["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"])),
    not_yet("serverCertificate", Text),
    not_yet("privateKey", Text),
    not_yet("caCertificates", Text),
    not_yet("caCertCredentialName", Text),
    not_yet("caCrl", Text),
    not_yet("credentialName", Text),
    not_yet("credentialNames", TEXTS),
    not_yet("tlsCertificates", List(&Object(&[on("caCertificates", Text), on("privateKey", Text), on("serverCertificate", Text)]))),
    not_yet("subjectAltNames", TEXTS),
    not_yet("verifyCertificateSpki", TEXTS),
    not_yet("verifyCertificateHash", TEXTS),
    not_yet("minProtocolVersion", TLS_VERSION),
    not_yet("maxProtocolVersion", TLS_VERSION),
    not_yet("cipherSuites", TEXTS),
    not_yet("ecdhCurves", TEXTS),
    not_yet("insecureSkipVerify", Boolean),
]);

pub(super) const SPEC: Shape = Object(&[
    on("selector", TEXT_MAP),
    on(
        "servers",
        List(&Object(&[
            on("port", Object(&[on("number", Integer), on("protocol", Text), no_effect("name", Text), no_effect("targetPort", Integer)])),
            not_yet("bind", Text),
            on("hosts", TEXTS),
            on("tls", TLS),
            no_effect("defaultEndpoint", Text),
            no_effect("name", Text),
        ])),
    ),
]);
