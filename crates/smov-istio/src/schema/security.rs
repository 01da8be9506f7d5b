//! Fields of PeerAuthentication, AuthorizationPolicy and RequestAuthentication.

use super::Shape::{Boolean, List, Map, Object, OneOf, Text};
use super::{SELECTOR, Shape, TARGET_REFERENCE, TEXTS, not_yet, on};

const MTLS: Shape = Object(&[on("mode", OneOf(&["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]))]);

pub(super) const PEER_AUTHENTICATION: Shape = Object(&[on("selector", SELECTOR), on("mtls", MTLS), on("portLevelMtls", Map(&MTLS))]);

const SOURCE: Shape = Object(&[
    on("principals", TEXTS),
    on("notPrincipals", TEXTS),
    on("requestPrincipals", TEXTS),
    on("notRequestPrincipals", TEXTS),
    on("namespaces", TEXTS),
    on("notNamespaces", TEXTS),
    on("serviceAccounts", TEXTS),
    on("notServiceAccounts", TEXTS),
    on("trustDomains", TEXTS),
    on("notTrustDomains", TEXTS),
    on("ipBlocks", TEXTS),
    on("notIpBlocks", TEXTS),
    on("remoteIpBlocks", TEXTS),
    on("notRemoteIpBlocks", TEXTS),
]);

const OPERATION: Shape = Object(&[
    on("hosts", TEXTS),
    on("notHosts", TEXTS),
    on("ports", TEXTS),
    on("notPorts", TEXTS),
    on("methods", TEXTS),
    on("notMethods", TEXTS),
    on("paths", TEXTS),
    on("notPaths", TEXTS),
]);

pub(super) const AUTHORIZATION_POLICY: Shape = Object(&[
    on("selector", SELECTOR),
    on("targetRef", TARGET_REFERENCE),
    on("targetRefs", List(&TARGET_REFERENCE)),
    on("action", OneOf(&["ALLOW", "DENY", "AUDIT", "CUSTOM"])),
    not_yet("provider", Object(&[on("name", Text)])),
    on(
        "rules",
        List(&Object(&[
            on("from", List(&Object(&[on("source", SOURCE)]))),
            on("to", List(&Object(&[on("operation", OPERATION)]))),
            on("when", List(&Object(&[on("key", Text), on("values", TEXTS), on("notValues", TEXTS)]))),
        ])),
    ),
]);

const JWT_RULE: Shape = Object(&[
    on("issuer", Text),
    on("audiences", TEXTS),
    on("jwksUri", Text),
    on("jwks_uri", Text),
    on("jwks", Text),
    on("fromHeaders", List(&Object(&[on("name", Text), on("prefix", Text)]))),
    on("fromParams", TEXTS),
    on("fromCookies", TEXTS),
    on("outputPayloadToHeader", Text),
    on("outputClaimToHeaders", List(&Object(&[on("header", Text), on("claim", Text)]))),
    on("forwardOriginalToken", Boolean),
    on("presence", OneOf(&["OPTIONAL", "REQUIRED"])),
    on("spaceDelimitedClaims", TEXTS),
    on("timeout", Text),
]);

pub(super) const REQUEST_AUTHENTICATION: Shape = Object(&[
    not_yet("selector", SELECTOR),
    not_yet("targetRef", TARGET_REFERENCE),
    not_yet("targetRefs", List(&TARGET_REFERENCE)),
    not_yet("jwtRules", List(&JWT_RULE)),
]);
