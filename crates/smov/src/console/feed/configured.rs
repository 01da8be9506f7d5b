//! What the rules configure, as the page shows it: shares, canaries, interventions, or the reason why there is no number.

use smov_console::view::split::{Canary, Configured, Intervention, InterventionKind, Reason, Shares};
use smov_istio::weights::{self, ConfiguredSplit, NoSplit, Share, SpecialRule};
use smov_model::route::{AbortStatus, Percent, ValueMatch};
use smov_model::text::StringMatch;

/// A share by the cluster that its subset stands for, by the subset's name where nothing runs that could tell.
fn share_of<'a>(split: &'a ConfiguredSplit, cluster: &str) -> Option<&'a Share> {
    let by_cluster = split.shares.iter().find(|share| share.kube_cluster.as_ref().is_some_and(|found| found.as_str() == cluster));
    by_cluster.or_else(|| split.shares.iter().find(|share| share.kube_cluster.is_none() && share.subset == cluster))
}

pub(super) fn percents(split: &ConfiguredSplit) -> Option<(u32, u32)> {
    match (share_of(split, "ctx1"), share_of(split, "ctx2")) {
        (None, None) => None,
        (ctx1, ctx2) => Some((ctx1.map_or(0, |share| share.percent), ctx2.map_or(0, |share| share.percent))),
    }
}

/// What of a copy steers traffic: equal copies send alike, wherever and under whatever version they are written.
pub(super) fn steers(split: &ConfiguredSplit) -> (Vec<(String, u32)>, Option<NoSplit>, String) {
    let shares = split.shares.iter().map(|share| (share.subset.clone(), share.percent)).collect();
    let special: Vec<_> = split
        .special
        .iter()
        .map(|rule| (&rule.matches, rule.shares.iter().map(|share| (&share.subset, share.percent)).collect::<Vec<_>>()))
        .collect();
    let bent: Vec<_> = split.interventions.iter().map(|intervention| &intervention.kind).collect();
    (shares, split.reason, format!("{special:?} {bent:?}"))
}

pub(super) fn configured(split: &ConfiguredSplit, now: u64) -> Configured {
    let reason = |code: &str, ko: &str, en: &str| Reason::new(code, ko, en);
    match split.reason {
        Some(no_split) => {
            let reason = reason(&format!("{no_split:?}"), no_split.sentence_ko(), no_split.sentence());
            match no_split {
                NoSplit::NoVirtualService => Configured::None(reason),
                NoSplit::NoSuchService | NoSplit::NotHttp => Configured::Unknown(reason),
                NoSplit::NoDefaultRule | NoSplit::NotForwarded | NoSplit::WholeHost | NoSplit::OtherHost => Configured::Complex(reason),
            }
        }
        None => {
            let weight = |cluster: &str| share_of(split, cluster).map_or(0, |share| share.weight);
            let elsewhere = split.shares.iter().any(|share| {
                share.weight > 0 && ["ctx1", "ctx2"].iter().all(|cluster| share_of(split, cluster).is_none_or(|known| known != share))
            });
            let origin = split.rule.as_ref();
            let shares = origin.filter(|_| !elsewhere).and_then(|origin| {
                Shares::from_weights(
                    [weight("ctx1"), weight("ctx2")],
                    &origin.resource.name,
                    &origin.path,
                    &origin.resource.resource_version,
                    now,
                )
            });
            shares.map_or_else(
                || {
                    Configured::Complex(reason(
                        "NotTwoClusters",
                        "기본 규칙이 ctx1과 ctx2로 나누지 않습니다",
                        "the default rule does not split between ctx1 and ctx2",
                    ))
                },
                Configured::Ok,
            )
        }
    }
}

/// Headers that send a request past the split, one entry per header condition of a rule before the default one.
pub(super) fn canaries(rule: &SpecialRule) -> Vec<Canary> {
    let Some(to) = rule.shares.iter().find(|share| share.percent == 100) else { return Vec::new() };
    let headers = rule.matches.iter().flat_map(|entry| &entry.headers);
    let value = |value: &ValueMatch| match value {
        ValueMatch::Present => "*".to_owned(),
        ValueMatch::Value(StringMatch::Exact(text)) => text.clone(),
        ValueMatch::Value(other) => other.to_string(),
    };
    headers.map(|(header, wanted)| Canary { header: header.clone(), value: value(wanted), to: to.subset.clone() }).collect()
}

pub(super) fn intervention(found: &weights::Intervention) -> Intervention {
    let percent = |percent: Percent| Some(f64::from(percent.millionths()) / 10_000.0);
    let path = found.origin.path.clone();
    let plain = |kind| Intervention { kind, percent: None, fixed_ms: None, status: None, cluster: None, path: path.clone() };
    match &found.kind {
        weights::InterventionKind::Delay { percent: share, duration } => {
            Intervention { percent: percent(*share), fixed_ms: u64::try_from(duration.as_millis()).ok(), ..plain(InterventionKind::Delay) }
        }
        weights::InterventionKind::Abort { percent: share, status } => {
            Intervention { percent: percent(*share), status: Some(http_status(*status)), ..plain(InterventionKind::Abort) }
        }
        weights::InterventionKind::Mirror { percent: share, .. } => {
            Intervention { percent: percent(*share), ..plain(InterventionKind::Mirror) }
        }
        weights::InterventionKind::Blocked { subset, kube_cluster } => {
            let cluster = kube_cluster.as_ref().map_or_else(|| subset.clone(), ToString::to_string);
            Intervention { cluster: Some(cluster), ..plain(InterventionKind::Block) }
        }
    }
}

/// A gRPC status comes in an HTTP 200.
fn http_status(status: AbortStatus) -> u16 {
    match status {
        AbortStatus::Http(status) => status,
        AbortStatus::Grpc(_) => 200,
    }
}
