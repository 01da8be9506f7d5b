//! Services: ports and addresses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    container::{number, number_or_name, protocol},
    metadata, names,
};
use crate::error::Cause;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn check(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    metadata::labels(&spec["selector"], "spec.selector", causes);
    let external = kind == "ExternalName";
    if external && spec["externalName"].as_str().is_none_or(str::is_empty) {
        causes.push(Cause::required("spec.externalName", ""));
    }
    ports(spec, external, causes);
    if !TYPES.contains(&kind) {
        causes.push(Cause::not_supported("spec.type", &spec["type"], &TYPES));
    }
    if let Some(old) = old {
        let (before, after) = (&old["spec"]["clusterIP"], &spec["clusterIP"]);
        if !external && before.is_string() && before != after {
            let path = "spec.clusterIPs[0]";
            causes.push(Cause::invalid(path, &json!([after]), "may not change once set"));
        }
    }
}

fn ports(spec: &Value, external: bool, causes: &mut Vec<Cause>) {
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ports.is_empty() && !external && spec["clusterIP"] != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    let (mut seen_names, mut seen_ports) = (BTreeSet::new(), BTreeSet::new());
    for (place, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{place}]");
        match port["name"].as_str().filter(|name| !name.is_empty()) {
            None if ports.len() > 1 => causes.push(Cause::required(format!("{path}.name"), "")),
            None => {}
            Some(name) => {
                if let Some(why) = names::label(name) {
                    causes.push(Cause::invalid(format!("{path}.name"), &port["name"], why));
                }
                if !seen_names.insert(name) {
                    causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
                }
            }
        }
        number(&port["port"], &format!("{path}.port"), causes);
        if !port["targetPort"].is_null() {
            number_or_name(&port["targetPort"], &format!("{path}.targetPort"), causes);
        }
        protocol(&port["protocol"], &path, causes);
        let protocol = port["protocol"].as_str().unwrap_or_default();
        if !seen_ports.insert((protocol, port["port"].as_i64())) {
            let value = json!({ "port": port["port"], "protocol": protocol });
            causes.push(Cause::duplicate(path, &value));
        }
    }
}
