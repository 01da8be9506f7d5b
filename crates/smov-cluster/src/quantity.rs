//! Kubernetes' quantities (`100m`, `64Mi`, `1e3`): read, and written in their canonical form.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// The decoder's sentence about text that is no quantity.
pub(crate) const EXPRESSION: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";
const NUMERIC: &str = "unable to parse numeric part of quantity";

/// Decimal suffixes from the smallest; each is a thousand times the one before.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Binary suffixes; each is 1024 times the one before, the first 1024.
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Quantities are counted in billionths.
const ONE: i128 = 1_000_000_000;
/// The largest quantity there is: 2^63 - 1.
const LARGEST: i128 = (i64::MAX as i128) * ONE;

/// How a quantity was written; it is written the same way again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

/// The canonical form of a quantity.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let (number, form) = read(text)?;
    Ok(write(number, form))
}

/// A quantity in billionths, to compare it with others.
pub fn billionths(text: &str) -> Option<i128> {
    read(text).ok().map(|(number, _)| number)
}

fn read(text: &str) -> Result<(i128, Form), String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    if digits.is_empty() || digits.matches('.').count() > 1 {
        return Err(EXPRESSION.to_owned());
    }
    let after_letters = suffix.trim_start_matches(|letter: char| "eEinumkKMGTP".contains(letter));
    let after_sign = after_letters.strip_prefix(['+', '-']).unwrap_or(after_letters);
    if !after_sign.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPRESSION.to_owned());
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(NUMERIC.to_owned());
    }
    let (multiplier, form) = scale(suffix).ok_or_else(|| SUFFIX.to_owned())?;
    // Digits, and how many of them stand behind the point.
    let mantissa: i128 = format!("{whole}{fraction}")
        .trim_start_matches('0')
        .get(..36)
        .map_or_else(|| format!("0{whole}{fraction}").parse().map_err(|_| NUMERIC.to_owned()), |_| Ok(i128::MAX))?;
    let places = u32::try_from(fraction.len()).unwrap_or(u32::MAX);
    let number = match multiplier {
        Scale::Times(factor) => mantissa.checked_mul(factor).map_or(LARGEST, |scaled| divide_up(scaled, places)),
        Scale::Tenth(exponent) => {
            let exponent = i64::from(exponent) + 9 - i64::from(places);
            match u32::try_from(exponent) {
                Ok(exponent) => 10_i128.checked_pow(exponent).and_then(|factor| mantissa.checked_mul(factor)).unwrap_or(LARGEST),
                Err(_) => divide_up(mantissa, u32::try_from(-exponent).unwrap_or(u32::MAX)),
            }
        }
    };
    let number = number.min(LARGEST);
    Ok((if text.starts_with('-') { -number } else { number }, form))
}

enum Scale {
    /// In billionths.
    Times(i128),
    /// A power of ten.
    Tenth(i32),
}

fn scale(suffix: &str) -> Option<(Scale, Form)> {
    if let Some(place) = BINARY.iter().position(|known| *known == suffix) {
        let power = u32::try_from(place).ok()? + 1;
        return Some((Scale::Times(1024_i128.pow(power) * ONE), Form::Binary));
    }
    if let Some(place) = DECIMAL.iter().position(|known| *known == suffix) {
        return Some((Scale::Times(1000_i128.pow(u32::try_from(place).ok()?)), Form::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some((Scale::Tenth(exponent), Form::Exponent))
}

/// Divides by a power of ten; what is left counts up.
fn divide_up(number: i128, places: u32) -> i128 {
    match 10_i128.checked_pow(places) {
        Some(divisor) => number / divisor + i128::from(number % divisor != 0),
        None => i128::from(number != 0),
    }
}

fn write(number: i128, form: Form) -> String {
    if number == 0 {
        return "0".to_owned();
    }
    let small = number.abs() < 1024 * ONE;
    if form == Form::Binary && !small {
        // Whole numbers only: a rest counts up.
        let mut whole = number / ONE + i128::from(number % ONE != 0);
        let mut place = 0;
        while whole % 1024 == 0 && place < BINARY.len() {
            whole /= 1024;
            place += 1;
        }
        return format!("{whole}{}", place.checked_sub(1).map_or("", |place| BINARY[place]));
    }
    let (mut rest, mut place) = (number, 0);
    while rest % 1000 == 0 && place + 1 < DECIMAL.len() {
        rest /= 1000;
        place += 1;
    }
    if form == Form::Exponent {
        let exponent = i32::try_from(place).unwrap_or_default() * 3 - 9;
        return if exponent == 0 { rest.to_string() } else { format!("{rest}e{exponent}") };
    }
    format!("{rest}{}", DECIMAL[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_their_canonical_form() {
        for (given, canonical) in [
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("512", "512"),
            ("0.1m", "100u"),
            ("1e3", "1e3"),
            ("12000", "12k"),
            ("-2", "-2"),
            ("0Ki", "0"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
        ] {
            assert_eq!(parse(given).as_deref(), Ok(canonical), "{given}");
        }
    }

    #[test]
    fn text_that_is_no_quantity_is_refused_in_kubernetes_words() {
        assert_eq!(parse("lots"), Err(EXPRESSION.to_owned()));
        assert_eq!(parse(""), Err(EXPRESSION.to_owned()));
        assert_eq!(parse("100MB"), Err(EXPRESSION.to_owned()));
        assert_eq!(parse("1Kim"), Err(SUFFIX.to_owned()));
        assert_eq!(parse("."), Err(NUMERIC.to_owned()));
    }
}
