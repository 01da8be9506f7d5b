//! `kubectl logs`: text that the kubelet has.

use std::{io, pin::Pin};

use axum::{body::Body, http::StatusCode, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;

use super::{Api, Call, negotiate, route::Target};
use crate::{error::ApiError, kinds::POD};

/// A container's output, piece by piece.
pub type LogStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Which part of a container's output is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written later.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<usize>,
    /// The output of the run before the present one.
    pub previous: bool,
    /// Only lines written at or after this time.
    pub since: Option<jiff::Timestamp>,
    /// Put the time in front of each line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Who has the output of containers.
pub trait LogSource: Send + Sync {
    /// Opens the output of one container.
    ///
    /// # Errors
    /// `BadRequest` where there is no such output (yet).
    fn open(&self, namespace: &str, pod: &str, container: &str, options: LogOptions) -> Result<LogStream, ApiError>;
}

pub(super) fn handle(api: &Api, call: &Call, target: &Target) -> Result<Response, ApiError> {
    let (namespace, name) = target.key();
    let pod = api.registry().get(&POD, namespace, name)?;
    let container = container(&pod, name, call.query.text("container"))?;
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        // It runs nowhere yet, so it has said nothing.
        return Ok(negotiate::text(""));
    }
    let query = &call.query;
    let since = match (query.number::<i64>("sinceSeconds")?, query.text("sinceTime")) {
        (Some(seconds), _) => {
            Some(jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MIN))
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| ApiError::bad_request(format!("sinceTime: Invalid value: {time:?}")))?),
        (None, None) => None,
    };
    let options = LogOptions {
        follow: query.flag("follow"),
        tail_lines: query.number("tailLines")?,
        previous: query.flag("previous"),
        since,
        timestamps: query.flag("timestamps"),
        limit_bytes: query.number("limitBytes")?,
    };
    let lines = api.pods()?.open(namespace, name, &container, options)?;
    let ending = api.inner.shutdown.clone();
    let lines = lines.take_until(async move { ending.cancelled().await });
    Ok(negotiate::with_type(StatusCode::OK, "text/plain", Body::from_stream(lines)))
}

/// The asked container, or the pod's only or default one.
pub(super) fn container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, ApiError> {
    let names: Vec<&str> = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str())
        .collect();
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    match (asked.or(default), names.as_slice()) {
        (Some(asked), names) if names.contains(&asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}"))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            Err(ApiError::bad_request(format!("a container name must be specified for pod {name}, choose one of: [{}]", names.join(" "))))
        }
    }
}
