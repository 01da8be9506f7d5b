//! Disturbances of an app in a cluster, measured from what is seen: when pods were ready again, which requests failed meanwhile, when the first request
//! was answered by what came back. Who caused it, this page or kubectl, makes no difference but for the moment at which it began.

use std::collections::{BTreeMap, BTreeSet};

use crate::service::ServiceId;
use crate::view::cluster::{PodsView, Sight};
use crate::view::request::RequestRow;
use crate::view::timeline::{Effect, Moment, MomentKind};

/// How long the first request to what came back is waited for, in microseconds.
const FIRST_REQUEST: u64 = 30_000_000;
/// How long failures still count where no request can name what came back (a control plane, a store, a gateway).
const LAST_FAILURES: u64 = 3_000_000;

/// An app in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) app: String,
}

/// What was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A pod was deleted.
    Deleted(String),
    /// A container of a pod was killed.
    Killed {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// All pods are to be replaced.
    Restarted,
    /// Another number of pods is wanted.
    Scaled(u32),
    /// Ready pods became fewer, and nobody here asked for it.
    Lost,
}

/// What is seen of an app.
#[derive(Debug, Clone, Default)]
struct Seen {
    ready: BTreeSet<String>,
    restarts: BTreeMap<String, u32>,
    wanted: u32,
}

impl Seen {
    fn enough(&self) -> bool {
        self.ready.len() >= self.wanted.max(1) as usize
    }
}

struct Outage {
    id: String,
    cause: Cause,
    began: u64,
    /// What was seen when it began.
    before: Seen,
    /// Was it seen that something changed?
    noticed: bool,
    failed: u64,
    at_least: bool,
    request: Option<String>,
    /// When each pod that came (back) first answered.
    served: BTreeMap<String, u64>,
    ready_at: Option<u64>,
    recovered: BTreeSet<String>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Outages {
    seen: BTreeMap<Place, Seen>,
    open: BTreeMap<Place, Outage>,
    /// Outages whose figures changed since they were last told.
    changed: BTreeSet<Place>,
}

fn service_of(app: &str) -> Option<ServiceId> {
    ServiceId::ALL.into_iter().find(|service| service.host() == app)
}

fn seen_of(view: &PodsView) -> BTreeMap<(String, String), Seen> {
    let mut apps: BTreeMap<(String, String), Seen> = BTreeMap::new();
    for deployment in &view.deployments {
        let app = if deployment.app.is_empty() { &deployment.name } else { &deployment.app };
        apps.entry((deployment.namespace.clone(), app.clone())).or_default().wanted += deployment.wanted;
    }
    for pod in &view.pods {
        let Some(app) = apps.get_mut(&(pod.namespace.clone(), pod.app.clone())) else { continue };
        if pod.status == "Terminating" {
            continue;
        }
        app.restarts.insert(pod.name.clone(), pod.restarts);
        if pod.all_ready() && pod.status == "Running" {
            app.ready.insert(pod.name.clone());
        }
    }
    apps
}

impl Outages {
    /// Somebody here did something. Gives the name of its entry in the timeline.
    pub(crate) fn acted(&mut self, place: &Place, cause: Cause, began: u64) -> (String, Vec<Moment>) {
        if let Some(open) = self.open.get_mut(place)
            && (open.ready_at.is_none() && matches!((&open.cause, &cause), (Cause::Scaled(0), Cause::Scaled(_)))
                || open.cause == Cause::Lost && open.began >= began)
        {
            // What is the way back belongs to what it ends, and a watch may be faster than the answer to the call.
            if open.cause == Cause::Lost {
                open.cause = cause;
                open.began = began;
            }
            let id = open.id.clone();
            return (id, self.moment(place, began).into_iter().collect());
        }
        let before = self.seen.get(place).cloned().unwrap_or_default();
        let id = format!("outage:{}/{}/{}:{began}", place.cluster, place.namespace, place.app);
        let outage = Outage {
            id: id.clone(),
            cause,
            began,
            before,
            noticed: false,
            failed: 0,
            at_least: false,
            request: None,
            served: BTreeMap::new(),
            ready_at: None,
            recovered: BTreeSet::new(),
        };
        let earlier = self.close(place, began);
        self.open.insert(place.clone(), outage);
        (id, earlier.into_iter().chain(self.moment(place, began)).collect())
    }

    /// Ends what is followed of an app, because something else begins there.
    fn close(&mut self, place: &Place, now: u64) -> Vec<Moment> {
        let mut told = self.tell(place, now);
        self.open.remove(place);
        for effect in told.iter_mut().filter_map(|moment| moment.effect.as_mut()) {
            effect.open = false;
        }
        told
    }

    /// What was to be done was refused: it never began.
    pub(crate) fn refused(&mut self, id: &str) {
        self.open.retain(|_, open| open.id != id);
    }

