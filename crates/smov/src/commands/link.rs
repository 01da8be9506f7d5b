//! `smov link`: what lies between the two clusters, read and changed through the API server as any object.

use serde_json::json;
use smov_link::State;

use crate::cli::{Global, LinkArguments, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::mesh::link::{self, CLUSTER, Change, ChangeError};
use crate::printer;
use crate::text::{self, Language};

/// Runs the command.
pub(crate) async fn run(global: &Global, arguments: &LinkArguments, language: Language) -> Outcome {
    let clusters = super::connect(global, Some(CLUSTER)).await?;
    let cluster = clusters.first().ok_or_else(|| Failure::new(Exit::Usage, text::UNKNOWN_CONTEXT, &[&CLUSTER]))?;
    let change = change_of(arguments);
    let changed = change != Change::default();
    let now = if changed {
        link::describe(&link::change(cluster, change).await.map_err(|error| failure(&error))?)
    } else {
        link::in_force(cluster).await.map_err(|error| failure(&error))?
    };
    if global.output == Output::Json {
        let mut words = now.split(' ');
        let mut document = json!({ "state": words.next() });
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            document[key] = value.into();
        }
        printer::line(&serde_json::to_string_pretty(&document).expect("JSON values serialise"));
    } else {
        printer::line(&now);
        let words = match now.split(' ').next() {
            Some("cut") => Some(text::LINK_IS_CUT),
            Some("stalled") => Some(text::LINK_IS_STALLED),
            Some(_) | None => None,
        };
        words.into_iter().for_each(|words| printer::note(&language.line(words, &[])));
    }
    Ok(())
}

fn change_of(arguments: &LinkArguments) -> Change {
    let switch = &arguments.switch;
    let start = if switch.restore { Change::RESTORE } else { Change::default() };
    let state = match (switch.cut, switch.stall) {
        (true, _) => Some(State::Cut),
        (_, true) => Some(State::Stalled),
        (false, false) => start.state,
    };
    Change { state, latency: arguments.latency.or(start.latency), jitter: arguments.jitter.or(start.jitter) }
}

fn failure(error: &ChangeError) -> Failure {
    match error {
        ChangeError::Call(error) => super::unreachable(error),
        ChangeError::None => Failure::new(Exit::Usage, text::LINK_NONE, &[]).hint(text::LINK_NONE_HINT, &[]),
        ChangeError::Invalid(reason) => Failure::new(Exit::Usage, text::LINK_INVALID, &[reason]).hint(text::LINK_INVALID_HINT, &[]),
        ChangeError::NotInForce(now) => Failure::new(Exit::Unreachable, text::LINK_NOT_IN_FORCE, &[now]).hint(text::NOT_RUNNING_HINT, &[]),
    }
}
