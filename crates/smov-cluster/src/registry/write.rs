//! Writes: from what a client sent to what is stored, in Kubernetes' order (normalise, check
//! fields, default, mutate, validate, store), without a lock while others are asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Key, Object, Registry, WriteOptions, Written, defaults,
    delete::may_go,
    fields, managed,
    object::{
        check_preconditions, content_differs, keep_identity, key, key_of, kind_of, name_it, normalised, remove, set_or_remove,
        without_version,
    },
    pod_update, validate,
};
use crate::{
    admission::{AdmissionRequest, Operation},
    error::ApiError,
    kinds::{DEPLOYMENT, EVENT, Kind, NAMESPACE, POD, SERVICE, SERVICE_ACCOUNT},
    schema::{self, Shape},
};

/// Which part of an object a write is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All but the status.
    Content,
    /// Only the status.
    Status,
    /// Everything: a change made inside the cluster.
    Both,
}

/// What becomes of `metadata.managedFields`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    /// Nothing.
    Keep,
    /// The write is recorded as an update.
    Update,
    /// The object has them already as they shall be.
    Done,
}

impl Record {
    fn of(options: &WriteOptions) -> Self {
        if options.tracked { Self::Update } else { Self::Keep }
    }
}

impl Registry {
    /// Stores a new object.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `BadRequest`, or admission's answer.
    pub fn create(&self, object: Value, options: &WriteOptions) -> Result<Written, ApiError> {
        self.create_as(object, options, Record::of(options))
    }

