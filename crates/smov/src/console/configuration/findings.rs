//! What is wrong with a rule, where it stands in its text: by itself, as `smov validate` says it, and together with everything else in the mesh.

use serde_json::Value;
use smov_console::view::configuration::{FindingView, SeverityView};
use smov_istio::analyze::Known;
use smov_istio::analyze::input::Input;
use smov_istio::compile::Prepared;
use smov_istio::diagnostic::{Diagnostic, Position, Severity};
use smov_istio::world::World;
use smov_istio::yaml::{Document, InvalidYaml, parse};

use super::object::Reference;
use crate::kube_api::CallError;

/// A rule as text, with its places.
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) document: Document,
}

impl Written {
    /// Reads a text that holds exactly one object; what is wrong with the text is a finding.
    pub(crate) fn read(cluster: &str, text: &str) -> Result<Self, Box<FindingView>> {
        let finding = |position: Position, code: &str, ko: String, en: String| {
            Box::new(FindingView {
                severity: SeverityView::Error,
                code: code.to_owned(),
                line: position.line,
                column: position.column,
                end_column: end_of(text, position),
                text_ko: ko,
                text_en: en,
                cluster: cluster.to_owned(),
                ..FindingView::default()
            })
        };
        let mut documents = parse(text).map_err(|InvalidYaml { position, reason }| {
            finding(position, "yaml", format!("YAML을 읽을 수 없습니다: {reason}"), format!("This is not YAML: {reason}"))
        })?;
        let start = Position { line: 1, column: 1 };
        match documents.len() {
            0 => Err(finding(start, "empty", "내용이 없습니다".to_owned(), "There is no object here".to_owned())),
            1 => Ok(Self { text: text.to_owned(), document: documents.remove(0) }),
            count => {
                let second = documents[1].locate("").unwrap_or(start);
                Err(finding(
                    second,
                    "several-objects",
                    format!("객체가 {count}개 있습니다. 하나씩 적용하세요"),
                    format!("There are {count} objects here; apply them one by one"),
                ))
            }
        }
    }

    /// Who it is; without a namespace it is in `default`, as for kubectl.
    pub(crate) fn reference(&self) -> Reference {
        let mut reference = Reference::of(&self.document.value);
        if reference.namespace.is_empty() {
            "default".clone_into(&mut reference.namespace);
        }
        reference
    }

    /// What is wrong with it, whatever else there is.
    pub(crate) fn alone(&self, cluster: &str) -> Vec<FindingView> {
        let mut input = Input::new(None);
        if input.add("", &self.text).is_err() {
            return Vec::new();
        }
        input.report(false).findings.into_iter().map(|found| self.view(cluster, found.finding)).collect()
    }

    /// The findings about it among those over a whole world.
    pub(crate) fn among(&self, cluster: &str, findings: &[Diagnostic]) -> Vec<FindingView> {
        let reference = self.reference();
        findings.iter().filter(|finding| is_about(finding, &reference)).map(|finding| self.view(cluster, finding.clone())).collect()
    }

    fn view(&self, cluster: &str, mut finding: Diagnostic) -> FindingView {
        let position = finding.position.take().or_else(|| self.document.locate(&finding.path));
        let told = |message: &str, help: &str| if help.is_empty() { message.to_owned() } else { format!("{message} — {help}") };
        FindingView {
            severity: match finding.severity {
                Severity::Error => SeverityView::Error,
                Severity::Warning => SeverityView::Warning,
                Severity::Info => SeverityView::Info,
            },
            text_ko: told(&finding.message_ko, &finding.help_ko),
            text_en: told(&finding.message, &finding.help),
            code: finding.code.into_owned(),
            path: finding.path,
            line: position.map_or(0, |position| position.line),
            column: position.map_or(0, |position| position.column),
            end_column: position.and_then(|position| end_of(&self.text, position)),
            cluster: cluster.to_owned(),
            r#ref: self.reference().to_string(),
        }
    }

    /// What an API server's refusal says, at the fields that it names.
    pub(crate) fn refused(&self, cluster: &str, error: &CallError) -> Vec<FindingView> {
        let CallError::Refused { message, causes, .. } = error else { return Vec::new() };
        let finding = |path: &str, sentence: &str| {
            let korean = format!("API 서버가 거절합니다: {sentence}");
            let reference = smov_istio::resource::reference_of(&self.document.value);
            self.view(cluster, Diagnostic::new("api-server", Severity::Error, &reference, path, sentence, korean))
        };
        let named: Vec<_> = causes.iter().filter(|cause| !cause.field.is_empty()).collect();
        if !named.is_empty() {
            return named.into_iter().map(|cause| finding(&cause.field, &format!("{}: {}", cause.field, cause.message))).collect();
        }
        // Strict decoding names its fields in the sentence only: unknown field "spec.http[0].weigth".
        let quoted: Vec<&str> = message.split("field \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        if quoted.is_empty() {
            return vec![finding("", message)];
        }
        quoted.into_iter().map(|path| finding(path, message)).collect()
    }
}

/// Adds findings that are not there yet: the same place in the same words is said once.
pub(crate) fn add(findings: &mut Vec<FindingView>, more: Vec<FindingView>) {
    for finding in more {
        let said = |known: &FindingView| known.path == finding.path && (known.code == finding.code || known.text_en == finding.text_en);
        if !findings.iter().any(|known| known.r#ref == finding.r#ref && known.cluster == finding.cluster && said(known)) {
            findings.push(finding);
        }
    }
    findings.sort_by_key(|finding| (finding.line, finding.column, finding.severity));
}

