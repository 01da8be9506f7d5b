//! YAML streams to JSON values that remember where each field stood.
//!
//! Scalars are typed as kubectl types them (YAML 1.1: `yes`, `on` and `0777` are no texts), so that what `smov validate` says is what
//! `kubectl apply` would send. Duplicate keys are refused. `kind: List` counts as its items.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::diagnostic::{Diagnostic, Position};
use crate::schema::join;

mod scalar;

/// One object of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object.
    pub value: Value,
    /// Where each field stands, by the path that diagnostics use: `spec.http[0].route[1].weight`. The object itself is the empty path.
    pub spans: BTreeMap<String, Position>,
}

/// A text that is no YAML stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {reason}", position.line, position.column)]
pub struct InvalidYaml {
    /// Where it went wrong.
    pub position: Position,
    /// What is wrong.
    pub reason: String,
}

/// Aliases can make a short text long: more nodes than this are refused.
const MOST_NODES: usize = 500_000;

/// All objects of a stream; empty documents are passed over.
pub fn parse(text: &str) -> Result<Vec<Document>, InvalidYaml> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), spans: BTreeMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        reader.anchors.clear();
        reader.spans = BTreeMap::from([(String::new(), position(&span))]);
        let value = reader.node(event, &span, "")?;
        if !value.is_null() {
            documents.extend(items(Document { value, spans: std::mem::take(&mut reader.spans) }));
        }
    }
    Ok(documents)
}

