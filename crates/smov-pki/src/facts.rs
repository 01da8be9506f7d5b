//! What it takes to know an authority by its certificate: its name, its end, its key's identifier. Whether the certificate is to
//! be believed is decided by rustls.

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{DistinguishedName, DnType, DnValue};
use smov_model::der::{OBJECT, Reader, SEQUENCE, SET};

const OCTETS: u8 = 0x04;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.14.
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];

/// What is read of an authority's certificate.
pub(crate) struct Facts {
    pub(crate) subject: DistinguishedName,
    /// Seconds since 1970.
    pub(crate) not_after: u64,
    pub(crate) key_identifier: Option<Vec<u8>>,
}

/// Reads a certificate; the error says what was expected where.
pub(crate) fn facts(certificate: &[u8]) -> Result<Facts, &'static str> {
    let mut certificate = Reader(certificate).enter(SEQUENCE).ok_or("a certificate")?;
    let mut body = certificate.enter(SEQUENCE).ok_or("the certificate's body")?;
    let mut first = body.next().ok_or("a serial number")?;
    if first.0 == VERSION {
        first = body.next().ok_or("a serial number")?;
    }
    let _serial = first;
    body.enter(SEQUENCE).ok_or("an algorithm")?;
    body.enter(SEQUENCE).ok_or("an issuer")?;
    let mut validity = body.enter(SEQUENCE).ok_or("a validity")?;
    validity.next().ok_or("a beginning")?;
    let not_after = validity.time().ok_or("an end of the validity")?;
    let subject = name(body.enter(SEQUENCE).ok_or("a subject")?)?;
    body.enter(SEQUENCE).ok_or("a public key")?;
    let extensions = std::iter::from_fn(|| body.next()).find(|(tag, _)| *tag == EXTENSIONS);
    let key_identifier = extensions.and_then(|(_, content)| key_identifier(Reader(content)));
    Ok(Facts { subject, not_after, key_identifier })
}

/// A subject as rcgen can write it again, byte for byte: certificates name their issuer so.
fn name(mut parts: Reader<'_>) -> Result<DistinguishedName, &'static str> {
    let mut found = DistinguishedName::new();
    while let Some((SET, content)) = parts.next() {
        let mut set = Reader(content);
        let mut attribute = set.enter(SEQUENCE).ok_or("an attribute in the subject")?;
        let kind = attribute.expect(OBJECT).and_then(object).ok_or("the kind of an attribute in the subject")?;
        let (tag, text) = attribute.next().ok_or("a value in the subject")?;
        let text = std::str::from_utf8(text).map_err(|_| "text in the subject")?;
        let value = match tag {
            UTF8 => DnValue::Utf8String(text.to_owned()),
            PRINTABLE => DnValue::PrintableString(PrintableString::try_from(text).map_err(|_| "printable text in the subject")?),
            IA5 => DnValue::Ia5String(Ia5String::try_from(text).map_err(|_| "ASCII in the subject")?),
            _ => return Err("UTF-8, printable or ASCII text in the subject"),
        };
        let kind = DnType::from_oid(&kind);
        if found.get(&kind).is_some() || set.next().is_some() {
            return Err("each attribute of the subject once");
        }
        found.push(kind, value);
    }
    Ok(found)
}

fn key_identifier(mut extensions: Reader<'_>) -> Option<Vec<u8>> {
    let mut all = extensions.enter(SEQUENCE)?;
    while let Some(mut extension) = all.enter(SEQUENCE) {
        if extension.expect(OBJECT)? != SUBJECT_KEY_IDENTIFIER {
            continue;
        }
        let content = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTETS)?.1;
        return Reader(content).expect(OCTETS).map(<[u8]>::to_vec);
    }
    None
}

/// An object identifier's numbers.
fn object(content: &[u8]) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in content {
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_numbers() {
        assert_eq!(object(&[0x55, 0x04, 0x03]), Some(vec![2, 5, 4, 3]));
        assert_eq!(object(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]), Some(vec![1, 2, 840, 113_549]));
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x82], &[0x30, 0x84, 1, 1, 1, 1], b"-----BEGIN", &[0x30, 0x03, 0x30, 0x01, 0x02]] {
            assert!(facts(bytes).is_err());
        }
    }
}
