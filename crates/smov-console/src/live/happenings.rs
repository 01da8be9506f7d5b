//! What the hub tells the timeline, and what of the mesh's and the link's state is worth an entry there.

use crate::live::Live;
use crate::live::outages::{Cause, Place};
use crate::view::cluster::{LinkState, LinkView, MeshView, PodsView, Sight};
use crate::view::timeline::{Moment, MomentKind};

impl Live {
    /// Puts an entry into the timeline; one that was told before under its id is replaced.
    pub fn happened(&self, moment: Moment) {
        let now = self.now();
        self.board().timeline.put(moment, now);
    }

    /// The timeline from `since` on (Unix microseconds), oldest first.
    pub fn timeline(&self, since: u64) -> Vec<Moment> {
        self.board().timeline.since(since)
    }

    /// Something is about to be done to an app; what it does is measured from now on. Gives the name of its entry.
    pub fn acting(&self, cluster: &str, namespace: &str, app: &str, cause: Cause) -> String {
        let now = self.now();
        let place = Place { cluster: cluster.to_owned(), namespace: namespace.to_owned(), app: app.to_owned() };
        let mut board = self.board();
        let (id, moments) = board.outages.acted(&place, cause, now);
        for moment in moments {
            board.timeline.put(moment, now);
        }
        id
    }

    /// It was refused, so nothing began.
    pub fn not_done(&self, id: &str) {
        let mut board = self.board();
        board.outages.refused(id);
        board.timeline.remove(id);
    }

    /// Deployments of a cluster whose time to go back has come: namespace and name.
    pub fn to_restore(&self, cluster: &str, now: u64) -> Vec<(String, String)> {
        let board = self.board();
        let due = |view: &PodsView| {
            let due = view.deployments.iter().filter(|deployment| deployment.restore.is_some_and(|restore| restore.at <= now));
            due.map(|deployment| (deployment.namespace.clone(), deployment.name.clone())).collect()
        };
        board.seen_pods(cluster).map(due).unwrap_or_default()
    }

    /// Has the link's time to go back come?
    pub fn link_to_restore(&self, now: u64) -> bool {
        self.board().link.as_ref().and_then(|link| link.restore_at).is_some_and(|at| at <= now)
    }

    /// Pods with a proxy that calls others, and their addresses: those that traffic was seen of, or all while that is not known.
    pub fn callers(&self) -> Vec<(String, std::net::IpAddr)> {
        let board = self.board();
        let edges = board.mesh.edges.as_ref();
        let calls = |app: &str, cluster: &str| {
            edges.is_none_or(|edges| edges.iter().any(|edge| edge.source_cluster == cluster && edge.source.starts_with(app)))
        };
        let pods = board.all_seen_pods().flat_map(|(cluster, view)| view.pods.iter().map(move |pod| (cluster, pod)));
        let callers = pods.filter(|(cluster, pod)| {
            pod.status == "Running" && pod.containers.iter().any(|name| name == "istio-proxy") && calls(&pod.app, cluster)
        });
        callers.filter_map(|(_, pod)| Some((pod.name.clone(), pod.ip.as_ref()?.parse().ok()?))).collect()
    }

    /// The app of a pod or of a Deployment, as it was last seen.
    pub fn app_of(&self, cluster: &str, namespace: &str, name: &str) -> Option<String> {
        let pods = self.board().pods(self.now());
        let view = pods.get(cluster)?;
        let pod = view.pods.iter().find(|pod| pod.namespace == namespace && pod.name == name).map(|pod| pod.app.clone());
        let deployment = || {
            let found = view.deployments.iter().find(|deployment| deployment.namespace == namespace && deployment.name == name)?;
            Some(if found.app.is_empty() { found.name.clone() } else { found.app.clone() })
        };
        pod.or_else(deployment).filter(|app| !app.is_empty())
    }
}

/// A cluster came out of or into sight.
pub(super) fn sight(cluster: &str, before: &PodsView, after: &PodsView, now: u64) -> Option<Moment> {
    if before.as_of == 0 || before.state == after.state {
        return None;
    }
    let (kind, texts) = match after.state {
        Sight::Unknown => {
            (MomentKind::Fault, [format!("{cluster} API 서버가 답하지 않습니다"), format!("The API server of {cluster} does not answer")])
        }
        Sight::Ok => {
            (MomentKind::Ready, [format!("{cluster} API 서버가 다시 답합니다"), format!("The API server of {cluster} answers again")])
        }
    };
    let mut moment = Moment::new(format!("sight:{cluster}:{now}"), now, kind, Some(cluster), None, texts);
    moment.duration_ms = (after.state == Sight::Ok).then(|| now.saturating_sub(before.as_of) / 1000);
    Some(moment)
}

/// Control planes that went away or came back.
pub(super) fn istiods(before: &MeshView, after: &MeshView, now: u64) -> Vec<Moment> {
    let change = |(cluster, view): (&String, &Option<crate::view::cluster::IstiodView>)| {
        let connected = view.as_ref()?.connected;
        let was = before.istiod.get(cluster)?.as_ref()?.connected;
        let (kind, texts) = match (was, connected) {
            (true, false) => (
                MomentKind::Fault,
                [
                    format!("{cluster} istiod가 답하지 않습니다. 트래픽은 마지막 설정으로 계속 흐릅니다"),
                    format!("istiod of {cluster} does not answer. Traffic goes on with the last configuration"),
                ],
            ),
            (false, true) => {
                (MomentKind::Ready, [format!("{cluster} istiod가 다시 답합니다"), format!("istiod of {cluster} answers again")])
            }
            _ => return None,
        };
        Some(Moment::new(
            format!("istiod:{cluster}:{now}"),
            now,
            kind,
            Some(cluster),
            Some("Deployment/istio-system/istiod".to_owned()),
            texts,
        ))
    };
    after.istiod.iter().filter_map(change).collect()
}

/// The link is like something else.
pub(super) fn link(before: Option<&LinkView>, after: Option<&LinkView>, now: u64) -> Option<Moment> {
    let (before, after) = (before?, after?);
    if (before.state, before.latency_ms, before.jitter_ms) == (after.state, after.latency_ms, after.jitter_ms) {
        return None;
    }
    let [ko, en] = match after.state {
        LinkState::Up if after.latency_ms > 0.0 => {
            [format!("왕복 {} ms 느리게", after.latency_ms), format!("{} ms slower a round trip", after.latency_ms)]
        }
        LinkState::Up => ["정상".to_owned(), "plain".to_owned()],
        LinkState::Stalled => ["멈춤".to_owned(), "stalled".to_owned()],
        LinkState::Cut => ["단절".to_owned(), "cut".to_owned()],
        LinkState::Unknown => ["알 수 없음".to_owned(), "not known".to_owned()],
    };
    let texts = [format!("클라우드 사이의 링크: {ko}"), format!("Link between the clouds: {en}")];
    Some(Moment::new(format!("link:{now}"), now, MomentKind::Link, None, None, texts))
}