    fn create_as(&self, object: Value, options: &WriteOptions, record: Record) -> Result<Written, ApiError> {
        let kind = kind_of(&object)?;
        let mut object = normalised(kind, object)?;
        let sent = object["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove("managedFields")).unwrap_or_default();
        let mut warnings = fields::check(self, kind, &mut object, options.field_validation)?;
        let filled = managed::filled_by_server(kind, &object);
        name_it(kind, &mut object)?;
        defaults::begin(kind, &mut object);
        let key = key_of(kind, &object);
        self.check_namespace(kind, &key)?;
        defaults::apply(kind, &mut object);
        match record {
            Record::Keep => {}
            Record::Done => object["metadata"]["managedFields"] = sent,
            Record::Update => {
                let shape = Shape::Object(schema::of(kind, self));
                let write = managed::Write { kind, shape: &shape, manager: &options.field_manager, subresource: "" };
                managed::update(&write, None, &mut object, &sent, &filled);
            }
        }
        self.check_service_account(kind, &key, &object)?;
        self.admit(Operation::Create, kind, &key, &mut object, None, options, &mut warnings)?;
        let stored = {
            let mut state = self.state();
            if state.stores[kind.index()].objects.contains_key(&key) {
                return Err(ApiError::already_exists(kind, &key.1));
            }
            if kind == &SERVICE {
                let services = state.stores[kind.index()].objects.values();
                validate::allocate_cluster_ip(&self.inner.services, &mut object, services)?;
            }
            if options.dry_run {
                return Ok(written(Arc::new(object), warnings));
            }
            let (stored, change) = state.put(kind, &key, Some(object), None);
            self.inner.storage.queue(change);
            stored.expect("an object was put")
        };
        self.settle(kind == &EVENT)?;
        if kind == &NAMESPACE {
            self.furnish(&key.1)?;
        }
        Ok(written(stored, warnings))
    }

    /// Replaces an object's content; its status stays. A `resourceVersion` in it must be the
    /// newest.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`, `Invalid`, `BadRequest`, or admission's answer.
    pub fn update(&self, object: Value, options: &WriteOptions) -> Result<Written, ApiError> {
        self.replace(object, options, Part::Content)
    }

    /// Replaces only the status. It may reach the disk up to 50 ms later.
    ///
    /// # Errors
    /// As [`Registry::update`].
    pub fn update_status(&self, object: Value, options: &WriteOptions) -> Result<Written, ApiError> {
        self.replace(object, options, Part::Status)
    }

    /// Reads, changes and writes an object; again when somebody else wrote in between. Content
    /// and status may both be changed; changing nothing writes nothing.
    ///
    /// # Errors
    /// As [`Registry::update`], and what `change` returns.
    pub fn modify(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        options: &WriteOptions,
        mut change: impl FnMut(&mut Value) -> Result<(), ApiError>,
    ) -> Result<Written, ApiError> {
        // Of what clients change this way only `scale` is recorded.
        let record = if kind.has("scale") { Record::of(options) } else { Record::Keep };
        self.rewrite(kind, &key(kind, namespace, name), options, (Part::Both, record), |old| {
            let mut new = Value::clone(old);
            change(&mut new)?;
            Ok(new)
        })
    }

    /// The same for what clients patch: the status stays, or only the status changes.
    pub(crate) fn patch(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        options: &WriteOptions,
        status: bool,
        change: impl FnMut(&Object) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        let part = if status { Part::Status } else { Part::Content };
        self.rewrite(kind, &key(kind, namespace, name), options, (part, Record::of(options)), change)
    }

    /// Whether a manifest may be applied at all.
    ///
    /// # Errors
    /// Its fields do not fit its kind.
    pub(crate) fn check_declared(&self, kind: &'static Kind, config: &Value) -> Result<(), ApiError> {
        managed::declared::check(kind, &Shape::Object(schema::of(kind, self)), config)
    }

    /// Server-side apply: the manifest's fields are set, those that the manager gave up go; true: the object is new.
    pub(crate) fn apply(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        config: &Value,
        force: bool,
        options: &WriteOptions,
        status: bool,
    ) -> Result<(Written, bool), ApiError> {
        let shape = Shape::Object(schema::of(kind, self));
        let subresource = if status { "status" } else { "" };
        let write = managed::Write { kind, shape: &shape, manager: &options.field_manager, subresource };
        // Each subresource takes what is its own.
        let mut config = config.clone();
        if status {
            config = json!({ "apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": config["metadata"], "status": config["status"] });
        } else if kind.has("status") {
            remove(&mut config, "status");
        }
        // Before ownership is looked at: a typing error owns nothing.
        let mut checked = config.clone();
        let warnings = fields::check(self, kind, &mut checked, options.field_validation)?;
        let key = key(kind, namespace, name);
        if self.find(kind, &key.0, &key.1).is_none() && !status {
            match self.create_as(managed::apply(&write, None, &checked, force)?, options, Record::Done) {
                Ok(mut written) => {
                    written.warnings.splice(0..0, warnings);
                    return Ok((written, true));
                }
                // Somebody was faster: apply onto theirs.
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
        }
        let part = if status { Part::Status } else { Part::Content };
        let mut written =
            self.rewrite(kind, &key, options, (part, Record::Done), |old| managed::apply(&write, Some(old), &checked, force))?;
        written.warnings.splice(0..0, warnings);
        Ok((written, false))
    }

    fn replace(&self, object: Value, options: &WriteOptions, part: Part) -> Result<Written, ApiError> {
        let kind = kind_of(&object)?;
        let object = normalised(kind, object)?;
        let key = key_of(kind, &object);
        if key.1.is_empty() {
            return Err(ApiError::bad_request("the name of the object must be set"));
        }
        self.rewrite(kind, &key, options, (part, Record::of(options)), |_| Ok(object.clone()))
    }

    fn rewrite(
        &self,
        kind: &'static Kind,
        key: &Key,
        options: &WriteOptions,
        (part, record): (Part, Record),
        mut compute: impl FnMut(&Object) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        loop {
            let old = self.get(kind, &key.0, &key.1)?;
            let mut warnings = Vec::new();
            let mut new = normalised(kind, compute(&old)?)?;
            check_preconditions(kind, &key.1, &old, &new)?;
            let sent = new["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove("managedFields")).unwrap_or_default();
            if part == Part::Status {
                let status = new["status"].take();
                new = Value::clone(&old);
                if status.is_null() {
                    remove(&mut new, "status");
                } else {
                    new["status"] = status;
                }
            }
            warnings.extend(fields::check(self, kind, &mut new, options.field_validation)?);
            keep_identity(&old, &mut new);
            if part == Part::Content && (kind.has("status") && !old["status"].is_null()) {
                new["status"] = old["status"].clone();
            }
            if part != Part::Status {
                defaults::carry_over(kind, &old, &mut new);
                defaults::apply(kind, &mut new);
            }
            match record {
                Record::Keep => set_or_remove(&mut new["metadata"], "managedFields", &old["metadata"]["managedFields"]),
                Record::Done => set_or_remove(&mut new["metadata"], "managedFields", &sent),
                Record::Update => {
                    let shape = Shape::Object(schema::of(kind, self));
                    let subresource = match part {
                        Part::Content => "",
                        Part::Status => "status",
                        Part::Both => "scale",
                    };
                    let write = managed::Write { kind, shape: &shape, manager: &options.field_manager, subresource };
                    managed::update(&write, Some(&old), &mut new, &sent, &[]);
                }
            }
            if new != *old {
                if part == Part::Status {
                    validate::object_size(kind, &key.1, &new)?;
                } else {
                    self.admit(Operation::Update, kind, key, &mut new, Some(&old), options, &mut warnings)?;
                }
            }
            let content_changed = content_differs(&old, &new);
            // Of Deployments annotations count too, as in Kubernetes.
            let counts = content_changed
                || (kind == &DEPLOYMENT && part == Part::Content && old["metadata"]["annotations"] != new["metadata"]["annotations"]);
            if counts && defaults::has_generation(kind) {
                let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
                new["metadata"]["generation"] = json!(generation + 1);
            }
            if new == *old || options.dry_run {
                return Ok(written(Arc::new(new), warnings));
            }
            let stored = {
                let mut state = self.state();
                match state.stores[kind.index()].objects.get(key) {
                    Some(current) if Arc::ptr_eq(current, &old) => {}
                    // Computed again from the newer one; a version named by the client then conflicts.
                    Some(_) => continue,
                    None => return Err(ApiError::not_found(kind, &key.1)),
                }
                let (stored, change) =
                    if may_go(kind, &new) { state.put(kind, key, None, Some(new)) } else { state.put(kind, key, Some(new), None) };
                self.inner.storage.queue(change);
                stored.expect("the object existed")
            };
            let lazy = kind == &EVENT || (!content_changed && old["metadata"] == without_version(&stored, &old));
            self.settle(lazy)?;
            return Ok(written(stored, warnings));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call site per verb; a struct would only rename them")]
    fn admit(
        &self,
        operation: Operation,
        kind: &'static Kind,
        key: &Key,
        object: &mut Value,
        old: Option<&Value>,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let request = AdmissionRequest {
            operation,
            cluster: self.cluster(),
            kind,
            namespace: &key.0,
            name: &key.1,
            user: &options.user,
            old,
            dry_run: options.dry_run,
            registry: self,
        };
        self.inner.admission.mutate(&request, object)?;
        defaults::apply(kind, object);
        validate::object(kind, object, old)?;
        crate::definitions::check(kind, object)?;
        if let (Some(old), Some(_)) = (old, &options.identity) {
            pod_update::check(kind, old, object)?;
        }
        crate::rbac::check_write(self, options.identity.as_deref(), kind, object, old)?;
        warnings.extend(self.inner.admission.validate(&request, object)?);
        Ok(())
    }

    /// Makes what was queued durable: now, or within 50 ms.
    pub(super) fn settle(&self, lazy: bool) -> Result<(), ApiError> {
        if lazy {
            self.inner.storage.commit_soon();
            Ok(())
        } else {
            self.inner.storage.commit()
        }
    }

    fn check_namespace(&self, kind: &'static Kind, key: &Key) -> Result<(), ApiError> {
        if !kind.namespaced {
            return Ok(());
        }
        let Some(namespace) = self.find(&NAMESPACE, "", &key.0) else {
            return Err(ApiError::not_found(&NAMESPACE, &key.0));
        };
        if namespace["metadata"]["deletionTimestamp"].is_null() || kind == &EVENT {
            return Ok(());
        }
        Err(ApiError::forbidden(
            kind,
            &key.1,
            &format!("unable to create new content in namespace {} because it is being terminated", key.0),
        ))
    }

    fn check_service_account(&self, kind: &'static Kind, key: &Key, object: &Value) -> Result<(), ApiError> {
        if kind != &POD {
            return Ok(());
        }
        let account = object["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        if self.find(&SERVICE_ACCOUNT, &key.0, account).is_some() {
            return Ok(());
        }
        Err(ApiError::forbidden(
            kind,
            &key.1,
            &format!("error looking up service account {}/{account}: serviceaccount {account:?} not found", key.0),
        ))
    }

    /// What every namespace has from the start.
    fn furnish(&self, namespace: &str) -> Result<(), ApiError> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "default", "namespace": namespace },
        });
        match self.create(account, &WriteOptions::default()) {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }
}

fn written(object: Object, warnings: Vec<String>) -> Written {
    Written { object, warnings }
}
