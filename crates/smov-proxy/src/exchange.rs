//! One request and everything that is to be known about it at its end. Phase **observe** runs exactly once: when the answer is complete,
//! or, as "client went away", when the exchange is dropped before that.

use std::rc::Rc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, StatusCode};
use smov_model::flag::ResponseFlag;
use smov_model::record::{Direction, Phase};
use tokio::time::Instant;

use crate::body::Upload;
use crate::headers;
use crate::telemetry::spans;
use crate::telemetry::trace::{LogFields, Trace};
use crate::worker::{Downstream, Worker};

/// What only some routes need to remember on the way to the answer.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// `Set-Cookie` of consistent hashing, for an upstream's answer.
    pub(crate) cookies: Vec<HeaderValue>,
    /// The origin that CORS welcomes.
    pub(crate) origin: Option<HeaderValue>,
    /// The request's headers, for answers that repeat some of them.
    pub(crate) request_headers: http::HeaderMap,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) worker: Rc<Worker>,
    pub(crate) trace: Trace,
    pub(crate) started: Instant,
    /// What is read of the request's body counts until the end.
    pub(crate) upload: Option<Rc<Upload>>,
    /// Who is connected, where.
    pub(crate) downstream: Downstream,
    /// What only some routes need.
    extra: Option<Box<Extra>>,
    /// The last reading of the clock.
    last: u32,
    /// Set when a status was given to the downstream.
    answered: bool,
    finished: bool,
}

impl Exchange {
    pub(crate) fn start(worker: &Rc<Worker>, downstream: &Downstream, direction: Direction, parts: &mut Parts, id: HeaderValue) -> Self {
        // Once: what is cut off between two readings would be missing at the end.
        let started = Instant::now();
        let span = spans::begin(worker, downstream, direction, parts, &id);
        let mut trace = Trace::new(direction, parts, id, worker.shared.clock_micros_at(started));
        trace.request_head = headers::wire_size(&parts.headers) + (parts.method.as_str().len() + trace.path.as_str().len() + 12) as u64;
        trace.span = span;
        if let Some(settings) = worker.shared.access_log(direction) {
            trace.log = Some(Box::new(LogFields::of(settings, downstream, parts)));
        }
        Self {
            worker: worker.clone(),
            trace,
            started,
            upload: None,
            downstream: downstream.clone(),
            extra: None,
            last: 0,
            answered: false,
            finished: false,
        }
    }

    /// What only some routes need; made when first asked for.
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The same, where something needed it.
    pub(crate) fn extra_if_any(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    /// Microseconds since the request came.
    pub(crate) fn elapsed(&self) -> u32 {
        micros(self.started.elapsed())
    }

    /// Notes that a phase began now.
    pub(crate) fn mark(&mut self, phase: Phase) {
        self.last = self.elapsed();
        self.note(phase);
    }

    /// Notes a phase that takes no time to speak of: it began when the last one did, and the clock is not read.
    pub(crate) fn note(&mut self, phase: Phase) {
        // An event, not a span: a span would have to wrap each future of the walk, and moving those costs more than the walk.
        tracing::trace!(target: "smov_proxy::phase", phase = phase.as_str());
        self.trace.mark(phase, self.last);
    }

    pub(crate) fn add_flag(&mut self, flag: ResponseFlag) {
        self.trace.flags = self.trace.flags.with(flag);
    }

    /// The head of the answer is ready.
    pub(crate) fn answer(&mut self, status: StatusCode, headers: &http::HeaderMap) {
        self.trace.status = status.as_u16();
        self.trace.duration = self.elapsed();
        self.trace.response_head = headers::wire_size(headers) + 17;
        self.answered = true;
    }

    /// Phase **observe**: into metrics, ring, rows and log.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.mark(Phase::Observe);
        self.trace.total = self.last;
        self.trace.request_body = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        let trace = std::mem::take(&mut self.trace);
        self.worker.observe(trace);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.finished {
            self.add_flag(ResponseFlag::Dc);
            if !self.answered {
                self.trace.status = 0;
                self.trace.duration = self.elapsed();
            }
            self.trace.details = "downstream_remote_disconnect".into();
            self.finish();
        }
    }
}

/// Whole microseconds, at most an hour and eleven minutes.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
