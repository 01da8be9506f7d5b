//! What containers use, from the system's own counters: two looks a while apart.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::proc::{all, family, memory};
use crate::api::{Measured, Usage};
use crate::controllers::fields::{name, namespace, uid};
use crate::kinds::POD;
use crate::registry::{Registry, Selector};

/// The shortest time over which a share of a processor is told.
pub(super) const SHORTEST: Duration = Duration::from_millis(500);
/// A look older than this says nothing about now.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// One look: ticks and bytes by the first process of each container.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    of: BTreeMap<(String, String), Counters>,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    leader: u32,
    ticks: u64,
    memory: u64,
}

/// Reads the counters; a matter of milliseconds, on a thread that may wait.
pub(super) fn look(running: &BTreeMap<(String, String), u32>) -> Look {
    let processes = all();
    let counters = |leader: u32| {
        let members = family(leader, &processes);
        let ticks = members.iter().filter_map(|member| processes.get(member)).map(|stat| stat.ticks).sum();
        Counters { leader, ticks, memory: members.iter().map(|member| memory(*member)).sum() }
    };
    Look { at: Instant::now(), of: running.iter().map(|(place, leader)| (place.clone(), counters(*leader))).collect() }
}

/// What was used between two looks. A container that started in between is told from its start.
pub(super) fn between(registry: &Registry, before: &Look, after: &Look) -> Measured {
    let window = after.at.duration_since(before.at).as_secs_f64().max(f64::EPSILON);
    let pods = registry.list(&POD, None, &Selector::default()).0;
    #[expect(clippy::cast_precision_loss, reason = "ticks of a few seconds")]
    let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let mut usage = Vec::new();
    for ((of, container), now) in &after.of {
        let Some(pod) = pods.iter().find(|pod| uid(pod) == of) else { continue };
        let then = before.of.get(&(of.clone(), container.clone())).filter(|then| then.leader == now.leader);
        let ticks = now.ticks.saturating_sub(then.map_or(0, |then| then.ticks));
        usage.push(Usage {
            namespace: namespace(pod).to_owned(),
            pod: name(pod).to_owned(),
            container: container.clone(),
            processors: seconds(ticks) / window,
            memory: now.memory,
        });
    }
    Measured { at: Timestamp::now(), window, usage }
}
