//! The filter of an access log: the part of CEL (<https://github.com/google/cel-spec>) that Istio's documentation shows.
//!
//! Attributes are Envoy's (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes>). There are numbers, texts and
//! booleans; `==` `!=` `<` `<=` `>` `>=`, `in [...]`, `&&`, `||`, `!`, brackets, `has(...)`, and of texts `contains`, `startsWith`, `endsWith`,
//! `matches` and `size`. An attribute that a request does not have makes an error, as in CEL: the line is not written unless the other side
//! of an `||` is true.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod parse;

/// A condition on a request that is over. Equal when the texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    root: Node,
}

/// Text that is no such condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {reason}")]
pub struct InvalidExpression {
    /// Where, counted from 1.
    pub position: usize,
    /// What is wrong.
    pub reason: String,
}

/// What a condition may ask of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// `response.code`
    ResponseCode,
    /// `response.code_details`
    ResponseCodeDetails,
    /// `response.size`, of the body in bytes.
    ResponseSize,
    /// `response.flags`, as printed. Envoy has a bit set here; Istio's documentation shows neither.
    ResponseFlags,
    /// `request.url_path`: without the query.
    RequestUrlPath,
    /// `request.path`: with the query.
    RequestPath,
    /// `request.host`
    RequestHost,
    /// `request.method`
    RequestMethod,
    /// `request.useragent`
    RequestUserAgent,
    /// `request.id`
    RequestId,
    /// `request.protocol`
    RequestProtocol,
    /// `request.size`, of the body in bytes.
    RequestSize,
    /// `request.headers['name']`, in small letters.
    RequestHeader(String),
    /// `connection.mtls`
    MutualTls,
    /// `xds.cluster_name`
    ClusterName,
    /// `xds.route_name`
    RouteName,
}

/// What an attribute is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// Yes or no.
    Boolean(bool),
}

#[derive(Debug, Clone)]
enum Node {
    Constant(Value<'static>),
    Attribute(Attribute),
    Has(Attribute),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    In(Box<Self>, Vec<Value<'static>>),
    Call(Box<Self>, Test, String),
    Matches(Box<Self>, regex::Regex),
    Size(Box<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Contains,
    StartsWith,
    EndsWith,
}

impl Expression {
    /// Is it true of a request? `look_up` gives what the request has. An error, as of an attribute that it has not, is no.
    pub fn holds<'a>(&self, look_up: impl Fn(&Attribute) -> Option<Value<'a>>) -> bool {
        self.root.evaluate(&look_up) == Some(Value::Boolean(true))
    }

    /// Names of the request headers that it looks at, in small letters.
    pub fn headers(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.collect_headers(&mut names);
        names
    }
}

impl Node {
    fn evaluate<'a>(&self, look_up: &impl Fn(&Attribute) -> Option<Value<'a>>) -> Option<Value<'a>> {
        let boolean = |node: &Self| match node.evaluate(look_up) {
            Some(Value::Boolean(value)) => Some(value),
            _ => None,
        };
        let text = |node: &Self| match node.evaluate(look_up) {
            Some(Value::Text(value)) => Some(value),
            _ => None,
        };
        let answer = match self {
            Self::Constant(value) => return Some(value.clone()),
            Self::Attribute(attribute) => return look_up(attribute),
            Self::Size(of) => return Some(Value::Number(text(of)?.chars().count() as i64)),
            Self::Has(attribute) => look_up(attribute).is_some(),
            Self::Not(of) => !boolean(of)?,
            // What decides alone decides, even where the other side is an error.
            Self::And(left, right) => match (boolean(left), boolean(right)) {
                (Some(false), _) | (_, Some(false)) => false,
                (left, right) => left? && right?,
            },
            Self::Or(left, right) => match (boolean(left), boolean(right)) {
                (Some(true), _) | (_, Some(true)) => true,
                (left, right) => left? || right?,
            },
            Self::Compare(comparison, left, right) => compare(*comparison, &left.evaluate(look_up)?, &right.evaluate(look_up)?)?,
            Self::In(left, list) => {
                let value = left.evaluate(look_up)?;
                list.contains(&value)
            }
            Self::Call(of, test, argument) => {
                let value = text(of)?;
                match test {
                    Test::Contains => value.contains(argument.as_str()),
                    Test::StartsWith => value.starts_with(argument.as_str()),
                    Test::EndsWith => value.ends_with(argument.as_str()),
                }
            }
            Self::Matches(of, pattern) => pattern.is_match(&text(of)?),
        };
        Some(Value::Boolean(answer))
    }

