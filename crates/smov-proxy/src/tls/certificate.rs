//! What a certificate says, for records, headers and the admin page. Whether it is true was rustls' question.

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use smov_model::der::{OBJECT, Reader, SEQUENCE, SET};

/// A certificate that does not say what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read")]
pub(crate) struct Unreadable;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Subject alternative names that are URIs.
    pub(crate) uris: Vec<String>,
    /// Those that are DNS names.
    pub(crate) dns_names: Vec<String>,
    /// Hexadecimal, in small letters.
    pub(crate) serial: String,
    /// RFC 2253; empty for Istio's workloads.
    pub(crate) subject: String,
    /// Seconds since 1970.
    pub(crate) not_before: u64,
    /// Seconds since 1970.
    pub(crate) not_after: u64,
    /// SHA-256 of the whole, hexadecimal, in small letters.
    pub(crate) hash: String,
}

impl Certificate {
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, Unreadable> {
        let parsed = webpki::EndEntityCert::try_from(der).map_err(|_| Unreadable)?;
        let (not_before, not_after) = validity(der).ok_or(Unreadable)?;
        Ok(Self {
            uris: parsed.valid_uri_names().map(str::to_owned).collect(),
            dns_names: parsed.valid_dns_names().map(str::to_owned).collect(),
            // A number, without the byte that keeps it positive.
            serial: hexadecimal(parsed.serial().strip_prefix(&[0]).unwrap_or(parsed.serial())),
            subject: name(parsed.subject()).ok_or(Unreadable)?,
            not_before,
            not_after,
            hash: hexadecimal(ring::digest::digest(&ring::digest::SHA256, der).as_ref()),
        })
    }

    /// The URI, where it is the only one: SPIFFE's identities are.
    pub(crate) fn sole_uri(&self) -> Option<&str> {
        match &self.uris[..] {
            [uri] => Some(uri),
            _ => None,
        }
    }

    /// One element of `x-forwarded-client-cert` as Istio's sidecars write it: what they were shown, in Envoy's order.
    pub(crate) fn forwarded(&self, own: &str) -> String {
        let mut element = format!("By={own};Hash={};Subject=\"{}\"", self.hash, self.subject);
        if self.uris.is_empty() {
            element.push_str(";URI=");
        }
        for uri in &self.uris {
            let _ = write!(element, ";URI={uri}");
        }
        for dns_name in &self.dns_names {
            let _ = write!(element, ";DNS={dns_name}");
        }
        element
    }

    /// Whole days that are left, as Envoy's admin page counts them.
    pub(crate) fn days_left(&self, now: u64) -> u64 {
        self.not_after.saturating_sub(now) / 86_400
    }
}

/// Begin and end of a certificate's validity, seconds since 1970.
fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let mut certificate = Reader(der).enter(SEQUENCE)?.enter(SEQUENCE)?;
    // The version is left out in version 1.
    if certificate.0.first() == Some(&0xa0) {
        certificate.next()?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        certificate.next()?;
    }
    let mut validity = certificate.enter(SEQUENCE)?;
    Some((validity.time()?, validity.time()?))
}

/// A distinguished name by RFC 2253, the last part first. `content` is that of its sequence.
fn name(content: &[u8]) -> Option<String> {
    let (mut sets, mut parts) = (Reader(content), Vec::new());
    while !sets.0.is_empty() {
        let (mut attributes, mut part) = (sets.enter(SET)?, String::new());
        while !attributes.0.is_empty() {
            let mut attribute = attributes.enter(SEQUENCE)?;
            let (kind, (_, value)) = (attribute.expect(OBJECT)?, attribute.next()?);
            if !part.is_empty() {
                part.push('+');
            }
            part.push_str(&attribute_name(kind));
            part.push('=');
            escape(&mut part, &String::from_utf8_lossy(value));
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

/// The short name of an attribute, or its numbers.
fn attribute_name(object: &[u8]) -> String {
    let known = match object {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 5] => "serialNumber",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return format!("OID.{}", hexadecimal(object)),
    };
    known.to_owned()
}

/// Escaped for RFC 2253, and once more for the quotes that it stands in.
fn escape(text: &mut String, value: &str) {
    for (place, letter) in value.chars().enumerate() {
        let at_an_edge = place == 0 && matches!(letter, ' ' | '#') || letter == ' ' && place + 1 == value.chars().count();
        if letter == '"' || letter == '\\' {
            text.push_str("\\\\\\");
        } else if at_an_edge || matches!(letter, ',' | '+' | '<' | '>' | ';') {
            text.push_str("\\\\");
        }
        // A header's value has visible letters only.
        text.push(if letter.is_control() { '?' } else { letter });
    }
}

/// Two digits per byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = rcgen::date_time_ymd(2026, 11, 22);
        params.not_after = rcgen::date_time_ymd(2050, 1, 2);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0xb6, 0, 0xab]));
        change(&mut params);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!(read.hash, hexadecimal(ring::digest::digest(&ring::digest::SHA256, made.der()).as_ref()));
        read
    }

    #[test]
    fn a_workloads_certificate_is_forwarded_as_istio_does() {
        let id = "spiffe://cluster.local/ns/t/sa/api-gateway";
        let read = certificate(|params| params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())]);
        assert_eq!((read.serial.as_str(), read.not_before, read.not_after), ("b600ab", 1_795_305_600, 2_524_694_400));
        let own = "spiffe://cluster.local/ns/t/sa/user-service";
        assert_eq!(read.forwarded(own), format!("By={own};Hash={};Subject=\"\";URI={id}", read.hash));
        assert_eq!((read.days_left(1_795_305_600), read.days_left(u64::MAX)), (8442, 0));
    }

    #[test]
    fn subjects_and_dns_names_are_written_as_envoy_writes_them() {
        let read = certificate(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "A, \"B\"");
            params.distinguished_name.push(DnType::CommonName, "c");
            params.subject_alt_names = vec![SanType::DnsName("x.example".try_into().unwrap())];
        });
        assert_eq!(read.subject, r#"CN=c,O=A\\, \\\"B\\\""#);
        assert!(read.forwarded("o").ends_with(r#";Subject="CN=c,O=A\\, \\\"B\\\"";URI=;DNS=x.example"#), "{}", read.forwarded("o"));
    }
}
