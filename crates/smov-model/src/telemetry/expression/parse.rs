//! Text to tree, by descent: or, and, comparison, not, then a value with what is called of it.

use super::{Attribute, Comparison, InvalidExpression, Node, Test, Value};

/// Brackets and nots inside each other, at most.
const DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Node, InvalidExpression> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let node = parser.or()?;
    parser.space();
    if parser.at < text.len() { Err(parser.wrong(parser.at, "expected the end, `&&` or `||`")) } else { Ok(node) }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, InvalidExpression>;

impl Parser<'_> {
    fn wrong(&self, at: usize, reason: impl Into<String>) -> InvalidExpression {
        InvalidExpression { position: self.text[..at].chars().count() + 1, reason: reason.into() }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn takes(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.takes(token) { Ok(()) } else { Err(self.wrong(self.at, format!("expected `{token}`"))) }
    }

    fn or(&mut self) -> Parsed<Node> {
        let mut left = self.and()?;
        while self.takes("||") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Node> {
        let mut left = self.comparison()?;
        while self.takes("&&") {
            left = Node::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Parsed<Node> {
        let left = self.not()?;
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = operators.into_iter().find(|(token, _)| self.takes(token)) {
            return Ok(Node::Compare(comparison, Box::new(left), Box::new(self.not()?)));
        }
        self.space();
        let is_in = self.rest().strip_prefix("in").is_some_and(|rest| rest.starts_with(|next: char| next == '[' || next.is_whitespace()));
        if !is_in {
            return Ok(left);
        }
        self.at += 2;
        self.expect("[")?;
        let mut list = Vec::new();
        while !self.takes("]") {
            self.space();
            let at = self.at;
            match self.value()? {
                Node::Constant(value) => list.push(value),
                _ => return Err(self.wrong(at, "expected a number, a text, true or false")),
            }
            if !self.takes(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(Node::In(Box::new(left), list))
    }

    fn not(&mut self) -> Parsed<Node> {
        self.space();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            self.deeper()?;
            let of = self.not()?;
            self.depth -= 1;
            return Ok(Node::Not(Box::new(of)));
        }
        self.value()
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH { Err(self.wrong(self.at, "too deep")) } else { Ok(()) }
    }

    fn value(&mut self) -> Parsed<Node> {
        self.space();
        let start = self.at;
        let first = self.rest().chars().next();
        let node = match first {
            None => return Err(self.wrong(start, "expected an attribute, a number, a text or a bracket")),
            Some('(') => {
                self.at += 1;
                self.deeper()?;
                let inside = self.or()?;
                self.depth -= 1;
                self.expect(")")?;
                inside
            }
            Some('\'' | '"') => Node::Constant(Value::Text(self.string()?.into())),
            Some(digit) if digit.is_ascii_digit() || digit == '-' => {
                let length = 1 + self.rest()[1..].bytes().take_while(u8::is_ascii_digit).count();
                let number = self.rest()[..length].parse().map_err(|_| self.wrong(start, "expected a whole number"))?;
                self.at += length;
                Node::Constant(Value::Number(number))
            }
            Some(_) => self.named(start)?,
        };
        self.calls(node)
    }

    /// `true`, `false`, `has(…)` or an attribute.
    fn named(&mut self, start: usize) -> Parsed<Node> {
        let word = self.word();
        match word.as_str() {
            "true" => return Ok(Node::Constant(Value::Boolean(true))),
            "false" => return Ok(Node::Constant(Value::Boolean(false))),
            "has" => {
                self.expect("(")?;
                self.space();
                let at = self.at;
                let Node::Attribute(attribute) = self.named(at)? else { return Err(self.wrong(at, "expected an attribute")) };
                self.expect(")")?;
                return Ok(Node::Has(attribute));
            }
            _ => {}
        }
        let mut field = String::new();
        if self.rest().starts_with('.') {
            self.at += 1;
            field = self.word();
        }
        let attribute = match (word.as_str(), field.as_str()) {
            ("response", "code") => Attribute::ResponseCode,
            ("response", "code_details") => Attribute::ResponseCodeDetails,
            ("response", "size") => Attribute::ResponseSize,
            ("response", "flags") => Attribute::ResponseFlags,
            ("request", "url_path") => Attribute::RequestUrlPath,
            ("request", "path") => Attribute::RequestPath,
            ("request", "host") => Attribute::RequestHost,
            ("request", "method") => Attribute::RequestMethod,
            ("request", "useragent") => Attribute::RequestUserAgent,
            ("request", "id") => Attribute::RequestId,
            ("request", "protocol") => Attribute::RequestProtocol,
            ("request", "size") => Attribute::RequestSize,
            ("request", "headers") => {
                self.expect("[")?;
                self.space();
                let name = self.string()?.to_ascii_lowercase();
                self.expect("]")?;
                Attribute::RequestHeader(name)
            }
            ("connection", "mtls") => Attribute::MutualTls,
            ("xds", "cluster_name") => Attribute::ClusterName,
            ("xds", "route_name") => Attribute::RouteName,
            ("", _) => return Err(self.wrong(start, "expected an attribute, a number, a text or a bracket")),
            _ => return Err(self.wrong(start, format!("`{}` is no attribute that is known here", &self.text[start..self.at]))),
        };
        Ok(Node::Attribute(attribute))
    }

    fn word(&mut self) -> String {
        let length = self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let word = self.rest()[..length].to_owned();
        self.at += length;
        word
    }

    /// `.contains('x')` and the like.
    fn calls(&mut self, mut node: Node) -> Parsed<Node> {
        while self.rest().starts_with('.') {
            self.at += 1;
            let start = self.at;
            let name = self.word();
            let test = match name.as_str() {
                "contains" => Some(Test::Contains),
                "startsWith" => Some(Test::StartsWith),
                "endsWith" => Some(Test::EndsWith),
                "matches" => None,
                "size" => {
                    self.expect("(")?;
                    self.expect(")")?;
                    node = Node::Size(Box::new(node));
                    continue;
                }
                _ => return Err(self.wrong(start, format!("`{name}` is no function that is known here"))),
            };
            self.expect("(")?;
            self.space();
            let at = self.at;
            let argument = self.string()?;
            self.expect(")")?;
            node = match test {
                Some(test) => Node::Call(Box::new(node), test, argument),
                None => {
                    let compiled = regex::RegexBuilder::new(&argument).size_limit(1 << 20).build();
                    Node::Matches(Box::new(node), compiled.map_err(|_| self.wrong(at, "this is no regular expression"))?)
                }
            };
        }
        Ok(node)
    }

    /// A text in single or double quotes; a backslash takes the next character as it is.
    fn string(&mut self) -> Parsed<String> {
        let start = self.at;
        let mut characters = self.rest().char_indices();
        let Some((_, quote @ ('\'' | '"'))) = characters.next() else { return Err(self.wrong(start, "expected a text in quotes")) };
        let mut text = String::new();
        while let Some((offset, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    // A regular expression's own backslashes are written twice, as in CEL.
                    Some((_, next)) => text.push(next),
                    None => break,
                },
                end if end == quote => {
                    self.at = start + offset + 1;
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
        Err(self.wrong(start, "this text has no end"))
    }
}