    fn collect_headers<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Attribute(Attribute::RequestHeader(name)) | Self::Has(Attribute::RequestHeader(name)) => names.push(name),
            Self::Constant(_) | Self::Attribute(_) | Self::Has(_) => {}
            Self::Not(of) | Self::Size(of) | Self::In(of, _) | Self::Call(of, _, _) | Self::Matches(of, _) => of.collect_headers(names),
            Self::And(left, right) | Self::Or(left, right) | Self::Compare(_, left, right) => {
                left.collect_headers(names);
                right.collect_headers(names);
            }
        }
    }
}

/// Values of different kinds cannot be compared.
fn compare(comparison: Comparison, left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

impl FromStr for Expression {
    type Err = InvalidExpression;
    fn from_str(text: &str) -> Result<Self, InvalidExpression> {
        Ok(Self { text: text.to_owned(), root: parse::parse(text)? })
    }
}

impl TryFrom<String> for Expression {
    type Error = InvalidExpression;
    fn try_from(text: String) -> Result<Self, InvalidExpression> {
        text.parse()
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Expression {}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        text.parse::<Expression>().unwrap_or_else(|error| panic!("{text}: {error}")).holds(|attribute| {
            Some(match attribute {
                Attribute::ResponseCode => Value::Number(503),
                Attribute::RequestUrlPath => Value::Text("/users/7".into()),
                Attribute::MutualTls => Value::Boolean(true),
                Attribute::ClusterName => Value::Text("BlackHoleCluster".into()),
                Attribute::RequestHeader(name) if name == "x-a" => Value::Text("한글".into()),
                _ => return None,
            })
        })
    }

    #[test]
    fn conditions_of_istios_documentation_are_understood() {
        for (text, expected) in [
            ("response.code >= 400", true),
            ("response.code >= 400 && (xds.cluster_name == 'BlackHoleCluster' ||  xds.cluster_name == 'PassthroughCluster' )", true),
            ("!(connection.mtls && request.url_path.contains('v1beta3'))", true),
            ("connection.mtls && request.url_path.startsWith(\"/users\")", true),
            ("response.code < 500", false),
            ("response.code in [500, 503]", true),
            ("request.headers['X-A'].size() == 2", true),
            ("request.url_path.matches('^/users/[0-9]+$')", true),
            ("has(request.useragent)", false),
            ("has(response.code) && true", true),
            // An attribute that is not there is an error, which the other side may outweigh.
            ("request.useragent.contains('curl')", false),
            ("!request.useragent.contains('curl')", false),
            ("request.useragent == 'x' || response.code == 503", true),
            ("response.code == '503'", false),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, position) in [
            ("", 1),
            ("response.code >=", 17),
            ("response.codes == 1", 1),
            ("response.code = 1", 15),
            ("(response.code == 1", 20),
            ("response.code == 1 foo", 20),
            ("request.url_path.matches('(')", 26),
            ("'open", 1),
            ("request.url_path.reverse()", 18),
        ] {
            let error = text.parse::<Expression>().unwrap_err();
            assert_eq!(error.position, position, "{text}: {error}");
        }
        let deep = format!("{}true{}", "(".repeat(1000), ")".repeat(1000));
        assert!(deep.parse::<Expression>().unwrap_err().reason.contains("deep"));
    }

    #[test]
    fn headers_that_it_looks_at_are_named() {
        let expression: Expression = "request.headers['X-Canary'] == 'true' || has(request.headers['b'])".parse().unwrap();
        assert_eq!(expression.headers(), ["x-canary", "b"]);
        let json = serde_json::to_string(&expression).unwrap();
        assert_eq!(serde_json::from_str::<Expression>(&json).unwrap(), expression);
    }
}
