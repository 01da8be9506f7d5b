//! PeerAuthentications by scope and mode, and what callers make of them.

use smov_istio::compile::{Prepared, compile};
use smov_istio::explain::{ClientSide, Verdict};
use smov_istio::validate::validate;
use smov_istio::world::World;
use smov_istio::yaml;
use smov_model::cluster::{Cluster, Discovery};
use smov_model::tls::{ClientCertificate, ClusterTls, MutualTlsMode, Roots};

use crate::theatre::{VERSION, api_gateway, cluster, cp_gateway, sidecar, world_with};

const USERS: &str = "outbound|8081||user-service.theater-msa.svc.cluster.local";

fn policy(name: &str, namespace: &str, created: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}, creationTimestamp: \"{created}\"}}\nspec: {spec}\n"
    )
}

fn rule(spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: dr, namespace: theater-msa}}\nspec: {spec}\n"
    )
}

fn found(world: &World, name: &str) -> Cluster {
    compile(world, &api_gateway(), VERSION).snapshot.clusters.values().find(|one| one.name.to_string() == name).unwrap().clone()
}

/// What the users' port takes, and whether callers know.
fn mode(text: &str) -> (MutualTlsMode, bool) {
    let world = world_with(text);
    let inbound = compile(&world, &sidecar(&user_pod(&world)), VERSION).snapshot.inbound;
    let endpoints = found(&world, USERS).endpoints;
    let taking = endpoints.iter().any(|endpoint| endpoint.mutual_tls);
    assert_eq!(taking, endpoints.iter().all(|endpoint| endpoint.mutual_tls), "endpoints of both clusters go by the own cluster's rules");
    (inbound.iter().find(|port| port.port.number() == 8081).unwrap().mutual_tls, taking)
}

fn user_pod(world: &World) -> String {
    let own = cluster("ctx1");
    let mut pods = world.pods_of(&own, "theater-msa");
    pods.find(|(_, pod)| pod.labels.get("app").is_some_and(|app| app == "user-service")).unwrap().0.to_owned()
}

#[test]
fn the_narrowest_scope_wins_and_unset_inherits() {
    use MutualTlsMode::{Disable, Permissive, Strict};
    let mesh = |spec: &str| policy("default", "istio-system", "1", spec);
    let namespace = |spec: &str| policy("default", "theater-msa", "1", spec);
    let workload =
        |spec: &str| policy("users", "theater-msa", "1", &format!("{{selector: {{matchLabels: {{app: user-service}}}}, {spec}}}"));
    for (text, expected) in [
        (String::new(), Permissive),
        (mesh("{mtls: {mode: STRICT}}"), Strict),
        (mesh("{mtls: {mode: UNSET}}"), Permissive),
        (mesh("{mtls: {mode: STRICT}}") + &namespace("{mtls: {mode: DISABLE}}"), Disable),
        (mesh("{mtls: {mode: STRICT}}") + &namespace("{mtls: {mode: UNSET}}"), Strict),
        (mesh("{mtls: {mode: STRICT}}") + &namespace("{}"), Strict),
        (mesh("{mtls: {mode: STRICT}}") + &workload("mtls: {mode: PERMISSIVE}"), Permissive),
        (namespace("{mtls: {mode: STRICT}}") + &workload("mtls: {mode: UNSET}"), Strict),
        (workload("mtls: {mode: STRICT}, portLevelMtls: {8081: {mode: DISABLE}}"), Disable),
        (workload("mtls: {mode: STRICT}, portLevelMtls: {8081: {mode: UNSET}}"), Strict),
        (workload("mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: DISABLE}}"), Strict),
        (namespace("{mtls: {mode: STRICT}}") + &workload("portLevelMtls: {9090: {mode: DISABLE}}"), Strict),
        (policy("d", "elsewhere", "1", "{mtls: {mode: STRICT}}"), Permissive),
        (policy("u", "istio-system", "1", "{selector: {matchLabels: {app: user-service}}, mtls: {mode: STRICT}}"), Permissive),
    ] {
        assert_eq!(mode(&text), (expected, expected != Disable), "{text}");
    }
}

