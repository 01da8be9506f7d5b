//! A container's environment, from nothing: what the cluster gives, one group per Service, then `envFrom` and `env` with `$(VAR)` references.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::doors::Doors;
use crate::controllers::fields::{annotation, items, label, name, namespace, text, uid};
use crate::registry::Object;

/// Why the environment cannot be made; shown as `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ConfigError(pub(super) String);

/// Where ConfigMaps and Secrets are looked up.
pub(super) trait Lookup {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Object>;
    fn secret(&self, namespace: &str, name: &str) -> Option<Object>;
}

/// The variables of one container: `given` ones first, then those of the manifest, which win.
pub(super) fn resolve(
    pod: &Value,
    container: &Value,
    given: BTreeMap<String, String>,
    lookup: &dyn Lookup,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut environment = given;
    for source in items(container, "/envFrom") {
        add_all(pod, source, lookup, &mut environment)?;
    }
    for variable in items(container, "/env") {
        let key = text(variable, "/name").to_owned();
        let value = match (variable["value"].as_str(), variable.get("valueFrom").filter(|from| !from.is_null())) {
            (Some(value), _) => Some(expand(value, &environment)),
            (None, Some(from)) => value_from(pod, container, from, lookup, &environment)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            environment.insert(key, value);
        }
    }
    Ok(environment)
}

/// Takes out what tells the system's loader and C library to run other code, and names it. Programs of ours run as they are.
pub(super) fn without_foreign_code(environment: &mut BTreeMap<String, String>) -> Vec<String> {
    let foreign = |name: &str| name.starts_with("LD_") || name.starts_with("DYLD_") || name == "GLIBC_TUNABLES";
    let left_out: Vec<String> = environment.keys().filter(|name| foreign(name)).cloned().collect();
    environment.retain(|name, _| !foreign(name));
    left_out
}

/// `$(NAME)` → its value; `$$(NAME)` stays as `$(NAME)`; unknown names stay as they are.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((variable, after)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match environment.get(variable) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[..variable.len() + 3]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn add_all(pod: &Value, source: &Value, lookup: &dyn Lookup, environment: &mut BTreeMap<String, String>) -> Result<(), ConfigError> {
    let prefix = text(source, "/prefix");
    let (kind, reference) =
        if source["configMapRef"].is_object() { ("configmap", &source["configMapRef"]) } else { ("secret", &source["secretRef"]) };
    let wanted = text(reference, "/name");
    let found = if kind == "configmap" { lookup.config_map(namespace(pod), wanted) } else { lookup.secret(namespace(pod), wanted) };
    let Some(found) = found else {
        return if reference["optional"] == true { Ok(()) } else { Err(ConfigError(format!("{kind} \"{wanted}\" not found"))) };
    };
    for (key, value) in contents(&found) {
        if let Ok(value) = String::from_utf8(value) {
            environment.insert(format!("{prefix}{key}"), value);
        }
    }
    Ok(())
}

fn value_from(
    pod: &Value,
    container: &Value,
    from: &Value,
    lookup: &dyn Lookup,
    environment: &BTreeMap<String, String>,
) -> Result<Option<String>, ConfigError> {
    if let Some(field) = from.pointer("/fieldRef/fieldPath").and_then(Value::as_str) {
        return field_value(pod, field, environment).map(Some);
    }
    if from["resourceFieldRef"].is_object() {
        return Ok(Some(resource_value(container, &from["resourceFieldRef"])));
    }
    let (kind, reference) =
        if from["configMapKeyRef"].is_object() { ("configmap", &from["configMapKeyRef"]) } else { ("secret", &from["secretKeyRef"]) };
    let (wanted, key) = (text(reference, "/name"), text(reference, "/key"));
    let found = if kind == "configmap" { lookup.config_map(namespace(pod), wanted) } else { lookup.secret(namespace(pod), wanted) };
    let optional = reference["optional"] == true;
    let Some(found) = found else {
        return if optional { Ok(None) } else { Err(ConfigError(format!("{kind} \"{wanted}\" not found"))) };
    };
    match contents(&found).remove(key).and_then(|value| String::from_utf8(value).ok()) {
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None => {
            let object = if kind == "configmap" { "ConfigMap" } else { "Secret" };
            Err(ConfigError(format!("couldn't find key {key} in {object} {}/{wanted}", namespace(pod))))
        }
    }
}