impl Document {
    /// The place of a field; of the nearest field around it when it is not in the text (a missing one, say).
    pub fn locate(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            if let Some(position) = self.spans.get(path) {
                return Some(*position);
            }
            if path.is_empty() {
                return None;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
    }

    /// Adds places to findings about this document.
    pub fn place(&self, mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
        for finding in &mut findings {
            finding.position = finding.position.or_else(|| self.locate(&finding.path));
        }
        findings
    }
}

/// The items of a `kind: List`, each a document of its own; any other document as it is.
fn items(document: Document) -> Vec<Document> {
    let is_list = document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let Some(Value::Array(values)) = document.value.get("items").filter(|_| is_list) else { return vec![document] };
    let mut documents: Vec<Document> = values.iter().map(|value| Document { value: value.clone(), spans: BTreeMap::new() }).collect();
    for (path, position) in &document.spans {
        let Some((index, rest)) = path.strip_prefix("items[").and_then(|rest| rest.split_once(']')) else { continue };
        if let Some(item) = index.parse::<usize>().ok().and_then(|index| documents.get_mut(index)) {
            item.spans.insert(rest.strip_prefix('.').unwrap_or(rest).to_owned(), *position);
        }
    }
    documents
}

struct Reader<I> {
    events: I,
    anchors: HashMap<usize, Value>,
    spans: BTreeMap<String, Position>,
    nodes: usize,
}

impl<'t, I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> Reader<I> {
    /// The next event that is not about presentation only.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, InvalidYaml> {
        for event in self.events.by_ref() {
            let (event, span) = event.map_err(|error| InvalidYaml {
                position: Position { line: error.marker().line() as u32, column: error.marker().col() as u32 + 1 },
                reason: error.info().to_string(),
            })?;
            if event.is_node() || matches!(event, Event::MappingEnd | Event::SequenceEnd) {
                return Ok(Some((event, span)));
            }
        }
        Ok(None)
    }

    fn inside(&mut self, around: &Span) -> Result<(Event<'t>, Span), InvalidYaml> {
        self.next()?.ok_or_else(|| InvalidYaml { position: position(around), reason: "the text ends inside a value".to_owned() })
    }

    fn node(&mut self, event: Event<'t>, span: &Span, path: &str) -> Result<Value, InvalidYaml> {
        self.count(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let forced = tag.as_ref().is_some_and(|tag| tag.suffix() != "str" && style == ScalarStyle::Plain);
                let value = if plain || forced { scalar::typed(&text) } else { Ok(Value::String(text.into_owned())) };
                (value.map_err(|reason| InvalidYaml { position: position(span), reason })?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(span, path)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(span, path)?, anchor),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or_else(|| InvalidYaml {
                    position: position(span),
                    reason: "an alias inside the value that it names".to_owned(),
                })?;
                self.count(size(&value), span)?;
                (value, 0)
            }
            _ => return Err(InvalidYaml { position: position(span), reason: "a value was expected".to_owned() }),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), InvalidYaml> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(InvalidYaml { position: position(span), reason: format!("more than {MOST_NODES} values") });
        }
        Ok(())
    }

    fn sequence(&mut self, start: &Span, path: &str) -> Result<Value, InvalidYaml> {
        let mut values = Vec::new();
        loop {
            let (event, span) = self.inside(start)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(values));
            }
            let inner = format!("{path}[{}]", values.len());
            self.spans.insert(inner.clone(), position(&span));
            values.push(self.node(event, &span, &inner)?);
        }
    }

    fn mapping(&mut self, start: &Span, path: &str) -> Result<Value, InvalidYaml> {
        let mut fields = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.inside(start)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, &span, "")?;
            let key =
                scalar::key(&key).ok_or_else(|| InvalidYaml { position: position(&span), reason: "a key must be a text".to_owned() })?;
            let inner = if path.is_empty() { key.clone() } else { join(path, &key) };
            if fields.contains_key(&key) {
                return Err(InvalidYaml { position: position(&span), reason: format!("key `{key}` is already set in this map") });
            }
            let (value_event, value_span) = self.inside(&span)?;
            if is_merge {
                merged.push(self.node(value_event, &value_span, path)?);
                continue;
            }
            self.spans.insert(inner.clone(), position(&span));
            let value = self.node(value_event, &value_span, &inner)?;
            fields.insert(key, value);
        }
        // What a merge brings never replaces what is written.
        for source in merged.into_iter().flat_map(|value| if let Value::Array(values) = value { values } else { vec![value] }) {
            let Value::Object(more) = source else {
                return Err(InvalidYaml { position: position(start), reason: "`<<` needs a map".to_owned() });
            };
            for (key, value) in more {
                fields.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(fields))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line() as u32, column: span.start.col() as u32 + 1 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_gives_documents_with_places() {
        let text = "# first\na: 1\nlist:\n- x: yes\n- 'yes'\n---\n---\nb: {c: \"2\"}\n";
        let documents = parse(text).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].value, json!({"a": 1, "list": [{"x": true}, "yes"]}));
        assert_eq!(documents[1].value, json!({"b": {"c": "2"}}));
        assert_eq!(documents[0].locate("list[0].x"), Some(Position { line: 4, column: 3 }));
        assert_eq!(documents[0].locate("list[1]"), Some(Position { line: 5, column: 3 }));
        assert_eq!(documents[1].locate("b.missing"), Some(Position { line: 8, column: 1 }));
    }

    #[test]
    fn a_list_is_its_items() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  spec: {x: 1}\n- kind: B\n";
        let documents = parse(text).unwrap();
        assert_eq!(documents.iter().map(|document| document.value["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(documents[0].locate("spec.x"), Some(Position { line: 5, column: 10 }));
    }

    #[test]
    fn duplicate_keys_and_broken_texts_are_refused_with_their_place() {
        let error = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!((error.position.line, error.position.column), (3, 1));
        assert!(parse("a: [1\n").is_err());
        assert!(parse("a: .inf").is_err());
    }

    #[test]
    fn anchors_and_merges_work_and_do_not_explode() {
        let documents = parse("base: &b {x: 1, z: 2}\nmine: {<<: *b, z: 3}\n").unwrap();
        assert_eq!(documents[0].value["mine"], json!({"x": 1, "z": 3}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let inner = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &format!("a{n}: &a{n} [{inner}]\n");
        }
        assert!(parse(&bomb).unwrap_err().reason.contains("more than"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-c:\\-{}\\[\\]&*!<> \n\"'#|0-9.]{0,40}") {
            let _ = parse(&text);
        }
    }
}
