//! A decision worked out for the page: the caller's snapshot from its control plane, or one compiled with resources as they would be, and the
//! same functions that `smov explain` and the proxies use.

use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};
use smov_console::ServiceId;
use smov_console::ports::{Explain, ExplainRequest, Override};
use smov_console::problem::Problem;
use smov_control::debug_client::{DebugClient, DebugError};
use smov_istio::diagnostic::{Diagnostic, has_errors};
use smov_istio::explain::{ClusterSecurity, Question, explain_snapshot};
use smov_istio::validate::validate_strictly;
use smov_istio::world::{Role, WatchedKind};
use smov_istio::yaml;
use smov_model::snapshot::Snapshot;

use crate::commands::explain::live::{self, Found, Wanted};
use crate::commands::explain::policy::{self, Scene};
use crate::commands::explain::{mtls, settled};
use crate::text::Language;

/// Asks the control planes; without any, nothing can be worked out.
pub(crate) struct MeshExplain {
    pub(crate) istiods: Vec<(String, PathBuf)>,
}

impl Explain for MeshExplain {
    fn explain(&self, request: ExplainRequest) -> BoxFuture<'static, Result<Value, Problem>> {
        let istiods: Vec<_> = self.istiods.iter().map(|(cluster, socket)| (cluster.clone(), DebugClient::new(socket.clone()))).collect();
        explain(istiods, request).boxed()
    }
}

async fn explain(istiods: Vec<(String, DebugClient)>, request: ExplainRequest) -> Result<Value, Problem> {
    let question = question(&request)?;
    let found = find(istiods, &request).await?;
    let objects = objects(&request.overrides, &found.cluster, found.snapshot.proxy.namespace.as_str())?;
    let role = if request.from.as_ref().is_some_and(|from| from.gateway) { Role::Gateway } else { Role::Sidecar };
    let now = told(&question, &found.snapshot, &found.security, role).await;
    let workload = &found.snapshot.proxy;
    let mut answer = json!({
        "computed": true,
        "request": {"method": question.method, "path": question.path, "host": question.authority, "url": question.url(), "headers": question.header_lines()},
        "from": {"pod": workload.pod, "workload": workload.name, "namespace": workload.namespace, "cluster": found.cluster},
        "now": now,
    });
    if !request.overrides.is_empty() {
        let elsewhere: Vec<&str> =
            request.overrides.iter().map(|one| one.cluster.as_str()).filter(|cluster| *cluster != found.cluster).collect();
        let what_if =
            found.client.what_if(&workload.pod, &objects).await.map_err(|error| away(&error))?.ok_or_else(|| gone(&workload.pod))?;
        if has_errors(&what_if.findings) {
            return Err(refused(&what_if.findings));
        }
        answer["then"] = told(&question, &what_if.snapshot, &what_if.security, role).await;
        answer["findings"] = what_if.findings.iter().map(finding).collect();
        // Each cluster has its own rules: those of another cluster do not act on this caller.
        answer["without_effect"] = json!(elsewhere);
    }
    Ok(answer)
}

fn question(request: &ExplainRequest) -> Result<Question, Problem> {
    let refuse = |detail: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidRequest", "그런 요청은 없습니다", "There is no such request")
            .with_detail(detail)
    };
    let host = match request.host.as_deref().filter(|host| !host.is_empty()) {
        Some(host) => host.to_owned(),
        None => ServiceId::of_path(&request.path)
            .map(|service| format!("{}:{}", service.host(), service.port()))
            .ok_or_else(|| refuse(format!("`{}` belongs to no service of the theatre: say `host`", request.path)))?,
    };
    if !request.path.starts_with('/') {
        return Err(refuse(format!("`{}` does not begin with `/`", request.path)));
    }
    let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    Question::new(&request.method, &format!("http://{host}{}", request.path), &headers).map_err(|error| refuse(error.to_string()))
}

async fn find(istiods: Vec<(String, DebugClient)>, request: &ExplainRequest) -> Result<Found, Problem> {
    let from = request.from.clone().unwrap_or_default();
    let istiods: Vec<_> = istiods.into_iter().filter(|(cluster, _)| from.cluster.as_ref().is_none_or(|wanted| wanted == cluster)).collect();
    if istiods.is_empty() {
        return Err(no_control_plane());
    }
    let name = from.workload.as_deref().unwrap_or(live::DEFAULT_CALLER);
    let namespace = from.namespace.as_deref().unwrap_or(live::DEFAULT_NAMESPACE);
    match (Wanted { name, namespace, gateway: from.gateway }).find(istiods).await.map_err(|error| away(&error))? {
        Ok(found) => Ok(found),
        Err(others) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "NoCaller",
            "그런 호출자의 프록시가 연결되어 있지 않습니다",
            "No proxy of such a caller is connected",
        )
        .with_detail(others.join(", "))),
    }
}