/// The entries of a ConfigMap (`data`, `binaryData`) or Secret (`data`, base64).
pub(super) fn contents(object: &Value) -> BTreeMap<String, Vec<u8>> {
    use base64::Engine as _;
    let decode = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok();
    let entries = |field: &str| object.get(field).and_then(Value::as_object).into_iter().flatten();
    if object["kind"] == "Secret" {
        return entries("data").filter_map(|(key, value)| Some((key.clone(), decode(value)?))).collect();
    }
    let plain = entries("data").filter_map(|(key, value)| Some((key.clone(), value.as_str()?.as_bytes().to_vec())));
    plain.chain(entries("binaryData").filter_map(|(key, value)| Some((key.clone(), decode(value)?)))).collect()
}

/// The downward API's fields of a pod. Addresses come from the environment that the kubelet gave, since the status is written later.
pub(super) fn field_value(pod: &Value, path: &str, environment: &BTreeMap<String, String>) -> Result<String, ConfigError> {
    let given = |variable: &str| environment.get(variable).cloned().unwrap_or_default();
    let quoted =
        |path: &str, map: &str| path.strip_prefix(map).and_then(|rest| rest.strip_prefix("['")?.strip_suffix("']").map(str::to_owned));
    Ok(match path {
        "metadata.name" => name(pod).to_owned(),
        "metadata.namespace" => namespace(pod).to_owned(),
        "metadata.uid" => uid(pod).to_owned(),
        "metadata.labels" => lines(&pod["metadata"]["labels"]),
        "metadata.annotations" => lines(&pod["metadata"]["annotations"]),
        "spec.nodeName" => text(pod, "/spec/nodeName").to_owned(),
        "spec.serviceAccountName" => given("SERVICE_ACCOUNT"),
        "status.podIP" | "status.podIPs" => given("POD_IP"),
        "status.hostIP" | "status.hostIPs" => given("SMOV_HOST_IP"),
        other => {
            if let Some(key) = quoted(other, "metadata.labels") {
                label(pod, &key).unwrap_or_default().to_owned()
            } else if let Some(key) = quoted(other, "metadata.annotations") {
                annotation(pod, &key).unwrap_or_default().to_owned()
            } else {
                return Err(ConfigError(format!("unsupported fieldPath: {other}")));
            }
        }
    })
}

/// Labels or annotations as the downward API writes them: `key="value"` per line.
fn lines(map: &Value) -> String {
    let entries = map.as_object().into_iter().flatten();
    entries.map(|(key, value)| format!("{key}={}", json!(value.as_str().unwrap_or_default()))).collect::<Vec<_>>().join("\n")
}

/// A container's own limit or request in units of the divisor, rounded up as Kubernetes does.
fn resource_value(container: &Value, reference: &Value) -> String {
    let resource = text(reference, "/resource");
    let pointer = format!("/resources/{}", resource.replace('.', "/"));
    let whole_machine = || std::thread::available_parallelism().map_or(1.0, |cores| f64::from(u32::try_from(cores.get()).unwrap_or(1)));
    let found = container.pointer(&pointer).and_then(quantity);
    let amount = found.unwrap_or_else(|| if resource == "limits.cpu" { whole_machine() } else { 0.0 });
    let divisor = quantity(&reference["divisor"]).filter(|divisor| *divisor > 0.0).unwrap_or(1.0);
    format!("{:.0}", (amount / divisor).ceil())
}

/// A Kubernetes quantity as a number: `100m`, `128Mi`, `2`.
fn quantity(value: &Value) -> Option<f64> {
    if let Some(number) = value.as_f64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let digits = text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let factor = match &text[digits..] {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(text[..digits].parse::<f64>().ok()? * factor)
}

/// The doors of a pod with a sidecar, and where they are.
pub(super) struct OwnDoors<'a> {
    pub(super) doors: &'a Doors,
    /// The pod's address.
    pub(super) address: &'a str,
    /// The port on which the pod really listens.
    pub(super) mapped: &'a dyn Fn(u16) -> u16,
}