#[test]
fn the_oldest_wins_in_a_scope() {
    let two = |newer: &str, older: &str| {
        policy("a", "theater-msa", "2026-01-02T00:00:00Z", newer) + &policy("b", "theater-msa", "2026-01-01T00:00:00Z", older)
    };
    assert_eq!(mode(&two("{mtls: {mode: DISABLE}}", "{mtls: {mode: STRICT}}")).0, MutualTlsMode::Strict);
    let select = |mode: &str| format!("{{selector: {{matchLabels: {{app: user-service}}}}, mtls: {{mode: {mode}}}}}");
    assert_eq!(mode(&two(&select("DISABLE"), &select("STRICT"))).0, MutualTlsMode::Strict);
}

#[test]
fn auto_mtls_ends_where_the_namespace_or_the_mesh_says_so() {
    let auto = |text: &str| matches!(found(&world_with(text), USERS).tls, ClusterTls::Auto(_));
    assert!(auto(""));
    assert!(!auto(&policy("default", "theater-msa", "1", "{mtls: {mode: DISABLE}}")));
    // One workload's mode is its endpoints' matter.
    assert!(auto(&policy("u", "theater-msa", "1", "{selector: {matchLabels: {app: user-service}}, mtls: {mode: DISABLE}}")));
    let mesh =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: \"enableAutoMtls: false\"}\n";
    assert!(!auto(mesh));
}

#[test]
fn a_pod_says_by_its_label_that_it_takes_none() {
    let mut world = world_with("");
    let pod = user_pod(&world);
    let own = cluster("ctx1");
    let (_, known) = world.pods_of(&own, "theater-msa").find(|(name, _)| *name == pod).unwrap();
    let (address, account) = (known.address.unwrap(), known.service_account.clone());
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod, "namespace": "theater-msa", "labels": {"app": "user-service", "security.istio.io/tlsMode": "disabled"}},
        "spec": {"serviceAccountName": account, "containers": [{"name": "user-service"}, {"name": "istio-proxy"}]},
        "status": {"phase": "Running", "podIP": address.to_string()},
    });
    world.apply(&cluster("ctx1"), &object);
    let endpoints = found(&world, USERS).endpoints;
    assert!(endpoints.iter().all(|endpoint| endpoint.mutual_tls != (endpoint.address.ip() == address)), "{endpoints:?}");
}

#[test]
fn a_secret_is_for_gateways_and_for_the_clients_that_a_rule_names() {
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: cert, namespace: NS}\ndata: {cert: QQ==, key: Qg==, cacert: Qw==}\n";
    let text = rule("{host: user-service, trafficPolicy: {tls: {mode: MUTUAL, credentialName: cert, sni: x}}}");
    let world = world_with(&(secret.replace("NS", "istio-system") + &text));
    assert_eq!(found(&world, USERS).tls, ClusterTls::Disable);
    let of_gateway = compile(&world, &cp_gateway(), VERSION).snapshot.clusters.into_values().find(|one| one.name.to_string() == USERS);
    let ClusterTls::Origin(origin) = of_gateway.unwrap().tls else { panic!("TLS of its own") };
    assert_eq!((origin.roots.clone(), origin.sni.as_deref()), (Roots::Pem("C".to_owned()), Some("x")));
    assert_eq!(origin.client, Some(ClientCertificate::Pem { certificate: "A".to_owned(), private_key: "B".to_owned() }));

    let selected = text.replace("{host:", "{workloadSelector: {matchLabels: {app: api-gateway}}, host:");
    let world = world_with(&(secret.replace("NS", "theater-msa") + &selected));
    assert!(matches!(found(&world, USERS).tls, ClusterTls::Origin(_)));
}

#[test]
fn the_explanation_says_what_comes_of_both_sides_and_which_line_decides() {
    let strict = policy("default", "theater-msa", "1", "{mtls: {mode: STRICT}}");
    let told = |text: &str| {
        let world = world_with(text);
        let security = Prepared::new(&world).security_of(&api_gateway());
        security.into_values().find(|one| one.cluster.to_string() == USERS).unwrap()
    };
    let auto = told(&strict);
    assert_eq!((auto.client, auto.written.clone(), auto.servers[0].verdict), (ClientSide::Auto, None, Verdict::MutualTls));
    assert_eq!(auto.identity, "spiffe://cluster.local/ns/theater-msa/sa/api-gateway");
    let origin = auto.servers[0].origin.as_ref().unwrap();
    assert_eq!((origin.resource.name.as_str(), origin.path.as_str()), ("default", "spec.mtls.mode"));

    let broken = told(&(strict.clone() + &rule("{host: user-service, trafficPolicy: {tls: {mode: DISABLE}}}")));
    assert_eq!((broken.client, broken.servers[0].verdict), (ClientSide::Plaintext, Verdict::RefusedByCallee));
    assert_eq!(broken.written.unwrap().path, "spec.trafficPolicy.tls");
    let port = rule(
        "{host: user-service, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 8081}, tls: {mode: SIMPLE}}]}}",
    );
    assert_eq!(told(&port).written.unwrap().path, "spec.trafficPolicy.portLevelSettings[0].tls");
    let other = rule("{host: user-service, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: [\"spiffe://other/ns/a/sa/b\"]}}}");
    assert_eq!(told(&other).servers[0].verdict, Verdict::RefusedByCaller);
    let disabled = policy("default", "theater-msa", "1", "{mtls: {mode: DISABLE}}");
    assert_eq!(told(&disabled).servers[0].verdict, Verdict::Plaintext);
}

