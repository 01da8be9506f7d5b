//! The board: the present values of everything the page shows. One short lock guards it; nothing here waits or serialises.

use std::collections::BTreeMap;

use crate::latency::Latencies;
use crate::live::archive::Archive;
use crate::live::happenings;
use crate::live::outages::Outages;
use crate::live::sampler::Sampler;
use crate::live::tally::Tally;
use crate::live::timeline::Timeline;
use crate::service::ServiceId;
use crate::view::cluster::{LinkView, MeshView, PodsView, Sight, StoreView};
use crate::view::request::RequestRow;
use crate::view::split::Totals;
use crate::view::state::{LoadView, PerService, StatView};

/// One cluster's pods, and what the page was last told of them.
pub(crate) struct SeenPods {
    view: PodsView,
    told: Option<PodsView>,
}

/// The board.
pub(crate) struct Board {
    tallies: [Tally; 3],
    sent: u64,
    errors: u64,
    latencies: Latencies,
    pub(crate) archive: Archive,
    pub(crate) sampler: Sampler,
    pods: BTreeMap<String, SeenPods>,
    pub(crate) mesh: MeshView,
    pub(crate) store: StoreView,
    pub(crate) link: Option<LinkView>,
    pub(crate) load: LoadView,
    pub(crate) timeline: Timeline,
    pub(crate) outages: Outages,
    /// Figures of the console that this one follows; they stand in for our own.
    pub(crate) followed: Option<StatView>,
    stale_after: u64,
}

impl Board {
    pub(crate) fn new(clusters: impl Iterator<Item = String>, sample_seed: u64, stale_after: u64, now: u64) -> Self {
        let unseen = || SeenPods { view: PodsView::never_seen(), told: None };
        Self {
            tallies: ServiceId::ALL.map(|service| Tally::new(service.host(), now)),
            sent: 0,
            errors: 0,
            latencies: Latencies::new(now),
            archive: Archive::default(),
            sampler: Sampler::new(sample_seed, now),
            pods: clusters.map(|cluster| (cluster, unseen())).collect(),
            mesh: MeshView::default(),
            store: StoreView::unknown(),
            link: None,
            load: LoadView::default(),
            timeline: Timeline::default(),
            outages: Outages::default(),
            followed: None,
            stale_after,
        }
    }

    /// Counts one request; returns how many rows wait for the next flush.
    pub(crate) fn record(&mut self, row: RequestRow, micros: u64, now: u64) -> usize {
        self.sent += 1;
        self.errors += u64::from(row.failed());
        self.latencies.record(micros, now);
        self.outages.request(&row);
        self.tally(row.svc).record(&row, micros, now);
        let number = self.archive.push(row);
        self.sampler.offer(number)
    }

    pub(crate) fn tally(&mut self, service: ServiceId) -> &mut Tally {
        &mut self.tallies[service.index()]
    }

    pub(crate) fn stat(&mut self, now: u64) -> StatView {
        if let Some(followed) = &self.followed {
            return followed.clone();
        }
        let totals = Totals { sent: self.sent, errors: self.errors, p95_ms: self.latencies.quantile_ms(0.95, now) };
        StatView { services: PerService::from_fn(|service| self.tally(service).stat(now)), totals }
    }

    /// Takes one cluster's pods, and what that says of what happened.
    pub(crate) fn see_pods(&mut self, cluster: &str, view: PodsView, now: u64) {
        for moment in self.outages.see(cluster, &view, now) {
            self.timeline.put(moment, now);
        }
        if let Some(moment) = self.pods.get(cluster).and_then(|seen| happenings::sight(cluster, &seen.view, &view, now)) {
            self.timeline.put(moment, now);
        }
        let seen = self.pods.entry(cluster.to_owned()).or_insert_with(|| SeenPods { view: PodsView::never_seen(), told: None });
        seen.view = view;
    }

    /// One cluster's pods as they were last seen.
    pub(crate) fn seen_pods(&self, cluster: &str) -> Option<&PodsView> {
        self.pods.get(cluster).map(|seen| &seen.view)
    }

    /// The pods of all clusters as they were last seen.
    pub(crate) fn all_seen_pods(&self) -> impl Iterator<Item = (&str, &PodsView)> {
        self.pods.iter().map(|(cluster, seen)| (cluster.as_str(), &seen.view))
    }

    /// Takes the mesh's state.
    pub(crate) fn see_mesh(&mut self, view: MeshView, now: u64) {
        for moment in happenings::istiods(&self.mesh, &view, now) {
            self.timeline.put(moment, now);
        }
        self.mesh = view;
    }

    /// Takes the link's state.
    pub(crate) fn see_link(&mut self, view: Option<LinkView>, now: u64) {
        if let Some(moment) = happenings::link(self.link.as_ref(), view.as_ref(), now) {
            self.timeline.put(moment, now);
        }
        self.link = view;
    }

    /// All clusters' pods as they may be shown now: what was not confirmed for too long is unknown.
    pub(crate) fn pods(&self, now: u64) -> BTreeMap<String, PodsView> {
        self.pods.iter().map(|(cluster, seen)| (cluster.clone(), self.judged(&seen.view, now))).collect()
    }

    /// The clusters about which the page must be told: changed, or their last confirmation moved by half of what makes them stale.
    pub(crate) fn untold_pods(&mut self, now: u64) -> BTreeMap<String, PodsView> {
        let half = self.stale_after / 2;
        let views = self.pods(now);
        let untold = |cluster: &String, view: &PodsView| {
            self.pods.get(cluster).and_then(|seen| seen.told.as_ref()).is_none_or(|told| {
                let same = PodsView { as_of: told.as_of, ..view.clone() } == *told;
                !same || view.as_of.saturating_sub(told.as_of) >= half
            })
        };
        let views: BTreeMap<_, _> = views.into_iter().filter(|(cluster, view)| untold(cluster, view)).collect();
        for (cluster, view) in &views {
            if let Some(seen) = self.pods.get_mut(cluster) {
                seen.told = Some(view.clone());
            }
        }
        views
    }

    fn judged(&self, view: &PodsView, now: u64) -> PodsView {
        let mut view = view.clone();
        if now.saturating_sub(view.as_of) > self.stale_after {
            view.state = Sight::Unknown;
        }
        view
    }
}