    /// Takes one cluster's pods. Only what is really seen counts; of a cluster out of sight nothing is concluded.
    pub(crate) fn see(&mut self, cluster: &str, view: &PodsView, now: u64) -> Vec<Moment> {
        if view.state != Sight::Ok {
            return Vec::new();
        }
        let mut told = Vec::new();
        for ((namespace, app), seen) in seen_of(view) {
            let place = Place { cluster: cluster.to_owned(), namespace, app };
            let Some(old) = self.seen.insert(place.clone(), seen.clone()) else { continue };
            told.extend(restarts(&place, &old, &seen, now));
            let fewer = seen.ready.len() < old.ready.len().min(seen.wanted.max(1) as usize);
            let reopened = self.open.get(&place).is_none_or(|open| open.ready_at.is_some());
            if fewer && reopened {
                let cause = if seen.wanted == 0 { Cause::Scaled(0) } else { Cause::Lost };
                self.seen.insert(place.clone(), old);
                told.extend(self.acted(&place, cause, now).1);
                self.seen.insert(place.clone(), seen.clone());
            }
            told.extend(self.judge(&place, &seen, now));
        }
        told
    }

    /// Is it over?
    fn judge(&mut self, place: &Place, seen: &Seen, now: u64) -> Vec<Moment> {
        let Some(open) = self.open.get_mut(place).filter(|open| open.ready_at.is_none()) else { return Vec::new() };
        let kept = |pod: &String| seen.ready.contains(pod);
        let again = |pod: &String| seen.restarts.get(pod) > open.before.restarts.get(pod);
        open.noticed |= match &open.cause {
            Cause::Killed { pod, .. } => !kept(pod) || again(pod),
            Cause::Deleted(pod) => !seen.restarts.contains_key(pod),
            Cause::Restarted => true,
            Cause::Scaled(wanted) => seen.wanted == *wanted,
            Cause::Lost => true,
        };
        let over = open.noticed
            && seen.enough()
            && match &open.cause {
                Cause::Restarted => !open.before.restarts.keys().any(|pod| seen.restarts.contains_key(pod)),
                Cause::Scaled(_) => seen.ready.len() == seen.wanted as usize,
                Cause::Killed { .. } | Cause::Deleted(_) | Cause::Lost => true,
            };
        if !over {
            return Vec::new();
        }
        let came = |pod: &&String| !open.before.ready.contains(*pod) || seen.restarts.get(*pod) > open.before.restarts.get(*pod);
        open.recovered = seen.ready.iter().filter(came).cloned().collect();
        open.ready_at = Some(now);
        self.tell(place, now)
    }

    /// Takes one request that was answered, or not.
    pub(crate) fn request(&mut self, row: &RequestRow) {
        for (place, open) in &mut self.open {
            let service = service_of(&place.app);
            if service.is_some_and(|service| service != row.svc) || row.ts < open.began {
                continue;
            }
            if row.failed() {
                open.failed += 1;
                open.request.get_or_insert_with(|| row.id.clone());
                self.changed.insert(place.clone());
            } else if let (Some(pod), true) = (&row.pod, row.cluster.as_ref() == Some(&place.cluster)) {
                let end = row.ts.saturating_add((row.ms * 1000.0) as u64);
                // Until the end of the old process was seen, it may be the one that answered.
                let came = open.noticed || !open.before.ready.contains(pod);
                if came && !open.served.contains_key(pod) {
                    open.served.insert(pod.clone(), end);
                    self.changed.insert(place.clone());
                }
            }
        }
    }

    /// Some requests came without a row.
    pub(crate) fn unseen(&mut self) {
        self.open.values_mut().for_each(|open| open.at_least = true);
    }

    /// What changed since the last call; what is long over is forgotten.
    pub(crate) fn news(&mut self, now: u64) -> Vec<Moment> {
        let mut told = Vec::new();
        let over: Vec<Place> = self.open.iter().filter(|(place, open)| open.is_over(place, now)).map(|(place, _)| place.clone()).collect();
        self.changed.extend(over.iter().cloned());
        for place in std::mem::take(&mut self.changed) {
            told.extend(self.tell(&place, now));
        }
        for place in over {
            self.open.remove(&place);
        }
        told
    }

    fn tell(&mut self, place: &Place, now: u64) -> Vec<Moment> {
        let mut told: Vec<Moment> = self.moment(place, now).into_iter().collect();
        told.extend(self.open.get(place).and_then(|open| open.recovery(place, now)));
        told
    }

