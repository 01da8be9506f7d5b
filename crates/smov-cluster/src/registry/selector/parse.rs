//! The text form of label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. The sentences
//! about mistakes are Kubernetes'.

use super::Test;
use crate::error::ApiError;

/// Characters that end a word and are words themselves, alone or doubled.
const SYMBOLS: &str = "=!(),<>";
const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// All requirements, in order.
pub(super) fn requirements(text: &str) -> Result<Vec<(String, Test)>, ApiError> {
    let mut parser = Parser { tokens: tokens(text), place: 0 };
    let mut requirements = Vec::new();
    if parser.peek().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(parser.requirement()?);
        match parser.next().as_str() {
            "" => return Ok(requirements),
            "," => match parser.peek() {
                // A final comma is fine.
                "" => return Ok(requirements),
                token if is_word(token) || token == "!" => {}
                token => return Err(wrong(&format!("found '{token}', expected: identifier after ','"))),
            },
            token => return Err(wrong(&format!("found '{token}', expected: ',' or 'end of string'"))),
        }
    }
}

fn wrong(why: &str) -> ApiError {
    ApiError::bad_request(format!("unable to parse requirement: {why}"))
}

/// Words and symbols; the end is an empty token.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut word = String::new();
    let finish = |word: &mut String, tokens: &mut Vec<String>| {
        if !word.is_empty() {
            tokens.push(std::mem::take(word));
        }
    };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_whitespace() {
            finish(&mut word, &mut tokens);
        } else if SYMBOLS.contains(letter) {
            finish(&mut word, &mut tokens);
            let doubled = matches!(letter, '=' | '!') && letters.next_if_eq(&'=').is_some();
            tokens.push(if doubled { format!("{letter}=") } else { letter.to_string() });
        } else {
            word.push(letter);
        }
    }
    finish(&mut word, &mut tokens);
    tokens
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(|letter| SYMBOLS.contains(letter))
}

struct Parser {
    tokens: Vec<String>,
    place: usize,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.place).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.place += 1;
        token
    }

    fn requirement(&mut self) -> Result<(String, Test), ApiError> {
        let absent = self.peek() == "!";
        if absent {
            self.place += 1;
        }
        let key = self.next();
        if !is_word(&key) {
            return Err(wrong(&format!("found '{key}', expected: identifier")));
        }
        check_key(&key)?;
        if absent {
            return Ok((key, Test::Absent));
        }
        let test = match self.peek() {
            "" | "," => return Ok((key, Test::Exists)),
            "in" => Test::In(self.set()?),
            "notin" => Test::NotIn(self.set()?),
            "=" | "==" => Test::In(vec![self.value()?]),
            "!=" => Test::NotIn(vec![self.value()?]),
            ">" | "<" => {
                let more = self.peek() == ">";
                let value = self.value()?;
                let number = value.parse().map_err(|_| {
                    wrong(&format!("values[0][{key}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"))
                })?;
                if more { Test::More(number) } else { Test::Less(number) }
            }
            token => return Err(wrong(&format!("found '{token}', expected: {OPERATORS}"))),
        };
        let values: &[String] = match &test {
            Test::In(values) | Test::NotIn(values) => values,
            Test::Exists | Test::Absent | Test::More(_) | Test::Less(_) => &[],
        };
        for (place, value) in values.iter().enumerate() {
            check_value(&key, place, value)?;
        }
        Ok((key, test))
    }

    /// The value after an operator; none is an empty one.
    fn value(&mut self) -> Result<String, ApiError> {
        self.place += 1;
        match self.peek() {
            "" | "," => Ok(String::new()),
            token if is_word(token) => Ok(self.next()),
            token => Err(wrong(&format!("found '{token}', expected: identifier"))),
        }
    }

    /// `(a, b)` after `in` and `notin`.
    fn set(&mut self) -> Result<Vec<String>, ApiError> {
        self.place += 1;
        let open = self.next();
        if open != "(" {
            return Err(wrong(&format!("found '{open}' expected: '('")));
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                token if is_word(token) => values.push(self.next()),
                "," | ")" => values.push(String::new()),
                token => return Err(wrong(&format!("found '{token}', expected: ',', ')' or identifier"))),
            }
            match self.next().as_str() {
                ")" => return Ok(values),
                "," => {}
                token => return Err(wrong(&format!("found '{token}', expected: ',' or ')'"))),
            }
        }
    }
}

fn is_label_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric();
    name.len() <= 63
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|letter| plain(letter) || "-_.".contains(letter))
}

fn check_key(key: &str) -> Result<(), ApiError> {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    if is_label_name(name) {
        return Ok(());
    }
    Err(wrong(&format!(
        "<nil>: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )))
}

fn check_value(key: &str, place: usize, value: &str) -> Result<(), ApiError> {
    if value.is_empty() || is_label_name(value) {
        return Ok(());
    }
    Err(wrong(&format!(
        "values[{place}][{key}]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' \
         or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_as_kubernetes_tells_them() {
        for (text, told) in [
            ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "found 'b' expected: '('"),
            ("app in (a", "found '', expected: ',' or ')'"),
            ("app>>1", "found '>', expected: identifier"),
            ("=a", "found '=', expected: identifier"),
            ("a,=b", "found '=', expected: identifier after ','"),
        ] {
            assert_eq!(requirements(text).unwrap_err().message, format!("unable to parse requirement: {told}"), "{text}");
        }
        assert!(requirements("-a=1").unwrap_err().message.contains("<nil>: Invalid value: \"-a\": name part must"));
        assert!(requirements("a=-1").unwrap_err().message.contains("values[0][a]: Invalid value: \"-1\""));
        assert!(requirements("a>x").is_err());
    }

    #[test]
    fn every_form_is_read() {
        let read = requirements(" a = b ,c!=d, e in (f, g),h notin (i), j, !k, l>1,m<2,n= ").unwrap();
        let text = |one: &str| one.to_owned();
        assert_eq!(
            read,
            [
                (text("a"), Test::In(vec![text("b")])),
                (text("c"), Test::NotIn(vec![text("d")])),
                (text("e"), Test::In(vec![text("f"), text("g")])),
                (text("h"), Test::NotIn(vec![text("i")])),
                (text("j"), Test::Exists),
                (text("k"), Test::Absent),
                (text("l"), Test::More(1)),
                (text("m"), Test::Less(2)),
                (text("n"), Test::In(vec![String::new()])),
            ]
        );
        assert!(requirements("").unwrap().is_empty());
    }
}
