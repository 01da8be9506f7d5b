//! Golden cases: `tests/compile/<case>/input.yaml` on the theatre's two clusters, and what the proxies get.

use smov_istio::analyze::analyze;
use smov_istio::compile::Prepared;

use crate::theatre::{VERSION, api_gateway, case, cases, cp_gateway, world_with};
use crate::told::told;

#[test]
fn every_case_compiles_to_what_was_reviewed() {
    let mut names: Vec<String> =
        std::fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 21, "{names:?}");
    for name in names {
        let world = world_with(&case(&name));
        let prepared = Prepared::new(&world);
        let mut text = String::new();
        let mut dropped = std::collections::BTreeSet::new();
        for proxy in [api_gateway(), cp_gateway()] {
            let compiled = prepared.snapshot_for(&proxy, VERSION);
            dropped.extend(compiled.diagnostics.iter().map(ToString::to_string));
            let told = told(&compiled.snapshot);
            // The clusters of both proxies are the same unless a rule of their namespaces differs: told once.
            text += if text.is_empty() { &told } else { told.split("\nclusters\n").next().unwrap() };
            text += "\n";
        }
        let findings: Vec<String> = analyze(&world).iter().map(|finding| format!("{:?} {finding}\n", finding.severity)).collect();
        text += &format!("findings\n{}", findings.concat());
        dropped.iter().for_each(|finding| text += &format!("not compiled: {finding}\n"));
        insta::with_settings!({snapshot_path => cases().join(&name), prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!("snapshot", text);
        });
    }
}
