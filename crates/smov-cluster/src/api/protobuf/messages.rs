//! Which fields the messages have: number, JSON name, type.

/// Number, JSON name, type.
pub(super) type Field = (u64, &'static str, Type);

#[derive(Clone, Copy)]
pub(super) enum Type {
    Text,
    Texts,
    Bool,
    /// Zero means absent.
    Number,
    /// A pointer in Go: zero is a value.
    Optional,
    Time,
    NumberOrText,
    TextMap,
    BytesMap,
    QuantityMap,
    One(&'static [Field]),
    Many(&'static [Field]),
    /// Only servers write it.
    Skip,
}

use Type::{Bool, BytesMap, Many, Number, NumberOrText, One, Optional, QuantityMap, Skip, Text, TextMap, Texts, Time};

const METADATA: &[Field] = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (4, "selfLink", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (7, "generation", Number),
    (8, "creationTimestamp", Time),
    (9, "deletionTimestamp", Time),
    (10, "deletionGracePeriodSeconds", Optional),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
    (13, "ownerReferences", Many(OWNER)),
    (14, "finalizers", Texts),
    (17, "managedFields", Skip),
];
const OWNER: &[Field] = &[
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", Bool),
    (7, "blockOwnerDeletion", Bool),
];
const REFERENCE: &[Field] = &[
    (1, "kind", Text),
    (2, "namespace", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "resourceVersion", Text),
    (7, "fieldPath", Text),
];
const NAME: &[Field] = &[(1, "name", Text)];
const SELECTOR: &[Field] =
    &[(1, "matchLabels", TextMap), (2, "matchExpressions", Many(&[(1, "key", Text), (2, "operator", Text), (3, "values", Texts)]))];
const CONTAINER: &[Field] = &[
    (1, "name", Text),
    (2, "image", Text),
    (3, "command", Texts),
    (4, "args", Texts),
    (5, "workingDir", Text),
    (
        6,
        "ports",
        Many(&[(1, "name", Text), (2, "hostPort", Number), (3, "containerPort", Number), (4, "protocol", Text), (5, "hostIP", Text)]),
    ),
    (7, "env", Many(&[(1, "name", Text), (2, "value", Text)])),
    (8, "resources", One(&[(1, "limits", QuantityMap), (2, "requests", QuantityMap)])),
    (13, "terminationMessagePath", Text),
    (14, "imagePullPolicy", Text),
    (16, "stdin", Bool),
    (17, "stdinOnce", Bool),
    (18, "tty", Bool),
    (20, "terminationMessagePolicy", Text),
];
const TEMPLATE: &[Field] = &[
    (1, "metadata", One(METADATA)),
    (
        2,
        "spec",
        One(&[
            (2, "containers", Many(CONTAINER)),
            (3, "restartPolicy", Text),
            (4, "terminationGracePeriodSeconds", Optional),
            (5, "activeDeadlineSeconds", Optional),
            (6, "dnsPolicy", Text),
            (7, "nodeSelector", TextMap),
            (8, "serviceAccountName", Text),
            (9, "serviceAccount", Text),
            (10, "nodeName", Text),
            (11, "hostNetwork", Bool),
            (12, "hostPID", Bool),
            (13, "hostIPC", Bool),
            (15, "imagePullSecrets", Many(NAME)),
            (16, "hostname", Text),
            (17, "subdomain", Text),
            (19, "schedulerName", Text),
            (20, "initContainers", Many(CONTAINER)),
            (24, "priorityClassName", Text),
        ]),
    ),
];
const RULES: &[Field] =
    &[(1, "verbs", Texts), (2, "apiGroups", Texts), (3, "resources", Texts), (4, "resourceNames", Texts), (5, "nonResourceURLs", Texts)];
const BINDING: &[Field] = &[
    (1, "metadata", One(METADATA)),
    (2, "subjects", Many(&[(1, "kind", Text), (2, "apiGroup", Text), (3, "name", Text), (4, "namespace", Text)])),
    (3, "roleRef", One(&[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)])),
];
const ACCESS: &[Field] = &[
    (
        1,
        "resourceAttributes",
        One(&[
            (1, "namespace", Text),
            (2, "verb", Text),
            (3, "group", Text),
            (4, "version", Text),
            (5, "resource", Text),
            (6, "subresource", Text),
            (7, "name", Text),
        ]),
    ),
    (2, "nonResourceAttributes", One(&[(1, "path", Text), (2, "verb", Text)])),
    (3, "user", Text),
    (4, "groups", Texts),
    (6, "uid", Text),
];

/// The fields of a kind that can be read from protobuf.
pub(super) fn message(kind: &str) -> Option<&'static [Field]> {
    Some(match kind {
        "ConfigMap" => &[(1, "metadata", One(METADATA)), (2, "data", TextMap), (3, "binaryData", BytesMap), (4, "immutable", Bool)],
        "Secret" => {
            &[(1, "metadata", One(METADATA)), (2, "data", BytesMap), (3, "type", Text), (4, "stringData", TextMap), (5, "immutable", Bool)]
        }
        "Namespace" => &[(1, "metadata", One(METADATA)), (2, "spec", One(&[(1, "finalizers", Texts)])), (3, "status", Skip)],
        "ServiceAccount" => &[
            (1, "metadata", One(METADATA)),
            (2, "secrets", Many(REFERENCE)),
            (3, "imagePullSecrets", Many(NAME)),
            (4, "automountServiceAccountToken", Bool),
        ],
        "Service" => &[
            (1, "metadata", One(METADATA)),
            (
                2,
                "spec",
                One(&[
                    (
                        1,
                        "ports",
                        Many(&[
                            (1, "name", Text),
                            (2, "protocol", Text),
                            (3, "port", Number),
                            (4, "targetPort", NumberOrText),
                            (5, "nodePort", Number),
                            (6, "appProtocol", Text),
                        ]),
                    ),
                    (2, "selector", TextMap),
                    (3, "clusterIP", Text),
                    (4, "type", Text),
                    (5, "externalIPs", Texts),
                    (7, "sessionAffinity", Text),
                    (8, "loadBalancerIP", Text),
                    (9, "loadBalancerSourceRanges", Texts),
                    (10, "externalName", Text),
                    (11, "externalTrafficPolicy", Text),
                    (12, "healthCheckNodePort", Number),
                    (13, "publishNotReadyAddresses", Bool),
                    (18, "clusterIPs", Texts),
                ]),
            ),
            (3, "status", Skip),
        ],
        "Deployment" => &[
            (1, "metadata", One(METADATA)),
            (
                2,
                "spec",
                One(&[
                    (1, "replicas", Optional),
                    (2, "selector", One(SELECTOR)),
                    (3, "template", One(TEMPLATE)),
                    (
                        4,
                        "strategy",
                        One(&[
                            (1, "type", Text),
                            (2, "rollingUpdate", One(&[(1, "maxUnavailable", NumberOrText), (2, "maxSurge", NumberOrText)])),
                        ]),
                    ),
                    (5, "minReadySeconds", Number),
                    (6, "revisionHistoryLimit", Optional),
                    (7, "paused", Bool),
                    (9, "progressDeadlineSeconds", Optional),
                ]),
            ),
            (3, "status", Skip),
        ],
        "PodDisruptionBudget" => &[
            (1, "metadata", One(METADATA)),
            (2, "spec", One(&[(1, "minAvailable", NumberOrText), (2, "selector", One(SELECTOR)), (3, "maxUnavailable", NumberOrText)])),
            (3, "status", Skip),
        ],
        "Role" | "ClusterRole" => &[(1, "metadata", One(METADATA)), (2, "rules", Many(RULES))],
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        "TokenRequest" => &[
            (1, "metadata", One(METADATA)),
            (
                2,
                "spec",
                One(&[
                    (1, "audiences", Texts),
                    (3, "boundObjectRef", One(&[(1, "kind", Text), (2, "apiVersion", Text), (3, "name", Text), (4, "uid", Text)])),
                    (4, "expirationSeconds", Optional),
                ]),
            ),
            (3, "status", Skip),
        ],
        "TokenReview" => {
            &[(1, "metadata", One(METADATA)), (2, "spec", One(&[(1, "token", Text), (2, "audiences", Texts)])), (3, "status", Skip)]
        }
        "SelfSubjectReview" => &[(1, "metadata", One(METADATA)), (2, "status", Skip)],
        "SelfSubjectAccessReview" | "SubjectAccessReview" => {
            &[(1, "metadata", One(METADATA)), (2, "spec", One(ACCESS)), (3, "status", Skip)]
        }
        "SelfSubjectRulesReview" => &[(1, "metadata", One(METADATA)), (2, "spec", One(&[(1, "namespace", Text)])), (3, "status", Skip)],
        "DeleteOptions" => &[
            (1, "gracePeriodSeconds", Optional),
            (2, "preconditions", One(&[(1, "uid", Text), (2, "resourceVersion", Text)])),
            (3, "orphanDependents", Bool),
            (4, "propagationPolicy", Text),
            (5, "dryRun", Texts),
        ],
        _ => return None,
    })
}
