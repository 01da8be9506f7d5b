//! The webhook on `fault:`.

use super::Findings;
use super::values::{check_duration, check_percentage};
use crate::grpc::grpc_status;
use crate::resource::HttpFaultInjection;

pub(super) fn check(fault: &HttpFaultInjection, path: &str, findings: &mut Findings) {
    if fault.delay.is_none() && fault.abort.is_none() {
        findings.error(
            "invalid-fault",
            path,
            "HTTP fault injection must have an abort and/or a delay",
            "fault에는 delay나 abort가 있어야 합니다",
        );
    }
    if let Some(delay) = &fault.delay {
        let path = format!("{path}.delay");
        check_percentage(delay.percentage, &format!("{path}.percentage"), findings);
        if let Some(text) = &delay.exponential_delay {
            let at = format!("{path}.exponentialDelay");
            check_duration(Some(text), &at, findings);
            let korean = "exponentialDelay는 Istio가 지원하지 않습니다";
            findings.error("invalid-fault", &at, "exponentialDelay not supported yet", korean);
        }
        match &delay.fixed_delay {
            Some(text) => check_duration(Some(text), &format!("{path}.fixedDelay"), findings),
            None if delay.exponential_delay.is_none() => {
                let message = "delay configured, but fixedDelay not set: no request is delayed";
                findings.warning("delay-without-length", &path, message, "fixedDelay가 없어 지연되는 요청이 없습니다");
            }
            None => {}
        }
        if delay.percentage.is_none() && delay.percent.is_none() {
            no_percentage(&path, findings);
        }
    }
    if let Some(abort) = &fault.abort {
        let path = format!("{path}.abort");
        check_percentage(abort.percentage, &format!("{path}.percentage"), findings);
        if abort.http2_error.is_some() {
            findings.error(
                "invalid-fault",
                &format!("{path}.http2Error"),
                "HTTP/2 abort fault injection not supported yet",
                "http2Error는 Istio가 지원하지 않습니다",
            );
        }
        if let Some(status) = abort.http_status.filter(|status| !(200..=600).contains(status)) {
            let message = format!("HTTP status {status} is not in range 200-599");
            findings.error("invalid-fault", &format!("{path}.httpStatus"), message, format!("상태 코드 {status}은(는) 200~599여야 합니다"));
        }
        if let Some(status) = abort.grpc_status.as_deref().filter(|status| grpc_status(status).is_none()) {
            let message = format!(
                "gRPC status {status:?} is not supported. See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md for a list of supported codes, for example 'NOT_FOUND'"
            );
            findings.error("invalid-fault", &format!("{path}.grpcStatus"), message, format!("gRPC 상태 `{status}`을(를) 모릅니다"));
        }
        if abort.http_status.is_none() && abort.grpc_status.is_none() && abort.http2_error.is_none() {
            findings.warning(
                "abort-without-type",
                &path,
                "abort configured, but error type not set",
                "abort의 종류(httpStatus 등)가 없습니다",
            );
        }
        if abort.percentage.is_none() {
            no_percentage(&path, findings);
        }
    }
}

fn no_percentage(path: &str, findings: &mut Findings) {
    let message = "percentage is not set, which means 0 %: no request is affected";
    findings.warning("fault-without-percentage", path, message, "percentage가 없으면 0 %입니다. 영향을 받는 요청이 없습니다");
    findings.help("add percentage: {value: 100}", "percentage: {value: 100}을 더하세요");
}
