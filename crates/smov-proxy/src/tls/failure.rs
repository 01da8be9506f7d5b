//! Why a TLS connection did not come about, in the words of Envoy's `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::verify::WrongName;

/// What kind of trouble; Envoy counts each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `fail_verify_no_cert`: the other side showed none.
    NoCertificate,
    /// `fail_verify_error`: its chain, its dates.
    Chain,
    /// `fail_verify_san`: its names.
    Names,
    /// `connection_error`: anything else.
    Connection,
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn connection(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Connection, reason: reason.into() }
    }

    /// A certificate that ended since the session began that is resumed with it.
    pub(crate) fn expired() -> Self {
        Self::of_tls(&Error::InvalidCertificate(CertificateError::Expired))
    }

    pub(crate) fn of(error: &io::Error) -> Self {
        match tls_error(error) {
            Some(error) => Self::of_tls(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::connection("closed during the TLS handshake"),
            None => match error.raw_os_error() {
                Some(number) => Self::connection(format!(
                    "TLS_error:|{}:system library:OPENSSL_internal:{}:TLS_error_end",
                    0x200_0000 + number,
                    crate::upstream::plain(error)
                )),
                None => Self::connection(error.to_string()),
            },
        }
    }

    pub(crate) fn of_tls(error: &Error) -> Self {
        let (kind, number, words) = match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<WrongName>() {
                Some(wrong) => (Kind::Names, 125, format!("CERTIFICATE_VERIFY_FAILED:verify cert failed: {wrong}")),
                None => (Kind::Chain, 125, format!("CERTIFICATE_VERIFY_FAILED:verify cert failed: {other}")),
            },
            Error::InvalidCertificate(error) => {
                let words = "CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0";
                (Kind::Chain, 125, format!("{words}: {}", certificate_error(error)))
            }
            Error::NoCertificatesPresented => (Kind::NoCertificate, 192, NO_CERTIFICATE.to_owned()),
            Error::AlertReceived(alert) => {
                let (number, name) = alert_name(*alert);
                (Kind::Connection, 1000 + number, name)
            }
            Error::NoApplicationProtocol => (Kind::Connection, 307, "NO_APPLICATION_PROTOCOL".to_owned()),
            Error::InvalidMessage(_) => (Kind::Connection, 247, "WRONG_VERSION_NUMBER".to_owned()),
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ) => (Kind::Connection, 240, "UNSUPPORTED_PROTOCOL".to_owned()),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => (Kind::Connection, 184, "NO_SHARED_CIPHER".to_owned()),
            other => return Self::connection(format!("TLS_error: {other}")),
        };
        Self { kind, reason: format!("TLS_error:|{}:SSL routines:OPENSSL_internal:{words}:TLS_error_end", 0x1000_0000 + number) }
    }
}

const NO_CERTIFICATE: &str = "PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate";

/// rustls' error inside one of I/O.
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

/// OpenSSL's words, which BoringSSL and so Envoy have kept.
fn certificate_error(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate is not yet valid",
        CertificateError::UnknownIssuer => "unable to get local issuer certificate",
        CertificateError::BadSignature => "certificate signature failure",
        CertificateError::Revoked => "certificate revoked",
        CertificateError::UnhandledCriticalExtension => "unhandled critical extension",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "unsuitable certificate purpose",
        other => return other.to_string(),
    };
    words.to_owned()
}

/// Number and BoringSSL's name of an alert.
fn alert_name(alert: AlertDescription) -> (u32, String) {
    let number = u32::from(u8::from(alert));
    let name = match alert {
        AlertDescription::UnexpectedMessage => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        AlertDescription::BadRecordMac => "SSLV3_ALERT_BAD_RECORD_MAC",
        AlertDescription::HandshakeFailure => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        AlertDescription::BadCertificate => "SSLV3_ALERT_BAD_CERTIFICATE",
        AlertDescription::UnsupportedCertificate => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        AlertDescription::CertificateRevoked => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        AlertDescription::CertificateExpired => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        AlertDescription::CertificateUnknown => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        AlertDescription::IllegalParameter => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        AlertDescription::UnknownCA => "TLSV1_ALERT_UNKNOWN_CA",
        AlertDescription::AccessDenied => "TLSV1_ALERT_ACCESS_DENIED",
        AlertDescription::DecodeError => "TLSV1_ALERT_DECODE_ERROR",
        AlertDescription::DecryptError => "TLSV1_ALERT_DECRYPT_ERROR",
        AlertDescription::ProtocolVersion => "TLSV1_ALERT_PROTOCOL_VERSION",
        AlertDescription::InternalError => "TLSV1_ALERT_INTERNAL_ERROR",
        AlertDescription::UserCanceled => "TLSV1_ALERT_USER_CANCELLED",
        AlertDescription::UnrecognisedName => "TLSV1_ALERT_UNRECOGNIZED_NAME",
        AlertDescription::CertificateRequired => "TLSV1_ALERT_CERTIFICATE_REQUIRED",
        AlertDescription::NoApplicationProtocol => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        other => return (number, format!("ALERT_{number} ({other:?})")),
    };
    (number, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_numbers_and_names_come_out() {
        let failed = |error: Error| Failure::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        let expired = failed(Error::InvalidCertificate(CertificateError::Expired));
        assert_eq!(expired.kind, Kind::Chain);
        assert!(expired.reason.starts_with("TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"));
        let alert = failed(Error::AlertReceived(AlertDescription::CertificateExpired));
        assert_eq!(alert.reason, "TLS_error:|268436501:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_EXPIRED:TLS_error_end");
        let reset = Failure::of(&io::Error::from_raw_os_error(104));
        assert_eq!(reset.reason, "TLS_error:|33554536:system library:OPENSSL_internal:Connection reset by peer:TLS_error_end");
        assert_eq!(Failure::of(&io::ErrorKind::UnexpectedEof.into()).reason, "closed during the TLS handshake");
    }
}
