//! Plain scalars to values, as kubectl's YAML library resolves them.

use serde_json::{Number, Value};

/// The value of a plain scalar. Infinities and NaN have no JSON form and are refused.
pub(super) fn typed(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => return number(text).map(|number| number.unwrap_or_else(|| Value::String(text.to_owned()))),
    })
}

/// The text of a key; numbers and booleans become what they print as.
pub(super) fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number(text: &str) -> Result<Option<Value>, String> {
    if matches!(text.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Err(format!("`{text}` has no JSON form"));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Ok(None);
    }
    let plain = text.replace('_', "");
    if let Some(integer) = integer(&plain) {
        return Ok(Some(integer));
    }
    let is_float = plain.bytes().any(|byte| byte.is_ascii_digit())
        && plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    let float = if is_float { plain.parse::<f64>().ok() } else { None };
    Ok(float.and_then(Number::from_f64).map(Value::Number))
}

/// Decimal, `0x`, `0o`, `0b`, and octal by a leading zero.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(magnitude).map(Value::from) } else { Some(Value::from(magnitude)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_typed_as_kubectl_types_them() {
        for (text, value) in [
            ("70", json!(70)),
            ("-1", json!(-1)),
            ("30.0", json!(30.0)),
            ("1e3", json!(1000.0)),
            ("0x10", json!(16)),
            ("0777", json!(511)),
            ("0", json!(0)),
            ("on", json!(true)),
            ("No", json!(false)),
            ("~", Value::Null),
            ("3s", json!("3s")),
            ("1.2.3", json!("1.2.3")),
            ("v1", json!("v1")),
            ("-", json!("-")),
            ("2026-11-22", json!("2026-11-22")),
            ("-foo", json!("-foo")),
            (".5", json!(0.5)),
        ] {
            assert_eq!(typed(text), Ok(value), "{text}");
        }
    }
}
