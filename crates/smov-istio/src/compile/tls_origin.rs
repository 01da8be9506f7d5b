//! Which line of which DestinationRule decides on a cluster's TLS.

use smov_model::names::Port;
use smov_model::route::Origin;

use super::Policy;
use crate::resource::{ClientTlsSettings, TrafficPolicy};

/// A `tls` block and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenTls<'w> {
    pub(crate) tls: &'w ClientTlsSettings,
    pub(crate) origin: Origin,
}

/// What one level says of a port.
enum Said<'w> {
    /// A block, and its path inside the policy.
    Block(&'w ClientTlsSettings, String),
    /// The port has an entry without it: the default, whatever is above.
    Default,
    Nothing,
}

impl<'w> Policy<'w> {
    /// The block in force, as [`Policy::effective`] lays them on each other.
    pub(crate) fn written_tls(&self, subset: Option<&str>, port: Port) -> Option<WrittenTls<'w>> {
        let of_subset = self.rules.iter().find_map(|rule| {
            let index = rule.spec.subsets.iter().position(|known| Some(known.name.as_str()) == subset)?;
            Some((*rule, rule.spec.subsets[index].traffic_policy.as_ref(), format!("spec.subsets[{index}].trafficPolicy")))
        });
        let of_host =
            self.rules.iter().find_map(|rule| Some((*rule, Some(rule.spec.traffic_policy.as_ref()?), "spec.trafficPolicy".to_owned())));
        for (rule, policy, path) in of_subset.into_iter().chain(of_host) {
            match policy.map_or(Said::Nothing, |policy| said(policy, port)) {
                Said::Block(tls, inner) => {
                    let origin = Origin { resource: rule.reference(), path: format!("{path}{inner}"), name: String::new() };
                    return Some(WrittenTls { tls, origin });
                }
                Said::Default => return None,
                Said::Nothing => {}
            }
        }
        None
    }
}

fn said(policy: &TrafficPolicy, port: Port) -> Said<'_> {
    let number = u32::from(port.number());
    let mut entries = policy.port_level_settings.iter().enumerate();
    match entries.find(|(_, entry)| entry.port.as_ref().is_some_and(|selector| selector.number == number)) {
        Some((index, entry)) => {
            entry.blocks.tls.as_ref().map_or(Said::Default, |tls| Said::Block(tls, format!(".portLevelSettings[{index}].tls")))
        }
        None => policy.blocks.tls.as_ref().map_or(Said::Nothing, |tls| Said::Block(tls, ".tls".to_owned())),
    }
}