/// `<SERVICE>_SERVICE_HOST/PORT…` for each Service: its ClusterIP, or the pod's own door where the port is opaque and the pod has a sidecar.
pub(super) fn service_variables(services: &[Object], sidecar: Option<&OwnDoors<'_>>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for service in services {
        let cluster_ip = text(service, "/spec/clusterIP");
        let prefix = name(service).to_uppercase().replace('-', "_");
        for (index, port) in items(service, "/spec/ports").iter().enumerate() {
            let door = sidecar.and_then(|own| Some((own.address, (own.mapped)(own.doors.to(service, port)?))));
            let (host, number) = match door {
                Some((address, door)) => (address, door.to_string()),
                None if cluster_ip.is_empty() || cluster_ip == "None" => continue,
                None => (cluster_ip, port["port"].to_string()),
            };
            if let Some(port_name) = port["name"].as_str().filter(|name| !name.is_empty()) {
                variables.insert(format!("{prefix}_SERVICE_PORT_{}", port_name.to_uppercase().replace('-', "_")), number.clone());
            }
            if index == 0 {
                variables.insert(format!("{prefix}_SERVICE_HOST"), host.to_owned());
                variables.insert(format!("{prefix}_SERVICE_PORT"), number.clone());
                variables.insert(format!("{prefix}_PORT"), format!("tcp://{host}:{number}"));
            }
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Objects;

    impl Lookup for Objects {
        fn config_map(&self, _namespace: &str, name: &str) -> Option<Object> {
            (name == "settings").then(|| Arc::new(json!({"kind": "ConfigMap", "data": {"COLOUR": "blue"}})))
        }
        fn secret(&self, _namespace: &str, name: &str) -> Option<Object> {
            (name == "keys").then(|| Arc::new(json!({"kind": "Secret", "data": {"password": "aHVzaA=="}})))
        }
    }

    fn pod() -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"}}, "spec": {"nodeName": "node-1"}})
    }

    fn given() -> BTreeMap<String, String> {
        [("POD_IP", "127.1.1.1"), ("REDIS_SERVICE_HOST", "127.1.1.1"), ("REDIS_SERVICE_PORT", "16000")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn references_see_earlier_variables_and_services_and_may_be_escaped() {
        let container = json!({"env": [
            {"name": "A", "value": "1"},
            {"name": "URL", "value": "redis://$(REDIS_SERVICE_HOST):$(REDIS_SERVICE_PORT)/$(A)$$(A)$(UNKNOWN)$"},
        ]});
        let environment = resolve(&pod(), &container, given(), &Objects).unwrap();
        assert_eq!(environment["URL"], "redis://127.1.1.1:16000/1$(A)$(UNKNOWN)$");
    }

    #[test]
    fn values_come_from_fields_config_maps_secrets_and_resources() {
        let container = json!({
            "resources": {"limits": {"memory": "64Mi"}},
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "X_"}],
            "env": [
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": true}}},
            ],
        });
        let environment = resolve(&pod(), &container, given(), &Objects).unwrap();
        let of = |key: &str| environment[key].as_str();
        assert_eq!(
            (of("X_COLOUR"), of("NAME"), of("APP"), of("IP"), of("PASSWORD"), of("MEMORY")),
            ("blue", "p", "x", "127.1.1.1", "hush", "64")
        );
        assert!(!environment.contains_key("NONE"));
    }

    #[test]
    fn a_missing_source_is_told_in_kubernetes_words() {
        let container = |from: Value| json!({"env": [{"name": "A", "valueFrom": from}]});
        let fails = |from: Value| resolve(&pod(), &container(from), given(), &Objects).unwrap_err().0;
        assert_eq!(fails(json!({"configMapKeyRef": {"name": "absent", "key": "x"}})), "configmap \"absent\" not found");
        assert_eq!(fails(json!({"secretKeyRef": {"name": "keys", "key": "x"}})), "couldn't find key x in Secret n/keys");
    }

    #[test]
    fn services_are_named_by_cluster_ip_or_by_the_door_of_the_pod() {
        let service = |name: &str, port: &str, number: u16| -> Object {
            Arc::new(
                json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"clusterIP": "127.1.200.1", "ports": [{"name": port, "port": number}]}}),
            )
        };
        let services = [service("user-service", "http", 8081), service("redis", "tcp-redis", 6379)];
        let doors = Doors::of(&services);
        let variables = service_variables(&services, Some(&OwnDoors { doors: &doors, address: "127.1.1.1", mapped: &|port| port }));
        assert_eq!(variables["USER_SERVICE_SERVICE_HOST"], "127.1.200.1");
        assert_eq!((variables["REDIS_SERVICE_HOST"].as_str(), variables["REDIS_SERVICE_PORT"].as_str()), ("127.1.1.1", "16000"));
        let plain = service_variables(&services, None);
        assert_eq!((plain["REDIS_SERVICE_HOST"].as_str(), plain["REDIS_SERVICE_PORT_TCP_REDIS"].as_str()), ("127.1.200.1", "6379"));
    }
}
