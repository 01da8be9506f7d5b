//! `smov explain`: why a request goes where it goes. From the snapshot that a running sidecar has, or from files alone.

use serde_json::json;
use smov_istio::explain::{ClusterSecurity, Explanation, Question, explain_snapshot};
use smov_istio::world::Role;
use smov_model::names::Port;
use smov_model::snapshot::Snapshot;

use crate::cli::{Explain, Global, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::printer;
use crate::text::{self, Language, Text};

mod difference;
mod expect;
mod from_files;
pub(crate) mod live;
pub(crate) mod mtls;
pub(crate) mod policy;
mod record;
mod sheet;
mod told;

pub(crate) use record::told_record;

/// Whose proxy was asked, and what has to be said about the answer.
pub(crate) struct Asked {
    pub(crate) snapshot: Snapshot,
    pub(crate) role: Role,
    /// The caller in words.
    pub(crate) from: String,
    /// `files` or `mesh`.
    pub(crate) source: &'static str,
    /// Sentences to say beside it.
    pub(crate) notes: Vec<String>,
    /// Are the pods made up, so that endpoints are not known?
    pub(crate) pods_assumed: bool,
    /// How the caller's connections are secured, by cluster.
    pub(crate) security: Vec<ClusterSecurity>,
    /// Policies that are in the input and not executed.
    pub(crate) policies: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, explain: &Explain, language: Language) -> Outcome {
    if let Some(id) = &explain.request {
        return record::run(global, id, language).await;
    }
    let questions: Vec<Question> = question(explain)?.into_iter().collect();
    if let [old, new] = explain.diff.as_slice() {
        return difference::run(global, explain, [old, new], &questions, language);
    }
    let Some(mut question) = questions.into_iter().next() else {
        return Err(Failure::new(Exit::Usage, text::EXPLAIN_NEEDS_URL, &[]).hint(text::EXPLAIN_NEEDS_URL_HINT, &[]));
    };
    let expectations = expect::parse(&explain.expect)?;
    let files = !explain.filename.is_empty() || !explain.kustomize.is_empty();
    let mut asked = if files {
        from_files::ask(explain, from_files::read(explain, &explain.filename)?, &[], std::slice::from_ref(&question), language)?
    } else {
        live::ask(global, explain, language).await?
    };
    settle(&mut question, &mut asked, language);
    let mut explanation = explain_snapshot(&asked.snapshot, asked.role, question.port, &question.head());
    if !files {
        live::add_health(&asked.snapshot, &mut explanation).await;
    }
    let results = expect::check(&expectations, &explanation, &policy::chances(&question, (&asked).into(), &explanation));
    if global.output == Output::Json {
        printer::line(&serde_json::to_string_pretty(&document(&question, &asked, &explanation, &results)).expect("JSON values serialise"));
    } else {
        told::print(&question, &asked, &explanation, language);
        expect::print(&results, language);
    }
    if results.iter().all(|result| result.met) { Ok(()) } else { Err(Failure::quiet(Exit::Check)) }
}

/// The request of the command line, if there is one.
fn question(explain: &Explain) -> Result<Option<Question>, Failure> {
    let (method, url) = match explain.asked.as_slice() {
        [] => return Ok(None),
        [url] => ("GET", url),
        [method, url, ..] => (method.as_str(), url),
    };
    let question = Question::new(method, url, &explain.headers);
    question.map(Some).map_err(|error| Failure::new(Exit::Usage, text::PLAIN, &[&error]).hint(text::EXPLAIN_NEEDS_URL_HINT, &[]))
}

/// What the proxy does before it looks at routes: the path's normal form, and at a gateway the server's port behind the one dialled. Gives
/// the sentences about it, each with its argument.
pub(crate) fn settled(question: &mut Question, snapshot: &Snapshot, role: Role) -> Vec<(Text, String)> {
    let mut notes = Vec::new();
    if let Some(normal) = smov_proxy::normalize_path(&question.path, snapshot.path_normalization) {
        notes.push((text::NOTE_PATH, normal.clone()));
        question.path = normal;
    }
    let ports: Vec<Port> = snapshot.ingress.keys().copied().collect();
    if role == Role::Gateway
        && !ports.contains(&question.port)
        && let Some(port) = ports.first()
    {
        notes.push((text::NOTE_GATEWAY_PORT, port.to_string()));
        question.port = *port;
    }
    notes
}

fn settle(question: &mut Question, asked: &mut Asked, language: Language) {
    let notes = settled(question, &asked.snapshot, asked.role);
    asked.notes.extend(notes.iter().map(|(note, argument)| language.line(*note, &[argument])));
}

fn document(question: &Question, asked: &Asked, explanation: &Explanation, results: &[expect::Checked]) -> serde_json::Value {
    json!({
        "request": {"method": question.method, "url": question.url(), "headers": question.header_lines()},
        "from": asked.from,
        "source": asked.source,
        "notes": asked.notes,
        "podsAssumed": asked.pods_assumed,
        "mtls": mtls::of(&asked.security, explanation),
        "notEnforced": asked.policies,
        "explanation": explanation,
        "authorization": policy::of(question, asked.into(), explanation),
        "chances": policy::chances(question, asked.into(), explanation),
        "expectations": results.iter().map(|one| json!({"expected": one.expected, "met": one.met, "actual": one.actual})).collect::<Vec<_>>(),
    })
}