/// The resources of the overrides that are the caller's cluster's; what is no resource is refused with line and column.
fn objects(overrides: &[Override], cluster: &str, namespace: &str) -> Result<Vec<Value>, Problem> {
    let mut objects = Vec::new();
    for one in overrides {
        let documents = yaml::parse(&one.yaml).map_err(|error| {
            invalid(&error.reason).with("line", json!(error.position.line)).with("column", json!(error.position.column))
        })?;
        for document in documents {
            let kind = WatchedKind::of(&document.value).filter(|kind| kind.is_rule());
            if kind.is_none() {
                return Err(invalid(&format!("`{}` is no rule of the mesh", document.value["kind"].as_str().unwrap_or("-"))));
            }
            // As an API server would: it refuses what it does not know, which a control plane passes over.
            let findings = document.place(validate_strictly(&document.value));
            if has_errors(&findings) {
                return Err(refused(&findings));
            }
            let mut object = document.value;
            if object["metadata"]["namespace"].is_null() && object["metadata"].is_object() {
                object["metadata"]["namespace"] = json!(namespace);
            }
            if one.cluster == cluster {
                objects.push(object);
            }
        }
    }
    Ok(objects)
}

/// What comes of a request under a snapshot.
async fn told(question: &Question, snapshot: &Snapshot, security: &[ClusterSecurity], role: Role) -> Value {
    let mut question = question.clone();
    let notes = settled(&mut question, snapshot, role);
    let mut explanation = explain_snapshot(snapshot, role, question.port, &question.head());
    live::add_health(snapshot, &mut explanation).await;
    let scene = Scene { snapshot, role, security, sidecars_assumed: false };
    json!({
        "snapshot": snapshot.version,
        "explanation": explanation,
        "authorization": policy::of(&question, scene, &explanation),
        "chances": policy::chances(&question, scene, &explanation),
        "mtls": mtls::of(security, &explanation),
        "notes": notes.iter().map(|(note, argument)| json!({
            "text_ko": Language::Korean.line(*note, &[argument]),
            "text_en": Language::English.line(*note, &[argument]),
        })).collect::<Vec<_>>(),
    })
}

fn finding(one: &Diagnostic) -> Value {
    json!({
        "severity": one.severity, "code": one.code, "path": one.path, "text_ko": one.message_ko, "text_en": one.message,
        "ref": format!("{}/{}/{}", one.resource.kind, one.resource.namespace, one.resource.name),
    })
}

fn invalid(detail: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "InvalidOverride",
        "이 YAML로는 계산할 수 없습니다",
        "Nothing can be worked out with this YAML",
    )
    .with_detail(detail)
}

fn refused(findings: &[Diagnostic]) -> Problem {
    let errors: Vec<&Diagnostic> = findings.iter().filter(|one| one.is_error()).collect();
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let problem = invalid(&sentences.join("; ")).with("findings", errors.iter().map(|one| finding(one)).collect());
    match errors.first().and_then(|one| one.position) {
        Some(place) => problem.with("line", json!(place.line)).with("column", json!(place.column)),
        None => problem,
    }
}

fn no_control_plane() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "NoControlPlane",
        "계산을 맡길 컨트롤 플레인이 없습니다",
        "There is no control plane that could work this out",
    )
}

fn away(error: &DebugError) -> Problem {
    no_control_plane().with_detail(error.to_string())
}

fn gone(pod: &str) -> Problem {
    no_control_plane().with_detail(format!("the proxy of `{pod}` has just gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> ExplainRequest {
        serde_json::from_value(json!({ "path": path })).unwrap()
    }

    #[test]
    fn a_path_of_the_theatre_names_its_service_and_another_needs_a_host() {
        let asked = question(&request("/users/?page=2")).unwrap();
        assert_eq!(
            (asked.authority.as_str(), asked.path.as_str(), asked.query.as_deref()),
            ("user-service:8081", "/users/", Some("page=2"))
        );
        assert_eq!(question(&request("/elsewhere")).unwrap_err().reason.code, "InvalidRequest");
        assert!(question(&request("users")).is_err());
        let other = ExplainRequest { host: Some("example.org".into()), ..request("/elsewhere") };
        assert_eq!(question(&other).unwrap().port.number(), 80);
    }

    #[test]
    fn overrides_are_rules_of_the_callers_cluster_and_bad_yaml_is_placed() {
        let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}\n";
        let of = |cluster: &str, yaml: &str| objects(&[Override { cluster: cluster.into(), yaml: yaml.into() }], "ctx1", "theater-msa");
        assert_eq!(of("ctx1", rule).unwrap()[0]["metadata"]["namespace"], "theater-msa");
        assert!(of("ctx2", rule).unwrap().is_empty());
        let problem = of("ctx1", "a: 1\nb: [").unwrap_err();
        assert!(problem.extra.iter().any(|(name, value)| name == "line" && value.as_u64() >= Some(2)), "{problem:?}");
        let typo = of("ctx1", &rule.replace("hosts: [a]", "hosts: [a], hosst: [b]")).unwrap_err();
        assert!(typo.extra.contains(&("line".to_owned(), json!(4))), "{typo:?}");
        assert!(of("ctx1", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").is_err());
    }
}