/// Everything that does not fit together in a world.
pub(crate) fn across(world: &World, complete: bool) -> Vec<Diagnostic> {
    // Of a cluster that was never read, nobody knows which pods and Services it has.
    let known = Known { services: complete, pods: complete, gateway_pods: complete, ..Known::ALL };
    Prepared::new(world).analyze_knowing(known)
}

pub(crate) fn is_about(finding: &Diagnostic, reference: &Reference) -> bool {
    let resource = &finding.resource;
    resource.kind == reference.kind && resource.name == reference.name && resource.namespace == reference.namespace
}

/// The end of what stands there: of `key: value` the whole, without a comment behind it.
fn end_of(text: &str, position: Position) -> Option<u32> {
    let line = text.lines().nth(usize::try_from(position.line.checked_sub(1)?).ok()?)?;
    let line = line.split(" #").next().unwrap_or(line).trim_end();
    let end = u32::try_from(line.chars().count()).ok()? + 1;
    (end > position.column).then_some(end)
}

/// Does the object say what kind it is, and is that one of Istio's? If not, why it cannot be stored here.
pub(crate) fn not_a_rule(cluster: &str, written: &Written) -> Option<FindingView> {
    let value: &Value = &written.document.value;
    let reference = written.reference();
    if reference.kind().is_some() && smov_cluster::kinds::of_object(value).is_some() {
        return (!reference.is_addressable()).then(|| {
            let resource = smov_istio::resource::reference_of(value);
            let korean = "metadata.name과 metadata.namespace는 소문자, 숫자, -, . 로 씁니다";
            let english = "metadata.name and metadata.namespace are written in lower case letters, digits, - and .";
            written.view(cluster, Diagnostic::new("bad-name", Severity::Error, &resource, "metadata.name", english, korean))
        });
    }
    let resource = smov_istio::resource::reference_of(value);
    let what = format!("{} {}", value["apiVersion"].as_str().unwrap_or("?"), value["kind"].as_str().unwrap_or("?"));
    Some(written.view(
        cluster,
        Diagnostic::new(
            "not-a-rule",
            Severity::Error,
            &resource,
            "kind",
            format!("{what} is not one of Istio's kinds that are edited here; use kubectl"),
            format!("{what}: 여기에서 고칠 수 있는 Istio 리소스가 아닙니다. kubectl을 쓰세요"),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube_api::FieldCause;

    const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: shop}\nspec:\n  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n      weigth: 50 # half\n";

    #[test]
    fn a_typing_mistake_is_found_at_its_place_with_what_was_meant() {
        let written = Written::read("ctx1", RULE).unwrap();
        let findings = written.alone("ctx1");
        assert_eq!(findings.len(), 1, "{findings:?}");
        let finding = &findings[0];
        assert_eq!((finding.line, finding.column, finding.end_column), (9, 7, Some(17)));
        assert!(finding.text_en.contains("`weight`") && finding.text_ko.contains("`weight`"), "{finding:?}");
        assert_eq!((finding.r#ref.as_str(), finding.severity), ("VirtualService/shop/a", SeverityView::Error));
    }

    #[test]
    fn texts_that_hold_no_single_object_are_findings_with_their_place() {
        let error = |text: &str| Written::read("ctx1", text).err().map(|finding| (finding.code, finding.line, finding.column)).unwrap();
        assert_eq!(error("a: 1\nb: [\n").0, "yaml");
        assert_eq!(error("a: 1\na: 2\n"), ("yaml".to_owned(), 2, 1));
        assert_eq!(error("# nothing\n"), ("empty".to_owned(), 1, 1));
        assert_eq!(error("a: 1\n---\nb: 1\n"), ("several-objects".to_owned(), 3, 1));
    }

    #[test]
    fn a_refusal_is_placed_at_the_fields_that_it_names() {
        let written = Written::read("ctx1", RULE).unwrap();
        let refused = |message: &str, causes: Vec<FieldCause>| {
            let error = CallError::Refused { code: 422, message: message.to_owned(), causes };
            written.refused("ctx1", &error).into_iter().map(|finding| (finding.path, finding.line)).collect::<Vec<_>>()
        };
        let cause = FieldCause { field: "spec.http[0].route[0]".to_owned(), message: "wrong".to_owned() };
        assert_eq!(refused("invalid", vec![cause]), [("spec.http[0].route[0]".to_owned(), 8)]);
        assert_eq!(
            refused("strict decoding error: unknown field \"spec.http[0].route[0].weigth\"", vec![]),
            [("spec.http[0].route[0].weigth".to_owned(), 9)]
        );
        assert_eq!(refused("no", vec![]), [(String::new(), 1)]);
    }

    #[test]
    fn other_kinds_are_not_edited_here() {
        let code = |text: &str| not_a_rule("ctx1", &Written::read("ctx1", text).unwrap()).map(|finding| finding.code);
        assert_eq!(code("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n").as_deref(), Some("not-a-rule"));
        assert_eq!(code("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n").as_deref(), Some("not-a-rule"));
        assert_eq!(code("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: ../a}\n").as_deref(), Some("bad-name"));
        assert_eq!(code(RULE), None);
    }
}