    fn moment(&self, place: &Place, now: u64) -> Option<Moment> {
        let open = self.open.get(place)?;
        let (kind, texts) = open.beginning(place);
        let mut moment = Moment::new(open.id.clone(), open.began, kind, Some(&place.cluster), Some(open.about(place)), texts);
        moment.effect = Some(open.effect(place, now));
        Some(moment)
    }
}

fn restarts(place: &Place, old: &Seen, new: &Seen, now: u64) -> Vec<Moment> {
    let more = new.restarts.iter().filter(|(pod, count)| old.restarts.get(*pod).is_some_and(|before| before < count));
    let moment = |(pod, count): (&String, &u32)| {
        Moment::new(
            format!("restart:{}/{}/{pod}:{count}", place.cluster, place.namespace),
            now,
            MomentKind::Restart,
            Some(&place.cluster),
            Some(format!("Pod/{}/{pod}", place.namespace)),
            [
                format!("{pod}: 컨테이너를 다시 시작했습니다 ({count}번째)"),
                format!("{pod}: a container was started again (restart {count})"),
            ],
        )
    };
    more.map(moment).collect()
}

impl Outage {
    fn about(&self, place: &Place) -> String {
        match &self.cause {
            Cause::Deleted(pod) | Cause::Killed { pod, .. } => format!("Pod/{}/{pod}", place.namespace),
            Cause::Restarted | Cause::Scaled(_) | Cause::Lost => format!("Deployment/{}/{}", place.namespace, place.app),
        }
    }

    fn beginning(&self, place: &Place) -> (MomentKind, [String; 2]) {
        let Place { cluster, app, .. } = place;
        match &self.cause {
            Cause::Deleted(pod) => (MomentKind::Kill, [format!("{pod} 파드를 삭제했습니다"), format!("Pod {pod} was deleted")]),
            Cause::Killed { pod, container } => (
                MomentKind::Kill,
                [format!("{pod}의 {container} 프로세스를 죽였습니다"), format!("The process of {container} in {pod} was killed")],
            ),
            Cause::Restarted => (
                MomentKind::Restart,
                [format!("{app} · {cluster} 파드를 차례로 바꿉니다"), format!("{app} · {cluster}: pods are replaced in turn")],
            ),
            Cause::Scaled(wanted) => {
                let before = self.before.wanted;
                (
                    MomentKind::Scale,
                    [format!("{app} · {cluster} 파드 수 {before} → {wanted}"), format!("{app} · {cluster}: {before} → {wanted} pods")],
                )
            }
            Cause::Lost => (
                MomentKind::Fault,
                [format!("{app} · {cluster} 준비된 파드가 줄었습니다"), format!("{app} · {cluster}: fewer pods are ready")],
            ),
        }
    }

    /// When the first of what came back answered.
    fn served_at(&self) -> Option<u64> {
        self.recovered.iter().filter_map(|pod| self.served.get(pod)).min().copied()
    }

    fn is_over(&self, place: &Place, now: u64) -> bool {
        let Some(ready) = self.ready_at else { return false };
        let since = now.saturating_sub(ready);
        if service_of(&place.app).is_none() || self.recovered.is_empty() {
            return since > LAST_FAILURES;
        }
        self.served_at().is_some_and(|served| now.saturating_sub(served.max(ready)) > LAST_FAILURES) || since > FIRST_REQUEST
    }

    fn effect(&self, place: &Place, now: u64) -> Effect {
        let milliseconds = |at: u64| at.saturating_sub(self.began) / 1000;
        Effect {
            open: self.ready_at.is_none() || !self.is_over(place, now),
            failed: self.failed,
            at_least: self.at_least,
            ready_ms: self.ready_at.map(milliseconds),
            served_ms: self.served_at().map(milliseconds),
            request: self.request.clone(),
        }
    }

    /// The entry that says that it works again.
    fn recovery(&self, place: &Place, now: u64) -> Option<Moment> {
        let ready = self.ready_at?;
        let Place { cluster, app, .. } = place;
        let effect = self.effect(place, now);
        let seconds = |milliseconds: u64| format!("{:.1}", milliseconds as f64 / 1000.0);
        let took = seconds(effect.ready_ms.unwrap_or_default());
        let (least_ko, least_en) = if effect.at_least { ("적어도 ", "at least ") } else { ("", "") };
        let mut ko = format!("{app} · {cluster} 준비까지 {took}초, 실패한 요청 {least_ko}{}건", effect.failed);
        let mut en = format!("{app} · {cluster} ready after {took} s, {least_en}{} failed requests", effect.failed);
        if let Some(served) = effect.served_ms {
            ko += &format!(", 첫 응답까지 {}초", seconds(served));
            en += &format!(", first answer after {} s", seconds(served));
        }
        let mut moment = Moment::new(
            format!("{}:ready", self.id),
            ready,
            MomentKind::Ready,
            Some(cluster),
            Some(format!("Deployment/{}/{app}", place.namespace)),
            [ko, en],
        );
        moment.duration_ms = effect.ready_ms;
        moment.effect = Some(effect);
        Some(moment)
    }
}

#[cfg(test)]
mod tests;
