//! Watches as a stream of JSON lines.

use std::time::Duration;

use axum::{body::Body, http::StatusCode, response::Response};
use bytes::Bytes;
use futures_util::stream;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Api, Call,
    negotiate::{self, Form},
    objects,
    route::Target,
    table,
};
use crate::{
    error::ApiError,
    registry::{EventKind, Watch, WatchEvent},
};

/// How often a watch that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How many events go into one piece of the body.
const BATCH: usize = 64;

struct Stream {
    call: Call,
    target: Target,
    form: Form,
    watch: Watch,
    /// Events of the present state still to come before the bookmark that ends them.
    initial: Option<usize>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ending: CancellationToken,
    first_row: bool,
    done: bool,
}

pub(super) fn watch(api: &Api, call: &Call, target: &Target) -> Result<Response, ApiError> {
    let mut selector = call.query.selector(target.kind)?;
    if let Some(name) = &target.name {
        selector.fields = crate::registry::FieldSelector::parse(&format!("metadata.name={name}"))?;
    }
    let form = Form::of(&call.headers)?;
    let initial = call.query.flag("sendInitialEvents");
    let since = match initial {
        true => None,
        false => call.query.version()?,
    };
    call.query.exact_version()?;
    let watch = match api.registry().watch(target.kind, target.namespace.as_deref(), selector, since) {
        Ok(watch) => watch,
        // As an event of the stream: there clients look for it.
        Err(error) if error.code == 410 => {
            let mut text = Vec::new();
            write_line(&mut text, "ERROR", &error.to_status());
            return Ok(negotiate::with_type(StatusCode::OK, "application/json", text));
        }
        Err(error) => return Err(error),
    };
    let timeout = call
        .query
        .number::<u64>("timeoutSeconds")?
        .filter(|seconds| *seconds > 0)
        // Spread, so that watches do not all come back at once.
        .unwrap_or_else(|| rand::rng().random_range(1800..3600));
    let now = Instant::now();
    let state = Stream {
        initial: initial.then(|| watch.waiting()),
        call: Call {
            method: call.method.clone(),
            headers: call.headers.clone(),
            query: call.query.clone(),
            user: call.user.clone(),
            upgrade: None,
        },
        target: target.clone(),
        form,
        watch,
        bookmarks: call.query.flag("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARK_EVERY,
        // Longer than a year is for ever.
        end: now + Duration::from_secs(timeout.min(366 * 24 * 3600)),
        ending: api.inner.shutdown.clone(),
        first_row: true,
        done: false,
    };
    let lines = stream::unfold(state, |mut state| async move {
        let piece = state.next_piece().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), state))
    });
    Ok(negotiate::with_type(StatusCode::OK, "application/json", Body::from_stream(lines)))
}

impl Stream {
    /// The next lines; none at the end.
    async fn next_piece(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut text = Vec::new();
        if self.initial == Some(0) {
            self.initial = None;
            self.write_bookmark(&mut text, true);
            return Some(text.into());
        }
        let event = tokio::select! {
            event = self.watch.next() => event,
            () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                self.write_bookmark(&mut text, false);
                return Some(text.into());
            }
            () = tokio::time::sleep_until(self.end) => {
                self.done = true;
                if !self.bookmarks {
                    return None;
                }
                self.write_bookmark(&mut text, false);
                return Some(text.into());
            }
            () = self.ending.cancelled() => return None,
        };
        let Some(event) = event else {
            self.done = true;
            let status = self.watch.failure().map(ApiError::to_status)?;
            write_line(&mut text, "ERROR", &status);
            return Some(text.into());
        };
        self.write(&mut text, &event);
        while self.initial != Some(0)
            && text.len() < BATCH * 1024
            && let Some(event) = self.watch.try_next()
        {
            self.write(&mut text, &event);
        }
        Some(text.into())
    }

    fn write(&mut self, text: &mut Vec<u8>, event: &WatchEvent) {
        if let Some(initial) = &mut self.initial {
            *initial = initial.saturating_sub(1);
        }
        let kind = event.kind.as_str();
        match self.form {
            Form::Full | Form::Yaml => {
                let object = objects::in_version(self.target.kind, &self.target.version, &event.object);
                write_line(text, kind, &object);
            }
            Form::Metadata => write_line(text, kind, &objects::metadata_only(&event.object)),
            Form::Table => {
                let metadata = json!({ "resourceVersion": event.resource_version.to_string() });
                let rows = std::slice::from_ref(&event.object);
                let mut table = table::of(&self.target, rows, &metadata, &self.call);
                if !std::mem::take(&mut self.first_row) {
                    table["columnDefinitions"] = Value::Null;
                }
                write_line(text, kind, &table);
            }
        }
    }

    fn write_bookmark(&self, text: &mut Vec<u8>, initial_end: bool) {
        let bookmark = self.watch.bookmark();
        let mut object = Value::clone(&bookmark.object);
        object["apiVersion"] = json!(self.target.kind.api_version_as(&self.target.version));
        if initial_end {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.form {
            Form::Full | Form::Yaml => object,
            Form::Metadata => objects::metadata_only(&object),
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"], "columnDefinitions": null, "rows": [],
            }),
        };
        write_line(text, EventKind::Bookmark.as_str(), &object);
    }
}

fn write_line(text: &mut Vec<u8>, kind: &str, object: &Value) {
    text.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    serde_json::to_writer(&mut *text, object).expect("a JSON value can be written to memory");
    text.extend_from_slice(b"}\n");
}
