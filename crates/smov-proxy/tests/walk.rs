//! The walk of one request, seen by its trace events: the same words in the same order as in the documents.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/mesh.rs"]
mod support;

use std::sync::{Arc, Mutex};

use smov_model::record::Phase;
use support::*;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Notes the phases in the order in which they begin.
#[derive(Clone, Default)]
struct Phases(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Phases {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "smov_proxy::phase" {
            event.record(&mut Words(&mut self.0.lock().unwrap()));
        }
    }
}

struct Words<'a>(&'a mut Vec<String>);

impl Visit for Words<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "phase" {
            self.0.push(value.to_owned());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[test]
fn one_request_walks_through_the_phases_in_order() {
    let phases = Phases::default();
    let subscriber = tracing_subscriber::registry().with(phases.clone());
    tracing::subscriber::with_default(subscriber, || {
        run(async {
            let pod = user_pod("127.70.1.1", "ctx1", App::saying("hello"));
            let endpoints = [(pod.address, pod.workload.clone())];
            let caller = caller(caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], vec![cluster(Some("ctx1"), &endpoints)]));
            let reply = get(caller.outbound.unwrap(), "http://user-service:8081/users/", &[]).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
        });
    });
    let seen = phases.0.lock().unwrap().clone();
    let words = |phases: &[Phase]| phases.iter().map(|phase| phase.as_str()).collect::<Vec<_>>();
    let (outbound, inbound) = (words(&Phase::OUTBOUND), words(&Phase::INBOUND));
    // The inbound walk happens inside the outbound one, between connect and observe.
    let cut = outbound.len() - 1;
    let expected: Vec<_> = outbound[..cut].iter().chain(&inbound).chain(&outbound[cut..]).copied().collect();
    assert_eq!(seen, expected);
}
