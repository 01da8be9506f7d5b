//! The webhook on PeerAuthentication.

use super::Findings;
use super::names::check_selector;
use crate::resource::PeerAuthenticationSpec;

pub(super) fn check(spec: &PeerAuthenticationSpec, findings: &mut Findings) {
    if let Some(ports) = &spec.port_level_mtls {
        if ports.is_empty() {
            let message = "port level mTLS, if defined, must have at least one element";
            findings.error("empty-policy", "spec.portLevelMtls", message, "portLevelMtls가 비어 있습니다");
        } else if spec.labels().is_empty() {
            let message = "mesh/namespace peer authentication cannot have port level mTLS";
            findings.error("port-without-selector", "spec.portLevelMtls", message, "portLevelMtls에는 selector가 필요합니다");
        }
        for port in ports.keys() {
            if !port.parse::<u32>().is_ok_and(|number| (1..=65535).contains(&number)) {
                let path = crate::schema::join("spec.portLevelMtls", port);
                findings.error("invalid-port", &path, "port must be in range 1..65535", format!("포트 {port}은(는) 1~65535여야 합니다"));
            }
        }
    }
    if let Some(selector) = &spec.selector {
        let empty = ("workload selector specified without labels", "selector에 레이블이 없습니다. 모든 파드에 적용됩니다");
        check_selector(&selector.match_labels, "spec.selector", empty, findings);
    }
}