#[test]
fn the_webhook_on_peer_authentications() {
    for (spec, expected) in [
        ("{}", &[][..]),
        ("{mtls: {mode: STRICT}}", &[]),
        ("{portLevelMtls: {80: {mode: STRICT}}}", &["port-without-selector"]),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {}}", &["empty-policy"]),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}, 70000: {mode: STRICT}}}", &["invalid-port", "invalid-port"]),
        ("{selector: {matchLabels: {a: \"b*\"}}}", &["invalid-selector"]),
        ("{selector: {}}", &["invalid-selector"]),
        ("{mtls: {mode: STRICK}}", &["IST0106"]),
    ] {
        let text = policy("p", "x", "1", spec);
        let document = yaml::parse(&text).unwrap().remove(0);
        let codes: Vec<_> = validate(&document.value).into_iter().map(|finding| finding.code).collect();
        assert_eq!(codes, expected, "{spec}");
    }
    let bare = serde_json::json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "p"}});
    assert_eq!(validate(&bare), []);
}

#[test]
fn behind_a_service_entry_are_the_accounts_that_it_names_whatever_its_labels_say() {
    let identities = |resolution: &str, endpoints: &str| {
        let entry = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: vm, namespace: theater-msa}}\nspec:\n  hosts: [vm.example.com]\n  \
             location: MESH_INTERNAL\n  resolution: {resolution}\n  ports: [{{number: 8443, name: tcp, protocol: TCP}}]\n  endpoints: {endpoints}\n"
        );
        let world = world_with(&(entry + &rule("{host: vm.example.com, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}")));
        match found(&world, "outbound|8443||vm.example.com").tls {
            ClusterTls::IstioMutual(tls) => tls.subject_alt_names,
            other => panic!("{other:?}"),
        }
    };
    let expected = ["spiffe://cluster.local/ns/theater-msa/sa/vm"];
    assert_eq!(identities("STATIC", "[{address: 127.0.0.9, serviceAccount: vm}]"), expected, "no label says that it takes mutual TLS");
    assert_eq!(identities("DNS", "[{address: vm-1.example.com, serviceAccount: vm}, {address: vm-2.example.com}]"), expected);
    assert!(identities("STATIC", "[{address: 127.0.0.9}]").is_empty(), "as in Istio: nobody says who");
}

#[test]
fn endpoints_that_dns_finds_say_by_their_labels_that_they_take_mutual_tls() {
    let entry = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: vm, namespace: theater-msa}\nspec:\n  hosts: [vm.example.com]\n  \
                 location: MESH_INTERNAL\n  resolution: DNS\n  ports: [{number: 8443, name: tcp, protocol: TCP}]\n  endpoints:\n  \
                 - {address: vm-1.example.com, serviceAccount: vm, labels: {security.istio.io/tlsMode: istio}}\n  - {address: vm-2.example.com}\n";
    let cluster = found(&world_with(entry), "outbound|8443||vm.example.com");
    let Discovery::Dns(names) = cluster.discovery else { panic!("{:?}", cluster.discovery) };
    let told: Vec<_> = names.iter().map(|name| (name.host.as_str(), name.mutual_tls)).collect();
    assert_eq!(told, [("vm-1.example.com", true), ("vm-2.example.com", false)]);
    assert!(matches!(cluster.tls, ClusterTls::Auto(tls) if tls.subject_alt_names == ["spiffe://cluster.local/ns/theater-msa/sa/vm"]));
}
