//! The walk of one request, seen by its spans: the same words in the same order as in the documents.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/mesh.rs"]
mod support;

use std::sync::{Arc, Mutex};

use smov_model::record::Phase;
use support::*;
use tracing::span::Attributes;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Notes names of spans of this crate in the order in which they begin.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<&'static str>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Names {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &tracing::Id, _: Context<'_, S>) {
        if attributes.metadata().target().starts_with("smov_proxy") {
            self.0.lock().unwrap().push(attributes.metadata().name());
        }
    }
}

#[test]
fn one_request_walks_through_the_phases_in_order() {
    let names = Names::default();
    let subscriber = tracing_subscriber::registry().with(names.clone());
    tracing::subscriber::with_default(subscriber, || {
        run(async {
            let pod = user_pod("127.70.1.1", "ctx1", App::saying("hello"));
            let endpoints = [(pod.address, pod.workload.clone())];
            let caller = caller(caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], vec![cluster(Some("ctx1"), &endpoints)]));
            let reply = get(caller.outbound.unwrap(), "http://user-service:8081/users/", &[]).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
        });
    });
    let seen = names.0.lock().unwrap().clone();
    let words = |phases: &[Phase]| phases.iter().map(|phase| phase.as_str()).collect::<Vec<_>>();
    let (outbound, inbound) = (words(&Phase::OUTBOUND), words(&Phase::INBOUND));
    // The inbound walk happens inside the outbound one, between connect and observe.
    let cut = outbound.len() - 1;
    let expected: Vec<_> = outbound[..cut].iter().chain(&inbound).chain(&outbound[cut..]).copied().collect();
    assert_eq!(seen, expected);
}
