//! OpenAPI v2 as the protocol buffers that kubectl reads (the messages of gnostic's `OpenAPIv2`).
//!
//! Written from the JSON document. Of the paths only what kubectl looks at is kept: operations with
//! their query parameters and what they are about.

use serde_json::{Map, Value};

/// The whole document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    out.message(2, |info| {
        info.text(1, &document["info"]["title"]);
        info.text(2, &document["info"]["version"]);
    });
    out.message(8, |paths| {
        for (path, item) in members(&document["paths"]) {
            paths.named(2, path, |out| path_item(out, item));
        }
    });
    out.message(9, |definitions| {
        for (name, definition) in members(&document["definitions"]) {
            definitions.named(1, name, |out| schema(out, definition));
        }
    });
    out.0
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// Fields of a message in their order, as bytes.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.number(field << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Nothing for what is no text.
    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u64, value: &Value) {
        if value == true {
            self.number(field << 3);
            self.number(1);
        }
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A name and the message under it.
    fn named(&mut self, field: u64, name: &str, write: impl FnOnce(&mut Self)) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, write);
        });
    }

    /// Every `x-…` of an object; values as YAML, of which JSON is a part.
    fn extensions(&mut self, field: u64, value: &Value) {
        for (name, value) in members(value).filter(|(name, _)| name.starts_with("x-")) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.named(field, name, |any| any.bytes(2, format!("{text}\n").as_bytes()));
        }
    }
}

fn schema(out: &mut Message, value: &Value) {
    out.text(1, &value["$ref"]);
    out.text(2, &value["format"]);
    out.text(4, &value["description"]);
    for name in value["required"].as_array().into_iter().flatten() {
        out.text(19, name);
    }
    for one in value["enum"].as_array().into_iter().flatten() {
        out.message(20, |any| any.bytes(2, format!("{one}\n").as_bytes()));
    }
    if value["additionalProperties"].is_object() {
        out.message(21, |item| item.message(1, |out| schema(out, &value["additionalProperties"])));
    }
    if value["type"].is_string() {
        out.message(22, |kind| kind.text(1, &value["type"]));
    }
    if value["items"].is_object() {
        out.message(23, |items| items.message(1, |out| schema(out, &value["items"])));
    }
    if value["properties"].is_object() {
        out.message(25, |properties| {
            for (name, property) in members(&value["properties"]) {
                properties.named(1, name, |out| schema(out, property));
            }
        });
    }
    out.extensions(31, value);
}

fn path_item(out: &mut Message, item: &Value) {
    for (field, verb) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if item[verb].is_object() {
            out.message(field, |out| operation(out, &item[verb]));
        }
    }
}

fn operation(out: &mut Message, operation: &Value) {
    out.text(5, &operation["operationId"]);
    for media in operation["consumes"].as_array().into_iter().flatten() {
        out.text(7, media);
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "query" {
            // ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema.
            out.message(8, |item| {
                item.message(1, |parameters| {
                    parameters.message(2, |other| {
                        other.message(3, |query| {
                            query.text(2, &parameter["in"]);
                            query.text(3, &parameter["description"]);
                            query.text(4, &parameter["name"]);
                            query.text(6, &parameter["type"]);
                        });
                    });
                });
            });
        }
    }
    out.message(9, |responses| {
        for (code, response) in members(&operation["responses"]) {
            responses.named(1, code, |value| value.message(1, |out| out.text(1, &response["description"])));
        }
    });
    out.flag(11, &operation["deprecated"]);
    out.extensions(13, operation);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_its_fields_with_their_numbers_and_lengths() {
        let document = json!({ "swagger": "2.0", "info": { "title": "a", "version": "b" }, "definitions": { "D": { "type": "object" } } });
        assert_eq!(
            encode(&document),
            b"\x0a\x032.0\x12\x06\x0a\x01a\x12\x01b\x42\x00\x4a\x12\x0a\x10\x0a\x01D\x12\x0b\xb2\x01\x08\x0a\x06object"
        );
    }
}
