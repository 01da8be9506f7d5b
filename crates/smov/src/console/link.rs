//! The link between the clusters, for the page: read from its object, changed through the API server.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;
use smov_console::ports::{LinkChange, LinkSwitch};
use smov_console::problem::Problem;
use smov_console::view::cluster::{LinkState, LinkView};
use smov_link::{Settings, State};

use super::restore;
use crate::kube_api::Cluster;
use crate::mesh::link::{self, CLUSTER, Change, ChangeError};

/// What the page shows of the link's object: what holds, not what is wished.
pub(super) fn view_of(object: &Value) -> LinkView {
    let told = link::told(object);
    let view = link::described(&told).as_ref().map(view).unwrap_or_else(|| LinkView {
        state: LinkState::Unknown,
        latency_ms: 0.0,
        jitter_ms: 0.0,
        error: Some(told),
        restore_at: None,
    });
    LinkView { restore_at: restore::of_link(object).map(|restore| restore.at), ..view }
}

fn view(settings: &Settings) -> LinkView {
    let state = match settings.state {
        State::Up => LinkState::Up,
        State::Stalled => LinkState::Stalled,
        State::Cut => LinkState::Cut,
    };
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    LinkView { state, latency_ms: milliseconds(settings.latency), jitter_ms: milliseconds(settings.jitter), error: None, restore_at: None }
}

/// Changes the link through ctx1's API server.
pub(crate) struct MeshLink {
    pub(crate) clusters: Vec<Cluster>,
}

impl LinkSwitch for MeshLink {
    fn change(&self, change: LinkChange) -> BoxFuture<'static, Result<LinkView, Problem>> {
        let cluster = self.clusters.iter().find(|cluster| cluster.name == CLUSTER).cloned();
        async move {
            let cluster = cluster.ok_or_else(|| problem(&ChangeError::None))?;
            let (wanted, after) = (wanted(&change)?, change.restore_after_s);
            let call = |error| problem(&ChangeError::Call(error));
            let before = restore::link_before(&cluster).await.map_err(call)?;
            let settings = link::change(&cluster, wanted).await.map_err(|error| problem(&error))?;
            let restore_at = match after {
                Some(after) => Some(restore::plan_link(&cluster, &before, after).await.map_err(call)?),
                None => None,
            };
            Ok(LinkView { restore_at, ..view(&settings) })
        }
        .boxed()
    }
}

fn wanted(change: &LinkChange) -> Result<Change, Problem> {
    let invalid = |detail: &str| problem(&ChangeError::Invalid(detail.to_owned()));
    let state = match change.state {
        None => None,
        Some(LinkState::Up) => Some(State::Up),
        Some(LinkState::Stalled) => Some(State::Stalled),
        Some(LinkState::Cut) => Some(State::Cut),
        Some(LinkState::Unknown) => return Err(invalid("`unknown` is no state of a link: up, stalled or cut")),
    };
    let time = |milliseconds: Option<f64>| {
        let time = milliseconds.map(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0));
        time.transpose().map_err(|_| invalid("times are numbers of milliseconds from 0 on"))
    };
    Ok(Change { state, latency: time(change.latency_ms)?, jitter: time(change.jitter_ms)? })
}

fn problem(error: &ChangeError) -> Problem {
    let (status, code, ko, en) = match error {
        ChangeError::None => (
            StatusCode::NOT_IMPLEMENTED,
            "NoLink",
            "이 클러스터 사이에는 smov가 다룰 수 있는 링크가 없습니다",
            "There is no link between these clusters that smov could change",
        ),
        ChangeError::Invalid(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "InvalidLink", "링크를 그렇게 설정할 수 없습니다", "The link cannot be so")
        }
        ChangeError::Call(_) => {
            (StatusCode::BAD_GATEWAY, "ApiServer", "API 서버가 링크를 바꾸지 못했습니다", "An API server did not change the link")
        }
        ChangeError::NotInForce(_) => {
            (StatusCode::GATEWAY_TIMEOUT, "LinkNotInForce", "링크가 아직 바뀌지 않았습니다", "The link has not changed yet")
        }
    };
    Problem::new(status, code, ko, en).with_detail(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_holds_is_shown_and_what_is_not_known_is_not_guessed() {
        let told =
            |line: &str| view_of(&json!({ "metadata": { "annotations": { "smov.dev/in-force": line } }, "data": { "state": "cut" } }));
        let up = told("up latency=8ms jitter=0ms");
        assert_eq!((up.state, up.latency_ms), (LinkState::Up, 8.0));
        assert_eq!(told("refused: data.state").state, LinkState::Unknown);
        assert_eq!(view_of(&json!({})).state, LinkState::Unknown);
    }

    #[test]
    fn times_that_no_link_can_have_are_refused() {
        assert!(wanted(&LinkChange { latency_ms: Some(-1.0), ..LinkChange::default() }).is_err());
        assert!(wanted(&LinkChange { jitter_ms: Some(f64::NAN), ..LinkChange::default() }).is_err());
    }
}
